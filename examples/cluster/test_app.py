"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

ADA = {"name": "ada", "password": "analytical engine"}
SAY = {"type": "say", "key": "made by the page", "text": "Hello"}


def heard(ws, kind):
    while (event := ws.receive_json())["type"] != kind:
        pass
    return event


def test_message_is_stored_once_and_missed_by_no_one() -> None:
    with TestClient(app, base_url="https://testserver") as client:
        client.post("/sign_up", data=ADA)
        cookie = {"cookie": f"session_id={client.cookies['session_id']}"}
        with client.websocket_connect("/chat/lobby", headers=cookie) as ws:
            assert heard(ws, "present")["names"] == ["ada"]
            start = heard(ws, "start")
            for _ in range(2):  # as after a lost acknowledgment
                ws.send_json(SAY)
                stored = heard(ws, "stored")
        missed = f"/chat/lobby?last={start['id']}"
        with client.websocket_connect(missed, headers=cookie) as ws:
            message = heard(ws, "message")
            ws.send_json({**SAY, "key": "another key", "text": "How are you?"})
            assert heard(ws, "message")["text"] == "How are you?"
    assert (message["id"], message["text"]) == (stored["id"], "Hello")


def test_only_members_write() -> None:
    with TestClient(app, base_url="https://testserver") as client:
        assert client.get("/room/lobby").status_code == 200
        assert client.post("/say/lobby", data={"text": "Hi"}).status_code == 401
        with client.websocket_connect("/chat/lobby") as ws:
            assert ws.receive()["code"] == 4001
