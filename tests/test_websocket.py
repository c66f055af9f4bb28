"""WebSockets: their routes, the handshake, messages, how they end, and their middlewares."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    Request,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
    current_request,
)
from tests.asgi import REMOVED, ProtocolError, WebSocketClosed, WebSocketSession, websocket

Talk = Callable[[WebSocket], Awaitable[Any]]


class Echo(App):
    """Says which handler it is, and with what it was called."""

    async def _say(self, ws: WebSocket, *values: Any) -> None:
        await ws.accept()
        await ws.send_json(list(values))

    async def ws_index(self, ws: WebSocket) -> None:
        await self._say(ws, "index")

    async def ws_chat(self, ws: WebSocket, room: str, limit: int = 10) -> None:
        await self._say(ws, "chat", room, limit)

    async def ws_about_us(self, ws: WebSocket) -> None:
        await self._say(ws, "about_us")

    async def ws_all(self, ws: WebSocket, *segments: str, **rest: str) -> None:
        await self._say(ws, "all", segments, rest)

    @staticmethod
    async def ws_static(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(["static"])

    @classmethod
    async def ws_class(cls, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json([cls.__name__])

    async def ws__private(self, ws: WebSocket) -> None:
        await self._say(ws, "private")

    async def ws_(self, ws: WebSocket) -> None:
        await self._say(ws, "nameless")

    async def _ws_hidden(self, ws: WebSocket) -> None:
        await self._say(ws, "hidden")

    async def page(self) -> str:
        return "page"

    ws_data = "no function"


class Talking(App):
    """One WebSocket at `/`, whose handler is what the test says."""

    def __init__(self, talk: Talk, **options: Any) -> None:
        super().__init__(**options)
        self.talk = talk

    async def ws_index(self, ws: WebSocket) -> None:
        await self.talk(ws)


async def talked(talk: Talk, *, client: Callable[[WebSocketSession], Awaitable[Any]] | None = None) -> WebSocketSession:
    """Run a handler against a client to the end."""
    async with websocket(Talking(talk)) as ws:
        if client is not None:
            await client(ws)
        if not ws.done and ws.close_code is None:
            await ws.close()
        await ws.wait()
    return ws


async def until_closed(ws: WebSocketSession) -> list[Any]:
    """What the application sends until it closes the socket."""
    messages = []
    try:
        while True:
            messages.append(await ws.receive())
    except WebSocketClosed:
        return messages


# --- Routes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/", ["index"]),
        ("", ["index"]),
        ("/index", ["index"]),
        ("/chat/lobby", ["chat", "lobby", 10]),
        ("/chat/lobby/5", ["chat", "lobby", 5]),
        ("/chat/lobby/", ["chat", "lobby", 10]),
        ("/chat?room=lobby&limit=3", ["chat", "lobby", 3]),
        ("/about_us", ["about_us"]),
        ("/about-us", ["about_us"]),
        ("/about.us", ["about_us"]),
        ("/all/a//b?c=d", ["all", ["a", "", "b"], {"c": "d"}]),
        ("/static", ["static"]),
        ("/class", ["Echo"]),
    ],
)
async def test_the_first_segment_names_the_handler(path: str, expected: list[Any]) -> None:
    async with websocket(Echo(), path) as ws:
        assert await ws.receive_json() == expected


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        "/page",
        "/private",
        "/_private",
        "/-private",
        "/ws_chat/x",
        "/_ws_hidden",
        "/_say",
        "/data",
        "/chat",
        "/chat/a/b",
        "/chat/a/5/c",
        "/index/x",
        "//",
        "/accept",
        "/\ufffd",
    ],
)
async def test_what_is_unknown_or_private_is_refused_with_1008(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with websocket(Echo(), path, raw_path=b"/%ff" if "\ufffd" in path else path.encode()) as ws:
        assert (ws.accepted, ws.rejected) == (False, 1008)
    assert caplog.records == []


async def test_ws_names_are_inherited_and_may_be_taken_away() -> None:
    class Mixin:
        async def ws_mixed(self, ws: WebSocket) -> None:
            await ws.accept()

    class Child(Mixin, Echo):
        ws_index = None  # type: ignore[assignment]


    for path, accepted in (("/mixed", True), ("/about_us", True), ("/", False)):
        async with websocket(Child(), path) as ws:
            assert ws.accepted is accepted, path


async def test_the_request_of_a_websocket() -> None:
    async def talk(ws: WebSocket) -> None:
        request = current_request.get()
        seen.append(type(request) is WebSocketRequest and isinstance(request, Request))
        seen.append(request is app.request)
        seen.append((request.query("a"), request.headers["x-a"], request.cookies, request.path_params, request.session))
        await ws.accept()


    seen: list[Any] = []
    app = Talking(talk)
    async with websocket(app, "/?a=1", headers=[("x-a", "2"), ("cookie", "c=3")]):
        pass
    assert seen == [True, True, ("1", "2", {"c": "3"}, [], {})]


# --- The handshake ----------------------------------------------------------------------------------------------------


async def test_accept_completes_the_handshake() -> None:
    async def talk(ws: WebSocket) -> None:
        states.append(ws.accepted)
        await ws.accept()
        states.append(ws.accepted)

    states: list[bool] = []
    ws = await talked(talk)
    assert ws.accepted and ws.subprotocol is None and ws.accept_headers == []
    assert states == [False, True]


async def test_a_subprotocol_is_chosen() -> None:
    async def talk(ws: WebSocket) -> None:
        offered.append(ws.subprotocols)
        await ws.accept(subprotocol="v2" if "v2" in ws.subprotocols else None)


    offered: list[list[str]] = []
    for subprotocols, chosen in ((["v1", "v2"], "v2"), (["v1"], None), ([], None)):
        async with websocket(Talking(talk), subprotocols=subprotocols) as ws:
            assert ws.subprotocol == chosen
    for missing in (None, REMOVED):
        async with websocket(Talking(talk), scope={"subprotocols": missing}) as ws:
            assert ws.subprotocol is None
    assert offered == [["v1", "v2"], ["v1"], [], [], []]


OPTIONAL = (
    "headers",
    "query_string",
    "raw_path",
    "root_path",
    "scheme",
    "subprotocols",
    "client",
    "server",
    "extensions",
)


@pytest.mark.parametrize("absent", [None, REMOVED])
async def test_optional_keys_may_be_none_or_left_out(absent: Any) -> None:
    async def talk(ws: WebSocket) -> None:
        request = current_request.get()
        seen.append((request.headers, request.query_params, request.cookies, request.session, ws.subprotocols))
        request.session["a"] = 1
        await ws.accept()


    seen: list[Any] = []
    async with websocket(Talking(talk), scope=dict.fromkeys(OPTIONAL, absent)) as ws:
        assert ws.accepted
    assert seen == [({}, {}, {}, {"a": 1}, [])]


async def test_accepting_twice_is_an_error() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(RuntimeError, match="accepted"):
            await ws.accept()
        caught.append(1)

    caught: list[int] = []
    await talked(talk)
    assert caught == [1]


async def test_accept_may_be_tried_again() -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="cookie"):
            await ws.accept(session_id="no;cookie")
        await ws.accept()
        await ws.send_text("accepted")

    async def client(ws: WebSocketSession) -> None:
        assert await ws.receive() == "accepted"

    await talked(talk, client=client)


async def test_a_client_that_left_before_accept(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(ConnectionClosed) as closed:
            await ws.accept()
        codes.append((closed.value.code, ws.accepted))
        with pytest.raises(ConnectionClosed):
            await ws.accept()
        await ws.accept()

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.disconnect", "code": 1006}


    codes: list[Any] = []
    async with websocket(Talking(talk), receive=receive) as ws:
        await ws.wait()
    assert ws.messages == []
    assert codes == [(1006, False)]
    assert caplog.records == []


async def test_close_before_accept_refuses_the_handshake() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.close(4003, "go away")
        with pytest.raises(ConnectionClosed):
            await ws.accept()
        ended.append(True)

    ended: list[bool] = []
    ws = await talked(talk)
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, 4003, "go away")
    assert ended == [True]


async def test_a_handler_that_never_accepts_refuses() -> None:
    async def talk(ws: WebSocket) -> None:
        return None

    ws = await talked(talk)
    assert not ws.accepted and ws.rejected is not None


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
async def test_an_http_error_before_accept_refuses_and_after_it_closes_with_1011(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def before(ws: WebSocket) -> None:
        raise HTTPError(status, "secret")

    async def after(ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(status, "secret")

    refused, closed = await talked(before), await talked(after)
    assert (refused.accepted, refused.rejected, refused.close_reason) == (False, 1008, "")
    assert (closed.accepted, closed.close_code, closed.close_reason) == (True, 1011, "")
    assert caplog.records == []


# --- Messages ---------------------------------------------------------------------------------------------------------


async def test_text_bytes_and_json_go_both_ways() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())
        await ws.send_bytes(await ws.receive_bytes())
        await ws.send_json(await ws.receive_json())

    async def client(ws: WebSocketSession) -> None:
        await ws.send_text("é")
        assert await ws.receive() == "é"
        await ws.send_bytes(b"\xff")
        assert await ws.receive() == b"\xff"
        await ws.send_text('{"a": [1, null, "é"]}')
        sent = await ws.receive()
        assert sent == '{"a":[1,null,"é"]}'

    await talked(talk, client=client)


@pytest.mark.parametrize("message", ["", b""])
async def test_empty_messages_are_messages(message: str | bytes) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        got.append(await (ws.receive_text() if isinstance(message, str) else ws.receive_bytes()))

    async def client(ws: WebSocketSession) -> None:
        await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))

    got: list[Any] = []
    await talked(talk, client=client)
    assert got == [message]


@pytest.mark.parametrize("other", [{}, {"bytes": None}])
@pytest.mark.parametrize("content", [{"text": "a"}, {"bytes": b"a"}])
async def test_the_other_kind_is_a_value_error(content: dict[str, Any], other: dict[str, Any]) -> None:
    """The key of the kind that was not sent may be there, as None, or not."""
    message = {"type": "websocket.receive", **({"text": None, **content} if other and "bytes" in content else content)}
    if other and "text" in content:
        message.update(other)

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        right, wrong = ws.receive_text, ws.receive_bytes
        if "bytes" in content:
            right, wrong = wrong, right  # type: ignore[assignment]
        with pytest.raises(ValueError, match="expected"):
            await wrong()
        got.append(await right())

    async def client(ws: WebSocketSession) -> None:
        await ws.deliver(dict(message))
        await ws.deliver(dict(message))

    got: list[Any] = []
    await talked(talk, client=client)
    assert got == list(content.values())


async def test_json_may_come_as_bytes() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        got.append(await ws.receive_json())

    async def client(ws: WebSocketSession) -> None:
        await ws.deliver({"type": "websocket.receive", "text": None, "bytes": b'{"a": 1}'})

    got: list[Any] = []
    await talked(talk, client=client)
    assert got == [{"a": 1}]


@pytest.mark.parametrize("text", ["", "{", "NaN", "nul", "[" * 100_000, '"\\ud800"'])
async def test_what_is_no_json_is_a_value_error(text: str) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError):
            await ws.receive_json()
        await ws.send_text("next")

    async def client(ws: WebSocketSession) -> None:
        await ws.send_text(text)
        assert await ws.receive() == "next"

    await talked(talk, client=client)


async def test_a_receive_that_timed_out_may_be_repeated() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ws.receive_text()
        await ws.send_text("still there?")
        await ws.send_text(await ws.receive_text())

    async def client(ws: WebSocketSession) -> None:
        assert await ws.receive() == "still there?"
        await ws.send_text("yes")
        assert await ws.receive() == "yes"

    await talked(talk, client=client)


async def test_iteration_yields_both_kinds_until_the_client_leaves() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            got.append(message)
        got.append("end")

    async def client(ws: WebSocketSession) -> None:
        await ws.send_text("a")
        await ws.send_bytes(b"b")
        await ws.deliver({"type": "websocket.receive", "text": None, "bytes": b"c"})
        await ws.deliver({"type": "websocket.receive", "text": "", "bytes": None})
        await ws.close(1001)

    got: list[Any] = []
    await talked(talk, client=client)
    assert got == ["a", b"b", b"c", "", "end"]


async def test_iteration_ends_when_the_handler_closes() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            await ws.close()
        ended.append(True)

    async def client(ws: WebSocketSession) -> None:
        await ws.send_text("a")
        await ws.send_text("b")

    ended: list[bool] = []
    await talked(talk, client=client)
    assert ended == [True]


@pytest.mark.parametrize("name, argument", [("send_text", "a"), ("send_bytes", b"a"), ("send_json", {})])
async def test_sending_before_accept_is_a_runtime_error(name: str, argument: Any) -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(RuntimeError, match="accept"):
            await getattr(ws, name)(argument)
        await ws.accept()
        await getattr(ws, name)(argument)

    async def client(ws: WebSocketSession) -> None:
        assert await ws.receive() in ("a", b"a", "{}")

    await talked(talk, client=client)


@pytest.mark.parametrize("name", ["receive_text", "receive_bytes", "receive_json", "__aiter__"])
async def test_receiving_before_accept_is_a_runtime_error(name: str) -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(RuntimeError, match="accept"):
            if name == "__aiter__":
                await anext(aiter(ws))
            await getattr(ws, name)()
        caught.append(name)

    caught: list[str] = []
    await talked(talk)
    assert caught == [name]


SENDS: list[tuple[str, Any]] = [("send_text", "a"), ("send_bytes", b"a"), ("send_json", {})]
RECEIVES: list[tuple[str]] = [("receive_text",), ("receive_bytes",), ("receive_json",)]


@pytest.mark.parametrize("call", SENDS + RECEIVES, ids=lambda call: call[0])
async def test_everything_is_over_after_a_received_disconnect(call: tuple[Any, ...]) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        name, *arguments = call
        for attempt in (ws.receive_text, lambda: getattr(ws, name)(*arguments)):
            with pytest.raises(ConnectionClosed) as closed:
                await attempt()
            ends.append((closed.value.code, closed.value.reason))

    async def client(ws: WebSocketSession) -> None:
        await ws.close(4100, "bye")

    ends: list[Any] = []
    await talked(talk, client=client)
    assert ends == [(4100, "bye")] * 2


@pytest.mark.parametrize("call", SENDS + RECEIVES, ids=lambda call: call[0])
async def test_everything_is_over_after_close(call: tuple[Any, ...]) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4200, "enough")
        name, *arguments = call
        with pytest.raises(ConnectionClosed) as closed:
            await getattr(ws, name)(*arguments)
        ends.append((closed.value.code, closed.value.reason))

    ends: list[Any] = []
    ws = await talked(talk)
    assert (ws.close_code, ws.close_reason) == (4200, "enough")
    assert ends == [(4200, "enough")]


@pytest.mark.parametrize("call", SENDS, ids=lambda call: call[0])
async def test_a_server_that_raises_oserror_says_that_the_client_is_gone(
    call: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()
        name, *arguments = call
        for _ in range(2):
            with pytest.raises(ConnectionClosed) as closed:
                await getattr(ws, name)(*arguments)
            ends.append(closed.value.code)
        await getattr(ws, name)(*arguments)

    async def client(ws: WebSocketSession) -> None:
        ws.break_sends()
        await ws.send_text("go")

    ends: list[int] = []
    await talked(talk, client=client)
    assert ends == [1006] * 2  # abnormal closure (RFC 6455 section 7.1.5)
    assert caplog.records == []


async def test_a_server_that_raises_oserror_at_accept_and_at_close(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(ConnectionClosed):
            await ws.accept()
        ended.append(ws.accepted)

    async def closes(ws: WebSocket) -> None:
        await ws.close()
        ended.append(ws.accepted)

    async def returns(ws: WebSocket) -> None:
        ended.append(ws.accepted)

    async def send(message: Any) -> None:
        raise OSError("gone")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    ended: list[bool] = []
    for handler in (talk, closes, returns):
        scope = {"type": "websocket", "path": "/", "headers": []}
        await Talking(handler)(scope, receive, send)
    assert ended == [False] * 3
    assert caplog.records == []


@pytest.mark.parametrize(
    "message, expected",
    [
        ({"code": 1001, "reason": "going"}, (1001, "going")),
        ({"code": 4000}, (4000, "")),
        ({"code": 1001, "reason": None}, (1001, "")),
        ({"code": 1006, "reason": ""}, (1006, "")),
        ({"code": None}, (1005, "")),
        ({"reason": "why"}, (1005, "why")),
        ({}, (1005, "")),
    ],
)
async def test_connection_closed_carries_what_the_server_reports(message: dict[str, Any], expected: tuple[int, str]) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ConnectionClosed) as closed:
            await ws.receive_bytes()
        ends.append((closed.value.code, closed.value.reason))

    async def client(ws: WebSocketSession) -> None:
        await ws.deliver({"type": "websocket.disconnect", **message})

    ends: list[Any] = []
    await talked(talk, client=client)
    assert ends == [expected]


async def test_receive_and_send_may_return_any_awaitable() -> None:
    class Ready:
        def __init__(self, value: Any = None) -> None:
            self.value = value

        def __await__(self) -> Any:
            return self.value
            yield

    def receive() -> Ready:
        return Ready(incoming.pop(0))

    def send(message: Any) -> Ready:
        sent.append(message)
        return Ready()

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())

    incoming = [{"type": "websocket.connect"}, {"type": "websocket.receive", "text": "hi"}]
    sent: list[Any] = []
    await Talking(talk)({"type": "websocket", "path": "/"}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.send", "websocket.close"]
    assert sent[1]["text"] == "hi"


async def test_a_websocket_can_be_made_by_hand() -> None:
    sent: list[Any] = []
    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    ws = WebSocket(receive, send)
    assert (ws.accepted, ws.session_id, ws.subprotocols) == (False, None, [])
    await ws.accept("chat", session_id="abc")
    await ws.send_text("hi")
    plain = WebSocket(receive, send)
    await plain.accept()
    assert sent[0]["subprotocol"] == "chat"
    assert [(name, value.split(b";")[0]) for name, value in sent[0]["headers"]] == [(b"set-cookie", b"session_id=abc")]
    assert sent[1]["text"] == "hi"
    assert not sent[2].get("headers")


# --- How it ends ------------------------------------------------------------------------------------------------------


async def test_a_handler_that_returns_leaves_it_closed_with_1000() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()

    ws = await talked(talk, client=until_closed)
    assert (ws.close_code, ws.close_reason) == (1000, "")


async def test_a_handler_that_raises_closes_with_1011_and_logs_the_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("a secret")

    async def at_once(ws: WebSocket) -> None:
        raise RuntimeError("a secret")

    for handler in (talk, at_once):
        caplog.clear()
        ws = await talked(handler)
        assert (ws.close_code, ws.close_reason) == (1011, "")
        assert [(record.name, record.levelno) for record in caplog.records] == [("micropie", logging.ERROR)]
        assert "Traceback" in caplog.text and "a secret" in caplog.text


async def test_no_exception_text_reaches_the_client_in_debug_either() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("a secret")


    async with websocket(Talking(talk, debug=True)) as ws:
        assert await until_closed(ws) == []
        assert (ws.close_code, ws.close_reason) == (1011, "")


async def test_its_own_connection_closed_is_a_normal_end(caplog: pytest.LogCaptureFixture) -> None:
    async def client_left(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.receive_text()

    async def closed_here(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4001)
        await ws.send_text("too late")

    left, closed = await talked(client_left), await talked(closed_here)
    assert [message["type"] for message in left.messages] == ["websocket.accept"]
    assert closed.close_code == 4001
    assert caplog.records == []


async def test_the_connection_closed_of_something_else_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        raise ConnectionClosed(1000)

    ws = await talked(talk)
    assert ws.close_code == 1011
    assert "ConnectionClosed" in caplog.text


async def test_an_error_after_the_client_left_is_logged_and_sends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        raise RuntimeError("in the end")

    ws = await talked(talk)
    assert [message["type"] for message in ws.messages] == ["websocket.accept"]
    assert "in the end" in caplog.text


async def test_closing_twice_is_harmless() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4001, "first")
        await ws.close(4002, "second")
        again.append(True)

    async def refuses(ws: WebSocket) -> None:
        await ws.close(4001)
        await ws.close(4002)
        again.append(True)

    again: list[bool] = []
    ws = await talked(talk)
    assert (ws.close_code, ws.close_reason) == (4001, "first")
    assert (await talked(refuses)).rejected == 4001
    assert again == [True, True]


async def test_closing_after_the_client_left_sends_nothing() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        await ws.close(4000)

    ws = await talked(talk)
    assert [message["type"] for message in ws.messages] == ["websocket.accept"]


@pytest.mark.parametrize(
    "reason, sent",
    [
        (None, ""),
        ("", ""),
        ("bye", "bye"),
        ("x" * 123, "x" * 123),
        ("x" * 124, "x" * 123),
        ("é" * 100, "é" * 61),
        ("x" + "€" * 50, "x" + "€" * 40),
        ("😀" * 40, "😀" * 30),
    ],
)
@pytest.mark.parametrize("accepts", [True, False])
async def test_reasons_are_cut_at_123_bytes(reason: str | None, sent: str, accepts: bool) -> None:
    async def talk(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        await ws.close(1000, reason)

    assert (await talked(talk)).close_reason == sent


async def test_a_reason_that_utf8_cannot_carry_still_closes() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(1000, "a\ud800b")

    ws = await talked(talk)
    assert ws.close_code == 1000
    assert (ws.close_reason or "").encode()


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000])
async def test_a_code_that_may_not_be_sent_is_a_value_error(code: int) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError, match=str(code)):
            await ws.close(code)
        caught.append(code)

    caught: list[int] = []
    await talked(talk)
    assert caught == [code]


async def test_a_server_that_does_not_take_the_code_still_sees_the_socket_closed(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4999)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        if message.get("code") == 4999:
            raise ValueError("no such close code")
        sent.append((message["type"], message.get("code")))

    sent: list[Any] = []
    await Talking(talk)({"type": "websocket", "path": "/", "headers": []}, receive, send)
    assert sent == [("websocket.accept", None), ("websocket.close", 1011)]
    assert "no such close code" in caplog.text


async def test_a_cancelled_websocket_passes_the_cancellation_through(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        try:
            await ws.accept()
            await ws.receive_text()
        finally:
            ended.append(True)


    ended: list[bool] = []
    async with websocket(Talking(talk)) as ws:
        assert ws.task is not None
        ws.cancel()
        await asyncio.wait([ws.task])
        # The driver swallows only the cancellation that it asked for.
        assert [message["type"] for message in ws.messages] == ["websocket.accept"]
    assert ended == [True]
    assert caplog.records == []


async def test_a_stray_cancellation_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        raise asyncio.CancelledError

    ws = await talked(talk)
    assert ws.close_code == 1011
    assert "CancelledError" in caplog.text


async def test_the_driver_would_see_an_open_socket() -> None:
    """The checks of this file rest on it: an application that does not close fails the test."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})

    async def main() -> None:
        async with websocket(app):
            pass

    with pytest.raises(ProtocolError, match="left the socket open"):
        await main()


# --- Middlewares ------------------------------------------------------------------------------------------------------


class Note(WebSocketMiddleware):
    """Notes when it runs; returns or raises what it is told."""

    def __init__(self, notes: list[str], name: str, before: Any = None, after: Any = None) -> None:
        self.notes = notes
        self.name = name
        self.before = before
        self.after = after

    async def before_websocket(self, request: WebSocketRequest) -> Any:
        assert type(request) is WebSocketRequest
        self.notes.append(f"before {self.name}")
        if isinstance(self.before, BaseException):
            raise self.before
        return self.before(request) if callable(self.before) else self.before

    async def after_websocket(self, request: WebSocketRequest) -> Any:
        assert request is current_request.get()
        self.notes.append(f"after {self.name}")
        if isinstance(self.after, BaseException):
            raise self.after


class Noted(App):
    """A handler that notes itself, and one that raises."""

    def __init__(self, **second: Any) -> None:
        super().__init__()
        self.notes: list[str] = []
        notes = self.notes
        self.ws_middlewares += [Note(notes, "a"), Note(notes, "b", **second), Note(notes, "c")]

    async def ws_index(self, ws: WebSocket) -> None:
        self.notes.append("handler")
        await ws.accept()

    async def ws_raises(self, ws: WebSocket) -> None:
        self.notes.append("handler")
        await ws.accept()
        raise RuntimeError("boom")

    async def ws__private(self, ws: WebSocket, *rest: str) -> None:
        await ws.accept()
        await ws.send_json(rest)

    async def page(self) -> str:
        return "page"


async def noted(app: Noted, path: str = "/") -> tuple[WebSocketSession, list[str]]:
    async with websocket(app, path) as ws:
        pass
    return ws, app.notes


ALL = ["before a", "before b", "before c", "handler", "after c", "after b", "after a"]


@pytest.mark.parametrize("path, code", [("/", 1000), ("/raises", 1011)])
async def test_before_in_order_and_after_in_reverse_also_when_the_handler_raised(path: str, code: int) -> None:
    app = Noted()
    async with websocket(app, path) as ws:
        await until_closed(ws)
    assert (app.notes, ws.close_code) == (ALL, code)


async def test_they_run_for_unknown_paths_too() -> None:
    ws, notes = await noted(Noted(), "/nope")
    assert ws.rejected == 1008
    assert notes == [note for note in ALL if note != "handler"]


@pytest.mark.parametrize(
    "answer, code, reason",
    [
        ({"code": 4001, "reason": "no"}, 4001, "no"),
        ({"code": 4001}, 4001, ""),
        ({"reason": "no"}, 1008, "no"),
        ({"reason": None}, 1008, ""),
        ({}, 1008, ""),
        ({"reason": "é" * 100}, 1008, "é" * 61),
    ],
)
async def test_a_dict_refuses_the_handshake(answer: dict[str, Any], code: int, reason: str) -> None:
    ws, notes = await noted(Noted(before=answer))
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, code, reason)
    assert notes == ["before a", "before b", "after b", "after a"]


@pytest.mark.parametrize("error, code, logged", [(RuntimeError("boom"), 1011, True), (HTTPError(403), 1008, False)])
async def test_one_that_raises_before(error: Exception, code: int, logged: bool, caplog: pytest.LogCaptureFixture) -> None:
    ws, notes = await noted(Noted(before=error))
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, code, "")
    assert notes == ["before a", "before b", "after a"]
    assert bool(caplog.records) is logged


@pytest.mark.parametrize("answer", ["no", True, ["code", 4001], {"status_code": 403}, {"code": 1006}, {"code": "4001"}])
async def test_a_malformed_result_is_a_logged_error(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    ws, notes = await noted(Noted(before=answer))
    assert (ws.accepted, ws.rejected) == (False, 1011)
    assert "handler" not in notes and notes[-1] == "after a"
    assert len(caplog.records) == 1


async def test_one_that_raises_after_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    ws, notes = await noted(Noted(after=RuntimeError("late")))
    assert notes == ALL
    assert ws.accepted
    assert "late" in caplog.text


async def test_after_runs_when_the_client_has_left() -> None:
    class Waits(Noted):
        async def ws_index(self, ws: WebSocket) -> None:
            self.notes.append("handler")
            await ws.accept()
            await ws.receive_text()

    _, notes = await noted(Waits())
    assert notes == ALL


async def test_a_middleware_chooses_the_handler_by_its_full_name() -> None:
    def route(request: WebSocketRequest) -> None:
        request.route_handler = "ws__private"
        request.path_params = ["x", "y"]


    async with websocket(Noted(before=route), "/nope/at/all") as ws:
        assert await ws.receive_json() == ["x", "y"]


@pytest.mark.parametrize("name", ["ws_nope", "nope", "page", "__init__", "", None])
async def test_a_middleware_that_chooses_what_is_not_there(name: Any) -> None:
    def route(request: WebSocketRequest) -> None:
        request.route_handler = name
        request.path_params = []

    ws, _ = await noted(Noted(before=route))
    assert ws.rejected is not None and not ws.accepted


async def test_what_a_middleware_sets_reaches_the_handler() -> None:
    def user(request: WebSocketRequest) -> None:
        request.user = "ann"

    class Members(Noted):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_text(self.request.user)  # type: ignore[attr-defined]


    async with websocket(Members(before=user)) as ws:
        assert await ws.receive() == "ann"


def test_a_middleware_must_have_both_methods() -> None:
    class Half(WebSocketMiddleware):
        async def before_websocket(self, request: WebSocketRequest) -> None:
            return None

    for incomplete in (WebSocketMiddleware, Half):
        with pytest.raises(TypeError, match="abstract"):
            incomplete()
