"""Start and stop of every server."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from tests.servers.harness import Kind, Server


def test_startup_and_shutdown_handlers_run_once(kind: Kind, tmp_path: Path) -> None:
    with Server(kind, tmp_path) as server:
        assert server.noted("lifespan") == (["startup"] if kind.lifespan else [])
        server.stop()
        assert server.noted("lifespan") == (["startup", "shutdown"] if kind.lifespan else [])


def test_a_stop_with_an_open_stream(kind: Kind, tmp_path: Path) -> None:
    with Server(kind, tmp_path) as server, server.connect() as client:
        token = server.token()
        client.send_head("GET", f"/endless?token={token}")
        assert client.read_head().status == 200
        assert client.read_chunk()
        begun = time.monotonic()
        stopped = server.stop() is not None
        if kind.name == "hypercorn" and sys.version_info >= (3, 12):
            # Whatever the app: since Python 3.12 `asyncio.Server.wait_closed` waits for open connections.
            assert not stopped
            return
        assert stopped, "the server had to be killed"
        assert time.monotonic() - begun < 8
        # Where the server kills its worker, no application can run anything.
        assert server.noted(token) == (["finally"] if kind.ends_streams else [])
