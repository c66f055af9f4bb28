"""The whole ASGI callable, with scopes and messages that no careful server would send."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

from micropie import (
    App,
    FromSession,
    HttpMiddleware,
    UploadedFile,
    WebSocket,
    WebSocketMiddleware,
    event_stream,
)
from tests.asgi import Exchange, WebSocketSession, run
from tests.fuzz.inputs import Input, logged, target


class _Below(App):
    async def index(self, *rest: str) -> Any:
        return list(rest)

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()


class Everything(App):
    """A handler of each shape; none of them fails by itself."""

    async def index(self, *rest: str) -> Any:
        return list(rest)

    async def typed(self, number: int, flag: bool = False, ratio: float | None = None) -> Any:
        return {"number": number, "flag": flag, "ratio": ratio}

    async def anything(self, first: str = "", /, *rest: str, only: str = "", **others: Any) -> int:
        return len(rest) + len(others)

    def plain(self, name: str = "") -> str:
        return name

    async def stream(self, count: int = 2) -> AsyncIterator[str]:
        for number in range(min(count, 3)):
            yield str(number)

    def plain_stream(self) -> Iterator[bytes]:
        yield b"1"

    async def events(self) -> Any:
        async def source() -> AsyncIterator[Any]:
            yield self.request.headers.get("last-event-id", "").encode("latin-1") and b"data: 1\n\n"
            yield {"more": True}

        return event_stream(source())

    async def counts(self) -> int:
        self.request.session["count"] = self.request.session.get("count", 0) + 1
        return int(self.request.session["count"])

    async def member(self, user: FromSession) -> str:
        return str(user)

    async def form(self) -> Any:
        return self.request.body_params

    async def raw(self) -> Any:
        return await self.request.body()

    async def upload(self, file: UploadedFile) -> Any:
        return [file.filename, len(await file.read())]

    async def files(self, file: list[UploadedFile], **others: Any) -> int:
        return len(file)

    async def here(self) -> Any:
        return [await self.request.is_disconnected(), self.request.cookies]

    async def ws_index(self, ws: WebSocket, number: int = 0) -> None:
        await ws.accept()

    async def ws_echo(self, ws: WebSocket) -> None:
        self.request.session["seen"] = True
        await ws.accept()
        async for message in ws:
            await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))


class _Notes(HttpMiddleware, WebSocketMiddleware):
    async def before_request(self, request: Any) -> None:
        request.user = request.session.get("user")

    async def after_request(self, request: Any, status: int, body: Any, headers: Any) -> None:
        headers.append(("x-status", str(status)))

    async def after_websocket(self, request: Any) -> None:
        request.headers.get("origin")


NAMES = [name.removeprefix("ws_") for name in vars(Everything) if not name.startswith("_")]
NONE: Any = object()
KINDS = (
    b"application/json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=b",
    b"multipart/form-data",
    b"text/plain",
)
HEADER_NAMES = (
    b"content-type",
    b"cookie",
    b"content-length",
    b"host",
    b"origin",
    b"sec-fetch-site",
    b"expect",
    b"transfer-encoding",
    b"last-event-id",
    b"x-forwarded-for",
    b"accept",
)
VALUES = (*KINDS, b"session_id=known", b"0", b"7", b"100-continue", b"http://testserver", b"null")


def _app(given: Input) -> App:
    app = Everything(debug=given.pick([False, True]), max_body_size=given.pick([10**6, 20]))
    if given.number(2):
        app.middlewares.append(_Notes())
        app.ws_middlewares.append(_Notes())
    if given.number(2):
        app.mounts["/below"] = _Below()
    return app


def _scope(given: Input, kind: str) -> dict[str, Any]:
    segments = [given.pick(NAMES) if given.number(2) else given.text(9) for _ in range(2)]
    path = given.pick(["/", "/below/", "", "//"]) + "/".join(segments[: given.number(3)])
    names = [given.one_of(HEADER_NAMES).lower() for _ in range(given.number(5))]
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": given.pick(["1.1", "2", "1.0", "3"]),
        "method": given.pick(["GET", "POST", "HEAD", "OPTIONS", "PUT", "get", "BREW"]),
        "path": path,
        "raw_path": given.pick([path.encode(), None, NONE, b"\xff", b"/%2F"]),
        "query_string": given.pick([given.some(40), NONE, None]),
        "root_path": given.pick(["", "/below", "/", None, NONE]),
        "scheme": given.pick(["http", "https", None, NONE]),
        "headers": [(name, given.one_of(VALUES)) for name in names],
        "client": given.pick([("127.0.0.1", 1), None, NONE, ("::1", 0)]),
        "server": given.pick([("testserver", 80), None, NONE, ("/run/app.sock", None)]),
        "subprotocols": given.pick([[], None, NONE, ["chat"]]),
        "extensions": given.pick([NONE, None, {}, {"websocket.http.response": {}}]),
    }
    return {name: value for name, value in scope.items() if value is not NONE}


def _bodies(given: Input) -> list[dict[str, Any]]:
    """Return the pieces of a body, with keys left out as servers do, or a client that leaves."""
    sent: list[dict[str, Any]] = []
    count = given.number(4)
    for at in range(count):
        piece = {"body": given.some(60), "more_body": at < count - 1}
        if not piece["body"] and given.number(2):
            piece = {"body": None, "more_body": piece["more_body"]}
        if not piece["more_body"] and given.number(2):
            del piece["more_body"]
        sent.append({"type": "http.request", **piece})
    if given.number(3) == 1:
        sent.insert(given.number(len(sent) + 1), {"type": "http.disconnect"})
    elif not sent or sent[-1].get("more_body"):
        sent.append({"type": "http.request"})
    return sent


def _errors(records: list[logging.LogRecord]) -> list[str]:
    return [logging.Formatter().format(one) for one in records if one.levelno >= logging.ERROR]


@target(*KINDS, b"session_id=", b"--b\r\n", b'{"number":1}', b"number=1", b"Content-Disposition: ")
def http(data: bytes) -> None:
    """Any request is answered by the protocol, and never with a 500."""
    given = Input(data)
    app, scope = _app(given), _scope(given, "http")
    connection = Exchange(app, scope)
    breaks_at, leaves = given.number(5), given.number(3)

    async def send_all() -> None:
        for message in _bodies(given):
            connection._incoming.put_nowait(message)
        if leaves:
            connection._incoming.put_nowait({"type": "http.disconnect"})
        connection.start()
        for _ in range(breaks_at if breaks_at < 3 else 0):
            await connection.next_message()
        if 0 < breaks_at < 3:
            connection.break_sends()
        await connection.finish()

    with logged() as records:
        run(send_all())
    assert not _errors(records), _errors(records)
    assert connection.response.status != 500


@target(b"echo", b"/", b"\x00", b"http://testserver", b"session_id=")
def socket(data: bytes) -> None:
    """Any WebSocket is accepted or refused, and closed, by the protocol."""
    given = Input(data)
    app, scope = _app(given), _scope(given, "websocket")
    scope.pop("method", None)
    connection = WebSocketSession(app, scope)
    connection.checks = WebSocketSession.checks | {
        f"websocket.http.response.{part}": "check_refusal" for part in ("start", "body")
    }
    connection.check_refusal = connection.messages.append  # type: ignore[attr-defined]
    leaving: list[dict[str, Any]] = [{}, {"code": 1001}, {"code": None, "reason": None}]
    ends = given.pick([*leaving, {"reason": "bye"}])

    async def talk() -> None:
        connection._incoming.put_nowait({"type": "websocket.connect"})
        for _ in range(given.number(6)):
            content = given.some(30)
            forms: list[dict[str, Any]] = [
                {"text": content.decode("utf-8", "replace")},
                {"bytes": content},
                {"text": None, "bytes": content},
                {"bytes": None, "text": ""},
            ]
            message = {"type": "websocket.receive", **given.pick(forms)}
            connection._incoming.put_nowait(message)
        connection._incoming.put_nowait({"type": "websocket.disconnect", **ends})
        connection.start()
        await connection.finish()

    with logged() as records:
        run(talk())
    assert not _errors(records), _errors(records)
