"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

GOOD = {"name": "Zoë", "email": "zoe@example.org", "topic": "pies"}


def visitor() -> TestClient:
    """Return a client with its own cookies; over HTTPS, since they are secure."""
    return TestClient(app, base_url="https://testserver")


def test_good_fields_lead_to_thanks() -> None:
    assert "Thank you, Zoë" in visitor().post("/sign_up", data=GOOD).text


def test_mistakes_are_shown() -> None:
    response = visitor().post("/sign_up", data=GOOD | {"email": "zoe"})
    assert response.status_code == 422
    assert "That is no e-mail address." in response.text
