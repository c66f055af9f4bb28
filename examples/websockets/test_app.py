"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

ADA = {"type": "enter", "name": "Ada", "key": "0123456789 and more"}
EVE = {"type": "enter", "name": "Eve", "key": "another of 16 to 64"}


def test_history_stays_when_the_last_member_leaves() -> None:
    with TestClient(app) as client:
        with client.websocket_connect("/chat/lobby") as ws:
            ws.send_json(ADA)
            assert ws.receive_json()["members"] == ["Ada"]
            ws.send_json({"type": "say", "text": "Hello"})
            assert ws.receive_json()["text"] == "Hello"
        with client.websocket_connect("/chat/lobby") as ws:
            ws.send_json(EVE)
            assert "Hello" in str(ws.receive_json()["history"])


def test_only_the_same_key_takes_over_a_name() -> None:
    chat = "/chat/attic"
    with TestClient(app) as client, client.websocket_connect(chat) as old:
        old.send_json(ADA)
        assert old.receive_json()["type"] == "welcome"
        with client.websocket_connect(chat) as other:
            other.send_json({**EVE, "name": "Ada"})
            assert other.receive()["reason"] == "this name is taken"
        with client.websocket_connect(chat) as new:
            new.send_json(ADA)
            assert new.receive_json()["members"] == ["Ada"]
            assert old.receive()["reason"] == "you have connected again"
