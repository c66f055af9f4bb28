"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app, version

client = TestClient(app)


def test_versions_are_kept_forever() -> None:
    path = "/static/style.css"
    assert (
        "immutable"
        in client.get(f"{path}?v={version('style.css')}").headers["cache-control"]
    )
    assert client.get(path).headers["cache-control"] == "public, max-age=60"


def test_folder_cannot_be_left() -> None:
    assert client.get("/static/..%2fapp.py").status_code == 404
