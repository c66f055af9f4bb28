"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import app as module
import backup
import database


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Serve the app with its own folder."""
    for part in (database, backup, module):
        monkeypatch.setattr(part, "DATA", tmp_path)
    for part in (database, backup):
        monkeypatch.setattr(part, "DATABASE", tmp_path / "shop.sqlite3")
    monkeypatch.setattr(module, "UPLOADS", tmp_path / "uploads")
    with TestClient(module.app, base_url="https://testserver") as client:
        yield client


def test_websocket_knows_the_name_in_the_session(client: TestClient) -> None:
    client.post("/name", data={"name": "Ada"})
    assert "Hello, Ada" in client.get("/").text
    with client.websocket_connect("wss://testserver/echo") as ws:
        ws.send_text("a pie")
        assert ws.receive_text() == "Ada says a pie"


def test_backup_has_each_upload(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = client.post("/upload", files={"file": ("../pie.txt", b"Plums")})
    assert answer.json() == {"name": "pie.txt", "bytes": 5}
    monkeypatch.setattr(backup, "KEPT", 1)
    (tmp_path / "backups" / "2026-01-01T000000").mkdir(parents=True)
    folder = backup.back_up(tmp_path / "backups")
    assert [path.name for path in (tmp_path / "backups").iterdir()] == [folder.name]
    [kept] = (folder / "uploads").iterdir()
    assert kept.read_bytes() == b"Plums"


def test_too_large_a_file_leaves_nothing(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIMIT", 4)
    assert client.post("/upload", files={"file": ("a", b"Plums")}).status_code == 413
    assert list((tmp_path / "uploads").iterdir()) == []
    assert client.get("/health").text == "ready\n"
