"""Run them with ``pytest``."""

import pytest
from starlette.testclient import TestClient

from app import app

client = TestClient(app)


@pytest.mark.parametrize(
    ("path", "status"), [("/hello/Alice", 200), ("/hello", 400), ("/shirt/huge", 404)]
)
def test_status(path: str, status: int) -> None:
    assert client.get(path).status_code == status
