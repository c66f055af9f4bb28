"""Servers and programs that tests start: ports, environments, deadlines, ends and certificates."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PUBLIC = "127.0.0.1:8000"
"""The address that pages and READMEs show; tests put a free port in its place."""

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Reserve a port of 127.0.0.1 for a server that the test starts.

    The socket stays bound, without listening, until the tests end: the kernel gives its port to no other
    socket that asks for any port, and a server that sets SO_REUSEADDR, as all of ours do, can listen on it.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _reserved.append(holder)
    port: int = holder.getsockname()[1]
    return port


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of somebody who has installed MicroPie and activated the environment."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {name: value for name, value in os.environ.items() if name != "CI"}  # pytest prints more where it is set
    return {**own, "PATH": path, "PYTHONPATH": str(ROOT), **more}


@contextlib.contextmanager
def serving(
    line: str, folder: Path, port: int, more: Mapping[str, str], seconds: float = 30.0, *, errors: bool = False
) -> Iterator[None]:
    """Run a command that serves until it is stopped, and wait until it answers; `errors` may be logged or not."""
    with tempfile.TemporaryFile("w+") as log:  # a pipe that nobody reads would fill, and stop the server
        server = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", line.replace(PUBLIC, f"127.0.0.1:{port}")],
            cwd=folder,
            env=environment({"UVICORN_PORT": str(port), "PORT": str(port), **more}),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            answered = _answers(server, port, seconds)
            if answered:
                yield
        finally:
            stop(server)
            log.seek(0)
            text = log.read()
        assert answered, f"nothing was served:\n{text}"
        assert errors or "Traceback" not in text, text


def _answers(server: subprocess.Popen[bytes], port: int, seconds: float) -> bool:
    """Wait until the port accepts connections."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and server.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.03)
    return False


def stop(server: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """End a server and all that it has started, as a supervisor does: by a wish first."""
    with contextlib.suppress(ProcessLookupError):
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(server.pid, number)
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                server.poll()
                os.killpg(server.pid, 0)  # raises when the last one is gone
                time.sleep(0.02)
