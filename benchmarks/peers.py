"""The frameworks that are compared, and the processes in which they run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "floor": "hand-written ASGI",
    "micropie": "MicroPie",
    "starlette": "Starlette",
    "fastapi": "FastAPI",
    "quart": "Quart",
    "litestar": "Litestar",
    "blacksheep": "BlackSheep",
    "falcon": "Falcon",
    "microdot": "Microdot",
    "sanic": "Sanic",
}


class PeerError(RuntimeError):
    """A framework gave a wrong answer, or its process ended."""


def environment() -> dict[str, str]:
    """Return the environment of every measured process: the same hash seed, this tree's modules first."""
    return os.environ | {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}


class Peer:
    """One framework in a process of its own, pinned to one core, that does what it is asked.

    Args:
        name: Its module in ``benchmarks.apps``.
        prefix: A command to run it under, such as valgrind.
        core: The core to pin it to; None leaves that to the system.
    """

    def __init__(self, name: str, *, prefix: list[str] | None = None, core: int | None = None) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [*(prefix or []), sys.executable, "-m", "benchmarks.worker", name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        if core is not None:
            os.sched_setaffinity(self.process.pid, {core})
        self._read()
        self.info = self.ask("info")

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Have the worker do something and return what it says.

        Raises:
            PeerError: The answer was wrong, or the process ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise PeerError(f"{PEERS[self.name]}: {do} {arguments}: {answer['error']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{PEERS[self.name]}: the process ended with {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exception: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()
