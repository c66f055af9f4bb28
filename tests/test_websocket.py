"""WebSockets: their routes, the handshake, messages, how they end, and their middlewares."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    InMemorySessionBackend,
    Request,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
    current_request,
)
from tests.asgi import REMOVED, WebSocketClosed, WebSocketSession, call, scripted, websocket
from tests.clients import Turns
from tests.clock import elapse
from tests.noting import Note

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


async def talked(
    talk: Talk, *incoming: Any, break_sends: bool = False, **options: Any
) -> WebSocketSession:
    """Run a handler to the end, with a client that sends these messages, and leaves."""
    async with websocket(Talking(talk, **options)) as ws:
        if break_sends:
            ws.break_sends()
        for message in incoming:
            if isinstance(message, dict):
                await ws.deliver(message)
            else:
                await (
                    ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message)
                )
        if not ws.done and ws.close_code is None:
            await ws.close()
        await ws.wait()
    return ws


async def returned(talk: Talk, *incoming: Any, **options: Any) -> Any:
    """What a handler returns; an error if it does not get to its end."""
    values: list[Any] = []

    async def noting(ws: WebSocket) -> None:
        values.append(await talk(ws))

    await talked(noting, *incoming, **options)
    (value,) = values
    return value


def said(ws: WebSocketSession) -> list[str | bytes]:
    """The messages that the application has sent."""
    sent = [message for message in ws.messages if message["type"] == "websocket.send"]
    return [
        message["bytes"] if message.get("text") is None else message["text"] for message in sent
    ]


async def closed(awaitable: Awaitable[Any]) -> tuple[int, str]:
    """Code and reason of the `ConnectionClosed` that this raises."""
    with pytest.raises(ConnectionClosed) as raised:
        await awaitable
    return raised.value.code, raised.value.reason


CONNECT = {"type": "websocket.connect"}


def text(content: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": content}


def gone(code: int = 1000, reason: str = "") -> dict[str, Any]:
    return {"type": "websocket.disconnect", "code": code, "reason": reason}


async def until_closed(ws: WebSocketSession) -> list[Any]:
    """What the application sends until it closes the socket."""
    messages = []
    try:
        while True:
            messages.append(await ws.receive())
    except WebSocketClosed:
        return messages


# --- Routes ---------------------------------------------------------------------------------------


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


UNKNOWN = (
    "/nope /page /private /_private /-private /ws_chat/x /_ws_hidden /_say /data "
    "/chat /chat/a/b /chat/a/5/c /index/x"
)


@pytest.mark.parametrize("path", [*UNKNOWN.split(), "//", "/accept", "/\ufffd"])
async def test_path_that_is_unknown_or_private_is_refused_with_1008(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with websocket(
        Echo(), path, raw_path=b"/%ff" if "\ufffd" in path else path.encode()
    ) as ws:
        assert (ws.accepted, ws.rejected) == (False, 1008)
    assert caplog.records == []


async def test_ws_names_are_inherited_and_may_be_taken_away() -> None:
    class Mixin:
        async def ws_mixed(self, ws: WebSocket) -> None:
            await ws.accept()

    class Child(Mixin, Echo):
        ws_index = None

    for path, accepted in (("/mixed", True), ("/about_us", True), ("/", False), ("/index", False)):
        async with websocket(Child(), path) as ws:
            assert ws.accepted is accepted, path
    async with websocket(Child(), "/class") as ws:
        assert await ws.receive_json() == ["Child"]


async def test_the_request_of_a_websocket() -> None:
    async def talk(ws: WebSocket) -> None:
        request = current_request.get()
        seen.append(type(request) is WebSocketRequest and isinstance(request, Request))
        seen.append(request is app.request)
        seen.append(
            (
                request.query("a"),
                request.headers["x-a"],
                request.cookies,
                request.path_params,
                request.session,
            )
        )
        await ws.accept()

    seen: list[Any] = []
    app = Talking(talk)
    async with websocket(app, "/?a=1", headers=[("x-a", "2"), ("cookie", "c=3")]):
        pass
    assert seen == [True, True, ("1", "2", {"c": "3"}, [], {})]


# --- The handshake --------------------------------------------------------------------------------


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
    assert offered == [["v1", "v2"], ["v1"], []]


OPTIONAL = "headers query_string raw_path root_path scheme subprotocols client server extensions"


@pytest.mark.parametrize("absent", [None, REMOVED])
async def test_optional_keys_may_be_none_or_left_out(absent: Any) -> None:
    async def talk(ws: WebSocket) -> None:
        request = current_request.get()
        seen.append(
            (
                request.headers,
                request.query_params,
                request.cookies,
                request.session,
                ws.subprotocols,
            )
        )
        request.session["a"] = 1
        await ws.accept("v2" if "v2" in ws.subprotocols else None)

    seen: list[Any] = []
    async with websocket(Talking(talk), scope=dict.fromkeys(OPTIONAL.split(), absent)) as ws:
        assert (ws.accepted, ws.subprotocol) == (True, None)
    assert seen == [({}, {}, {}, {"a": 1}, [])]


async def test_accepting_twice_is_an_error() -> None:
    async def talk(ws: WebSocket) -> bool:
        await ws.accept()
        with pytest.raises(RuntimeError, match="accepted"):
            await ws.accept()
        return True

    assert await returned(talk)


async def test_accept_may_be_tried_again_after_a_wrong_argument() -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="cookie"):
            await ws.accept(session_id="no;cookie")
        await ws.accept()
        await ws.send_text("accepted")

    assert said(await talked(talk)) == ["accepted"]


async def test_accept_may_be_tried_again_after_a_time_out() -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(ws.accept(), 1)
        await ws.accept()
        await ws.send_text(await ws.receive_text())

    queue: asyncio.Queue[Any] = asyncio.Queue()
    for seconds, message in ((2, CONNECT), (3, text("hello"))):
        asyncio.get_running_loop().call_later(seconds, queue.put_nowait, message)
    sent = await call(Talking(talk), queue.get, type="websocket")
    assert [message.get("text") or message["type"] for message in sent] == [
        "websocket.accept",
        "hello",
        "websocket.close",
    ]


async def test_a_client_that_left_before_accept(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(ws: WebSocket) -> None:
        codes.append((await closed(ws.accept()), ws.accepted))
        codes.append((await closed(ws.accept()), ws.accepted))
        await ws.accept()

    codes: list[Any] = []
    async with websocket(Talking(talk), receive=scripted(gone(1006))) as ws:
        await ws.wait()
    assert ws.messages == []
    assert codes == [((1006, ""), False)] * 2
    assert caplog.records == []


async def test_close_before_accept_refuses_the_handshake() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.close(4003, "go away")
        ends.append(await closed(ws.accept()))

    ends: list[Any] = []
    ws = await talked(talk)
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, 4003, "go away")
    assert ends == [(4003, "go away")]


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

    refused, ended = await talked(before), await talked(after)
    assert (refused.accepted, refused.rejected, refused.close_reason) == (False, 1008, "")
    assert (ended.accepted, ended.close_code, ended.close_reason) == (True, 1011, "")
    assert caplog.records == []


async def test_close_while_a_slow_session_backend_delays_accept_refuses_the_handshake() -> None:
    class Slow(InMemorySessionBackend):
        async def update(self, session_id: str, change: Any, timeout: float) -> None:
            await elapse(2)
            await super().update(session_id, change, timeout)

    async def talk(ws: WebSocket) -> bool:
        current_request.get().session["user"] = "ada"
        accepting = asyncio.ensure_future(ws.accept())
        await elapse(1)
        await ws.close(1008)
        ends.append(await closed(accepting))
        return True

    ends: list[Any] = []
    sent = await call(Talking(talk, session_backend=Slow()), scripted(CONNECT), type="websocket")
    assert [(message["type"], message.get("code")) for message in sent] == [
        ("websocket.close", 1008)
    ]
    assert ends == [(1008, "")]


# --- Messages -------------------------------------------------------------------------------------


async def test_text_bytes_and_json_go_both_ways() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())
        await ws.send_bytes(await ws.receive_bytes())
        await ws.send_json(await ws.receive_json())

    ws = await talked(talk, "é", b"\xff", '{"a": [1, null, "é"]}')
    assert said(ws) == ["é", b"\xff", '{"a":[1,null,"é"]}']


@pytest.mark.parametrize("message", ["", b""])
async def test_empty_messages_are_messages(message: str | bytes) -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        return await (ws.receive_text() if isinstance(message, str) else ws.receive_bytes())

    assert await returned(talk, message) == message


@pytest.mark.parametrize("other", [{}, {"bytes": None}])
@pytest.mark.parametrize("content", [{"text": "a"}, {"bytes": b"a"}])
async def test_the_other_kind_is_a_value_error(
    content: dict[str, Any], other: dict[str, Any]
) -> None:
    """The key of the kind that was not sent may be there, as None, or not."""
    absent = dict.fromkeys({"text", "bytes"} - set(content)) if other else {}
    message = {"type": "websocket.receive", **absent, **content}

    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        right, wrong = ws.receive_text, ws.receive_bytes
        if "bytes" in content:
            right, wrong = wrong, right  # type: ignore[assignment]
        with pytest.raises(ValueError, match="expected"):
            await wrong()
        return await right()

    assert [await returned(talk, dict(message), dict(message))] == list(content.values())


async def test_json_may_come_as_bytes() -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        return await ws.receive_json()

    assert await returned(
        talk, {"type": "websocket.receive", "text": None, "bytes": b'{"a": 1}'}
    ) == {"a": 1}


@pytest.mark.parametrize("message", ["", "{", "NaN", "nul", "[" * 100_000, '"\\ud800"'])
async def test_text_that_is_not_json_is_a_value_error(message: str) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(ValueError):
            await ws.receive_json()
        await ws.send_text("next")

    assert said(await talked(talk, message)) == ["next"]


async def test_a_receive_that_timed_out_may_be_repeated() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await ws.receive_text()
        await ws.send_text("still there?")
        await ws.send_text(await ws.receive_text())

    async with websocket(Talking(talk)) as ws:
        assert await ws.receive() == "still there?"
        await ws.send_text("yes")
        assert await ws.receive() == "yes"


async def test_iteration_yields_both_kinds_until_the_client_leaves() -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        return [message async for message in ws]

    with_both_keys = [
        text("") | {"bytes": None},
        {"type": "websocket.receive", "text": None, "bytes": b"c"},
    ]
    assert await returned(talk, "a", b"b", *with_both_keys, gone(1001)) == ["a", b"b", "", b"c"]


async def test_iteration_ends_when_the_handler_closes() -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        got = []
        async for message in ws:
            got.append(message)
            await ws.close()
        return got

    assert await returned(talk, "a", "b") == ["a"]


SENDS: list[tuple[Any, ...]] = [("send_text", "a"), ("send_bytes", b"a"), ("send_json", {})]
RECEIVES: list[tuple[Any, ...]] = [("receive_text",), ("receive_bytes",), ("receive_json",)]


@pytest.mark.parametrize("name, argument", SENDS)
async def test_sending_before_accept_is_a_runtime_error(name: str, argument: Any) -> None:
    async def talk(ws: WebSocket) -> None:
        with pytest.raises(RuntimeError, match="accept"):
            await getattr(ws, name)(argument)
        await ws.accept()
        await getattr(ws, name)(argument)

    assert said(await talked(talk)) in (["a"], [b"a"], ["{}"])


@pytest.mark.parametrize("name", ["receive_text", "receive_bytes", "receive_json", "__anext__"])
async def test_receiving_before_accept_is_a_runtime_error(name: str) -> None:
    async def talk(ws: WebSocket) -> bool:
        with pytest.raises(RuntimeError, match="accept"):
            await getattr(aiter(ws), name)()
        return True

    assert await returned(talk)


@pytest.mark.parametrize("closes", [True, False])
@pytest.mark.parametrize("call", SENDS + RECEIVES, ids=lambda call: call[0])
async def test_everything_is_over_after_close_or_a_received_disconnect(
    call: tuple[Any, ...], closes: bool
) -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        if closes:
            await ws.close(4100, "bye")
        else:
            assert await closed(ws.receive_text()) == (4100, "bye")
        name, *arguments = call
        ends.append(await closed(getattr(ws, name)(*arguments)))

    ends: list[Any] = []
    ws = await talked(talk, *([] if closes else [gone(4100, "bye")]))
    assert (ws.close_code, ws.close_reason) == ((4100, "bye") if closes else (None, None))
    assert ends == [(4100, "bye")]


@pytest.mark.parametrize("call", SENDS, ids=lambda call: call[0])
async def test_a_server_that_raises_oserror_says_that_the_client_is_gone(
    call: tuple[Any, ...], caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.receive_text()
        name, *arguments = call
        for _ in range(2):
            ends.append(await closed(getattr(ws, name)(*arguments)))
        await getattr(ws, name)(*arguments)

    ends: list[Any] = []
    await talked(talk, "go", break_sends=True)
    assert ends == [(1006, "")] * 2  # abnormal closure (RFC 6455 section 7.1.5)
    assert caplog.records == []


async def test_a_server_that_raises_oserror_at_accept_and_at_close(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(ws: WebSocket) -> None:
        await closed(ws.accept())
        ended.append(ws.accepted)

    async def closes(ws: WebSocket) -> None:
        await ws.close()
        ended.append(ws.accepted)

    async def returns(ws: WebSocket) -> None:
        ended.append(ws.accepted)

    ended: list[bool] = []
    for handler in (talk, closes, returns):
        await call(
            Talking(handler), scripted(CONNECT), lambda message: OSError("gone"), type="websocket"
        )
    assert ended == [False] * 3
    assert caplog.records == []


async def test_the_code_of_the_client_is_there_after_a_failed_send() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        for attempt in (
            ws.send_text("too late"),
            ws.send_text("again"),
            ws.receive_text(),
            ws.receive_text(),
        ):
            ends.append(await closed(attempt))

    ends: list[Any] = []
    refuse = lambda message: OSError("gone") if message["type"] == "websocket.send" else None  # noqa: E731
    await call(Talking(talk), scripted(CONNECT, gone(3000, "bye")), refuse, type="websocket")
    assert ends == [(1006, ""), (1006, ""), (3000, "bye"), (3000, "bye")]


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
async def test_connection_closed_carries_what_the_server_reports(
    message: dict[str, Any], expected: tuple[int, str]
) -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        return await closed(ws.receive_bytes())

    assert await returned(talk, {"type": "websocket.disconnect", **message}) == expected


@pytest.mark.parametrize("plain", [False, True])
async def test_a_handler_with_a_yield_is_a_logged_error(
    plain: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It would never run, and nothing would tell so."""

    class Root(App):
        async def ws_late(self, ws: WebSocket) -> Any:
            await ws.accept()
            yield

        def ws_plain(self, ws: WebSocket) -> Any:
            yield

    async with websocket(Root(), "/plain" if plain else "/late") as ws:
        assert (ws.accepted, ws.rejected) == (False, 1011)
    assert "TypeError: a WebSocket handler with a yield never runs" in caplog.text


async def test_receive_and_send_may_return_any_awaitable() -> None:
    class Ready:
        def __init__(self, value: Any = None) -> None:
            self.value = value

        def __await__(self) -> Any:
            yield from ()
            return self.value

    def receive() -> Ready:
        return Ready(incoming.pop(0))

    def send(message: Any) -> Ready:
        sent.append(message)
        return Ready()

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(await ws.receive_text())

    incoming = [CONNECT, text("hi")]
    sent: list[Any] = []
    await Talking(talk)({"type": "websocket", "path": "/"}, receive, send)
    assert [message["type"] for message in sent] == [
        "websocket.accept",
        "websocket.send",
        "websocket.close",
    ]
    assert sent[1]["text"] == "hi"


async def test_a_websocket_can_be_made_by_hand() -> None:
    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    ws = WebSocket(scripted(CONNECT), send)
    assert (ws.accepted, ws.session_id, ws.subprotocols) == (False, None, [])
    await ws.accept("chat", session_id="abc")
    await ws.send_text("hi")
    plain = WebSocket(scripted(CONNECT), send)
    await plain.accept()
    assert sent[0]["subprotocol"] == "chat"
    assert [(name, value.split(b";")[0]) for name, value in sent[0]["headers"]] == [
        (b"set-cookie", b"session_id=abc")
    ]
    assert sent[1]["text"] == "hi"
    assert not sent[2].get("headers")


# --- How it ends ----------------------------------------------------------------------------------


async def test_a_handler_that_returns_leaves_it_closed_with_1000() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()

    async with websocket(Talking(talk)) as ws:
        assert await until_closed(ws) == []
    assert (ws.close_code, ws.close_reason) == (1000, "")


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("accepts", [False, True])
async def test_a_handler_that_raises_closes_with_1011_and_no_text_and_logs_the_traceback(
    accepts: bool, debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        raise RuntimeError("a secret")

    ws = await talked(talk, debug=debug)
    assert (ws.close_code, ws.close_reason, said(ws)) == (1011, "", [])
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("micropie", logging.ERROR)
    ]
    assert "Traceback" in caplog.text and "a secret" in caplog.text


async def test_its_own_connection_closed_is_a_normal_end(caplog: pytest.LogCaptureFixture) -> None:
    async def client_left(ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.receive_text()

    async def closed_here(ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4001)
        await ws.send_text("too late")

    left, ended = await talked(client_left), await talked(closed_here)
    assert [message["type"] for message in left.messages] == ["websocket.accept"]
    assert ended.close_code == 4001
    assert caplog.records == []


async def test_a_task_group_ends_with_its_client_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def talk(ws: WebSocket) -> None:
        async def echo() -> None:
            while True:
                await ws.send_text(await ws.receive_text())

        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(echo())

    assert said(await talked(talk, "a")) == ["a"]
    assert caplog.records == []


@pytest.mark.parametrize("iterates", [False, True])
async def test_the_connection_closed_of_another_connection_is_an_error(
    iterates: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Also out of the `receive()` of this one, through a server that is a client itself."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            noted.append(message)
        raise AssertionError("the iteration went to its end")

    async def raises(ws: WebSocket) -> None:
        await ws.accept()
        raise upstream

    noted: list[Any] = []
    upstream = ConnectionClosed(1000, "of the upstream socket")
    receive = scripted(CONNECT, text("1"), upstream)
    sent = await call(Talking(talk if iterates else raises), receive, type="websocket")
    assert (sent[-1]["code"], noted) == (1011, ["1"] if iterates else [])
    assert "ConnectionClosed" in caplog.text and "of the upstream socket" in caplog.text


@pytest.mark.parametrize("raises", [True, False])
async def test_close_or_error_after_the_client_left_sends_nothing(raises, caplog):
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass
        if raises:
            raise RuntimeError("in the end")
        await ws.close(4000)

    ws = await talked(talk)
    assert [message["type"] for message in ws.messages] == ["websocket.accept"]
    assert ("in the end" in caplog.text) is raises


@pytest.mark.parametrize("accepts", [True, False])
async def test_closing_twice_is_harmless(accepts: bool) -> None:
    async def talk(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        await ws.close(4001, "first")
        await ws.close(4002, "second")
        again.append(True)

    again: list[bool] = []
    ws = await talked(talk)
    assert (ws.accepted, ws.close_code, ws.close_reason) == (accepts, 4001, "first")
    assert again == [True]


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
    async def talk(ws: WebSocket) -> bool:
        await ws.accept()
        with pytest.raises(ValueError, match=str(code)):
            await ws.close(code)
        return True

    assert await returned(talk)


@pytest.mark.parametrize("refused", [(1001,), (4999,), (4999, 1000)])
@pytest.mark.parametrize("catches", [False, True])
async def test_a_socket_whose_close_the_server_refused_is_closed_with_1000(
    catches: bool, refused: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """If the server refuses that too, its error is the handler's."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        with contextlib.suppress(ValueError) if catches else contextlib.nullcontext():
            await ws.close(refused[0], "bye")
        for attempt in (ws.send_text("x"), ws.receive_text(), ws.receive_json()):
            ends.append(await closed(attempt))
        assert await anext(ws, None) is None
        await ws.close()

    ends: list[Any] = []
    sent = await call(
        Talking(talk),
        scripted(CONNECT, text("1"), text("2")),
        lambda message: ValueError("no such code") if message.get("code") in refused else None,
        type="websocket",
    )
    is_closed = 1000 not in refused
    closes = [{"type": "websocket.close", "code": 1000, "reason": "bye"}] * is_closed
    assert sent[1:] == closes
    goes_on = catches or is_closed
    assert ends == ([(refused[0], "bye")] * 3 if goes_on else [])
    assert ("no such code" in caplog.text) is not goes_on


@pytest.mark.parametrize("accepts", [False, True])
async def test_server_that_refuses_1011_for_a_failed_handler_gets_its_own_error(
    accepts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """It then closes the socket with 1011 itself, as Daphne does; 1000 would be a lie."""

    async def talk(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        raise KeyError("secret")

    with pytest.raises(ValueError, match="no such code"):
        await call(
            Talking(talk),
            scripted(CONNECT),
            lambda message: ValueError("no such code") if "code" in message else None,
            type="websocket",
        )
    assert "secret" in caplog.text


async def test_a_cancelled_websocket_passes_the_cancellation_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
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


# --- Middlewares ----------------------------------------------------------------------------------


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


async def noted(app: Noted, path: str = "/") -> tuple[WebSocketSession, list[str]]:
    async with websocket(app, path) as ws:
        pass
    return ws, app.notes


ALL = ["before a", "before b", "before c", "handler", "after c", "after b", "after a"]


@pytest.mark.parametrize("path, code", [("/", 1000), ("/raises", 1011)])
async def test_before_in_order_and_after_in_reverse_also_when_the_handler_raised(
    path: str, code: int
) -> None:
    app = Noted()
    async with websocket(app, path) as ws:
        await until_closed(ws)
    assert (app.notes, ws.close_code) == (ALL, code)


@pytest.mark.parametrize("again", [False, True], ids=["once", "again"])
@pytest.mark.parametrize("path", ["/waits", "/blocks"])
async def test_after_runs_and_the_session_is_saved_when_the_server_cancels(
    path: str, again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Or a count of open sockets would never go down, on a server that stops or cancels late."""

    class Slow(WebSocketMiddleware):
        async def after_websocket(self, request: Any) -> None:
            notes.append("begun")
            await elapse(1)
            notes.append("done")

    class Root(App):
        async def ws_waits(self, ws: WebSocket) -> None:
            await ws.accept()
            self.request.session["seen"] = True
            ready.set()
            await asyncio.Event().wait()

        def ws_blocks(self, ws: WebSocket) -> None:
            self.request.session["seen"] = True
            loop.call_soon_threadsafe(ready.set)
            time.sleep(0.05)  # a thread cannot be cancelled

    notes: list[str] = []
    ready, loop, app = asyncio.Event(), asyncio.get_running_loop(), Root()
    app.ws_middlewares += [Note(notes, "a"), Slow(), Note(notes, "c")]
    await app.session_backend.save("an-id", {"user": "ada"}, 60)
    task = asyncio.create_task(
        call(
            app,
            scripted(CONNECT),
            type="websocket",
            path=path,
            headers=[(b"cookie", b"session_id=an-id")],
        )
    )
    await ready.wait()
    task.cancel("the server stops")
    if again:
        while "begun" not in notes:
            await elapse(0.01)
        task.cancel("the server stops")
    with pytest.raises(asyncio.CancelledError, match="the server stops"):
        await task
    slow = ["begun"] if again else ["begun", "done"]
    assert notes == ["before a", "before c", "after c", *slow, "after a"]
    assert await app.session_backend.load("an-id") == {"user": "ada", "seen": True}
    assert caplog.records == []


async def test_a_websocket_whose_coroutine_is_closed_ends_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It cannot await any more, so no step follows."""

    async def receive() -> dict[str, Any]:
        return await Turn()

    app = Noted()
    running = app({"type": "websocket", "path": "/"}, receive, cast(Any, receive))
    running.send(None)
    running.close()
    assert app.notes == ["before a", "before b", "before c", "handler"]
    assert not caplog.records


class Turn:
    """Waits without an event loop."""

    def __await__(self) -> Any:
        yield


async def test_a_handshake_that_is_cancelled_in_a_middleware_is_not_handed_over() -> None:
    class Waits(WebSocketMiddleware):
        async def before_websocket(self, request: Any) -> None:
            request.session["seen"] = True
            ready.set()
            await asyncio.Event().wait()

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("nothing of it runs")

    notes: list[str] = []
    ready, app = asyncio.Event(), App()
    app.ws_middlewares += [Note(notes, "a"), Waits()]
    app.mounts["/m"] = mounted
    task = asyncio.create_task(call(app, scripted(CONNECT), type="websocket", path="/m"))
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert notes == ["before a", "after a"]


async def test_middlewares_run_for_unknown_paths_too() -> None:
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
        ({"reason": "é" * 100}, 1008, "é" * 61),
    ],
)
async def test_a_dict_refuses_the_handshake(answer: dict[str, Any], code: int, reason: str) -> None:
    ws, notes = await noted(Noted(before=answer))
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, code, reason)
    assert notes == ["before a", "before b", "after b", "after a"]


@pytest.mark.parametrize("answer", [None, {}])
async def test_none_and_an_empty_dict_go_on(answer: Any) -> None:
    ws, notes = await noted(Noted(before=answer))
    assert (ws.accepted, notes) == (True, ALL)


@pytest.mark.parametrize(
    "error, code, logged", [(RuntimeError("boom"), 1011, True), (HTTPError(403), 1008, False)]
)
async def test_middleware_that_raises_before_refuses_and_has_no_after(
    error: Exception, code: int, logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ws, notes = await noted(Noted(before=error))
    assert (ws.accepted, ws.rejected, ws.close_reason) == (False, code, "")
    assert notes == ["before a", "before b", "after a"]
    assert bool(caplog.records) is logged


@pytest.mark.parametrize(
    "answer",
    [
        "no",
        "",
        True,
        False,
        0,
        [],
        ["code", 4001],
        {"status_code": 403},
        {"code": 1006},
        {"code": "4001"},
        {"reason": 5},
    ],
)
async def test_a_malformed_result_is_a_logged_error(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ws, notes = await noted(Noted(before=answer))
    assert (ws.accepted, ws.rejected) == (False, 1011)
    assert "handler" not in notes and notes[-1] == "after a"
    assert len(caplog.records) == 1


async def test_middleware_that_raises_after_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
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


async def test_attribute_that_a_middleware_sets_reaches_the_handler_and_after_websocket() -> None:
    def user(request: WebSocketRequest) -> None:
        assert type(request) is WebSocketRequest
        request.user = "ann"

    def after(request: WebSocketRequest) -> None:
        seen.append((request is current_request.get(), request.user))

    class Members(Noted):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_text(self.request.user)

    seen: list[Any] = []
    async with websocket(Members(before=user, after=after)) as ws:
        assert await ws.receive() == "ann"
    assert seen == [(True, "ann")]


# --- Handlers that do not receive -----------------------------------------------------------------


async def test_a_handler_that_only_waits_is_cancelled_10_seconds_after_accept_and_ends_normally(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times: list[float] = []
    clock = asyncio.get_running_loop().time

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.Event().wait()
        finally:
            times.append(clock())

    async with websocket(Talking(talk)) as ws:
        await ws.close(1001)
        await ws.wait()
    assert times == [pytest.approx(10, abs=0.1)]
    assert caplog.records == []
    assert ws.task is not None
    assert ws.task.cancelling() == 0


async def test_a_handler_that_only_sends_is_told_after_5_seconds() -> None:
    async def talk(ws: WebSocket) -> tuple[int, str, int]:
        await ws.accept()
        sent = 0
        await elapse(0.5)
        with pytest.raises(ConnectionClosed) as raised:
            while True:
                await ws.send_bytes(b"tick")
                sent += 1
                await elapse(1)
        await elapse(11)  # it was told, and may clean up for as long as it likes
        return raised.value.code, raised.value.reason, sent

    assert await returned(talk, gone(4001, "bye")) == (4001, "bye", 5)


@pytest.mark.parametrize("pause", [4.5, 5.3, 6])
async def test_messages_that_came_meanwhile_are_kept_in_their_order(pause: float) -> None:
    async def talk(ws: WebSocket) -> Any:
        await ws.accept()
        got: list[Any] = [await ws.receive_text()]
        for _ in range(2):
            await elapse(pause)
            got.append(await anext(ws))
        await elapse(pause)
        return got, await closed(ws.receive_text()), await closed(ws.receive_text())

    incoming = ["one", "two", b"3", gone(1001)]
    got, *ends = await returned(talk, *incoming)
    assert (got, ends) == (["one", "two", b"3"], [(1001, ""), (1001, "")])


async def test_a_receive_during_the_watch_waits_for_its_message() -> None:
    """The driver fails on two receives at once, and on a message that is lost."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await ws.receive_text()
        await elapse(5.4)  # the watch still waits
        got = await asyncio.gather(ws.receive_text(), ws.receive_text())
        await elapse(5.4)
        await ws.send_json([*got, await ws.receive_text()])

    async with websocket(Talking(talk)) as ws:
        await elapse(13)
        for message in "abc":
            await ws.send_text(message)
        assert await ws.receive() == '["a","b","c"]'


@pytest.mark.parametrize("size, taken", [(1, 16), (2**16, 16), (2**17, 8), (2**20, 1), (2**21, 1)])
@pytest.mark.parametrize("kind", ["text", "bytes"])
async def test_at_most_16_messages_or_a_mib_are_received_ahead(
    size: int, taken: int, kind: str
) -> None:
    received = 0
    content: Any = "x" * size if kind == "text" else b"x" * size

    async def receive() -> Any:
        nonlocal received
        received += 1
        return CONNECT if received == 1 else {"type": "websocket.receive", kind: content}

    counts: list[int] = []

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        for more in range(3):
            await elapse(8)
            counts.append(received - 1)
            for _ in range(more):
                await anext(ws)

    await call(Talking(talk), receive, type="websocket")
    assert counts == [taken, taken, taken + 1]


@pytest.mark.parametrize("end", ["not accepted", "closed", "told", "a task waits", "failed send"])
async def test_nothing_is_watched_then(end: str) -> None:
    received = 0

    async def receive() -> Any:
        nonlocal received
        received += 1
        if received == 2 and end == "a task waits":
            await asyncio.Event().wait()
        return CONNECT if received == 1 else gone(1001)

    async def talk(ws: WebSocket) -> None:
        if end != "not accepted":
            await ws.accept()
        if end == "closed":
            await ws.close()
        if end == "told":
            await closed(ws.receive_text())
        if end == "failed send":
            await closed(ws.send_text("x"))
        waiting = asyncio.create_task(ws.receive_text()) if end == "a task waits" else None
        await elapse(18)
        seen.append(received)
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait([waiting])

    def refuse(message: Any) -> Exception | None:
        is_refused = end == "failed send" and message["type"] == "websocket.send"
        return OSError() if is_refused else None

    seen: list[int] = []
    await call(Talking(talk), receive, refuse, type="websocket")
    assert seen == [{"not accepted": 0, "closed": 1, "failed send": 1}.get(end, 2)]


async def test_a_task_that_waits_for_the_watch_is_told_of_a_close() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        waiting = asyncio.create_task(ws.receive_text())
        await elapse(1)
        await ws.close(4000, "enough")
        told.append(await closed(waiting))

    told: list[Any] = []
    async with websocket(Talking(talk)) as ws:
        await elapse(8)
        await ws.close()
    assert told == [(4000, "enough")]


async def test_a_close_ends_the_watch_before_it_is_sent() -> None:
    """Granian sends no close while `receive` waits."""

    async def receive() -> Any:
        if not waits:
            waits.append("connect")
            return CONNECT
        waits.append("watch")
        try:
            await asyncio.Event().wait()
        finally:
            waits.remove("watch")

    async def send(message: Any) -> None:
        if message["type"] == "websocket.close":
            await elapse(0)
            closes.append((message["code"], *waits))

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        assert waits == ["connect", "watch"]
        await ws.close(4000)

    waits: list[str] = []
    closes: list[Any] = []
    await Talking(talk)({"type": "websocket", "path": "/"}, receive, send)
    assert closes == [(4000, "connect")]


async def test_a_message_that_comes_after_a_close_is_not_handed_out() -> None:
    """The client's answer to a logout, for example."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        waiting = asyncio.create_task(ws.receive_text())
        await elapse(1)
        await ws.close(4003)
        ready.set()
        told.append(await closed(waiting))

    async def receive() -> Any:
        if messages[1:]:
            return messages.pop(0)
        await ready.wait()
        return messages[0]

    told: list[Any] = []
    ready, messages = asyncio.Event(), [CONNECT, text("delete everything")]
    await call(Talking(talk), receive, type="websocket")
    assert told == [(4003, "")]


async def test_a_watch_that_ends_at_once_is_followed_by_another() -> None:
    """With eager tasks it ends before `create_task` returns."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        for _ in range(16):
            await ws.receive_text()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("told")

    ended: list[str] = []
    if sys.version_info >= (3, 12):
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    receive = scripted(CONNECT, *[text("x")] * 16, gone(1001))
    await call(Talking(talk), receive, type="websocket")
    assert ended == ["told"]


async def test_the_watch_ends_while_it_waits_and_a_close_forgets_what_came() -> None:
    async def failing(ws: WebSocket) -> Any:
        await ws.accept()
        await elapse(6)
        first = await closed(ws.send_text("x"))
        await elapse(12)
        return first, await closed(ws.receive_text())

    async def closing(ws: WebSocket) -> Any:
        await ws.accept()
        await elapse(6)
        await ws.close(4000)
        return await closed(ws.receive_text())

    async def lost(ws: WebSocket) -> None:
        values.append(await failing(ws))

    values: list[Any] = []
    async with websocket(Talking(lost)) as ws:
        await elapse(5.5)  # the watch waits
        ws.break_sends()
        await elapse(1)
        await ws.deliver(gone(1001))
        await ws.wait()
    assert values == [((1006, ""), (1001, ""))]
    assert await returned(closing, "kept") == (1000, "")  # the client was first


@pytest.mark.parametrize("pause", [0.1, 7])
async def test_a_receive_that_is_given_up_in_the_watch_leaves_it_going(pause: float) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await ws.receive_text()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append(asyncio.get_running_loop().time() - left)

    ends: list[float] = []
    async with websocket(Talking(talk)) as ws:
        await elapse(6.2 + pause)
        left = asyncio.get_running_loop().time()
        await ws.deliver(gone(1001))
        await ws.wait()
    assert 4.7 < ends[0] < 10.5


async def test_an_error_of_the_server_in_the_watch_is_left_to_the_next_receive() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await elapse(6)
        with pytest.raises(LookupError):
            await ws.receive_text()

    receive = scripted(CONNECT, LookupError("first"), LookupError("second"))
    sent = await call(Talking(talk), receive, type="websocket")
    assert [message["type"] for message in sent] == ["websocket.accept", "websocket.close"]


async def test_a_server_that_cancels_an_idle_handler_wins() -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.Event().wait()
        finally:
            assert (task := asyncio.current_task()) is not None
            task.cancel()

    task = asyncio.create_task(call(Talking(talk), scripted(CONNECT, gone()), type="websocket"))
    await asyncio.wait([task])
    assert task.cancelled()


@pytest.mark.parametrize("method", ["send_text", "send_bytes", "send_json"])
@pytest.mark.parametrize("sockets", [1, 1000])
async def test_a_loop_that_only_sends_lets_others_run_every_64_sends(
    method: str, sockets: int
) -> None:
    turns = Turns()

    async def talk(ws: WebSocket) -> None:
        many = [WebSocket(scripted(CONNECT), turns) for _ in range(sockets)]
        for one in many:
            await one.accept()
        turns.counts.clear()
        for _ in range(1000 // sockets):
            for one in many:
                await getattr(one, method)(b"x" if method == "send_bytes" else "x")

    await talked(talk)
    turns.end()
    assert (turns.sends, max(turns.counts.values())) == (1000, 64)


async def serve(app: App, *messages: dict[str, Any]) -> asyncio.Queue[dict[str, Any]]:
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    for message in ({"type": "websocket.connect"}, *messages):
        queue.put_nowait(message)

    async def send(message: Any) -> None:
        pass

    await app({"type": "websocket", "path": "/x", "headers": []}, queue.get, send)
    return queue


async def test_handler_goes_on_after_close_though_a_reader_is_cancelled() -> None:
    ends: list[str] = []

    class Root(App):
        async def ws_x(self, socket: WebSocket) -> None:
            await socket.accept()
            reader = asyncio.create_task(socket.receive_text())
            await elapse(0.1)
            await socket.close()
            reader.cancel()
            await elapse(15)
            ends.append("finished")

    await serve(Root())
    assert ends == ["finished"]


async def test_reader_that_outlives_the_watch_does_not_spin() -> None:
    class Root(App):
        async def ws_x(self, socket: WebSocket) -> None:
            await socket.accept()

            async def late() -> None:
                await elapse(5.6)
                await socket.receive_text()

            self.late = asyncio.create_task(late())
            await elapse(6)

    app = Root()
    queue = await serve(app)
    queue.put_nowait({"type": "websocket.disconnect", "code": 1000})
    with pytest.raises(ConnectionClosed):
        await app.late


# --- Refusals -------------------------------------------------------------------------------------


OFFERED: dict[str, Any] = {"type": "websocket", "extensions": {"websocket.http.response": {}}}


class Refusing(App):
    async def ws_token(self, ws: WebSocket) -> None:
        raise HTTPError(401, {"error": "expired"}, {"www-authenticate": "Bearer"})

    async def ws_plain(self, ws: WebSocket) -> None:
        raise HTTPError(429)

    async def ws_streamed(self, ws: WebSocket) -> None:
        raise HTTPError(403, iter(["a", "b"]))

    async def ws_needs(self, ws: WebSocket, name: FromSession) -> None: ...

    async def ws_lacks(self, ws: WebSocket, name: str) -> None: ...

    async def ws_bad(self, ws: WebSocket) -> None:
        raise HTTPError(401, "x", {"x-bad": "два"})

    async def ws_closed(self, ws: WebSocket) -> None:
        await ws.close(1008)
        raise HTTPError(401)


@pytest.mark.parametrize(
    "path, status, kind, body",
    [
        ("/token", 401, b"application/json", b'{"error":"expired"}'),
        ("/plain", 429, b"text/plain; charset=utf-8", b"429 Too Many Requests"),
        ("/streamed", 403, b"text/html; charset=utf-8", b"ab"),
        (
            "/needs",
            401,
            b"text/plain; charset=utf-8",
            b"401 Unauthorized",
        ),
    ],
)
async def test_a_refusal_carries_its_status_where_the_server_offers_that(
    path: str, status: int, kind: bytes, body: bytes
) -> None:
    start, *rest = await call(Refusing(), scripted(CONNECT), **OFFERED, path=path)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert dict(start["headers"])[b"content-type"] == kind
    assert {message["type"] for message in rest} == {"websocket.http.response.body"}
    assert b"".join(message["body"] for message in rest) == body
    plain = await call(Refusing(), scripted(CONNECT), type="websocket", path=path)
    assert [message["type"] for message in plain] == ["websocket.close"]


async def test_a_session_store_that_is_down_is_no_handshake_that_may_not_be() -> None:
    class Down(dict[str, Any]):
        def __deepcopy__(self, memo: object) -> Any:
            raise HTTPError(503)

    class Store(InMemorySessionBackend):
        async def load(self, session_id: str) -> dict[str, Any]:
            return Down(unknown=True)

    class Root(Refusing):
        async def ws_looks(self, ws: WebSocket) -> None:
            self.request.session.get("name")

    cookie = [(b"cookie", b"session_id=" + b"x" * 43)]
    for path in "/needs", "/lacks", "/looks":
        app = Root(Store())
        start, *_ = await call(app, scripted(CONNECT), **OFFERED, path=path, headers=cookie)
        assert (start["type"], start.get("status")) == ("websocket.http.response.start", 503)


async def test_a_failing_handler_of_a_class_with_a_request_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Root(Refusing):
        @property
        def request(self) -> Any:
            return "mine"

        async def ws_broken(self, ws: WebSocket) -> None:
            raise ValueError("the real error")

    start, *_ = await call(Root(), scripted(CONNECT), **OFFERED, path="/plain")
    assert start["status"] == 429
    (message,) = await call(Root(), scripted(CONNECT), **OFFERED, path="/broken")
    assert message["type"] == "websocket.close"
    assert "the real error" in caplog.text


@pytest.mark.parametrize("path", ["/nothing", "/_private", "/plain/too/long", "/lacks", "/closed"])
async def test_what_is_unknown_or_closed_is_refused_without_a_status(path: str) -> None:
    (message,) = await call(Refusing(), scripted(CONNECT), **OFFERED, path=path)
    assert (message["type"], message["code"]) == ("websocket.close", 1008)


@pytest.mark.parametrize("offered", [{}, OFFERED])
async def test_a_refusal_that_cannot_be_sent_is_logged_and_a_plain_one(
    offered: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    scope = {**OFFERED, **offered} if offered else {"type": "websocket"}
    (message,) = await call(Refusing(), scripted(CONNECT), **scope, path="/bad")
    assert (message["type"], message["code"]) == ("websocket.close", 1008)
    assert "x-bad" in caplog.text


async def test_a_client_that_left_before_its_refusal_is_no_error() -> None:
    sent = await call(
        Refusing(), scripted(CONNECT), lambda message: OSError(), **OFFERED, path="/token"
    )
    assert sent == []


@pytest.mark.parametrize("accepts", [False, True])
@pytest.mark.parametrize("kind", [HTTPError, ValueError, ConnectionClosed])
async def test_an_exception_that_is_raised_again_keeps_no_connection(
    accepts: bool, kind: Any
) -> None:
    cause = LookupError("of another one")
    error = kind(403)
    error.__cause__ = cause

    async def talk(ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        try:
            raise cause
        except LookupError:
            raise error from cause

    await talked(talk)
    assert (error.__traceback__, cause.__traceback__) == (None, None)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
async def test_an_exit_in_a_handler_is_an_error(
    kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        raise kind

    assert (await talked(talk)).close_code == 1011
    assert len(caplog.records) == 1


async def test_accept_may_be_tried_again_after_a_session_that_could_not_be_saved() -> None:
    class Failing(InMemorySessionBackend):
        def _fail_once(self) -> None:
            if not failures:
                failures.append(1)
                raise OSError("no disk")

        async def save(self, *arguments: Any) -> None:
            self._fail_once()

        async def update(self, *arguments: Any) -> Any:
            self._fail_once()
            return {"a": 1}

    async def talk(ws: WebSocket) -> bool:
        current_request.get().session["a"] = 1
        with pytest.raises(OSError, match="no disk"):
            await ws.accept()
        await ws.accept()
        return ws.accepted

    failures: list[int] = []
    assert await returned(talk, session_backend=Failing())


# --- Loops and helpers that do not let go ---------------------------------------------------------


async def test_a_loop_that_accepts_a_client_that_has_left_lets_others_run() -> None:
    turns = 0

    async def talk(ws: WebSocket) -> None:
        while turns < 5:
            with contextlib.suppress(ConnectionClosed):
                await ws.accept()

    task = asyncio.create_task(call(Talking(talk), scripted(gone(1001)), type="websocket"))
    for turns in range(6):  # noqa: B007
        await asyncio.sleep(0)
    await task


@pytest.mark.parametrize("name", ["receive_text", "receive_json", "send_text"])
async def test_a_loop_that_swallows_connection_closed_lets_others_run(name: str) -> None:
    """Otherwise one client that leaves would stop the whole server."""
    turns = 0

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await closed(ws.receive_text())
        while turns < 5:
            with contextlib.suppress(ConnectionClosed):
                await (ws.send_text("x") if name == "send_text" else getattr(ws, name)())

    async with websocket(Talking(talk)) as ws:
        await ws.close()
        for turns in range(6):  # noqa: B007
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", ["task", "group"])
async def test_a_handler_ends_whose_reader_alone_was_told_that_the_client_has_left(
    kind: str,
) -> None:
    ended: list[float] = []

    async def read(ws: WebSocket) -> None:
        async for _ in ws:
            pass

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        began = asyncio.get_running_loop().time()
        try:
            if kind == "task":
                reader = asyncio.create_task(read(ws))
                await asyncio.Event().wait()
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(read(ws))
                    await asyncio.Event().wait()
        finally:
            ended.append(asyncio.get_running_loop().time() - began)
            if kind == "task":
                await reader

    async with websocket(Talking(talk)) as ws:
        await ws.send_text("hello")
        await elapse(3)
        await ws.close()
        await elapse(14)
        assert 12 < ended[0] < 14


@pytest.mark.parametrize("closes", ["another task", "the handler"])
async def test_a_handler_that_another_task_closes_ends_too(closes: str) -> None:
    """As a hub does that logs a user out. One that closes itself may go on."""
    ended: list[float] = []

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        began = asyncio.get_running_loop().time()
        closing = asyncio.create_task(ws.close(4003)) if closes == "another task" else ws.close()
        try:
            await closing
            await elapse(26)
        finally:
            ended.append(asyncio.get_running_loop().time() - began)

    async with websocket(Talking(talk), timeout=28) as ws:
        await ws.wait()
    assert (19 < ended[0] < 22) if closes == "another task" else ended[0] == 26


@pytest.mark.parametrize("kind", ["receive", "retry", "send"])
async def test_a_handler_ends_whose_task_keeps_to_itself_that_the_client_has_left(
    kind: str,
) -> None:
    """An exception may reach the handler, so it has more time than after the end of a loop."""
    ended: list[float] = []

    async def work(ws: WebSocket) -> None:
        while True:
            try:
                if kind == "send":
                    await elapse(1)
                    await ws.send_text("still there?")
                else:
                    await ws.receive_text()
            except ConnectionClosed:
                if kind != "retry":
                    raise

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        began = asyncio.get_running_loop().time()
        worker = asyncio.create_task(work(ws))
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(asyncio.get_running_loop().time() - began)
            worker.cancel()
            await asyncio.wait([worker])

    async with websocket(Talking(talk)) as ws:
        # More than MicroPie takes ahead, so that nothing but a send tells that the client has left.
        for number in range(17):
            await ws.send_text(str(number))
        await elapse(6)
        await ws.close()
        ws.break_sends()
        await elapse(22)
        assert 21 < ended[0] < 27


async def test_a_handler_that_is_cancelled_is_so_once() -> None:
    """Though its clean-up takes long, and its reader goes on."""
    cancelled: list[int] = []

    async def read(ws: WebSocket) -> None:
        for _ in range(100):
            with contextlib.suppress(ConnectionClosed):
                await ws.receive_text()

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        reader = asyncio.create_task(read(ws))
        try:
            await asyncio.Event().wait()
        finally:
            await elapse(8)
            task = asyncio.current_task()
            assert task is not None
            cancelled.append(task.cancelling())
            reader.cancel()
            await asyncio.wait([reader])

    async with websocket(Talking(talk)) as ws:
        await ws.close()
        await elapse(29)
    assert cancelled == [1]


async def test_the_limit_of_json_holds_for_messages() -> None:
    class Root(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            await ws.send_json(await ws.receive_json())
            with pytest.raises(HTTPError, match="413"):
                await ws.receive_json()
            await ws.send_text("refused")

    for large in ("[123456789]", '["éééé"]'):  # in bytes of UTF-8
        async with websocket(Root(max_json_size=10)) as ws:
            await ws.send_text("[1234567]")
            assert await ws.receive() == "[1234567]"
            await ws.send_text(large)
            assert await ws.receive() == "refused"


async def test_messages_of_several_tasks_keep_their_order() -> None:
    """Other tasks get their turn after a message, not between its call and its sending."""

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        await asyncio.gather(*[ws.send_text(str(number)) for number in range(200)])

    receive = scripted({"type": "websocket.connect"})
    sent = await call(Talking(talk), receive, type="websocket")
    assert [one["text"] for one in sent[1:-1]] == [str(number) for number in range(200)]


async def test_a_handler_that_was_told_has_time_to_clean_up() -> None:
    """By `wait_for`, which is a task on Python 3.11, and by a task group, too."""
    ended: list[str] = []

    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        try:
            await asyncio.wait_for(ws.receive_text(), 60)
        finally:
            await elapse(14)
            ended.append("in its time")

    async with websocket(Talking(talk)) as ws:
        await ws.close()
        await elapse(15)
    assert ended == ["in its time"]
