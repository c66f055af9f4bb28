"""Measures of a server's process from outside, for the tests of faults."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.asgi import BOUNDARY, encode_multipart
from tests.processes import wait_until
from tests.servers.harness import RawClient, Server

T = TypeVar("T")
QUICK = "uvicorn-httptools"
"""`make test` attacks this one alone, `make test-faults` all of them."""
MIB = 2**20
FORM = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
UPLOAD = encode_multipart([("file", "f.bin", "application/octet-stream", bytes(3 * MIB))])


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


# --- Clients on raw sockets --------------------------------------------------------------------


@contextlib.contextmanager
def clients(
    server: Server, number: int, begin: Callable[[RawClient], None] = lambda client: None
) -> Iterator[list[RawClient]]:
    """Connect a number of clients. Each one starts its work before the next one connects.

    If all connected first, a server might close the last ones as idle.
    """
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            found.append(stack.enter_context(server.connect()))
            begin(found[-1])
        yield found


def reset(client: RawClient) -> None:
    """Leave with a RST in place of a FIN, as the system of a client that has crashed does."""
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def frame(payload: bytes, kind: int = 0x81) -> bytes:
    """Return a frame of a client, masked with zeros (RFC 6455 section 5.2); a text by default."""
    size = len(payload)
    if size < 126:
        head = bytes([kind, 0x80 | size])
    elif size < 2**16:
        head = bytes([kind, 0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([kind, 0x80 | 127]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def read_frame(client: RawClient) -> tuple[int, bytes]:
    """Read a frame of the server; a close frame holds its code in the first two bytes."""
    kind, size = client.reader.read(2)
    if size > 125:
        size = int.from_bytes(client.reader.read(2 if size == 126 else 8), "big")
    return kind & 0x0F, client.reader.read(size)


# --- Around an attack --------------------------------------------------------------------------


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


# Servers write these lines about clients that break the protocol. None comes from the app.
OF_SERVERS = re.compile(
    r"""WARNING:\ +Invalid\ HTTP\ request\ received\.\n  # uvicorn
      | .*WARNING\ +Application\ instance.*took\ too\ long\ to\ shut\ down.*\n  # Daphne
      | ERROR:\ +Invalid\ UTF-8\ sequence\ received\ from\ client\.\n
        Traceback.*\n(?:\ .*\n)+UnicodeDecodeError.*\n  # uvicorn's own
    """,
    re.VERBOSE,
)


@contextlib.contextmanager
def unharmed(server: Server) -> Iterator[None]:
    """Around an attack: afterwards the server is as it was before.

    It answers. It has as many tasks, open files, streams, sockets and uploads, no threads but those
    of a pool, and its memory is back near its level. Its log has nothing but what a server says
    about a client that breaks the protocol: no exception has left the application.
    """
    before, size, logged = state(server), memory(server.worker), len(server.log.read_text())
    # Granian's own allocator, in Rust, gives little back; the others keep what is in use in part.
    growth = (16 if server.kind.name == "granian" else 8) * MIB
    yield
    # A server's timers keep a request for some seconds, such as uvicorn's of a kept connection.
    left = wait_for_none(lambda: left_over(server, before, size + growth))
    assert left == {}, f"before it was {before}, {size} bytes"
    assert OF_SERVERS.sub("", server.log.read_text()[logged:]) == ""


def wait_for_none(look: Callable[[], T], seconds: float = 60.0) -> T:
    """Look until nothing is found; return what is found last."""
    with contextlib.suppress(AssertionError):
        wait_until(lambda: not look(), seconds)
    return look()


def left_over(server: Server, before: dict[str, int], most: float) -> dict[str, int]:
    """Return what a server has more of than before, and its memory if it is above `most` bytes."""
    now = state(server)
    left = {kind: number for kind, number in now.items() if number > before[kind]}
    size = memory(server.worker)
    return left if size <= most else {**left, "bytes": size}
