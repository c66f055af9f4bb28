"""Runs what a Dockerfile says, without Docker."""

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import environment, free_port, started

COPY = re.compile(r"^COPY (.*) (\S+)$", re.MULTILINE)
COMMAND = re.compile(r"CMD (\[.*\])$", re.MULTILINE)


@dataclass(frozen=True)
class Contained:
    """A running container, so to speak.

    Attributes:
        folder: What the image has in its WORKDIR.
        port: The port of 127.0.0.1 in the place of 8000.
        checks: The commands of HEALTHCHECK.
        environment: The variables of all commands.
    """

    folder: Path
    port: int
    checks: list[list[str]]
    environment: Mapping[str, str]


def joined(text: str) -> str:
    """Return a text, lines that go on in the next one put together."""
    return re.sub(r"\\\n\s*", "", text)


def built(context: Path, inside: Path) -> None:
    """Do what the Dockerfile of a folder does with COPY, into another folder."""
    inside.mkdir()
    for names, target in COPY.findall(joined((context / "Dockerfile").read_text())):
        for name in names.split():
            paths = list(context.glob(name))
            assert paths, name
            for path in paths:
                if path.is_dir():
                    shutil.copytree(path, inside / target)
                else:
                    shutil.copy(path, inside / target)


@contextlib.contextmanager
def contained(context: Path, folder: Path, more: Mapping[str, str]) -> Iterator[Contained]:
    """Run the CMD of the Dockerfile in `context`; the folder gets what is written."""
    inside, port = folder / "image", free_port()
    built(context, inside)
    *checks, start = [
        [
            part.replace("0.0.0.0", "127.0.0.1").replace("8000", str(port))
            for part in json.loads(one)
        ]
        for one in COMMAND.findall(joined((context / "Dockerfile").read_text()))
    ]
    variables = environment(more)
    with started(start, port, folder / "log", cwd=inside, env=variables):
        yield Contained(inside, port, checks, variables)
