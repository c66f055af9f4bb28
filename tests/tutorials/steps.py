"""The steps of the tutorial: where they are, and copies of them that run."""

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, free_port, serving

TUTORIALS = ROOT / "tutorials"
PICTURES = ROOT / "docs" / "images" / "tutorial"
STEPS = sorted(path.parent.name for path in TUTORIALS.glob("*/app.py"))
SERVE = "uvicorn app:app --timeout-graceful-shutdown 5"
NOT_COPIED = shutil.ignore_patterns("__pycache__", ".*", "data")


@dataclass(frozen=True)
class Server:
    """A running copy of a step."""

    url: str
    folder: Path


def step(number: str) -> str:
    """Return the name of a step's folder."""
    return next(name for name in STEPS if name.startswith(number))


def files_of(name: str) -> dict[str, bytes]:
    """Return what is in the folder of a step."""
    made = {"__pycache__", "data", ".pytest_cache", ".ruff_cache"}
    found = (path for path in (TUTORIALS / name).rglob("*") if path.is_file() and not made & set(path.parts))
    return {path.relative_to(TUTORIALS / name).as_posix(): path.read_bytes() for path in found}


def copied(name: str, folder: Path) -> Path:
    """Copy a step to a folder of its own."""
    return Path(shutil.copytree(TUTORIALS / name, folder / name, ignore=NOT_COPIED))


@contextlib.contextmanager
def running(line: str, folder: Path, more: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Serve a copy with a command on a free port."""
    port = free_port()
    with serving(line, folder, port, more or {}):
        yield Server(f"http://127.0.0.1:{port}", folder)


def eventually(true: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something has become true."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never became true"
        time.sleep(0.05)
