"""The least that a framework with MicroPie's API must do for each request.

It makes no check, and has no limit and no error page.

No framework, and no peer: it shows which part of the distance to the floor is the API itself. A
request object in a context variable, one pass over the headers, a handler found by its path and
called, one response; a stream's chunks looked at once; a WebSocket and a file that are iterated
over.
"""

# ruff: noqa: D101, D102, D103, D105, D107 (every handler is named after what it answers)

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import orjson
from multipart import MultipartSegment, PushMultipartParser, parse_options_header

from benchmarks.apps.floor import JSON, TEXT, Receive, Scope, Send
from benchmarks.workloads import CHUNK, CHUNK_COUNT, DATA, GREETING

IMPORTS = "pass"
PACKAGE = None

current_request: contextvars.ContextVar[Request] = contextvars.ContextVar("current_request")


class Request:
    __slots__ = ("cookie", "kind", "method", "receive", "scope")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.method = scope["method"]
        self.kind = self.cookie = b""


class Socket:
    __slots__ = ("receive", "send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self.receive = receive
        self.send = send

    def __aiter__(self) -> Socket:
        return self

    async def __anext__(self) -> str:
        text: str | None = (await self.receive()).get("text")
        if text is None:
            raise StopAsyncIteration
        return text

    async def send_text(self, text: str) -> None:
        await self.send({"type": "websocket.send", "text": text})


class File:
    def __init__(self, request: Request) -> None:
        self.receive = request.receive
        self.parser = PushMultipartParser(
            parse_options_header(request.kind.decode())[1]["boundary"]
        )
        self.events: Any = iter(())

    def __aiter__(self) -> File:
        return self

    async def __anext__(self) -> bytes:
        while True:
            for event in self.events:
                if event and not isinstance(event, MultipartSegment):
                    return event  # type: ignore[no-any-return]
            message = await self.receive()
            if not message.get("body"):
                raise StopAsyncIteration
            self.events = self.parser.parse(message["body"])


class Bare:
    async def index(self) -> str:
        return GREETING

    async def json(self) -> dict[str, Any]:
        return DATA

    async def upload(self) -> str:
        size = 0
        async for chunk in File(current_request.get()):
            size += len(chunk)
        return str(size)

    async def stream(self) -> AsyncIterator[str | bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    async def echo(self, ws: Socket) -> None:
        async for message in ws:
            await ws.send_text(message)

    ROUTES: ClassVar[dict[str, Any]] = {"/": index, "/json": json, "/upload": upload}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        token = current_request.set(request)
        try:
            for name, value in scope["headers"]:
                if name == b"content-type":
                    request.kind = value
                elif name == b"cookie":
                    request.cookie = value
            result = await self.ROUTES[scope["path"]](self)
            body, kind = (
                (result.encode(), TEXT) if type(result) is str else (orjson.dumps(result), JSON)
            )
            length = (b"content-length", b"%d" % len(body))
            await send({"type": "http.response.start", "status": 200, "headers": [kind, length]})
            await send({"type": "http.response.body", "body": body})
        finally:
            current_request.reset(token)


app = Bare()


async def chunked(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    async for chunk in app.stream():
        body = chunk.encode() if isinstance(chunk, str) else chunk
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    await app.echo(Socket(receive, send))


APPS = {"hello": app, "json": app, "upload": app, "stream": chunked, "websocket": websocket}
