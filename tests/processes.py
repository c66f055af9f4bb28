"""Servers and programs that tests start: ports, environments, deadlines, ends, certificates.

Among them are nginx, Redis and PostgreSQL.

* `free_port()` reserves a port until the tests end, so that no start has to be tried twice.
* `environment(more)`: the variables under which a user of MicroPie runs a program.
* `started(command, port, log, ...)`: a program that listens on the port; `stop(process)` ends it
  and its children.
* `serving(line, folder, port, more)`: a server started with a line of bash; a traceback in its log
  fails the test.
* `wait_until(condition, seconds, what)` polls, and returns what the condition returned;
  `await until(condition, ...)` is the same in a coroutine. No other helper sleeps. `accepts(port)`
  is a condition.
* `certificate(folder, *names)` makes a certificate and its key.
* `nginx(folder, site, port)` serves a site of nginx's language.
* `redis()` and `postgresql()` serve from temporary folders, and yield the variable that leads to
  them.

Deadlines are generous, because they only say when a test gives up: none makes a passing test
slower.
"""

import asyncio
import contextlib
import inspect
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = "127.0.0.1:8000"
"""The address that pages and READMEs show; tests put a free port in its place."""

KEEP_ALIVE = "120"
"""Seconds that a connection stays open without a request.

After the 5 of uvicorn, a client that a busy machine has held up would send on one that is closed.
"""

T = TypeVar("T")
_reserved: list[socket.socket] = []


def free_port() -> int:
    """Reserve a port of 127.0.0.1 for a server that the test starts.

    The socket stays bound, without listening, until the tests end: the kernel gives its port to no
    other socket that asks for any port, and a server that sets SO_REUSEADDR, as all of ours do, can
    listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _reserved.append(holder)
    port: int = holder.getsockname()[1]
    return port


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a user who has installed MicroPie and activated the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # pytest prints more if it is set.
    own = {name: value for name, value in os.environ.items() if name != "CI"}
    # Of a busy machine; uvicorn kills a worker that says nothing for 5 seconds. If one is killed
    # while uvicorn asks it, uvicorn waits as long before it starts another.
    patience = {"UVICORN_TIMEOUT_WORKER_HEALTHCHECK": "20"}
    return {**own, "PATH": path, "PYTHONPATH": str(ROOT), **patience, **more}


# --- Deadlines ---------------------------------------------------------------------------------


def wait_until(
    condition: Callable[[], T], seconds: float = 30.0, what: str = "the condition to hold"
) -> T:
    """Call `condition` until it returns something true, and return that; fail in the end."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} seconds for {what}, got {found!r}"
        time.sleep(0.02)  # between two looks at a condition of another process
    return found


async def until(
    condition: Callable[[], T | Awaitable[T]],
    seconds: float = 30.0,
    what: str = "the condition to hold",
) -> T:
    """Do as `wait_until` does while the event loop goes on; the condition may be a coroutine's."""
    deadline = time.monotonic() + seconds
    while not (found := await _result(condition())):
        assert time.monotonic() < deadline, f"waited {seconds} seconds for {what}, got {found!r}"
        await asyncio.sleep(0.005)  # between two looks at a condition of this loop
    return found


async def _result(value: T | Awaitable[T]) -> T:
    return await value if inspect.isawaitable(value) else value


def accepts(port: int) -> bool:
    """Tell whether a server accepts connections on a port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


# --- Programs ----------------------------------------------------------------------------------


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], port: int, log: Path, seconds: float = 60.0, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program that listens on a port, wait until it does, and end it with its children.

    Args:
        command: The program and its arguments.
        port: The port of 127.0.0.1 that it listens on.
        log: The file that gets what the program prints.
        seconds: How long the program might take to listen.
        options: Options of `subprocess.Popen`, for example `cwd` and `env`.
    """
    with log.open("wb") as output:  # a pipe that no process reads would fill, and stop the program
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,
        )
        try:
            wait_until(
                lambda: process.poll() is not None or accepts(port), seconds, f"{command} to listen"
            )
            assert process.poll() is None, (
                f"{command} has ended:\n{log.read_text(errors='replace')}"
            )
            yield process
        finally:
            stop(process)


@contextlib.contextmanager
def serving(
    line: str,
    folder: Path,
    port: int,
    more: Mapping[str, str],
    seconds: float = 60.0,
    *,
    errors: bool = False,
) -> Iterator[None]:
    """Run a command that serves, and wait until it answers; `errors` may be logged or not."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        command = ["bash", "-euo", "pipefail", "-c", line.replace(PUBLIC, f"127.0.0.1:{port}")]
        own = {
            "UVICORN_PORT": str(port),
            "PORT": str(port),
            "UVICORN_TIMEOUT_KEEP_ALIVE": KEEP_ALIVE,
        }
        variables = environment({**own, **more})
        with started(command, port, log, seconds, cwd=folder, env=variables):
            yield
        text = log.read_text(errors="replace")
        assert errors or "Traceback" not in text, text


def stop(process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a process and its children, as a supervisor does: with SIGTERM, then with SIGKILL."""

    def gone() -> bool:
        process.poll()
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(AssertionError):
            wait_until(gone, seconds, "the processes to end")
            return


# --- Browser, TLS and nginx --------------------------------------------------------------------


def chromium() -> str:
    """Return the browser's path: of the build without windows if possible, which is faster."""
    found = filter(
        None, map(shutil.which, ("chromium-headless-shell", "chromium", "google-chrome"))
    )
    return next(found, None) or pytest.skip("no chromium")


def certificate(folder: Path, *names: str) -> tuple[Path, Path]:
    """Make a self-signed certificate for hosts of these names; return its file and its key's."""
    chain, key = folder / "fullchain.pem", folder / "privkey.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
        ]
        + [
            "-subj",
            f"/CN={names[0]}",
            "-addext",
            "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
        ]
        + ["-keyout", key, "-out", chain],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return chain, key


@contextlib.contextmanager
def nginx(folder: Path, site: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run nginx with a site's text on a port; all that nginx writes is below the folder.

    The site gets around it what Debian's own nginx.conf adds.
    """
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    user = "user root;" if os.geteuid() == 0 else ""
    configuration = folder / "nginx.conf"
    configuration.write_text(
        f"{user} daemon off; worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; types {{ text/css css; }} {places}\n{site}\n}}\n"
    )
    command: list[str | Path] = ["nginx", "-p", folder, "-c", configuration, "-e", "stderr"]
    with started(command, port, folder / "nginx.log") as process:
        yield process


# --- Databases ---------------------------------------------------------------------------------


@contextlib.contextmanager
def redis() -> Iterator[dict[str, str]]:
    """Start Redis; REDIS_URL leads to it."""
    with _folder() as folder:
        port = free_port()
        command = [
            "redis-server",
            "--bind",
            "127.0.0.1",
            "--port",
            str(port),
            "--dir",
            str(folder),
            "--save",
            "",
        ]
        with started(command, port, folder / "log", cwd=folder):
            yield {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}


@contextlib.contextmanager
def postgresql() -> Iterator[dict[str, str]]:
    """Start PostgreSQL; POSTGRESQL_URL leads to it."""
    with postgresql_data() as data:
        port = free_port()
        with postgresql_server(data, port):
            yield {"POSTGRESQL_URL": f"postgresql+asyncpg://tests@127.0.0.1:{port}/postgres"}


@contextlib.contextmanager
def postgresql_data() -> Iterator[Path]:
    """Make the data of a server of PostgreSQL, which can be started more than once."""
    with _folder() as folder:
        if os.geteuid() == 0:  # it refuses to run as root
            shutil.chown(folder, "postgres", "postgres")
        data = folder / "data"
        make: list[str | Path] = [
            _postgresql_programs() / "initdb",
            "--pgdata",
            data,
            "--username",
            "tests",
            "--encoding",
            "UTF8",
        ]
        make += ["--auth", "trust", "--no-sync"]
        made = subprocess.run(
            make, check=False, capture_output=True, timeout=120, cwd=folder, **_postgresql_user()
        )
        assert made.returncode == 0, made.stderr.decode(errors="replace")
        yield data


@contextlib.contextmanager
def postgresql_server(data: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server of PostgreSQL with data of `postgresql_data`, and wait until it is ready."""
    programs, folder = _postgresql_programs(), data.parent
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": str(folder),
        "fsync": "off",
    }
    options = [text for name, value in settings.items() for text in ("-c", f"{name}={value}")]
    command: list[str | Path] = [programs / "postgres", "-D", data, "-p", str(port), *options]
    with started(command, port, folder / "log", cwd=folder, **_postgresql_user()) as server:
        ready: list[str | Path] = [
            programs / "pg_isready",
            "--quiet",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
        ]
        wait_until(
            lambda: subprocess.run(ready, check=False, timeout=30).returncode == 0,
            60,
            "PostgreSQL to be ready",
        )
        try:
            yield server
        finally:
            server.send_signal(signal.SIGINT)  # a fast shutdown, even if clients are connected
            server.wait(60)


def _postgresql_programs() -> Path:
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


def _postgresql_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    # Not below pytest's: no other user may look into that.
    folder = Path(tempfile.mkdtemp(prefix="micropie-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
