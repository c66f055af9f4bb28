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

KEY = "a key for the tests"


def send(client: TestClient, event_id: str, event: Any, **changed: str) -> int:
    body, now = json.dumps(event), str(int(time.time()))
    sent = {"id": event_id, "timestamp": now, "body": body} | changed
    signed = f"{sent['id']}.{sent['timestamp']}.{body}".encode()
    digest = hmac.digest(KEY.encode(), signed, "sha256")
    headers = {f"webhook-{name}": sent[name] for name in ("id", "timestamp")}
    headers["content-type"] = "application/json"
    headers["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return client.post("/receive", content=sent["body"], headers=headers).status_code


def wait_for(client: TestClient, state: str) -> Any:
    while (event := client.get("/").json()["events"][0])["state"] != state:
        time.sleep(0.05)
    return event


def test_events_are_accepted_once(tmp_path: Path) -> None:
    with TestClient(Receiver(tmp_path / "hooks.db", KEY)) as client:
        assert send(client, "1", {"type": "x"}) == 202
        assert send(client, "1", {"type": "x"}) == 200
        assert send(client, "2", {"type": "x"}, body="{}") == 401
        assert send(client, "2", {"type": "x"}, timestamp="1700000000") == 401
        wait_for(client, "done")


def test_work_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE", 0.01)
    with TestClient(Receiver(tmp_path / "hooks.db", KEY)) as client:
        send(client, "1", {"type": "example.failing"})
        assert wait_for(client, "failed")["tries"] == 5
