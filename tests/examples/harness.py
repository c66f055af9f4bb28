"""Copies of the examples, and servers that run them.

With the environment variable `EXAMPLES="routing forms"`, pytest tests those alone, their coverage included.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.processes import ROOT, free_port, serving

HERE = Path(__file__).resolve().parent
EXAMPLES = ROOT / "examples"
ALL_NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
NAMES = [name for name in ALL_NAMES if name in os.environ.get("EXAMPLES", " ".join(ALL_NAMES)).split()]
SERVE = "uvicorn app:app --timeout-graceful-shutdown 5"
#: `verify` of a client for plain HTTP: reading all certificates takes it 20 ms of CPU time.
PLAIN = False
NOT_COPIED = shutil.ignore_patterns(
    "__pycache__", ".*", "node_modules", "data", "uploads", "*.db", "*.sqlite3", "*.sqlite3-*"
)


@dataclass(frozen=True)
class Server:
    """A running copy of an example."""

    url: str
    port: int
    folder: Path
    environment: Mapping[str, str]

    @property
    def ws_url(self) -> str:
        return "ws" + self.url.removeprefix("http")


def copied(name: str, folder: Path) -> Path:
    """Copy an example to a folder of its own, as people do; the gallery, with all that it shows beside it."""
    for one in ALL_NAMES if name == "gallery" else [name]:
        shutil.copytree(EXAMPLES / one, folder / "copies" / one, ignore=NOT_COPIED)
    return folder / "copies" / name


def measured(folder: Path) -> dict[str, str]:
    """Return the variables under which each Python process writes its coverage into a folder."""
    return {
        "PYTHONPATH": f"{HERE / 'startup'}:{ROOT}",
        "COVERAGE_PROCESS_START": str(HERE / "coverage.ini"),
        "EXAMPLES_COVERAGE": str(folder),
    }


def with_port(folder: Path, port: int) -> None:
    """Give `python app.py` its port: it has no option for it."""
    app = folder / "app.py"
    app.write_text(app.read_text().replace("uvicorn.run(app,", f"uvicorn.run(app, port={port},"))


@contextlib.contextmanager
def running(line: str, folder: Path, more: Mapping[str, str]) -> Iterator[Server]:
    """Serve the copy of an example with a command on a free port."""
    port = free_port()
    with_port(folder, port)
    with serving(line, folder, port, more):
        yield Server(f"http://127.0.0.1:{port}", port, folder, more)
