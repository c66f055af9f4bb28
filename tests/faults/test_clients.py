"""Hostile and broken clients: the server goes on, and keeps nothing of them."""

from __future__ import annotations

from tests.faults.harness import unharmed
from tests.servers.harness import Server


def test_client_that_sends_garbage_harms_no_other(server: Server) -> None:
    with unharmed(server), server.connect() as client:
        client.send(bytes(range(256)) * 64)
