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
BARE = "bare"  # no framework: it shows what MicroPie's API costs with nothing behind it


class PeerError(RuntimeError):
    """A framework gave a wrong answer, or its process ended."""


def environment() -> dict[str, str]:
    """Return the environment of every measured process.

    The same hash seed for all, this tree's modules first, byte code kept (or imports would compile
    anew). glibc must not give freed memory back to the kernel at once: whether it does depends on
    what happens to lie at the top of the heap, and then decides what each chunk of an upload costs.
    """
    fixed = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    fixed |= {"MALLOC_MMAP_THRESHOLD_": str(64 * 2**20), "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20)}
    return {
        key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"
    } | fixed


class Peer:
    """One framework in a process of its own, pinned to one core, that does what it is asked.

    Args:
        name: Its module in ``benchmarks.apps``.
        prefix: A command to run it under, such as valgrind.
        core: The core to pin it to; None leaves that to the system.
    """

    def __init__(
        self, name: str, *, prefix: list[str] | None = None, core: int | None = None
    ) -> None:
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
            raise PeerError(f"{self.name}: {do} {arguments}: {answer['error']}")
        return answer

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: the process ended with {self.process.wait()}")
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
