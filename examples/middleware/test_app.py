"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import API_TOKEN, Root


def visitor() -> TestClient:
    """Return a client of an app with new counters."""
    return TestClient(Root(), base_url="https://testserver")


def test_program_needs_its_token() -> None:
    client, token = visitor(), {"authorization": f"Bearer {API_TOKEN}"}
    assert client.get("/api").status_code == 401
    assert client.get("/api", headers=token).json()["user"] == "robot"


def test_form_needs_its_token() -> None:
    client, fields = visitor(), {"name": "Ada"}
    assert client.post("/form", data=fields).status_code == 403
    fields |= client.get("/form").json()
    assert client.post("/form", data=fields).json() == {"text": "Hello, Ada!"}


def test_fourth_guess_is_an_error_page() -> None:
    client, browser = visitor(), {"accept": "text/html"}
    pages = [client.get("/guess/42", headers=browser) for _ in range(4)]
    assert [page.status_code for page in pages] == [200, 200, 200, 429]
    assert "<h1>Too Many Requests</h1>" in pages[3].text
    assert "nonce-" in pages[3].headers["content-security-policy"]
