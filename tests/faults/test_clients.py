"""Hostile and broken clients: the server goes on, and keeps nothing of them."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable

import pytest

from tests.faults.harness import (
    FORM,
    MIB,
    UPLOAD,
    clients,
    frame,
    memory,
    read_frame,
    reset,
    unharmed,
)
from tests.processes import wait_until
from tests.servers.harness import RawClient, Server

MANY = 20


def answers(server: Server) -> None:
    """The server answers another client within half a minute."""
    with server.connect(timeout=30) as client:
        assert client.ask("GET", "/?name=Ada").text == "Hello, Ada!"


# --- clients that stall and trickle -----------------------------------------------------------


def test_clients_that_stall_in_their_headers_harm_no_other(server: Server) -> None:
    # How long such a client may stay is the server's part.
    with unharmed(server), clients(server, MANY, in_headers):
        answers(server)


def test_clients_that_stall_in_a_body_get_408(server: Server) -> None:
    def stall(client: RawClient) -> None:
        client.send_head("POST", "/impatient/body", [("content-length", "100")])
        client.send(b"x")

    with unharmed(server), clients(server, MANY, stall) as crowd:
        answers(server)
        if not server.kind.buffers_bodies:
            assert {client.read().status for client in crowd} == {408}


def test_client_that_trickles_is_answered(server: Server) -> None:
    with unharmed(server), server.connect() as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = POST + b"content-length: 200\r\n\r\n"
        for byte in head + bytes(200):
            client.send(bytes([byte]))
        answers(server)
        assert client.read().text == '{"size":200}'


# --- clients that leave -----------------------------------------------------------------------


def in_headers(client: RawClient) -> None:
    client.send(b"GET / HTTP/1.1\r\nhost: x\r\nx-half: ")


def in_a_body(client: RawClient) -> None:
    client.send_head("POST", "/body", [("content-length", "100000")])
    client.send(bytes(50_000))


def in_a_spilled_upload(client: RawClient) -> None:
    client.send_head("POST", "/upload", [FORM, ("content-length", str(len(UPLOAD)))])
    client.send(UPLOAD[: 2 * MIB])


def in_a_streamed_upload(client: RawClient) -> None:
    client.send_head("POST", "/streamed_upload", [FORM, ("content-length", str(len(UPLOAD)))])
    client.send(UPLOAD[: 2 * MIB])


def in_a_slow_page(client: RawClient) -> None:
    client.send_head("GET", "/slow")


def in_an_event_stream(client: RawClient) -> None:
    client.send_head("GET", "/events")
    assert client.read_head().status == 200
    assert client.read_chunk()


def in_a_websocket(client: RawClient) -> None:
    client.handshake("/echo")
    client.send(frame(b"hello"))
    assert read_frame(client) == (1, b"hello")


def in_a_frame(client: RawClient) -> None:
    client.handshake("/echo")
    client.send(frame(bytes(1000))[:500])


MOMENTS = [
    in_headers,
    in_a_body,
    in_a_spilled_upload,
    in_a_streamed_upload,
    in_a_slow_page,
    in_an_event_stream,
    in_a_websocket,
    in_a_frame,
]
Moment = Callable[[RawClient], None]


@pytest.mark.parametrize("moment", MOMENTS)
def test_clients_that_reset_leave_nothing_behind(server: Server, moment: Moment) -> None:
    with unharmed(server), clients(server, MANY, moment) as crowd:
        answers(server)
        for client in crowd:
            reset(client)


@pytest.mark.parametrize("moment", MOMENTS)
def test_clients_that_half_close_leave_nothing_behind(server: Server, moment: Moment) -> None:
    def half_close(client: RawClient) -> None:
        moment(client)
        client.socket.shutdown(socket.SHUT_WR)

    with unharmed(server), clients(server, MANY, half_close):
        answers(server)


# --- clients that break the protocol, or strain it --------------------------------------------

RANDOM = random.Random(17)
POST = b"POST /body HTTP/1.1\r\nhost: x\r\n"
GARBAGE = {
    "random bytes": RANDOM.randbytes(100_000),
    "every byte": bytes(range(256)) * 64,
    "TLS": bytes.fromhex("16030100c8010000c40303") + RANDOM.randbytes(193),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9),
    "no version": b"GET /\r\n\r\n",
    "two lengths": POST + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "length and chunks": POST + b"content-length: 5\r\n"
    b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /fails HTTP/1.1\r\n\r\n",
    "bad chunk": POST + b"transfer-encoding: chunked\r\n\r\nxyz\r\nab\r\n",
    "bad length": POST + b"content-length: -1\r\n\r\n",
    "NUL in a header": b"GET / HTTP/1.1\r\nhost: x\r\nx: a\0b\r\n\r\n",
    "folded header": b"GET / HTTP/1.1\r\nhost: x\r\nx: a\r\n b\r\n\r\n",
    "bytes in the path": b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n",
}


@pytest.mark.parametrize("garbage", list(GARBAGE))
def test_client_that_sends_garbage_harms_no_other(server: Server, garbage: str) -> None:
    with unharmed(server), server.connect() as client:
        with contextlib.suppress(ConnectionError):  # the server may close the connection at once
            client.send(GARBAGE[garbage])
        answers(server)


@pytest.mark.parametrize(
    "frames",
    {
        "unmasked": b"\x81\x02hi",
        "reserved bits": b"\xf1\x80" + bytes(4),
        "unknown kind": frame(b"", 0x8B),
        "huge": b"\x82\xff" + b"\x7f" + b"\xff" * 7 + bytes(4),
        "no UTF-8": frame(b"\xff\xfe"),
        "random": RANDOM.randbytes(1000),
        "bad close code": frame((1006).to_bytes(2, "big"), 0x88),
    }.items(),
    ids=lambda pair: pair[0],
)
def test_websocket_with_broken_frames_harms_no_other(
    server: Server, frames: tuple[str, bytes]
) -> None:
    with unharmed(server), server.connect() as client:
        client.handshake("/echo")
        client.send(frames[1])
        client.socket.settimeout(2.0)  # Hypercorn waits for all of the huge one
        with contextlib.suppress(ConnectionError, TimeoutError):
            client.reader.read()  # until the server closes the connection


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    with unharmed(server), server.connect() as client:
        request = "GET /number?number={} HTTP/1.1\r\nhost: x\r\n\r\n"
        client.send("".join(request.format(number) for number in range(200)).encode())
        found = [client.read().text for _ in range(200)]
    assert found == [f'{{"number":{number}}}' for number in range(200)]


@pytest.mark.parametrize(
    "headers",
    {
        "many": b"".join(b"x-%d: y\r\n" % number for number in range(20_000)),
        "long": b"x: " + b"y" * 4 * MIB + b"\r\n",
        "cookies": b"cookie: " + b"; ".join(b"c%d=1" % n for n in range(5_000)) + b"\r\n",
    }.items(),
    ids=lambda pair: pair[0],
)
def test_flood_of_headers_is_answered_or_cut_off(
    server: Server, headers: tuple[str, bytes]
) -> None:
    with unharmed(server), server.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.send(b"GET / HTTP/1.1\r\nhost: x\r\n" + headers[1] + b"\r\n")
            assert client.read_head().status in (200, 400, 431)
        answers(server)


# --- floods of WebSockets and event streams ---------------------------------------------------

FLOOD = 64 * MIB


def flood(client: RawClient, message: bytes, patience: float) -> int:
    """Send until the server takes nothing for some seconds; return how many bytes it has taken."""
    sent = 0
    client.socket.settimeout(patience)
    with contextlib.suppress(OSError):
        while sent < FLOOD:
            client.send(message)
            sent += len(message)
    return sent


def held_back(server: Server, client: RawClient, patience: float = 1.0) -> None:
    """The client cannot send on, and what it has sent takes little memory."""
    before = memory(server.worker)
    # A server that takes all might pause, since its machine is busy.
    patience = 60.0 if server.kind.buffers_messages else patience
    taken = flood(client, frame(bytes(2**16), 0x82), patience)
    answers(server)
    if server.kind.buffers_messages:
        assert taken >= FLOOD
    else:
        assert taken < FLOOD / 2
        assert memory(server.worker) - before < FLOOD / 4


def test_flood_of_messages_whose_answers_are_not_read_is_held_back(server: Server) -> None:
    with unharmed(server), server.connect() as client:
        client.handshake("/echo")
        held_back(server, client)
        reset(client)


# After 5 seconds MicroPie itself receives for such a handler, but not without end.
@pytest.mark.parametrize("patience", [1.0, pytest.param(7.0, marks=pytest.mark.slow)])
def test_flood_of_messages_to_a_handler_that_does_not_receive_is_held_back(
    server: Server, patience: float
) -> None:
    if server.kind.name in ("hypercorn", "granian"):
        # Once MicroPie holds 16 unread messages, it cannot see that the client leaves, and these
        # two let a handler send on to a client that has left. Such a handler never ends.
        patience = 1.0
    token = server.token()
    with unharmed(server), server.connect() as client:
        client.handshake(f"/busy?token={token}")
        held_back(server, client, patience)
        reset(client)
        server.go(token)


@pytest.mark.slow
def test_handler_that_does_not_receive_ends_after_its_client(server: Server) -> None:
    # MicroPie looks at such a handler after 5 seconds, and ends it 5 seconds after its client.
    def talk(client: RawClient) -> None:
        client.handshake(f"/busy?token={server.token()}")
        for _ in range(10):
            client.send(frame(b"unread"))

    with unharmed(server), clients(server, MANY, talk):
        answers(server)


def test_event_streams_opened_and_left_at_once_end_their_sources(server: Server) -> None:
    token = server.token()
    with unharmed(server), contextlib.ExitStack() as stack:
        crowd = []
        for _ in range(10 * MANY):
            client = stack.enter_context(server.connect())
            client.send_head("GET", f"/events?token={token}")
            crowd.append(client)
        for client in crowd[MANY:]:
            assert client.read_head().status == 200
        for client in crowd:
            reset(client)
    begun = len(crowd) - MANY  # the others may have left before their handlers were called
    wait_until(lambda: len(server.noted(token)) >= begun, 60, "each source to end")
