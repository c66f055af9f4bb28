"""10,000 idle connections, and 1,000 each of idle event streams and WebSockets, on one process."""

from __future__ import annotations

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.harness import (
    MIB,
    QUICK,
    left_over,
    memory,
    open_files,
    state,
    wait_for_none,
)
from tests.servers.harness import KINDS, RawClient, Server
from tests.timing import shortest

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    kind = KINDS[QUICK]
    kind = replace(kind, command=f"{kind.command} --timeout-keep-alive 600")
    with open_files(13_000), Server(kind, tmp_path, "tests.faults.app:app") as running:
        yield running


def ask_once(client: RawClient) -> None:
    assert client.ask("GET", "/?name=Ada").text == "Hello, Ada!"


def open_stream(client: RawClient) -> None:
    client.send_head("GET", "/events")
    assert client.read_head().status == 200


def open_socket(client: RawClient) -> None:
    client.handshake("/echo")


def seconds_for_an_answer(server: Server) -> float:
    begun = time.monotonic()
    with server.connect() as client:
        ask_once(client)
    return time.monotonic() - begun


def slowest_answer(server: Server) -> float:
    return max(seconds_for_an_answer(server) for _ in range(20))


@contextlib.contextmanager
def crowd(
    server: Server, open_one: Callable[[RawClient], None], number: int
) -> Iterator[list[RawClient]]:
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(number):
            client = stack.enter_context(server.connect())
            open_one(client)
            found.append(client)
        yield found


@pytest.mark.parametrize(
    ("open_one", "number", "most"),
    [(ask_once, 10_000, 16_000), (open_stream, 1000, 48_000), (open_socket, 1000, 64_000)],
)
def test_idle_connections(
    server: Server, open_one: Callable[[RawClient], None], number: int, most: int
) -> None:
    with server.connect() as client:
        open_one(client)  # what is loaded once
    before, size, peaks = state(server), memory(server.worker), []
    for _ in range(2):
        with crowd(server, open_one, number) as idle:
            assert state(server)["files"] >= before["files"] + number
            peaks.append(memory(server.worker))
            assert shortest(functools.partial(slowest_answer, server), 1) < 1
            if open_one is ask_once:
                for client in idle[:: number // 10]:  # they are served still
                    ask_once(client)
        assert wait_for_none(lambda: left_over(server, before, math.inf)) == {}
    each = (peaks[0] - size) / number
    print(f"{server.kind.name}: {each:.0f} bytes for each of {number} connections")
    assert each < most
    # Nothing is kept of those that have left: as many more fit into the same memory.
    assert peaks[1] - peaks[0] < number * each / 4 + 4 * MIB
