"""WebSockets: the handshake, the messages, and the end."""

from __future__ import annotations

import json
import re
from typing import Any

from micropie import App, ConnectionClosed, InMemorySessionBackend, WebSocket
from tests.asgi import run, websocket
from tests.fuzz.inputs import Input, logged, no_errors, target


class Sockets(App):
    """Handlers that receive in each way; a wrong message is answered with `bad`."""

    closing: tuple[int, str] = (1000, "")

    async def ws_index(self, ws: WebSocket, number: int = 0, *rest: str) -> None:
        await ws.accept()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))

    async def ws_texts(self, ws: WebSocket) -> None:
        await self._answer(ws, ws.receive_text, ws.send_text)

    async def ws_bytes(self, ws: WebSocket) -> None:
        await self._answer(ws, ws.receive_bytes, ws.send_bytes)

    async def ws_json(self, ws: WebSocket) -> None:
        await self._answer(ws, ws.receive_json, ws.send_json)

    async def _answer(self, ws: WebSocket, receive: Any, send: Any) -> None:
        await ws.accept(ws.subprotocols[0] if ws.subprotocols else None)
        while True:
            try:
                await send(await receive())
            except ValueError:
                await ws.send_text("bad")

    async def ws_close(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            await ws.close(*self.closing)
        except ValueError:
            await ws.close(1000)

    async def ws_who(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(self.request.session.get("user", "nobody"))

    async def _ws_private(self, ws: WebSocket) -> None:
        raise AssertionError("a private name was reached")


def _read(message: dict[str, Any], way: str) -> Any:
    """Return what each handler answers to a message."""
    text, data = message.get("text"), message.get("bytes") or b""
    if way == "echo":
        return data if text is None else text
    if way == "texts":
        return "bad" if text is None else text
    if way == "bytes":
        return data if text is None else "bad"
    return None


@target(b"\x00", b"\x01", b'{"a":1}', b"[1]", b"NaN", b"\xff\xfe", b'"\\ud800"', b"1e999")
def messages(data: bytes) -> None:
    """Each message is answered as its handler says, and none ends another one."""
    given = Input(data)
    way = given.pick(["echo", "texts", "bytes", "json"])
    sent: list[dict[str, Any]] = []
    while not given.is_empty and len(sent) < 20:
        kind, content = given.number(4), given.some()
        text = content.decode("utf-8", "replace")
        forms: list[dict[str, Any]] = [
            {"text": text},
            {"bytes": content},
            {"text": text, "bytes": None},
            {"bytes": content, "text": None},
        ]
        sent.append(forms[kind])

    async def talk() -> None:
        async with websocket(Sockets(), f"/{way}", subprotocols=["chat"]) as ws:
            for message in sent:
                await ws.deliver({"type": "websocket.receive", **message})
                answer = await ws.receive()
                expected = _read(message, way)
                if expected is not None:
                    assert answer == expected, (message, answer)
                else:
                    _check_json(message, answer)

    with no_errors():
        run(talk())


def _check_json(message: dict[str, Any], answer: Any) -> None:
    content = message.get("text")
    content = message.get("bytes") or b"" if content is None else content.encode()
    try:
        value = json.loads(content.decode(), parse_constant=int)
    except (ValueError, RecursionError):
        # The library of the module may take what this one refuses, and only at the extremes.
        assert answer == "bad" or len(content) > 300, (content, answer)
        return
    large = re.search(rb"\d{16}|[eE]|\\u[dD]", content)
    if answer != "bad" and not large:
        assert json.loads(answer) == value, (content, answer)
    elif answer == "bad":
        assert large or len(content) > 300 or value == "bad", (content, answer)


ORIGINS = (b"http://testserver", b"http://evil.example", b"null", b"")


@target(b"/echo", b"/who", b"/index", b"/7/a", b"/_ws_private", b"/ws_echo", b"/-", b"session_id=")
def handshake(data: bytes) -> None:
    """A handshake is accepted or refused with 1008, and another origin's has no session."""
    given = Input(data)
    origin, known = given.one_of(ORIGINS), given.pick([True, False])
    offered = [given.text(9) for _ in range(given.number(3))]
    backend = InMemorySessionBackend()
    run(backend.save("known", {"user": "ada"}, 60))
    cookie = b"session_id=known" if known else given.some()
    path = given.rest().decode("utf-8", "replace")
    answers: list[Any] = []

    async def open_it() -> None:
        options: Any = {"headers": [(b"origin", origin), (b"cookie", cookie)]}
        # `?` is left out, since the client of these tests takes it for the start of a query.
        where = path.replace("?", "")
        async with websocket(Sockets(backend), where, subprotocols=offered, **options) as ws:
            assert ws.accepted or ws.rejected == 1008
            if ws.accepted and where.removesuffix("/") == "/who":
                answers.append(await ws.receive())

    with logged() as records:
        run(open_it())
    assert not [one for one in records if one.levelname == "ERROR"]
    if answers == ["ada"]:
        assert origin.lower() in (b"http://testserver", b"https://testserver") or (
            re.fullmatch(rb"(?s).*://testserver(:80)?(:443)?", origin.lower())
        )


@target(b"\x03\xe8", b"\x0f\xa0", b"\xc3\xa9", b"x" * 123, b"\x00")
def end(data: bytes) -> None:
    """A socket is closed with a code that may be sent, and a reason of at most 123 bytes."""
    given = Input(data)
    app, way = Sockets(), given.pick(["echo", "texts", "json", "close"])
    code = given.number(256) * 256 + given.number(256)
    app.closing = code, given.rest().decode("utf-8", "surrogateescape")
    leaving: dict[str, Any] = {"type": "websocket.disconnect"}
    leaving |= given.pick([{}, {"code": code}, {"code": None, "reason": None}, {"reason": "x"}])

    async def close_it() -> None:
        async with websocket(app, f"/{way}") as ws:
            await ws.deliver(leaving)
            await ws.wait()

    with no_errors():
        run(close_it())


@target(b"\x00")
def closed_error(data: bytes) -> None:
    """`ConnectionClosed` has the code and the reason that the server reports."""
    given = Input(data)
    code, reason = given.number(256) * 256, given.rest().decode("utf-8", "replace")
    told: list[ConnectionClosed] = []

    class Telling(App):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            try:
                await ws.receive_text()
            except ConnectionClosed as error:
                told.append(error)

    async def leave() -> None:
        async with websocket(Telling()) as ws:
            await ws.close(code, reason)
            await ws.wait()

    run(leave())
    assert (told[0].code, told[0].reason) == (code, reason)
