"""Run them with ``pytest``."""

from typing import Any

from starlette.testclient import TestClient

from app import app

WRITE = 'mutation { write(text: "Hi") { author } }'
WATCH = {"query": "subscription { written { text } }"}


def ask(client: TestClient, query: str) -> Any:
    return client.post("/graphql", json={"query": query}).json()


def test_visitor_logs_in_writes_and_watches() -> None:
    with TestClient(app, base_url="https://testserver") as client:
        assert ask(client, WRITE)["errors"][0]["message"] == "Please log in first."
        client.post("/login", data={"name": "Ada"})
        assert ask(client, "{ me }") == {"data": {"me": "Ada"}}
        with client.websocket_connect("/graphql", ["graphql-transport-ws"]) as socket:
            socket.send_json({"type": "connection_init"})
            assert socket.receive_json()["type"] == "connection_ack"
            socket.send_json({"type": "subscribe", "id": "1", "payload": WATCH})
            socket.send_json({"type": "ping"})
            assert socket.receive_json()["type"] == "pong"
            assert ask(client, WRITE)["data"]["write"]["author"] == "Ada"
            assert socket.receive_json()["payload"]["data"]["written"] == {"text": "Hi"}
