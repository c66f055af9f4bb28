"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app


def test_first_page() -> None:
    with TestClient(app, base_url="https://testserver") as client:
        assert client.get("/").status_code == 200
