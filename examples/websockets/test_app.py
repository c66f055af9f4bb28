"""Run them with ``pytest``."""

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient, WebSocketTestSession

from app import app

KEY = "a key of 16 to 64 characters"


@contextmanager
def enter(
    client: TestClient, name: str, key: str = KEY
) -> Iterator[WebSocketTestSession]:
    with client.websocket_connect("/chat/lobby") as socket:
        socket.send_json({"type": "enter", "name": name, "key": key})
        yield socket


def test_history_stays_when_the_last_member_leaves() -> None:
    with TestClient(app) as client:
        with enter(client, "Ada") as ada:
            assert ada.receive_json()["history"] == []
            ada.send_json({"type": "say", "text": "Hello"})
            said = ada.receive_json()
        with enter(client, "Eve") as eve:
            assert eve.receive_json()["history"] == [said]


def test_only_the_same_key_takes_over_a_name() -> None:
    with TestClient(app) as client, enter(client, "Bob") as bob:
        assert bob.receive_json()["members"] == ["Bob"]
        with enter(client, "Bob", "x" * 16) as other:
            assert other.receive()["reason"] == "this name is taken"
        with enter(client, "Bob") as again:
            assert again.receive_json()["members"] == ["Bob"]
            assert bob.receive()["reason"] == "you have connected again"
