"""Run them with ``pytest``."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app import Api

ADA = {"name": "Ada", "email": "ada@example.org"}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    app = Api(f"sqlite+aiosqlite:///{tmp_path}/test.sqlite3")
    with TestClient(app, base_url="https://testserver") as started:
        yield started


def test_contact_is_created_changed_and_deleted(client: TestClient) -> None:
    created = client.post("/contacts", json=ADA)
    url = created.headers["location"]
    assert (created.status_code, created.json()) == (201, {"id": 1, **ADA})
    client.put(url, json=ADA | {"name": "Countess"})
    assert client.get(url).json()["name"] == "Countess"
    assert client.delete(url).status_code == 204
    assert client.get(url).status_code == 404


def test_second_contact_with_an_address_is_refused(client: TestClient) -> None:
    answers = [client.post("/contacts", json=ADA) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 409]


def test_list_comes_in_pages(client: TestClient) -> None:
    for number in range(3):
        client.post("/contacts", json=ADA | {"email": f"{number}@example.org"})
    first = client.get("/contacts?limit=2").json()
    second = client.get(first["next"]).json()
    assert [len(page["contacts"]) for page in (first, second)] == [2, 1]
    assert second["next"] is None
