"""Run them with ``pytest``; they keep their pastes in a database of their own."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

import database
from app import app


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A visitor over HTTPS, since session cookies are secure."""
    monkeypatch.setattr(database, "DATABASE", tmp_path / "pastes.sqlite3")
    with TestClient(app, "https://testserver", follow_redirects=False) as client:
        yield client


def put(client: TestClient, body: bytes, name: str = "", **query: str) -> str:
    """Send a body as curl does; return the path of its page."""
    response = client.put(f"/pastes/{name}", content=body, params=query)
    assert response.status_code == 201, response.text
    return response.headers["location"]


def rows(table: str) -> int:
    with database.connected() as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_author_writes_reads_lists_and_deletes(client: TestClient) -> None:
    values = {"text": "for x in y:\r\n    print(x)\r\n", "title": "loop"}
    path = client.post("/create", data=values).headers["location"]

    assert '<span class="nb">print</span>' in client.get(path).text
    assert (
        client.get(path.replace("/p/", "/raw/")).text == "for x in y:\n    print(x)\n"
    )
    assert "loop" in client.get("/mine").text
    assert client.post(path.replace("/p/", "/delete/")).status_code == 303
    assert client.get(path).status_code == 404


def test_other_visitors_cannot_delete(client: TestClient) -> None:
    path = put(client, b"x")
    assert client.post(path.replace("/p/", "/delete/")).status_code == 404
    assert client.get(path).status_code == 200


def test_paste_that_burns_is_read_once_and_by_a_post(client: TestClient) -> None:
    path = put(client, b"the secret", expires="burn")

    for _ in range(2):
        assert "the secret" not in client.get(path).text
        assert client.get(path.replace("/p/", "/raw/")).status_code == 403
    assert "the secret" in client.post(path).text
    assert client.post(path).status_code == 404
    assert rows("pastes") == 0


def test_visits_store_nothing(client: TestClient) -> None:
    for path in ("/", "/mine", "/p/nothing", "/?text=x"):
        assert "set-cookie" not in client.get(path).headers
    assert rows("sessions") == rows("pastes") == 0


def test_expired_paste_is_invisible_and_then_deleted(client: TestClient) -> None:
    path = put(client, b"old", expires="10m")
    with database.connected(write=True) as connection:
        connection.execute("UPDATE pastes SET expires = ?", (time.time() - 1,))
    assert client.get(path).status_code == 404
    put(client, b"new")
    assert rows("pastes") == 1


def test_markup_is_shown_and_not_obeyed(client: TestClient) -> None:
    for name in ("a.html", "a.py", "a.txt"):
        page = client.get(put(client, b"<script>alert(1)</script>", name))
        assert "<script>alert" not in page.text
        assert "default-src 'none';" in page.headers["content-security-policy"]
        assert "script-src" not in page.headers["content-security-policy"]


def test_one_address_cannot_make_too_many(client: TestClient) -> None:
    found = [client.post("/pastes", content=b"x").status_code for _ in range(60)]

    assert 429 in found
