"""Start and stop of every server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from tests.servers.harness import KINDS, Kind, Server, installed


@dataclass
class Life:
    """What was seen of a server that was started and stopped."""

    noted_at_first: list[str]
    noted_at_last: list[str]
    stream: list[str]
    ended_by_itself: bool


def live(server: Server, *, stream: bool) -> Life:
    """Start a server and stop it, perhaps while a stream is open."""
    with server, server.connect() as client:
        token = server.token()
        if stream:
            client.send_head("GET", f"/endless?token={token}")
            assert client.read_head().status == 200
            assert client.read_chunk()
        noted = server.noted("lifespan")
        code = server.stop()
        return Life(noted, server.noted("lifespan"), server.noted(token), code is not None)


def patient(kind: Kind) -> Kind:
    """Let Granian wait longer for its worker, in which the shutdown handlers run."""
    command = kind.command.replace("--workers-kill-timeout 1", "--workers-kill-timeout 30")
    return replace(kind, command=command)


Lives = dict[tuple[str, bool], "Future[Life]"]


@pytest.fixture(scope="session")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """The lives of all servers, with an open stream and without, at once, as most only wait."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        yield {
            (name, stream): pool.submit(
                live,
                Server(kind if stream else patient(kind), tmp_path_factory.mktemp(name)),
                stream=stream,
            )
            for stream in (False, True)
            for name, kind in KINDS.items()
            if installed(kind)
        }


def test_startup_and_shutdown_handlers_run_once(kind: Kind, lives: Lives) -> None:
    life = lives[kind.name, False].result()
    assert life.noted_at_first == (["startup"] if kind.lifespan else [])
    assert life.noted_at_last == (["startup", "shutdown"] if kind.lifespan else [])


def test_open_stream_ends_when_the_server_is_stopped(kind: Kind, lives: Lives) -> None:
    life = lives[kind.name, True].result()
    if kind.name == "hypercorn" and sys.version_info >= (3, 12):
        # Whatever the app: since Python 3.12 `asyncio.Server.wait_closed` waits for open
        # connections.
        assert not life.ended_by_itself
        return
    # The client stays for as long as the server may take.
    assert life.ended_by_itself, "the server had to be killed"
    # If the server kills its worker, no application can run anything.
    assert life.stream == (["finally"] if kind.ends_streams else [])
