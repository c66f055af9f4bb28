"""Large uploads stream in bounded memory, and an upload that idles uses no CPU."""

from __future__ import annotations

import functools
import json
import time
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.asgi import BOUNDARY, Part, encode_multipart
from tests.servers.harness import KINDS, Server, installed
from tests.timing import shortest

pytestmark = pytest.mark.slow

MIB = 2**20
LARGE = 256 * MIB
GROWTH = 8 * MIB  # a thirty-second part of it
BLOCK = bytes(range(256)) * 256
FILE: Part = ("file", "big.bin", "application/octet-stream", b"@")
FORM = f"multipart/form-data; boundary={BOUNDARY}"


@pytest.fixture(scope="module", params=[name for name in KINDS if name.startswith("uvicorn")])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    kind = KINDS[request.param]
    if not installed(kind):
        pytest.skip(f"{kind.requires} is not installed")
    # uvicorn ends a connection after that time, though a client still sends what is not read.
    kind = replace(kind, command=f"{kind.command} --timeout-keep-alive 5")
    with Server(kind, tmp_path_factory.mktemp(kind.name), "tests.servers.large_app:app") as running:
        yield running


def memory(server: Server, name: str) -> int:
    """`VmRSS` or `VmHWM` of the server, in bytes."""
    for line in Path(f"/proc/{server.worker}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"no {name}")


def forget_peak(server: Server) -> None:
    """Let `VmHWM` begin anew (Linux: proc_pid_clear_refs(5))."""
    Path(f"/proc/{server.worker}/clear_refs").write_text("5")


def send(server: Server, path: str, parts: list[Part], size: int) -> bytes:
    """Upload a form whose file `FILE` has `size` bytes, out of one block sent repeatedly."""
    head, _, tail = encode_multipart(parts).partition(b"@")
    with server.connect(timeout=120.0) as client:
        length = len(head) + size + len(tail)
        client.send_head("POST", path, [("content-type", FORM), ("content-length", str(length))])
        try:
            client.send(head)
            for _ in range(size // len(BLOCK)):
                client.send(BLOCK)
            client.send(tail)
        except (BrokenPipeError, ConnectionResetError):
            # A response that is ready early ends the connection after a while; it can be read.
            pass
        return client.read("POST").body


@functools.cache
def checksum(size: int) -> int:
    return functools.reduce(lambda value, _: zlib.crc32(BLOCK, value), range(size // len(BLOCK)), 0)


SHAPES: dict[str, tuple[str, list[Part], dict[str, str]]] = {
    "first": ("/upload", [FILE, ("before", "x"), ("after", "y")], {"before": "x", "after": "y"}),
    "last": ("/last", [("before", "x"), FILE], {"before": "x"}),
    "between": ("/upload", [("before", "x"), FILE, ("after", "y")], {"before": "x", "after": "y"}),
}


def growth(server: Server, path: str, parts: list[Part], size: int) -> tuple[int, bytes]:
    """How much memory an upload takes, and its answer."""
    forget_peak(server)
    before = memory(server, "VmRSS")
    answer = send(server, path, parts, size)
    return memory(server, "VmHWM") - before, answer


@pytest.mark.parametrize("shape", list(SHAPES))
def test_a_large_upload_takes_bounded_memory(server: Server, shape: str) -> None:
    path, parts, fields = SHAPES[shape]
    # The first upload loads the parser; what is measured is what a large one adds to a small one.
    assert json.loads(send(server, path, parts, 2 * MIB))["size"] == 2 * MIB
    grown, answer = growth(server, path, parts, LARGE)
    assert json.loads(answer) == {"size": LARGE, "crc32": checksum(LARGE), **fields}
    assert grown < GROWTH


@pytest.mark.parametrize("path", ["unread", "nameless"])
@pytest.mark.parametrize("parts", [[FILE], [FILE, ("after", "y")]], ids=["last", "first"])
def test_a_large_upload_without_a_reader_takes_bounded_memory(
    server: Server, path: str, parts: list[Part]
) -> None:
    wanted = {"unread": b"not read", "nameless": b"not asked for"}[path]
    assert send(server, f"/{path}", parts, 2 * MIB) == wanted
    grown, answer = growth(server, f"/{path}", parts, LARGE)
    assert answer == wanted
    assert grown < GROWTH


def test_the_measure_sees_what_a_handler_keeps(server: Server) -> None:
    grown, answer = growth(server, "/idle", [FILE], 64 * MIB)
    assert answer == b"read"
    assert grown > 64 * MIB


def cpu_seconds(server: Server) -> float:
    """The server's time on a processor, to the nanosecond (Linux: scheduler/sched-stats)."""
    tasks = Path(f"/proc/{server.worker}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def cpu_of_a_pause(server: Server) -> float:
    before = cpu_seconds(server)
    time.sleep(2)  # what is measured is what the server does while nothing happens
    return cpu_seconds(server) - before


@pytest.fixture(scope="module")
def unoccupied(server: Server) -> float:
    """CPU time that the server takes in a pause without any upload."""
    return cpu_of_a_pause(server)


HALVES = {
    "streamed while the handler waits for more": ("/idle", [FILE]),
    "streamed while the handler does not read": ("/waits", [FILE]),
    "spilled before the handler starts": ("/upload", [FILE]),
    "inside a text field": ("/upload", [("before", "@"), FILE]),
}


@pytest.mark.parametrize("shape", list(HALVES))
def test_an_upload_that_idles_uses_no_cpu(server: Server, unoccupied: float, shape: str) -> None:
    path, parts = HALVES[shape]
    head = encode_multipart(parts).partition(b"@")[0]
    # uvicorn's own clock ticks ten times a second, with an upload or without; polling a thousand
    # times a second would add many times as much.
    limit = 2 * unoccupied + 0.01
    with server.connect() as client:
        client.send_head("POST", path, [("content-type", FORM), ("content-length", str(64 * MIB))])
        client.send(head + b"x" * 200_000)
        # The first pause can include the work for what was just sent.
        assert shortest(lambda: cpu_of_a_pause(server), limit) <= limit
