"""Run them with ``pytest``."""

import pytest
from starlette.testclient import TestClient

from app import Root

client = TestClient(Root())


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/notes/1", 200), ("GET", "/notes/one", 404), ("PATCH", "/notes/1", 405)],
)
def test_status(method: str, path: str, status: int) -> None:
    assert client.request(method, path).status_code == status


def test_note_has_a_url() -> None:
    added = client.post("/notes", json={"text": "Plant a tree"})
    assert client.get(added.headers["location"]).json() == added.json()
