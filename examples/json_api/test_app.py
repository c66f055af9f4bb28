"""Run them with ``pytest``."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

import app as module


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    """Return a client of an app with its own database."""
    monkeypatch.setattr(module, "DATABASE", str(tmp_path / "notes.sqlite3"))
    return TestClient(module.app)


def test_note_is_created_and_deleted(client: TestClient) -> None:
    with client:
        place = client.post("/notes", json={"title": "A"}).headers["location"]
        assert client.get(place).json()["title"] == "A"
        assert client.delete(place).status_code == 204
        assert client.get(place).status_code == 404


def test_query_cannot_choose_the_note(client: TestClient) -> None:
    with client:
        client.post("/notes", json={"title": "A"})
        assert client.delete("/notes?note_id=1").status_code == 405
