"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

BOOK = {"title": "Dune", "author_id": "1", "copies": "2"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Open the app with a new database; over HTTPS, since the cookie is secure."""
    monkeypatch.setenv("DATA", str(tmp_path))
    monkeypatch.setenv("ADMIN_PASSWORD", "secret")
    from app import app

    with TestClient(app, base_url="https://testserver") as opened:
        yield opened


def test_staff_alone_changes_rows(client: TestClient) -> None:
    assert client.post("/admin/row/books", data=BOOK).status_code == 401
    client.post("/admin/login", data={"name": "admin", "password": "secret"})
    client.post("/admin/row/books", data=BOOK)
    assert "Dune" in client.get("/admin/rows/books?q=un").text
    client.post("/admin/row/books/2", data=BOOK | {"title": "Emma"})
    assert "Emma" in client.get("/admin/rows/admin_log").text
    client.post("/admin/delete/books/2")
    assert "Emma" not in client.get("/admin/rows/books").text
