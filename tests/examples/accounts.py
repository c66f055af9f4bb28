"""Facts about the examples for their tests: settings of servers, and ways to sign in."""

import base64
import hmac
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.examples.smtp import token_for

PASSWORD = "flour butter apples"
ADMIN_PASSWORD = "staff alone"
PASSWORD_OF_SESSIONS = "analytical engine"
UPLOAD_LIMIT = 2**20
ARTICLE = """\
There is a *right* way to let a sourdough rest, and there are the ways people find at two
in the morning.

## What you need

1. 500 g of flour, the plain kind
2. 350 g of water -- "lukewarm" means that you feel nothing
3. Patience

> Bread is not difficult. Waiting is.
"""
CHEAP = {"BLOG_PASSWORD_MEMORY": "8", "BLOG_PASSWORD_ROUNDS": "1"}
#: Addresses of clients, and by which key a limit counts their requests.
CLIENTS = [
    (("203.0.113.9", 1), "203.0.113.9"),
    (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
    (("2001:db8:1:2:3::4", 1), "2001:db8:1:2::/64"),
    (("::ffff:203.0.113.9", 1), "203.0.113.9"),
    (("testclient", 1), "testclient"),
    (("socket", 0), "socket"),
    (None, "unknown"),
]
SETTINGS: Mapping[str, dict[str, str]] = {
    "admin": {"ADMIN_PASSWORD": ADMIN_PASSWORD},
    "blog": {**CHEAP, "BLOG_SIGN_UP": "open", "BLOG_LOGIN_TRIES": "10000"},
    "cluster": {"LOGIN_TRIES": "100000", "MESSAGES": "100000"},
    "file_uploads": {"UPLOAD_LIMIT": str(UPLOAD_LIMIT)},
    "login": {"LOGIN_TRIES": "10000"},
    "middleware": {"API_TOKEN": "token", "ADMIN_PASSWORD": "päss:word"},
    "pastebin": {"PASTEBIN_RATE": "10000"},
    "url_shortener": {"SHORTENER_RATE": "10000"},
}
"""The environment variables of the server that the tests of an example share, by example."""


def session_ids(client: httpx.Client) -> set[str | None]:
    return {cookie.value for cookie in client.cookies.jar if cookie.name == "session_id"}


def opens_socket(client: httpx.Client, path: str = "live", **headers: str) -> bool:
    """Say whether a WebSocket opens with the session of a client, or is refused."""
    headers["cookie"] = "; ".join(f"{one.name}={one.value}" for one in client.cookies.jar)
    url = str(client.base_url.join(path)).replace("http", "ws", 1)
    try:
        with connect(url, additional_headers=headers):
            return True
    except InvalidStatus as refused:
        assert refused.response.status_code in (401, 403)
        return False


def with_live_socket(app: Path, parameters: str = ", user_id: FromSession") -> None:
    """Give the class of an app a WebSocket handler, `/live`, as its owner might later do."""
    handler = f"    async def ws_live(self, ws{parameters}):\n        await ws.accept()\n\n"
    text, count = re.subn(
        r'(class (?:Root|Api)\(\w+\):\n(?:    """.*\n\n)?)', rf"\1{handler}", app.read_text()
    )
    assert count
    app.write_text(text)


def assert_no_script(response: httpx.Response) -> None:
    """The policy of a page forbids scripts and styles in it, and it has none."""
    assert "script-src 'self'" in response.headers["content-security-policy"]
    assert "unsafe-inline" not in response.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=", response.text), (
        response.url
    )


def sign_in_to_admin(client: httpx.Client) -> httpx.Response:
    base = "" if client.base_url.path.endswith("admin/") else "admin/"
    return client.post(f"{base}login", data={"name": "admin", "password": ADMIN_PASSWORD})


def sign_in_to_the_blog(client: httpx.Client, name: str = "ada") -> None:
    """Log in, with a new account if there is none of this name."""
    fields = {"name": name, "password": PASSWORD}
    response = client.post("login", data=fields)
    if response.status_code != 303:
        response = client.post("sign_up", data={"full_name": "Ada Lovelace", **fields})
    assert response.status_code == 303, response.text


def sign_in_by_name(client: httpx.Client, name: str = "ada") -> None:
    """Log in, with a new account if there is none of this name."""
    fields = {"name": name, "password": PASSWORD}
    if client.post("login", data=fields).status_code != 303:
        assert client.post("sign_up", data=fields).status_code == 303


def account(name: str, full_name: str) -> dict[str, str]:
    """Return the fields of a new account of the blog, by their labels."""
    return {
        "Your name under posts": full_name,
        "Name for the login": name,
        "Password": PASSWORD,
    }


def sign_in_to_sessions(
    client: httpx.Client, password: str = PASSWORD_OF_SESSIONS, username: str = "ada"
) -> httpx.Response:
    return client.post("login", data={"username": username, "password": password})


def sign_in_to_login(client: httpx.Client, email: str = "ada@example.org") -> None:
    """Log in, with a new account if there is none of this address."""
    response = client.post("login", data={"email": email, "password": PASSWORD})
    if response.status_code != 303:
        client.post("sign_up", data={"email": email})
        response = client.post(f"reset/{token_for(email)}", data={"new_password": PASSWORD})
    assert response.status_code == 303, response.text


def sign_in_by_oauth(client: httpx.Client) -> tuple[set[str | None], str]:
    """Log in at the provider; return the session ids before, and the way back from there."""
    url = client.post("login").headers["location"]
    before = session_ids(client)
    back = httpx.post(url, data={"sub": "ada@example.org"}, timeout=60).headers["location"]
    path = f"callback?{back.partition('?')[2]}"
    assert client.get(path).status_code == 303
    return before, path


def signed(key: bytes, event_id: str, body: bytes, at: object = None) -> dict[str, str]:
    """Return the headers of a signed event for the webhook receiver."""
    sent = str(int(time.time()) if at is None else at)
    digest = hmac.digest(key, f"{event_id}.{sent}.".encode() + body, "sha256")
    return {
        "webhook-id": event_id,
        "webhook-timestamp": sent,
        "content-type": "application/json",
        "webhook-signature": "v1,AAAA v1," + base64.b64encode(digest).decode(),
    }


def introduce(client: httpx.Client) -> None:
    assert client.post("introduce", json={"name": "Alice"}).status_code == 200


def sign_in_to_graphql(client: httpx.Client) -> None:
    assert client.post("login", data={"name": "Ada"}).status_code == 303


SIGN_IN: Mapping[str, Callable[[httpx.Client], object]] = {
    "admin": sign_in_to_admin,
    "blog": sign_in_to_the_blog,
    "login": sign_in_to_login,
    "blog_small": sign_in_by_name,
    "cluster": sign_in_by_name,
    "graphql": sign_in_to_graphql,
    "oauth_login": sign_in_by_oauth,
    "sessions": sign_in_to_sessions,
    "testing": introduce,
}
"""How a visitor signs in, by example, for the examples in which that is possible."""
