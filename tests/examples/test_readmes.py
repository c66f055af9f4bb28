"""The READMEs of the examples are true: their blocks are run, and outputs compared."""

import re
import textwrap

import httpx
import pytest

from docs._ext.blocks import blocks
from tests.blocks import commands, run_python, try_blocks
from tests.examples import harness

READMES = {name: harness.EXAMPLES / name / "README.md" for name in harness.NAMES}
BLOCKS = {name: blocks(readme.read_text()) for name, readme in READMES.items()}
KINDS = {"console": {"", "serves", "slow", "not run"}, "python": {"", "from", "not run"}}
HEADINGS = ["Install", "Start", "Try it", "Test it", "How it works", "Make it yours"]
INSTALL = """## Install

Unpack the .zip, go into its folder, and install. Each new terminal needs the second command. On
Windows, use WSL, or Git Bash with `py -m venv .venv` and `. .venv/Scripts/activate` instead:

<!-- slow: installs into a fresh environment -->
```console
$ python3 -m venv .venv
$ . .venv/bin/activate
$ pip install -r requirements-dev.txt
```
"""
PROJECTS = [name for name in harness.NAMES if name != "gallery"]
EXECUTED = {"", "serves", "slow", "from"}


def served_by(name: str) -> list[str]:
    """Return the commands of a README that start a server in the example's folder."""
    return [
        command.line
        for block in BLOCKS[name]
        if block.kind == "serves"
        for command in commands(block.text)
        if command.line != "make run"  # in the root folder: tests/test_readme.py, tests/newcomer
    ]


def test_every_folder_is_an_example():
    for folder in harness.EXAMPLES.iterdir():
        if folder.is_dir() and any(folder.rglob("*.*")):
            assert (folder / "app.py").exists(), folder
            assert (folder / "README.md").exists(), folder


@pytest.mark.parametrize("name", harness.NAMES)
def test_blocks_are_true(name, tmp_path, services, measure):
    folder = harness.copied(name, tmp_path)
    environment = {**measure, **services.environment(name)}
    found = BLOCKS[name]

    with harness.running(served_by(name)[0], folder, environment) as server:
        console = [
            block.text for block in found if block.language == "console" and not block.comment
        ]
        try_blocks(console, server.port, folder, environment)
        for block in found:
            if block.language == "python" and not block.comment:
                run_python(block.text, server.port, folder, environment)


@pytest.mark.parametrize("name", harness.NAMES)
def test_other_servers_answer(name, tmp_path, services, measure):
    for number, line in enumerate(served_by(name)[1:]):
        if line != "python app.py":
            folder = harness.copied(name, tmp_path / str(number))
            with harness.running(line, folder, {**measure, **services.environment(name)}) as server:
                assert httpx.get(server.url, timeout=60).status_code < 500


@pytest.mark.parametrize("name", PROJECTS)
def test_readme_stands_alone(name):
    text = READMES[name].read_text()
    headings = re.findall(r"^## (.+)$", text, flags=re.M)

    assert headings == HEADINGS
    assert text.count(INSTALL) == 1
    assert served_by(name)[0] == harness.SERVE
    assert "$ pytest -q\n...\n" in text
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)\)", text)
    assert [link for link in links if link.startswith("..")] == []


@pytest.mark.parametrize("name", harness.NAMES)
def test_excerpts_stand_in_their_files(name):
    for block in BLOCKS[name]:
        if block.kind == "from":
            source = (harness.EXAMPLES / name / block.detail).read_text()
            assert textwrap.dedent(block.text).strip() in excerpts(source, block.text), block.text


def excerpts(source: str, wanted: str) -> list[str]:
    """Return a source's excerpts with as many lines as the wanted one, without indentation."""
    lines = source.split("\n")
    height = len(wanted.strip().split("\n"))
    return [
        textwrap.dedent("\n".join(lines[at : at + height])).strip()
        for at in range(len(lines) - height + 1)
    ]


@pytest.mark.parametrize("name", harness.NAMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", READMES[name].read_text()):
        assert (READMES[name].parent / target).exists(), f"{name} links to {target}"


def test_nearly_every_block_is_executed():
    found = [
        (name, block) for name in harness.NAMES for block in BLOCKS[name] if block.language in KINDS
    ]

    for name, block in found:
        assert block.kind in KINDS[block.language], f"{name}: {block}"
        assert block.detail or block.kind in {"", "serves"}, f"{name} gives no reason: {block}"
    executed = [block for _, block in found if block.kind in EXECUTED]
    assert len(executed) >= 0.95 * len(found)


@pytest.mark.parametrize("name", PROJECTS)
def test_requirements_are_installed_for_the_tests(name):
    """So the tests run with what people install, and `make requirements` pins it."""
    pinned = (harness.ROOT / "requirements" / "dev.txt").read_text()
    found = set(re.findall(r"^([\w.-]+)(?=[\[=])", pinned, flags=re.M))

    assert harness.requirements_of(name) - {"micropie"} <= found
