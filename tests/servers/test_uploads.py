"""Uploads over real sockets on every server."""

from __future__ import annotations

import hashlib
import json
import select

import pytest

from tests.asgi import BOUNDARY, encode_multipart
from tests.servers.app import IMPATIENT
from tests.servers.harness import RawClient, Server

MULTIPART = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
MIB = 2**20


def halves() -> tuple[bytes, bytes]:
    """What stands before and after the content of the file in a form."""
    head, _, tail = encode_multipart(
        [("file", "blob.bin", "application/octet-stream", b"@")]
    ).rpartition(b"@")
    return head, tail


def send_head(client: RawClient, target: str, length: int) -> None:
    client.send_head("POST", target, [MULTIPART, ("content-length", str(length))])


def push(client: RawClient, block: bytes, total: int, patience: float) -> int:
    """Send up to `total` bytes until the server takes none for some seconds; return the count."""
    client.socket.setblocking(False)
    sent = 0
    while sent < total and select.select([], [client.socket], [], patience)[1]:
        sent += client.socket.send(memoryview(block)[: total - sent])
    client.socket.settimeout(60.0)
    return sent


def test_form_with_a_file_reaches_the_handler(server: Server) -> None:
    body = encode_multipart(
        [
            ("text", "é"),
            ("file", "../../etc/päss.txt", "text/plain", b"\0\r\n--" * 1000),
            ("after", "x"),
        ]
    )
    with server.connect() as client:
        answer = json.loads(client.ask("POST", "/upload", [MULTIPART], body).body)
    digest = hashlib.sha256(b"\0\r\n--" * 1000).hexdigest()
    assert answer == {"name": "päss.txt", "size": 5000, "sha256": digest, "text": "é"}


def test_64_mib_are_read_by_the_handler(server: Server) -> None:
    block = bytes(range(256)) * 256
    # Nothing streams there, and much of it takes long.
    blocks = 128 if server.kind.buffers_bodies else 1024
    head, tail = halves()
    with server.connect() as client:
        send_head(client, "/streamed_upload", len(head) + blocks * len(block) + len(tail))
        client.send(head)
        for _ in range(blocks):
            client.send(block)
        client.send(tail)
        answer = json.loads(client.read("POST").body)
    assert answer == {
        "size": blocks * len(block),
        "sha256": hashlib.sha256(block * blocks).hexdigest(),
    }


def test_client_is_held_back_while_the_handler_does_not_read(server: Server) -> None:
    token, total = server.token(), 48 * MIB
    block = b"x" * 2**16
    head, tail = halves()
    with server.connect() as client:
        send_head(client, f"/slow_upload?token={token}", len(head) + total + len(tail))
        client.send(head)
        sent = push(client, block, total, 60 if server.kind.buffers_bodies else 0.3)
        if server.kind.buffers_bodies:
            # The server takes everything before it calls the application.
            assert sent == total
            assert server.noted(token) == []
        else:
            assert server.wait_for(token, "started") == ["started"]
            # The pause before might have been the machine's.
            sent += push(client, block, total - sent, 0.3)
            assert sent < total / 2
        server.go(token)
        for start in range(sent, total, len(block)):
            client.send(memoryview(block)[: total - start])
        client.send(tail)
        assert json.loads(client.read("POST").body) == {"size": total}


def test_upload_that_is_cut_off_raises_connection_closed(server: Server) -> None:
    token = server.token()
    head, tail = halves()
    with server.connect() as client:
        send_head(client, f"/cut_upload?token={token}", len(head) + MIB + len(tail))
        client.send(head + b"x" * 300_000)
        if not server.kind.buffers_bodies:
            server.wait_for(token, "started")
    if server.kind.buffers_bodies:
        # The application is never called on half a body.
        with server.connect() as client:
            assert client.ask("GET", "/ready").status == 200
        assert server.noted(token) == []
    else:
        assert server.wait_for(token, "ConnectionClosed") == ["started", "ConnectionClosed"]


def test_connection_is_kept_after_an_upload_that_was_not_read(server: Server) -> None:
    head, tail = halves()
    body = head + b"x" * (8 * MIB) + tail
    with server.connect() as client:
        response = client.ask("POST", "/unread", [MULTIPART], body)
        assert (response.status, response.text) == (200, "not read: blob.bin")
        assert client.ask("GET", "/ready").text == "ready"


def test_upload_over_the_limit_is_413_before_it_is_sent(server: Server) -> None:
    with server.connect() as client:
        send_head(client, "/impatient/streamed_upload", 129 * MIB)
        if server.kind.buffers_bodies:
            # Nothing happens until all of it is there.
            client.socket.settimeout(2 * IMPATIENT)
            with pytest.raises(TimeoutError):
                client.read("POST")
        else:
            # The body is dropped for a while first, so that clients which send without reading see
            # the answer.
            assert client.read("POST").status == 413


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no boundary",
        f"--{BOUNDARY}\r\nContent-Disposition: form-data\r\n\r\nx\r\n--{BOUNDARY}--".encode(),
    ],
    ids=["empty", "no boundary", "no name"],
)
def test_malformed_form_is_400(server: Server, body: bytes) -> None:
    with server.connect() as client:
        assert client.ask("POST", "/upload", [MULTIPART], body).status == 400
        if not server.kind.checks_forms:
            assert client.ask("GET", "/ready").text == "ready"
