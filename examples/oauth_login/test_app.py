"""Run them with ``pytest``; the provider is real, but has no passwords."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx2
import pytest
from oidc_provider_mock import run_server_in_thread
from starlette.testclient import TestClient

from app import Provider, Root

# The provider uses old parts of authlib.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def client() -> Iterator[TestClient]:
    with run_server_in_thread(require_nonce=True) as server:
        issuer = f"http://localhost:{server.server_port}"
        app = Root(Provider(issuer, "example", "secret"))
        with TestClient(app, "https://testserver", follow_redirects=False) as client:
            yield client


def answer_of_provider(client: TestClient, **form: str) -> str:
    """Log in or refuse at the provider; return where it sends the browser."""
    url = client.post("/login").headers["location"]
    assert "code_challenge_method=S256" in url
    back = urlsplit(httpx2.post(url, data=form, timeout=60).headers["location"])
    return f"{back.path}?{back.query}"


def test_login_and_logout(client: TestClient) -> None:
    back = answer_of_provider(client, sub="ada@example.org")
    before = client.cookies["session_id"]
    assert client.get(back).headers["location"] == "/account"
    assert client.cookies["session_id"] != before
    assert "ada@example.org" in client.get("/account").text
    assert client.get(back).status_code == 400  # only once
    client.post("/logout")
    assert client.get("/account").status_code == 401


def test_refused_and_forged_logins(client: TestClient) -> None:
    assert client.get(answer_of_provider(client, action="deny")).status_code == 400
    back = answer_of_provider(client, sub="eve@example.org")
    client.cookies.clear()  # another browser
    assert client.get(back).status_code == 400
    assert client.get("/account").status_code == 401
