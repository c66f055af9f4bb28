"""MicroPie: the public methods of a class become the URLs of an ASGI web app.

    from micropie import App

    class Root(App):
        async def index(self):
            return "Welcome to MicroPie."

    app = Root()          # uvicorn app:app

The way of a request through this module: ``App.__call__`` makes a `Request`, opens it (path, headers, session, body),
asks the middlewares, binds the arguments of the handler that the first segment of the path names, calls it, and gives
what it returns to the one response writer. Sections, in this order: errors, JSON, worker threads, sessions, uploads,
request, WebSocket, middleware, responses, streams, handlers and binding, paths, App, command line.

Only the standard library is needed; jinja2, multipart and orjson are used where they are installed.
"""
# pyright: reportPrivateUsage=false, reportUnusedFunction=false
# One module is one unit here: its classes may use each other's underscore names, and `_main` is for `__main__`.

from __future__ import annotations

import abc
import asyncio
import binascii
import contextlib
import contextvars
import enum
import functools
import inspect
import io
import itertools
import logging
import os
import re
import sys
import time
import types
import typing
import weakref
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, NamedTuple, NoReturn, TypeVar, cast

__version__ = "0.1.0"
"""The version of this module, as PEP 440 writes it.

Example:
    >>> int(__version__.split(".")[0]) < 1  # before 1.0 a minor version may change the API
    True
"""

__all__ = [
    "SESSION_TIMEOUT", "App", "ConnectionClosed", "FromSession", "HTTPError", "HttpMiddleware",
    "InMemorySessionBackend", "Request", "ServerSentEvent", "SessionBackend", "UploadedFile",
    "WebSocket", "WebSocketMiddleware", "WebSocketRequest", "__version__", "current_request",
    "delete_cookie", "event_stream", "methods", "set_cookie",
]

_log = logging.getLogger("micropie")

_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
_Pair = tuple[str | bytes, str | bytes]
_Headers = Mapping[str, str] | Iterable[_Pair]
_F = TypeVar("_F", bound=Callable[..., Any])
_T = TypeVar("_T")

SESSION_TIMEOUT: Final = 8 * 3600
"""Seconds that a session lives after the last request that looked at it; they are 8 hours.

Example:
    >>> app = App(session_timeout=3 * SESSION_TIMEOUT)  # a day
    >>> SESSION_TIMEOUT / 3600
    8.0
"""

_MAX_FIELDS: Final = 1000  # in a query, a form or a multipart body: more would block the loop for seconds
_MAX_PART_HEADERS: Final = 8  # RFC 7578 needs three
_MAX_PART_HEADER_SIZE: Final = 4096
_SPOOL_SIZE: Final = 2**20  # a file larger than this goes to disk
_CHUNK_SIZE: Final = 2**16
_SLICE: Final = 2**14  # of a form with odd escapes, decoded at a time
_DRAIN_SIZE: Final = 64 * 2**20  # read and dropped of a body that nobody wanted, so that the client sees the answer
_THREADS: Final = 40
_NEVER: Final = float("inf")  # seconds
_EXPIRE_STEP: Final = 100  # expired sessions that one call removes at most, so that none of them pauses the loop
_THREAD_PARSE_SIZE: Final = 2**18  # a urlencoded form larger than this is parsed off the loop

_ABSENT: Final[Any] = object()

_HTML: Final = (b"content-type", b"text/html; charset=utf-8")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_JSON: Final = (b"content-type", b"application/json")


# --- Errors ---------------------------------------------------------------------------------------

class HTTPError(Exception):
    """Ends the request with a status, from wherever it is raised.

    In a WebSocket handler it refuses the handshake, or closes an accepted socket with 1011.

    Args:
        status: The HTTP status code.
        body: Anything that a handler may return as a body; None is the short text of the status (``404 Not Found``).
        headers: Header pairs or a dict.

    Example:
        >>> class Shop(App):
        ...     async def item(self, number: int):
        ...         raise HTTPError(410, {"error": "sold out"}, {"cache-control": "no-store"})
        >>> asyncio.run(Shop().item(7))
        Traceback (most recent call last):
        micropie.HTTPError: 410 Gone
    """

    def __init__(self, status: int, body: object = None, headers: _Headers | None = None) -> None:
        super().__init__(status, body, headers)
        self.status = status
        self.body = body
        self.headers = headers
        self._detail = ""  # what the framework adds to the short text of the status

    def __str__(self) -> str:
        """Return the text for a log, and for the client where there is no body: the short text of the status."""
        text = self.body if isinstance(self.body, str) else _status_text(self.status)
        return f"{text}: {self._detail}" if self._detail else text


class ConnectionClosed(Exception):
    """The other side is gone, or the WebSocket is closed.

    Args:
        code: The close code as the server reports it (RFC 6455 section 7.4); 1005 where it reports none.
        reason: The close reason, ``""`` where there is none.

    Example:
        >>> async def receive():  # from a client that leaves at once
        ...     return {"type": "websocket.disconnect", "code": 1001}
        >>> try:
        ...     asyncio.run(WebSocket(receive, None).accept())
        ... except ConnectionClosed as closed:
        ...     print(closed.code, closed.reason or "no reason")
        1001 no reason
    """

    def __init__(self, code: int = 1005, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


_NEW_PHRASES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}  # RFC 9110; Python 3.11 knows older ones


def _status_text(status: int) -> str:
    from http.client import responses

    return f"{int(status)} {_NEW_PHRASES.get(status) or responses.get(status, '')}".rstrip()


def _error(status: int, detail: str = "") -> HTTPError:
    """Return one of the framework's own errors: short plain text, which never repeats what the client sent."""
    error = HTTPError(status)  # no body and no content type of its own: an error page in JSON is to have its own
    error._detail = detail
    return error


def _is_stray(error: BaseException) -> bool:
    """Whether an exception is an error of the code that was called, and not a wish of the server that runs it."""
    if isinstance(error, asyncio.CancelledError):  # of this task, or only of something that the code awaited
        task = asyncio.current_task()
        return task is None or not task.cancelling()
    return isinstance(error, Exception)


# --- JSON -----------------------------------------------------------------------------------------

_ORJSON_OPTIONS: Final = 512 | 2048  # OPT_PASSTHROUGH_DATETIME: it rounds odd offsets; _DATACLASS: it leaves fields out


_orjson: Any = _ABSENT  # the module, None where it is not installed


def _find_orjson() -> Any:
    """Import orjson when JSON is wanted for the first time."""
    global _orjson
    try:
        import orjson as _orjson
    except ImportError:
        _orjson = None
    return _orjson


def _json_default(value: Any) -> Any:
    """Return what stands for a value that JSON does not know, the same with and without orjson."""
    import datetime
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):  # a named one: orjson leaves it to us
        return list(cast("tuple[object, ...]", value))
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, type):
        import dataclasses

        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    hint = ": is an await missing?" if inspect.isawaitable(value) else ""
    raise TypeError(f"{type(value).__name__} is not JSON serializable{hint}")


def _plain(value: Any) -> Any:
    """Return a copy in which only what the standard encoder takes is left: text keys, finite numbers."""
    if isinstance(value, float):
        return value if value - value == 0.0 else None  # NaN and infinities
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, dict):
        return {_plain(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in cast("Sequence[object]", value)]
    return _plain(_json_default(value))


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        raise ValueError("number out of range")
    return number


@functools.cache
def _json() -> tuple[Callable[[Any], str], Callable[[str], Any]]:
    """Return what the standard library encodes and decodes with, as strictly as orjson."""
    import json

    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default)
    return encoder.encode, json.JSONDecoder(parse_float=_finite, parse_constant=_finite).decode


def _dump_json(value: Any) -> bytes:
    orjson = _find_orjson() if _orjson is _ABSENT else _orjson
    if orjson is not None:
        try:
            encoded: bytes = orjson.dumps(value, _json_default, _ORJSON_OPTIONS)
            return encoded
        except orjson.JSONEncodeError:
            pass  # big integers, keys that are no text: json takes them
    encode, _ = _json()
    with contextlib.suppress(TypeError, ValueError):  # NaN, keys of other types
        return encode(value).encode()
    return encode(_plain(value)).encode()  # what fails here too is the caller's error


# orjson makes a float of an integer that has no place in 64 bits: 19 digits in a row are left to json.
_ZERO_DIGITS: Final = bytes(48 if chr(byte).isdigit() and byte < 128 else 32 for byte in range(256))
_MANY_DIGITS: Final = b"0" * 19
_MAX_DEPTH: Final = 254  # of nested arrays and objects: orjson's own limit for what it says


def _load_json(body: bytes) -> Any:
    """Parse JSON (RFC 8259); a ValueError for anything else: NaN, a byte order mark, lone surrogates, deep nesting."""
    orjson = _find_orjson() if _orjson is _ABSENT else _orjson
    try:
        if orjson is not None and _MANY_DIGITS not in body.translate(_ZERO_DIGITS):
            value = orjson.loads(body)
            if body.count(b"[") + body.count(b"{") > _MAX_DEPTH:
                orjson.dumps(value)  # what is nested too deeply to be said again is refused
            return value
        encode, decode = _json()
        value = decode(body.decode())
        if b"\\ud" in body.lower():
            encode(value).encode()  # fails on a lone surrogate, as orjson does
        if _is_too_deep(value):
            raise ValueError("nested too deeply")
        return value
    except (RecursionError, TypeError) as error:
        raise ValueError("nested too deeply") from error


def _is_too_deep(value: Any) -> bool:
    """Whether containers stand in one another more deeply than orjson can say them."""
    depth = 0
    level: list[Any] = [value] if isinstance(value, (dict, list)) else []
    while level and depth <= _MAX_DEPTH:
        depth += 1
        items: list[Any] = [item for one in level for item in (one.values() if hasattr(one, "values") else one)]
        level = [item for item in items if isinstance(item, (dict, list))]
    return depth > _MAX_DEPTH


# --- Worker threads -------------------------------------------------------------------------------

@functools.cache
def _pool() -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_THREADS, thread_name_prefix="micropie")


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _shielded_call(call: Callable[..., _T], args: tuple[Any, ...]) -> _T:
    try:
        return call(*args)
    except StopIteration as error:  # a future cannot carry it: the one who waits would wait for ever
        raise RuntimeError("a function in a worker thread raised StopIteration") from error


async def _in_thread(call: Callable[..., _T], *args: Any) -> _T:
    """Call a blocking function in a worker thread; a cancellation waits until the call is over."""
    if sys.platform == "emscripten":  # Pyodide has no threads
        return _shielded_call(call, args)
    future = asyncio.get_running_loop().run_in_executor(_pool(), _shielded_call, call, args)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        with contextlib.suppress(asyncio.CancelledError):
            future.exception()  # nobody else asks for it
        raise
    finally:
        del future  # its exception's traceback leads to this frame: the two would keep the request


# --- Sessions -------------------------------------------------------------------------------------

_SCALAR_TYPES = frozenset({str, int, float, bool, bytes, type(None)})


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a deep copy of a session; one that holds only scalars, as most do, costs no `copy.deepcopy`."""
    for value in data.values():
        if type(value) not in _SCALAR_TYPES:
            import copy

            return copy.deepcopy(dict(data))
    return dict(data)


class SessionBackend(abc.ABC):
    """Where sessions are kept.

    A backend may also have ``async touch(session_id, timeout)``, which only moves the expiry. What a method raises is
    logged, and answered with a 500.

    Example:
        >>> class DictBackend(SessionBackend):
        ...     kept = {}
        ...     async def load(self, session_id):
        ...         until, data = self.kept.get(session_id, (0, {}))
        ...         return dict(data) if time.monotonic() < until else {}
        ...     async def save(self, session_id, data, timeout):
        ...         self.kept[session_id] = time.monotonic() + timeout, dict(data)
        >>> app = App(DictBackend())
    """

    @abc.abstractmethod
    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a live session, ``{}`` where there is none."""

    @abc.abstractmethod
    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep the data for ``timeout`` seconds from now; saving ``{}`` deletes the session."""


class InMemorySessionBackend(SessionBackend):
    """Sessions in the memory of this process: gone with it, and not shared with other workers.

    It hands out and takes in copies, and each call removes a bounded number of expired sessions.

    Example:
        >>> async def main(backend):
        ...     await backend.save("an-id", {"user": "ada"}, timeout=60)
        ...     return await backend.load("an-id"), await backend.load("another")
        >>> asyncio.run(main(InMemorySessionBackend()))
        ({'user': 'ada'}, {})

    Args:
        clock: Returns the time in seconds and never goes back. A test can pass one that it sets forward.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # One queue for each time-out, in order of expiry: what has expired is always at a queue's front.
        self._queues: dict[float, OrderedDict[str, tuple[float, dict[str, Any]]]] = {}
        self._next_expiry = _NEVER  # no session expires before

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return a copy of the data of a live session, ``{}`` where there is none."""
        now = self._clock()
        self._expire(now)
        for queue in self._queues.values():
            if session_id in queue:
                expiry, data = queue[session_id]
                return _copied(data) if now < expiry else {}
        return {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep a copy of the data for ``timeout`` seconds from now; saving ``{}`` deletes the session."""
        kept = _copied(data)  # first: where it fails, the session stays what it was
        self._remove(session_id)
        self._keep(session_id, kept, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire ``timeout`` seconds from now."""
        self._keep(session_id, self._remove(session_id), timeout)

    def _keep(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        if data:
            queue = self._queues.setdefault(timeout, OrderedDict())
            expiry = self._clock() + timeout
            queue[session_id] = (expiry, data)
            self._next_expiry = min(self._next_expiry, expiry)

    def _remove(self, session_id: str) -> dict[str, Any]:
        now = self._clock()
        self._expire(now)
        for timeout, queue in self._queues.items():
            if session_id in queue:
                expiry, data = queue.pop(session_id)
                if not queue:
                    del self._queues[timeout]
                return data if now < expiry else {}
        return {}

    def _expire(self, now: float) -> None:
        if now < self._next_expiry:
            return
        for timeout, queue in list(self._queues.items()):
            for _ in range(_EXPIRE_STEP):
                if not queue or now < _first_expiry(queue):
                    break
                queue.popitem(last=False)
            if not queue:
                del self._queues[timeout]
        self._next_expiry = min(map(_first_expiry, self._queues.values()), default=_NEVER)


def _first_expiry(queue: OrderedDict[str, tuple[float, dict[str, Any]]]) -> float:
    return queue[next(iter(queue))][0]


class _Session:
    """What one request knows of its session: what was loaded, what it saw first, and what it has made of it."""

    __slots__ = ("_data", "blocked", "given", "id", "renew", "snapshot")

    def __init__(self, session_id: str | None = None, data: dict[str, Any] | None = None) -> None:
        self.id = session_id  # None: not yet known to the backend
        self.snapshot: dict[str, Any] | None = None  # None: nobody has looked
        self.renew = False
        self.given: str | None = None  # the id that `WebSocket.accept` was told to use
        self.blocked = False  # True for a WebSocket from a foreign page: never saved
        self._data: dict[str, Any] = data or {}

    @property
    def data(self) -> dict[str, Any]:
        if self.snapshot is None:
            self.snapshot = _copied(self._data)
        return self._data

    @data.setter
    def data(self, value: dict[str, Any]) -> None:
        if self.snapshot is None:
            self.snapshot = self._data
        self._data = value

    async def commit(self, backend: SessionBackend, timeout: float) -> str | None:
        """Save what this request changed; return the id for a new cookie, ``""`` to expire it, None to leave it."""
        data, before, old = self._data, self.snapshot, self.id
        if before is None or (data == before and not self.renew):
            await self._touch(backend, timeout)
            return None
        fresh: dict[str, Any] = await backend.load(old) if old is not None and data else {}
        if old is None or fresh or self.renew or self.given:
            for key in before.keys() - data.keys():
                fresh.pop(key, None)
            fresh.update((key, value) for key, value in data.items() if key not in before or before[key] != value)
        # Nothing in `fresh`: emptied by this request, or ended by another one, and then it stays ended.
        new = old
        if new is None or self.renew:
            import secrets

            new = self.given or secrets.token_urlsafe(32)
        if fresh:
            await backend.save(new, fresh, timeout)
        if old is not None and (new != old or not data):
            await backend.save(old, {}, timeout)
        if not fresh:
            return "" if old is not None and not data else None
        self.id, self.renew, self.given = new, False, None
        return new if new != old else None

    async def _touch(self, backend: SessionBackend, timeout: float) -> None:
        if self.id is None or self.snapshot is None:
            return
        touch = getattr(backend, "touch", None)
        if touch is not None:
            await touch(self.id, timeout)
        elif fresh := await backend.load(self.id):
            await backend.save(self.id, fresh, timeout)


# --- Uploads --------------------------------------------------------------------------------------

class _Settings(NamedTuple):
    """The limits of one App: bytes, and seconds of waiting; None: no limit."""

    max_body_size: int | None = 16 * 2**20
    max_upload_size: int | None = 16 * 2**20
    max_form_field_size: int | None = 2**20
    body_timeout: float | None = 30.0


_DEFAULTS: Final = _Settings()


def _check_size(size: int, limit: int | None) -> None:
    if limit is not None and size > limit:
        raise _error(413)


class _Clock:
    """Gives up clients that say nothing for too long, with one timer for all the bodies of an event loop."""

    __slots__ = ("_context", "_loop", "_timeout", "rests", "seen")

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        self._context = contextvars.Context()  # the timer's: in that of a request, it would keep the request
        self.rests = True  # no timer is set
        # Since when a reader is seen to wait, how much it had received then, and how often its task had been cancelled.
        self.seen: dict[_BodyReader, tuple[float, int, int]] = {}

    def look(self) -> None:
        """Find the waits that have lasted too long, and come back as long as anybody waits."""
        now = self._loop.time()
        self.rests = True
        for reader, (since, size, cancellings) in tuple(self.seen.items()):
            task = reader.waiting
            if task is None:
                if reader.ended or reader.gone or reader._error is not None:
                    del self.seen[reader]
                else:
                    self.seen[reader] = _NOT_WAITING
                continue
            self.rests = False
            if (reader.size, task.cancelling()) != (size, cancellings):
                self.seen[reader] = now, reader.size, task.cancelling()
            elif now - since >= self._timeout:  # where the loop was blocked, what has come meanwhile is taken first
                self._loop.call_soon(self._give_up, reader, task, size, cancellings, context=self._context)
        if not self.rests:  # so a wait may last an eighth longer
            self._loop.call_later(self._timeout / 8, self.look, context=self._context)

    def _give_up(self, reader: _BodyReader, task: asyncio.Task[Any], size: int, cancellings: int) -> None:
        if reader.waiting is task and (reader.size, task.cancelling()) == (size, cancellings):
            reader.late = cancellings
            task.cancel()


_NOT_WAITING: Final = (0.0, -1, 0)


class _Clocks(dict[tuple[asyncio.AbstractEventLoop, float], _Clock]):
    """The clocks by event loop and time-out, made at first use, and kept until the event loop is closed."""

    def __missing__(self, key: tuple[asyncio.AbstractEventLoop, float]) -> _Clock:
        for old in [old for old in tuple(self) if old[0].is_closed()]:
            self.pop(old, None)
        clock = self[key] = _Clock(*key)
        return clock


_clocks: Final = _Clocks()


class _BodyReader:
    """The one owner of ``receive()``: counts, limits and times what the client sends, and listens for its leaving."""

    __slots__ = (
        "_clock", "_error", "_free", "_loop", "_peeked", "_receive", "_turn", "_turns", "announced", "ended",
        "expects_continue", "gone", "kept", "late", "length", "limit", "pieces", "size", "started", "timeout",
        "waiting",
    )  # fmt: skip

    def __init__(self, receive: _Receive | None, timeout: float | None) -> None:
        self._receive: Any = receive
        self.timeout = timeout  # seconds without a byte
        self._loop: asyncio.AbstractEventLoop | None = None  # known once somebody waits
        self._clock: _Clock | None = None  # that watches
        self._turn: asyncio.Event | None = None  # made where a second task waits
        self.waiting: asyncio.Task[Any] | None = None  # for the client
        self.late: int | None = None  # how often that task was cancelled before it was cancelled for being late
        self.limit: int | None = None  # bytes
        self.length = 0  # what Content-Length says
        self.announced = self.expects_continue = self.started = self.gone = False
        self.ended = receive is None
        self.size = 0  # bytes received so far
        self.kept: bytes | None = None  # the whole body, once it was read
        self._peeked = b""
        self.pieces: bytearray | None = None
        self._turns: asyncio.Lock | None = None  # of those who read the whole body
        self._error: tuple[int, str] | None = None  # no exception: its traceback would keep all that was read
        self._free: asyncio.Event | None = None  # set when nobody else is to receive any more

    def expect(self, limit: int | None) -> None:
        """Set the limit, and refuse at once what says that it is larger."""
        self.limit = limit
        if limit is not None and (self.length > limit or self.size > limit):
            raise _error(413)

    async def chunk(self, *, even_empty: bool = False) -> bytes:
        """Return the next piece of the body, ``b""`` at its end; 413 past the limit, 408 when nothing came in time."""
        while self.waiting is not None:  # another task: one after the other
            self._turn = self._turn or asyncio.Event()
            await self._turn.wait()
        if self._peeked or self.ended or self.gone or self._error is not None:
            return self._left_chunk()
        self.waiting = asyncio.current_task(self._loop)  # None: a server may do without
        if not self.started:
            self.started = True
            self._watch()
        if self._clock is not None and self._clock.rests:
            self._clock.look()
        try:
            while True:  # a server may send empty pieces again and again
                message = await self._receive()
                piece: bytes = message.get("body") or b""
                if piece or even_empty or not message.get("more_body"):
                    break
        except asyncio.CancelledError:
            if self._was_late():
                raise self._failure(408) from None
            raise
        finally:
            if self.late is not None or self._turn is not None:
                self._end_wait()
            self.waiting = None
        self._note(message, len(piece))
        return piece

    def _watch(self) -> None:
        if self.waiting is not None:
            self._loop = self.waiting.get_loop()
            if self.timeout is not None:
                self._clock = _clocks[self._loop, self.timeout]
                self._clock.seen[self] = _NOT_WAITING

    def _end_wait(self) -> None:
        self._was_late()  # a server may have swallowed the cancellation
        if self._turn is not None:
            self._turn.set()
            self._turn = None

    def _was_late(self) -> bool:
        """Whether the task that waits was cancelled because the client was late, and by nobody else."""
        late, self.late = self.late, None
        return late is not None and self.waiting is not None and self.waiting.uncancel() <= late

    def _note(self, message: _Message, size: int) -> None:
        """Take note of what a message says: the client has left, or that was all, or it is too much."""
        if not size and message["type"] == "http.disconnect":
            self.gone = True
            raise ConnectionClosed
        size = self.size = self.size + size
        if not message.get("more_body"):
            self.ended = True
            if self._free is not None:
                self._free.set()
        limit = self.limit
        if limit is not None and size > limit:
            raise self._failure(413)

    def _left_chunk(self) -> bytes:
        """Return what is left where nothing is to be received any more."""
        if self._error is not None:
            raise ConnectionClosed if self.gone else _error(*self._error)
        piece, self._peeked = self._peeked, b""
        if not piece and not self.ended:
            raise ConnectionClosed
        return piece

    def close(self) -> None:
        """Let whatever is read from now on fail: the request is over."""
        self.gone = True
        if self._clock is not None and self.waiting is None:  # else a task reads on behind the response
            self._clock.seen.pop(self, None)

    def _failure(self, status: int) -> HTTPError:
        if status == 408:
            self.announced = False  # nothing more is to come
        self._error = status, ""
        if self._free is not None:
            self._free.set()
        return _error(status)

    async def read(self) -> bytes:
        """Return the whole body, and keep it."""
        if self.kept is None:
            if self.pieces is None:  # kept here: who gives up waiting may ask again
                self._check_unread()
                self.pieces = bytearray()
            self._turns = self._turns or asyncio.Lock()
            async with self._turns:
                self.kept = await self._read_rest(self.pieces)
        return self.kept

    async def _read_rest(self, pieces: bytearray) -> bytes:
        if self.kept is not None:  # by another task, meanwhile
            return self.kept
        try:
            while piece := await self.chunk():
                pieces += piece
        except (HTTPError, ConnectionClosed):
            pieces.clear()  # it stays so, and the exception's traceback may be kept for long
            raise
        return bytes(pieces)

    def _check_unread(self) -> None:
        if self.size and not self._peeked and self._error is None and not self.gone:
            raise RuntimeError("the body was read already, as a stream or as a multipart form")

    def replay(self) -> None:
        """Let a body that was read whole be read once more, piece by piece; what was streamed is gone."""
        if self._turns is not None and self._turns.locked():
            raise RuntimeError("the body is being read by another task")
        if self.pieces and self.kept is None:  # by one that has given up
            self._peeked, self.pieces = bytes(self.pieces), None
        elif self.kept is None:
            self._check_unread()
        self._peeked = self.kept or self._peeked

    def receive_again(self) -> _Receive:
        """Return a `receive` for a mounted app: it begins with the body that a middleware has read."""
        receive: _Receive = self._receive
        if self.kept is None:
            return receive
        read: list[_Message] = [{"type": "http.request", "body": self.kept, "more_body": False}]

        async def receive_kept() -> _Message:
            return read.pop() if read else await receive()

        return receive_kept

    def __aiter__(self) -> _BodyReader:
        return self

    async def __anext__(self) -> bytes:
        piece = await self.chunk()
        if not piece:
            raise StopAsyncIteration
        return piece

    async def drain(self) -> None:
        """Read and drop what is left of an announced body: some clients look for an answer only then."""
        if not self.announced or self.waiting is not None or (self.expects_continue and not self.started):
            return
        last = self.size + _DRAIN_SIZE
        self.limit = None
        self._error = self._error or (400, "the body is dropped once the response is ready")  # for a task that reads on
        with contextlib.suppress(OSError):  # a TimeoutError is one, too
            async with asyncio.timeout(None) as limit:
                when = None if self.timeout is None else asyncio.get_running_loop().time() + self.timeout
                contextvars.Context().run(limit.reschedule, when)  # in this context, its timer would keep the request
                while not self.ended and self.size < last:
                    message = await self._receive()
                    self._note(message, len(message.get("body") or b""))

    async def peek(self) -> None:
        """Take the first message where no body was announced. HTTP/1.1 has none there, so its leaving can be seen."""
        if not self.started and not self.announced and not self.ended:
            self._peeked = await self.chunk(even_empty=True)
            self.started = False  # for all the others

    def abandon(self) -> None:
        """Leave the rest of the body to `wait_gone`, which drops it."""
        self._error = self._error or (400, "the body is dropped once a stream has begun without reading it")
        if self._free is not None:
            self._free.set()

    async def wait_gone(self, leave: Callable[[], None]) -> None:
        """Wait until nobody else receives, drop what is left of the body, and call `leave` when the client leaves."""
        try:
            if not self.ended and self._error is None:
                self._free = asyncio.Event()
                await self._free.wait()
            while self._receive is not None and not self.gone:
                was_ended = self.ended
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.gone = True
                    leave()
                elif was_ended:
                    return  # a server that does not tell
                self.ended = not message.get("more_body")
        except Exception:  # nor does this one
            return


class _Chunks(asyncio.Queue["bytes | None"]):
    """A queue of file content that is filled when somebody asks, ends with None, and then gives None for ever.

    Args:
        take: Returns the next piece that is there, None at the end of the file, `_ABSENT` where it needs more of what
            it is made of: it is called again with what `more` gives.
        more: Waits for that.
        finish: To be awaited before the end is told.
    """

    def __init__(
        self, take: Callable[[bytes | None], Any], more: Callable[[], Awaitable[bytes]],
        finish: Callable[[], Awaitable[Any]] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self._take = take
        self._more = more
        self._finish = finish
        self._turn: asyncio.Event | None = None  # made where a second task waits
        self._busy = self._over = False

    def _init(self, maxsize: int) -> None:  # of Queue, which keeps there what is in it
        self._queue = self._back = deque[bytes | None]()

    async def get(self) -> bytes | None:
        """Return the next chunk, None at and after the end.

        Raises:
            ConnectionClosed: The client left before the file was whole.
        """
        return await anext(self, None)

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        while self._busy:
            self._turn = self._turn or asyncio.Event()
            await self._turn.wait()
        if self._back and (put_back := self.get_nowait()) is not None:
            return put_back
        self._busy = True
        try:
            if not self._over:
                piece: Any = self._take(None)
                while piece is _ABSENT:
                    piece = self._take(await self._more())
                if piece is not None:
                    return piece  # type: ignore[no-any-return]
            if self._finish is not None:
                self._over = True
                await self._finish()
        finally:
            self._busy = False
            if self._turn is not None:
                self._turn.set()
                self._turn = None
        raise StopAsyncIteration


def _spooled(piece: bytes | None) -> bytes | object | None:
    """Take what was read of a file that was kept."""
    return _ABSENT if piece is None else piece or None


class UploadedFile(dict[str, Any]):
    """One uploaded file: a dict with ``filename``, ``content_type`` and ``content``, and what is handy on top of it.

    ``content`` is an `asyncio.Queue` of ``bytes`` chunks that ends with None. A file that streams into its handler is
    read from the client as the handler asks for it, by ``content``, ``async for``, `read` or `save`; any other one has
    been received, and is also there as `file`.

    Args:
        filename: The name that the client gave; ``filename`` is its safe last component, `raw_filename` the whole.
        content_type: The media type that the client gave.
        content: The queue of chunks.
        file: The received content as a binary file.

    Example:
        >>> file = UploadedFile("../../cat.png", "image/png", file=io.BytesIO(b"meow"))
        >>> file.filename, file.raw_filename, asyncio.run(file.read(limit=2**20))
        ('cat.png', '../../cat.png', b'meow')
    """

    def __init__(
        self, filename: str, content_type: str = "application/octet-stream",
        content: asyncio.Queue[bytes | None] | None = None, *, file: BinaryIO | None = None,
    ) -> None:  # fmt: skip
        queue = content if content is not None else _Chunks(_spooled, self._read_spooled)
        super().__init__(filename=_safe_filename(filename), content_type=content_type, content=queue)
        self.raw_filename = filename
        self._file = file
        self._is_cut = False  # a part of it was taken by a read() or save() that failed

    @property
    def filename(self) -> str:
        """The last component of what the client sent; joined to a folder, it stays in the folder."""
        return str(self["filename"])

    @property
    def content_type(self) -> str:
        """The media type that the client gave, ``application/octet-stream`` where it gave none."""
        return str(self["content_type"])

    @property
    def file(self) -> BinaryIO:
        """The received content as a binary file object, closed at the end of the request.

        Raises:
            RuntimeError: The file streams into this handler: `read`, `save` or iterate over it.
        """
        if self._file is None:
            raise RuntimeError("this file streams from the client: use read(), save() or async for")
        return self._file

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks."""
        content = self["content"]
        return content if isinstance(content, _Chunks) else self

    async def __anext__(self) -> bytes:
        """Return the next chunk."""
        piece: bytes | None = await self["content"].get()
        if piece is None:
            raise StopAsyncIteration
        return piece

    async def read(self, limit: int | None = None) -> bytes:
        """Return the whole content.

        Args:
            limit: The most bytes to take.

        Raises:
            HTTPError: 413, the file is larger than ``limit``.
            ConnectionClosed: The client left before the file was whole.
            RuntimeError: An earlier `read` or `save` failed when it had taken a part of the file.
        """
        content = bytearray()
        await self._take_all(content.extend, limit)
        return bytes(content)

    async def save(self, path: str | os.PathLike[str], limit: int | None = None) -> None:
        """Write the content to a file, which appears only when it is whole: a failure leaves nothing behind.

        Args:
            path: Where to; an existing file is replaced.
            limit: The most bytes to take.

        Raises:
            HTTPError: 413, the file is larger than ``limit``.
            ConnectionClosed: The client left before the file was whole.
            OSError: The file system refused.
            RuntimeError: An earlier `read` or `save` failed when it had taken a part of the file.
        """
        target = os.fspath(path)
        partial = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}.part")
        try:
            with open(partial, "xb") as out:

                def publish() -> None:
                    out.close()
                    os.replace(partial, target)

                await self._take_all(functools.partial(_in_thread, out.write), limit, publish)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(partial)
            raise

    async def _take_all(
        self, keep: Callable[[bytes], Any], limit: int | None, publish: Callable[[], None] | None = None
    ) -> None:
        """Hand over the whole content, or fail; and fail again where what is left is not the whole any more."""
        size = 0
        start = None if self._file is None else self._file.tell()
        try:
            async for piece in self:
                size += len(piece)
                _check_size(size, limit)
                written = keep(piece)
                if written is not None:
                    await written
            if self._is_cut:
                raise RuntimeError("an earlier read() or save() failed when it had taken a part of this file")
            if publish is not None:
                await _in_thread(publish)
        except BaseException:
            if start is not None:
                self.file.seek(start)
            elif size:
                self._is_cut = True
            raise

    async def _read_spooled(self) -> bytes:
        if isinstance(self.file, io.BytesIO):
            return self.file.read(_CHUNK_SIZE)
        at = self.file.tell()
        try:
            return await _in_thread(self.file.read, _CHUNK_SIZE)
        except asyncio.CancelledError:  # who gives up waiting may ask again
            self.file.seek(at)
            raise


def _safe_filename(raw: str) -> str:
    """Return the last component of a client's file name, without control characters; ``file`` where nothing is left."""
    name = "".join(char for char in raw.replace("\\", "/").rpartition("/")[2] if char.isprintable())
    name = re.sub(r"^(?:\s*[A-Za-z]:)+", "", name).strip()  # a Windows drive leaves the folder too
    if len(name.encode()) > 255:  # the most that file systems take
        stem, dot, extension = name.rpartition(".")
        suffix = (dot + extension).encode()[:32] if stem else b""
        name = (name.encode()[: 255 - len(suffix)] + suffix).decode(errors="ignore")
    return name if name.strip(".") else "file"


def _part_head(segment: Any) -> tuple[str, str | None, str]:
    """Return the name, file name and type of a part (RFC 7578 section 4); a type that is no text makes it a file."""
    if not segment.name:
        raise _error(400, "Malformed multipart body")
    filename: str | None = segment.filename
    unquoted = re.sub(r'"(?:\\.|[^"\\])*+(?:"|\\?\Z)', '""', segment.header("Content-Disposition"))
    extended = re.search(r";\s*filename\*\s*=\s*([^;\s]+)", unquoted, re.IGNORECASE)
    if extended is not None:  # RFC 5987; browsers send none
        charset, _, value = extended[1].partition("'")
        known = charset if charset.lower() in ("utf-8", "iso-8859-1") else "utf-8"
        encoded = value.partition("'")[2].encode(known, "replace")
        filename = _unquoted(encoded).decode(known, "replace") or "file"
    content_type: str = segment.header("Content-Type") or ""
    if filename is None and content_type and not content_type.lower().startswith("text/"):
        filename = "file"
    return segment.name, filename, content_type or "application/octet-stream"


class _MultipartForm:
    """Turns a multipart body into fields and files, part by part and only as far as it is asked to."""

    def __init__(self, chunk: Callable[[], Awaitable[bytes]], boundary: bytes, settings: _Settings) -> None:
        try:
            import multipart
        except ImportError as error:
            raise RuntimeError('uploads need the package multipart: pip install "micropie[standard]"') from error
        self._errors = multipart
        self._parser: Any = multipart.PushMultipartParser(
            boundary, max_header_size=_MAX_PART_HEADER_SIZE, max_header_count=_MAX_PART_HEADERS,
            max_segment_count=_MAX_FIELDS,
        )  # fmt: skip
        self._chunk = chunk
        self._settings = settings
        self._kept = 0  # bytes that went into memory or to disk
        self._events: Iterator[Any] = iter(())
        self.fields: dict[str, list[str]] = {}
        self.files: dict[str, list[UploadedFile]] = {}
        self._stores: list[BinaryIO] = []
        self._is_on_disk = False
        self.tail: asyncio.Future[bool] | None = None  # takes in what follows a file that streams

    def _take(self, piece: bytes | None = None) -> Any:
        """Return the next part's head, a piece of its content or None at its end; ``b""`` after the last part.

        Where there is none, `_ABSENT`: it is to be called with a further piece of the body, ``b""`` at its end.
        """
        try:
            if piece is not None:
                if not piece:
                    self._parser.close()
                    return b""
                self._events = self._parser.parse(piece)
            for event in self._events:
                return event
            return _ABSENT
        except self._errors.MultipartError as error:
            error.__traceback__ = None  # the parser keeps the error, and so would keep this form
            if isinstance(error, self._errors.ParserLimitReached):
                raise _error(413) from None
            raise _error(400, "Malformed multipart body") from None

    async def _event(self) -> Any:
        event = self._take()
        while event is _ABSENT:
            event = self._take(await self._chunk())
        return event

    async def run(self, streams: Callable[[str], bool] = lambda name: False) -> bool:
        """Take in parts, until the end or (True) until a file begins of which `streams` says that its handler waits."""
        while segment := await self._event():
            name, filename, content_type = _part_head(segment)
            if filename is None:
                await self._take_field(name)
                continue
            first = await self._event() if filename == "" else b""
            if first is None:
                continue  # a file input left empty
            is_streamed = streams(name)
            if is_streamed:
                if first:
                    self._events = itertools.chain([first], self._events)
                file = UploadedFile(filename, content_type, _Chunks(self._take, self._chunk, self._finish))
            else:
                file = UploadedFile(filename, content_type, file=await self._spool(first))
            self.files.setdefault(name, []).append(file)
            if is_streamed:
                return True
        return False

    def _keep(self, piece: bytes) -> None:
        self._kept += len(piece)
        _check_size(self._kept, self._settings.max_body_size)

    async def _take_field(self, name: str) -> None:
        content = bytearray()
        while (piece := await self._event()) is not None:
            content += piece
            self._keep(piece)
            _check_size(len(content), self._settings.max_form_field_size)
        try:
            self.fields.setdefault(name, []).append(content.decode())
        except UnicodeDecodeError:
            raise _error(400, "A form field is not UTF-8") from None

    async def _spool(self, first: bytes) -> BinaryIO:
        """Keep a file in memory as long as it is small, else in a temporary file."""
        memory = io.BytesIO(first)
        store: BinaryIO = memory
        self._stores.append(store)
        size = memory.seek(0, io.SEEK_END)
        while (piece := await self._event()) is not None:
            size += len(piece)
            self._keep(piece)
            if size > _SPOOL_SIZE and store is memory:
                import tempfile

                store = tempfile.TemporaryFile()  # noqa: SIM115 - closed at the end of the request
                self._stores.append(store)
                self._is_on_disk = True
                await _in_thread(store.write, memory.getvalue())
                memory.close()
            if store is memory:
                memory.write(piece)
            else:
                await _in_thread(store.write, piece)
        store.seek(0)
        return store

    async def stop(self) -> None:
        """Give up what follows a file, where the handler has not waited for it."""
        if self.tail is not None:
            self.tail.cancel()
            await asyncio.wait([self.tail])
            if not self.tail.cancelled():
                self.tail.exception()  # nobody asked for it

    async def close(self) -> None:
        """Let go of everything, at the end of the request."""
        try:
            await self.stop()
        finally:  # a request may be cancelled more than once
            if self._is_on_disk:
                await _in_thread(self._close_stores)
            else:
                self._close_stores()
        self.files, self.tail = {}, None  # both lead back here: the fields would wait for the garbage collector

    def _close_stores(self) -> None:
        for store in self._stores:
            store.close()

    async def _finish(self) -> None:
        """Take in what follows the file that streams."""
        if self.tail is None:
            self.tail = asyncio.ensure_future(self.run())
        await asyncio.shield(self.tail)  # who gives up waiting may ask again, and nothing is lost


# --- Request --------------------------------------------------------------------------------------

_WANTED_HEADERS = frozenset({b"content-type", b"cookie", b"content-length", b"transfer-encoding", b"expect"})


class _HeaderDict(dict[str, str]):
    """A dict with lower-case keys that is looked up in any letter case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        return super().get(name.lower(), default)


def _parse_cookies(header: str) -> dict[str, str]:
    """Parse a Cookie header (RFC 6265 section 5.4); of cookies with the same name the first counts."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.strip(" \t").partition("=")
        if equals and name and name not in cookies:
            cookies[name] = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    return cookies


# Quoted-printable (RFC 2045 section 6.7) says =2F for %2F, and C decodes it. Line breaks mean something there alone.
_SEPARATED: Final = bytes.maketrans(b"+%&=\n\r", b" =\1\2\1\1")


def _parse_pairs(data: bytes) -> dict[str, list[str]]:
    """Parse a query string or a urlencoded form; bytes that are no UTF-8 become U+FFFD, blank values count."""
    pairs: dict[str, list[str]] = {}
    separators, escapes = data.count(b"&"), data.count(b"%")
    if separators >= _MAX_FIELDS:
        raise _error(413)
    text = data.translate(_SEPARATED)
    if escapes:
        text = binascii.a2b_qp(text)
    # Longer: not all of them were escapes. More marks than separators: the content has such characters, too.
    if len(text) != len(data) - 2 * escapes or text.count(1) != separators or text.count(2) != data.count(b"="):
        return _parse_odd_pairs(data)
    for pair in text.decode("utf-8", "replace").split("\1"):
        if pair:
            name, _, value = pair.partition("\2")
            if "\2" in value:
                value = value.replace("\2", "=")
            if name in pairs:
                pairs[name].append(value)
            else:
                pairs[name] = [value]
    return pairs


def _parse_odd_pairs(data: bytes) -> dict[str, list[str]]:
    pairs: dict[str, list[str]] = {}
    for pair in data.replace(b"+", b" ").split(b"&"):
        if pair:
            name, _, value = map(_unquoted, pair.partition(b"="))
            pairs.setdefault(name.decode("utf-8", "replace"), []).append(value.decode("utf-8", "replace"))
    return pairs


def _unquoted(data: bytes) -> bytes:
    """Decode as `urllib.parse.unquote_to_bytes`, which makes an object of every escape: of a large form, gigabytes."""
    decoded, at = bytearray(), 0
    while at < len(data):
        end = at + _SLICE
        if end < len(data) and (cut := data.rfind(b"%", end - 2, end)) > 0:  # no escape is cut in two
            end = cut
        text = re.sub(b"%(?![0-9A-Fa-f]{2})", b"%25", data[at:end])
        text = text.replace(b"=", b"%3D").replace(b"\n", b"%0A").replace(b"\r", b"%0D").replace(b"%", b"=")
        decoded += binascii.a2b_qp(text)
        at = end
    return bytes(decoded)


def _quoted(text: str, safe: str) -> str:
    """Percent-encode all but letters, digits, ``_.-~`` and what is safe."""
    from urllib.parse import quote

    return quote(text, safe, errors="replace") if text else ""


def _count_fields(data: bytes) -> None:
    if data.count(b"&") >= _MAX_FIELDS:
        raise _error(413)


def _loaded_json(body: bytes) -> Any:
    """Return the value of a JSON body, `_ABSENT` for an empty one."""
    try:
        return _load_json(body) if body else _ABSENT
    except ValueError:
        raise _error(400, "Invalid JSON") from None


# Bodies that are parsed before the handler is called, by type: where the result goes, and what parses them.
_PARSERS: Final[dict[bytes, tuple[str, Callable[[bytes], Any]]]] = {
    b"application/x-www-form-urlencoded": ("_form", _parse_pairs), b"application/json": ("_json", _loaded_json),
}  # fmt: skip


def _texts(value: object) -> list[str]:
    values = cast("list[object]", value) if isinstance(value, list) else [value]
    return [item if isinstance(item, str) else _dump_json(item).decode() for item in values]


class Request:
    """What a handler knows of its request: ``self.request``, or `current_request` outside of the App.

    Any other attribute may be set on it, as ``request.user = ...`` in a middleware.

    Args:
        scope: The ASGI scope. A minimal one is enough for a test: ``current_request.set(Request({"type": "http"}))``.

    Attributes:
        scope (dict[str, Any]): The ASGI scope.
        method (str): ``"GET"``, ``"POST"``, and so on.
        path_params (list[str]): The segments of the path after the handler's.

    Example:
        >>> request = Request({"type": "http", "query_string": b"q=tea&page=2&page=3"})
        >>> request.query("q"), request.query_params["page"], request.get_json
        ('tea', ['2', '3'], {})
    """

    if TYPE_CHECKING:  # any other attribute may be set on it

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    __slots__ = (
        "__dict__", "__weakref__", "_asked", "_content_type", "_form", "_handler", "_query", "_reader", "_receive",
        "_session", "_settings", "method", "path_params", "scope",
    )  # fmt: skip

    # What a plain request never needs stays on the class until it is set.
    _chosen: str | None = _ABSENT  # the name of the handler that a middleware has chosen
    _mount: tuple[_ASGIApp, _Scope] | None = None  # the app that takes over, and its scope
    _multipart: _MultipartForm | None = None
    _cookie_header = b""
    _boundary: bytes | None = None  # of a multipart body that is still on the wire
    _members: dict[str, list[str]] | None = None  # of a JSON object, as text
    _files: Mapping[str, list[UploadedFile]] = types.MappingProxyType({})
    _json: dict[str, Any] | list[Any] | str | float | None = _ABSENT
    _headers: dict[str, str] | None = None
    _leftovers: list[Any] | None = None  # streams that a middleware has put another body in place of

    def __init__(self, scope: _Scope, _receive: _Receive | None = None, _settings: _Settings = _DEFAULTS) -> None:
        self.scope = scope
        self.method: str = scope.get("method") or "GET"
        self.path_params: list[str] = []
        self._handler: _Handler | None = None
        self._reader: _BodyReader | None = None  # made where a body is announced or asked for
        self._session: _Session | None = None
        self._asked: Sequence[HttpMiddleware] = ()  # those whose after_request is to be called
        self._content_type = b""
        self._query: dict[str, list[str]] | None = None
        self._form: dict[str, list[str]] | None = None
        self._receive = _receive
        self._settings = _settings

    @property
    def route_handler(self) -> str | None:
        """The handler's name, None where the path names none.

        A ``before_request`` may set it, and `path_params`, to choose another handler, which may be a private one.
        """
        if self._chosen is not _ABSENT:
            return self._chosen
        return self._handler.name if self._handler is not None else None

    @route_handler.setter
    def route_handler(self, value: str | None) -> None:
        self._chosen = value

    @property
    def query_params(self) -> dict[str, list[str]]:
        """All values of each name in the query string."""
        if self._query is None:
            query: bytes | None = self.scope.get("query_string")
            self._query = _parse_pairs(query) if query else {}
        return self._query

    @property
    def body_params(self) -> dict[str, list[str]]:
        """All values of each form field; of a JSON object, its members as text."""
        if self._form is not None:
            return self._form
        if self._members is None:
            body = self._json
            self._members = {name: _texts(value) for name, value in body.items()} if isinstance(body, dict) else {}
        return self._members

    @property
    def get_json(self) -> Any:
        """The parsed JSON body, any JSON value; ``{}`` where there is none."""
        return {} if self._json is _ABSENT else self._json

    @property
    def files(self) -> dict[str, UploadedFile]:
        """The uploaded files, the first of each name."""
        return {name: files[0] for name, files in self._files.items()}

    @property
    def headers(self) -> dict[str, str]:
        """The headers, lower-case names, looked up in any letter case; repeated ones are joined by ``", "``."""
        if self._headers is None:
            headers = _HeaderDict()
            for raw_name, raw_value in self.scope.get("headers") or ():
                name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
                if name in headers:  # cookies are joined as RFC 9113 section 8.2.3 says
                    value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
                headers[name] = value
            self._headers = headers
        return self._headers

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; of those with the same name the first counts."""
        return _parse_cookies(self.headers.get("cookie", ""))

    @property
    def session(self) -> dict[str, Any]:
        """The session; what this request changes in it is saved when the handler is done."""
        if self._session is None:
            self._session = _Session()
        return self._session.data

    @session.setter
    def session(self, value: dict[str, Any]) -> None:
        self._session = self._session or _Session()
        self._session.data = value

    def regenerate_session(self) -> None:
        """Give the session a new id at the end of this request, and delete the old one. Call it at login."""
        self.session = self.session
        assert self._session is not None
        self._session.renew = True

    def query(self, name: str, default: Any = None) -> Any:
        """Return the first value of that name in the query string."""
        values = self.query_params.get(name)
        return values[0] if values else default

    def form(self, name: str, default: Any = None) -> Any:
        """Return the first value of that form field."""
        values = self.body_params.get(name)
        return values[0] if values else default

    def json(self, name: str | None = None, default: Any = None) -> Any:
        """Return the parsed JSON body, or one member of it where it is an object."""
        if name is None:
            return default if self._json is _ABSENT and default is not None else self.get_json
        body = self.get_json
        return cast("dict[str, Any]", body).get(name, default) if isinstance(body, dict) else default

    async def body(self) -> bytes:
        """Return the raw body, also after it was parsed as JSON or as a urlencoded form.

        Raises:
            HTTPError: 413 past ``max_body_size``, 408 when nothing came for ``body_timeout`` seconds.
            ConnectionClosed: The client left in the middle of the body.
            RuntimeError: The body was read as a stream or as a multipart form.
        """
        reader = self._body_reader()
        if reader.kept is None:
            reader.expect(self._settings.max_body_size)
        return await reader.read()

    def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the raw body as it comes.

        Raises:
            HTTPError: 413 past ``max_upload_size``, 408 when nothing came for ``body_timeout`` seconds.
            ConnectionClosed: The client left in the middle of the body.
            RuntimeError: It was streamed already, in part or whole: keep the iterator to go on with it.
        """
        reader = self._body_reader()
        if reader.kept is None:
            reader.expect(self._settings.max_upload_size)
        reader.replay()
        return reader

    def _body_reader(self) -> _BodyReader:
        if self._reader is None:
            self._reader = _BodyReader(self._receive, self._settings.body_timeout)
        return self._reader

    def _parser(self) -> tuple[str, Callable[[bytes], Any]] | None:
        """Return what parses a body of this type before the handler is called; None: it is none of `_PARSERS`."""
        kind = self._content_type.partition(b";")[0].strip().lower()
        if kind == b"multipart/form-data":
            self._boundary = _boundary(self._content_type)
        return _PARSERS.get(b"application/json" if kind.endswith(b"+json") else kind)

    def _note_headers(self, found: list[tuple[bytes, bytes]]) -> None:
        """Note the cookie, and the body that is announced: its length and its media type (RFC 9110 section 8.3.1)."""
        reader: _BodyReader | None = None
        content_type = b""
        for name, value in found:
            if name == b"cookie":
                self._cookie_header = self._cookie_header + b"; " + value if self._cookie_header else value
                continue
            if reader is None:
                reader = self._reader = _BodyReader(self._receive, self._settings.body_timeout)
            if name == b"content-type":
                content_type = b"," if content_type else value  # two are none
            elif name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 19 else -1
                if length < 0 or (reader.announced and reader.length not in (0, length)):
                    raise _error(400, "Invalid Content-Length")
                reader.length = length
                reader.announced = reader.announced or length > 0
            elif name == b"transfer-encoding":
                reader.announced = True
            else:
                reader.expects_continue = value.lower() == b"100-continue"
        if content_type:
            self._content_type = content_type


class WebSocketRequest(Request):
    """The handshake of a WebSocket, as `Request` describes it.

    Example:
        >>> scope = {"type": "websocket", "headers": [(b"origin", b"https://example.com")]}
        >>> WebSocketRequest(scope).headers["Origin"]
        'https://example.com'
    """


current_request: contextvars.ContextVar[Request] = contextvars.ContextVar("current_request")
"""The request that is being answered here; a test sets it, and calls a handler like any method.

Example:
    >>> class Root(App):
    ...     async def hello(self):
    ...         return {"hello": self.request.query("name")}
    >>> token = current_request.set(Request({"type": "http", "query_string": b"name=Ada"}))
    >>> asyncio.run(Root().hello())
    {'hello': 'Ada'}
    >>> current_request.reset(token)
"""


# --- WebSocket ------------------------------------------------------------------------------------

class WebSocket:
    """One WebSocket, the first argument of a ``ws_`` handler.

    Receiving and sending raise ConnectionClosed once the socket is closed, from either side, and RuntimeError before
    `accept`, unless a method says otherwise.

    Args:
        receive: The ASGI receive callable.
        send: The ASGI send callable.

    Attributes:
        accepted (bool): Whether `accept` was called.
        session_id (str | None): The id of the session that its cookie names; None where there is no such session.
        subprotocols (list[str]): What the client offers.

    Example:
        >>> class Loud(App):
        ...     async def ws_echo(self, socket):
        ...         await socket.accept()
        ...         async for message in socket:
        ...             await socket.send_text(message.upper())
        >>> events = iter([
        ...     {"type": "websocket.connect"},
        ...     {"type": "websocket.receive", "text": "hi"},
        ...     {"type": "websocket.disconnect", "code": 1000},
        ... ])
        >>> async def receive():  # what a server tells
        ...     return next(events)
        >>> async def send(message):
        ...     print(message.get("text", message["type"]))
        >>> asyncio.run(Loud()({"type": "websocket", "path": "/echo"}, receive, send))
        websocket.accept
        HI
    """

    __slots__ = (
        "__dict__", "_connected", "_incoming", "_on_accept", "_outgoing", "_over", "_receive", "_send", "accepted",
        "session_id", "subprotocols",
    )  # fmt: skip

    def __init__(self, receive: _Receive, send: _Send) -> None:
        self._receive = receive
        self._send = send
        # The server's own two while the socket is open; before and after that, two that say so.
        self._incoming: _Receive = _receive_early
        self._outgoing: _Send = _send_early
        self._connected = False  # websocket.connect was received
        self._over: tuple[int, str] | None = None  # code and reason, once it is closed from either side
        self._on_accept: Callable[[str | None], Awaitable[list[tuple[bytes, bytes]]]] = _accept_headers
        self.accepted = False
        self.session_id: str | None = None
        self.subprotocols: list[str] = []

    async def accept(self, subprotocol: str | None = None, session_id: str | None = None) -> None:
        """Complete the handshake.

        Args:
            subprotocol: The one chosen of `subprotocols`.
            session_id: The session id to give to the client; by default a new session that is not empty gets its own.

        Raises:
            RuntimeError: It was accepted already.
            ConnectionClosed: The client is gone.
        """
        self._check_not_over()
        if self.accepted:
            raise RuntimeError("this WebSocket was accepted already")
        if not self._connected:
            message = await self._receive()
            self._connected = True
            self._check_disconnect(message)
        headers = await self._on_accept(session_id)
        self._check_not_over()  # it may have been closed meanwhile
        try:
            await self._send({"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers})
        except OSError as error:
            raise self._lost() from error
        self.accepted = True
        self._incoming, self._outgoing = self._receive, self._send

    async def receive_text(self) -> str:
        """Return the next message, a text; a ValueError where it is binary."""
        message = await self._incoming()
        text: str | None = message.get("text")
        if text is None:
            self._check_disconnect(message)
            raise ValueError("expected a text message, got a binary one")
        return text

    async def receive_bytes(self) -> bytes:
        """Return the next message, a binary one; a ValueError where it is text."""
        message = await self._incoming()
        data: bytes | None = message.get("bytes")
        if data is None:
            self._check_disconnect(message)
            raise ValueError("expected a binary message, got a text")
        return data

    async def receive_json(self) -> Any:
        """Return the next message, parsed as JSON; a ValueError where it is not JSON."""
        message = await anext(self, None)
        if message is None:
            self._check_not_over()
        return _load_json(message.encode() if isinstance(message, str) else message or b"")

    def __aiter__(self) -> WebSocket:
        """Iterate over the messages, texts and binary ones."""
        return self

    async def __anext__(self) -> str | bytes:
        """Return the next message; the iteration ends when the socket is closed."""
        try:
            message = await self._incoming()
            text: str | None = message.get("text")
            if text is not None:
                return text
            self._check_disconnect(message)
        except ConnectionClosed:
            if self._over is None:  # another connection
                raise
            raise StopAsyncIteration from None
        return message.get("bytes") or b""

    async def send_text(self, data: str) -> None:
        """Send a text message."""
        try:
            await self._outgoing({"type": "websocket.send", "text": data})
        except OSError as error:
            raise self._lost() from error

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        try:
            await self._outgoing({"type": "websocket.send", "bytes": data})
        except OSError as error:
            raise self._lost() from error

    async def send_json(self, data: Any) -> None:
        """Send anything that JSON can say, as a text message; a TypeError where it cannot."""
        await self.send_text(_dump_json(data).decode())

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket; before `accept`, refuse it. Closing twice is harmless.

        Args:
            code: The close code, one that may be sent (RFC 6455 section 7.4).
            reason: Cut at 123 bytes of UTF-8.

        Raises:
            ValueError: A code that must not be sent.
        """
        if not (1000 <= code < 1015 or 3000 <= code <= 4999) or code in (1004, 1005, 1006):
            raise ValueError(f"{code} is no close code that may be sent")
        if self._over is None:
            ways = self._incoming, self._outgoing
            self._end(code, reason or "")
            try:
                await self._send(_close_message(code, reason))
            except OSError:
                pass  # the client is gone
            except BaseException:  # a server that does not take this code: the socket is as open as it was
                self._over, (self._incoming, self._outgoing) = None, ways
                raise

    def _end(self, code: int, reason: str) -> None:
        self._over = (code, reason)
        self._incoming = self._outgoing = functools.partial(_raise_closed, code, reason)

    def _check_not_over(self) -> None:
        if self._over is not None:
            raise ConnectionClosed(*self._over)

    def _check_disconnect(self, message: _Message) -> None:
        if message["type"] == "websocket.disconnect":
            code = message.get("code")
            self._end(1005 if code is None else code, message.get("reason") or "")
            self._check_not_over()

    def _lost(self) -> ConnectionClosed:
        """Take note that the server raised OSError: so it says that the client is gone."""
        incoming = self._incoming
        self._end(1006, "")
        if self.accepted:  # it may still tell with which code the client has left
            self._incoming = incoming
        return ConnectionClosed(1006)


async def _receive_early() -> NoReturn:
    raise RuntimeError("cannot receive before accept()")


async def _send_early(message: _Message) -> NoReturn:
    raise RuntimeError("cannot send before accept()")


async def _raise_closed(code: int, reason: str, message: _Message | None = None) -> NoReturn:
    raise ConnectionClosed(code, reason)


async def _accept_headers(session_id: str | None) -> list[tuple[bytes, bytes]]:
    return list(_encoded_headers([set_cookie("session_id", session_id)])) if session_id is not None else []


def _is_closed(error: BaseException) -> bool:
    """Whether an exception says that a connection is closed, and nothing else; a task group says it for its tasks."""
    if isinstance(error, ExceptionGroup):
        return cast("ExceptionGroup[Exception]", error).split(ConnectionClosed)[1] is None
    return isinstance(error, ConnectionClosed)


def _close_message(code: int, reason: str | None) -> _Message:
    cut = (reason or "").encode("utf-8", "replace")[:123].decode("utf-8", "ignore")  # RFC 6455 section 5.5
    return {"type": "websocket.close", "code": code, "reason": cut}


def _is_same_origin(headers: Mapping[bytes, bytes], allowed: frozenset[str]) -> bool:
    """Whether a handshake comes from a page of this host, from an allowed one, or from no browser at all."""
    origin = headers.get(b"origin")
    if origin is None:
        return True
    scheme, separator, authority = origin.decode("latin-1").strip().lower().partition("://")
    if not separator:  # "null"
        return False
    host = headers.get(b"host", b"").decode("latin-1").strip().lower()
    theirs, ours = [name.removesuffix(":80").removesuffix(":443") for name in (authority, host)]
    return (host != "" and theirs == ours) or f"{scheme}://{authority}" in allowed


# --- Middleware -----------------------------------------------------------------------------------

class HttpMiddleware(abc.ABC):
    """What runs around every HTTP request; an instance goes into ``app.middlewares``.

    Example:
        >>> class NoFrames(HttpMiddleware):
        ...     async def before_request(self, request):
        ...         request.user = request.session.get("user")
        ...     async def after_request(self, request, status, body, headers):
        ...         headers.append(("x-frame-options", "DENY"))
        >>> app, sent = App(), []
        >>> app.middlewares.append(NoFrames())
        >>> async def send(message):
        ...     sent.append(message)
        >>> asyncio.run(app({"type": "http", "path": "/"}, None, send))
        >>> sent[0]["status"], (b"x-frame-options", b"DENY") in sent[0]["headers"]
        (404, True)
    """

    @abc.abstractmethod
    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Run before the handler, in the order of ``app.middlewares``.

        Returns:
            None to go on. A dict with ``status_code`` (200), ``body`` and ``headers`` answers in the handler's place.
        """

    @abc.abstractmethod
    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Run after the handler, in reverse order, on every response.

        Args:
            request: The request.
            status_code: The status of the response.
            response_body: Text and iterators as the handler returned them, JSON as bytes.
            extra_headers: The response's headers, the content type included; yours to append to.

        Returns:
            None to go on. Of a dict, ``status_code``, ``body`` and ``headers`` replace what they name.
        """


class WebSocketMiddleware(abc.ABC):
    """What runs around every WebSocket; an instance goes into ``app.ws_middlewares``.

    Example:
        >>> class MembersOnly(WebSocketMiddleware):
        ...     async def before_websocket(self, request):
        ...         if "user" not in request.session:
        ...             return {"code": 1008, "reason": "log in first"}
        ...     async def after_websocket(self, request):
        ...         print(request.session["user"], "has left")
        >>> request = WebSocketRequest({"type": "websocket"})
        >>> asyncio.run(MembersOnly().before_websocket(request))
        {'code': 1008, 'reason': 'log in first'}
    """

    @abc.abstractmethod
    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        """Run before the handler, in the order of ``app.ws_middlewares``.

        Returns:
            None to go on. A dict, with ``code`` (1008) and ``reason``, refuses the handshake.
        """

    @abc.abstractmethod
    async def after_websocket(self, request: WebSocketRequest) -> None:
        """Run when the handler is done, in reverse order; also when it raised."""


def _checked_dict(result: object, allowed: frozenset[str], where: object) -> dict[str, Any] | None:
    if result is None:
        return None
    if not isinstance(result, dict) or not allowed.issuperset(cast("dict[str, Any]", result)):
        raise TypeError(f"{type(where).__name__} must return None or a dict with {sorted(allowed)}, not {result!r}")
    return cast("dict[str, Any]", result)


_RESPONSE_KEYS = frozenset({"status_code", "body", "headers"})
_REFUSAL_KEYS = frozenset({"code", "reason"})


# --- Responses ------------------------------------------------------------------------------------

# Patterns stay texts here: to compile one costs more than most processes gain by it, and `re` keeps those in use.
# RFC 9110 section 5.6.2
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CONTROL: Final = bytes({*range(32), 127} - {9})
_COOKIE_VALUE: Final = r'[!#-+\--:<-\[\]-~]*|"[!#-+\--:<-\[\]-~]*"'  # RFC 6265 section 4.1.1
_COOKIE_ATTRIBUTE: Final = r"[ -:<-~]*"
_SAME_SITE = frozenset({"Strict", "Lax", "None"})
_LOCATION_SAFE = "!#$%&'()*+,/:;=?@[]~"  # what RFC 3986 lets stand, and the percent sign: nothing is encoded twice


def set_cookie(
    name: str, value: str, *, max_age: int | None = None, path: str | None = "/", domain: str | None = None,
    secure: bool = True, httponly: bool = True, samesite: str | None = "Lax",
) -> tuple[str, str]:  # fmt: skip
    """Return the header pair that sets a cookie (RFC 6265 section 4.1).

    Args:
        name: A token; ``__Secure-`` and ``__Host-`` names need what browsers ask of them.
        value: Printable ASCII without blanks, quotes, commas, semicolons and backslashes: encode anything else.
        max_age: Seconds; None: until the browser is closed.
        path: The part of the site that gets it.
        domain: None: this host alone.
        secure: Over HTTPS alone.
        httponly: Out of reach of JavaScript.
        samesite: ``"Strict"``, ``"Lax"``, ``"None"`` (which needs ``secure``), or None to leave it out.

    Raises:
        ValueError: A browser would not take it, or would take it for something else.

    Example:
        >>> set_cookie("theme", "dark", max_age=86400)
        ('set-cookie', 'theme=dark; Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Lax')
    """
    if not name or name.encode("utf-8", "replace").strip(_TOKEN):
        raise ValueError(f"invalid cookie name {name!r}")
    if not re.fullmatch(_COOKIE_VALUE, value):
        rule = "printable ASCII without blanks, quotes, commas, semicolons and backslashes"
        raise ValueError(f"invalid value for cookie {name!r}: it must be {rule}")
    if not all(re.fullmatch(_COOKIE_ATTRIBUTE, text or "") for text in (path, domain)):
        raise ValueError(f"invalid path or domain for cookie {name!r}")
    if samesite is not None and samesite.capitalize() not in _SAME_SITE:
        raise ValueError(f"samesite must be one of {sorted(_SAME_SITE)} or None, not {samesite!r}")
    _check_cookie_rules(name, path, domain, secure, samesite)
    parts = [f"{name}={value}"]
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    for key, text in (("Domain", domain), ("Path", path)):
        if text:
            parts.append(f"{key}={text}")
    parts += [flag for flag, wanted in (("HttpOnly", httponly), ("Secure", secure)) if wanted]
    if samesite is not None:
        parts.append(f"SameSite={samesite.capitalize()}")
    return "set-cookie", "; ".join(parts)


def _check_cookie_rules(name: str, path: str | None, domain: str | None, secure: bool, samesite: str | None) -> None:
    """Refuse what browsers drop without a word (draft-ietf-httpbis-rfc6265bis section 5.6)."""
    if not secure and (name.startswith(("__Secure-", "__Host-")) or (samesite or "").capitalize() == "None"):
        raise ValueError(f"cookie {name!r} must be secure")
    if name.startswith("__Host-") and (path != "/" or domain):
        raise ValueError(f"cookie {name!r} must have the path / and no domain")


def delete_cookie(
    name: str, *, path: str | None = "/", domain: str | None = None, secure: bool = True, httponly: bool = True,
    samesite: str | None = "Lax",
) -> tuple[str, str]:  # fmt: skip
    """Return the header pair that deletes a cookie; the path and the domain must be those it was set with.

    Raises:
        ValueError: As `set_cookie` does.

    Example:
        >>> delete_cookie("theme", path="/shop")[1].split("; ")[:3]
        ['theme=', 'Max-Age=0', 'Path=/shop']
    """
    key, text = set_cookie(
        name, "", max_age=0, path=path, domain=domain, secure=secure, httponly=httponly, samesite=samesite
    )
    return key, f"{text}; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


# One response, never changed: its status, its body (text, bytes, None, or what is streamed), the content type that goes
# with the body where the handler chose none, and the handler's headers. A plain tuple: nothing is cheaper to make.
_Response = tuple[int, Any, tuple[bytes, bytes] | None, tuple[tuple[str, str], ...]]


_MOUNTED: Final[_Response] = (0, None, None, ())  # stands for what a mounted app answers

# What most handlers return: what makes the body of it, and its content type.
_PLAIN: Final[dict[type, tuple[Callable[[Any], bytes], tuple[bytes, bytes]]]] = {
    str: (str.encode, _HTML), bytes: (bytes, _HTML), dict: (_dump_json, _JSON), list: (_dump_json, _JSON),
}  # fmt: skip


def _response(result: Any) -> _Response:
    """Make a response of what a handler returned; TypeError or ValueError where that cannot be one."""
    if type(result) is str:
        return 200, result, _HTML, ()
    if type(result) is tuple:
        return _MOUNTED if result is _MOUNTED else _response_of_tuple(cast(Any, result))
    body, kind = _body(result)
    return 204 if result is None else 200, body, kind, ()


def _response_of_tuple(result: tuple[Any, ...]) -> _Response:
    if len(result) not in (2, 3):
        raise ValueError(f"a handler must return (status, body) or (status, body, headers), not {len(result)} items")
    status = result[0]
    if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
        raise ValueError(f"a response status must be an int from 100 to 999, not {status!r}")
    body, kind = _body(result[1])
    headers: Any = result[2] if len(result) == 3 and result[2] is not None else ()
    return int(status), body, kind, _pairs(headers)


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    """Return headers, pairs or a dict, as pairs of text with lower-case names."""
    pairs: Iterable[tuple[object, object]] = headers
    if isinstance(headers, Mapping):
        pairs = cast("Mapping[object, object]", headers).items()
    texts: list[tuple[str, str]] = []
    for name, value in pairs:
        if not isinstance(name, (str, bytes)):
            raise TypeError(f"a header name must be text, not {name!r}")
        text = _as_text(name)
        texts.append((text.lower() if text.isascii() else text, _as_text(value)))
    return tuple(texts)


def _as_text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value if isinstance(value, str) else str(value)


def _body(body: Any) -> tuple[Any, tuple[bytes, bytes] | None]:
    """Return a body as it is sent or streamed, and the header of its default content type."""
    if isinstance(body, (dict, list)):
        return _dump_json(body), _JSON
    if isinstance(body, str) or type(body) is bytes:
        return body, _HTML
    if body is None:
        return None, None
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(cast(bytearray, body)), _HTML
    if hasattr(body, "__aiter__") or hasattr(body, "__next__"):
        return body, _HTML
    return _dump_json(body), _JSON


def _is_streamed(body: Any) -> bool:
    return not (body is None or isinstance(body, (str, bytes)))


def _encoded_headers(pairs: Iterable[tuple[str, str]]) -> Iterator[tuple[bytes, bytes]]:
    """Yield headers as ASGI wants them; what would break the response is dropped, and logged as an error."""
    for name, value in pairs:
        try:
            raw_name, raw_value = name.encode("ascii"), value.encode("latin-1").strip(b" \t")
        except UnicodeEncodeError:
            raw_name = raw_value = b""
        if not raw_name or raw_name.strip(_TOKEN) or len(raw_value.translate(None, _CONTROL)) != len(raw_value):
            _log.error("dropped the invalid response header %r: %r", name, value)
            continue
        yield raw_name, raw_value


class _Lengths(dict[int, tuple[bytes, bytes]]):
    """The header for each length of a body; most are short, of the same lengths again and again: these are kept."""

    def __missing__(self, length: int) -> tuple[bytes, bytes]:
        pair = b"content-length", b"%d" % length
        if length < 4096:
            self[length] = pair
        return pair


_lengths: Final = _Lengths()


def _start_message(response: _Response) -> tuple[_Message, bytes | None]:
    """Return the message that starts a response, with a fresh header list, and its body; None: it is streamed."""
    status, body, kind, extra = response
    payload: bytes | None = body.encode() if isinstance(body, str) else body if type(body) is bytes else None
    headers: list[Any]
    if status == 200 and payload is not None and not extra:
        headers = [kind, _lengths[len(payload)]]
    else:
        headers = _unusual_headers(response, payload)
        if not _is_streamed(body) and (payload is None or _has_no_body(status)):
            payload = b""
    return {"type": "http.response.start", "status": status, "headers": headers}, payload


def _has_no_body(status: int) -> bool:
    return status < 200 or status == 204 or status == 304  # RFC 9110 section 6.4.1


def _unusual_headers(response: _Response, payload: Any) -> list[tuple[bytes, bytes]]:
    status, body, kind, extra = response
    empty = _has_no_body(status)
    is_stream = _is_streamed(body)
    own = list(_encoded_headers(extra))
    types = [pair for pair in own if pair[0] == b"content-type"]
    headers = types[-1:] if types or kind is None or empty else [kind]
    dropped = {b"content-type"} if is_stream and not empty else _FRAMEWORK_HEADERS
    headers += [pair for pair in own if pair[0] not in dropped]
    if not (empty or is_stream):
        headers.append(_lengths[len(payload or b"")])
    return headers


_FRAMEWORK_HEADERS = frozenset({b"content-type", b"content-length"})


def _header_list(response: _Response) -> list[tuple[str, str]]:
    """Return the headers as text, the content type first: what an ``after_request`` may append to."""
    _, _, kind, headers = response
    if kind is None or _content_types(headers):
        return list(headers)
    return [("content-type", kind[1].decode()), *headers]


def _content_types(headers: Iterable[tuple[str, str]]) -> list[str]:
    return [value for name, value in headers if name == "content-type"]


def _changed(response: _Response, changes: dict[str, Any], headers: list[tuple[str, str]]) -> _Response:
    """Return the response with what an ``after_request`` returned, and with the header list that it may have changed.

    The content type that somebody has chosen stays, unless the middleware names another one. A default one stays too,
    but for a new body that is JSON: then nobody meant it.
    """
    old_status, old_body, old_kind, old_headers = response
    status, body, kind, pairs = _response_of_tuple(
        (changes.get("status_code", old_status), changes.get("body", old_body), changes.get("headers", headers))
    )
    chosen, named = _content_types(old_headers), _content_types(pairs)
    if "headers" in changes or chosen or old_kind is None or named != [old_kind[1].decode()]:
        chosen = named or chosen
    rest = tuple(pair for pair in pairs if pair[0] != "content-type")
    if chosen:
        return status, body, kind, (("content-type", chosen[-1]), *rest)
    if "body" not in changes or (kind is not _JSON and old_kind is not None):
        kind = old_kind
    return status, body, kind, rest


# --- Streams --------------------------------------------------------------------------------------

class ServerSentEvent:
    """One event of an event stream (WHATWG HTML section 9.2).

    Args:
        data: Text, or anything else as JSON.
        event: The event's type; browsers take ``message`` where there is none.
        id: What a browser that reconnects sends as ``Last-Event-ID``.
        retry: Milliseconds that a browser waits before it reconnects.

    Example:
        >>> print(bytes(ServerSentEvent({"seats": 4}, event="sold", id="17")).decode().strip())
        event: sold
        id: 17
        data: {"seats":4}
    """

    __slots__ = ("data", "event", "id", "retry")

    def __init__(self, data: Any, event: str | None = None, id: str | None = None, retry: int | None = None) -> None:
        self.data = data
        self.event = event
        self.id = id
        self.retry = retry

    def __bytes__(self) -> bytes:
        """Return the event as it is sent."""
        lines: list[str] = []
        retry = None if self.retry is None else int(self.retry)
        for field, value in (("event", self.event), ("id", self.id), ("retry", retry)):
            if value is not None:  # without its line breaks: they would begin another field
                lines.append(f"{field}: {re.sub(_LINE_BREAK, ' ', str(value))}")
        text = self.data if isinstance(self.data, str) else _dump_json(self.data).decode()
        lines += [f"data: {line}" for line in re.split(_LINE_END, text)]
        return "\n".join([*lines, "", ""]).encode()


_LINE_END: Final = r"\r\n|\r|\n"
_LINE_BREAK: Final = r"[\r\n\0]+"


class _EventStream:
    """The body that `event_stream` returns: where the events come from, and how often an idle stream is pinged."""

    __slots__ = ("ping", "source")

    def __init__(self, source: Any, ping: float | None) -> None:
        self.source = source
        self.ping = ping

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the encoded events, as a test may."""
        chunks = _chunks(self.source)
        try:
            async for item in chunks:
                yield _event_bytes(item)
        finally:
            await _close(chunks)


def event_stream(
    source: AsyncIterator[Any] | Iterator[Any], ping: float | None = 15.0
) -> tuple[int, Any, list[tuple[str, str]]]:
    """Return the response that streams server-sent events.

    Args:
        source: Yields `ServerSentEvent`, text, or dicts and lists (as JSON).
        ping: Seconds after which an idle stream sends a comment, so that proxies keep it open; None: never.

    Raises:
        ValueError: ``ping`` is not above zero.

    Example:
        >>> async def countdown():
        ...     for number in (2, 1):
        ...         yield ServerSentEvent(number, event="tick")
        ...     yield "lift-off"
        >>> class Launch(App):
        ...     async def events(self):
        ...         return event_stream(countdown())
        >>> status, body, headers = asyncio.run(Launch().events())
        >>> async def main():
        ...     return [event.decode().split() async for event in body]
        >>> asyncio.run(main())
        [['event:', 'tick', 'data:', '2'], ['event:', 'tick', 'data:', '1'], ['data:', 'lift-off']]
    """
    if ping is not None and not ping > 0:
        raise ValueError(f"ping is a number of seconds, or None: {ping!r}")
    headers = [("content-type", "text/event-stream"), ("cache-control", "no-cache"), ("x-accel-buffering", "no")]
    return 200, _EventStream(source, ping), headers


def _event_bytes(item: Any) -> bytes:
    return bytes(item if isinstance(item, ServerSentEvent) else ServerSentEvent(item))


def _chunk_bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(cast(bytearray, item))
    raise TypeError(f"a stream must yield str or bytes, not {type(item).__name__}")


class _Steps:
    """A plain iterator whose every step, and its ``close()``, run in a worker thread, in one copy of the context."""

    def __init__(self, iterator: Iterator[Any]) -> None:
        self._iterator = iterator
        self._run = contextvars.copy_context().run

    def __aiter__(self) -> _Steps:
        return self

    async def __anext__(self) -> Any:
        item = await _in_thread(self._run, next, self._iterator, _ABSENT)
        if item is _ABSENT:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        close = getattr(self._iterator, "close", None)
        if close is not None:
            await _in_thread(self._run, close)


def _chunks(source: Any) -> AsyncIterator[Any]:
    return aiter(source) if hasattr(source, "__aiter__") else _Steps(iter(source))


async def _close(source: Any) -> None:
    """Close an iterator that is not run to its end; what its ``finally`` raises is logged."""
    close = getattr(source, "aclose", None)
    try:
        if close is not None:
            await close()
    except BaseException as error:
        if not _is_stray(error):
            raise
        _log.error("closing a stream failed", exc_info=error)


async def _unread(chunks: AsyncIterator[Any], reader: _BodyReader) -> AsyncIterator[Any]:
    """Leave a body that a stream has not begun to read by its first chunk to the listener, who has to wait for it."""
    try:
        async for item in chunks:
            if not reader.started:
                reader.abandon()
            yield item
    finally:
        await _close(chunks)


async def _discard(body: Any) -> None:
    """Close a stream that is not sent: one that a middleware or an error has put another body in place of."""
    if _is_streamed(body):
        await _close(_chunks(body.source if isinstance(body, _EventStream) else body))


class _Stream:
    """Sends one stream, in the request's own task; the helpers only listen for the client's leaving and send pings."""

    __slots__ = (
        "_as_is", "_busy", "_chunks", "_encode", "_gone", "_last", "_listener", "_loop", "_ping", "_pinger", "_reader",
        "_send", "_start", "_task", "_timer",
    )  # fmt: skip

    def __init__(self, send: _Send, reader: _BodyReader, start: _Message, body: Any) -> None:
        source = body.source if isinstance(body, _EventStream) else body
        self._chunks = _chunks(source)
        self._encode = _event_bytes if isinstance(body, _EventStream) else _chunk_bytes
        self._as_is: type | None = None  # what may be sent with no further look
        self._ping: float | None = body.ping if isinstance(body, _EventStream) else None
        self._start: _Message | None = start
        self._reader = reader
        self._gone = False  # the client left, and the task was cancelled for it
        self._loop = asyncio.get_running_loop()
        self._task = cast("asyncio.Task[Any]", asyncio.current_task())
        self._busy = False  # something is to be sent, or being sent, that is no ping
        self._send = send
        self._last = 0.0  # when something was sent
        self._timer: asyncio.Handle | None = None
        self._listener: asyncio.Task[None] | None = None
        self._pinger: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send the headers and every chunk; without the final message where the stream broke off."""
        reader, encode = self._reader, self._encode
        send = self._send_in_turn if self._ping else self._send
        try:
            start, self._start = self._start, None  # an open stream keeps what it needs, no more
            await self._tell(start)
            del start
            await self._tell({"type": "http.response.body", "body": b"", "more_body": True})
            await self._begin(is_events=encode is _event_bytes)
            async for item in self._chunks:
                if type(item) is not self._as_is:
                    if reader.gone:  # the source has swallowed what told it so
                        break
                    item = encode(item)
                try:
                    await send({"type": "http.response.body", "body": item, "more_body": True})
                except OSError:
                    reader.gone = True
                    break
            await self._end_helpers()
            if not reader.gone:
                await self._tell({"type": "http.response.body", "body": b"", "more_body": False})
        except BaseException as error:
            self._judge(error)
        finally:
            try:
                await self._end_helpers()
            finally:  # a request may be cancelled more than once
                if self._gone:
                    self._task.uncancel()
                await _close(self._chunks)

    async def _tell(self, message: Any) -> None:
        try:
            await (self._send_in_turn(message) if self._ping else self._send(message))
        except OSError as error:  # so a server says that the client is gone
            self._reader.gone = True
            raise ConnectionClosed from error

    async def _begin(self, *, is_events: bool) -> None:
        """Have the helpers started when the event loop turns: a stream that is sent in one go needs none."""
        reader = self._reader
        unread = not reader.started
        with contextlib.suppress(HTTPError):  # a client that says nothing
            await reader.peek()
        if is_events and unread:  # no source of events reads the body of the request
            reader.abandon()
        elif unread and not reader.ended:
            self._chunks = _unread(self._chunks, reader)
        if reader.ended and not is_events:  # the listener alone can find that the client is gone
            self._as_is = bytes
        self._timer = self._loop.call_soon(self._watch)

    def _watch(self) -> None:
        """Start the listener for the disconnect, and the clock of the pings."""
        self._listener = self._loop.create_task(self._reader.wait_gone(self._leave))
        self._timer = self._loop.call_later(self._ping, self._tick) if self._ping else None

    async def _send_in_turn(self, message: _Message) -> None:
        """Send where there are pings: one message at a time."""
        self._busy = True  # before the wait: no other ping begins
        if self._pinger is not None and not self._pinger.done():
            await asyncio.wait([self._pinger])
        await self._send(message)
        self._busy, self._last = False, self._loop.time()

    def _judge(self, error: BaseException) -> None:
        """Let the server's wish pass; the client's leaving is a normal end, anything else is logged."""
        if isinstance(error, asyncio.CancelledError) and self._task.cancelling() == self._gone:
            if self._gone:
                return
        elif isinstance(error, ConnectionClosed) and self._reader.gone:
            return
        elif not isinstance(error, Exception):
            try:
                raise error
            finally:
                del error  # as in App.__failed
        _log.error("a stream broke off", exc_info=error)

    def _leave(self) -> None:
        if not self._gone:
            self._gone = self._reader.gone = True
            self._as_is = None
            self._task.cancel()

    def _tick(self) -> None:
        """Send a ping where nothing was sent for a while, and nothing is being sent now."""
        assert self._ping is not None
        if self._task.cancelling():
            return
        rest = self._last + self._ping - self._loop.time()
        if rest <= 0 and not self._busy and (self._pinger is None or self._pinger.done()):
            self._pinger = self._loop.create_task(self._pulse())
        self._timer = self._loop.call_later(rest if rest > 0 else self._ping, self._tick)

    async def _pulse(self) -> None:
        try:
            if not self._reader.gone:
                await self._send({"type": "http.response.body", "body": b": ping\n\n", "more_body": True})
        except Exception:  # nobody is there to get it
            self._leave()

    async def _end_helpers(self) -> None:
        """End the helpers: no task outlives its request."""
        if self._timer is not None:
            self._timer.cancel()
        for helper in (self._listener, self._pinger):
            if helper is not None and not helper.done():
                helper.cancel()
                await asyncio.wait([helper])
        self._listener = self._pinger = None  # their tracebacks lead back here, too


# --- Handlers and binding -------------------------------------------------------------------------


class _SessionMark:
    def __repr__(self) -> str:
        return "FromSession"


_SESSION_MARK: Final = _SessionMark()

FromSession = Annotated[Any, _SESSION_MARK]
"""Annotation of a parameter that binds from the session alone, as one that names the user must; absent is 401.

Example:
    >>> class Shop(App):
    ...     async def orders(self, user_id: FromSession):
    ...         return f"orders of {user_id}"
    >>> async def send(message):
    ...     print(message.get("status") or message["body"])
    >>> scope = {"type": "http", "path": "/orders", "query_string": b"user_id=1"}
    >>> asyncio.run(Shop()(scope, None, send))
    401
    b'401 Unauthorized'
"""

_BOOL: Final = r"(?ai:true|1|yes|on|false|0|no|off)"
_INT: Final = r"[+-]?[0-9]+"
_FLOAT: Final = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_UUID: Final = r"[0-9A-Fa-f]{8}-?(?:[0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}"


def methods(*names: str) -> Callable[[_F], _F]:
    """Limit a handler to these HTTP methods: others get 405 with ``Allow``; the framework answers ``OPTIONS``.

    Args:
        names: Such as ``"POST"``; ``"GET"`` includes ``"HEAD"``.

    Raises:
        TypeError: No name, or one that is not a string.

    Example:
        >>> class Poll(App):
        ...     @methods("POST")
        ...     async def vote(self, choice):
        ...         return {"vote": choice}
        >>> sent = []
        >>> async def send(message):
        ...     sent.append(message)
        >>> asyncio.run(Poll()({"type": "http", "path": "/vote"}, None, send))  # a GET
        >>> sent[0]["status"], dict(sent[0]["headers"])[b"allow"]
        (405, b'POST, OPTIONS')
    """
    if not names or not all(isinstance(name, str) for name in cast("tuple[object, ...]", names)):
        raise TypeError('methods() takes the names of HTTP methods: @methods("GET", "POST")')
    allowed = {name.upper() for name in names}
    if "GET" in allowed:
        allowed.add("HEAD")

    def mark(function: _F) -> _F:
        function._micropie_methods = frozenset(allowed)  # type: ignore[attr-defined]
        return function

    return mark


class _Kind(NamedTuple):
    """What an annotation makes of a value. `text` and `json` raise ValueError, TypeError or OverflowError."""

    label: str  # for the error text
    text: Callable[[str], Any] | None = None  # None: as it is
    json: Callable[[Any], Any] | None = None  # None: as it is
    blank: bool = False  # whether a blank text is a value
    many: bool = False
    source: str = "any"  # "any", "file" (a file alone) or "session" (the session alone)


_ANY_KIND: Final = _Kind("any value", blank=True)
_SESSION_KIND: Final = _Kind("session", source="session")


# What converts: the pattern that a text must match, the types that it takes from JSON, and what makes the value of the
# text where it is not the type itself or its `fromisoformat`. By name: nobody has to import what no handler uses.
_SCALARS: Final[dict[str, tuple[str, tuple[type, ...], Callable[[str], Any] | None]]] = {
    "builtins.str": ("", (str,), None),
    "builtins.int": (_INT, (int,), None),
    "builtins.float": (_FLOAT, (int, float), _finite),
    "builtins.bool": (_BOOL, (bool,), lambda text: text.lower() in ("true", "1", "yes", "on")),
    "datetime.date": ("(?s:.+)", (str,), None),
    "datetime.datetime": ("(?s:.+)", (str,), None),
    "decimal.Decimal": (_FLOAT, (str, int, float), None),
    "uuid.UUID": (_UUID, (str,), None),
}


def _scalar_kind(annotation: Any) -> _Kind:
    """Return the kind of a type, `_ANY_KIND` for one that is not known."""
    name = getattr(annotation, "__name__", "")
    scalar = _SCALARS.get(f"{getattr(annotation, '__module__', '')}.{name}")
    if scalar is None:
        return _Kind("file", source="file") if annotation is UploadedFile else _ANY_KIND
    pattern, types_in_json, make = scalar
    convert = make or getattr(annotation, "fromisoformat", annotation)

    def from_text(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return convert(text)

    def from_json(value: Any) -> Any:
        if type(value) not in types_in_json:
            raise TypeError(type(value).__name__)
        return value if type(value) is annotation else from_text(str(value))

    return _Kind(name, None if annotation is str else from_text, from_json, blank=annotation is str)


def _enum_kind(annotation: type[enum.Enum]) -> _Kind:
    by_text = {str(member.value): member for member in annotation}

    def from_text(text: str) -> enum.Enum:
        return by_text[text] if text in by_text else annotation(text)

    def from_json(value: Any) -> enum.Enum:
        member = annotation(value)
        if type(member.value) is not type(value):  # 1 == True == 1.0
            raise TypeError(type(value).__name__)
        return member

    return _Kind(annotation.__name__, from_text, from_json)


def _list_kind(item: _Kind) -> _Kind:
    def from_json(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise TypeError(type(value).__name__)
        items = cast("list[object]", value)
        return [one if item.json is None else item.json(one) for one in items]

    return item._replace(label=f"list[{item.label}]", json=from_json, many=True)


def _optional_kind(kind: _Kind) -> _Kind:
    def from_json(value: Any) -> Any:
        return value if value is None or kind.json is None else kind.json(value)

    return kind._replace(json=from_json) if kind.json is not None else kind


def _kind_of(annotation: Any) -> _Kind:
    """Return what an annotation makes of a value; one that is unknown leaves it alone."""
    try:
        named = getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)
    except Exception:  # an alias of what is not there
        return _ANY_KIND
    if named is not None:  # a NewType, or an alias of Python 3.12
        return _SESSION_KIND if _kind_of(named) is _SESSION_KIND else _ANY_KIND
    if isinstance(annotation, (str, typing.ForwardRef)):
        return _SESSION_KIND if "FromSession" in str(annotation) else _ANY_KIND
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _SESSION_KIND if _SESSION_MARK in arguments else _kind_of(arguments[0])
    if origin is typing.Union or origin is types.UnionType:
        members = [_kind_of(member) for member in arguments if member is not type(None)]
        if _SESSION_KIND in members:
            return _SESSION_KIND
        return _optional_kind(members[0]) if len(members) == 1 else _ANY_KIND
    if origin is list or annotation is list:
        item = _kind_of(arguments[0]) if arguments else _ANY_KIND
        return item if item is _SESSION_KIND else _ANY_KIND if item.many else _list_kind(item)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _enum_kind(annotation)
    return _scalar_kind(annotation)


_NO_KEYWORDS: Final[dict[str, Any]] = {}


class _Parameter:
    """One parameter of a handler: where its value comes from, and what becomes of it. Made once, not per request."""

    __slots__ = ("default", "find", "in_path", "keyword_only", "kind", "name")

    def __init__(self, parameter: inspect.Parameter, kind: _Kind) -> None:
        self.name = parameter.name
        self.kind = kind
        self.default = _ABSENT if parameter.default is inspect.Parameter.empty else parameter.default
        self.keyword_only = parameter.kind is inspect.Parameter.KEYWORD_ONLY
        self.in_path = kind.source == "any" and not self.keyword_only
        finders = {"any": self._find_anywhere, "file": self._find_file, "session": self._find_in_session}
        self.find: Callable[[Request], Any] = finders[kind.source]
        if kind.source == "any" and kind.text is None and not kind.many:
            self.find = self._text_finder()

    def from_path(self, segment: Any) -> Any:
        """Convert a path segment; one that does not convert names no page."""
        if not isinstance(segment, str):  # converted already, by a router in a middleware
            return segment
        value = self._convert([segment], 404)
        if value is _ABSENT:
            raise _error(404)
        return value

    def _convert(self, values: list[str], status: int = 400) -> Any:
        """Return the value of a text, or of all repeated ones; `_ABSENT` for a blank that is no value."""
        kind = self.kind
        take = kind.text
        try:
            if kind.many:
                items = [take(text) if take is not None else text for text in values if text or kind.blank]
                return items or _ABSENT
            text = values[0]
            if not text and not kind.blank:
                return _ABSENT
            return text if take is None else take(text)
        except Exception:  # an Enum's _missing_ may raise anything
            raise self._invalid(status) from None

    def _invalid(self, status: int) -> HTTPError:
        if status == 404:
            return _error(404)
        return _error(400, f"Parameter '{self.name}' must be {self.kind.label}")

    def _text_finder(self) -> Callable[[Request], Any]:
        """Return `_find_anywhere` for a parameter that takes the text as it is, as most do."""
        name, find_anywhere = self.name, self._find_anywhere

        def find(request: Request) -> Any:
            query, form = request._query, request._form
            values = (request.query_params if query is None else query).get(name)
            if values is None and form is not None:
                values = form.get(name)
            return find_anywhere(request) if values is None else values[0]

        return find

    def _find_anywhere(self, request: Request) -> Any:
        """Look in the query, the body, the uploads and the session, in this order."""
        name = self.name
        values = request.query_params.get(name)
        value = _ABSENT if values is None else self._convert(values)
        if value is _ABSENT and request._reader is not None:
            value = self._find_in_body(request)
        if value is _ABSENT and name in request.session:
            value = request.session[name]
        return self._or_default(400) if value is _ABSENT else value

    def _find_in_body(self, request: Request) -> Any:
        body = request._json
        if isinstance(body, dict):
            if self.name not in body:
                return _ABSENT
            value = body[self.name]
            try:
                return value if self.kind.json is None else self.kind.json(value)
            except Exception:  # an Enum's _missing_ may raise anything
                raise self._invalid(400) from None
        values = request.body_params.get(self.name)
        value = _ABSENT if values is None else self._convert(values)
        if value is _ABSENT and self.name in request._files and self.takes_file():
            return request._files[self.name][0]
        return value

    def _find_file(self, request: Request) -> Any:
        files = request._files.get(self.name)
        if not files:
            return self._or_default(400)
        return list(files) if self.kind.many else files[0]

    def _find_in_session(self, request: Request) -> Any:
        value = request.session.get(self.name)
        return self._or_default(401) if value is None else value

    def _or_default(self, status: int) -> Any:
        if self.default is not _ABSENT:
            return self.default
        raise _error(400, f"Missing required parameter '{self.name}'") if status == 400 else _error(status)

    def is_known(self, request: Request, form: _MultipartForm) -> bool:
        """Whether nothing that is still to come in a form can be this parameter's value."""
        if self.kind.source == "session":
            return True
        if self.kind.many:
            return False
        if self.name in form.files:
            return True
        values = request.query_params.get(self.name) or form.fields.get(self.name)
        return self.kind.source == "any" and values is not None and bool(values[0] or self.kind.blank)

    def takes_file(self) -> bool:
        """Whether its value can be one uploaded file."""
        kind = self.kind
        return kind.source != "session" and not kind.many and kind.text is None and kind.json is None


class _Binder:
    """How a handler gets its arguments, worked out once; the framework itself passes the `leading` ones first."""

    __slots__ = (
        "_finders", "_keywords", "_positional", "_rest", "_simple", "_star", "_taken", "direct", "may_stream", "takes",
    )  # fmt: skip

    def __init__(self, function: Callable[..., Any], leading: int) -> None:
        self._positional: list[_Parameter] = []
        self._keywords: list[_Parameter] = []
        self._star: _Parameter | None = None
        self._rest = False
        self._taken = _own_names(function)
        for parameter in _signature(function, leading):
            one = _Parameter(parameter, _kind_of(_annotation(parameter, function)))
            if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
                if one.kind is _SESSION_KIND:
                    raise TypeError(f"*{one.name} takes path segments: it cannot be FromSession")
                self._star = one
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD:
                self._rest = True
            else:
                (self._keywords if one.keyword_only else self._positional).append(one)
                self._taken.add(one.name)
        self._finders = [one.find for one in self._positional]
        self._simple = not (self._star or self._keywords or self._rest)
        path = [one for one in self._positional if one.in_path]
        self.takes: float = float("inf") if self._star is not None else len(path)
        as_they_are = path == self._positional and all(one.kind.text is None and not one.kind.many for one in path)
        self.direct = len(path) if as_they_are and self._simple else -1
        self.may_stream = not self._rest and any(one.takes_file() for one in self._positional + self._keywords)

    def bind(self, request: Request) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return the positional and the keyword arguments; 404 for too many segments or one that does not convert."""
        segments: Sequence[Any] = request.path_params
        arguments: list[Any] = []
        if not segments and self._simple:
            for find in self._finders:
                arguments.append(find(request))  # noqa: PERF401 - cheaper than a comprehension for one or two
            return arguments, _NO_KEYWORDS
        if len(segments) > self.takes:
            raise _error(404)
        used = 0
        for parameter in self._positional:
            if parameter.in_path and used < len(segments):
                arguments.append(parameter.from_path(segments[used]))
                used += 1
            else:
                arguments.append(parameter.find(request))
        if self._star is not None:
            arguments += [self._star.from_path(segment) for segment in segments[used:]]
        keywords = {parameter.name: parameter.find(request) for parameter in self._keywords}
        if self._rest:
            keywords.update(self._remaining(request))
        return arguments, keywords

    def _remaining(self, request: Request) -> dict[str, Any]:
        """Return the query, the body and the uploads under the names that no parameter has."""
        found: dict[str, Any] = {name: files[0] for name, files in request._files.items()}
        if isinstance(request._json, dict):
            found.update(request._json)
        else:
            found.update({name: values[0] for name, values in request.body_params.items()})
        found.update({name: values[0] for name, values in request.query_params.items()})
        return {name: value for name, value in found.items() if name not in self._taken}

    def waits_for(self, request: Request, form: _MultipartForm, name: str) -> bool:
        """Whether the file of that name, which begins now, is the last thing that the handler waits for."""
        used = len(request.path_params)
        parameters = [one for one in self._positional if one.in_path][used:] + self._keywords
        parameters += [one for one in self._positional if not one.in_path]
        missing = [one for one in parameters if not one.is_known(request, form)]
        return len(missing) == 1 and missing[0].name == name and missing[0].takes_file()


def _signature(function: Callable[..., Any], leading: int) -> list[inspect.Parameter]:
    """Return the parameters that a client's values bind to: without the first ones, which the framework passes."""
    parameters = list(inspect.signature(function).parameters.values())
    passed = [one for one in parameters[:leading] if one.kind <= inspect.Parameter.POSITIONAL_OR_KEYWORD]
    return parameters[len(passed) :]


def _own_names(function: Callable[..., Any]) -> set[str]:
    """Return the parameters' names of a function and of what it wraps: ``**kwargs`` from a client must not hit them."""
    names: set[str] = set()
    layer: Any = function
    while layer is not None:
        code = getattr(layer, "__code__", None)
        if code is not None:
            names.update(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])
        layer = getattr(layer, "__wrapped__", None)
    return names


def _annotation(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    """Return a parameter's annotation, a text resolved where that can be."""
    annotation: Any = parameter.annotation
    if isinstance(annotation, str):
        scope = getattr(inspect.unwrap(function), "__globals__", {})
        try:
            return eval(annotation, scope)  # what typing.get_type_hints does, but one by one
        except Exception:
            return FromSession if "FromSession" in annotation else inspect.Parameter.empty
    return annotation


class _Handler:
    """One entry of the route table of the class `owner`: what stands in its body, or in a base's, under `name`."""

    __slots__ = ("_binder", "_leading", "call", "direct", "function", "is_plain", "methods", "name", "run")

    def __init__(self, name: str, member: Any, owner: type[App], *, is_socket: bool) -> None:
        function: Any = _function_of(member)
        self.name = name
        self.function: Callable[..., Any] = function
        self.call: Callable[..., Any] = function  # called with the App first
        if function is not member:  # a static or a class method
            bound = member.__get__(None, owner)

            def call(app: App, /, *arguments: Any, **keywords: Any) -> Any:
                return bound(*arguments, **keywords)

            self.call = call
        marked = getattr(member, "_micropie_methods", None)
        self.methods: frozenset[str] | None = marked or getattr(function, "_micropie_methods", None)
        is_async = inspect.iscoroutinefunction(function)
        self.is_plain = not (is_async or inspect.isasyncgenfunction(function))
        self.run: Callable[..., Awaitable[Any]] = self.call if is_async else self._run
        self.direct = -1  # how many path segments, as they are, make all the arguments; -1: it takes more to make them
        self._leading = (not isinstance(member, staticmethod)) + is_socket
        self._binder: _Binder | None = None

    @property
    def binder(self) -> _Binder:
        """How it gets its arguments; made at first use, when the names in its annotations are all there."""
        if self._binder is None:
            self._binder = _Binder(self.function, self._leading)
            if self.methods is None:
                self.direct = self._binder.direct
        return self._binder

    async def _run(self, /, *arguments: Any, **keywords: Any) -> Any:
        """Call what is no coroutine function; a plain function runs in a worker thread, in a copy of the context."""
        if not self.is_plain or inspect.isgeneratorfunction(self.function):
            return self.call(*arguments, **keywords)
        call = functools.partial(self.call, *arguments, **keywords)
        result = await _in_thread(contextvars.copy_context().run, call)
        return await result if inspect.isawaitable(result) else result


def _wrong_method(method: str, allowed: frozenset[str]) -> HTTPError:
    """Return what answers a method that a handler does not take, or OPTIONS (RFC 9110 section 15.5.6)."""
    headers = [("allow", ", ".join([*sorted(allowed - {"OPTIONS"}), "OPTIONS"]))]
    return HTTPError(204 if method == "OPTIONS" else 405, headers=headers)


def _function_of(member: Any) -> types.FunctionType | None:
    """Return the function that a class body defines, as a static or a class method too; None: it is something else."""
    if isinstance(member, (staticmethod, classmethod)):
        member = cast(Any, member).__func__
    return member if isinstance(member, types.FunctionType) else None


def _handlers(owner: type[App], *, is_socket: bool) -> dict[str, _Handler]:
    """Return what the bodies of a class and of its bases define as functions, by name; App itself defines none."""
    members: dict[str, Any] = {}
    for base in owner.__mro__:
        if base not in (App, object):
            members = {**vars(base), **members}
    return {
        name: _Handler(name, member, owner, is_socket=is_socket)
        for name, member in members.items()
        if not (name.startswith("__") and name.endswith("__")) and _function_of(member) is not None
    }


def _fallback(routes: dict[str, _Handler], segments: list[str]) -> tuple[_Handler | None, list[str]]:
    """Return the handler where the first segment is no handler's name, and the segments that are its arguments."""
    if segments:
        handler = routes.get("/" + segments[0].replace("-", "_").replace(".", "_")) if segments[0] else None
        if handler is not None:
            return handler, segments[1:]
        index = routes.get("/")
        if index is not None and not segments[0].startswith("_") and index.binder.takes:
            return index, segments
    return None, segments


def _route_table(handlers: dict[str, _Handler], prefix: str) -> dict[str, _Handler]:
    """Return the handlers that a path can name, by that path: ``/`` for index, ``/name`` for all."""
    names = {name.removeprefix(prefix): handler for name, handler in handlers.items() if name.startswith(prefix)}
    routes = {"/" + name: handler for name, handler in names.items() if name and not name.startswith("_")}
    return {**routes, "/": routes["/index"]} if "/index" in routes else routes


# --- Paths, cookies and content types -------------------------------------------------------------

def _root(scope: _Scope) -> str:
    """Return the root path as ``/a/b``, ``""`` where there is none."""
    root: str = (scope.get("root_path") or "").strip("/")
    return f"/{root}" if root else ""


def _repeats_root(path: str, root: str) -> bool:
    """Whether a server repeats the root path in the path; some do not."""
    return path == root or path.startswith(root + "/")


def _segments(scope: _Scope) -> list[str]:
    """Split a path that takes care: one below a root path, one that is not ASCII, one with an encoded slash."""
    path: str = scope["path"]
    raw = (scope.get("raw_path") or b"").partition(b"?")[0]
    try:
        path.encode()
        decoded = _unquoted(raw).decode()
    except UnicodeEncodeError:
        raise _error(400, "The path is not UTF-8") from None
    except UnicodeDecodeError:
        decoded = ""
    if "\ufffd" in path and "\ufffd" not in decoded:  # servers put it in place of what is no UTF-8
        raise _error(400, "The path is not UTF-8")
    root = _root(scope)
    skipped = root.count("/") if root and _repeats_root(path, root) else 0
    if b"%2f" in raw.lower() and decoded == path:
        segments = [_unquoted(segment).decode() for segment in raw.split(b"/")]
    else:
        segments = path.split("/")
    if not segments[-1]:
        segments.pop()
    return segments[skipped:]


def _session_ids(cookie_header: bytes) -> list[str]:
    """Return the session ids of a Cookie header: a mounted app's comes before its parent's; more are an attack."""
    if b"session_id=" not in cookie_header:
        return []
    pairs = [pair.strip().partition("=") for pair in cookie_header.decode("latin-1").split(";")]
    return [value.strip('"') for name, _, value in pairs if name == "session_id" and value][:4]


def _boundary(content_type: bytes) -> bytes:
    """Return the boundary of a multipart body (RFC 2046 section 5.1.1)."""
    found = re.search(rb';\s*boundary=(?:"([^"]+)"|([^\s;,"]+))', content_type, re.IGNORECASE)
    boundary = (found[1] or found[2]) if found is not None else b""
    if not 0 < len(boundary) <= 200 or b"\n" in boundary:
        raise _error(400, "Missing boundary")
    return boundary


_LOOPBACK: Final = r"(?i:(?:(?:.+\.)?localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?|::1)"


# --- App ------------------------------------------------------------------------------------------

# Names that a handler must not take: the App needs them. Each is a URL that users cannot have: there will be no more.
_RESERVED = frozenset({
    "env", "middlewares", "mounts", "request", "session_backend", "shutdown_handlers", "startup_handlers",
    "ws_middlewares", "_started",
})  # fmt: skip


class App:
    """An ASGI application; the public methods of a subclass are its URLs.

    Args:
        session_backend: Where sessions are kept; None: in the memory of this process.
        debug: Show tracebacks in the browser.
        session_timeout: Seconds after which a session ends if no request looks at it.
        session_cookie_secure: Whether the session cookie is sent over HTTPS alone; None: unless ``debug`` is on or the
            request is plain HTTP to a loopback host.
        session_cookie_path: The part of the site that gets the session cookie; None: the root path of this app.
        allowed_origins: Full origins, such as ``https://example.com``, whose pages may open WebSockets with a session.
        max_body_size: The most bytes of a body that is kept in memory or on disk; None: no limit.
        max_upload_size: The most bytes of a body that streams into a handler; None: no limit.
        max_form_field_size: The most bytes of a text field of a multipart form; None: no limit.
        body_timeout: Seconds without a byte after which a client that sends a body is given up, an eighth later at
            most; None: never.

    Attributes:
        middlewares (list[HttpMiddleware]): Around every HTTP request, outermost first.
        ws_middlewares (list[WebSocketMiddleware]): Around every WebSocket, outermost first.
        startup_handlers (list[Callable]): Async or plain, called one after the other before the first request.
        shutdown_handlers (list[Callable]): Async or plain, called one after the other after the last request.
        mounts (dict[str, Callable]): ASGI apps by the path prefix that is theirs, such as ``"/static"``.
        session_backend (SessionBackend): Where sessions are kept.

    Raises:
        TypeError: ``allowed_origins`` is one text. A subclass that names a handler like one of the attributes is a
            TypeError too, when the class is made.
        ValueError: ``body_timeout`` is below zero.

    Example:
        >>> class Root(App):
        ...     async def greet(self, name, times: int = 1):
        ...         return {"greetings": [f"Hello, {name}!"] * min(times, 10)}
        >>> async def send(message):
        ...     print(message.get("status") or message["body"].decode())
        >>> asyncio.run(Root()({"type": "http", "path": "/greet/Alice"}, None, send))
        200
        {"greetings":["Hello, Alice!"]}
    """

    __routes: dict[str, _Handler] = {}  # by path
    __functions: dict[str, _Handler] = {}  # by name, private ones included
    __socket_routes: dict[str, _Handler] = {}
    __socket_functions: dict[str, _Handler] = {}
    __debug = False

    def __init__(
        self, session_backend: SessionBackend | None = None, *, debug: bool = False,
        session_timeout: float = SESSION_TIMEOUT, session_cookie_secure: bool | None = None,
        session_cookie_path: str | None = None, allowed_origins: Iterable[str] = (),
        max_body_size: int | None = 16 * 2**20, max_upload_size: int | None = 16 * 2**20,
        max_form_field_size: int | None = 2**20, body_timeout: float | None = 30.0,
    ) -> None:  # fmt: skip
        if isinstance(allowed_origins, str):
            raise TypeError("allowed_origins is a list of origins, not one text")
        body_timeout = None if body_timeout is None else float(body_timeout)
        if body_timeout is not None and not body_timeout >= 0:
            raise ValueError(f"body_timeout is a number of seconds, or None: {body_timeout!r}")
        self.middlewares: list[HttpMiddleware] = []
        self.ws_middlewares: list[WebSocketMiddleware] = []
        self.startup_handlers: list[Callable[[], Any]] = []
        self.shutdown_handlers: list[Callable[[], Any]] = []
        self.mounts: dict[str, _ASGIApp] = {}
        self.session_backend: SessionBackend = InMemorySessionBackend() if session_backend is None else session_backend
        self._started = False
        self.__debug = debug
        self.__session_timeout = session_timeout
        self.__session_cookie_secure = session_cookie_secure
        self.__session_cookie_path = session_cookie_path
        self.__allowed_origins = frozenset(origin.lower().rstrip("/") for origin in allowed_origins)
        self.__settings = _Settings(max_body_size, max_upload_size, max_form_field_size, body_timeout)
        self.__routes = type(self).__routes  # found faster here, at every request

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Work out the route tables of a subclass."""
        super().__init_subclass__(**kwargs)
        functions = _handlers(cls, is_socket=False)
        cls.__functions = {name: handler for name, handler in functions.items() if not name.startswith("ws_")}
        cls.__socket_functions = _handlers(cls, is_socket=True)
        for name in _RESERVED & cls.__socket_functions.keys():
            raise TypeError(f"{cls.__name__}.{name} cannot be a handler: App.{name} is the framework's own")
        if cls.__init__ is not App.__init__ and not hasattr(cls.__init__, "_micropie_checks"):
            cls.__init__ = _checked_init(cls.__init__)  # type: ignore[method-assign]
        cls.__routes = _route_table(cls.__functions, "")
        cls.__socket_routes = _route_table(cls.__socket_functions, "ws_")

    @property
    def request(self) -> Request:
        """The request that is being answered.

        Raises:
            RuntimeError: No request is being answered here.
        """
        try:
            return current_request.get()
        except LookupError:
            raise RuntimeError("self.request is there only while a request is being answered") from None

    @functools.cached_property
    def env(self) -> Any:
        """The jinja2 environment, made at first use; it looks beside the App's module, then in ``./templates``.

        Raises:
            RuntimeError: jinja2 is not installed.
        """
        try:
            import jinja2
        except ImportError as error:
            raise RuntimeError('templates need the package jinja2: pip install "micropie[standard]"') from error
        module = getattr(sys.modules.get(type(self).__module__), "__file__", None)
        folders = [os.path.join(os.path.dirname(os.path.abspath(module)), "templates")] if module else []
        return jinja2.Environment(
            loader=jinja2.FileSystemLoader([*folders, "templates"]),
            autoescape=lambda name: name is None or not name.endswith(".txt"),
            enable_async=True,
        )

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one ASGI connection.

        Raises:
            ValueError: Its type is none of http, websocket and lifespan.
        """
        kind = scope["type"]
        if kind == "http":
            await self._asgi_app_http(scope, receive, send)
        elif kind == "websocket":
            await self._asgi_app_websocket(scope, receive, send)
        elif kind == "lifespan":
            await self._asgi_app_lifespan(receive, send)
        else:
            raise ValueError(f"unknown ASGI scope type {kind!r}")

    # HTTP, in the order in which things happen to a request

    async def _asgi_app_http(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive, self.__settings)
        token = current_request.set(request)
        result: object = None
        response: _Response | None = None
        start: Any = None
        payload = b""
        rest: Callable[[], Awaitable[None]] | None = None
        try:
            try:
                result = await self.__answer(request)
                plain, reader = _PLAIN.get(type(result)), request._reader
                if (
                    plain is None or request._session is not None or request._asked or request.method == "HEAD"
                    or (reader is not None and (request._boundary is not None or not reader.ended))
                ):  # fmt: skip
                    response = _response(result)
                else:  # text, bytes or JSON, and nothing else to do: most answers
                    encode, kind = plain
                    payload = encode(result)
                    start = {"type": "http.response.start", "status": 200, "headers": [kind, _lengths[len(payload)]]}
            except BaseException as error:
                response = self.__failed(request, error)
            if response is not None:
                if request._session is not None or request._asked:
                    response = await self.__after(request, response)
                start, payload, rest = await self.__deliver(request, response, send)
            if rest is not None:
                del response, result  # a stream may be open for hours
                await rest()
            else:
                try:
                    await send(start)
                    await send({"type": "http.response.body", "body": payload})
                except OSError:
                    pass  # so a server says that the client is gone
        except ConnectionClosed:
            pass  # nobody is there to get an answer
        finally:
            current_request.reset(token)
            if request._reader is not None:
                request._reader.close()  # what is read of its files from now on fails
                if request._leftovers is not None:
                    await self.__release(request, request._leftovers)

    def __answer(self, request: Request) -> Awaitable[Any]:
        """Find the handler and call it, at once where there is nothing else to do: what it returns is to be awaited."""
        scope = request.scope
        if self.middlewares:  # all of them see what goes wrong before the first one was asked
            request._asked = tuple(self.middlewares)
        handler = self.__routes.get(scope["path"])  # most often a handler without path parameters
        if handler is None or scope.get("root_path") or self.mounts:
            handler = self.__find(request, self.__routes)
        request._handler = handler
        query = scope.get("query_string")
        if query:
            _count_fields(query)
        wanted = _WANTED_HEADERS
        found: list[tuple[bytes, bytes]] = []
        for pair in scope.get("headers") or ():
            if pair[0] in wanted:
                found.append(pair)  # noqa: PERF401 - cheaper than a comprehension where nothing is found
        if found or request._asked or self.mounts:
            return self.__prepared(request, found)
        segments = request.path_params
        if handler is not None and len(segments) == handler.direct:
            return handler.run(self, *segments) if segments else handler.run(self)
        return self.__call(request)

    def __find(self, request: Request, routes: dict[str, _Handler]) -> _Handler | None:
        """Find the handler, or the mounted app, by the segments of the path."""
        scope = request.scope
        path: str = scope["path"]
        if scope.get("root_path") or not path.isascii() or len(scope.get("raw_path") or path) != len(path):
            segments = _segments(scope)
        else:
            segments = path.split("/")
            if not segments[-1]:  # one trailing slash is ignored
                segments.pop()
        if self.mounts:
            request._mount = self.__mounted(scope, segments)
        name = segments[1] if len(segments) > 1 else "index" if path[:1] in ("/", "") else ""  # not for OPTIONS *
        handler = routes.get("/" + name) if name else None
        if handler is not None:
            request.path_params = segments[2:]
            return handler
        handler, request.path_params = _fallback(routes, segments[1:])
        return handler

    def __mounted(self, scope: _Scope, segments: list[str]) -> tuple[_ASGIApp, _Scope] | None:
        """Return the app of the longest prefix that the path begins with, and the scope it is called with.

        Raises:
            ValueError: A prefix does not begin with a slash: nothing would ever get there.
        """
        path = "".join(["/" + segment.replace("/", "%2F") for segment in segments[1:]])
        prefixes: list[str] = []
        for prefix in self.mounts:
            if prefix and not prefix.startswith("/"):
                raise ValueError(f"the prefix of a mount begins with a slash: {prefix!r}")
            if _repeats_root(path, prefix.rstrip("/")):
                prefixes.append(prefix)
        if not prefixes:
            return None
        prefix = max(prefixes, key=len)
        root = _root(scope)
        child = {**scope, "root_path": root + prefix.rstrip("/")}
        if root and not _repeats_root(scope["path"], root):  # in a scope the path includes it (ASGI HTTP)
            child["path"] = root + scope["path"]
            if raw_path := scope.get("raw_path"):
                child["raw_path"] = _quoted(root, "/").encode() + raw_path
        return self.mounts[prefix], child

    async def __prepared(self, request: Request, found: list[tuple[bytes, bytes]]) -> Any:
        """Load what the headers announce, ask the middlewares, call the handler; return what is to be the answer."""
        if found:
            request._note_headers(found)
            if request._cookie_header:
                await self.__load_session(request, _session_ids(request._cookie_header))
            kind = request._content_type
            parser = (_PARSERS.get(kind) or request._parser()) if kind and request._mount is None else None
            if parser is not None:
                member, parse = parser
                reader = request._body_reader()
                reader.expect(self.__settings.max_body_size)
                body = await reader.chunk()
                if reader.ended:  # most bodies come in one message
                    reader.kept = body
                else:
                    reader.pieces = bytearray(body)
                    body = await reader.read()
                is_slow = len(body) >= _THREAD_PARSE_SIZE and parse is _parse_pairs
                setattr(request, member, await _in_thread(parse, body) if is_slow else parse(body))
        if request._asked or self.mounts:
            answer = await self.__before(request)
            if answer is not None:
                return answer
        return await self.__call(request)

    async def __load_session(self, request: Request, session_ids: list[str]) -> None:
        for session_id in session_ids:
            if data := await self.session_backend.load(session_id):
                request._session = _Session(session_id, data)
                return

    async def __before(self, request: Request) -> tuple[Any, ...] | None:
        """Ask the middlewares; return what is to be the answer instead of the handler's."""
        asked: list[HttpMiddleware] = []
        request._asked = asked
        for middleware in tuple(self.middlewares):
            result = await middleware.before_request(request)
            asked.append(middleware)
            answer = _checked_dict(result, _RESPONSE_KEYS, middleware)
            if answer is not None:
                return answer.get("status_code", 200), answer.get("body"), answer.get("headers")
        self.__choose(request, self.__functions)
        return None if request._mount is None else _MOUNTED

    def __choose(self, request: Request, functions: dict[str, _Handler]) -> None:
        """Let a middleware have put another handler in place of the one that the path names."""
        if request._chosen is not _ABSENT:
            request._handler = functions.get(request._chosen or "")

    def __call(self, request: Request) -> Awaitable[Any]:
        """Bind the handler's arguments and call it: what it returns is to be awaited."""
        handler = request._handler
        if handler is None:
            raise _error(404)
        if handler.methods is not None and request.method not in handler.methods:
            raise _wrong_method(request.method, handler.methods)
        if request._boundary is not None:
            return self.__call_with_form(request, handler, request._boundary)
        arguments, keywords = (handler._binder or handler.binder).bind(request)
        return handler.run(self, *arguments, **keywords) if keywords else handler.run(self, *arguments)

    async def __call_with_form(self, request: Request, handler: _Handler, boundary: bytes) -> Any:
        await self.__read_form(request, handler, boundary)
        arguments, keywords = handler.binder.bind(request)
        return await handler.run(self, *arguments, **keywords)

    async def __read_form(self, request: Request, handler: _Handler, boundary: bytes) -> None:
        """Take in a multipart form: all of it, or as far as its handler needs before it can read a file as it comes."""
        kept, streamed = self.__settings.max_body_size, self.__settings.max_upload_size
        may_stream = handler.binder.may_stream and not handler.is_plain
        reader = request._body_reader()
        reader.replay()
        both = None if kept is None or streamed is None else max(kept, streamed)
        reader.expect(both if may_stream else kept)
        request._leftovers = request._leftovers or []
        form = request._multipart = _MultipartForm(reader.chunk, boundary, self.__settings)
        request._form, request._files = form.fields, form.files
        if await form.run(lambda name: may_stream and handler.binder.waits_for(request, form, name)):
            reader.expect(streamed)
        else:
            _check_size(reader.size, kept)

    def __mounted_app(self, request: Request, send: _Send) -> Callable[[], Awaitable[None]]:
        """Return the call of the mounted app, with the body that a middleware may have read."""
        mounted, scope = cast("tuple[_ASGIApp, _Scope]", request._mount)
        reader = request._reader
        return functools.partial(mounted, scope, request._receive if reader is None else reader.receive_again(), send)

    async def __after(self, request: Request, response: _Response) -> _Response:
        """Ask the middlewares that were asked before, the last one first; save what was made of the session."""
        if response is _MOUNTED:
            return response
        for middleware in reversed(request._asked):
            status, body, _, _ = response
            if _is_streamed(body):  # to be closed at the end, whatever happens: another body may read from it
                request._leftovers = [*(request._leftovers or ()), body]
                request._body_reader()
            try:
                headers = _header_list(response)
                result = await middleware.after_request(request, status, body, headers)
                response = _changed(response, _checked_dict(result, _RESPONSE_KEYS, middleware) or {}, headers)
            except BaseException as error:
                response = self.__failed(request, error)
        session = request._session
        if session is None or session.snapshot is None:
            return response
        extra = [("vary", "Cookie")]
        if response[0] < 500:
            try:
                session_id = await session.commit(self.session_backend, self.__session_timeout)
                if session_id is not None:
                    extra.append(self.__session_cookie(request, session_id))
                    if "cache-control" not in dict(response[3]):
                        extra.append(("cache-control", "no-store"))
            except BaseException as error:
                await _discard(response[1])
                response = self.__failed(request, error)
        status, body, kind, own = response
        return status, body, kind, (*own, *extra)

    def __session_cookie(self, request: Request, session_id: str) -> tuple[str, str]:
        """Return the header that sets the session cookie, or expires it where the id is ``""``."""
        scope = request.scope
        secure = self.__session_cookie_secure
        if secure is None:
            server = scope.get("server") or ("",)
            is_local = re.fullmatch(_LOOPBACK, request.headers.get("host", server[0] or ""))
            secure = not (self.__debug or (is_local and scope.get("scheme") not in ("https", "wss")))
        path = self.__session_cookie_path
        if path is None:
            path = _quoted(_root(scope), "/!$&'()*+,:=@~") or "/"
        if not session_id:
            return delete_cookie("session_id", path=path, secure=secure)
        return set_cookie("session_id", session_id, path=path, secure=secure)

    def __failed(self, request: Request, error: BaseException) -> _Response:
        """Return the response for what went wrong; let pass what is not an error of this request."""
        try:
            if isinstance(error, ConnectionClosed) and request._reader is not None and request._reader.gone:
                raise error
            if isinstance(error, HTTPError):
                try:
                    status, body, kind, headers = _response_of_tuple((error.status, error.body, error.headers))
                    return (status, str(error), _TEXT, headers) if body is None else (status, body, kind, headers)
                except Exception as malformed:
                    error = malformed
            if not _is_stray(error):
                raise error
            _log.error("%r %r failed", request.method, request.scope.get("path"), exc_info=error)
            body = "500 Internal Server Error"
            if self.__debug:
                import traceback

                body = "".join(traceback.format_exception(error))
            return 500, body, _TEXT, ()
        finally:
            del error  # its traceback leads to this frame: the two would keep the request, and all that it has read

    async def __deliver(
        self, request: Request, response: _Response, send: _Send
    ) -> tuple[Any, bytes, Callable[[], Awaitable[None]] | None]:
        """Return a response's first message and its body; or the call that writes them: a stream's, a mounted app's."""
        if response is _MOUNTED:
            return None, b"", self.__mounted_app(request, send)
        stream: _Stream | None = None
        try:
            start, payload = _start_message(response)
            if payload is None:
                stream = _Stream(send, request._body_reader(), start, response[1])
        except Exception as error:  # text that has no UTF-8, what only looks like an iterator
            response = self.__failed(request, error)
            start, payload = _start_message(response)
        reader = request._reader
        if stream is not None:
            if request.method != "HEAD" and not _has_no_body(response[0]) and not (reader is not None and reader.gone):
                return None, b"", stream.run
            await _close(stream._chunks)
        if reader is not None:
            if request._boundary is not None and request._multipart is not None:
                await request._multipart.stop()
            if reader.gone:
                raise ConnectionClosed
            if not reader.ended:
                await reader.drain()
        return start, payload if payload and request.method != "HEAD" else b"", None

    async def __release(self, request: Request, leftovers: list[Any]) -> None:
        """Close what the request has opened: the temporary files of uploads, streams that were not sent."""
        try:
            for body in leftovers:
                await _discard(body)
        finally:
            if request._multipart is not None:
                await request._multipart.close()

    async def _send_response(
        self, send: _Send, status_code: int, body: Any, extra_headers: _Headers | None = None
    ) -> None:
        """Write a response of your own, from code that extends the App.

        Args:
            send: The ASGI send callable.
            status_code: The HTTP status.
            body: Anything that a handler may return.
            extra_headers: Header pairs or a dict.
        """
        request = current_request.get(None) or Request({"type": "http"})
        response = _response_of_tuple((status_code, body, extra_headers))
        with contextlib.suppress(ConnectionClosed, OSError):  # nobody is there to get it
            start, payload, rest = await self.__deliver(request, response, send)
            if rest is not None:
                await rest()
            else:
                await send(start)
                await send({"type": "http.response.body", "body": payload})

    # WebSocket, in the order in which things happen to a connection

    async def _asgi_app_websocket(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one WebSocket, from its handshake to its end."""
        request = WebSocketRequest(scope, None, self.__settings)
        socket = WebSocket(receive, send)
        socket.subprotocols = list(scope.get("subprotocols") or ())
        socket._on_accept = functools.partial(self.__handshake_headers, request, socket)
        token = current_request.set(request)
        try:
            if not await self.__serve_socket(request, socket) and request._mount is not None:
                mounted, mounted_scope = request._mount
                await mounted(mounted_scope, receive, send)
        finally:
            current_request.reset(token)
            socket._on_accept = _accept_headers  # the other one leads back here

    async def __serve_socket(self, request: WebSocketRequest, socket: WebSocket) -> bool:
        """Run the handler and what belongs around it, and leave the socket closed; False: it is a mounted app's."""
        passed: list[WebSocketMiddleware] = []
        code = 1000
        try:
            request._handler = self.__find(request, self.__socket_routes)
            _count_fields(request.scope.get("query_string") or b"")
            await self.__load_socket_session(request, socket)
            await self.__before_socket(request, socket, passed)
            if socket._over is None:
                if request._mount is not None:
                    return False
                await self.__conversation(request, socket)
        except BaseException as error:
            code = self.__socket_failed(request, socket, error)
        for middleware in reversed(passed):
            try:
                await middleware.after_websocket(request)
            except BaseException as error:
                code = self.__socket_failed(request, socket, error)
        try:
            await self.__finish_socket_session(request)
        except BaseException as error:
            code = self.__socket_failed(request, socket, error)
        await socket.close(code)
        return True

    async def __load_socket_session(self, request: WebSocketRequest, socket: WebSocket) -> None:
        """Load the session, unless a foreign page has opened this socket with the cookies of its visitor."""
        request._note_headers([pair for pair in request.scope.get("headers") or () if pair[0] == b"cookie"])
        session_ids = _session_ids(request._cookie_header)
        pairs = [pair for pair in request.scope.get("headers") or () if pair[0] in (b"origin", b"host")]
        headers = {name: b", ".join([value for key, value in pairs if key == name]) for name, _ in pairs}
        if not _is_same_origin(headers, self.__allowed_origins):
            request._session = _Session()
            request._session.blocked = True
            if session_ids:
                _log.warning("a WebSocket from the origin %r got no session", request.headers.get("origin"))
            return
        await self.__load_session(request, session_ids)
        if request._session is not None:
            socket.session_id = request._session.id

    async def __before_socket(
        self, request: WebSocketRequest, socket: WebSocket, passed: list[WebSocketMiddleware]
    ) -> None:
        for middleware in tuple(self.ws_middlewares):
            result = await middleware.before_websocket(request)
            passed.append(middleware)
            refusal = _checked_dict(result, _REFUSAL_KEYS, middleware)
            if refusal is not None:
                await socket.close(refusal.get("code", 1008), refusal.get("reason"))
                return

    def __conversation(self, request: WebSocketRequest, socket: WebSocket) -> Awaitable[Any]:
        """Bind the handler's arguments and call it: what it returns is to be awaited."""
        self.__choose(request, self.__socket_functions)
        handler = request._handler
        if handler is None:
            return socket.close(1008)
        arguments, keywords = handler.binder.bind(request)
        return handler.run(self, socket, *arguments, **keywords)

    async def __handshake_headers(
        self, request: WebSocketRequest, socket: WebSocket, given: str | None
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers that complete a handshake: a new session that is not empty gets its cookie here."""
        session = request._session
        if session is not None and session.blocked:
            return []
        if given is not None:
            session = request._session = session or _Session()
            session.given, session.renew = given, session.id not in (None, given)
            _ = session.data  # whatever is in it goes on under the given id
        session_id = given
        if session is not None and session.snapshot is not None and session.data and (session.renew or not session.id):
            saved = _copied(session.data)
            session_id = await session.commit(self.session_backend, self.__session_timeout)
            session.snapshot = saved  # what changes from now on is for the second commit, at the end
        if not session_id:
            return []
        if session is not None and session.id is None:
            session.id = session_id
        socket.session_id = session_id
        return list(_encoded_headers([self.__session_cookie(request, session_id)]))

    async def __finish_socket_session(self, request: WebSocketRequest) -> None:
        session = request._session
        if session is None or session.snapshot is None or session.blocked:
            return
        if session.renew or (session.id is None and session.data):
            _log.warning("a session filled or renewed after accept() has no cookie: the new session or id is lost")
            session.renew = False
        if session.id is not None:
            await session.commit(self.session_backend, self.__session_timeout)

    def __socket_failed(self, request: WebSocketRequest, socket: WebSocket, error: BaseException) -> int:
        """Return the close code for what went wrong; let pass what is not an error of this connection."""
        if isinstance(error, HTTPError):
            return 1011 if socket.accepted else 1008
        if socket._over is not None and _is_closed(error):
            return 1000
        try:
            if not _is_stray(error):
                raise error
            _log.error("WebSocket %r failed", request.scope.get("path"), exc_info=error)
            return 1011
        finally:
            del error  # as in __failed

    async def _send_websocket_close(self, send: _Send, code: int, reason: str | None = None) -> None:
        """Close or refuse a WebSocket, from code that extends the App."""
        await send(_close_message(code, reason))

    # Lifespan

    async def _asgi_app_lifespan(self, receive: _Receive, send: _Send) -> None:
        """Run the startup handlers up to the first that fails; all shutdown handlers, the mounted apps' first."""
        kind, failures = "", list[str]()
        while kind != "shutdown" and not failures:
            kind = (await receive())["type"].rpartition(".")[2]
            starts = kind == "startup"
            for app in self.__family() if starts else reversed(self.__family()):
                for handler in app.startup_handlers if starts else app.shutdown_handlers:
                    if not (starts and failures):
                        failures += await _run_hook(handler)
                app._started = starts and not failures
            if failures:
                await send({"type": f"lifespan.{kind}.failed", "message": "; ".join(failures)})
            else:
                await send({"type": f"lifespan.{kind}.complete"})

    def __family(self) -> list[App]:
        """Return this app and the MicroPie apps mounted below it, each once."""
        family: list[App] = [self]
        for app in family:  # grows on the way
            for child in app.mounts.values():
                if isinstance(child, App) and child not in family:
                    family.append(child)
        return family

    # For handlers

    def _redirect(
        self, location: str, status: int = 302, headers: _Headers | None = None
    ) -> tuple[int, None, list[tuple[str, str]]]:
        """Return the response that sends the client elsewhere.

        Args:
            location: A URL, absolute or relative; what must not stand in one is percent-encoded.
            status: 301, 302, 303, 307 or 308.
            headers: More headers, such as cookies.
        """
        target = _quoted(location, _LOCATION_SAFE)
        return status, None, [("location", target), *_pairs(headers or ())]

    async def _render_template(self, name: str, /, **context: Any) -> str:
        """Render a template.

        Args:
            name: Its path below ``templates/``.
            context: Its variables.

        Raises:
            RuntimeError: jinja2 is not installed.
        """
        text: str = await self.env.get_template(name).render_async(context)
        return text

    def _parse_cookies(self, cookie_header: str) -> dict[str, str]:
        """Parse a Cookie header; of cookies with the same name the first counts."""
        return _parse_cookies(cookie_header)

    async def _parse_multipart(
        self, reader: asyncio.StreamReader, boundary: bytes
    ) -> tuple[dict[str, list[str]], dict[str, UploadedFile]]:
        """Parse a whole multipart form.

        Args:
            reader: Where it comes from.
            boundary: What separates its parts.

        Returns:
            The text fields, all values of each name, and the files, the first of each name.

        Raises:
            HTTPError: 400 malformed, 413 over a limit.
        """
        form = _MultipartForm(functools.partial(reader.read, _CHUNK_SIZE), boundary, self.__settings)
        await form.run()
        for files in form.files.values():
            for file in files:
                weakref.finalize(file, file.file.close)
        return form.fields, {name: files[0] for name, files in form.files.items()}


def _checked_init(init: Any) -> Any:
    """Return the ``__init__`` of a subclass with a check that it has called that of App."""

    @functools.wraps(init)
    def checked(self: App, *arguments: Any, **keywords: Any) -> None:
        init(self, *arguments, **keywords)
        if "mounts" not in vars(self):
            raise TypeError(f"{type(self).__name__}.__init__ must call super().__init__()")

    checked._micropie_checks = True  # type: ignore[attr-defined]
    return checked


async def _run_hook(handler: Callable[[], Any]) -> list[str]:
    """Run a startup or shutdown handler; return what went wrong, which is logged too."""
    try:
        result = handler()
        if inspect.isawaitable(result):
            await result
    except BaseException as error:
        if not _is_stray(error):
            raise
        name = getattr(handler, "__qualname__", repr(handler))
        _log.error("%s failed", name, exc_info=error)
        return [f"{name}: {type(error).__name__}: {error}"]
    return []


# --- Command line ---------------------------------------------------------------------------------

class _Unquoted(str):
    __repr__ = str.__str__


def _readable(parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose annotation prints as it was written."""
    annotation = parameter.annotation
    if annotation is FromSession:
        annotation = "FromSession"
    return parameter.replace(annotation=_Unquoted(annotation) if isinstance(annotation, str) else annotation)


def _describe(protocol: str, path: str, handler: _Handler) -> list[str]:
    """Return one line of the route list: path, methods, parameters, HTTP or WebSocket, place in the source."""
    allowed = ", ".join(sorted(handler.methods)) if handler.methods else "any"
    code = inspect.unwrap(handler.function).__code__
    parameters = inspect.Signature(list(map(_readable, _signature(handler.function, handler._leading))))
    place = f"{os.path.relpath(code.co_filename)}:{code.co_firstlineno}"
    return [path, allowed if protocol == "HTTP" else "-", str(parameters), protocol, place]


def _main(arguments: Sequence[str]) -> int:
    """Run the command line: ``python -m micropie routes app:app``."""
    if len(arguments) != 2 or arguments[0] != "routes":
        sys.stderr.write("usage: python -m micropie routes MODULE:APP\n")
        return 2
    import importlib

    sys.path.insert(0, os.getcwd())
    module, _, attribute = arguments[1].partition(":")
    app = getattr(importlib.import_module(module), attribute or "app", None)
    if not isinstance(app, App):
        sys.stderr.write(f"{arguments[1]} is no micropie.App\n")
        return 2
    rows = [["PATH", "METHODS", "PARAMETERS", "PROTOCOL", "SOURCE"]]
    for protocol, table in (("HTTP", "_App__routes"), ("WebSocket", "_App__socket_routes")):
        rows += [_describe(protocol, *item) for item in sorted(getattr(app, table).items()) if item[0] != "/index"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        sys.stdout.write("  ".join(map(str.ljust, row, widths)).rstrip() + "\n")
    return 0


if __name__ == "__main__":  # pragma: no cover
    from importlib import import_module

    sys.exit(import_module("micropie")._main(sys.argv[1:]))  # the app to look at is an instance of that module's App
