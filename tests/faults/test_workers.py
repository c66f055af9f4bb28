"""kill -9 of one of two workers under load: the other answers, and a new one takes its place."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.harness import QUICK, children
from tests.processes import wait_until
from tests.servers.harness import KINDS, Server

NAMES = [QUICK, pytest.param("granian", marks=pytest.mark.slow)]


def workers(server: Server) -> list[int]:
    """Return the processes that run the application; the master starts helpers, too."""
    found = []
    for child in children(server.process.pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            command = Path(f"/proc/{child}/cmdline").read_bytes()
            if command and b"resource_tracker" not in command:
                found.append(child)
    return found


def two(found: list[int]) -> list[int] | None:
    return found if len(found) == 2 else None


class Load:
    """Clients in threads, each with a new connection for each request."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.seen: Counter[str] = Counter()
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(8)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        for _ in range(20_000):
            if self._is_over.is_set():
                return
            try:
                with self.server.connect() as client:
                    self.seen[client.ask("GET", "/worker").text] += 1
            except OSError:
                self.seen["broke off"] += 1


@pytest.fixture(params=NAMES)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    kind = KINDS[request.param]
    option = "--respawn-failed-workers" if request.param == "granian" else ""
    kind = replace(kind, command=f"{kind.command} --workers 2 {option}")
    with Server(kind, tmp_path, "tests.faults.app:app") as running:
        yield running


def test_killed_worker_is_replaced_and_the_other_answers_meanwhile(server: Server) -> None:
    victim, other = wait_until(lambda: two(workers(server)), 60, "two workers")
    with Load(server) as load:
        wait_until(lambda: load.seen[str(victim)] and load.seen[str(other)], 60, "both to answer")
        os.kill(victim, signal.SIGKILL)
        before = load.seen[str(other)]
        wait_until(lambda: load.seen[str(other)] > before + 20, 60, "the other to answer")
        [new] = wait_until(lambda: set(workers(server)) - {victim, other}, 120, "a new worker")
        wait_until(lambda: load.seen[str(new)], 60, "the new worker to answer")
    # The requests that the victim had accepted are lost. A client that connects again at once can
    # meet the dying process a second time, so there are at most two for each of the 8 clients.
    assert load.seen["broke off"] <= 16
    assert set(load.seen) <= {str(victim), str(other), str(new), "broke off"}


@pytest.mark.slow
def test_granian_ends_with_its_worker_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    kind = replace(KINDS["granian"], command=f"{KINDS['granian'].command} --workers 2")
    with Server(kind, tmp_path, "tests.faults.app:app") as server:
        os.kill(workers(server)[0], signal.SIGKILL)
        assert server.process.wait(30) == 1
