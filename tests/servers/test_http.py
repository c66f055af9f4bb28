"""Plain requests on every server."""

from __future__ import annotations

import json
import time

import httpx
import pytest

from tests.servers.app import ENDS, IMPATIENT
from tests.servers.harness import Server
from tests.timing import shortest

JSON = [("content-type", "application/json")]
FORM = [("content-type", "application/x-www-form-urlencoded")]


def test_get_is_answered_with_type_and_length_by_coroutines_and_in_threads(server: Server) -> None:
    response = server.get("/hello/Alice")
    assert (response.status_code, response.text) == (200, "Hello, Alice!")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-length"] == "13"
    assert server.get("/thread").json() is False  # not the main thread


def test_head_has_the_content_length_of_get_and_no_body(server: Server) -> None:
    with server.connect() as client:
        head = client.ask("HEAD", "/hello/Alice")
        assert (head.status, head.header("content-length"), head.body) == (200, "13", b"")
        # Had a body been sent, it would stand before the next status line.
        assert client.ask("GET", "/hello/Bob").text == "Hello, Bob!"


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        ("/segments/a/b", ["a", "b"]),
        ("/segments/a%2Fb/c", ["a", "b", "c"]),
        ("/segments/%C3%A9%20x", ["é x"]),
        ("/segments/a+b", ["a+b"]),
        ("/segments/%EF%BF%BD", ["\ufffd"]),
        ("/segments/%FF", ["\ufffd"]),
        ("/segments/a//b", ["a", "", "b"]),
        ("/segments/a/", ["a"]),
    ],
)
def test_path_segments(server: Server, target: str, segments: list[str]) -> None:
    with server.connect() as client:
        response = client.ask("GET", target)
    assert (response.status, json.loads(response.body)) == (200, segments)


def test_client_chooses_the_root_path_where_the_page_on_servers_says_so(server: Server) -> None:
    headers = {"Daphne-Root-Path": "/below"}
    response = httpx.get(f"{server.url}/below/hello/Alice", headers=headers, timeout=60)
    assert response.status_code == (200 if server.kind.believes_root_path else 404)


def test_query_is_converted_and_a_wrong_one_is_400(server: Server) -> None:
    response = server.get("/query?number=7&text=%C3%A9+x%26&number=8")
    assert response.json() == {"number": 7, "text": "é x&"}
    assert server.get("/query?number=x").status_code == 400
    assert server.get("/query").text == "400 Bad Request: Missing required parameter 'number'"


def test_unknown_path_wrong_method_and_exception_are_4xx_and_500(server: Server) -> None:
    missing = server.get("/nope")
    assert (missing.status_code, missing.text) == (404, "404 Not Found")
    wrong = server.get("/only_post")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST, OPTIONS")
    failed = server.get("/fails")
    assert failed.status_code == 500
    assert "secret" not in failed.text
    server.wait_for_log("a secret")


@pytest.mark.parametrize("path", ["ends", "ends_in_a_thread"])
@pytest.mark.parametrize("error", ENDS)
def test_no_exception_of_a_handler_ends_the_server(server: Server, path: str, error: str) -> None:
    failed = server.get(f"/{path}/{error}")
    assert (failed.status_code, failed.text) == (500, "500 Internal Server Error")
    assert server.get("/ready").text == "ready"


def test_none_is_204_without_body_and_length(server: Server) -> None:
    with server.connect() as client:
        response = client.ask("POST", "/only_post", body=b"")
        assert (response.status, response.header("content-length")) == (204, None)
        assert client.ask("GET", "/ready").text == "ready"


def test_json_and_form_bodies_reach_the_parameters(server: Server) -> None:
    with server.connect() as client:
        for headers, body in (
            (JSON, b'{"name": "\xc3\xa9", "age": 3}'),
            (FORM, b"name=%C3%A9&age=3"),
        ):
            response = client.ask("POST", "/members", headers, body)
            assert (response.status, json.loads(response.body)) == (200, {"name": "é", "age": 3})
        assert client.ask("POST", "/members", JSON, b'{"name": ').status == 400
        assert client.ask("POST", "/members", JSON, b'{"name": "x", "age": "3"}').status == 400
        assert client.ask("GET", "/ready").text == "ready"


def test_chunked_body_arrives_whole(server: Server) -> None:
    with server.connect() as client:
        for path, headers, parts, answer in (
            ("/raw", [], [b"one ", b"two ", b"\0" * 70_000], b"one two " + b"\0" * 70_000),
            ("/members", FORM, [b"name=", b"x&ag", b"e=3"], b'{"name":"x","age":3}'),
        ):
            client.send_head("POST", path, [*headers, ("transfer-encoding", "chunked")])
            for part in parts:
                client.send_chunk(part)
            client.send_chunk(b"")
            assert client.read("POST").body == answer


def test_connection_is_kept_after_a_413_with_content_length_or_chunks(server: Server) -> None:
    with server.connect() as client:
        for path in ("/raw", "/members"):
            assert client.ask("POST", path, FORM, b"x" * (2**20 + 1)).status == 413
            assert client.ask("GET", "/ready").text == "ready"
        client.send_head("POST", "/raw", [("transfer-encoding", "chunked")])
        for _ in range(17):
            client.send_chunk(b"x" * 2**16)
        client.send_chunk(b"")
        assert client.read("POST").status == 413
        assert client.ask("GET", "/ready").text == "ready"


def test_expect_100_continue_is_answered_before_the_body_is_sent(server: Server) -> None:
    expect = ("expect", "100-continue")
    with server.connect() as client:
        client.send_head("POST", "/raw", [expect, ("content-length", "5")])
        assert client.read_head().status == 100
        client.send(b"hello")
        assert client.read("POST").text == "hello"


def test_too_large_body_is_refused_without_100_continue(server: Server) -> None:
    with server.connect() as client:
        client.send_head(
            "POST", "/raw", [("expect", "100-continue"), ("content-length", str(2**21))]
        )
        status = client.read_head().status
        if server.kind.continues_at_once:
            # The server asks for the body before the application can refuse it.
            assert status == 100
            if server.kind.buffers_bodies:
                client.send(b"x" * 2**21)
            status = client.read("POST").status
        assert status == 413


def test_client_that_stalls_gets_408_after_one_body_timeout(server: Server) -> None:
    def stalled() -> float:
        begun = time.monotonic()
        with server.connect() as client:
            client.send_head("POST", "/impatient/raw", [("content-length", "10")])
            client.send(b"x")
            if server.kind.buffers_bodies:
                # The application is never called, and the server waits as long as the client does.
                client.socket.settimeout(2 * IMPATIENT)
                with pytest.raises(TimeoutError):
                    client.read("POST")
                return IMPATIENT
            assert client.read("POST").status == 408
            return time.monotonic() - begun

    # One body_timeout, and not a second one in which the rest of the body is waited for.
    assert 0.9 * IMPATIENT < shortest(stalled, 1.8 * IMPATIENT) < 1.9 * IMPATIENT


def test_handler_is_not_called_with_half_a_body(server: Server) -> None:
    token = server.token()
    with server.connect() as client:
        client.send_head("POST", f"/never_runs?token={token}", [*FORM, ("content-length", "20")])
        client.send(b"name=half")
    with server.connect() as client:
        assert client.ask("GET", "/ready").status == 200
    assert server.noted(token) == []


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    with server.connect() as client:
        for name in "abc":
            client.send_head("GET", f"/hello/{name}")
        assert [client.read().text for _ in "abc"] == ["Hello, a!", "Hello, b!", "Hello, c!"]


def test_http_1_0_is_answered(server: Server) -> None:
    with server.connect() as client:
        client.send(b"GET /hello/old HTTP/1.0\r\n\r\n")
        response = client.read()
        assert (response.status, response.text) == (200, "Hello, old!")


@pytest.mark.parametrize("body", [b"", b"abc"])
def test_handler_is_told_that_its_client_has_left(server: Server, body: bytes) -> None:
    token = server.token()
    with server.connect() as client:
        length = [("content-length", str(len(body)))] if body else []
        client.send_head("POST" if body else "GET", f"/waits?token={token}&reads=1", length)
        client.send(body)
        server.wait_for(token, f"{len(body)} bytes, gone: False")
    server.wait_for(token, f"{len(body)} bytes, gone: False", "gone")


def test_a_look_for_a_disconnect_loses_nothing_of_the_body(server: Server) -> None:
    for _ in range(2):
        assert server.get("/looks").text == "[False, False] 0"
        assert server.post("/looks", content=b"abc").text == "[False, False] 3"
        chunks = iter([b"a" * 100_000] * 3)
        assert server.post("/looks", content=chunks).text == "[False, False] 300000"


def test_a_look_for_a_disconnect_leaves_nothing(server: Server) -> None:
    log = server.log.read_text()
    with httpx.Client(timeout=60) as client:
        before = client.get(f"{server.url}/tasks").json()
        counts = [client.get(f"{server.url}/tasks").json() for _ in range(30)]
    assert max(counts) < before + 10
    assert "Traceback" not in server.log.read_text()[len(log) :]


@pytest.mark.parametrize(
    ("path", "status", "size"),
    [("/echo", 200, 3_000_000), ("/raw", 413, None), ("/hello", 200, None), ("/none", 404, None)],
)
@pytest.mark.parametrize("kind", ["hypercorn", "granian"], indirect=True)  # no other speaks it
def test_http_2_body_without_a_length_is_read_or_dropped(
    server: Server, path: str, status: int, size: int | None
) -> None:
    blocks = iter([b"x" * 100_000] * (30 if size else 300))
    with httpx.Client(http1=False, http2=True, timeout=60) as client:
        response = client.post(f"{server.url}{path}", content=blocks)
        assert response.status_code == status
        assert size is None or len(response.content) == size
        assert client.get(f"{server.url}/looks").text == "[False, False] 0"
