"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

LOGIN = {"username": "ada", "password": "analytical engine"}


def visitor() -> TestClient:
    """Return a client with its own cookies; over HTTPS, since they are secure."""
    return TestClient(app, base_url="https://testserver", follow_redirects=False)


def test_visits_are_counted() -> None:
    with visitor() as client:
        assert client.post("/visit").headers["location"] == "/"
        assert '"number">1<' in client.get("/").text


def test_login_and_logout() -> None:
    with visitor() as client:
        assert client.post("/login", data=LOGIN | {"password": "x"}).status_code == 400
        assert client.get("/account").status_code == 401
        assert client.post("/login", data=LOGIN).status_code == 303
        assert "logged in" in client.get("/account").text
        client.post("/logout")
        assert client.get("/account").status_code == 401
