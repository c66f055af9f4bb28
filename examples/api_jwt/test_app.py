"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import app

ACCOUNT = {"username": "ada", "password": "analytical engine"}


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("database.DATABASE", tmp_path / "accounts.sqlite3")
    monkeypatch.setattr("tokens.JWT_KEY", "a key for the tests, of 32 characters")
    with TestClient(app) as opened:
        assert opened.post("/sign_up", json=ACCOUNT).status_code == 201
        yield opened


def test_access_token_opens_the_api(client: TestClient) -> None:
    token = client.post("/login", json=ACCOUNT).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert client.get("/api/me", headers=headers).json()["username"] == "ada"
    refused = client.get("/api/me")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")


def test_second_use_of_a_refresh_token_ends_its_family(client: TestClient) -> None:
    first = client.post("/login", json=ACCOUNT).json()["refresh_token"]
    answer = client.post("/refresh", json={"refresh_token": first})
    second = answer.json()["refresh_token"]
    for token in (first, second):
        refused = client.post("/refresh", json={"refresh_token": token})
        assert refused.status_code == 400
