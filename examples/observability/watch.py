"""Watches each request and WebSocket of an ASGI app, from its start to its end.

An observer is a context manager. It is entered at the start and left at the end:

    @contextmanager
    def shown(exchange: Exchange) -> Iterator[None]:
        try:
            yield
        finally:
            print(exchange.method, exchange.handler, exchange.status)

    app = Watch(app, [shown])

This is an ASGI wrapper and no middleware of MicroPie, since only a wrapper sees the end
of a stream, and a client that leaves in the middle of an upload. And without
middlewares, MicroPie takes its shortcut for plain responses.
"""

import asyncio
import logging
import re
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from contextvars import ContextVar
from typing import Any

from micropie import Request, current_request

Observer = Callable[["Exchange"], AbstractContextManager[None]]

# A client can send anything, and the id goes into logs and other systems.
GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
NO_HANDLER = "(none)"  # of all paths that lead nowhere
STARTS = {"http.response.start", "websocket.http.response.start", "websocket.accept"}
PATIENCE = 0.5  # seconds after which clients begin to give up

_current: ContextVar["Exchange"] = ContextVar("exchange")


class Watch:
    """An ASGI app around another one; the first observer is the outermost."""

    def __init__(self, app: Any, observers: Sequence[Observer]) -> None:
        self._app = app
        self._observers = observers
        self._open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        exchange = Exchange(scope, receive, send)
        token = _current.set(exchange)
        self._open += 1
        try:
            with ExitStack() as entered:
                for observer in self._observers:
                    entered.enter_context(observer(exchange))
                await self._app(scope, exchange.receive, exchange.send)
        finally:
            self._open -= 1
            _current.reset(token)

    async def finish(self) -> None:
        """At shutdown, let the observers see the end of what the server breaks off."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                while self._open:
                    await asyncio.sleep(0.01)


class Exchange:
    """A request with its response, or a WebSocket.

    Attributes:
        scope: The ASGI scope; there can be secrets in its query string and headers.
        id: The id that the client has sent if it is a good one, else a new one.
        wait: Seconds until the response began, None before.
        size: Bytes of the body that were sent, or messages of a WebSocket, both ways.
        code: The close code of a WebSocket.
        is_open: Whether it became a stream or a WebSocket.
        when_open: Functions to call when it does.
        when_failed: Functions to call with each exception that no code has caught.
    """

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        scope["headers"] = [*scope["headers"]]  # ASGI allows what can be read only once
        self.scope, self._receive, self._send = scope, receive, send
        given = self.header(b"x-request-id")
        self.id = given if GOOD_ID.fullmatch(given) else secrets.token_hex(8)
        self.wait: float | None = None
        self.size = 0
        self.code: int | None = None
        self.is_open = False
        self.when_open: list[Callable[[], object]] = []
        self.when_failed: list[Callable[[BaseException], object]] = []
        self._status: int | None = None
        self._has_left = self._is_complete = False
        self._request: Request | None = None
        self._begun = time.perf_counter()

    def header(self, name: bytes) -> str:
        """Return the first header of a name in lower case, "" if there is none."""
        found = (value for key, value in self.scope["headers"] if key == name)
        return next(found, b"").decode("latin-1")

    @property
    def method(self) -> str:
        """The method; a client can make up others, and they are all one."""
        method: str = self.scope.get("method", "WEBSOCKET")
        return method if method in {*METHODS, "WEBSOCKET"} else "OTHER"

    @property
    def handler(self) -> str:
        """The name of the handler, since each path would be another one."""
        self._look()
        return (self._request and self._request.route_handler) or NO_HANDLER

    @property
    def status(self) -> int:
        """The status; without a response, 499 as in nginx if the client has left."""
        return self._status or (499 if self._has_left else 500)

    @property
    def end(self) -> str:
        """How it ended: "complete", "disconnected" or "broken off"."""
        if self._has_left:
            return "disconnected"
        return "complete" if self._is_complete else "broken off"

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._begun

    def _look(self) -> None:
        # MicroPie sets it when it has found the handler, and resets it at the end.
        if self._request is None:
            self._request = current_request.get(None)

    async def receive(self) -> Any:
        """Receive a message from the client."""
        self._look()
        message = await self._receive()
        kind = message["type"]
        if kind.endswith(".disconnect") and not self._is_complete:
            self._has_left, self.code = True, message.get("code")
        self.size += kind == "websocket.receive"
        return message

    async def send(self, message: Any) -> None:
        """Send a message to the client, the first one with the id."""
        self._look()
        kind, more = message["type"], message.get("more_body")
        if kind in STARTS:
            message = await self._started(message)
        try:
            await self._send(message)
        except OSError:  # so some servers say that the client has left
            self._has_left = True
            raise
        if self._has_left:
            return  # the server has dropped it
        if kind in STARTS:
            self._status = message.get("status", 101)
        if kind.endswith(".body"):
            self.size += len(message.get("body") or b"")
            self._is_complete = not more
        elif kind == "websocket.close":
            self._is_complete, self.code = True, message.get("code", 1000)
            self._status = self._status or 403
        self.size += kind == "websocket.send"
        if not self.is_open and (more or kind == "websocket.accept"):
            self.is_open = True
            for call in self.when_open:
                call()

    async def _started(self, message: Any) -> Any:
        self.wait = self.seconds
        if self._request and self.wait > PATIENCE:
            # A server drops a response in silence if the client has left meanwhile.
            await self._request.is_disconnected()
        pair = (b"x-request-id", self.id.encode())
        return {**message, "headers": [*(message.get("headers") or ()), pair]}


def _tell(record: logging.LogRecord) -> bool:
    """Tell the observers of an exception, and let its record pass."""
    exchange = _current.get(None)
    if exchange and record.exc_info and record.exc_info[1]:
        for call in exchange.when_failed:
            call(record.exc_info[1])
    return True


# MicroPie logs what no code has caught: exceptions of handlers, streams and WebSockets.
# With a handler of this logger, Python would print none of them by itself any more.
logging.getLogger("micropie").addFilter(_tell)
