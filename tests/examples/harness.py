"""Copies of the examples, and servers that run them.

With the environment variable `EXAMPLES="routing forms"`, pytest tests those alone, their coverage
included.
"""

import contextlib
import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.ports import with_servers
from tests.processes import KEEP_ALIVE, ROOT, environment, free_port, serving, stop

HERE = Path(__file__).resolve().parent
EXAMPLES = ROOT / "examples"
ALL_NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
NAMES = [
    name for name in ALL_NAMES if name in os.environ.get("EXAMPLES", " ".join(ALL_NAMES)).split()
]
SERVE = "uvicorn app:app --timeout-graceful-shutdown 5"
#: `verify` of a client for plain HTTP: reading all certificates takes it 20 ms of CPU time.
PLAIN = False
NOT_COPIED = shutil.ignore_patterns(
    "__pycache__", ".[!g]*", "node_modules", "data", "uploads", "*.db", "*.sqlite3", "*.sqlite3-*"
)
#: Examples with the asyncio part of SQLAlchemy, which runs in greenlets.
OF_SQLALCHEMY = {
    "admin",
    "blog",
    "crud_sql",
    "login",
    "session_backends",
}
#: Limits that a busy machine exceeds; no test that uses a copy of an example is about them. For
#: each example, these are files, parts of a line, and what copies have instead.
PATIENCE = {
    "login": [("redis_sessions.py", "socket_timeout=5,", "socket_timeout=60,")],
    "pastebin": [("languages.py", "SECONDS = 5.0 ", "SECONDS = 60.0 ")],
    "session_backends": [
        ("redis_sessions.py", "socket_timeout=5,", "socket_timeout=60,"),
        ("guarded_sessions.py", "LIMIT = 1.2 ", "LIMIT = 60.0 "),
    ],
}
PREFIX = "/under/here"
SECRET = "this must never be read"
BELOW = f'''
"""Serves an app at the root, and a second time below a path of another app that mounts it."""

from micropie import App


class Parent(App):
    pass


def both(app):
    parent = Parent()
    parent.mounts["{PREFIX}"] = app

    async def serve(scope, receive, send):
        by_parent = scope["type"] == "lifespan" or scope["path"].startswith("{PREFIX}")
        await (parent if by_parent else app)(scope, receive, send)

    return serve
'''


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

    def client(self, **options: Any) -> httpx.Client:
        """A visitor who keeps cookies and follows no redirects."""
        return httpx.Client(base_url=self.url, timeout=60, verify=PLAIN, **options)


def copied(name: str, folder: Path) -> Path:
    """Copy an example to a folder of its own; the gallery, with all examples beside it."""
    for one in ALL_NAMES if name == "gallery" else [name]:
        copy = shutil.copytree(EXAMPLES / one, folder / "copies" / one, ignore=NOT_COPIED)
        for file, limit, longer in PATIENCE.get(one, ()):
            text = (copy / file).read_text()
            assert text.count(limit) == 1
            (copy / file).write_text(text.replace(limit, longer))
    return folder / "copies" / name


def requirements_of(name: str) -> set[str]:
    """Return the names of the packages that an example and its tests need."""
    lines = [
        line
        for path in (EXAMPLES / name).glob("requirements*.txt")
        for line in path.read_text().splitlines()
    ]
    return {re.split(r"[\[<>=~! ]", line)[0].lower() for line in lines if re.match(r"\w", line)}


def concurrency(name: str) -> list[str]:
    """Return the concurrency of an example for coverage; greenlets make a tracer slow."""
    return ["thread", "greenlet"] if name in {*OF_SQLALCHEMY, "gallery"} else ["thread"]


def measured(folder: Path, name: str = "gallery") -> dict[str, str]:
    """Return the variables under which an example's processes write coverage to a folder."""
    return {
        "EXAMPLES_CONCURRENCY": ",".join(concurrency(name)),
        "PYTHONPATH": f"{HERE / 'startup'}:{ROOT}",
        "COVERAGE_PROCESS_START": str(HERE / "coverage.ini"),
        "EXAMPLES_COVERAGE": str(folder),
    }


def with_port(folder: Path, port: int, app: str = "app") -> None:
    """Give `python app.py` its port, since it has no option for that, and perhaps another app."""
    path = folder / "app.py"
    own = f"uvicorn.run({app}, port={port}, timeout_keep_alive={KEEP_ALIVE},"
    before = r"uvicorn\.run\(app,( port=\d+,)?( timeout_keep_alive=\d+,)?"
    path.write_text(re.sub(before, own, path.read_text()))


@contextlib.contextmanager
def running(line: str, folder: Path, more: Mapping[str, str], app: str = "app") -> Iterator[Server]:
    """Serve the copy of an example with a command on a free port."""
    port = free_port()
    with_port(folder, port, app)
    line = with_servers(line.replace("--port 8000", f"--port {port}"), more)
    with serving(line, folder, port, more):
        yield Server(f"http://127.0.0.1:{port}", port, folder, more)


class SharedServers:
    """Runs the example whose tests are under way, for all modules that test it.

    Each is started with `python app.py`, and serves its app at the root and below `PREFIX`; in and
    above its folder is a file with `SECRET` in it. The tests are sorted by example (see
    conftest.py), so that each is started once.

    Args:
        new_folder: Makes an empty folder for a name.
        settings: The environment variables of an example's server.
    """

    def __init__(
        self, new_folder: Callable[[str], Path], settings: Callable[[str], Mapping[str, str]]
    ) -> None:
        self._new_folder = new_folder
        self._settings = settings
        self._running = contextlib.ExitStack()
        self._name = ""
        self._server: Server | None = None

    def __call__(self, name: str) -> Server:
        """Return the server of an example."""
        if self._server is None or name != self._name:
            self.stop()
            folder = copied(name, self._new_folder(name))
            (folder / "below.py").write_text(BELOW)
            for place in (folder, folder.parent, folder.parent.parent):
                (place / "secret.txt").write_text(SECRET)
            started = running(
                "python app.py", folder, self._settings(name), '__import__("below").both(app)'
            )
            self._name, self._server = name, self._running.enter_context(started)
        return self._server

    def stop(self) -> None:
        """Stop the server that runs; fail if it has logged a traceback."""
        self._server = None
        self._running.close()


def raw_get(port: int, target: str) -> str:
    """Get a target as it is, since most clients resolve the dots themselves."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", target)
        response = connection.getresponse()
        return response.read(2**16).decode(errors="replace") if response.length is not None else ""
    finally:
        connection.close()


@contextlib.contextmanager
def queue_worker(
    module: str, folder: Path, variables: Mapping[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """Run a worker of taskiq as a README says; give the process and its log."""
    command = [sys.executable, "-m", "taskiq", "worker", f"{module}:broker", "--workers", "1"]
    log = folder / "worker.log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(variables),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield process, log
    finally:
        stop(process)
