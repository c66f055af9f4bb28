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

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.processes import PUBLIC, environment

BLOCK = re.compile(r"^(?:<!-- (?P<comment>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


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
