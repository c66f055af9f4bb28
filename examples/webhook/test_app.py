"""Run them with ``pytest``."""

import base64
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import events
from app import Receiver

KEY = "a key for tests"


def send(client: TestClient, event_id: str, event: Any, **changed: str) -> int:
    body, now = json.dumps(event), str(int(time.time()))
    sent = {"id": event_id, "timestamp": now, "body": body} | changed
    signed = f"{sent['id']}.{sent['timestamp']}.{body}".encode()
    digest = hmac.digest(KEY.encode(), signed, "sha256")
    headers = {f"webhook-{name}": sent[name] for name in ("id", "timestamp")}
    headers["content-type"] = "application/json"
    headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return client.post("/receive", content=sent["body"], headers=headers).status_code


def wait_for(client: TestClient, text: str) -> None:
    while text not in client.get("/").text:
        time.sleep(0.05)


def test_events_are_accepted_once(tmp_path: Path) -> None:
    with TestClient(Receiver(tmp_path / "hooks.db", KEY)) as client:
        assert send(client, "1", {"type": "<b>"}) == 202
        assert send(client, "1", {"type": "<b>"}) == 200
        assert send(client, "2", {"type": "x"}, body="{}") == 401
        assert send(client, "2", {"type": "x"}, timestamp="1700000000") == 401
        assert send(client, "2", []) == 400
        wait_for(client, "done")
        assert "<b>&lt;b&gt;</b>" in client.get("/").text


def test_work_is_tried_again_and_survives_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.01)
    queue = events.Events(tmp_path / "hooks.db")
    queue.add("1", "example.failing", '{"type": "example.failing"}')
    with monkeypatch.context() as patch:
        patch.setattr(events, "LEASE", 0)
        assert queue.take()  # and as if the process had ended in the middle of it
    with TestClient(Receiver(tmp_path / "hooks.db", KEY)) as client:
        wait_for(client, "failed ValueError")
        assert "5 tries" in client.get("/").text
