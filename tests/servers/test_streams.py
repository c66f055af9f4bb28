"""Streaming responses and server-sent events on every server."""

from __future__ import annotations

import socket
import struct

import pytest
from h2.connection import H2Connection

from tests.servers.harness import KINDS, RawClient, Server

HTTP2 = [name for name, kind in KINDS.items() if kind.holds_streams_back_over_http2 is not None]


def test_first_chunk_arrives_before_the_second_is_made(server: Server) -> None:
    token = server.token()
    with server.connect() as client:
        client.send_head("GET", f"/steps?token={token}")
        head = client.read_head()
        assert (head.status, head.header("content-length")) == (200, None)
        # The handler waits before its second piece, so the first one did not wait for it.
        assert client.read_chunk() == b"one"
        server.go(token)
        assert client.read_chunk() == b"two"
        assert client.read_chunk() == b""
        assert client.ask("GET", "/ready").text == "ready"


@pytest.mark.parametrize(
    ("path", "resets"),
    [("endless", False), ("silent", False), ("plain", False), ("endless", True), ("floods", False)],
)
def test_client_that_leaves_or_resets_the_connection_ends_the_generator(
    server: Server, path: str, resets: bool
) -> None:
    token = server.token()
    with server.connect() as client:
        client.send_head("GET", f"/{path}?token={token}")
        assert client.read_head().status == 200
        assert client.read_chunk()
        assert server.noted(token) == []
        if resets:  # linger zero: the kernel sends RST in place of FIN
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.wait_for(token, "finally")


def test_stream_waits_for_a_client_that_does_not_read(server: Server) -> None:
    token = server.token()
    with server.connect() as client:
        client.send_head("GET", f"/large?token={token}")
        server.check_making(token, held_back=server.kind.holds_streams_back)


@pytest.mark.parametrize("kind", HTTP2, indirect=True)
def test_stream_over_http2_waits_for_a_client_that_does_not_read(server: Server) -> None:
    held_back = bool(server.kind.holds_streams_back_over_http2)
    token = server.token()
    client = H2Connection()
    client.initiate_connection()
    path = f"/large?token={token}"
    head = {":method": "GET", ":path": path, ":scheme": "http", ":authority": "localhost"}
    client.send_headers(1, list(head.items()), end_stream=True)
    with server.connect() as connection:
        connection.send(client.data_to_send())
        server.check_making(token, held_back=held_back)


def test_stream_that_raises_does_not_look_complete(server: Server) -> None:
    with server.connect() as client:
        logged = len(server.log.read_text())
        client.send_head("GET", "/breaks")
        assert client.read_head().status == 200
        assert client.read_chunk() == b"part"
        if server.kind.leaves_broken_streams_open:
            client.socket.settimeout(0.5)
        # What the client sees of it is the server's: a connection that ends, or silence.
        error = TimeoutError if server.kind.leaves_broken_streams_open else ConnectionError
        with pytest.raises(error):
            client.read_chunk()
    server.wait_for_log("a secret", logged)


def test_stream_that_is_shorter_than_its_length_does_not_look_complete(server: Server) -> None:
    is_open = server.kind.leaves_short_streams_open
    with server.connect() as client:
        client.socket.settimeout(1.0 if is_open else 30.0)
        with pytest.raises(TimeoutError if is_open else ConnectionError):
            client.ask("GET", "/short")


def test_head_does_not_run_the_generator(server: Server) -> None:
    token = server.token()
    with server.connect() as client:
        assert client.ask("HEAD", f"/endless?token={token}").status == 200
        assert client.ask("GET", "/ready").text == "ready"
    assert server.noted(token) == []


def read_until(client: RawClient, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        data += client.read_chunk()
    return data


def test_events_and_pings_arrive_and_the_source_ends_with_its_client(server: Server) -> None:
    token = server.token()
    with server.connect() as client:
        client.send_head("GET", f"/events?token={token}", [("last-event-id", "6")])
        head = client.read_head()
        assert head.status == 200
        assert (head.header("content-type") or "").startswith("text/event-stream")
        assert head.header("cache-control") == "no-cache"
        assert head.header("x-accel-buffering") == "no"
        first = read_until(client, b"\n\n").decode()
        assert sorted(first.strip().split("\n")) == [
            "data: after 6",
            "data: second line",
            "event: hello",
            "id: 7",
        ]
        # While the source is idle, comments keep the connection open.
        assert read_until(client, b"\n\n").startswith(b":")
        assert read_until(client, b"\n\n").startswith(b":")
        server.go(token)
        while (event := read_until(client, b"\n\n")).startswith(b":"):
            pass
        assert event == b'data: {"n":1}\n\n'
    server.wait_for(token, "finally")
