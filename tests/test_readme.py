"""The project's README is true: its blocks are executed, and their outputs compared.

tests/blocks.py says how. The READMEs of the examples are looked at in tests/examples. A robot
follows the README from top to bottom (tests/newcomer/readme.py).
"""

import re
import subprocess
import urllib.request
from pathlib import Path

import pytest

from docs._ext.blocks import blocks
from tests.blocks import commands, try_blocks
from tests.processes import ROOT, free_port, serving

README = ROOT / "README.md"
BLOCKS = blocks(README.read_text())
STARTS = [command for block in BLOCKS if block.kind == "serves" for command in commands(block.text)]


@pytest.mark.parametrize("line", [command.line for command in STARTS])
def test_console_blocks_print_what_they_show_with_each_server(line, tmp_path):
    port = free_port()
    for block in BLOCKS:
        if block.kind == "file":  # `python app.py` has no option for the port
            text = block.text.replace("uvicorn.run(app,", f"uvicorn.run(app, port={port},")
            (tmp_path / block.detail).write_text(text)
    tried = [block.text for block in BLOCKS if block.language == "console" and not block.comment]

    with serving(line, tmp_path, port, {}):
        try_blocks(tried, port, tmp_path, {})

    assert tried


def test_every_block_is_run_by_a_test():
    kinds = {"console": r"|serves|slow: .+", "python": r"file: .+"}

    for block in BLOCKS:
        assert re.fullmatch(kinds[block.language], block.comment), block


def test_links_of_the_project_pages_lead_to_files():
    for page in (README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_picture_shows_the_app_of_the_readme_and_its_output():
    code = next(block.text for block in BLOCKS if block.comment == "file: app.py")
    picture = (ROOT / "docs" / "images" / "at-work.svg").read_text()
    shown = [
        re.sub(r"<[^>]+>", "", text)
        for text in re.findall(r"<text class=\"(?:code|page)\".*?</text>", picture)
    ]

    assert code.count("\n") <= 12
    assert shown[:-2] == [line.strip() for line in code.split("\n") if line.strip()]
    assert shown[-2:] == ["Welcome to MicroPie.", '{"greetings":["Hello, Alice!"]}']
    for text in shown[-2:]:
        assert text in README.read_text()


# --- what takes longer ------------------------------------------------------------------------


def slow_block(reason: str) -> list[str]:
    """Return the commands of the README's block that the slow tests run for that reason."""
    found = [block for block in BLOCKS if block.comment == f"slow: {reason}"]
    assert len(found) == 1
    return [command.line for command in commands(found[0].text)]


@pytest.fixture
def clone(tmp_path) -> Path:
    """Clone the last commit, as a new user does."""
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout to clone")
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True, timeout=120)
    return tmp_path / "clone"


@pytest.mark.slow
def test_install_command_in_a_new_clone_installs_everything(clone, tmp_path):
    lines = slow_block("installs into a new environment")
    subprocess.run(["bash", "-euc", "\n".join(lines)], cwd=clone, check=True, timeout=600)

    code = (
        "import micropie, jinja2, multipart, orjson, uvicorn, websockets; print(micropie.__file__)"
    )
    python = clone / ".venv" / "bin" / "python"
    shown = subprocess.run(
        [python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    assert "site-packages" in shown.stdout


@pytest.mark.slow
def test_make_run_in_a_new_clone_serves_the_gallery(clone):
    port = free_port()
    back, line = slow_block("serves from a new clone")

    assert back == "cd -"
    with serving(line, clone, port, {}, seconds=300):
        page = urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=120).read().decode()
        example = urllib.request.urlopen(
            f"http://127.0.0.1:{port}/examples/hello_world/", timeout=120
        ).read()

    assert example == b"Welcome to MicroPie."
    assert "cannot be opened here" not in page, (
        "requirements/gallery.txt lacks what an example needs"
    )
    assert (clone / ".venv" / "gallery" / ".stamp").exists()


@pytest.mark.slow
def test_command_that_runs_the_tests_is_part_of_ci_run():
    [line] = slow_block("runs as a part of .ci/run")

    assert line in (ROOT / ".ci" / "run").read_text().split("\n")
