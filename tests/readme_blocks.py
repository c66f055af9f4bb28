"""Reads the blocks of code on a page, and runs the console ones against a real server.

A comment before a block says what kind it is:

    <!-- serves -->           its one command starts the server that the other blocks talk to
    <!-- from: app.py -->     the block stands in that file, which is tested
    <!-- file: app.py -->     the block is a file of that name
    <!-- slow: what -->       executed by the slow tests, for the reason given
    <!-- not run: why -->     executed by nobody, for the reason given

A console block without a comment is typed into a terminal beside the server: all of a page go into one shell, so
that variables and files stay. A command goes on in the lines that start with `> `. `...` stands for any output. A
Python block without a comment is run as a program of its own. Instead of `127.0.0.1:8000` all use the server's port.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^(?:<!-- (?P<comment>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)
PUBLIC = "127.0.0.1:8000"


class Block(NamedTuple):
    comment: str
    language: str
    text: str

    @property
    def kind(self) -> str:
        return self.comment.partition(":")[0]

    @property
    def detail(self) -> str:
        return self.comment.partition(":")[2].strip()


class Command(NamedTuple):
    line: str
    output: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    found = [Block(match["comment"] or "", match["language"], match["text"]) for match in BLOCK.finditer(text)]
    assert len(found) == len(re.findall(r"^\s*```", text, flags=re.M)) / 2, f"{page} has a block that is not understood"
    return found


def commands(text: str) -> list[Command]:
    """Split a console block into its commands, each with the output that follows it."""
    head, *parts = re.split(r"^\$ ", text, flags=re.M)
    assert head == "", f"a console block starts with a command, not with {head!r}"
    return [_command(part) for part in parts]


def _command(part: str) -> Command:
    lines = part.split("\n")
    end = next((number for number, line in enumerate(lines[1:], 1) if not line.startswith("> ")), len(lines))
    return Command("\n".join([lines[0], *(line[2:] for line in lines[1:end])]), "\n".join(lines[end:]))


def matches(pattern: str, output: str) -> bool:
    """Compare, with any output for `...`, and any lines or none for a line of it; line ends do not count."""
    expected = "".join(
        r"(?:.*\n)?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\s*?\n"
        for line in pattern.strip().split("\n")
    )
    return re.fullmatch(expected, output.replace("\r\n", "\n").strip() + "\n", flags=re.S) is not None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of somebody who has installed MicroPie and activated the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {name: value for name, value in os.environ.items() if name != "CI"}  # pytest prints more where it is set
    return {**own, "PATH": path, "PYTHONPATH": str(ROOT), **more}


@contextlib.contextmanager
def serving(
    line: str, folder: Path, port: int, more: Mapping[str, str], seconds: float = 30.0, *, errors: bool = False
) -> Iterator[None]:
    """Run a command that serves until it is stopped, and wait until it answers; `errors` may be logged or not."""
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would fill, and stop the server
        server = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", line.replace(PUBLIC, f"127.0.0.1:{port}")],
            cwd=folder,
            env=environment({"UVICORN_PORT": str(port), "PORT": str(port), **more}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            answered = _answers(server, port, seconds)
            if answered:
                yield
        finally:
            stop(server)
            log.seek(0)
            text = log.read()
        assert answered, f"nothing was served:\n{text}"
        assert errors or "Traceback" not in text, text


def _answers(server: subprocess.Popen[bytes], port: int, seconds: float) -> bool:
    """Wait until the port accepts connections."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.03)
    return False


def stop(server: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a server and all that it has started, as a supervisor does: by a wish first."""
    with contextlib.suppress(ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(server.pid, number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                server.poll()
                os.killpg(server.pid, 0)  # raises when the last one is gone
                time.sleep(0.02)


def try_blocks(texts: list[str], port: int, folder: Path, more: Mapping[str, str]) -> None:
    """Type console blocks into one shell beside the server, and compare what each command prints."""
    typed = [command for text in texts for command in commands(text)]
    mark = "--- the next command ---"
    script = "".join(f"{command.line}\nprintf '%s\\n' '{mark}'\n" for command in typed)
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(PUBLIC, f"127.0.0.1:{port}")],
        cwd=folder,
        env=environment(more),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    shown = result.stdout.decode(errors="replace").replace(f"127.0.0.1:{port}", PUBLIC).split(mark + "\n")
    for command, output in zip(typed, shown, strict=False):
        assert matches(command.output, output), f"$ {command.line}\nprinted\n{output}\nand not\n{command.output}"
    failed = typed[min(len(shown), len(typed)) - 1].line if typed else ""
    assert result.returncode == 0, f"$ {failed}\n{shown[-1]}\n{result.stderr.decode(errors='replace')}"


def run_python(text: str, port: int, folder: Path, more: Mapping[str, str]) -> None:
    """Run a Python block as a program beside the server."""
    result = subprocess.run(
        [sys.executable, "-c", text.replace(PUBLIC, f"127.0.0.1:{port}")],
        cwd=folder,
        env=environment(more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if result.returncode:
        pytest.fail(f"{text}\n{result.stdout}")
