"""examples/webhook"""

import asyncio
import base64
import json
import sqlite3
import sys
import time

import httpx
import pytest

from tests.examples import harness
from tests.examples.accounts import signed
from tests.examples.copied import check_kept_secret
from tests.examples.loading import load
from tests.processes import free_port, serving, wait_until

BODY = b'{"type": "order.paid", "order": 7}'


def key_of(server):
    path = server.folder / "data" / "secret"
    assert path.stat().st_mode & 0o077 == 0
    return path.read_text().encode()


def test_only_a_signed_new_event_is_accepted(client, server):
    key = key_of(server)

    def send(headers, body=BODY):
        response = client.post("/receive", content=body, headers=headers)
        return response.status_code, response.json()

    assert send(signed(key, "1", BODY)) == (202, {"status": "accepted"})
    assert send(signed(key, "1", BODY)) == (200, {"status": "known already"})
    now = int(time.time())
    for headers, error in (
        ({"content-type": "application/json; charset=utf-8"}, "Wrong signature"),
        (signed(b"other", "2", BODY), "Wrong signature"),
        (signed(key, "2", BODY + b" "), "Wrong signature"),
        ({**signed(key, "2", BODY), "webhook-id": "3"}, "Wrong signature"),
        ({**signed(key, "2", BODY, at=now), "webhook-timestamp": str(now + 1)}, "Wrong signature"),
        (signed(key, "2", BODY, at=now - 310), "Too old"),
        (signed(key, "2", BODY, at=now + 310), "Too old"),
        (signed(key, "2", BODY, at="x"), "Too old"),
    ):
        assert send(headers) == (401, {"error": error})
    assert send({**signed(key, "2", BODY), "content-type": "text/plain"})[0] == 415
    for body in (b"", b"[]", b"{}", b'{"type": "\xff"}', b"7"):
        assert send(signed(key, "4", body), body)[0] == 400
    large = b'{"type": "' + b"x" * 2**18 + b'"}'
    assert (
        client.post("/receive", content=large, headers=signed(key, "5", large)).status_code == 413
    )
    assert client.get("/receive").status_code == 405


@pytest.mark.usefixtures("measured")
def test_key_is_never_empty(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE", str(tmp_path / "data" / "hooks.db"))
    app = load("webhook")
    check_kept_secret(app.kept_secret, tmp_path)

    for secret in ("x" * 15, "whsec_", "whsec_" + base64.b64encode(b"x" * 15).decode()):
        with pytest.raises(ValueError, match="16 bytes"):
            app.Receiver(tmp_path / "hooks.db", secret)
    (tmp_path / "secret").touch()
    with pytest.raises(ValueError, match="32 characters"):
        app.Receiver(tmp_path / "hooks.db", "")


@pytest.mark.usefixtures("measured")
async def test_work_that_exits_is_tried_again_and_the_server_goes_on(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE", str(tmp_path / "hooks.db"))
    app = load("webhook")

    async def work(event):
        sys.exit(event["type"])

    async def cancelled(event):
        raise asyncio.CancelledError(event["type"])

    monkeypatch.setattr(app, "work", work)
    assert await app._error_of_work("1", BODY.decode()) == "SystemExit('order.paid')"
    monkeypatch.setattr(app, "work", cancelled)
    assert await app._error_of_work("1", BODY.decode()) == "CancelledError('order.paid')"


def test_events_are_shown_without_what_is_in_them(client, server):
    body = b'{"type": "<script>x", "card": "4242"}'
    client.post("/receive", content=body, headers=signed(key_of(server), "<b>", body))
    wait_until(lambda: "waiting" not in client.get("/").text)
    shown = client.get("/")
    assert shown.headers["content-type"].startswith("application/json")
    event = shown.json()["events"][0]
    assert (event["type"], event["state"], event["tries"]) == ("<script>x", "done", 1)
    assert "4242" not in shown.text


def test_events_survive_the_end_of_the_process(tmp_path, measure):
    folder, port = harness.copied("webhook", tmp_path), free_port()
    database, url = folder / "hooks.db", f"http://127.0.0.1:{port}"
    key = b"0123456789abcdef"
    secret = "whsec_" + base64.b64encode(key).decode()
    more = {**measure, "DATABASE": str(database), "WEBHOOK_SECRET": secret}

    def query(sql):
        with sqlite3.connect(database, timeout=60) as connection:
            return connection.execute(sql).fetchall()

    def send(event_id, kind):
        body = json.dumps({"type": kind}).encode()
        headers = signed(key, event_id, body)
        assert (
            httpx.post(f"{url}/receive", content=body, headers=headers, timeout=60).status_code
            == 202
        )

    with serving(harness.SERVE, folder, port, more, errors=True):
        assert httpx.get(url, timeout=60).json() == {"events": []}
        query("ALTER TABLE events RENAME COLUMN due TO gone")  # the queue fails for a moment
        time.sleep(0.5)  # the worker looks at the table some times
        query("ALTER TABLE events RENAME COLUMN gone TO due")
        send("failing", "example.failing")
        wait_until(lambda: query("SELECT tries FROM events WHERE tries > 0 AND error != ''"))
    assert query("SELECT state FROM events") == [("waiting",)]
    query("UPDATE events SET due = 0, tries = 4")
    query("INSERT INTO events (id, received, due) VALUES ('old', 0, 9e9)")
    query("INSERT INTO events (id, received, due, tries) VALUES ('deadly', 9e9, 0, 5)")
    with serving(harness.SERVE, folder, port, more, errors=True):
        wait_until(lambda: query("SELECT 1 FROM events WHERE state = 'failed' AND tries = 5"))
        wait_until(lambda: query("SELECT 1 FROM events WHERE error = 'The process ended.'"))
        send("new", "order.paid")
        wait_until(lambda: query("SELECT 1 FROM events WHERE id = 'new' AND state = 'done'"))
        assert query("SELECT id FROM events WHERE id = 'old'") == []
