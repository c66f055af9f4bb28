"""WebSockets on every server, with a client that is not ours."""

from __future__ import annotations

import json
import socket

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from tests.servers.harness import Server


def test_echo_of_text_and_bytes(server: Server) -> None:
    token = server.token()
    with server.websocket(f"/echo?token={token}") as ws:
        for message in ("hi", "é" * 1000, b"\x00\xff", "", b"", "x" * 200_000, b"y" * 200_000):
            ws.send(message)
            if not message and not server.kind.empty_messages:
                continue
            assert ws.recv(timeout=60) == message
    server.wait_for(token, "finally")


def test_index_and_json_messages(server: Server) -> None:
    with server.websocket("/") as ws:
        assert ws.recv(timeout=60) == "index"
    with server.websocket("/json") as ws:
        ws.send('{"a": [1, "\u00e9"]}')
        assert json.loads(ws.recv(timeout=60)) == {"got": {"a": [1, "é"]}}


def test_offered_subprotocol_is_chosen(server: Server) -> None:
    for offered, chosen in ((["chat.v1", "chat.v2"], "chat.v2"), (["chat.v1"], None), (None, None)):
        subprotocols = [Subprotocol(name) for name in offered] if offered else None
        with server.websocket("/chat", subprotocols=subprotocols) as ws:
            assert ws.subprotocol == chosen


@pytest.mark.parametrize("path", ["refuses", "nope", "_hidden", "closes", "chat/too/many"])
def test_refused_handshake_is_403(server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as refused, server.websocket(f"/{path}"):
        pass
    assert refused.value.response.status_code == 403


def closed_with(server: Server, path: str) -> tuple[int, str]:
    with server.websocket(f"/{path}") as ws, pytest.raises(ConnectionClosed) as closed:
        ws.recv(timeout=60)
    assert closed.value.rcvd is not None, "the server closed without a closing handshake"
    return closed.value.rcvd.code, closed.value.rcvd.reason


def test_client_sees_the_close_code_of_the_application(server: Server) -> None:
    assert closed_with(server, "chat") == (1000, "")
    assert closed_with(server, "closes?code=4001&reason=bye") == (
        4001,
        "bye" if server.kind.close_reasons else "",
    )
    for code in (1001, 1011):
        expected = code if server.kind.protocol_codes else 1000
        assert closed_with(server, f"closes?code={code}&reason=") == (expected, "")
    code, reason = closed_with(server, "closes?code=4002&reason=" + "%C3%A9" * 100)
    assert (code, reason) == (4002, "é" * 61 if server.kind.close_reasons else "")
    code, reason = closed_with(server, "fails")
    assert code == 1011
    assert "secret" not in reason
    for error in ("exit", "interrupt"):
        assert closed_with(server, f"ends?error={error}")[0] == 1011


def test_application_sees_the_close_code_of_the_client(server: Server) -> None:
    token = server.token()
    with server.websocket(f"/closed?token={token}") as ws:
        ws.close(4100, "leaving")
    if not server.kind.client_codes:
        # The server's own end of the connection is told as often as the client's code.
        server.wait_for(token, "4100", "1006")
        return
    server.wait_for(token, "4100 leaving" if server.kind.client_reasons else "4100")


def test_client_that_vanishes_ends_the_handler(server: Server) -> None:
    token = server.token()
    with server.websocket(f"/echo?token={token}") as ws:
        ws.send("hi")
        assert ws.recv(timeout=60) == "hi"
        # The library's close() would send a close frame; a client that crashes sends none.
        ws.socket.shutdown(socket.SHUT_RDWR)
        server.wait_for(token, "finally")


@pytest.mark.parametrize("is_polite", [True, False])
def test_a_handler_that_never_receives_ends_when_its_client_has_left(
    server: Server, is_polite: bool
) -> None:
    tokens = {path: server.token() for path in ("waits", "ticks", "floods")}
    for path, token in tokens.items():
        with server.websocket(f"/{path}?token={token}") as ws:
            if path != "waits":
                ws.recv(timeout=60)
            if not is_polite:
                ws.socket.shutdown(socket.SHUT_RDWR)
    for token in tokens.values():
        server.wait_for(token, "finally")
    # On Daphne no send fails: it is told by what MicroPie has received ahead.
    assert server.noted(tokens["ticks"]) == ["told", "finally"]
    with server.connect() as client:
        assert client.ask("GET", "/ready").status == 200


def test_a_handler_that_never_receives_can_close(server: Server) -> None:
    """On Granian a close waits as long as a `receive` does."""
    token = server.token()
    # MicroPie watches after 5 seconds.
    with server.websocket(f"/ticks?token={token}&ticks=60") as ws:
        for _ in range(60):
            ws.recv(timeout=60)
        with pytest.raises(ConnectionClosed) as closed:
            ws.recv(timeout=60)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 4000


def test_sending_waits_for_a_client_that_does_not_read(server: Server) -> None:
    token = server.token()
    with server.connect() as client:  # a client of a library reads ahead
        client.handshake(f"/large?token={token}")
        server.check_making(token, held_back=server.kind.holds_streams_back)


def test_a_refused_handshake_has_the_status_of_its_error(server: Server) -> None:
    with pytest.raises(InvalidStatus) as refused, server.websocket("/denied"):
        pass
    response = refused.value.response
    if not server.kind.denials:
        assert response.status_code == 403
        return
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.body == b'{"error":"expired"}'
