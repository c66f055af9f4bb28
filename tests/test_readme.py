"""The READMEs are true: each of their blocks is executed, and its output compared.

A comment before a block says what kind it is:

    <!-- file: app.py -->     the block is a file of that name
    <!-- serves -->           its one command starts the server that the blocks after it talk to
    <!-- slow: what -->       executed by the slow tests of this file, for the reason given

A console block without a comment talks to the server. `...` stands for any output.
"""

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
HELLO = ROOT / "examples" / "hello_world"
BLOCK = re.compile(r"^(?:<!-- (?P<comment>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


class Block(NamedTuple):
    comment: str
    language: str
    text: str


class Command(NamedTuple):
    line: str
    output: str


def blocks(readme: Path) -> list[Block]:
    return [
        Block(match["comment"] or "", match["language"], match["text"]) for match in BLOCK.finditer(readme.read_text())
    ]


def commands(text: str) -> list[Command]:
    """Split a console block into its commands, each with the output that follows it."""
    head, *parts = re.split(r"^\$ ", text, flags=re.M)
    assert head == "", f"a console block starts with a command, not with {head!r}"
    return [Command(*part.partition("\n")[::2]) for part in parts]


def matches(pattern: str, output: str) -> bool:
    """Compare, with any output for `...`; line ends and the last newline do not count."""
    expected = ".*".join(re.escape(piece) for piece in pattern.strip().split("..."))
    return re.fullmatch(expected, output.replace("\r\n", "\n").strip(), flags=re.S) is not None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """Return the environment of somebody who has installed MicroPie and activated the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **more}


@contextlib.contextmanager
def serving(line: str, folder: Path, port: int, seconds: float = 20.0) -> Iterator[None]:
    """Run a command that serves until it is stopped, and wait until it answers."""
    server = subprocess.Popen(
        ["bash", "-euo", "pipefail", "-c", line],
        cwd=folder,
        env=environment(UVICORN_PORT=str(port), PORT=str(port)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for(server, port, seconds)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        output, _ = server.communicate(timeout=20)
        assert "Traceback" not in output, output


def wait_for(server: subprocess.Popen[str], port: int, seconds: float) -> None:
    """Wait until the port accepts connections, or fail with what the server said."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    if server.poll() is None:
        os.killpg(server.pid, signal.SIGKILL)
    pytest.fail(f"nothing was served:\n{server.communicate(timeout=20)[0]}")


def try_commands(text: str, port: int, folder: Path) -> None:
    """Run the commands of a console block against the server and compare what they print."""
    for command in commands(text):
        result = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command.line.replace("127.0.0.1:8000", f"127.0.0.1:{port}")],
            cwd=folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            timeout=30,
            check=False,
        )
        output = result.stdout.replace(f"127.0.0.1:{port}", "127.0.0.1:8000")
        assert result.returncode == 0, command.line
        assert matches(command.output, output), f"$ {command.line}\n{output}"


def make_folder(readme: Path, folder: Path, port: int) -> Path:
    """Put the files of a README into a folder: its own blocks, or else the app beside it."""
    files = {block.comment[6:]: block.text for block in blocks(readme) if block.comment.startswith("file: ")}
    if not files:
        files = {path.name: path.read_text() for path in readme.parent.glob("*.py")}
    for name, text in files.items():
        # `python app.py` has no option for the port.
        (folder / name).write_text(text.replace("uvicorn.run(app,", f"uvicorn.run(app, port={port},"))
    return folder


def servers() -> list[tuple[Path, str]]:
    """Return each command of a README that starts a server."""
    return [
        (readme, command.line)
        for readme in (ROOT / "README.md", HELLO / "README.md")
        for block in blocks(readme)
        if block.comment == "serves"
        for command in commands(block.text)
    ]


@pytest.mark.parametrize(("readme", "line"), servers(), ids=lambda value: str(value).replace(str(ROOT), ""))
def test_console_blocks_are_true(readme, line, tmp_path):
    port = free_port()
    folder = make_folder(readme, tmp_path, port)
    tried = [block.text for block in blocks(readme) if block.language == "console" and not block.comment]

    with serving(line, folder, port):
        for text in tried:
            try_commands(text, port, folder)

    assert tried


@pytest.mark.parametrize("readme", [ROOT / "README.md", HELLO / "README.md"], ids=["project", "hello_world"])
def test_every_block_is_executed(readme):
    kinds = {"console": r"|serves|slow: .+", "python": r"file: .+"}

    found = blocks(readme)

    assert len(found) == readme.read_text().count("```") / 2, "a block that this test does not understand"
    for block in found:
        assert re.fullmatch(kinds[block.language], block.comment), block


def test_the_two_servers_of_hello_world_are_both_shown():
    assert [shlex.split(line)[0] for readme, line in servers() if readme.parent == HELLO] == ["uvicorn", "python"]


def test_links_lead_somewhere():
    for readme in (ROOT / "README.md", HELLO / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", readme.read_text()):
            assert (readme.parent / target).exists(), f"{readme.name} links to {target}"


def test_picture_shows_the_app_of_the_readme():
    readme = ROOT / "README.md"
    code = next(block.text for block in blocks(readme) if block.comment == "file: app.py")
    picture = (ROOT / "docs" / "images" / "at-work.svg").read_text()
    shown = [re.sub(r"<[^>]+>", "", text) for text in re.findall(r"<text class=\"(?:code|page)\".*?</text>", picture)]

    assert shown[:-2] == [line.strip() for line in code.split("\n") if line.strip()]
    assert shown[-2:] == ["Welcome to MicroPie.", '{"greetings":["Hello, Alice!"]}']
    for text in shown[-2:]:
        assert text in readme.read_text()


def test_app_has_ten_lines():
    code = next(block.text for block in blocks(ROOT / "README.md") if block.comment == "file: app.py")

    assert code.count("\n") == 10


# --- what takes longer ------------------------------------------------------------------------


def slow_block(reason: str) -> list[str]:
    """Return the commands of the README's block that the slow tests run for that reason."""
    found = [block for block in blocks(ROOT / "README.md") if block.comment == f"slow: {reason}"]
    assert len(found) == 1
    return [command.line for command in commands(found[0].text)]


@pytest.fixture
def clone(tmp_path) -> Path:
    """Clone the last commit, as somebody who is new does."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout to clone")
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True, timeout=120)
    return tmp_path / "clone"


@pytest.mark.slow
def test_install_from_a_checkout(clone, tmp_path):
    [line] = slow_block("installs into a new environment")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "new"], check=True, timeout=120)
    path = f"{tmp_path}/new/bin{os.pathsep}{os.environ['PATH']}"

    subprocess.run(["bash", "-c", line], cwd=clone, env={**os.environ, "PATH": path}, check=True, timeout=300)

    code = "import micropie, jinja2, multipart, orjson, uvicorn; print(micropie.__file__)"
    python = tmp_path / "new" / "bin" / "python"
    shown = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60)
    assert "site-packages" in shown.stdout


@pytest.mark.slow
def test_make_run_serves_from_a_new_clone(clone):
    port = free_port()
    [line] = slow_block("serves from a new clone")

    with serving(line, clone, port, seconds=300):
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()

    assert page == b"Welcome to MicroPie."
    assert (clone / ".venv" / "run" / ".stamp").exists()


@pytest.mark.slow
def test_make_test_is_a_part_of_what_must_hold():
    [line] = slow_block("runs as a part of .ci/run")

    assert line in (ROOT / ".ci" / "run").read_text().split("\n")
