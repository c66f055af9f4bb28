"""MicroPie: the public methods of a class become the URLs of an ASGI web app.

    from micropie import App

    class Root(App):
        async def index(self):
            return "Welcome to MicroPie."

    app = Root()          # uvicorn app:app

To follow a request through this module, begin at ``App._asgi_app_http``. It makes a `Request`,
finds the handler that the first segment of the path names, loads the session, reads the body and
asks the middlewares. Then it binds the handler's arguments, calls it, and sends its result as a
response.

The sections are errors, JSON, worker threads, sessions, uploads, request, WebSocket, middleware,
responses, streams, handlers and binding, paths, App and command line.

Only the standard library is needed; jinja2, multipart and orjson are used if they are installed.
"""
# pyright: reportPrivateUsage=false, reportUnusedFunction=false
# One module is one unit here: its classes may use each other's underscore names, and `_main` is for
# `__main__`.

from __future__ import annotations

import asyncio
import codecs
import enum
import inspect
import itertools
import logging
import os
import re
import sys
import threading
import types
import weakref
from abc import ABC, abstractmethod
from asyncio import (
    CancelledError,
    Future,
    Task,
    create_task,
    current_task,
    get_running_loop,
    sleep,
    wait,
)
from collections import OrderedDict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    MutableMapping,
)
from contextlib import ExitStack, suppress
from contextvars import Context, ContextVar, copy_context
from copy import deepcopy
from encodings import aliases, normalize_encoding
from functools import (
    cache,
    cached_property,
    lru_cache,
    partial,
    partialmethod,
    singledispatchmethod,
)
from inspect import Parameter, formatannotation, getattr_static, isawaitable, signature, unwrap
from io import BytesIO
from os.path import dirname, join
from re import fullmatch
from time import monotonic
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    BinaryIO,
    Literal,
    NamedTuple,
    NewType,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

__version__ = "1.0.0.dev0"
"""The version of this module, as PEP 440 writes it.

Example:
    >>> int(__version__.split(".")[0])  # another one when the API changes
    1
"""

__all__ = [
    "SESSION_TIMEOUT",
    "App",
    "ConnectionClosed",
    "FromSession",
    "HTTPError",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "Request",
    "Route",
    "ServerSentEvent",
    "SessionBackend",
    "UploadedFile",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "__version__",
    "current_request",
    "delete_cookie",
    "event_stream",
    "methods",
    "routes",
    "set_cookie",
]

_log = logging.getLogger("micropie")

_Message = MutableMapping[str, Any]
_Scope = _Message
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_ASGIApp = Callable[..., Awaitable[None]]
_Hook = Callable[[], Any]  # a startup or shutdown handler
_Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
_RawPair = tuple[bytes, bytes]
_RawHeaders = list[_RawPair]
_Pairs = list[tuple[str, str]]
_Cookies = dict[str, str]
_Data = dict[str, Any]  # of a session, from a middleware, or by the names of parameters
_Read = Callable[[], Awaitable[bytes | None]]
_Values = dict[str, list[str]]  # by the name of a form field or of a query parameter
_F = TypeVar("_F", bound=Callable[..., Any])

SESSION_TIMEOUT = 28_800
"""Seconds that a session lives after the last request that looked at it (8 hours).

Example:
    >>> app = App(session_timeout=3 * SESSION_TIMEOUT)  # a day
    >>> SESSION_TIMEOUT / 3600
    8.0
"""

# In a query, a form or a multipart body. More would block the event loop for seconds.
_MAX_FIELDS = 1000
_MAX_PART_HEADERS = 8  # RFC 7578 needs three
_MAX_PART_HEADER_SIZE = 4096
# By the message of the multipart parser.
_PARSER_LIMITS = {
    "Maximum segment count exceeded": f"{_MAX_FIELDS} fields",
    "Maximum segment header count exceeded": f"{_MAX_PART_HEADERS} headers per part",
    "Maximum segment header length exceeded": f"{_MAX_PART_HEADER_SIZE} bytes per part header",
}
_SPOOL_SIZE = 2**20  # a file larger than this goes to disk
_CHUNK_SIZE = 2**16
# Some clients look for the response only when they have sent the whole body. So MicroPie receives
# up to this many bytes that no code has read, and drops them.
_DRAIN_SIZE = 64 * 2**20
_THREADS = 40
_FILE_THREADS = 4
# Looks at a WebSocket handler, and seconds between them, until MicroPie watches one that has been
# in no `receive_*`.
_LOOKS = 20
_LOOK_SECONDS = 0.25
_MESSAGES_AHEAD = 16
# Seconds after the headers of a stream. Then MicroPie drops a body that no code has begun to read.
_UNREAD_SECONDS = 5.0
# Between two looks at a stream that has read a part of the body. If it has asked for nothing from
# one to the next, MicroPie drops the rest.
_IDLE_SECONDS = 30.0
# Expired sessions that one call removes at most, so that none of them pauses the event loop.
_EXPIRE_STEP = 100

_SESSION_ID = "[A-Za-z0-9_-]{1,128}"
# Browsers ask more of cookies with these names.
_HOST_NAME = "(?i:__Host-)"
_SECURE_NAME = "(?i:__(?:Host|Secure)-)"

# No value: nothing was sent, or a parameter has no default or annotation.
_ABSENT: Any = Parameter.empty


# --- Errors ---------------------------------------------------------------------------------------


class HTTPError(Exception):
    """Raise this anywhere to end the request with a status.

    In a WebSocket handler it refuses the handshake, or closes an accepted socket with 1011.

    Args:
        status: The HTTP status code.
        body: Any value that a handler can return as a body. None is the short text of the status
            (``404 Not Found``).
        headers: Header pairs or a dict.

    Example:
        >>> class Shop(App):
        ...     async def item(self, number: int):
        ...         sold_out = {"error": "sold out"}
        ...         raise HTTPError(410, sold_out, {"cache-control": "no-store"})
        >>> asyncio.run(Shop().item(7))
        Traceback (most recent call last):
        micropie.HTTPError: 410 Gone
    """

    _detail = ""  # what MicroPie adds to the short text of the status

    def __init__(self, status: int, body: object = None, headers: _Headers | None = None) -> None:
        super().__init__(status, body, headers)
        self.status = status
        self.body = body
        self.headers = headers

    def __str__(self) -> str:
        """Return the text for a log, and for the client if there is no body."""
        text = self.body if isinstance(self.body, str) else _status_text(self.status)
        return f"{text}: {self._detail}" if self._detail else text


class ConnectionClosed(Exception):
    """The other side is gone, or the WebSocket is closed.

    Args:
        code: The close code as the server reports it (RFC 6455 section 7.4), or 1005 if it reports
            none.
        reason: The close reason, ``""`` if there is none.

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


# RFC 9110; Python 3.11 knows older ones.
_NEW_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}


def _status_text(status: int) -> str:
    from http.client import responses

    return f"{int(status)} {_NEW_PHRASES.get(status) or responses.get(status, '')}".rstrip()


def _error(status: int, detail: str = "") -> HTTPError:
    """Return an error of MicroPie itself; its text repeats no value that the client sent."""
    # No body and no content type here: an error page that a middleware makes may be JSON, and needs
    # its own.
    error = HTTPError(status)
    error._detail = detail
    return error


def _is_stray(error: BaseException) -> bool:
    """Whether an exception is an error of the called code, and not a cancellation by the server."""
    # A CancelledError comes from the server only if this very task is being cancelled. Otherwise
    # the code awaited something that was cancelled, for example its own task, and that is an error
    # like any other.
    if isinstance(error, CancelledError):
        task = current_task()
        return not task or not task.cancelling()
    # SystemExit, KeyboardInterrupt and the panic of an extension module are mistakes too. On some
    # servers they would end the process, and with it all other requests. GeneratorExit closes a
    # coroutine that is not awaited to its end.
    return not isinstance(error, GeneratorExit)


def _forget(*errors: BaseException) -> None:
    """Clear the tracebacks of exceptions and of all that led to them.

    An app may keep one exception and raise it in each request. It would collect a traceback each
    time, and with it the frames, the request and its body.
    """
    found = list(errors)
    for error in found:  # grows on the way
        # Not by assignment, which a frozen dataclass refuses.
        BaseException.with_traceback(error, None)
        group: Any = error.exceptions if isinstance(error, BaseExceptionGroup) else ()  # pyright: ignore
        for one in (error.__cause__, error.__context__, *group):
            # Cleared at once, since each level of `raise ... from` leads twice to the next one.
            if one is not None and one.__traceback__ is not None:
                found.append(BaseException.with_traceback(one, None))


# --- JSON -----------------------------------------------------------------------------------------

# OPT_PASSTHROUGH_DATETIME, since orjson rounds odd offsets; OPT_PASSTHROUGH_DATACLASS, since it
# leaves fields out.
_ORJSON_OPTIONS = 512 | 2048


def _json_default(value: Any) -> Any:
    """Return a JSON value for one that JSON does not know, the same with and without orjson."""
    import datetime
    from decimal import Decimal
    from uuid import UUID

    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (datetime.date, datetime.time, Decimal, UUID)):
        return str(value).replace(" ", "T")  # ISO 8601
    if isinstance(value, tuple):  # a named one: orjson passes it to us
        return list(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return _data_of(value)


def _data_of(value: Any) -> Any:
    """Return the data of a model or a dataclass, found by what it offers, as `_json_default`."""
    if not isinstance(value, type):  # the class of a model offers the same
        if hasattr(value, "model_dump"):  # pydantic
            try:
                return value.model_dump(mode="json", fallback=_json_default)
            except TypeError:  # before pydantic 2.11 there is no fallback
                return value.model_dump(mode="json")
        if hasattr(value, "__struct_fields__"):  # msgspec, which is imported if there is a Struct
            return sys.modules["msgspec"].to_builtins(value, enc_hook=_json_default)
        fields = getattr(value, "__attrs_attrs__", None)
        if hasattr(value, "__dataclass_fields__"):
            import dataclasses

            fields = dataclasses.fields(value)
        if fields is not None:
            return {field.name: getattr(value, field.name) for field in fields}
    hint = ": is an await missing?" if isawaitable(value) else ""
    raise TypeError(f"{type(value).__name__} is not JSON serializable{hint}")


@cache
def _json_codec() -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    """Return the functions that encode and decode JSON, those of orjson if it is installed.

    The first raises TypeError or ValueError, the second ValueError. At the extremes (nesting,
    integers beyond 64 bits, lone surrogates) the library decides.
    """
    import json

    # The encoder of the standard library is told to be as strict and as compact as orjson, so that
    # everyday data has the same bytes with and without it.
    encode = json.JSONEncoder(
        ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_json_default
    ).encode
    decode = json.JSONDecoder(parse_constant=int).decode  # `int` refuses NaN and the infinities
    try:
        import orjson
    except ImportError:
        return lambda value: encode(value).encode(), lambda body: decode(body.decode())

    def dumps(value: Any) -> bytes:
        try:
            return orjson.dumps(value, _json_default, _ORJSON_OPTIONS)
        except orjson.JSONEncodeError:
            pass  # for example a large integer, or a key that is no string
        return encode(value).encode()

    return dumps, orjson.loads


def _dump_json(value: Any) -> bytes:
    return _json_codec()[0](value)


def _load_json(body: bytes) -> Any:
    try:
        return _json_codec()[1](body)
    # The standard library raises it for hostile nesting, which is an error of the client.
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


# --- Worker threads -------------------------------------------------------------------------------


# Three pools, so that none can starve another: "handlers", "steps" of plain generators, which may
# keep their threads for as long as they like, and "files", MicroPie's own work.
@cache
def _pool(work: str) -> Any:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(_FILE_THREADS if work == "files" else _THREADS, f"micropie_{work}")


if hasattr(os, "register_at_fork"):  # pragma: no branch
    os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def _run_call(calls: list[Any]) -> Any:
    try:
        return calls.pop()()
    # A future cannot carry StopIteration: the request that waits for it would wait forever (Python
    # 3.11).
    except StopIteration as error:
        raise RuntimeError("a function in a worker thread raised StopIteration") from error


async def _in_thread(
    call: Callable[..., Any], *args: Any, work: str = "files", always: bool = True
) -> Any:
    """Call a blocking function in a worker thread; a cancellation waits until the call is over.

    Args:
        call: The function.
        args: Its arguments.
        work: The pool.
        always: Call it even if the request is cancelled while it is queued.
    """
    calls = [partial(call, *args)]
    if sys.platform == "emscripten":  # Pyodide has no threads
        return _run_call(calls)
    future = get_running_loop().run_in_executor(_pool(work), _run_call, calls)
    try:
        return await asyncio.shield(future)
    except CancelledError:
        # The thread and this request may both want the call. The one that pops it has it.
        with suppress(IndexError):
            if not always:
                calls.pop()
                future.cancel()
        # The thread cannot be stopped. If the request ended first, the function would go on with a
        # closed upload or a session that another request has in the meantime.
        while not future.done():  # it may be cancelled more than once
            with suppress(CancelledError):
                await wait([future])
        if not future.cancelled():
            future.exception()  # marked as seen: asyncio would log it as never retrieved
        raise
    finally:
        # The traceback of its exception leads to this frame, and the cycle would keep the request.
        del future


# --- Sessions -------------------------------------------------------------------------------------

_Change = Callable[[_Data], _Data]


def _typed(value: Any) -> Any:
    """Return a value together with the types of all its parts: ``==`` then tells 1 from True."""
    kind = type(value)  # pyright: ignore[reportUnknownVariableType]
    parts: Any = None
    if issubclass(kind, dict):
        parts = {_typed(key): _typed(item) for key, item in value.items()}
    elif issubclass(kind, (list, tuple)):
        parts = tuple(map(_typed, value))
    elif issubclass(kind, (set, frozenset)):
        parts = frozenset(map(_typed, value))
    # A subclass may have more than its parts, and its own `==`.
    return kind, parts, None if kind in (dict, list, tuple, set, frozenset) else value


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values of a session have the same type and are equal, at every depth."""
    try:
        return bool(_typed(one) == _typed(other))
    except Exception:  # for example the `==` of an array; to save too often does no harm
        return False


class SessionBackend(ABC):
    """Where sessions are kept.

    Two methods are optional. ``async touch(session_id, timeout)`` only moves the expiry of a
    session that exists. ``async update(session_id, change, timeout)`` stores ``change(stored)`` in
    one atomic step: ``change`` is a plain function from dict to dict that can be called again,
    ``{}`` in means that there is no such session, and ``{}`` out deletes it. MicroPie then makes
    every change with it, and no request undoes a logout, or what another one saved meanwhile.
    Without it, MicroPie loads, applies the change and saves, and the moment between is unguarded.

    MicroPie logs the exceptions of all methods, and answers 500.

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

    @abstractmethod
    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a live session, ``{}`` if there is none."""

    @abstractmethod
    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep the data for ``timeout`` seconds from now; saving ``{}`` deletes the session."""


class InMemorySessionBackend(SessionBackend):
    """Sessions in the memory of this process: gone with it, and not shared with other workers.

    It hands out and takes in copies, several threads may use it, and each call removes a bounded
    number of expired sessions.

    Example:
        >>> async def main(backend):
        ...     await backend.save("an-id", {"user": "ada"}, timeout=60)
        ...     return await backend.load("an-id"), await backend.load("another")
        >>> asyncio.run(main(InMemorySessionBackend()))
        ({'user': 'ada'}, {})

    Args:
        clock: Returns the time in seconds and never goes back. A test can pass one that it sets
            forward.
    """

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        # Expiry and data by id, in the order in which they were stored. If all have the same
        # time-out, this is the order of expiry, too; with several, an expired session may wait
        # here, unseen, behind one that lives longer.
        self._sessions: OrderedDict[str, tuple[float, _Data]] = OrderedDict()
        self._lock = threading.RLock()

    async def load(self, session_id: str) -> _Data:
        """Return a copy of the data of a live session, ``{}`` if there is none."""
        with self._lock:
            return deepcopy(self._live(session_id))

    async def save(self, session_id: str, data: _Data, timeout: float) -> None:
        """Keep a copy of the data for ``timeout`` seconds; saving ``{}`` deletes the session."""
        await self.update(session_id, lambda _: data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire ``timeout`` seconds from now."""
        with self._lock:
            self._store(session_id, self._live(session_id), timeout)

    async def update(self, session_id: str, change: _Change, timeout: float) -> None:
        """Replace the data of a session by what ``change`` makes of it, in one step.

        Args:
            session_id: The id.
            change: Gets a copy of the data, ``{}`` if there is no such session, and returns the
                data to keep; ``{}`` deletes the session. It must not wait for anything.
            timeout: The seconds for which the session lives on.
        """
        with self._lock:
            stored = deepcopy(self._live(session_id))
            self._store(session_id, deepcopy(change(stored)), timeout)

    def _live(self, session_id: str) -> _Data:
        now = self._clock()
        # A bounded number per call: removing a million expired sessions at once would pause all
        # requests.
        for oldest in list(itertools.islice(self._sessions, _EXPIRE_STEP)):
            if now < self._sessions[oldest][0]:
                break
            del self._sessions[oldest]
        expiry, data = self._sessions.get(session_id, (now, {}))
        return data if now < expiry else {}

    def _store(self, session_id: str, data: _Data, timeout: float) -> None:
        self._sessions.pop(session_id, None)
        if data:
            self._sessions[session_id] = (self._clock() + timeout, data)


class _Session:
    """The session of one request: the stored data, a snapshot of it, and the changed data."""

    snapshot: _Data | None = None  # None: no code has looked
    # A `blocked` one is never saved, since another origin's page caused the request, or since the
    # backend could not load it.
    renew = blocked = False

    def __init__(self, session_id: str | None = None, data: _Data | None = None) -> None:
        self.id = session_id  # None: not yet known to the backend
        self.data = data or {}

    async def commit(self, backend: SessionBackend, timeout: float) -> str | None:
        """Save what this request changed, and return the id for a new cookie.

        The id is ``""`` to expire the cookie, and None to leave it alone.
        """
        before, data, old = self.snapshot, dict(self.data), self.id
        if before is None or self.blocked:
            return None
        # Another request may have changed the session since this one loaded it. So this one
        # overwrites only the keys that it has changed itself.
        removed = before.keys() - data.keys()
        changed = {
            key: value
            for key, value in data.items()
            if key not in before or not _is_same(before[key], value)
        }
        is_kept, taken = bool(data) and not self.renew, changed

        def change(stored: _Data) -> _Data:
            nonlocal taken
            taken = {key: stored[key] for key in stored if key not in removed} | changed
            # If it is gone, another request has ended the session (a logout), and it stays ended.
            return taken if stored and is_kept else {}

        if old:
            step = change if removed or changed or self.renew else dict
            await _store(backend, old, step, timeout)
            if is_kept:  # most requests end here, since they have only read the session
                return None
        if not data:
            return "" if old else None
        if not taken:  # another request has renewed it, and its cookie stays
            return None
        import secrets

        # Session ids that the backend does not know are never adopted, since an attacker may have
        # planted them. For the same reason a login renews the id, which an attacker may know.
        new = secrets.token_urlsafe(32)
        await _store(backend, new, lambda _: taken, timeout)
        self.id, self.renew = new, False
        return new


async def _store(backend: Any, session_id: str, change: _Change, timeout: float) -> None:
    """Store what ``change`` makes of a session, in one step if the backend can.

    If ``change`` is `dict`, which changes nothing, only the expiry moves.
    """
    if change is dict and hasattr(backend, "touch"):
        await backend.touch(session_id, timeout)
    elif hasattr(backend, "update"):
        await backend.update(session_id, change, timeout)
    else:
        await backend.save(session_id, change(await backend.load(session_id)), timeout)


# --- Uploads --------------------------------------------------------------------------------------


# Bytes, and the name of the setting. Where several apply, `min` finds the one to name.
_Limit = tuple[float, str]


class _Settings(NamedTuple):
    """The limits of one App for what is sent to it."""

    kept: _Limit  # a body in memory or on disk
    streamed: _Limit
    json: _Limit
    field: _Limit  # a text field of a multipart form, or a urlencoded form as a whole
    body_timeout: float | None


def _limit(size: int | None, name: str) -> _Limit:
    if size is None:
        return float("inf"), name
    if not size >= 0:
        raise ValueError(f"{name} is a number of bytes, or None for no limit: {size!r}")
    return size, name


_NO_LIMIT = _limit(None, "")
_NO_LIMITS = _Settings(_NO_LIMIT, _NO_LIMIT, _NO_LIMIT, _NO_LIMIT, None)


def _too_large(limit: _Limit) -> HTTPError:
    return _error(413, f"{limit[1]} is {limit[0]} bytes")


def _check_size(size: int, limit: _Limit) -> None:
    if size > limit[0]:
        raise _too_large(limit)


# Another event loop or another time-out gets a new clock; the old one goes on until no task waits.
@lru_cache(1)
class _Clock:
    """Cancels tasks that have waited too long for a body, with one timer for a whole event loop.

    `asyncio.timeout` would set and cancel a timer for each message, which takes longer than to read
    most bodies. This one looks every eighth of the time-out, so a wait may last an eighth longer.
    """

    _is_set = False  # the timer

    def __init__(self, loop: Any, timeout: float) -> None:
        self._loop = loop
        self._timeout = timeout
        # Since when a task has waited. The clock takes out a task when it cancels it, which is how
        # the task knows that its cancellation means a 408.
        self.waiting: dict[Task[Any], float] = {}

    def add(self, task: Task[Any]) -> float:
        since = self.waiting[task] = self._loop.time()
        if not self._is_set:
            # Not in the context of this request, which the timer would keep.
            Context().run(self._look)
        return since  # type: ignore[no-any-return]

    def _look(self) -> None:
        for task, since in self.waiting.items():
            if self._loop.time() - since >= self._timeout:
                # If the loop was blocked, the message may be there: it is taken first.
                self._loop.call_soon(self._give_up, task, since)
        self._is_set = bool(self.waiting)
        if self._is_set:
            self._loop.call_later(self._timeout / 8, self._look)

    def _give_up(self, task: Task[Any], since: float) -> None:
        if self.waiting.get(task) == since:
            del self.waiting[task]
            task.cancel()


@types.coroutine
def _resumed(begun: Any, step: Any) -> Any:
    """Await the rest of a coroutine, whose first `step` is still to be given to the event loop."""
    try:
        yield step
    except BaseException as error:
        try:
            begun = _resumed(begun, begun.throw(error))
        except StopIteration:
            return  # pragma: no cover - tested, but coverage loses its way in throw()
    yield from begun


class _Ahead:
    """A `receive` whose next message can be looked at before it is taken."""

    # It waits until a message comes, since to cancel it earlier might lose one.
    waiting: Task[_Message] | None = None

    def __init__(self, body: _Body) -> None:
        self.receive = body._receive
        self._body = weakref.proxy(body)  # which has this one, and would be kept by a cycle
        self.taken = monotonic()  # the time of the last message

    async def _next(self) -> Any:
        message = await self.receive()
        # Noted at once, since it takes the event loop some steps to hand the message to the
        # listener, and the stream would send on.
        if message["type"] == "http.disconnect":
            self._body.gone = True
        return message

    def begin(self) -> Task[_Message]:
        """Return the task that has the next message; if there is none, start to wait for it."""
        if not self.waiting:
            self.waiting = create_task(self._next())
        return self.waiting

    async def __call__(self) -> _Message:
        while True:
            waiting = self.begin()
            await wait([waiting])
            if self.waiting is waiting:  # else another task has taken this message
                self.waiting = None
                self.taken = monotonic()
                try:
                    return waiting.result()
                finally:  # an exception leads to this frame, and must not be kept by it
                    del waiting

    async def close(self) -> None:
        """Receive no more."""
        if waiting := self.waiting:
            self.waiting = None  # the task leads back to the request, and would keep it
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


class _Body:
    """The body of one request, and the only owner of ``receive()``.

    It counts, limits and times the bytes that the client sends. At any time at most one reader
    waits in `receive`. First it is the code of the app, through `chunk` or `read`. Then it is
    `drain`, before a response that is not streamed, or the listener in `wait_gone`, beside a
    stream. A body goes through these states, from the top to the bottom:

    ======  =====================  ===============================================================
    state   is known by            a reader gets
    ======  =====================  ===============================================================
    unread  none of the others     the first chunk
    begun   ``started``            the next chunk; from `read`, a RuntimeError once bytes have come
    ended   ``ended``              ``b""``
    kept    ``kept is not None``   the whole body, as often as it asks
    failed  ``failure``            that exception: 413, 408, or a RuntimeError if it was dropped
    gone    ``gone``               ConnectionClosed: the client has left, or the request is over
    ======  =====================  ===============================================================

    ``ended`` and ``kept`` stay when the body fails or the client leaves afterwards. Kept bytes are
    handed out first, then the last state that holds decides.
    """

    limit = _NO_LIMIT
    # `announced` says that the client has told of a body (RFC 9110 section 6.4).
    started = expects_continue = announced = False
    _since = 0.0  # when the last wait for a byte began, by the event loop's clock

    def __init__(self, receive: _Receive | None, settings: _Settings) -> None:
        # Each chunk looks at these. Python finds them faster here than on the class.
        self._receive: Any = receive
        self._settings = settings
        self.size, self.length = 0, -1  # bytes received so far, and what Content-Length says
        self._piece = b""  # received, but not handed out yet
        self.ahead: _Ahead | None = None  # from the first look for a disconnect on
        self.kept: bytes | None = None
        # Makes the exception. An exception itself would keep the frames that it passed, and so all
        # that was read.
        self.failure: Any = None
        self.ended, self.gone = receive is None, False
        # With the first, only `wait_gone` and `drain` receive. With the second, a task is waiting.
        self.is_listened = self._is_waiting = False
        # A future that the listener makes; cancelled when the app reads no more.
        self._free: Any = None

    def expect(self, limit: _Limit) -> _Body:
        """Set the limit, and refuse at once a body that is larger, or says so."""
        self.limit = limit
        if (self.size or self.length) > limit[0]:  # `_check_size`, without a call for each form
            raise _too_large(limit)
        return self

    async def chunk(self) -> bytes:
        """Return the next piece of the body, ``b""`` at its end.

        Past the limit it raises 413, and 408 if no byte came in time.
        """
        if waiting := self._begin():
            await waiting
        piece, self._piece = self._piece, b""
        if not piece and (self.gone or self.failure):
            await sleep(0)  # a loop that asks on would let nothing else run
            raise ConnectionClosed if self.gone else self.failure()
        return piece

    def _begin(self) -> Any:
        """Take the next piece if it is there already; else return what is to be awaited."""
        if self.gone or self.failure or self.ended or self.is_listened:
            return None
        # Turns would be possible, but two tasks that read one stream get pieces in a random order:
        # it is a mistake.
        if self._is_waiting:
            raise RuntimeError("the body is being read by another task")
        self.started = True
        # Most messages are there. They need no clock, which takes longer than all the rest.
        taking = self._take().__await__()
        step = next(taking, _ABSENT)
        if step is _ABSENT:
            return None
        self._is_waiting = True
        return self._in_time(_resumed(taking, step))

    async def _in_time(self, taking: Any) -> None:
        """Await a piece, and give it up after `body_timeout` seconds."""
        # The task is what the clock cancels. Granian can run requests outside of tasks; then there
        # is no time-out.
        timeout: Any = self._settings.body_timeout
        task = current_task() if timeout else None
        if not task:
            return await taking  # type: ignore[no-any-return]
        clock = _Clock(get_running_loop(), timeout)
        cancellations = task.cancelling()
        self._since = clock.add(task)
        try:
            await taking
        except CancelledError:
            # Only the clock's cancellation becomes a 408. If the task was also cancelled by its
            # owner, that one is passed on. `asyncio.timeout` compares the counts in the same way.
            if task not in clock.waiting and task.cancelling() == cancellations + 1:
                self.announced = False  # nothing more is to come, so `drain` does not wait again
                raise self._fail(_error, 408) from None
            raise
        finally:
            # The server may also have swallowed the clock's cancellation.
            if clock.waiting.pop(task, None) is None:
                task.uncancel()
            # The traceback of an error leads to this frame, and the cycle would keep the request.
            del task

    async def _take(self) -> None:
        """Receive the next piece; for `drain`, drop all that is left of the body."""
        try:
            while not (self._piece or self.ended):  # a server may send empty pieces
                message = await self._receive()
                if self._free and not message.get("more_body"):
                    self._free.cancel()
                # A disconnect is no end of a body, since no handler must run on half an upload.
                if message["type"] == "http.disconnect":
                    self.gone = True
                    raise ConnectionClosed
                piece: bytes = message.get("body") or b""
                self.size += len(piece)
                self.ended = not message.get("more_body")
                # After the size is counted, so that one large message cannot slip through.
                if self.size > self.limit[0]:
                    raise self._fail(_too_large, self.limit)
                if not self.is_listened:
                    self._piece = piece
        finally:
            self._is_waiting = False

    def _fail(self, make: Callable[..., Exception], *args: Any) -> Exception:
        """Return the exception that reading raises from now on, unless the body failed before."""
        self.failure = self.failure or partial(make, *args)
        if self._free:
            self._free.cancel()
        return make(*args)

    def drop(self) -> None:
        """Let reading fail from now on; what is left is for `drain` or for the listener."""
        if not (self.ended or self.is_listened):
            self._fail(RuntimeError, "the body was dropped, since nothing read it in time")

    def read(self) -> Any:
        """Keep the whole body if it is there already; else return what is to be awaited."""
        if self.kept is None:
            if self.size:
                self.check_unread()
            waiting = self._begin()
            if not (self._piece and self.ended):
                return self._read_rest(waiting)
            self.kept, self._piece = self._piece, b""
        return None

    async def _read_rest(self, waiting: Any) -> None:
        if waiting:
            await waiting
        # Closed, since a traceback that leads here may be kept for long.
        with BytesIO() as pieces:
            while piece := await self.chunk():
                pieces.write(piece)
            self.kept = pieces.getvalue()

    def chunks(self) -> _Read:
        """Return a function that reads the body from its beginning, whether it was kept or not."""
        if self.kept is not None:
            return partial(_read_store, BytesIO(self.kept))
        self.check_unread()
        return self.chunk

    def check_unread(self) -> None:
        """Raise what is wrong if a reader would not get the whole body."""
        if self.kept is None and not self.gone:
            if self.failure:
                raise self.failure()
            if self.size:
                raise RuntimeError(
                    "the body was read already: as a stream, as a multipart form, or in part"
                )

    async def is_gone(self) -> bool:
        """Look whether the client has left; what comes of a body stays for its reader.

        A body of which no code has read anything for `_IDLE_SECONDS` is dropped.
        """
        await sleep(0)  # a loop that only looks would let nothing else run
        if not self._receive:
            return self.gone
        ahead = self._look_ahead()
        # Else a body is kept for its reader.
        if not self._is_waiting and monotonic() > ahead.taken + _IDLE_SECONDS:
            self.drop()
        # To receive would ask for a body that waits for 100-continue.
        is_silent = self.expects_continue and not (self.started or self.failure)
        # Another receiver tells it too.
        while not (self.gone or self._is_waiting or self.is_listened or is_silent):
            waiting = ahead.begin()
            await sleep(0)
            # A reader that came meanwhile takes it, or another look has.
            if self._is_waiting or not waiting.done() or waiting is not ahead.waiting:
                break
            message = waiting.result()
            is_unread = message.get("body") or message.get("more_body")
            if self.gone or self.ended or (is_unread and not self.failure):
                break
            self.ended, ahead.waiting = not message.get("more_body"), None
        return self.gone

    def _look_ahead(self) -> _Ahead:
        self.ahead = self._receive = self.ahead or _Ahead(self)
        return self.ahead

    def receive_again(self) -> _Receive:
        """Return a `receive` for a mounted app that starts with the body that was kept."""
        kept = [self.kept or b""] if self.ended else []

        async def receive() -> Any:
            if kept:
                return {"type": "http.request", "body": kept.pop(), "more_body": False}
            return await self._receive()

        return receive

    async def drain(self) -> None:
        """Drop the rest of an announced body; some clients look for the response only after it."""
        # A client that sent `Expect: 100-continue` sends nothing until a server asks for it: there
        # is nothing to drain.
        is_silent = self.expects_continue and not self.started
        if self.ended or self.gone or self._is_waiting or is_silent or not self.announced:
            return
        self.drop()
        self.limit, self.is_listened = (self.size + _DRAIN_SIZE - 1, ""), True
        with suppress(Exception):
            await self._in_time(self._take())

    async def wait_gone(self) -> None:
        """Wait until the client leaves, as the listener beside a stream.

        As long as the app may read an announced body, `receive` is the app's: the listener waits
        until the body has ended or failed. It drops a body that no code has begun to read
        `_UNREAD_SECONDS` after the headers; the stream calls `drop` if that is so at its first
        chunk. It drops the rest of one that was begun if no code has asked for a byte from one
        look to the next, `_IDLE_SECONDS` later. An unannounced body counts as ended.
        """
        # Two calls of `receive` at the same time would steal messages from each other. So the
        # listener waits until the handler's stream has read the body to its end, or has shown that
        # it does not read it.
        if not (self.is_listened or self.ended or self.failure):
            self._free, seen = Future(), None
            while not (self._free.done() or self.ended or self.gone):
                seconds = _IDLE_SECONDS if self.started else _UNREAD_SECONDS
                await wait([self._free], timeout=seconds)
                mark = self._since, self.size
                if not self.started or (mark == seen and not self._is_waiting):
                    self.drop()
                seen = mark
        self.is_listened = True
        # The end of the stream ends the listener, and some servers lose the message for which a
        # cancelled `receive` has waited. `drain` would wait for it in vain.
        if self.announced and not self.ended:
            self._look_ahead()
        # The rest of the body comes before the disconnect, and is dropped.
        while not self.gone:
            was_ended = self.ended
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone = True
            elif was_ended:
                return  # this server does not tell that the client has left
            self.ended = not message.get("more_body")
            if self.ended and self.ahead:  # a task more for each open stream would take 2 KiB
                self._receive = self.ahead.receive


class _Content:
    """The chunks of a file or a body, and then None, as often as it is asked."""

    is_begun = False

    def __init__(self, begin: Callable[[], _Read]) -> None:
        self._begin = begin

    @cached_property
    def _read(self) -> _Read:
        # Looked up at the first chunk, since other code may have read the body until then.
        self.is_begun = True
        return self._begin()

    async def get(self) -> bytes | None:
        """Return the next chunk, None at the end and after it.

        Raises:
            ConnectionClosed: The client left before the file was whole.
        """
        return await self._read()

    # No asynchronous generator. If one is left before its end, asyncio closes it later in a task.

    def __aiter__(self) -> _Content:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._read()
        if not piece:
            raise StopAsyncIteration
        return piece


class UploadedFile(dict[str, Any]):
    """An uploaded file: a dict with ``filename``, ``content_type`` and ``content``, and methods.

    ``content`` is an object whose ``await get()`` returns the next chunk of ``bytes``, and None at
    the end. A file that streams into its handler is read from the client when the handler asks, by
    ``content``, ``async for``, `read` or `save`. Any other file has been received before the
    handler is called, and is also there as `file`.

    Args:
        filename: The name that the client gave.
        content_type: The media type that the client gave.
        content: The object that gives out the chunks; None: they come from ``file``.
        file: The received content as a binary file.

    Attributes:
        filename (str): The last component of the client's name; joined to a folder, it stays in the
            folder.
        raw_filename (str): The name that the client sent, unchanged. Show it escaped only, and
            never use it in a path.
        content_type (str): The media type that the client gave, ``application/octet-stream`` if it
            gave none.

    Example:
        >>> file = UploadedFile("../../cat.png", "image/png", file=io.BytesIO(b"meow"))
        >>> file.filename, file.raw_filename, asyncio.run(file.read(limit=2**20))
        ('cat.png', '../../cat.png', b'meow')
    """

    def __init__(
        self,
        filename: str,
        content_type: str = "application/octet-stream",
        content: Any = None,
        *,
        file: BinaryIO | None = None,
    ) -> None:
        if content is None:
            content = _Content(lambda: partial(_read_store, file))
        self.filename = _safe_filename(filename)
        self.raw_filename = filename
        self.content_type = content_type
        super().__init__(filename=self.filename, content_type=content_type, content=content)
        self._file = file
        self._turn = asyncio.Lock()  # all that read the whole of a file share its position

    @property
    def file(self) -> BinaryIO:
        """The received content as a binary file object, closed at the end of the request.

        Raises:
            RuntimeError: The file streams into this handler: use `read`, `save` or ``async for``.
        """
        if not self._file:
            raise RuntimeError("this file streams from the client: use read(), save() or async for")
        return self._file

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Iterate over the chunks."""
        if self._file:
            self._file.seek(0)
        content = self["content"]
        return content if isinstance(content, _Content) else _Content(lambda: content.get)

    async def read(self, limit: int | None = None) -> bytes:
        """Return the whole content.

        Args:
            limit: The most bytes to take.

        Raises:
            HTTPError: 413, the file is larger than ``limit``.
            ConnectionClosed: The client left before the file was whole.
            RuntimeError: The file streams, and at least a part of it was read before.
        """
        return bytes(await self._collect(limit))

    async def save(self, path: str | os.PathLike[str], limit: int | None = None) -> None:
        """Write the content to a file, which appears only when it is whole.

        Args:
            path: Where to; an existing file is replaced.
            limit: The most bytes to take.

        Raises:
            HTTPError: 413, the file is larger than ``limit``.
            ConnectionClosed: The client left before the file was whole.
            OSError: The file system refused.
            RuntimeError: The file streams, and at least a part of it was read before.
        """
        # In the same folder, since os.replace is atomic only within one file system.
        partial = join(dirname(path), f".{os.urandom(8).hex()}.part")
        try:
            with open(partial, "xb") as out:
                await _in_thread(out.write, await self._collect(limit, out))
            await _in_thread(os.replace, partial, path)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(partial)
            raise

    async def _collect(self, limit: int | None, out: BinaryIO | None = None) -> bytearray:
        """Return the content, or the end of it that was not yet written to ``out``."""
        bound, size, batch = _limit(limit, "limit"), 0, bytearray()
        async with self._turn:
            # A file that streams has passed by once it was read. A second reader would get the
            # rest, or nothing, and take it for the file.
            if not self._file and getattr(self["content"], "is_begun", False):
                await sleep(0)
                raise RuntimeError(
                    "this file streams from the client, and at least a part of it was read already"
                )
            async for piece in self:
                batch += piece
                size += len(piece)
                _check_size(size, bound)
                # Not each piece by itself, since a thread hop costs more than to write 64 KiB.
                if out and len(batch) >= _SPOOL_SIZE:
                    await _in_thread(out.write, batch)
                    batch = bytearray()
        return batch


async def _read_store(store: Any) -> bytes | None:
    # Memory is read at once; a file on disk may block, and is read in a thread, 256 KiB at a time.
    if isinstance(store, BytesIO):
        return store.read(_CHUNK_SIZE) or None
    place = store.tell()
    try:
        return await _in_thread(store.read, 4 * _CHUNK_SIZE) or None
    except BaseException:
        store.seek(place)  # the reader may ask again, for example after a time-out
        raise


def _safe_filename(raw: str) -> str:
    """Return the last component of a client's file name, ``file`` if nothing usable is left."""
    name = "".join(char for char in raw.replace("\\", "/").rpartition("/")[2] if char.isprintable())
    name = name.encode()[-255:].decode(errors="ignore")  # the most that file systems take
    # A drive of Windows leaves the folder too, and Python takes any character for one.
    name = re.sub(r"^(?:\s*.:)+", "", name).strip()
    return name if name.strip(".") else "file"


@cache
def _parser_type(multipart: Any) -> Any:
    # It would let some forms pass or not, as the network has cut the body.
    class Parser(multipart.PushMultipartParser):  # type: ignore[misc]
        def parse(self, chunk: bytes) -> Iterator[Any]:
            before = b"" if self._segment_count else self._buffer + chunk  # type: ignore  # pyright: ignore
            yield from super().parse(chunk)  # pyright: ignore[reportUnknownMemberType]
            if not self._segment_count:  # pyright: ignore
                # All that can belong to the first boundary, with the line end before it.
                self._buffer = before[-1 - len(self._delimiter) :]  # pyright: ignore

        def _on_segment_headerline(self, line: bytes) -> None:
            if len(line.partition(b"\n")[0]) > _MAX_PART_HEADER_SIZE:
                raise multipart.ParserLimitReached("Maximum segment header length exceeded")
            if b"\r" in line or b"\n" in line:
                raise multipart.ParserError("a bare CR or LF in a header")
            # A folded line counts as a field, since the parser reads the whole header again for it.
            self._segment_count += line[0] in b" \t"  # pyright: ignore
            super()._on_segment_headerline(line)  # pyright: ignore[reportUnknownMemberType]

    return Parser


# Of a form field. MicroPie looks up no other name, since Python keeps each unknown one for good.
# "idna" and "punycode", which take quadratic time, are not among these. UTF-7 makes halves of
# characters, which no response can send.
_UTF_7 = {"utf_7", "utf7", "u7", "unicode_1_1_utf_7"}
_CHARSETS = {"koi8_u", *aliases.aliases.values(), *aliases.aliases} - _UTF_7


def _utf8(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "replace")


class _MultipartForm:
    """Parses a multipart body (RFC 7578), part by part and only as far as it is asked to."""

    _kept = 0  # bytes that went into memory or to disk
    # While it `_streams`, the present part is a file that its handler reads. Once it `_is_cut`, the
    # rest was not read, and will not be.
    _is_on_disk = _streams = _is_cut = False

    def __init__(self, chunk: _Read, boundary: bytes, settings: _Settings) -> None:
        try:
            import multipart
        except ImportError as error:
            raise RuntimeError(
                'uploads need the package multipart: pip install "micropie[standard]"'
            ) from error
        self._errors: Any = multipart
        # Headers are decoded as latin-1, which keeps every byte, and by `_utf8` afterwards.
        self._parser: Any = _parser_type(self._errors)(
            boundary,
            header_charset="latin-1",
            max_header_size=_MAX_PART_HEADER_SIZE + 1,  # the CR may come without the LF
            max_header_count=_MAX_PART_HEADERS,
            max_segment_count=_MAX_FIELDS,
        )
        self._chunk = chunk
        self._settings = settings
        self._events: Iterator[Any] = iter(())
        self.fields: _Values = {}
        self.files: dict[str, list[UploadedFile]] = {}
        self._stores = ExitStack()

    async def _event(self) -> Any:
        """Return a part's head, a piece of it, or None at its end; ``b""`` after the last one."""
        try:
            while True:
                for event in self._events:
                    return event
                piece = await self._chunk()
                if not piece:
                    self._parser.close()
                    return b""
                self._events = self._parser.parse(piece)
        except self._errors.MultipartError as error:
            error.__traceback__ = None  # the parser keeps the error, and so would keep this form
            await sleep(0)  # a loop that asks on would let nothing else run
            if isinstance(error, self._errors.ParserLimitReached):
                more = f"more than {_PARSER_LIMITS.get(str(error), 'the parser takes')}"
                raise _error(413, more) from None
            raise _error(400, "Malformed multipart body") from None

    async def run(self, streams: Callable[[str], bool] = lambda name: False) -> bool:
        """Read parts; return True when a file that streams starts, and False at the end."""
        while segment := await self._event():
            name = _utf8(segment.name)
            if not name:
                raise _error(400, "Malformed multipart body")
            if segment.filename is None:
                await self._take_field(name, segment.charset or "utf-8")
                continue
            first = await self._event()
            # A browser also sends a part, without a name and content, for a file input left empty.
            if segment.filename == "" and first is None:
                continue
            self._events = itertools.chain([first], self._events)
            self._streams = streams(name)
            content = _Content(lambda: self._stream) if self._streams else None
            store = None if self._streams else await self._spool()
            content_type = _utf8(segment.header("Content-Type") or "application/octet-stream")
            file = UploadedFile(_utf8(segment.filename), content_type, content, file=store)
            self.files.setdefault(name, []).append(file)
            if self._streams:
                return True
        return False

    def _keep(self, piece: bytes) -> None:
        self._kept += len(piece)
        _check_size(self._kept, self._settings.kept)

    async def _take_field(self, name: str, charset: str) -> None:
        content = bytearray()
        while (piece := await self._event()) is not None:
            content += piece
            self._keep(piece)
            _check_size(len(content), self._settings.field)
        try:
            charset = normalize_encoding(charset).lower()
            if charset not in _CHARSETS:
                raise LookupError
            self.fields.setdefault(name, []).append(content.decode(charset))
        except (LookupError, ValueError):  # unknown, or bytes that do not fit
            raise _error(400, "A form field is not in its charset") from None

    async def _spool(self) -> BinaryIO:
        """Keep a file in memory as long as it is small, else in a temporary file."""
        store: BinaryIO = self._stores.enter_context(BytesIO())
        while (piece := await self._event()) is not None:
            self._keep(piece)
            if isinstance(store, BytesIO):
                store.write(piece)
                if store.tell() <= _SPOOL_SIZE:
                    continue
                import tempfile

                piece = store.getvalue()
                store.close()
                store = self._stores.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
                self._is_on_disk = True
            await _in_thread(store.write, piece)
        store.seek(0)
        return store

    async def _stream(self) -> bytes | None:
        """Return the next piece of the file that streams; at its end read the rest of the form."""
        # The reader of a streamed file reads the rest of the form too, in `run` below. If its task
        # was cancelled there, the fields are incomplete, and must not be taken for the whole form.
        if self._is_cut:
            await sleep(0)
            raise RuntimeError(
                "the rest of the form was not read: the task that read it was stopped"
            )
        if self._streams:
            piece = await self._event()
            if piece is not None:
                return piece  # type: ignore[no-any-return]
            self._is_cut, self._streams = True, False
            await self.run()
            self._is_cut = False
        return None

    async def close(self) -> None:
        """Let go of everything, at the end of the request."""
        self.files = {}  # they lead back here, and would wait for the garbage collector
        # Closing a temporary file deletes it from the disk, which may block.
        with suppress(OSError):  # it first writes what a full disk has not taken
            if self._is_on_disk:
                await _in_thread(self._stores.close)
        self._stores.close()


# --- Request --------------------------------------------------------------------------------------

_NOTED_HEADERS = {b"content-type", b"cookie", b"content-length", b"transfer-encoding", b"expect"}


class _HeaderMap(Mapping[str, str]):
    """Values by lower-case names that are looked up in any letter case."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> str:
        return self._values[str(name).lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def _parse_cookies(header: str) -> _Cookies:
    """Parse a Cookie header (RFC 6265 section 5.4); of the same name, the first one is used."""
    cookies: _Cookies = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        if equals and (name := name.strip(" \t")):
            cookies.setdefault(name, value.strip(" \t"))
    return cookies


def _parse_pairs(data: bytes) -> _Values:
    """Parse a query string or a urlencoded form; bytes that are not UTF-8 become U+FFFD."""
    # The escapes become those of Python, since C code decodes these. `urllib.parse.unquote` takes
    # four times as long, and 160 bytes for each escape.
    text = data.decode("utf-8", "replace").replace("\\", r"\\").replace("%", r"\x")
    # Split into one more than that at most, so that the work stays linear, and small.
    texts = text.replace("+", " ").split("&", _MAX_FIELDS)
    if len(texts) > _MAX_FIELDS:
        raise _error(413, f"more than {_MAX_FIELDS} fields")
    pairs: _Values = {}
    for pair in texts:
        if pair:
            name, _, value = pair.partition("=")
            # Decoded after the split, or `%26` would separate fields.
            try:
                if "\\" in value:
                    value = codecs.escape_decode(value)[0].decode("utf-8", "replace")
                if "\\" in name:
                    name = codecs.escape_decode(name)[0].decode("utf-8", "replace")
            except ValueError:  # a stray `%`, which stays
                # As text, since `re` takes more memory for bytes.
                text = re.sub("%(?![0-9A-Fa-f]{2})", "%25", data.decode("latin-1"))
                return _parse_pairs(text.encode("latin-1"))
            pairs.setdefault(name, []).append(value)
    return pairs


def _quoted(text: str, safe: str) -> str:
    """Percent-encode all but letters, digits, ``_.-~`` and what is safe."""
    from urllib.parse import quote

    return quote(text, safe, errors="replace")


class Request:
    """The request that a handler answers: ``self.request``, or `current_request` elsewhere.

    Any other attribute may be set on it, as ``request.user = ...`` in a middleware.

    Args:
        scope: The ASGI scope. A minimal one is enough for a test:
            ``current_request.set(Request({"type": "http"}))``.

    Attributes:
        scope (dict[str, Any]): The ASGI scope.
        method (str): ``"GET"``, ``"POST"``, and so on.
        path_params (list[str]): The segments of the path after the handler's.
        route_handler (str | None): Name of the handler, or None if the path matches none. A
            ``before_request`` can set it, and `path_params`, to choose another handler, also a
            private one.

    Example:
        >>> request = Request({"type": "http", "query_string": b"q=tea&page=2&page=3"})
        >>> request.query("q"), request.query_params["page"], request.get_json
        ('tea', ['2', '3'], {})
    """

    if TYPE_CHECKING:  # any other attribute may be set on it

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    # The class keeps a slot's descriptor, so that it can have other names, as below.
    __slots__ = "__dict__", "__weakref__", "route_handler"

    # A plain request never needs these. They stay on the class until they are set, and cost it
    # nothing.
    _added: _RawHeaders = []  # to the response of that app
    _cookies: Any = b""  # the cookie headers
    _parse_error: tuple[int, str] | None = None  # of a body that cannot be parsed
    _is_lenient = False  # such a body reads as empty
    _members: _Values | None = None  # of a JSON object, as text
    _files: Any = {}  # lists of uploads by name, of a form
    _errors: tuple[BaseException, ...] = ()  # that led to the response, the last one to this one

    def __init__(
        self, scope: _Scope, _receive: _Receive | None = None, _settings: _Settings = _NO_LIMITS
    ) -> None:
        self.scope = scope
        headers = scope.get("headers")
        # ASGI allows an iterator, which only the first look would find.
        if headers.__class__ is not list:
            scope["headers"] = list(headers or ())
        self.method: str = scope.get("method") or "GET"
        self.path_params: list[str] = []
        self.route_handler: str | None = None
        self._body: Any = None  # a _Body, made where a body is announced or asked for
        self._session: _Session | None = None
        self._asked: Any = ()  # the middlewares whose after_ is to be called
        self._is_multipart = False  # the body is a form that is still on the wire
        self._mount: Any = None  # the key in `mounts` of the app that takes over
        self._unparsed = ""  # the kind of a body that was read, until it is parsed
        self._fields: _Values | None = None  # of a form
        self._value: Any = _ABSENT  # of a JSON body
        self._query: _Values | None = None
        self._receive = _receive
        self._settings = _settings
        self._content_type = b""
        self._multipart: _MultipartForm | None = None

    def __refuse_subapp(self, app: object) -> NoReturn:
        raise AttributeError("request._subapp does nothing here: put the app into app.mounts")

    # The middleware of another package sets it. If MicroPie took no notice, each visitor would see
    # the page of another app.
    _subapp = property(None, __refuse_subapp)

    @property
    def exception(self) -> BaseException | None:
        """In ``after_request``, the exception that led to the response; otherwise None.

        It is an `HTTPError` for the responses that MicroPie itself makes, such as 404.
        """
        return self._errors[-1] if self._errors else None

    @property
    def query_params(self) -> _Values:
        """All values of each name in the query string."""
        if self._query is None:
            query = self.scope.get("query_string")
            self._query = _parse_pairs(query) if query else {}
        return self._query

    def _parse(self) -> None:
        """Parse the body at the first look, and raise what is wrong with it at every look."""
        if self._unparsed and not self._parse_error:
            body = self._body.kept or b""  # nothing is kept of one that was refused
            try:
                if self._unparsed == "form":
                    self._fields = _parse_pairs(body)
                elif body:
                    self._value = _load_json(body)
                self._unparsed = ""
                return
            except HTTPError as error:
                self._parse_error = error.status, error._detail
            except ValueError:
                self._parse_error = 400, "Invalid JSON"
        if self._parse_error and not self._is_lenient:
            raise _error(*self._parse_error)

    @property
    def body_params(self) -> _Values:
        """All values of each form field; of a JSON object, its members as text."""
        self._parse()
        if self._fields is not None:
            return self._fields
        body = self._value
        if not self._members and dict is body.__class__:
            try:
                self._members = {
                    name: [
                        item if isinstance(item, str) else _dump_json(item).decode()
                        for item in (value if list is value.__class__ else [value])
                    ]
                    for name, value in body.items()
                }
            except (ValueError, RecursionError):  # nested too deeply, or half of a character
                if not self._is_lenient:
                    raise _error(400, "Invalid JSON") from None
        return self._members or {}

    @property
    def get_json(self) -> Any:
        """The parsed JSON body, any JSON value; ``{}`` if there is none."""
        return self.json()

    @property
    def files(self) -> dict[str, UploadedFile]:
        """The uploaded files, the first of each name."""
        return {name: files[0] for name, files in self._files.items()}

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """The headers, looked up in any letter case; repeated ones are joined by ``", "``."""
        values: _Values = {}
        # Headers are bytes without an encoding (RFC 9110 section 5.5); latin-1 keeps every byte.
        for name, value in self.scope.get("headers", ()):
            values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        # Cookies are joined as RFC 9113 section 8.2.3 says.
        return _HeaderMap(
            {
                name: ("; " if name == "cookie" else ", ").join(lines)
                for name, lines in values.items()
            }
        )

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies; of those with the same name the first counts."""
        return _parse_cookies(self.headers.get("cookie", ""))

    @property
    def session(self) -> _Data:
        """The session; what this request changes in it is saved when the handler is done."""
        return self.__looked_session().data

    @session.setter
    def session(self, value: _Data) -> None:
        self.__looked_session().data = value

    def regenerate_session(self) -> None:
        """Give the session a new id at the end of this request; call it at login."""
        self.__looked_session().renew = True

    def __looked_session(self) -> _Session:
        session = self._session = self._session or _Session()
        if session.snapshot is None:
            session.snapshot = deepcopy(session.data)
        return session

    def query(self, name: str, default: Any = None) -> Any:
        """Return the first value of that name in the query string."""
        return (self.query_params.get(name) or [default])[0]

    def form(self, name: str, default: Any = None) -> Any:
        """Return the first value of that form field."""
        return (self.body_params.get(name) or [default])[0]

    def json(self, name: str | None = None, default: Any = None) -> Any:
        """Return the parsed JSON body, or one member of it if it is an object."""
        self._parse()
        body = self._value
        if name is not None:
            return body.get(name, default) if isinstance(body, dict) else default  # pyright: ignore
        if body is _ABSENT:
            return {} if default is None else default
        return body

    async def body(self) -> bytes:
        """Return the raw body, also after it was parsed as JSON or as a urlencoded form.

        Raises:
            HTTPError: 413 past ``max_body_size``, 408 when nothing came for ``body_timeout``
                seconds.
            ConnectionClosed: The client left in the middle of the body.
            RuntimeError: The body was read as a stream or as a multipart form.
        """
        body = self._body_reader().expect(self._settings.kept)
        if reading := body.read():
            await reading
        return body.kept  # type: ignore[return-value]  # pyright: ignore[reportReturnType]

    def stream(self) -> AsyncIterator[bytes]:
        """Iterate over the raw body as it comes.

        Raises:
            HTTPError: 413 past ``max_upload_size``, 408 when nothing came for ``body_timeout``
                seconds.
            ConnectionClosed: The client left in the middle of the body.
            RuntimeError: It was streamed already, in part or whole: keep the iterator to go on with
                it.
        """
        body = self._body_reader().expect(self._settings.streamed)
        body.check_unread()
        return _Content(body.chunks)

    async def is_disconnected(self) -> bool:
        """Return whether the client has left; False as long as an announced body is unread.

        MicroPie drops a body of which no code has read anything for 30 seconds, from the first look
        on.
        """
        return await self._body_reader().is_gone()

    def _body_reader(self) -> _Body:
        if not self._body:
            body = self._body = _Body(self._receive, self._settings)
            # HTTP/2 and HTTP/3 need no header for a body, so the method tells.
            version = self.scope.get("http_version") or ""
            body.announced = version >= "2" and self.method not in ("GET", "HEAD")
        return self._body  # type: ignore[no-any-return]

    def _read(self) -> Any:
        """Read a body of JSON or of a urlencoded form; return what is to be awaited, or None."""
        if self._body and self._body.length < -1:
            raise _error(400, "Invalid Content-Length")
        if self._mount is not None:
            return None
        media_type = self._content_type.partition(b";")[0].strip().lower()
        if media_type == b"application/x-www-form-urlencoded":
            self._unparsed, limit = "form", self._settings.field
        elif media_type == b"application/json" or media_type.endswith(b"+json"):
            self._unparsed, limit = "json", self._settings.json
        else:
            self._is_multipart = media_type == b"multipart/form-data"
            return None
        return (self._body or self._body_reader()).expect(limit).read()

    def _note_header(self, name: bytes, value: bytes) -> None:
        """Note a cookie, the media type, or the body that a header announces."""
        if name == b"content-type":
            # A request with two types has none, since MicroPie and a proxy might choose
            # differently.
            self._content_type = b"," if self._content_type else value
            return
        if name == b"cookie":
            self._cookies = self._cookies or bytearray()  # bytes would be copied for each line
            self._cookies += b";" + value
            return
        body = self._body_reader()
        if name == b"content-length":
            if value:  # WSGI bridges send an empty one if there is none
                length = int(value) if value.isdigit() and len(value) < 19 else -2
                # Two lengths that differ are an attack, since a proxy in front may believe the
                # other one (RFC 9112 section 6.3).
                body.length = length if body.length in (-1, length) else -2
                if body.length > 0:
                    body.announced = True
        elif name == b"transfer-encoding":
            body.announced = True
        else:
            body.expects_continue = value.lower() == b"100-continue"


# The middleware of another package sets these. A guard of which MicroPie took no notice would let
# every visitor in.
if not TYPE_CHECKING:  # pragma: no branch
    Request._route_handler = Request._ws_route_handler = Request.route_handler


class WebSocketRequest(Request):
    """The handshake of a WebSocket, as `Request` describes it.

    Example:
        >>> headers = [(b"origin", b"https://example.com")]
        >>> scope = {"type": "websocket", "headers": headers}
        >>> WebSocketRequest(scope).headers["Origin"]
        'https://example.com'
    """


current_request: ContextVar[Request] = ContextVar("current_request")
"""The request that is being answered here; a test sets it, and calls a handler like any method.

Example:
    >>> class Root(App):
    ...     async def hello(self):
    ...         return {"hello": self.request.query("name")}
    >>> scope = {"type": "http", "query_string": b"name=Ada"}
    >>> token = current_request.set(Request(scope))
    >>> asyncio.run(Root().hello())
    {'hello': 'Ada'}
    >>> current_request.reset(token)
"""


# --- WebSocket ------------------------------------------------------------------------------------


class WebSocket:
    """One WebSocket, the first argument of a ``ws_`` handler.

    Receiving and sending raise ConnectionClosed once the socket is closed, from either side, and
    RuntimeError before `accept`, unless a method says otherwise.

    Args:
        receive: The ASGI receive callable.
        send: The ASGI send callable.

    Attributes:
        accepted (bool): Whether `accept` was called.
        session_id (str | None): The id of the session that the client's cookie names; None if there
            is no such session.
        subprotocols (list[str]): The subprotocols that the client offers.

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

    # Most sockets never need these. Each message needs those that are set on the socket itself,
    # where Python finds them faster.
    # The first is True once websocket.connect was received, the second while a look is due.
    _is_connected = _is_timed = accepted = False
    _patience = _LOOKS  # from one step of the watch to the next, see `_look`
    _task: Any = None  # the handler's; None: it is not watched, see `_look`
    _watcher: Any = None
    _left: Any = None  # the handler's task, cancelled since its client has left
    _stop: Any = None  # what a cancellation by the server says
    _limits = _NO_LIMITS
    _on_accept: Any = None  # saves the session, returns more headers
    _over: tuple[int, str] | None = None  # code and reason, once it is closed
    _ahead: list[_Message] | None = None  # what the watcher has received
    session_id: str | None = None

    def __init__(self, receive: _Receive, send: _Send) -> None:
        self._receive = receive
        self._send = send
        # `receive` and `send` of the server, from `accept` to `close`. The first until `receive_*`
        # has told of the end, or the watch starts. After a send that failed, it still brings the
        # messages before the end. The second until the end is known.
        self._direct: Any = None
        self._out: Any = None
        self._waits = 0  # tasks in `receive_*`
        self._looks = 0  # at the handler, since one has left `receive_*`
        self.subprotocols: list[str] = []

    async def accept(self, subprotocol: str | None = None, session_id: str | None = None) -> None:
        """Complete the handshake.

        Args:
            subprotocol: The one of `subprotocols` that you choose.
            session_id: The session id for the client's cookie. By default MicroPie sets the cookie
                if there is a new session that is not empty.

        Raises:
            RuntimeError: The socket was accepted already.
            ConnectionClosed: The client has left.
            ValueError: ``session_id`` is not 1 to 128 letters, digits, ``_`` and ``-``.
        """
        if session_id is not None and not fullmatch(_SESSION_ID, session_id):
            raise ValueError(f"not the session id of a cookie: {session_id!r}")
        if self.accepted:
            raise RuntimeError("this WebSocket was accepted already")
        if self._over:
            await sleep(0)  # a loop that asks on would let nothing else run
        self._check_not_over()
        # The ASGI server waits with `websocket.connect` until the app asks for it. It comes only
        # once, and `accept` may be called again after an error.
        if not self._is_connected:
            self._content_of(await self._receive())
            self._is_connected = True
        headers: _RawHeaders = []
        if self._on_accept:
            headers = await self._on_accept(self, session_id)
        elif session_id:  # outside of an App
            headers = [_raw_header(*set_cookie("session_id", session_id))]
        self._check_not_over()  # another task may have closed it while the session was saved
        try:
            await self._send(
                {"type": "websocket.accept", "subprotocol": subprotocol, "headers": headers}
            )
        except OSError as error:
            raise self._end() from error
        self.accepted = True
        self._on_accept = None  # a socket may be open for hours, and has no more use for it
        self._direct, self._out = self._receive, self._send
        self._looks = 1  # the next look counts
        self._rest()

    async def receive_text(self) -> str:
        """Return the next message, a string; raise ValueError if it is binary."""
        message = await self.__anext__(False)
        if not isinstance(message, str):
            raise ValueError("expected a text message, got a binary one")
        return message

    async def receive_bytes(self) -> bytes:
        """Return the next message, a binary one; raise ValueError if it is text."""
        message = await self.__anext__(False)
        if isinstance(message, str):
            raise ValueError("expected a binary message, got a text")
        return message

    async def receive_json(self) -> Any:
        """Return the next message, parsed as JSON; raise ValueError if it is not JSON.

        Raises:
            HTTPError: 413, it is larger than the app's ``max_json_size``.
        """
        message = await self.__anext__(False)
        body = message.encode() if isinstance(message, str) else message
        _check_size(len(body), self._limits.json)
        return _load_json(body)

    def __aiter__(self) -> WebSocket:
        """Iterate over the messages, strings and bytes."""
        return self

    async def __anext__(self, _iterates: bool = True) -> str | bytes:
        """Return the next message; the iteration ends when the socket is closed."""
        try:
            receive = self._direct
            if receive is None:
                if self._ahead is None:  # closed, or told of the end, or not accepted yet
                    # A loop that goes on would let nothing else run. It does not count as a wait.
                    await sleep(_LOOK_SECONDS)
                    self._raise_closed()
                receive = self._receive_ahead
            self._waits += 1
            try:
                message = await receive()
            finally:
                self._waits -= 1
                if self._looks:  # there was one since the last message, or none is to come
                    self._looks = 0
                    self._rest()
            if self._direct is self._ahead:  # both are None: it was closed meanwhile
                self._raise_closed()
            text = message.get("text")  # most messages are text
            return self._content_of(message) if text is None else text
        except ConnectionClosed:
            # A server that is a client itself may let the exception of its connection out. That
            # is an error, not the end of this socket.
            if not self._over or not _iterates:
                raise
            # It may go unnoticed, unlike an exception.
            self._patience = 2 * _LOOKS
            raise StopAsyncIteration from None

    async def send_text(self, data: str, _kind: str = "text") -> None:
        """Send a text message."""
        # Most messages are text, and a call of a helper would take as long as the rest of this one.
        try:
            send = self._out
            if not send:
                self._raise_closed()
            await send({"type": "websocket.send", _kind: data})
        except OSError as error:
            raise self._end() from error
        finally:
            if next(_turns):  # a loop that only sends, or fails to, would let nothing else run
                await sleep(0)

    async def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        await self.send_text(data, "bytes")  # type: ignore[arg-type]

    async def send_json(self, data: Any) -> None:
        """Send a value as JSON, in a text message; raise TypeError if JSON has no form for it."""
        await self.send_text(_dump_json(data).decode())

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the socket; before `accept`, refuse it. Closing twice is harmless.

        Args:
            code: The close code, one that may be sent (RFC 6455 section 7.4). If the server refuses
                it, MicroPie closes with 1000.
            reason: Cut at 123 bytes of UTF-8.

        Raises:
            ValueError: A code that must not be sent.
        """
        if not (1000 <= code < 1004 or 1007 <= code < 1015 or 3000 <= code < 5000):
            raise ValueError(f"{code} is no close code that may be sent")
        try:
            await self._close(code, reason)
        except Exception:  # Daphne refuses the codes from 1001 to 1014, and leaves the socket open
            await self._send(_close_message(1000, reason))

    async def _close(self, code: int, reason: str | None = None) -> None:
        message = _close_message(code, reason)  # raises if the reason is no string
        # Set before the message is sent, so that a task that sends or receives sees it at once.
        self._direct = self._ahead = None
        over = self._over
        self._end(*(over or (code, reason or "")))
        if not over:
            if self._watcher:
                self._watcher.cancel()  # Granian sends nothing while `receive` waits
            with suppress(OSError):  # the client is gone
                await self._send(message)

    async def _receive_ahead(self) -> _Message:
        while self._watcher and not self._watcher.done() and self._ahead == []:
            await wait([self._watcher])
        if self._ahead is None:  # closed meanwhile, or another task was told of the end
            self._raise_closed()
        return self._ahead.pop(0) if self._ahead else await self._receive()

    def _content_of(self, message: _Message) -> str | bytes:
        # Servers may send both keys, one of them None; an empty string is a message.
        text: str | None = message.get("text")
        if text is not None:
            return text
        if message["type"] == "websocket.disconnect":
            self._direct = self._ahead = None
            raise self._end(*_close_of(message))
        return message.get("bytes") or b""

    def _end(self, code: int = 1006, reason: str = "") -> ConnectionClosed:
        # 1006 is for the OSError by which a server says that the client has left (RFC 6455 section
        # 7.1.5). `receive_*` may still bring the code.
        self._over, self._out = (code, reason), None
        if current_task() is self._task:
            self._task = None  # a handler that is told needs no watch
        # A task beside the handler may keep it to itself, or hand the exception on. Then the
        # handler has this long for its clean-up.
        self._patience = 4 * _LOOKS
        self._rest()
        return ConnectionClosed(code, reason)

    def _rest(self) -> None:
        """Set the time of the next look at the handler, once, unless it is not watched."""
        if self._task and not self._is_timed:
            self._is_timed = True
            get_running_loop().call_later(_LOOK_SECONDS, self._look)

    def _look(self) -> None:
        """Watch the handler if it has been in no `receive_*` for some seconds."""
        # A timer that each message sets anew would cost as much as the message.
        self._is_timed = False
        self._looks += 1
        if (self._waits and not self._over) or not self._task:
            return
        # A handler that has taken one of the messages before the disconnect has begun anew. The
        # first look does not count, since it may have come at once.
        if self._looks <= self._patience:
            self._rest()
        elif self._over:
            self._left, self._task = self._task, None
            self._left.cancel()
        elif not self._watcher or self._watcher.done():
            self._watcher = create_task(self._watch())

    async def _watch(self) -> None:
        """Receive ahead until a task waits, there are enough messages, or the client has left."""
        ahead = self._ahead = self._ahead or []
        self._direct = None
        # The next `receive_*` gets the exception from the server, too.
        with suppress(Exception, CancelledError):
            while not (
                self._waits
                or self._over
                or len(ahead) >= _MESSAGES_AHEAD
                or sum(len(self._content_of(one)) for one in ahead) >= 2**20
            ):
                message = await self._receive()
                ahead.append(message)
                if message["type"] == "websocket.disconnect":
                    self._over, self._out = _close_of(message), None
                    self._patience = 2 * _LOOKS  # no `send_*` or `receive_*` has told so yet
                    self._rest()

    async def _unwatch(self) -> None:
        """End the watch, since no task outlives its request."""
        self._task = None
        if self._left:
            self._left.uncancel()  # a time-out around the request must not take it for its own
        if self._watcher:
            self._watcher.cancel()
            await wait([self._watcher])

    def _raise_closed(self) -> NoReturn:
        self._check_not_over()
        raise RuntimeError("call accept() before you send or receive")

    def _check_not_over(self) -> None:
        if self._over:
            raise self._end(*self._over)


# True for every 64th message of all WebSockets and streams, so that sending to many counts as a
# loop, too.
_turns = itertools.cycle([False] * 63 + [True])


def _close_of(message: _Message) -> tuple[int, str]:
    """Return the code and the reason of a disconnect, as the server reports them."""
    code = message.get("code")
    return 1005 if code is None else code, message.get("reason") or ""


def _close_message(code: int, reason: str | None) -> _Message:
    return {
        "type": "websocket.close",
        "code": code,
        # RFC 6455 section 5.5
        "reason": (reason or "").encode("utf-8", "replace")[:123].decode("utf-8", "ignore"),
    }


def _is_foreign(request: Request, allowed: set[str]) -> bool:
    """Whether a page of another origin has caused a request that may change something."""
    scope, headers = request.scope, request.headers
    # The method in the scope, since a middleware may take another one from a form.
    if scope["type"] == "http" and scope.get("method") in ("GET", "HEAD", "OPTIONS"):
        return False
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    theirs = (origin or "").lower()
    if theirs in allowed:
        return False
    # The browser's word comes first, since a proxy may have changed the host.
    if site is not None:
        return site not in ("same-origin", "none")
    if origin is None:  # no browser
        return False
    # The scheme is not compared. Behind a proxy that ends TLS, the app sees http and the browser
    # sees https. So both default ports are dropped.
    theirs, ours = [
        name.removesuffix(":80").removesuffix(":443")
        for name in (theirs.partition("://")[2], headers.get("host", "").lower())
    ]
    # An origin without an authority, such as "null", never matches.
    return theirs == "" or theirs != ours


# --- Middleware -----------------------------------------------------------------------------------


class HttpMiddleware:
    """Code that runs around every HTTP request; an instance goes into ``app.middlewares``.

    A method that a subclass does not override does nothing.

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

    async def before_request(self, request: Request) -> _Data | None:
        """Run before the handler, in the order of ``app.middlewares``.

        Returns:
            None to go on. A dict with ``status_code`` (200), ``body`` and ``headers`` answers in
            the handler's place.
        """

    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: _Pairs,
    ) -> _Data | None:
        """Run after the handler, in reverse order, on every response.

        Args:
            request: The request.
            status_code: The status of the response.
            response_body: Strings and iterators as the handler returned them, JSON as bytes.
            extra_headers: The response's headers, the content type included; yours to append to.

        Returns:
            None to go on. The ``status_code``, ``body`` and ``headers`` of a dict replace those of
            the response.
        """


class WebSocketMiddleware:
    """Code that runs around every WebSocket; an instance goes into ``app.ws_middlewares``.

    A method that a subclass does not override does nothing.

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

    async def before_websocket(self, request: WebSocketRequest) -> _Data | None:
        """Run before the handler, in the order of ``app.ws_middlewares``.

        Returns:
            None to go on. A dict, with ``code`` (1008) and ``reason``, refuses the handshake.
        """

    async def after_websocket(self, request: WebSocketRequest) -> None:
        """Run when the handler is done, in reverse order; also when it raised."""


def _checked_dict(result: _Data | None, allowed: set[str], where: object) -> _Data:
    """Return what a middleware returned, ``{}`` to go on; raise TypeError for anything else."""
    # A guard that returns False, or a dict with a misspelled key, wants to stop the request. To go
    # on would let every visitor in.
    if not isinstance(result, dict | None) or not allowed.issuperset(result or ()):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"{type(where).__name__} must return None or a dict with {sorted(allowed)}, "
            f"not {result!r}"
        )
    return result or {}


_RESPONSE_KEYS = {"status_code", "body", "headers"}


# --- Responses ------------------------------------------------------------------------------------

# Patterns stay strings here, since to compile one costs more than most processes gain by it, and
# `re` keeps those in use. RFC 9110 section 5.6.2
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_HEADER = _TOKEN + r"\0[\t -~\x80-\xff]*"  # the name and the value, for one match instead of two


def set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = True,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> tuple[str, str]:
    """Return the header pair that sets a cookie (RFC 6265 section 4.1).

    Args:
        name: A token; ``__Secure-`` and ``__Host-`` names need what browsers ask of them.
        value: Printable ASCII without blanks, quotes, commas, semicolons and backslashes: encode
            anything else.
        max_age: Seconds; None keeps the cookie until the browser is closed.
        path: The part of the site to which the browser sends the cookie.
        domain: The host and its subdomains; None stands for this host alone.
        secure: Whether the browser sends it over HTTPS alone.
        httponly: Whether it is out of reach of JavaScript.
        samesite: ``"Strict"``, ``"Lax"``, ``"None"`` (which needs ``secure``), or None to leave it
            out.

    Raises:
        ValueError: A browser would drop this cookie, or take it for another one.

    Example:
        >>> set_cookie("theme", "dark", max_age=86400)[1]
        'theme=dark; Max-Age=86400; Path=/; HttpOnly; Secure; SameSite=Lax'
    """
    samesite = (samesite or "").capitalize()
    if not fullmatch(_TOKEN, name):
        raise ValueError(f"invalid cookie name {name!r}")
    if not fullmatch(r'[!#-+\--:<-\[\]-~]*|"[!#-+\--:<-\[\]-~]*"', value):  # section 4.1.1
        raise ValueError(
            f"invalid value for cookie {name!r}: it must be printable ASCII "
            "without blanks, quotes, commas, semicolons and backslashes"
        )
    # A semicolon would start another attribute, and browsers take no path without a slash.
    if not fullmatch(r"(/[ -:<-~]*)?;[ -:<-~]*", f"{path or ''};{domain or ''}"):
        raise ValueError(f"invalid path or domain for cookie {name!r}")
    if samesite not in ("Strict", "Lax", "None", ""):
        raise ValueError(f"samesite must be Strict, Lax or None, not {samesite!r}")
    # Browsers drop such cookies without a word (draft-ietf-httpbis-rfc6265bis section 5.6).
    if not secure and (re.match(_SECURE_NAME, name) or samesite == "None"):
        raise ValueError(f"cookie {name!r} must be secure")
    if re.match(_HOST_NAME, name) and (path != "/" or domain):
        raise ValueError(f"cookie {name!r} must have the path / and no domain")
    attributes: list[Any] = [
        f"{name}={value}",
        max_age is not None and f"Max-Age={int(max_age)}",
        domain and f"Domain={domain}",
        path and f"Path={path}",
        httponly and "HttpOnly",
        secure and "Secure",
        samesite and f"SameSite={samesite}",
    ]
    return "set-cookie", "; ".join(filter(None, attributes))


def delete_cookie(name: str, **attributes: Any) -> tuple[str, str]:
    """Return the header pair that deletes a cookie.

    Args:
        name: Its name.
        attributes: Those of `set_cookie`. The path and the domain must be those with which the
            cookie was set.

    Raises:
        ValueError: As `set_cookie` does.

    Example:
        >>> delete_cookie("theme", path="/shop")[1].split("; ")[:3]
        ['theme=', 'Max-Age=0', 'Path=/shop']
    """
    return set_cookie(name, "", max_age=0, **attributes)


class _Response(NamedTuple):
    """One response, complete and checked, so that sending it cannot fail. It is never changed."""

    status: int
    body: Any  # as a middleware sees it: strings and iterators as returned, JSON as bytes
    # As a middleware sees them, with lower-case names and the content type first.
    headers: tuple[tuple[str, str], ...]
    raw_headers: tuple[_RawPair, ...]  # as they are sent
    payload: bytes | None  # the encoded body; None: it is streamed


_HTML = "text/html; charset=utf-8"
_TEXT = "text/plain; charset=utf-8"
_JSON = "application/json"


_VARY: _RawHeaders = [(b"vary", b"Cookie")]
# Stands for the response of a mounted app, which sends its own.
_MOUNTED = (0, None)
# Exceptions that say that the client is gone: MicroPie's own, and that of a server's `send`.
_GONE = (ConnectionClosed, OSError)
_HTML_HEADER = (b"content-type", _HTML.encode())
_JSON_HEADER = (b"content-type", _JSON.encode())
# The types that most handlers return, each with its encoder and the header of its content type.
_PLAIN: dict[type, Any] = {
    str: (str.encode, _HTML_HEADER),
    bytes: (bytes, _HTML_HEADER),
    dict: (_dump_json, _JSON_HEADER),
    list: (_dump_json, _JSON_HEADER),
}


def _response_of(result: Any) -> _Response:
    """Make a response of a handler's result; raise TypeError or ValueError if it cannot be one."""
    if result.__class__ is not tuple:  # a named tuple is data, and becomes JSON
        return _response(204 if result is None else 200, result)
    if len(result) not in (2, 3):
        raise ValueError(
            "a handler must return (status, body) or (status, body, headers), "
            f"not {len(result)} items"
        )
    return _response(*result)


def _response(
    status: Any, body: Any, headers: Any = None, default_type: str | None = None
) -> _Response:
    """Make a response: encode the body, and encode and check the headers.

    Args:
        status: The HTTP status.
        body: Anything that a handler may return as a body.
        headers: Header pairs or a dict; None: no headers.
        default_type: The content type if the headers have none; None stands for the one that goes
            with the body. A body of JSON never becomes HTML or plain text by it.

    Raises:
        TypeError: The body or the headers have a type that MicroPie cannot send.
        ValueError: The status, or a header, must not be sent.
    """
    # RFC 9110 section 15. Servers fail at others, when nothing can be sent in their place any more.
    # One below 200 ends no request, and the client would wait on.
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"a response status must be an int from 200 to 599, not {status!r}")
    body, payload, own_type = _encoded_body(body)
    is_bodiless = status in (204, 304)  # RFC 9110 section 6.4.1
    if is_bodiless:
        payload, own_type = b"", None
    if None in (default_type, own_type) or (own_type == _JSON and default_type in (_HTML, _TEXT)):
        default_type = own_type
    pairs = _pairs(headers)
    # If there are several types, the last one wins, since a middleware may have appended its own.
    content_type = dict(pairs).get("content-type", default_type)
    types = [] if content_type is None else [("content-type", content_type)]
    # MicroPie sets the length itself, and the server the framing. Only the length of a stream must
    # be the handler's.
    replaced = ["content-type", "transfer-encoding"]
    if payload is not None:
        replaced.append("content-length")
    kept = (*types, *[pair for pair in pairs if pair[0] not in replaced])
    raw_headers = [_raw_header(*pair) for pair in kept]
    if payload is not None and not is_bodiless:
        raw_headers.append((b"content-length", b"%d" % len(payload)))
    return _Response(int(status), body, kept, tuple(raw_headers), payload)


def _error_response(error: HTTPError) -> _Response:
    if error.body is None:
        return _response(error.status, str(error), error.headers, _TEXT)
    return _response(error.status, error.body, error.headers)


def _encoded_body(body: Any) -> tuple[Any, bytes | None, str | None]:
    """Return a body as a middleware sees it, its bytes (None: a stream), and its content type."""
    if body is None:
        return None, b"", None
    if isinstance(body, (str, bytes, bytearray, memoryview)):
        payload = _chunk_bytes(body)
        return body if isinstance(body, str) else payload, payload, _HTML
    # A list has no `__next__`. An uploaded file is both a dict and an iterator.
    if not isinstance(body, dict) and (hasattr(body, "__aiter__") or hasattr(body, "__next__")):
        return body, None, _HTML
    payload = _dump_json(body)
    return payload, payload, _JSON


def _pairs(headers: Any) -> _Pairs:
    """Return headers, pairs or a dict or None, as pairs of strings with lower-case names."""
    pairs: _Pairs = []
    for pair in headers.items() if hasattr(headers, "items") else headers or ():
        name, value = [one.decode("latin-1") if isinstance(one, bytes) else one for one in pair]
        if not isinstance(name, str) or isinstance(value, (list, dict, types.NoneType)):
            raise TypeError(f"{name!r}: {value!r} is no response header that may be sent")
        pairs.append((name.lower(), str(value)))
    return pairs


def _raw_header(name: str, value: str) -> _RawPair:
    """Encode a header; raise ValueError if it would break the response (RFC 9110 section 5)."""
    if not fullmatch(_HEADER, f"{name}\0{value}"):
        # Nothing is dropped in silence. Without its content type, plain text would become HTML.
        raise ValueError(f"{name!r}: {value!r} is no response header that may be sent")
    return name.encode(), value.strip(" \t").encode("latin-1")


def _changed(response: _Response, changes: _Data, headers: _Pairs) -> _Response:
    """Return the response with what an ``after_request`` returned, or did to the header list.

    The content type stays if the middleware names none, unless it was a default one and the new
    body is JSON.
    """
    if not changes and tuple(headers) == response.headers:
        return response
    # The old type is left out here, so that `_response` can tell it from one that the middleware
    # has named.
    old_type = dict(response.headers).get("content-type")
    if "headers" not in changes:
        headers = [pair for pair in headers if pair != ("content-type", old_type)]
    return _response(
        changes.get("status_code", response.status),
        changes.get("body", response.body),
        changes.get("headers", headers),
        old_type,
    )


# --- Streams --------------------------------------------------------------------------------------


class ServerSentEvent(NamedTuple):
    """One event of an event stream (WHATWG HTML section 9.2).

    Args:
        data: A string, or anything else as JSON.
        event: The event's type; a browser takes ``message`` if there is none.
        id: The value that a browser sends as ``Last-Event-ID`` when it reconnects.
        retry: Milliseconds that a browser waits before it reconnects.

    Example:
        >>> event = ServerSentEvent({"seats": 4}, event="sold", id="17")
        >>> print(bytes(event).decode().strip())
        event: sold
        id: 17
        data: {"seats":4}
    """

    data: Any
    event: str | None = None
    id: str | None = None
    retry: int | None = None

    def __bytes__(self) -> bytes:
        """Return the event as it is sent."""
        lines: list[str] = []
        for field, value in self._asdict().items():
            if field != "data" and value is not None:
                # A line break would start another field, and browsers ignore an id with a NUL.
                lines.append(f"{field}: " + re.sub(r"[\r\n\0]+", " ", str(value)))
        text = self.data if isinstance(self.data, str) else _dump_json(self.data).decode()
        # Not `splitlines`, which knows more line ends than an event stream has.
        lines += [f"data: {line}" for line in re.split(r"\r\n|\r|\n", text)]
        return ("\n".join(lines) + "\n\n").encode()


class _EventStream(AsyncIterator[bytes]):
    """The body that `event_stream` returns: it iterates over the encoded events, also in a test."""

    def __init__(self, source: Any, ping: float | None) -> None:
        self.events = _chunks(source)
        self.ping = ping

    async def __anext__(self) -> bytes:
        return _event_bytes(await anext(self.events))

    async def aclose(self) -> None:
        await _close(self.events)


def event_stream(
    source: AsyncIterator[Any] | Iterator[Any], ping: float | None = 15.0
) -> tuple[int, Any, _Pairs]:
    """Return the response that streams server-sent events.

    Args:
        source: Yields `ServerSentEvent`, strings, dicts and lists (as JSON), or bytes, which are
            sent as they are.
        ping: Every so many seconds MicroPie sends a comment, so that proxies keep the stream open;
            None turns that off.

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
        >>> asyncio.run(main())[1:]
        [['event:', 'tick', 'data:', '1'], ['data:', 'lift-off']]
    """
    if ping is not None and not ping > 0:
        raise ValueError(f"ping is a number of seconds, or None: {ping!r}")
    return (
        200,
        _EventStream(source, ping),
        [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-cache"),
            ("x-accel-buffering", "no"),
        ],
    )


def _event_bytes(event: Any) -> bytes:
    # Bytes are an event already, so that a broadcast is encoded once for all its clients.
    return bytes(event if isinstance(event, (bytes, ServerSentEvent)) else ServerSentEvent(event))


def _chunk_bytes(item: Any) -> bytes:
    if isinstance(item, str):
        return item.encode()
    if isinstance(item, (bytes, bytearray, memoryview)):
        return bytes(item)  # pyright: ignore[reportUnknownArgumentType]
    raise TypeError(f"a stream must yield str or bytes, not {type(item).__name__}")


class _Steps(AsyncIterator[Any]):
    """A plain iterator whose steps, and its ``close()``, run in worker threads."""

    def __init__(self, iterator: Any) -> None:
        self._iterator = iterator
        # One copy for all steps, so that the next step finds a context variable that one sets.
        self._run = copy_context().run

    async def __anext__(self) -> Any:
        # A StopIteration cannot leave a thread, since a future that holds one never ends.
        item = await _in_thread(
            self._run, next, self._iterator, _ABSENT, work="steps", always=False
        )
        if item is _ABSENT:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        iterator = self._iterator
        if inspect.isgenerator(iterator) and inspect.getgeneratorstate(iterator) == "GEN_CREATED":
            iterator.close()  # its step never ran; and all threads may be busy
        elif hasattr(iterator, "close"):
            await _in_thread(self._run, iterator.close, work="steps")


def _chunks(source: Any) -> AsyncIterator[Any]:
    return aiter(source) if hasattr(source, "__aiter__") else _Steps(iter(source))


async def _close(source: Any) -> None:
    """Close an iterator before its end; an exception of its ``finally`` is logged."""
    try:
        if hasattr(source, "aclose"):
            await source.aclose()
    except BaseException as error:
        if not _is_stray(error):
            raise
        _log.error("closing a stream failed", exc_info=error)
        _forget(error)


class _Stream:
    """Sends a stream in the request's own task, so that a cancelled request runs its `finally`.

    Two helpers work beside it, each in a task. The listener waits for the client to leave.
    The pinger sends a comment every `ping` seconds. If one of them sees that the client has left,
    it cancels the request's task, once, since the source may wait for something else for hours.
    """

    _timer: Any = None  # for the helpers' start, and then for the next ping
    # The first is True while a chunk is on its way, or waits for a ping that is. The second is True
    # once a helper has cancelled the task.
    _is_sending = _has_left = False
    _ping: Any = None

    def __init__(self, send: _Send, reader: _Body, body: Any) -> None:
        self._encode: Any = _chunk_bytes
        if isinstance(body, _EventStream):  # its own steps would take time and memory
            self._ping, self._encode, body = body.ping, _event_bytes, body.events
        self.chunks = _chunks(body)
        self._body = reader
        self._send = send
        self._task: Any = current_task()
        self._helpers: list[Any] = []  # the listener, and then a pinger under way

    async def run(self, start: _Message) -> None:
        """Send the headers, every chunk, and the final message unless the stream breaks off."""
        reader = self._body
        # From here on a body that is not announced, as that of most requests, counts as ended.
        reader.is_listened = not (reader.announced or reader.started)
        try:
            try:
                await self._tell(start)
                del start  # a stream may be open for hours
                await self._send_chunks()
            finally:
                # Before the final message: after it, servers report a disconnect that is none.
                await self._end_helpers()
            await reader.drain()
        except BaseException as error:
            # `_end_helpers` has taken back the helper's cancellation. So this one is the server's,
            # which must pass, or a stray one, which is a mistake of the source.
            if not _is_stray(error):
                raise
            if not (reader.gone and isinstance(error, (ConnectionClosed, CancelledError))):
                _log.error("a stream broke off", exc_info=error)
            _forget(error)
        else:
            # A server that misses bytes of a Content-Length raises, and then ends the connection.
            await self._tell_chunk(b"", more=False)
        finally:
            await _close(self.chunks)

    async def _send_chunks(self) -> None:
        # Servers send the headers with the first body message. This one does not wait for a chunk.
        await self._tell_chunk(b"")
        reader, send = self._body, self._send
        # They start when the source, or the server, waits for the first time. A short stream often
        # ends before, and a task that is to be ended takes longer than all its chunks.
        self._timer = get_running_loop().call_soon(self._start_helpers)
        pings = self._ping
        async for item in self.chunks:
            if reader.gone:  # the source has swallowed what told it so
                break
            # The first chunk never waits for the client, so MicroPie drops a body that no code has
            # begun to read by now.
            if not (reader.is_listened or reader.started):
                reader.drop()
            if type(item) is not bytes:
                item = self._encode(item)
            # From here on no ping starts, and one that is under way ends first. Some servers write
            # a message in several steps, and a ping must not cut an event in two.
            if pings:
                self._is_sending = True
                if len(self._helpers) > 1:
                    await wait(self._helpers[1:])
            try:
                await send({"type": "http.response.body", "body": item, "more_body": True})
            except OSError:  # so a server says that the client has left
                reader.gone = True
                break
            self._is_sending = False
            if next(_turns):  # a source that never waits would let nothing else run
                await sleep(0)

    def _start_helpers(self) -> None:
        self._helpers.append(create_task(self._help(self._body.wait_gone)))
        if self._ping:
            self._set_timer()

    def _set_timer(self) -> None:
        # Not in the context of this request, which the timer would keep.
        self._timer = get_running_loop().call_later(self._ping, self._start_ping, context=Context())

    def _start_ping(self) -> None:
        # A task that sleeps between the pings would take a KiB of each open stream.
        self._helpers.append(create_task(self._help(self._send_ping)))

    async def _tell(self, message: _Message) -> None:
        if self._body.gone:
            raise ConnectionClosed
        try:
            await self._send(message)
        except OSError:
            self._body.gone = True
            raise ConnectionClosed from None

    async def _tell_chunk(self, chunk: bytes, more: bool = True) -> None:
        await self._tell({"type": "http.response.body", "body": chunk, "more_body": more})

    async def _help(self, work: Any) -> None:
        try:  # `suppress` would take 200 bytes of each open stream
            await work()
        except Exception:  # the client has left, or the server does not tell
            pass
        except CancelledError:
            return  # its traceback leads back to this task (Python 3.14), a cycle
        if self._body.gone and not self._has_left:
            self._has_left = True
            self._task.cancel()

    async def _send_ping(self) -> None:
        # An event that is on its way keeps the connection open as well.
        if not self._is_sending:
            await self._tell_chunk(b": ping\n\n")
        del self._helpers[1:]
        self._set_timer()

    async def _end_helpers(self) -> None:
        """End the helpers: no task outlives its request."""
        if self._timer:
            self._timer.cancel()
        for helper in self._helpers:
            helper.cancel()
        try:
            if self._helpers:
                await wait(self._helpers)
        finally:  # a request may be cancelled more than once
            # The helper's cancellation has done its work; a time-out around the request must not
            # take it for its own.
            if self._has_left:
                self._task.uncancel()
            self._helpers.clear()  # their tracebacks lead back here


# --- Handlers and binding -------------------------------------------------------------------------


FromSession = Annotated[Any, "FromSession"]
"""Annotation of a parameter that binds from the session alone.

A parameter that names the user must have it, since a URL or a form may say anything. If the session
has no such value, MicroPie uses the default, or answers 401.

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


def methods(*names: str) -> Callable[[_F], _F]:
    """Limit a handler to these HTTP methods; MicroPie answers others with 405, and ``OPTIONS``.

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
    if not names or not all(isinstance(name, str) for name in names):  # pyright: ignore
        raise TypeError('methods() takes the names of HTTP methods: @methods("GET", "POST")')
    allowed = {name.upper() for name in names}
    if "GET" in allowed:
        allowed.add("HEAD")

    def mark(function: _F) -> _F:
        # A static or a class method holds the function.
        inner: Any = getattr(function, "__func__", function)
        inner._micropie_methods = tuple(sorted(allowed))
        return function

    return mark


# The scalar types that MicroPie converts, with the types that a JSON value must have for each. To
# support another class that is made from one string, add it here, and to `_json_default` to return
# it as JSON. `fromisoformat` or the class itself converts a string. The types are known by name, so
# that MicroPie imports none of them for an app that does not use them.
_JSON_TYPES: dict[str, Any] = {
    "str": [str],
    "int": [int],
    "float": [int, float],
    "bool": [bool],
    "datetime.date": [str],
    "datetime.datetime": [str],
    "datetime.time": [str],
    "decimal.Decimal": [str, int, float],
    "uuid.UUID": [str],
    "dict": [dict],
    f"{__name__}.UploadedFile": [],
}
_BOOLS = "false", "0", "no", "off", "true", "1", "yes", "on"  # False, and then True
# Digits, and the adjusted exponent. Ten characters can name a number with ten million digits.
_MAX_DECIMAL = 1000
_MAX_ERRORS = 20  # of a model, as lines of a 400

# Called with a value, and with True if it comes from JSON. It raises an exception, of any type, if
# the value doesn't fit; the parameter makes a 400 or a 404 of it.
_Converter = Callable[[Any, bool], Any]


def _converter(annotation: Any) -> _Converter:
    """Return the converter of an annotation, or raise a KeyError if MicroPie has none for it.

    A new type of annotation gets its converter here, and can then stand in lists and unions too.
    """
    annotation, *others = members = _members(annotation)
    if others:
        return _union_converter(members)
    if any(annotation is one for one in (Any, object, _ABSENT)):
        return _keep
    if _is_list(annotation):
        return _list_converter((*get_args(annotation), Any)[0])
    if get_origin(annotation) is Literal:
        return _choice_converter(annotation, get_args(annotation))
    if isinstance(annotation, enum.EnumMeta):
        return _choice_converter(annotation, annotation)
    return _scalar_converter(annotation)


def _keep(value: Any, is_json: bool) -> Any:
    return value


def _scalar_converter(annotation: Any) -> _Converter:
    name = formatannotation(annotation)
    json_types = _JSON_TYPES[name]
    make = getattr(annotation, "fromisoformat", annotation)
    is_number, is_decimal = float in json_types, name == "decimal.Decimal"
    is_no_text = annotation in (dict, UploadedFile)

    def convert(value: Any, is_json: bool) -> Any:
        # `{"password": {"$ne": null}}` must not pass for a string, and `true` not for the number 1,
        # though True is an int. No string is a dict or a file.
        if (is_json or is_no_text) and value.__class__ not in json_types:
            raise TypeError
        made: Any = value
        if value.__class__ is not annotation:
            made = _BOOLS.index(value.lower()) > 3 if annotation is bool else make(str(value))
        if is_number:
            # NaN and the infinities compare with no limit as a number does: no handler gets them.
            if made - made != 0:
                raise ValueError
            if is_decimal and max(len(made.as_tuple().digits), abs(made.adjusted())) > _MAX_DECIMAL:
                raise ValueError
        return made

    return convert


def _choice_converter(annotation: Any, choices: Iterable[Any]) -> _Converter:
    """Return the converter of an Enum or a Literal, whose members can be those of an Enum."""
    # By type, since 1 == True == 1.0. A list, as the value of an Enum, has no hash.
    found: dict[Any, Any] = {
        (type(value), value): choice
        for choice in choices
        if (value := getattr(choice, "_value_", choice)).__hash__
    }
    # A string is tried with the conversion of each type that the values have.
    converters = [
        _scalar_converter(kind)
        for kind in dict.fromkeys(kind for kind, _ in found)
        if formatannotation(kind) in _JSON_TYPES
    ]
    flags = getattr(annotation, "_flag_mask_", None)

    def convert(value: Any, is_json: bool) -> Any:
        for one in (_keep,) if is_json else converters:
            with suppress(Exception):
                made = one(value, is_json)
                if (type(made), made) in found:
                    return found[type(made), made]
                # A Flag would keep each number with other bits that a client sends.
                if flags is not None and made & ~flags:
                    break
                choice = annotation._missing_(made)  # only an Enum has it
                if type(choice.value) is type(made):
                    return choice
        raise ValueError

    return convert


def _list_converter(annotation: Any) -> _Converter:
    convert = _converter(annotation)
    takes_blank = convert is _keep or str in _members(annotation)

    def convert_all(values: Any, is_json: bool) -> Any:
        if not isinstance(values, list):
            raise TypeError
        items = [
            convert(value, is_json)
            for value in values  # pyright: ignore[reportUnknownVariableType]
            if value or takes_blank or is_json
        ]
        # Fields that are all blank are no list, but an empty JSON array is one.
        return items if items or is_json else _ABSENT

    return convert_all


def _union_converter(members: list[Any]) -> _Converter:
    takers = [(_converter(one), _is_list(one)) for one in members if one is not types.NoneType]

    def convert(value: Any, is_json: bool) -> Any:
        if value is None and types.NoneType in members:
            return None
        # If a member is a list, the value is the list of all strings of that name.
        is_repeated = isinstance(value, list) and not is_json
        for one, is_list in takers:
            try:  # cheaper than suppress, for lists of a hundred thousand
                return one(value[0] if is_repeated and not is_list else value, is_json)  # pyright: ignore
            except Exception:
                continue
        raise ValueError

    return convert


def _target(annotation: Any) -> Any:
    """Return X of a NewType, or of an alias that ``type`` makes (Python 3.12); None otherwise."""
    return getattr(annotation, "__supertype__", None) or getattr(annotation, "__value__", None)


def _members(annotation: Any) -> list[Any]:
    """Return the members of a union, and any other annotation alone; ``Annotated[X, ...]`` as X."""
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [member for one in get_args(annotation) for member in _members(one)]
    inner = annotation.__origin__ if origin is Annotated else _target(annotation)
    return [annotation] if inner is None else _members(inner)


def _is_list(annotation: Any) -> bool:
    return annotation is list or get_origin(annotation) is list


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and hasattr(annotation, "model_validate")


def _parts(annotation: Any, depth: int = 9) -> Iterator[Any]:
    """Yield an annotation and all that stands in it, behind an alias or a NewType too."""
    yield annotation
    # The depth has an end, since an alias may contain itself.
    for one in (*get_args(annotation), _target(annotation)) if depth else ():
        yield from _parts(one, depth - 1)


def _error_lines(error: Any, name: str, size: int) -> str:
    """Return the errors of a model, a line for each, without the values that the client sent."""
    count = getattr(error, "error_count", int)()
    # Each error has its input, which can be most of the body. To compare two MiB takes about half a
    # second, in which nothing else runs.
    listed: Any = list if count * size > 2**21 else error.errors
    lines = [""]
    for one in listed()[:_MAX_ERRORS]:
        text = f"{'.'.join(map(str, one['loc'])) or name}: {one['msg']}"
        # Some messages repeat a value, those of an app's own checks for example. That of a missing
        # field does not, and its input is the whole body.
        for sent in (
            None if one.get("type") == "missing" else one.get("input"),
            one.get("ctx", {}).get("tag"),
        ):
            for shown in (str(sent), repr(sent)):
                if sent is not None and len(shown) > 2:
                    text = text.replace(shown, "...")
        # A client can send names with line ends in them.
        lines.append(re.sub(r"[\x00-\x1f\x7f\ud800-\udfff]", " ", text)[:200])
    if count >= len(lines):
        lines.append(f"{count - len(lines) + 1} more")
    return "\n".join(lines)


class _Parameter:
    """One parameter of a handler: where its value comes from, and how it is converted.

    Raises:
        TypeError: Its annotation cannot be resolved, or says what cannot be in that place.
    """

    def __init__(self, parameter: Parameter, handler: _Handler) -> None:
        kind, annotation = parameter.kind, parameter.annotation
        self.name, self.default = parameter.name, parameter.default
        where = f"{handler.function.__qualname__}: parameter '{self.name}'"
        if isinstance(annotation, str):  # it might have been a check
            raise TypeError(f"{where}: the annotation {annotation} cannot be resolved")
        # All of this is worked out once, so that a request only looks. FromSession comes first: it
        # outranks the type, and nothing but the session may have the value.
        parts = list(_parts(annotation))
        self.is_secret = "FromSession" in map(str, parts)
        if self.is_secret:
            parts = [annotation := Any]
        members = _members(annotation)
        others = [one for one in members if one is not types.NoneType] or members
        first = others[0]
        self.is_optional = others != members
        self.is_list = any(map(_is_list, others))
        # Models, and files, which can stand in a list too.
        alone = [one for one in parts if one is UploadedFile or _is_model(one)]
        inner = _members((*get_args(first), Any)[0] if _is_list(first) else first)
        self.is_file = len(inner) == 1 and inner[0] is UploadedFile
        self.model: Any = first if _is_model(first) else None
        self.in_path = not (self.is_secret or alone)
        is_right = self.is_file or (self.model and handler.takes_body)
        if (
            (alone and (others[1:] or not is_right))
            # `**files` can be files, but no path segment is one.
            or (not self.in_path and kind in ((0, 2) if self.is_file else (0, 2, 4)))
            # With `user=FromSession`, anything that is sent would pass.
            or any(one is FromSession for one in _parts(self.default))
        ):
            raise TypeError(f"{where}: FromSession, a model or UploadedFile cannot stand here")
        self.is_sent = kind > 0 and not (self.is_secret or self.model)
        try:
            self.convert = _converter(Any if self.model else annotation)
        except (KeyError, RecursionError):  # an alias of Python 3.12 may contain itself
            self.convert = _keep
            _log.warning(
                "%s: MicroPie cannot convert to %s, and checks nothing",
                where,
                formatannotation(annotation),
            )
        is_kept = self.convert is _keep
        # Most types take no "", since HTML forms send empty inputs too.
        self.takes_blank = is_kept or str in members
        # Most parameters are strings, which stay as they are.
        self.is_verbatim = not self.is_list and (is_kept or others == [str])
        # So does a JSON value of the one type that the annotation names.
        self.exact = first if not is_kept and others in ([str], [int], [bool], [dict]) else None
        self.takes_file = not self.is_list and (self.is_file or (is_kept and self.in_path))
        self.label = (
            "a file"
            if self.is_file
            else " | ".join(
                formatannotation(one, getattr(one, "__module__", None)) for one in others
            )
        )  # a client need not know the module

    def from_path(self, segment: Any) -> Any:
        """Convert a path segment; one that does not convert names no page."""
        # A router in a middleware may have converted it already.
        if self.is_verbatim or not isinstance(segment, str):
            return segment
        try:
            value = self._converted([segment], self.name)
        except HTTPError:
            value = _ABSENT
        if value is _ABSENT:
            raise _error(404)
        return value

    def find(self, request: Request, sent_name: str | None = None) -> Any:
        """Look in the query, the body and the uploads, in this order, and then elsewhere.

        With another name than its own, or when only what was sent counts, it looks no further, and
        returns `_ABSENT`.
        """
        if not self.is_sent:
            return self._find_elsewhere(request)
        if request._unparsed:  # a call for each parameter would cost more, and so would the next
            request._parse()
        query, name = request._query, self.name if sent_name is None else sent_name
        if query is None:
            query = request.query_params
        for sent in (query, request._fields):
            if sent and name in sent:
                strings = sent[name]
                value = strings[0] if self.is_verbatim else self._converted(strings, name)
                if value is not _ABSENT:  # a blank leaves it to the next source
                    return value
        # Not body_params, which has all members as strings: {"a": 5} must not pass for a `str`.
        body = request._value
        if dict is body.__class__ and name in body:
            value = body[name]
            return value if value.__class__ is self.exact else self._converted(value, name, True)
        files = request._files.get(name)
        if files and self.takes_file:
            return files[0]
        if files and self.is_file:
            return list(files)
        return self._find_elsewhere(request) if sent_name is None else _ABSENT

    def _find_elsewhere(self, request: Request) -> Any:
        """Make a model of the body, or look in the session; else return the default."""
        if self.model:
            value = self._validated(request)
            if value is not _ABSENT:
                return value
        if self.is_secret or (self.is_sent and self.in_path):
            value = request.session.get(self.name)
            if value is not None:  # an app may log a user out by setting the user's id to None
                return value
        if self.default is not _ABSENT:
            return self.default
        if self.is_secret:
            raise _error(401)
        raise _error(400, f"Missing required parameter '{self.name}'")

    def _validated(self, request: Request) -> Any:
        """Return the model of the whole body; `_ABSENT` if there is none."""
        # The look at the JSON refuses what is none, since some models take NaN.
        request._parse()
        body, model = request._value, self.model
        try:
            if body is _ABSENT:
                if not request.body_params and not request._multipart:
                    return _ABSENT
                body = {
                    name: texts if texts[1:] else texts[0]
                    for name, texts in request.body_params.items()
                }
            elif body is None and self.is_optional:
                return None
            elif hasattr(model, "model_validate_json"):
                return model.model_validate_json(request._body.kept)
            return model.model_validate(body)
        except ValueError as error:
            lines = ""
            with suppress(Exception):  # `errors` may be anything
                lines = _error_lines(error, self.name, request._body.size)
            raise _error(400, f"Parameter '{self.name}' is not valid{lines}") from None

    def _converted(self, value: Any, name: str, is_json: bool = False) -> Any:
        """Convert a JSON value, or the first of strings (for a list all); `_ABSENT` for a blank."""
        if not is_json:
            value = value if self.is_list else value[0]
            if not (value or self.takes_blank):
                return _ABSENT
        try:
            return self.convert(value, is_json)
        except Exception:  # an Enum's _missing_ may raise anything
            # The client has chosen the names of `**rest`, so line ends and the like are escaped.
            raise _error(400, f"Parameter {name[:100]!r} must be {self.label}") from None

    def is_known(self, request: Request) -> bool:
        """Whether nothing that is still to come in a form can be its value."""
        if self.model or (self.is_sent and self.is_list):  # more values of a list may come
            return False
        return not self.is_sent or self.find(request, self.name) is not _ABSENT


class _Binder:
    """How a handler gets its arguments from what a client sends, worked out once."""

    def __init__(self, handler: _Handler) -> None:
        # The kinds of parameters are numbers, in the order in which a signature has them.
        kinds: list[list[_Parameter]] = [[] for _ in range(5)]
        for parameter in handler.parameters:
            kinds[parameter.kind].append(_Parameter(parameter, handler))
        path_only, both, self._star, self._keywords, self._rest = kinds
        self._positional = path_only + both
        self._in_path = [one for one in self._positional if one.in_path]
        self.takes = sys.maxsize if self._star else len(self._in_path)
        self.all = self._positional + self._keywords
        # The number of path segments that are all the arguments, as they are; -1: no number is.
        is_verbatim = all(one.is_verbatim and one.in_path for one in self._positional)
        self._has_more = any(kinds[2:])
        self.verbatim = len(self._in_path) if is_verbatim and not self._has_more else -1
        # A plain handler runs in a thread, and cannot await the pieces of a file. ``**rest`` waits
        # for the names that come after a file, too.
        may_stream = not (handler.is_plain or self._rest)
        self.may_stream = {one.name for one in self.all if one.takes_file and may_stream}
        # No value goes to ``**rest``, the last one, under the name of another parameter, which may
        # be the framework's or a FromSession; its own name is free.
        self._names = list(signature(handler.function, **_late).parameters)[:-1]
        function = handler.function
        if any(kinds[2::2]) and function.__closure__ and function.__name__ != handler.name:
            # A decorator without `wraps` hides FromSession and all checks from the binder.
            _log.warning("%s hides parameters: use functools.wraps", function.__qualname__)

    def bind(self, request: Request, arguments: list[Any]) -> _Data:
        """Append the positional arguments, return the others; 404 for a path that does not fit."""
        segments = [*request.path_params]
        if len(segments) > self.takes:
            raise _error(404)
        for one in self._positional:
            if segments and one.in_path:
                arguments.append(one.from_path(segments.pop(0)))
            else:
                arguments.append(one.find(request))
        keywords: _Data = {}
        if not self._has_more:
            return keywords
        for one in self._star:
            arguments += map(one.from_path, segments)
        for one in self._keywords:
            keywords[one.name] = one.find(request)
        for rest in self._rest:
            for name in {**request._files, **request.body_params, **request.query_params}:
                value = _ABSENT if name in self._names else rest.find(request, name)
                if value is not _ABSENT:
                    keywords[name] = value
        return keywords

    def waits_for(self, request: Request, name: str) -> bool:
        """Whether the file that starts now is the last value that the handler waits for."""
        # Once for each name, since to look for the values may take as long as to convert them all.
        if name not in self.may_stream or name in request._files:
            return False
        missing = [
            one.name
            for one in self.all
            # Parameters that take path segments have their values already.
            if one not in self._in_path[: len(request.path_params)] and not one.is_known(request)
        ]
        return missing == [name]


# Python 3.14 evaluates annotations late. A name that is missing in one must not hide the others.
_late: Any = {"annotation_format": 3} if sys.version_info >= (3, 14) else {}


def _annotation(parameter: Parameter, function: Callable[..., Any]) -> Any:
    """Return a parameter's annotation with its strings evaluated, or a string if one cannot be."""
    annotation = parameter.annotation
    # Each by itself, since get_type_hints fails for all if it fails for one.
    alone = types.SimpleNamespace(__annotations__={"it": annotation})
    names = getattr(unwrap(function), "__globals__", {})
    try:
        found = get_type_hints(alone, names, include_extras=True)["it"]
        list(_parts(found))  # looks at aliases of Python 3.12, whose names may not be there
        return found
    except Exception:
        return str(annotation)


class _Handler:
    """One function that a class body defines under `name`, and how it is called."""

    methods: Any  # a tuple or None; set for each app, since a decorator may come later

    def __init__(self, name: str, member: Any, leading: int) -> None:
        function: Any = _function_of(member)
        self.name, self.function = name, function
        is_async = inspect.iscoroutinefunction(function)
        self.is_plain = not (is_async or inspect.isasyncgenfunction(function))
        # A coroutine function is called directly, which saves a coroutine for each request.
        self._call = function if is_async and function is member else self._call_any
        self._binder: _Binder | None = None
        self._member = member  # the function, or the static or class method around it
        self._leading = leading - isinstance(member, staticmethod)
        self.takes_body = leading == 1  # a WebSocket handler gets none

    @property
    def binder(self) -> _Binder:
        """How it gets its arguments."""
        # Made at first use, since the names in its annotations may be defined after its class.
        if not self._binder:
            self._binder = _Binder(self)
        return self._binder

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters that bind: without the first ones, which MicroPie passes."""
        # The first ones are the App and the WebSocket, unless ``*args`` takes these, too.
        return [
            one.replace(annotation=_annotation(one, self.function))
            for number, one in enumerate(signature(self.function, **_late).parameters.values())
            if number >= self._leading or one.kind > Parameter.POSITIONAL_OR_KEYWORD
        ]

    def run(self, app: App, request: Request, *leading: Any) -> Awaitable[Any]:
        """Bind the arguments and call the function; return what is to be awaited."""
        binder = self._binder or self.binder  # a cached_property would take longer
        if len(request.path_params) == binder.verbatim:  # a shortcut for bind()
            return self._call(app, *leading, *request.path_params)
        arguments = [app, *leading]
        keywords = binder.bind(request, arguments)
        return self._call(*arguments, **keywords)

    async def _call_any(self, app: App, /, *arguments: Any, **keywords: Any) -> Any:
        """Call any function; a plain one runs in a worker thread."""
        call = partial(self._member.__get__(app, type(app)), *arguments, **keywords)
        if self.is_plain and not inspect.isgeneratorfunction(self.function):
            # In a copy of the context, so that `self.request` works there and nothing leaks to the
            # next call of the thread.
            result = await _in_thread(copy_context().run, call, work="handlers", always=False)
        else:
            result = call()
        return await result if isawaitable(result) else result


# One for all apps, since its binder takes a while to make; a bounded number, since classes that are
# made on the way would never be freed.
_handler = lru_cache(4096)(_Handler)
_Table = dict[str, _Handler]


def _function_of(member: Any) -> types.FunctionType | None:
    """Return the function of what a class body defines; None: it is no function or method."""
    if isinstance(member, (staticmethod, classmethod)):
        member = member.__func__  # pyright: ignore
    return member if inspect.isfunction(member) else None


# Called for each app, not when the class is created: a class decorator, or later code, may put a
# guard around a handler.
def _handlers(owner: type[App], prefix: str) -> tuple[_Table, _Table]:
    """Return the handlers of a class and of its bases by name, and those with a URL by path.

    Args:
        owner: The class.
        prefix: ``ws_`` for WebSocket handlers, whose names begin with it; ``""`` for HTTP handlers,
            whose names must not.
    """
    members: _Data = {}
    for base in reversed(owner.__mro__):
        if base is not App:  # it defines no handler
            members |= vars(base)
    handlers, routes = _Table(), _Table()
    for name, member in members.items():
        if _function_of(member) and not name.startswith("__" if prefix else ("__", "ws_")):
            # A middleware may choose any of them by name, private ones too.
            handler = handlers[name] = _handler(name, member, 2 if prefix else 1)
            handler.methods = getattr(handler.function, "_micropie_methods", None)
            path = name.removeprefix(prefix)
            if name.startswith(prefix) and path[:1] not in ("", "_"):
                routes[f"/{path}"] = handler
    if "/index" in routes:
        routes["/"] = routes["/index"]
    return handlers, routes


# --- Paths, cookies and content types -------------------------------------------------------------


def _prefix(path: str | None) -> str:
    """Return a root path, or the prefix of a mount, as ``/a/b``; ``""`` stands for none."""
    path = (path or "").strip("/")
    return path and f"/{path}"


def _is_below(path: str, prefix: str) -> bool:
    """Whether a path begins with the segments of a prefix."""
    return path == prefix or path.startswith(f"{prefix}/")


def _session_ids(request: Request, name: str) -> list[str]:
    """Return the session ids in the cookies of that name, at most 4."""
    # A mounted app's comes before its parent's. More are an attack on the backend, and so are ids
    # that MicroPie would never have issued.
    return re.findall(
        rf"(?:^|;)[ \t]*{re.escape(name)}[ \t]*=[ \t]*({_SESSION_ID})[ \t]*(?=;|\Z)",
        request._cookies.decode("latin-1"),
    )[:4]


def _boundary(content_type: bytes) -> bytes:
    """Return the boundary of a multipart body (RFC 2046 section 5.1.1)."""
    # RFC 2046 allows 70 bytes. The parser keeps as many from one piece to the next.
    found = re.search(
        rb'(?i:;\s*boundary=(?:"([^"\r\n]{1,200})"|([^\s;,"]{1,200})(?![^\s;,"])))', content_type
    )
    if not found:
        raise _error(400, "Missing boundary")
    return found[1] or found[2]


_IPV4 = r"127(?:\.\d{1,3}){3}"
_IPV6 = rf"::1|::ffff:(?:{_IPV4}|7f[\da-f]{{2}}:[\da-f]{{1,4}})"
_LOOPBACK = rf"(?i:(?:localhost|{_IPV4}|\[(?:{_IPV6})\])(?::\d*)?|{_IPV6})"


def _is_from_here(request: Request) -> bool:
    """Whether a request comes straight from this machine, over plain HTTP."""
    scope, headers = request.scope, request.headers
    # A proxy on this machine speaks plain HTTP from a loopback address as well, and may even pass
    # one as the host. The rest gives it away: what it adds, its HTTP/1.0 (nginx before 1.29.7), a
    # browser that came by HTTPS, or one without the Connection header that all of them send.
    host, client = [(scope.get(key) or [""])[0] or "" for key in ("server", "client")]
    return (
        scope.get("scheme") not in ("https", "wss")
        and scope.get("http_version", "1.1") == "1.1"
        and all(fullmatch(_LOOPBACK, name) for name in (headers.get("host", host), client))
        and all(
            fullmatch(rf"(?is:http://{_LOOPBACK}([/?#].*)?)", headers.get(name, "http://[::1]"))
            for name in ("origin", "referer")
        )
        and ("connection" in headers or "sec-fetch-site" not in headers)
        and not re.search(r"(?m:^(?:forwarded|x-real-ip|via)$|^x-forwarded-)", "\n".join(headers))
    )


def _adding(send: _Send, added: _RawHeaders) -> _Send:
    """Return a ``send`` that adds headers to a response, or to the handshake of a WebSocket."""

    async def send_more(message: _Message) -> None:
        if message["type"].endswith(("response.start", ".accept")):
            headers: _RawHeaders = list(message.get("headers") or ())
            # A cache-control that the app has chosen stays.
            names = {name.lower() for name, _ in headers} & {b"cache-control"}
            headers += [pair for pair in added if pair[0] not in names]
            message = {**message, "headers": headers}
        await send(message)

    return send_more if added else send


# --- App ------------------------------------------------------------------------------------------

# Attributes that `App.__init__` makes.
_OWN = (
    "middlewares",
    "ws_middlewares",
    "startup_handlers",
    "shutdown_handlers",
    "mounts",
    "session_backend",
)


class _Missing:
    """Stands on the class for an attribute that ``App.__init__`` sets on each app."""

    def __get__(self, app: App, owner: type[App]) -> NoReturn:
        raise AttributeError(f"{owner.__name__}.__init__ must call super().__init__()")


class App:
    """An ASGI application. The public methods of a subclass are its URLs.

    Args:
        session_backend: The store of sessions; None keeps them in the memory of this process.
        debug: Shows tracebacks in the browser.
        session_timeout: Seconds after which a session ends if no request looks at it.
        session_cookie_name: The name of the session cookie.
        session_cookie_secure: Whether browsers send the session cookie over HTTPS alone. None means
            True, unless ``debug`` is on or the request comes straight from this machine over plain
            HTTP. If the app is behind a proxy, set True.
        session_cookie_path: The part of the site that gets the session cookie. None means the root
            path of this app.
        allowed_origins: Full origins, such as ``https://example.com``, whose pages may open
            WebSockets and send requests other than GET, HEAD and OPTIONS with a session.
        max_body_size: The most bytes of a body in memory or on disk. None disables the limit.
        max_upload_size: The most bytes of a body that streams into a handler, by default as many as
            ``max_body_size``. None disables the limit.
        max_json_size: The most bytes of a JSON body, or of a message for `WebSocket.receive_json`.
            None disables the limit.
        max_form_field_size: The most bytes of a text field of a multipart form. None disables the
            limit.
        body_timeout: How long to wait for the next byte of a request body, in seconds, before a
            408. The 408 can come up to 12.5 % late. None disables the timeout.

    Attributes:
        middlewares (list[HttpMiddleware]): Middleware for every HTTP request. The first item is
            the outermost.
        ws_middlewares (list[WebSocketMiddleware]): Middleware for every WebSocket. The first item
            is the outermost.
        startup_handlers (list[Callable]): Functions to run, in order, before the first request.
            Each can be ``async def`` or ``def``.
        shutdown_handlers (list[Callable]): Functions to run, in order, after the last request.
            Each can be ``async def`` or ``def``.
        mounts (dict[str, Callable]): Maps a path prefix, such as ``"/static"``, to the ASGI app
            that serves it.
        session_backend (SessionBackend): The store of sessions.

    Raises:
        TypeError: ``allowed_origins`` is a string, not a list of strings. Also raised when a class
            is defined with a handler, or a value, named like an attribute of `App`.
        ValueError: A size is below zero, or a time is not above it, or browsers would drop the
            session cookie.

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

    # A dataclass, for example, has an `__init__` that does not call this one; say so.
    if not TYPE_CHECKING:  # pragma: no branch
        middlewares = ws_middlewares = startup_handlers = shutdown_handlers = _Missing()
        mounts = session_backend = _started = __settings = _Missing()

    def __init__(
        self,
        session_backend: SessionBackend | None = None,
        *,
        debug: bool = False,
        session_timeout: float = SESSION_TIMEOUT,
        session_cookie_name: str = "session_id",
        session_cookie_secure: bool | None = None,
        session_cookie_path: str | None = None,
        allowed_origins: Iterable[str] = (),
        max_body_size: int | None = 16 * 2**20,
        max_upload_size: int | None | types.EllipsisType = ...,
        max_json_size: int | None = 2**20,
        max_form_field_size: int | None = 2**20,
        body_timeout: float | None = 30.0,
    ) -> None:
        # A second list would lose guards. No property or `__getattr__`, unready perhaps, is asked.
        for name in [one for one in _OWN if type(getattr_static(type(self), one)) is not property]:
            with suppress(AttributeError):  # a look at `__dict__` would slow down each request
                object.__getattribute__(self, name)
                raise TypeError("App.__init__ runs once, and before its attributes are set")
        if isinstance(allowed_origins, str):
            raise TypeError("allowed_origins is a list of origins, not one text")
        if not session_timeout > 0 or not (body_timeout is None or body_timeout > 0):  # or NaN
            raise ValueError("session_timeout and body_timeout are seconds above 0")
        # Browsers ask this of such names; `set_cookie` checks it here, and not at the first login.
        if re.match(_HOST_NAME, session_cookie_name):
            session_cookie_path = session_cookie_path or "/"
        if re.match(_SECURE_NAME, session_cookie_name) and session_cookie_secure is None:
            session_cookie_secure = True
        secure = session_cookie_secure in (None, True)
        set_cookie(session_cookie_name, "", path=session_cookie_path, secure=secure)
        self.middlewares: list[HttpMiddleware] = []
        self.ws_middlewares: list[WebSocketMiddleware] = []
        self.startup_handlers: list[_Hook] = []
        self.shutdown_handlers: list[_Hook] = []
        self.mounts: dict[str, _ASGIApp] = {}
        self.session_backend: SessionBackend = (
            InMemorySessionBackend() if session_backend is None else session_backend
        )
        self._started, self.__debug = False, debug
        self.__session_timeout = session_timeout
        self.__session_cookie_name = session_cookie_name
        self.__session_cookie_secure = session_cookie_secure
        self.__session_cookie_path = session_cookie_path
        origins = {origin.lower().rstrip("/") for origin in allowed_origins}
        self.__allowed_origins = origins - {"null", ""}
        kept = _limit(max_body_size, "max_body_size")
        if max_upload_size is ...:
            max_upload_size = max_body_size
        # JSON is kept as a body, and a field as a part of one, so both limits hold.
        self.__settings = _Settings(
            kept,
            _limit(max_upload_size, "max_upload_size"),
            min(kept, _limit(max_json_size, "max_json_size")),
            min(kept, _limit(max_form_field_size, "max_form_field_size")),
            body_timeout,
        )
        self.__handlers, self.__routes = _handlers(type(self), "")
        self.__socket_handlers, self.__socket_routes = _handlers(type(self), "ws_")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Warn of what looks like a handler in the body of a new class or a mixin, and is none.

        Raises:
            TypeError: A name is App's own.
        """
        super().__init_subclass__(**kwargs)
        # A base that is an App was looked at when it was made.
        known = {one for base in cls.__bases__ if issubclass(base, App) for one in base.__mro__}
        for name in dict.fromkeys(
            name for base in cls.__mro__ if base not in known for name in vars(base)
        ):
            member = getattr_static(cls, name)  # a base that comes earlier may have another
            # Each of these is a URL that users cannot have, so there will be no more. A value is
            # refused too, since `__init__` replaces it, perhaps a list of guards. But `env` may be
            # one, and a property may do the work of App's own. A subclass that is called App, too,
            # has the same private names.
            own = vars(App).get(name)
            if (
                type(own) in (_Missing, property)
                and (type(member) is not property or member is own)
                or (name == "env" and _function_of(member))
                or name.startswith("_App__")
            ):
                raise TypeError(
                    f"{cls.__name__}.{name} cannot stand here: App.{name} is the framework's own"
                )
            is_type = isinstance(member, (type, NewType)) or get_origin(member)
            is_ours = name.startswith("_") or is_type or _function_of(member)
            # In a class body these make a method, but cannot be called themselves.
            wrappers = partialmethod, singledispatchmethod, classmethod
            if not is_ours and (callable(member) or isinstance(member, wrappers)):
                _log.warning(
                    "%s.%s (a %s) is no handler: call it in a def",
                    cls.__name__,
                    name,
                    type(member).__name__,  # pyright: ignore[reportUnknownArgumentType]
                )

    @property
    def request(self) -> Request:
        """The request that is being answered.

        Raises:
            RuntimeError: No request is being answered here.
        """
        try:
            return current_request.get()
        except LookupError:
            raise RuntimeError(
                "self.request is there only while a request is being answered"
            ) from None

    @cached_property
    def env(self) -> Any:
        """The jinja2 environment, made at first use.

        It looks in ``templates/`` beside the App's module, and then in ``./templates``.

        It is async, so that templates can await. You can set another one, which need not be async.

        Raises:
            RuntimeError: jinja2 is not installed.
        """
        try:
            import jinja2
        except ImportError as error:
            raise RuntimeError(
                'templates need the package jinja2: pip install "micropie[standard]"'
            ) from error
        module = sys.modules.get(type(self).__module__)
        beside = join(dirname(getattr(module, "__file__", None) or ""), "templates")
        return jinja2.Environment(
            loader=jinja2.FileSystemLoader([beside, "templates"]),
            autoescape=lambda name: name is None or not name.endswith(".txt"),
            enable_async=True,
        )

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one ASGI connection.

        Raises:
            ValueError: Its type is none of http, websocket and lifespan.
        """
        match scope["type"]:
            case "http":
                await self._asgi_app_http(scope, receive, send)
            case "websocket":
                await self._asgi_app_websocket(scope, receive, send)
            case "lifespan":
                await self._asgi_app_lifespan(receive, send)
            case kind:
                raise ValueError(f"unknown ASGI scope type {kind!r}")

    # HTTP, in the order in which things happen to a request

    async def _asgi_app_http(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one HTTP request."""
        request = Request(scope, receive, self.__settings)
        token = current_request.set(request)
        response: _Response | None = None
        plain: _Message | None = None
        payload = b""
        gone: Any = _GONE
        try:
            try:
                result: object = await self.__answer(request)
                kind, body = type(result), request._body
                if not body and request.method != "GET":
                    body = request._body_reader()  # HTTP/2 announces one without a header
                is_read = not body or (body.ended and not body.gone)
                if kind in _PLAIN and is_read and not (request._session or request._asked):
                    # A shortcut for most responses: a string, bytes or JSON, and no middleware,
                    # session or body to see to. It skips making and checking a `_Response`, which
                    # takes longer than all the rest.
                    encode, content_type = _PLAIN[kind]
                    payload = encode(result)
                    headers = [content_type, (b"content-length", b"%d" % len(payload))]
                    plain = {"type": "http.response.start", "status": 200, "headers": headers}
                else:
                    response = None if result is _MOUNTED else _response_of(result)
            except BaseException as error:
                response = self.__failed(request, error)
            if plain is None:
                # The server logs the exceptions of a mounted app.
                gone = _GONE if response else ()
                rest = await self.__finish(request, response, send)
                result = response = None  # a stream may be open for hours
                await rest
            else:
                await send(plain)
                payload = b"" if request.method == "HEAD" else payload
                await send({"type": "http.response.body", "body": payload})
        except gone:
            pass  # no response can reach the client
        finally:
            if plain is None:  # errors have been logged, and no middleware can look any more
                _forget(*request._errors)
            if body := request._body:
                body.gone = True  # what is read of its files from now on fails
                if request._multipart:
                    await request._multipart.close()
                if body.ahead:
                    await body.ahead.close()
            # Last, since it fails if the garbage collector ends this request.
            current_request.reset(token)

    def __answer(self, request: Request) -> Awaitable[Any]:
        """Find the handler, and call it or what comes before it; return what is to be awaited."""
        scope = request.scope
        # `_asked` are the middlewares whose `after_request` will run. All of them are told of a
        # path or a body that is bad before any was asked; from then on, only those whose
        # `before_request` completed.
        if self.middlewares:
            request._asked = self.middlewares[:]  # not of an iterator: later requests get none
        # A shortcut for handlers without path parameters.
        handler, mounts = self.__routes.get(scope["path"]), self.mounts
        if handler is None or scope.get("root_path") or mounts:
            self.__find_handler(request, self.__routes)
        else:
            request.route_handler = handler.name
        # The headers are not decoded here, since most requests have none that MicroPie needs.
        is_noted = False
        for name, value in scope["headers"]:
            if name in _NOTED_HEADERS:
                is_noted = True
                request._note_header(name, value)
        if request._asked or mounts or (is_noted and request._cookies):
            return self.__prepare_and_call(request)
        if is_noted and (reading := request._read()):
            return self.__prepare_and_call(request, reading)
        return self.__call_handler(request)

    def __find_handler(self, request: Request, routes: _Table) -> None:
        """Find the handler that the first segment of the path names, and the mounted app."""
        path: str = request.scope["path"]
        if root := request.scope.get("root_path"):
            root = _prefix(root)
            if _is_below(path, root):  # some servers repeat the root path in the path
                path = path[len(root) :]
        if self.mounts:
            # The longest first, so that /api/v2 comes before /api.
            for prefix in sorted(self.mounts, key=len, reverse=True):
                if _is_below(path, _prefix(prefix)):
                    request._mount = prefix
                    return
        before, *segments = path.removesuffix("/").split("/")  # one trailing slash is ignored
        if before:  # no slash comes first, for example in OPTIONS *
            return
        name, *arguments = segments or ["index"]
        handler = routes.get(f"/{name}") or routes.get(f"/{re.sub('[-.]', '_', name)}")
        if not handler or not name:  # the name is empty in //, and must not find the route "/"
            handler, arguments = routes.get("/"), segments
            if not handler or name.startswith("_") or not handler.binder.takes:
                return
        request.route_handler, request.path_params = handler.name, arguments

    def __hand_over(self, request: Request, receive: _Receive, send: _Send) -> Awaitable[None]:
        """Call the mounted app, with the scope as the middlewares have left it."""
        scope = request.scope
        root = _prefix(scope.get("root_path"))
        child = {**scope, "root_path": root + _prefix(request._mount)}
        # In a scope the path includes the root path (ASGI HTTP).
        if not _is_below(scope["path"], root):
            child |= {"path": root + scope["path"], "raw_path": None}
        return self.mounts[request._mount](child, receive, _adding(send, request._added))

    async def __prepare_and_call(self, request: Request, reading: Any = None) -> Any:
        """Load the session, read the body, ask the middlewares, call the handler."""
        if request._cookies:
            # Before all that may fail, or an `after_request` might put a new one in its place.
            await self.__load_session(request)
        if reading := reading or request._read():
            await reading
        middlewares, request._asked = request._asked, ()
        for middleware in middlewares:
            result = await middleware.before_request(request)
            request._asked = (*request._asked, middleware)
            if answer := _checked_dict(result, _RESPONSE_KEYS, middleware):
                return answer.get("status_code", 200), answer.get("body"), answer.get("headers")
        if request._mount is not None:
            if request.route_handler is None:
                # The mounted app must not take the rest of a body for the whole.
                request._body_reader().check_unread()
                request._added = await self.__session_headers(request)
                return _MOUNTED
            # A middleware has chosen a handler of this app, to ask for a login for example.
            request._mount = None
            if reading := request._read():
                await reading
        return await self.__call_handler(request)

    async def __load_session(self, request: Request) -> None:
        """Load the session, unless another origin's page has caused the request."""
        ids = _session_ids(request, self.__session_cookie_name)
        # If the backend fails, this request must not put a new session in the place of the old one.
        session = request._session = _Session()
        session.blocked = True
        # Browsers send cookies with requests from any page of the same site, and old ones with all;
        # to WebSockets they apply no same-origin policy.
        if _is_foreign(request, self.__allowed_origins):
            if ids:
                _log.warning(
                    "no session for a request from %r to %r",
                    request.headers.get("origin"),
                    request.scope["path"],
                )
            return
        for session_id in ids:
            if data := await self.session_backend.load(session_id):
                request._session = _Session(session_id, data)
                return
        request._session = None

    def __call_handler(self, request: Request) -> Awaitable[Any]:
        """Bind the handler's arguments and call it; return what is to be awaited."""
        # The path names it, or a middleware that has set another name, of a private one perhaps.
        handler = self.__handlers.get(request.route_handler or "")
        if handler is None:
            raise _error(404)
        allowed = handler.methods
        if allowed and request.method not in allowed:  # RFC 9110 section 15.5.6
            headers = [("allow", ", ".join(dict.fromkeys((*allowed, "OPTIONS"))))]
            if request.method == "OPTIONS":  # no error, so `request.exception` stays None
                return sleep(0, (204, None, headers))
            raise HTTPError(405, headers=headers)
        if request._is_multipart:
            return self.__call_with_form(request, handler)
        return handler.run(self, request)

    async def __call_with_form(self, request: Request, handler: _Handler) -> Any:
        """Read a multipart form and call the handler, which may read the last file as it comes."""
        body = request._body_reader()
        settings, binder = self.__settings, handler.binder
        # A middleware may have read the body already, for example to check a signature.
        chunks = body.chunks()
        body.expect(min(settings.streamed, _NO_LIMIT if binder.may_stream else settings.kept))
        form = _MultipartForm(chunks, _boundary(request._content_type), settings)
        request._multipart = form
        request._fields, request._files = form.fields, form.files
        for one in binder.all:
            if one.is_secret:  # its 401 comes before the form is read
                one.find(request)
        if not await form.run(partial(binder.waits_for, request)):
            _check_size(body.size, settings.kept)
        return await handler.run(self, request)

    async def __finish(
        self, request: Request, response: _Response | None, send: _Send
    ) -> Awaitable[None]:
        """Let middlewares and session change a response, and send it; None: a mount answers.

        Returns:
            What sends the rest, a stream for example.
        """
        if not response:
            return self.__hand_over(request, request._body_reader().receive_again(), send)
        # Each `after_request` runs once, on the response that the ones inside it have made of the
        # first, errors included.
        request._is_lenient = True
        for middleware in reversed(request._asked):
            try:
                headers = list(response.headers)
                result = await middleware.after_request(
                    request, response.status, response.body, headers
                )
                changes = _checked_dict(result, _RESPONSE_KEYS, middleware)
                response = _changed(response, changes, headers)
            except BaseException as error:
                response = self.__failed(request, error)
        request._is_lenient = False
        try:
            added = await self.__session_headers(request, response.status, response.payload is None)
        except BaseException as error:
            await _close(response.body)  # a stream that never starts
            response, added = self.__failed(request, error), _VARY
        return await self.__send(request, response, _adding(send, added))

    async def __session_headers(
        self, request: Request, status: int = 200, is_stream: bool = False
    ) -> _RawHeaders:
        """Save what this request changed in its session; return the headers that this adds."""
        session = request._session
        if not session or session.snapshot is None:
            # A stream may look at the session later, when its headers are gone.
            return _VARY if is_stream and _session_ids(request, self.__session_cookie_name) else []
        # After a 5xx nothing is saved, since a handler that failed half-way may have left half of
        # its changes. Nor is a session that another origin's page would begin.
        if status >= 500 or (not session.id and _is_foreign(request, self.__allowed_origins)):
            return _VARY
        session_id = await session.commit(self.session_backend, self.__session_timeout)
        if session_id is None:
            return _VARY
        return [*_VARY, self.__session_cookie(request, session_id), (b"cache-control", b"no-store")]

    async def __send(self, request: Request, response: _Response, send: _Send) -> Awaitable[None]:
        """Write a response, and return what writes the rest; `_asgi_app_http` has a shortcut."""
        body, is_head = request._body_reader(), request.method == "HEAD"
        stream: _Stream | None = None
        if response.payload is None:
            try:
                stream = _Stream(send, body, response.body)
            except BaseException as error:  # the body only looks like an iterator
                response = self.__failed(request, error)
        headers = list(response.raw_headers)
        start = {"type": "http.response.start", "status": response.status, "headers": headers}
        if stream:
            if not (is_head or body.gone):
                return stream.run(start)
            await _close(stream.chunks)
        elif not response.payload:
            await _close(response.body)  # that of a 204 or a 304 may be a stream
        # A client that is still sending may not look for a response before it has sent everything.
        await body.drain()
        if body.gone:
            raise ConnectionClosed
        await send(start)
        return send({"type": "http.response.body", "body": b"" if is_head else response.payload})

    def __session_cookie(self, request: Request, session_id: str) -> _RawPair:
        """Return the header that sets the session cookie, or deletes it if the id is ``""``."""
        secure = self.__session_cookie_secure
        if secure is None:
            secure = not (self.__debug or _is_from_here(request))
        root = _quoted(_prefix(request.scope.get("root_path")), "/!$&'()*+,:=@~")
        path = self.__session_cookie_path or root or "/"
        age, name = None if session_id else 0, self.__session_cookie_name
        return _raw_header(*set_cookie(name, session_id, max_age=age, path=path, secure=secure))

    def __failed(self, request: Request, error: BaseException) -> _Response:
        """Return the response for an error; let pass what is no error of this request."""
        body = request._body
        text: Any = "500 Internal Server Error"
        request._errors += (error,)
        try:
            # If the client is gone, no response is sent. The ConnectionClosed of another connection
            # is a mistake.
            if isinstance(error, ConnectionClosed) and body and body.gone:
                raise error
            if isinstance(error, HTTPError):
                try:
                    return _error_response(error)
                except BaseException as malformed:  # its own status, body or headers cannot be sent
                    return self.__failed(request, malformed)
            if not _is_stray(error):
                raise error
            _log.error("%r %r failed", request.method, request.scope.get("path"), exc_info=error)
            if self.__debug:
                import traceback

                # A string from the client, which an exception repeats, may hold lone surrogates.
                text = "".join(traceback.format_exception(error)).encode("utf-8", "replace")
            return _response(500, text, None, _TEXT)
        finally:
            # Its traceback leads to this frame, and the cycle would keep the request and its body.
            del error

    async def _send_response(
        self, send: _Send, status_code: int, body: Any, extra_headers: _Headers | None = None
    ) -> None:
        """Write your own response, from code that extends the App.

        Args:
            send: The ASGI send callable.
            status_code: The HTTP status.
            body: Anything that a handler may return.
            extra_headers: Header pairs or a dict.
        """
        request = current_request.get(None) or Request({"type": "http"})
        with suppress(*_GONE):
            await (await self.__send(request, _response(status_code, body, extra_headers), send))

    # WebSocket, in the order in which things happen to a connection

    async def _asgi_app_websocket(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one WebSocket, from its handshake to its end."""
        request = WebSocketRequest(scope, None, self.__settings)
        socket = WebSocket(receive, send)
        socket.subprotocols = list(scope.get("subprotocols") or ())
        socket._limits = self.__settings
        # The socket gives itself as an argument: bound to it, this would be a reference cycle.
        socket._on_accept = partial(self.__handshake_headers, request)
        token = current_request.set(request)
        try:
            code = await self.__run_socket_step(socket, self.__serve_socket, request, socket)
            # Once a mounted app has the socket, nothing else of this app runs.
            if request._mount is not None and not code and not socket._over:
                return await self.__hand_over(request, receive, send)
            # Each step runs, also after one that failed. The close code is that of the last
            # failure, and the socket is closed in any case.
            for step in (
                *[middleware.after_websocket for middleware in reversed(request._asked)],
                self.__finish_socket_session,
            ):
                code = await self.__run_socket_step(socket, step, request) or code
            if socket._stop is not None:
                raise CancelledError(*socket._stop)
            # If the server refuses 1011, it gets the exception, and closes with that code itself.
            await socket._close(code or 1000)
        finally:
            current_request.reset(token)

    async def __run_socket_step(
        self, socket: WebSocket, step: Callable[..., Awaitable[Any]], *arguments: Any
    ) -> int:
        """Run one step in the life of a WebSocket; return the close code if it failed, else 0."""
        code = 0
        try:
            handler = await step(*arguments)
            del step, arguments  # a socket may be open for hours
            if isawaitable(handler):
                try:
                    if isinstance(await handler, AsyncIterator | types.GeneratorType):
                        raise TypeError("a WebSocket handler with a yield never runs")
                finally:
                    await socket._unwatch()
        except BaseException as error:
            if isinstance(error, GeneratorExit):
                raise
            # A ConnectionClosed is a normal end only if this socket is closed. It may come from
            # another one, to which the handler is a client. So is the end of an idle handler.
            # A task group wraps the exceptions of its tasks, and so on; `split` looks into all.
            others = BaseExceptionGroup("", [error]).split(ConnectionClosed)[1]
            was_ended = socket._left and isinstance(error, CancelledError)
            if not _is_stray(error):
                # The server ends this task. The steps that come after the handler still run.
                code, socket._stop = 1011, error.args
            elif isinstance(error, HTTPError):
                code = 1011
                if not socket.accepted:  # what cannot be sent is logged, and a plain 403
                    code = 1008
                    await self.__run_socket_step(socket, self.__refuse, socket, error)
            elif not socket._over or (others and not was_ended):
                code = 1011
                # Not `self.request`, which a subclass may have made its own.
                _log.error(
                    "WebSocket %r failed", current_request.get().scope.get("path"), exc_info=error
                )
            _forget(error)
        return code

    async def __refuse(self, socket: WebSocket, error: HTTPError) -> None:
        """Refuse a handshake with the status, the headers and the body of an error, if possible."""
        request, response = current_request.get(), _error_response(error)
        if not socket._over and "websocket.http.response" in (
            request.scope.get("extensions") or ()
        ):

            def denial(message: _Message) -> Awaitable[None]:
                return socket._send({**message, "type": f"websocket.{message['type']}"})

            socket._end(1008)
            with suppress(*_GONE):
                await (await self.__send(request, response, denial))

    async def __serve_socket(self, request: WebSocketRequest, socket: WebSocket) -> Any:
        """Do what comes before the handler, and call it unless a mounted app takes over.

        Returns:
            What is to be awaited, since this frame would stay as long as the socket is open.
        """
        self.__find_handler(request, self.__socket_routes)
        request._cookies = request.headers.get("cookie", "").encode()
        await self.__load_session(request)
        if request._session:
            socket.session_id = request._session.id
        for middleware in self.ws_middlewares[:]:
            result = await middleware.before_websocket(request)
            request._asked = (*request._asked, middleware)
            if refusal := _checked_dict(result, {"code", "reason"}, middleware):
                return await socket.close(refusal.get("code", 1008), refusal.get("reason"))
        if request._mount is not None and request.route_handler is None:
            request._added = await self.__session_headers(request)
            return None
        request._mount = None  # a middleware may have chosen a handler of this app
        handler = self.__socket_handlers.get(request.route_handler or "")
        try:
            if not handler:
                raise _error(404)
            work = handler.run(self, request, socket)
        except HTTPError as error:
            # With FromSession the client may log in, or the store of the session is down.
            if error.status not in (400, 404):
                raise
            return await socket.close(1008)  # the path or the arguments do not fit
        vars(request).pop("headers", None)  # made again if asked for; a socket may last for hours
        socket._task = current_task()
        return work

    async def __handshake_headers(
        self, request: WebSocketRequest, socket: WebSocket, session_id: str | None
    ) -> _RawHeaders:
        """Save a new session that is not empty; return the header that sets its cookie, if any."""
        # The handshake is the only time at which a WebSocket can set a cookie.
        session = request._session or _Session()
        if session_id is None and session.data and (session.renew or not session.id):
            saved = deepcopy(session.data)
            session_id = await session.commit(self.session_backend, self.__session_timeout)
            # Later changes are for the second commit, at the end of the handler.
            session.snapshot = saved
        if session_id and not session.blocked:
            socket.session_id = session_id
            request._added = [self.__session_cookie(request, session_id)]
        return [*request._added]  # those of before if the server has refused the first message

    async def __finish_socket_session(self, request: WebSocketRequest) -> None:
        session = request._session
        if not session or session.blocked:
            return
        if session.renew or (not session.id and session.data):
            _log.warning(
                "a session that is new after accept() has no cookie: it, or its new id, is lost"
            )
            session.renew = False
        if session.id:
            await session.commit(self.session_backend, self.__session_timeout)

    async def _send_websocket_close(
        self, send: _Send, code: int, reason: str | None = None
    ) -> None:
        """Close or refuse a WebSocket, from code that extends the App."""
        await send(_close_message(code, reason))

    # Lifespan

    async def _asgi_app_lifespan(self, receive: _Receive, send: _Send) -> None:
        """Run the startup and the shutdown handlers, those of mounted apps included."""
        for kind, run in ("startup", self.__start), ("shutdown", self.__stop):
            await receive()
            failures = ["MicroPie needs asyncio: run it on a server that uses asyncio's loop"]
            if asyncio._get_running_loop():  # that of trio is none of asyncio's
                try:
                    failures = await run()
                except Exception as error:  # a list of handlers is none, or an app not complete
                    failures = [str(error)]
            if failures:
                return await send(
                    {"type": f"lifespan.{kind}.failed", "message": "; ".join(failures)}
                )
            await send({"type": f"lifespan.{kind}.complete"})

    async def __start(self) -> list[str]:
        """Run the startup handlers up to the first that fails; return what went wrong."""
        for app in self.__family():
            for handler in app.startup_handlers:
                if failures := await _run_hook(handler, Task):
                    # The shutdown handlers close what the earlier ones have opened.
                    return failures + await self.__stop()
            app._started = True
        return []

    async def __stop(self) -> list[str]:
        """Run all shutdown handlers; return what went wrong."""
        failures: list[str] = []
        # Those of a mounted app first, since it may use what its parent has opened.
        for app in reversed(list(self.__family())):
            for handler in app.shutdown_handlers:
                failures += await _run_hook(handler)
            app._started = False
        return failures

    def __family(self) -> Iterator[App]:
        """Yield this app and the MicroPie apps mounted below it, each once."""
        family: list[App] = [self]
        for app in family:  # grows on the way
            yield app  # its startup handlers may mount more
            for child in app.mounts.values():
                # Two apps may be equal, as two dataclasses with the same fields are.
                if isinstance(child, App) and id(child) not in map(id, family):
                    family.append(child)

    # For handlers

    def _redirect(
        self, location: str, status: int = 302, headers: _Headers | None = None
    ) -> tuple[int, None, _Pairs]:
        """Return the response that sends the client elsewhere.

        Args:
            location: A URL, absolute or relative. Characters that aren't allowed in a URL are
                percent-encoded.
            status: 301, 302, 303, 307 or 308.
            headers: More headers, such as cookies.
        """
        # The characters of RFC 3986, and the percent sign, so that nothing is encoded twice.
        url = _quoted(location, "!#$%&'()*+,/:;=?@[]~")
        return status, None, [("location", url), *_pairs(headers)]

    async def _render_template(self, name: str, /, **context: Any) -> str:
        """Render a template.

        Args:
            name: Its path below ``templates/``.
            context: Its variables.

        Raises:
            RuntimeError: jinja2 is not installed.
        """
        template = self.env.get_template(name)
        # An app may have set an environment that is not async, which renders faster.
        if template.environment.is_async:
            return await template.render_async(context)  # type: ignore[no-any-return]
        return template.render(context)  # type: ignore[no-any-return]

    def _parse_cookies(self, cookie_header: str) -> _Cookies:
        """Parse a Cookie header; of cookies with the same name the first counts."""
        return _parse_cookies(cookie_header)

    async def _parse_multipart(
        self, reader: asyncio.StreamReader, boundary: bytes
    ) -> tuple[_Values, dict[str, UploadedFile]]:
        """Parse a whole multipart form.

        Args:
            reader: The reader of the body.
            boundary: What separates its parts.

        Returns:
            The text fields, all values of each name, and the files, the first of each name.

        Raises:
            HTTPError: 400 malformed, 413 over a limit.
        """
        form = _MultipartForm(partial(reader.read, _CHUNK_SIZE), boundary, self.__settings)
        await form.run()
        for files in form.files.values():
            for file in files:
                weakref.finalize(file, file.file.close)
        return form.fields, {name: files[0] for name, files in form.files.items()}


async def _run_hook(handler: _Hook, unawaited: Any = ()) -> list[str]:
    """Run a startup or shutdown handler; return what went wrong, which is logged too.

    A result of the type ``unawaited`` is left alone.
    """
    try:
        result = handler()
        # A generator would never run. If it is awaited, Python says so. A task that a startup
        # handler has started may run as long as the app.
        awaited = isinstance(result, Awaitable | types.GeneratorType | AsyncIterator)
        if awaited and not isinstance(result, unawaited):
            await result  # pyright: ignore
    except BaseException as error:
        if not _is_stray(error):
            raise
        import traceback

        # Not its `repr`, which may fail or have a password.
        name = getattr(handler, "__qualname__", type(handler))
        _log.error("%s failed", name, exc_info=error)
        _forget(error)
        # Its own `str` may fail, and a server that gets no report serves all the same.
        return [f"{name}: {''.join(traceback.format_exception_only(error)).strip()}"]
    return []


# --- Command line ---------------------------------------------------------------------------------


class Route(NamedTuple):
    """One route of an app, as `routes` returns it.

    Attributes:
        protocol: ``"http"`` or ``"websocket"``.
        path: The path without the handler's arguments, below the prefixes of mounts.
        methods: The HTTP methods, sorted; None: any.
        parameters: Name (``*rest`` and ``**options`` with their stars), annotation and default of
            each parameter that binds; `inspect.Parameter.empty` if there is no annotation or
            default.
        handler: The handler, such as ``"Root.index"``; of a mounted app that is not MicroPie's, its
            class or name.
        source: File and line, such as ``"app.py:7"``; ``""`` if they are not known.

    Example:
        >>> Route("http", "/", None, (), "Root.index", "app.py:7").path
        '/'
    """

    protocol: str
    path: str
    methods: tuple[str, ...] | None
    parameters: tuple[tuple[str, Any, Any], ...]
    handler: str
    source: str


def routes(app: App, _parents: Any = ()) -> list[Route]:
    """Return what an app exposes, its mounts included.

    HTTP comes first, then WebSocket, each sorted by path, and then the mounts.

    Example:
        >>> class Root(App):
        ...     async def greet(self, name: str, times: int = 1): ...
        >>> [route] = routes(Root())
        >>> route.path, route.handler, route.parameters[1]
        ('/greet', 'Root.greet', ('times', <class 'int'>, 1))
    """
    found: list[Route] = []
    here = f"{os.getcwd()}{os.sep}"
    for protocol, table in ("http", "_App__routes"), ("websocket", "_App__socket_routes"):
        for path, handler in sorted(getattr(app, table).items()):
            if path == "/index":  # it is there as "/", too
                continue
            name = f"{type(app).__name__}.{handler.name}"
            # Stars belong to the name, so that a reader of the tuple sees what they are.
            parameters = tuple(
                (re.split("[:=]", str(one))[0], one.annotation, one.default)
                for one in handler.parameters
            )
            # Around a partial, for example, a decorator leaves no code to name.
            code = getattr(unwrap(handler.function), "__code__", None)
            source = f"{code.co_filename.removeprefix(here)}:{code.co_firstlineno}" if code else ""
            found.append(Route(protocol, path, handler.methods, parameters, name, source))
    for mount, mounted in app.mounts.items():
        if isinstance(mounted, App):
            # Apps may be mounted in each other; the paths below them would have no end.
            apps = (*_parents, app)
            below = [] if id(mounted) in map(id, apps) else routes(mounted, apps)
        else:
            name = getattr(mounted, "__qualname__", type(mounted).__name__)
            below = [Route("http", "/", None, (), name, "")]
        found += [route._replace(path=_prefix(mount) + route.path) for route in below]
    return found


def _described(name: str, annotation: Any, default: Any) -> str:
    """Return a parameter as it stands in a signature."""
    if annotation is FromSession:
        name += ": FromSession"
    elif annotation is not _ABSENT:
        name += f": {formatannotation(annotation, __name__)}"
    return name if default is _ABSENT else f"{name} = {default!r}"


def _main(arguments: list[str]) -> str | None:
    """Run the command line: ``python -m micropie routes app:app``; return what is wrong with it."""
    if len(arguments) != 2 or arguments[0] != "routes":
        return "usage: python -m micropie routes MODULE:APP"
    import importlib

    module, _, attribute = arguments[1].partition(":")
    app = getattr(importlib.import_module(module), attribute or "app", None)
    if not isinstance(app, App):
        return f"{arguments[1]} is no micropie.App"
    rows = [("PATH", "METHODS", "PARAMETERS", "PROTOCOL", "SOURCE")]
    for protocol, path, allowed, parameters, _, source in routes(app):
        name, any_method = ("HTTP", "any") if protocol == "http" else ("WebSocket", "-")
        shown = ", ".join(_described(*one) for one in parameters)
        rows.append((path, ", ".join(allowed or [any_method]), f"({shown})", name, source))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return None


if __name__ == "__main__":  # pragma: no cover
    import micropie  # the app to look at is an instance of that module's App

    sys.exit(micropie._main(sys.argv[1:]))
