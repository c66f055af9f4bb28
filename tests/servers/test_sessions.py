"""Sessions and their cookie on every server, over HTTP and WebSocket."""

from __future__ import annotations

import json
from http.cookies import SimpleCookie

import httpx

from tests.processes import wait_until
from tests.servers.harness import Server


def cookie_of(set_cookie: str) -> str:
    """The pair that goes back in a `Cookie` header."""
    return set_cookie.split(";")[0]


def test_session_is_saved_read_and_deleted(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=60) as client:
        assert client.get("/whoami").status_code == 401
        login = client.get("/login?name=Ann")
        cookie = SimpleCookie(login.headers["set-cookie"])["session_id"]
        # Plain HTTP to a loopback host: no Secure, or the cookie would not come back.
        assert (cookie["path"], cookie["httponly"], cookie["samesite"], cookie["secure"]) == (
            "/",
            True,
            "Lax",
            "",
        )
        assert cookie["max-age"] == ""
        assert login.headers["cache-control"] == "no-store"
        seen = client.get("/whoami")
        assert (seen.text, seen.headers["vary"]) == ("Ann", "Cookie")
        assert "set-cookie" not in seen.headers
        gone = client.get("/logout")
        assert "max-age=0" in gone.headers["set-cookie"].lower()
        assert client.get("/whoami").status_code == 401


def test_session_id_of_the_client_is_not_adopted(server: Server) -> None:
    fixed = "A" * 43
    login = server.get("/login?name=Ann", headers={"cookie": f"session_id={fixed}"})
    assert fixed not in login.headers["set-cookie"]


def test_websocket_reads_the_session_from_its_own_origin_only(server: Server) -> None:
    login = server.get("/login?name=Ann")
    cookie = {"cookie": cookie_of(login.headers["set-cookie"])}
    for origin, session in (
        (None, {"name": "Ann"}),
        (server.url, {"name": "Ann"}),
        ("http://evil.example", {}),
    ):
        headers = {**cookie, **({"origin": origin} if origin else {})}
        with server.websocket("/whoami", additional_headers=headers) as ws:
            assert json.loads(ws.recv(timeout=60)) == session, origin


def test_a_form_of_another_origins_page_has_no_session(server: Server) -> None:
    login = server.get("/login?name=Ann")
    cookie = {"cookie": cookie_of(login.headers["set-cookie"])}
    for headers, status in (
        ({}, 200),
        ({"origin": server.url}, 200),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://evil.example"}, 401),
        ({"origin": "null"}, 401),
        ({"sec-fetch-site": "same-site"}, 401),
    ):
        for method, wanted in (("POST", status), ("GET", 200)):
            answer = server.request(method, "/whoami", headers={**cookie, **headers})
            assert answer.status_code == wanted, (method, headers)
    strange = server.post("/login?name=Eve", headers={"origin": "http://evil.example"})
    assert "set-cookie" not in strange.headers


def test_the_cookie_of_a_request_that_a_proxy_passed_on_is_secure(server: Server) -> None:
    for headers in ({"via": "1.1 proxy"}, {"x-forwarded-for": "203.0.113.9"}):
        login = server.get("/login?name=Ann", headers=headers)
        assert "; Secure" in login.headers["set-cookie"]


def test_session_that_starts_in_a_handshake_is_saved(server: Server) -> None:
    with server.websocket("/login?name=Bob") as ws:
        assert ws.response is not None
        ws.send("seen")
        if not server.kind.accept_headers:
            # The server drops the headers of the handshake: log in over HTTP there.
            assert "set-cookie" not in ws.response.headers
            return
        cookie = cookie_of(ws.response.headers["set-cookie"])

    def answer() -> httpx.Response:
        return server.get("/whoami", headers={"cookie": cookie})

    # The handler's end, at which the session is saved, is not seen by the client of the socket.
    wait_until(lambda: answer().status_code == 200, what="the session to be saved")
    assert answer().text == "Bob"
