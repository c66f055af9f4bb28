"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import app


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("database.DATABASE", tmp_path / "todos.sqlite3")
    with TestClient(app, base_url="https://testserver") as started:
        yield started


def test_todo_is_added_checked_and_deleted(client: TestClient) -> None:
    assert "Buy &lt;plums&gt;" in client.post("/add?title=Buy <plums>").text
    assert "Nothing here." in client.get("/?show=done").text
    assert "✓" in client.post("/check/1", data={"done": "yes"}).text
    assert "Nothing here." in client.post("/delete/1").text


def test_htmx_gets_the_list_alone(client: TestClient) -> None:
    assert "<h1>" in client.get("/").text
    partial = client.post("/add", headers={"HX-Request-Type": "partial"})
    assert partial.status_code == 400
    assert "<h1>" not in partial.text
