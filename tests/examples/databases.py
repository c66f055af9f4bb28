"""Real database servers for the tests: on free ports, in temporary folders, ended by their process ids."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.processes import free_port


@contextlib.contextmanager
def redis() -> Iterator[dict[str, str]]:
    """Start Redis; REDIS_URL leads to it."""
    with _folder() as folder:
        port = free_port()
        command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        with _serving(command, port, folder):
            yield {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}


@contextlib.contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    """Start PostgreSQL; POSTGRESQL_URL leads to it."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    user: dict[str, Any] = {}
    with _folder() as folder:
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        data = folder / "data"
        make = [programs / "initdb", "--pgdata", data, "--username", "tests", "--auth", "trust", "--no-sync"]
        subprocess.run([*make, "--encoding", "UTF8"], check=True, capture_output=True, timeout=60, cwd=folder, **user)
        port = free_port()
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder), "fsync": "off"}
        options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
        command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *options]
        with _serving(command, port, folder, **user):
            _wait_until_ready([programs / "pg_isready", "--quiet", "--host", "127.0.0.1", "--port", str(port)])
            yield {"POSTGRESQL_URL": f"postgresql+asyncpg://tests@127.0.0.1:{port}/postgres"}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="micropie-"))  # not below pytest's: no other user may look into that
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _serving(command: list[str], port: int, folder: Path, **options: Any) -> Iterator[None]:
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, **options
        )
    try:
        _wait(server, port, folder / "log")
        yield
    finally:
        server.send_signal(signal.SIGINT)  # to PostgreSQL: a fast shutdown, whoever is connected
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(20)


def _wait(server: subprocess.Popen[bytes], port: int, log: Path, seconds: float = 30.0) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.03)
    raise RuntimeError(f"{server.args!r} does not answer:\n{log.read_text(errors='replace')}")


def _wait_until_ready(command: list[Any], seconds: float = 30.0) -> None:
    """Wait for a server that takes connections before it can serve them."""
    until = time.monotonic() + seconds
    while subprocess.run(command, check=False, timeout=30).returncode:
        if time.monotonic() > until:
            raise RuntimeError(f"{command!r} says that it is not ready")
        time.sleep(0.05)
