"""Run them with ``pytest``."""

from pathlib import Path

from starlette.testclient import TestClient

from app import Root


def test_pool_is_open_while_the_app_serves(tmp_path: Path) -> None:
    app = Root(str(tmp_path / "books.sqlite3"))
    with TestClient(app) as client:
        assert client.post("/add", json={"title": "Emma"}).status_code == 201
        assert client.get("/health").status_code == 200
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
