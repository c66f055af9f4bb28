"""Runs blocks of code: console blocks in a shell, Python blocks as programs.

The output of console blocks is compared. docs/_ext/blocks.py finds the blocks of a page. A comment
before a block says what kind it is:

    <!-- serves -->           its one command starts the server that the other blocks talk to
    <!-- from: app.py -->     the block stands in that file, which is tested
    <!-- file: app.py -->     the block is a file of that name
    <!-- slow: what -->       executed by the slow tests, for the reason given
    <!-- not run: why -->     executed by no test, for the reason given

A console block without a comment is typed into a terminal beside the server. All of a page go into
one shell, so that variables and files stay. A command goes on in the lines that start with `> `.
`...` stands for any output. Instead of `127.0.0.1:8000` all use the server's port, and a curl that
ends after some seconds waits three times as long.
"""

import contextlib
import os
import re
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, NamedTuple, Self

from tests.ports import Ports
from tests.processes import PUBLIC, environment

MARK = b"--- the next command ---\n"
# curl in front of a stream, which it leaves after some seconds
LIMITED = re.compile(r"(\bcurl\b[^|;&]*?\s(?:--max-time|-m) )([\d.]+)")
SECONDS = 240.0  # that one command may take


class Command(NamedTuple):
    line: str
    output: str


def commands(text: str) -> list[Command]:
    """Split a console block into its commands, each with the output that follows it."""
    head, *parts = re.split(r"^\$ ", text, flags=re.M)
    assert head == "", f"a console block starts with a command, not with {head!r}"
    return [_command(part) for part in parts]


def _command(part: str) -> Command:
    lines = part.split("\n")
    end = next(
        (number for number, line in enumerate(lines[1:], 1) if not line.startswith("> ")),
        len(lines),
    )
    return Command(
        "\n".join([lines[0], *(line[2:] for line in lines[1:end])]), "\n".join(lines[end:])
    )


def matches(pattern: str, output: str) -> bool:
    """Compare, with any output for `...`, and any lines or none for a line of it."""
    expected = "".join(
        r"(?:.*\n)?" if line == "..." else ".*".join(map(re.escape, line.split("..."))) + r"\s*?\n"
        for line in pattern.strip().split("\n")
    )
    return (
        re.fullmatch(expected, output.replace("\r\n", "\n").strip() + "\n", flags=re.S) is not None
    )


def patient(line: str) -> str:
    """Return a command with more time for curl, since a busy machine needs it for a stream."""
    return LIMITED.sub(lambda found: f"{found[1]}{3 * float(found[2]):g}", line)


class Shell:
    """A bash that stays: variables and the folder are those that the commands before have left.

    Args:
        folder: The folder in which it starts.
        port: The port of the server that the commands talk to, or all ports in place of others.
        more: Variables of its environment.
        clean: Whether there are no others.
    """

    def __init__(
        self, folder: Path, port: int | Ports, more: Mapping[str, str], *, clean: bool = False
    ) -> None:
        self._ports = port if isinstance(port, Ports) else Ports(port)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the shell
        self._process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-s"],
            cwd=folder,
            env=dict(more) if clean else environment(more),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """End the shell and what it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, 9)
        self._process.wait(10)
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            with contextlib.suppress(BrokenPipeError):
                stream.close()

    def try_block(self, text: str, where: str = "") -> None:
        """Type the commands of a console block, and compare what each of them prints."""
        for command in commands(text):
            output = self.type(command.line)
            shown = f"{where}\n$ {command.line}\nprinted\n{output}\nand not\n{command.output}"
            assert matches(command.output, output), shown

    def type(self, line: str) -> str:
        """Run a command, and return what it prints on standard output."""
        assert self._process.stdin
        typed = (
            f"{{ {self._ports.typed(patient(line))}\n}} </dev/null\nprintf '%s' '{MARK.decode()}'\n"
        )
        self._process.stdin.write(typed.encode())
        self._process.stdin.flush()
        output = self._read(time.monotonic() + SECONDS)
        shown = self._ports.shown(output.removesuffix(MARK).decode(errors="replace"))
        if not output.endswith(MARK):
            self._errors.seek(0)
            errors = self._errors.read().decode(errors="replace")
            raise AssertionError(f"$ {line}\nfailed, or took too long:\n{shown}\n{errors[-4000:]}")
        return shown

    def _read(self, until: float) -> bytes:
        """Read to the next mark, to the end of the shell, or until the time is over."""
        output = b""
        assert self._process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not output.endswith(MARK) and selector.select(max(0, until - time.monotonic())):
                piece = os.read(self._process.stdout.fileno(), 2**16)
                if not piece:
                    break
                output += piece
        return output


def try_blocks(texts: Iterable[str], port: int, folder: Path, more: Mapping[str, str]) -> None:
    """Type console blocks into one shell beside the server, and compare each output."""
    with Shell(folder, port, more) as shell:
        for text in texts:
            shell.try_block(text)


def run_python(text: str, port: int, folder: Path, more: Mapping[str, str]) -> None:
    """Run Python as a program beside the server, with the folder in its path."""
    result = subprocess.run(
        [sys.executable, "-c", text.replace(PUBLIC, f"127.0.0.1:{port}")],
        cwd=folder,
        env=environment(more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert result.returncode == 0, f"{text}\n{result.stdout}"
