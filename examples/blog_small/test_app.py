"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import database
from app import app

PASSWORD = "a long password"
PIE = {"title": "Pie", "text": "Apple"}


@pytest.fixture
def ada(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Make an account in a new database; over HTTPS, since the cookie is secure."""
    monkeypatch.setattr(database, "DATABASE", tmp_path / "blog.sqlite3")
    with TestClient(app, base_url="https://testserver") as client:
        account = {"name": "ada", "password": PASSWORD}
        assert client.post("/sign_up", data=account).status_code == 200
        yield client


def test_author_writes_edits_and_deletes(ada: TestClient) -> None:
    assert "<h1>Pie</h1>" in ada.post("/write", data=PIE).text
    assert "<h1>Tart</h1>" in ada.post("/write/1", data=PIE | {"title": "Tart"}).text
    ada.post("/delete/1")
    assert ada.get("/post/1").status_code == 404


def test_others_read_but_do_not_write(ada: TestClient) -> None:
    ada.post("/write", data=PIE)
    ada.post("/logout")
    assert "Apple" in ada.get("/").text
    for path in ("/write", "/write/1", "/delete/1"):
        assert ada.post(path, data=PIE).status_code == 401
    ada.post("/sign_up", data={"name": "eve", "password": PASSWORD})
    for path in ("/write/1", "/delete/1"):
        assert ada.post(path, data=PIE).status_code == 403
