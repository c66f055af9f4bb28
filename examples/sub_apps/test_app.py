"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app


def test_parts_answer_below_their_paths() -> None:
    with TestClient(app, base_url="https://localhost") as client:
        assert client.get("/api/v2/hello/World").json()["below"] == "/api/v2"
        assert (
            "<li>Plums</li>" in client.post("/notes/add", data={"text": "Plums"}).text
        )


def test_other_hosts_are_refused() -> None:
    with TestClient(app, base_url="https://evil.example") as client:
        assert client.get("/api/v2/hello/World").status_code == 421
