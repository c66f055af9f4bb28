"""What the tests of faults measure of a server's process, from outside."""

from __future__ import annotations

import contextlib
import json
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import wait_until
from tests.servers.harness import Server

MIB = 2**20


def memory(process: int) -> int:
    """Return the resident memory of a process in bytes."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {process} has ended")


def files(process: int) -> int:
    """Return how many files and sockets a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def threads(process: int) -> int:
    """Return how many threads a process has."""
    return len(list(Path(f"/proc/{process}/task").iterdir()))


def children(process: int) -> list[int]:
    """Return the processes that a process has started, such as its workers."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in text.split()]


def state(server: Server) -> dict[str, int]:
    """Return what `/state` tells, asked on a new connection."""
    with server.connect() as client:
        response = client.ask("GET", "/state", [("connection", "close")])
    assert response.status == 200
    return dict(json.loads(response.body))


@contextlib.contextmanager
def open_files(wanted: int) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, open this many files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), max(hard, wanted)))
    except ValueError:
        pytest.skip(f"the system allows {hard} open files, {wanted} are needed")
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, max(hard, wanted)))


@contextlib.contextmanager
def unharmed(server: Server, growth: int = 8 * MIB, log: str = "") -> Iterator[None]:
    """Around an attack: afterwards the server is as it was before.

    It answers. It has as many tasks, threads, open files, streams, sockets and uploads, and at most
    `growth` bytes more memory. Its log has no traceback, and nothing of the application.

    Args:
        server: The server.
        growth: Bytes; the allocator keeps some of what it got for the next requests.
        log: What the server itself might log, as a part of each such line.
    """
    before, size, logged = state(server), memory(server.worker), len(server.log.read_text())
    yield
    wait_until(lambda: _is_back(state(server), before), 30, f"the server to be back at {before}")
    wait_until(
        lambda: memory(server.worker) - size <= growth, 10, f"at most {growth} bytes more memory"
    )
    lines = server.log.read_text()[logged:].splitlines()
    assert [line for line in lines if not log or log not in line] == []


def _is_back(now: dict[str, int], before: dict[str, int]) -> bool:
    # Threads of a pool are kept once they are started, at most four and forty; all else goes.
    return all(now[kind] <= before[kind] for kind in now if kind != "threads")
