"""An in-memory ASGI client that checks the protocol on every message of the application.

Tests are `async def` and call one of these (others call `run(coroutine)`):

* `await get(app, "/path?query", **options)`, `await request(app, method, path, …)` and
  `await post(app, target, form=… | json=… | multipart=… | body=…, …)`: one request, answered with a
  `Response`.
* `Browser(app)`: `await browser.get(target)`, `await browser.post(target, …)` with a cookie jar.
* `async with exchange(app, …) as ex`: one request step by step (`send_body`, `next_message`,
  `next_chunk`, `disconnect`, `hold`/`release` for back-pressure, `cancel` for a forced shutdown).
* `async with websocket(app, path, …) as ws`: `ws.accepted`, `ws.rejected`, `await ws.send_text(…)`,
  `await ws.receive()`, `await ws.close()`, `ws.close_code`, `ws.close_reason`.
* `async with lifespan(app) as life`: startup on entry, shutdown on exit; `LifespanFailed` when one
  of them fails.
* `await call(app, receive, …)`: one call with nothing checked, for servers that misbehave; returns
  what was sent.
* `scripted(message, …)`: a `receive()` that delivers these messages, then nothing;
  `piece(b"…", more=…)` makes one.
* `logged(caplog)`, `assert_logged_500(response, caplog)`: what MicroPie wrote to the log.
* `await thread_set(event)`: wait for a `threading.Event` and leave the loop free.

Options of a request: `headers` (pairs or a dict, str or bytes; `host: testserver` is added),
`query` (bytes or str), `body` (bytes; a list of chunks, one message each; `None` announces no
body), `raw_path` (left out: the quoted path), `scope` (merged into the scope; a value `REMOVED`
takes the key out), `receive` (in place of the driver's), `disconnect_after=n` (the client leaves
after n body messages; 0: before the first one), `timeout` in seconds, `expect_exception` (a type
that is to escape the application; found at `Response.exception`). `content-length` is added for a
body unless `headers` have it or `transfer-encoding`.

`Response`: `.status` (None: nothing was sent) `.headers` (byte pairs) `.header(name)`
`.headers_all(name)` `.body` `.text` `.json()` `.chunks` (the body of each message) `.complete` (the
final message was sent) `.cookies`.

What is checked, always; a violation is a `ProtocolError` (an `AssertionError`) raised to the test,
with every message:

* HTTP: one start, before any body; status an int; headers a *fresh* list of byte pairs, names
  lower-case tokens, values stripped and without control characters; bodies `bytes`; nothing after
  the last body; no body (and no `content-length`) on 1xx, 204 and 304, no body on HEAD;
  `content-length` equal to what was sent; `set-cookie` well-formed.
* WebSocket: accept, send and close only in their states; an offered subprotocol; exactly one of
  text and bytes; close codes that may be sent; reasons of at most 123 bytes; a socket that is
  closed when the application returns.
* Both: nothing sent after a disconnect was delivered; no two `receive()` or two `send()` at once;
  no exception leaves the callable; no task is left over when it returns; every request is answered
  unless the client left.

The header lists that come in are edited afterwards, as an outer ASGI middleware may do: an
application that keeps and reuses a list is caught at its next response.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json as json_module
import logging
import re
import threading
import weakref
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlencode

import pytest

from tests.clock import VirtualLoop, elapse

T = TypeVar("T")
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
HeaderInput = Iterable[tuple[str | bytes, str | bytes]] | Mapping[Any, Any]
Part = tuple[str, str | bytes] | tuple[str, str | None, str | None, bytes]

REMOVED: Any = object()
_UNSET: Any = object()

BOUNDARY = "----tests-boundary-7MA4YWxkTrZu0gW"
_EDITED = (b"x-edited-by-outer-middleware", b"1")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
_COOKIE_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_COOKIE_VALUE = re.compile(r"(\"?)[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*\1\Z")
_COOKIE_FLAGS = {"secure", "httponly", "partitioned"}


class ProtocolError(AssertionError):
    """The application broke the ASGI protocol, or a rule of HTTP that a server relies on."""


class LifespanFailed(Exception):
    """The application answered a lifespan event with `failed`; the text is its message."""


class WebSocketClosed(Exception):
    """`ws.receive()` found that the application closed the socket."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(f"closed by the application: {code} {reason!r}")
        self.code = code
        self.reason = reason


# --- Running a test -------------------------------------------------------------------------------


def run(coroutine: Coroutine[Any, Any, T], timeout: float = 30.0, *, real_time: bool = False) -> T:
    """Run `coroutine` in an event loop of its own; an error that the loop only logs fails the test.

    Args:
        coroutine: What to run. Tests that are `async def` are run so by `tests/conftest.py`.
        timeout: Seconds, in the time of the loop.
        real_time: Use an ordinary event loop in place of `tests.clock.VirtualLoop`: for tests with
            real sockets, processes, and threads that the loop does not know.
    """
    complaints: list[str] = []

    async def main() -> T:
        asyncio.get_running_loop().set_exception_handler(
            lambda loop, context: complaints.append(
                f"{context.get('message')}: {context.get('exception')!r}"
            )
        )
        async with asyncio.timeout(timeout):
            return await coroutine

    with asyncio.Runner(debug=False, loop_factory=None if real_time else VirtualLoop) as runner:
        result = runner.run(main())
    if complaints:
        raise ProtocolError(f"the event loop complains: {complaints}")
    return result


_owned: contextvars.ContextVar[weakref.WeakSet[asyncio.Task[Any]] | None] = contextvars.ContextVar(
    "owned", default=None
)


def _watch_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have the loop note tasks under the request whose context made them.

    So concurrent requests stay apart.
    """
    if getattr(loop.get_task_factory(), "watches", False):
        return

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **kwargs)
        owned = _owned.get()
        if owned is not None:
            owned.add(task)
        return task

    factory.watches = True  # type: ignore[attr-defined]
    loop.set_task_factory(factory)


def shown(value: object) -> str:
    """`repr` without addresses in memory: an id of a parametrized test, the same everywhere."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


async def thread_set(event: threading.Event) -> None:
    """Wait for what a worker thread sets, and leave the loop free meanwhile."""
    assert await asyncio.to_thread(event.wait, 20), "the thread did not get there"


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """The errors that MicroPie has logged."""
    return [
        entry
        for entry in caplog.records
        if entry.name == "micropie" and entry.levelno >= logging.ERROR
    ]


def assert_logged_500(response: Response, caplog: pytest.LogCaptureFixture) -> None:
    """The client learns nothing but the status, and the log has the traceback."""
    assert (response.status, response.text) == (500, "500 Internal Server Error")
    assert [entry.exc_info is not None for entry in logged(caplog)] == [True]


# --- A server that the test makes up --------------------------------------------------------------


def piece(content: bytes = b"", *, more: bool = False) -> Message:
    """The message with a piece of a request body."""
    return {"type": "http.request", "body": content, "more_body": more}


def scripted(*messages: Message | Exception, pause: float = 0) -> Receive:
    """Make a `receive()` that delivers these messages, raises exceptions among them, then waits.

    Before each of them it waits for `pause` seconds.
    """
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.get_running_loop().create_future()
        if pause:
            await elapse(pause)
        message = left.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    return receive


async def call(
    app: ASGIApp,
    receive: Receive | None = None,
    refuse: Callable[[Message], Exception | None] | None = None,
    **scope: Any,
) -> list[Message]:
    """Call the application with the least that a server may give it, unchecked.

    Args:
        app: The application.
        receive: The server's `receive()`; left out: a request without a body, from a client that
            stays.
        refuse: Called with each message; what it returns is raised by `send()`, and the message
            counts as not sent.
        scope: Keys of the scope besides `type`, `method`, `path` and `headers`, or in place of
            them.
    """
    sent: list[Message] = []

    async def send(message: Message) -> None:
        error = refuse(message) if refuse is not None else None
        if error is not None:
            raise error
        sent.append(message)

    defaults = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await app({**defaults, **scope}, scripted(piece()) if receive is None else receive, send)
    return sent


# --- Checks that are the same for all kinds of connection -----------------------------------------


def check_headers(headers: Any) -> list[tuple[bytes, bytes]]:
    """Check a header list and return a copy; the list itself is edited, as middleware may do."""
    if type(headers) is not list:
        raise ProtocolError(f"headers are no list: {headers!r}")
    for pair in headers:
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not all(type(part) is bytes for part in pair)
        ):
            raise ProtocolError(f"a header is no pair of bytes: {pair!r}")
        name, value = pair
        if (name, value) == _EDITED:
            raise ProtocolError(
                "a header list was sent twice: what outer middleware added came back"
            )
        if not _TOKEN.match(name):
            raise ProtocolError(f"a header name is no lower-case token: {name!r}")
        if not _VALUE.match(value) or value != value.strip(b" \t"):
            raise ProtocolError(
                f"a header value has control characters or blanks around it: {name!r}: {value!r}"
            )
        if name == b"set-cookie":
            _check_set_cookie(value.decode("latin-1"))
    names = [name for name, _ in headers]
    for single in (b"content-type", b"content-length", b"location"):
        if names.count(single) > 1:
            raise ProtocolError(f"{single!r} is sent {names.count(single)} times")
    copy = [(name, value) for name, value in headers]
    headers.append(_EDITED)
    return copy


def _check_set_cookie(value: str) -> None:
    """Check one `set-cookie` value against RFC 6265 section 4.1.1."""
    pair, *attributes = value.split("; ")
    name, equals, content = pair.partition("=")
    if not equals or not _COOKIE_NAME.match(name) or not _COOKIE_VALUE.match(content):
        raise ProtocolError(f"a malformed cookie pair: {value!r}")
    seen: dict[str, str] = {}
    for attribute in attributes:
        key, equals, text = attribute.partition("=")
        key = key.lower()
        if key in seen:
            raise ProtocolError(f"a cookie attribute is sent twice: {value!r}")
        seen[key] = text
        if not _cookie_attribute_ok(key, bool(equals), text):
            raise ProtocolError(f"a malformed cookie attribute {attribute!r}: {value!r}")
    if seen.get("samesite", "").lower() == "none" and "secure" not in seen:
        raise ProtocolError(f"SameSite=None without Secure is refused by browsers: {value!r}")


def _cookie_attribute_ok(key: str, has_value: bool, text: str) -> bool:
    if key in _COOKIE_FLAGS:
        return not has_value
    if key == "samesite":
        return text.lower() in ("lax", "strict", "none")
    if key == "max-age":
        return re.fullmatch(r"-?[0-9]+", text) is not None
    if key == "path":
        return text.startswith("/") and ";" not in text
    return key in ("domain", "expires") and bool(text) and ";" not in text


class _Connection:
    """One call of the application: its task, what it may receive and what it sent."""

    checks: dict[str, str] = {}
    """The method that checks each kind of message that may be sent here."""

    def __init__(
        self, app: ASGIApp, scope: Message, receive: Receive | None = None, timeout: float = 20.0
    ) -> None:
        self.app = app
        self.scope = scope
        self.messages: list[Message] = []
        self.violations: list[str] = []
        self.exception: BaseException | None = None
        self.received = 0
        """How many messages the application has taken."""
        self.receiving = False
        """Whether the application waits in `receive()` now."""
        self.left = False
        """Whether a disconnect was delivered."""
        self.leftover: list[str] = []
        self.timeout = timeout
        self._sending = False
        self._custom_receive = receive
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Message | None] = asyncio.Queue()
        self._gate = asyncio.Event()
        self._gate.set()
        self._broken = False
        self._cancelled = False
        self.task: asyncio.Task[None] | None = None

    # What the application sees.

    async def _app_receive(self) -> Message:
        if self.receiving:
            self.violate("receive() is called while another receive() waits")
        self.receiving = True
        try:
            message = await (self._custom_receive() if self._custom_receive else self._take())
        finally:
            self.receiving = False
        self.received += 1
        if message["type"].endswith(".disconnect"):
            self.left = True
        return message

    async def _take(self) -> Message:
        return await self._incoming.get()

    async def _app_send(self, message: Message) -> None:
        if self._sending:
            self.violate("send() is called while another send() waits")
        if self.left:
            self.violate(f"sent after a disconnect was delivered: {message!r}")
        if self._broken:
            raise OSError("the connection is broken")
        self._sending = True
        try:
            recorded = dict(message)
            try:
                self.check(recorded)
            except ProtocolError as error:
                self.violate(str(error))
            self.messages.append(recorded)
            self._outgoing.put_nowait(recorded)
            await asyncio.sleep(0)
            if not self._gate.is_set():
                await self._gate.wait()
                if self._broken:
                    raise OSError("the connection broke")
        finally:
            self._sending = False

    def check(self, message: Message) -> None:
        kind = message.get("type")
        if kind not in self.checks:
            raise ProtocolError(f"no message of this connection: {message!r}")
        getattr(self, self.checks[kind])(message)

    def check_end(self) -> None:
        raise NotImplementedError

    def violate(self, text: str) -> None:
        self.violations.append(text)

    # What the test does.

    def hold(self) -> None:
        """From now on `send()` waits, as a server does whose client reads nothing."""
        self._gate.clear()

    def release(self) -> None:
        """End what `hold()` began."""
        self._gate.set()

    def break_sends(self) -> None:
        """From now on `send()`, also one that waits, raises `OSError`: the client is gone."""
        self._broken = True

    def cancel(self) -> None:
        """Cancel the application, as a server does at a forced shutdown."""
        assert self.task is not None
        self._cancelled = True
        self.task.cancel()

    @contextlib.asynccontextmanager
    async def cancelled_on_error(self) -> AsyncIterator[None]:
        """Start the application, and cancel it if the block fails."""
        self.start()
        assert self.task is not None
        try:
            yield
        except BaseException:
            self.cancel()
            await asyncio.wait([self.task], timeout=10)
            raise

    @property
    def done(self) -> bool:
        """Whether the application has returned."""
        assert self.task is not None
        return self.task.done()

    async def deliver(self, message: Message) -> None:
        """Deliver a raw ASGI message."""
        self._incoming.put_nowait(message)
        await asyncio.sleep(0)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        _watch_tasks(loop)
        owned: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()
        self.task = loop.create_task(self._call(owned))

    async def _call(self, owned: weakref.WeakSet[asyncio.Task[Any]]) -> None:
        _owned.set(owned)
        try:
            await self.app(self.scope, self._app_receive, self._app_send)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
        except BaseException as error:
            self.exception = error
        finally:
            self.leftover = [repr(task) for task in owned if not task.done()]
            self._outgoing.put_nowait(None)

    async def finish(
        self, timeout: float | None = None, expected: type[BaseException] | None = None
    ) -> None:
        """Wait until the application returns, then raise what it did wrong."""
        assert self.task is not None
        timeout = timeout or self.timeout
        done, _ = await asyncio.wait([self.task], timeout=timeout)
        if not done:
            self._cancelled = True
            self.task.cancel()
            await asyncio.wait([self.task], timeout=10)
            self.fail([f"the application did not return within {timeout} s", *self.violations])
        if self.task.cancelled():
            self.violate("a CancelledError left the callable")
        self.check_exception(expected)
        if self.leftover:
            self.violate(f"tasks are left over: {self.leftover}")
        if not self._cancelled and not self.left and not self._broken and self.exception is None:
            self.check_end()
        if self.violations:
            self.fail(self.violations)

    def check_exception(self, expected: type[BaseException] | None) -> None:
        if expected is not None and not isinstance(self.exception, expected):
            self.violate(
                f"{expected.__name__} was to leave the callable, but {self.exception!r} did"
            )
        if expected is None and self.exception is not None:
            self.violate(f"an exception left the callable: {self.exception!r}")

    def fail(self, violations: list[str]) -> None:
        sent = "\n  ".join(_short(message) for message in self.messages) or "nothing"
        raise ProtocolError("; ".join(violations) + f"\nsent:\n  {sent}") from self.exception

    async def _next(self, timeout: float | None = None) -> Message | None:
        async with asyncio.timeout(timeout or self.timeout):
            message = await self._outgoing.get()
        if message is None:
            self._outgoing.put_nowait(None)
        return message


def _short(message: Message) -> str:
    text = repr(message)
    return text if len(text) <= 400 else text[:400] + "…"


# --- HTTP -----------------------------------------------------------------------------------------


class Response:
    """What the application sent for one request."""

    def __init__(self, messages: Sequence[Message], exception: BaseException | None = None) -> None:
        start = messages[0] if messages else {}
        bodies = [message for message in messages if message["type"] == "http.response.body"]
        self.status: int | None = start.get("status")
        self.headers: list[tuple[bytes, bytes]] = start.get("headers", [])
        self.chunks: list[bytes] = [message.get("body", b"") for message in bodies]
        self.body: bytes = b"".join(self.chunks)
        self.complete: bool = bool(bodies) and not bodies[-1].get("more_body", False)
        self.exception = exception

    def __repr__(self) -> str:
        return (
            f"<Response {self.status} {self.body[:200]!r}{'' if self.complete else ' incomplete'}>"
        )

    def headers_all(self, name: str) -> list[str]:
        """Every value of the header `name`, in order."""
        wanted = name.lower().encode("latin-1")
        return [value.decode("latin-1") for key, value in self.headers if key == wanted]

    def header(self, name: str) -> str | None:
        """The first value of the header `name`."""
        values = self.headers_all(name)
        return values[0] if values else None

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")

    def json(self) -> Any:
        return json_module.loads(self.body)

    @property
    def cookies(self) -> dict[str, str]:
        """Name and value of each `set-cookie`."""
        pairs = (value.split(";")[0].partition("=") for value in self.headers_all("set-cookie"))
        return {name: value for name, _, value in pairs}


class Exchange(_Connection):
    """One HTTP request, step by step. Made by `exchange()`."""

    checks = {"http.response.start": "_check_start", "http.response.body": "_check_body"}

    def __init__(
        self, app: ASGIApp, scope: Message, receive: Receive | None = None, timeout: float = 20.0
    ) -> None:
        super().__init__(app, scope, receive, timeout)
        self._started = False
        self._finished = False
        self._length: int | None = None
        self._sent = 0
        self._status = 0

    # The protocol.

    def _check_start(self, message: Message) -> None:
        if self._started:
            raise ProtocolError("a second http.response.start")
        self._started = True
        status = message.get("status")
        if not isinstance(status, int) or isinstance(status, bool) or not 100 <= status <= 999:
            raise ProtocolError(f"the status is no int of three digits: {status!r}")
        self._status = status
        message["headers"] = headers = check_headers(message.get("headers", []))
        for name, value in headers:
            if name == b"content-length":
                if not value.isdigit():
                    raise ProtocolError(f"content-length is no number: {value!r}")
                self._length = int(value)
        if self._bodiless and self._length is not None:
            raise ProtocolError(f"content-length on a {status}")

    @property
    def _bodiless(self) -> bool:
        return self._status < 200 or self._status in (204, 304)

    def _check_body(self, message: Message) -> None:
        if not self._started:
            raise ProtocolError("a body before http.response.start")
        if self._finished:
            raise ProtocolError("a body after the last one")
        body, more = message.get("body", b""), message.get("more_body", False)
        if type(body) is not bytes or type(more) is not bool:
            raise ProtocolError(f"body must be bytes and more_body a bool: {_short(message)}")
        if body and (self._bodiless or self.scope["method"] == "HEAD"):
            raise ProtocolError(f"a body on HEAD or on status {self._status}: {body[:80]!r}")
        self._sent += len(body)
        self._finished = not more
        if self._finished:
            # As servers do: a listener learns that this exchange is over.
            self._incoming.put_nowait({"type": "http.disconnect"})
        if self._length is None or self.scope["method"] == "HEAD":
            return
        if self._sent > self._length or (self._finished and self._sent < self._length):
            raise ProtocolError(
                f"content-length is {self._length}, but {self._sent} bytes were sent"
            )

    def check_end(self) -> None:
        if not self._started:
            self.violate("the application returned without an answer")

    # What the test does.

    async def send_body(self, body: bytes = b"", more: bool = True) -> None:
        """Deliver one `http.request` message."""
        await self.deliver(piece(body, more=more))

    async def disconnect(self) -> None:
        """The client leaves."""
        await self.deliver({"type": "http.disconnect"})

    async def next_message(self, timeout: float | None = None) -> Message | None:
        """The next message that the application sends; `None` when it has returned."""
        return await self._next(timeout)

    async def next_chunk(self, timeout: float | None = None) -> bytes | None:
        """The next non-empty piece of the body; `None` at its end."""
        while (message := await self.next_message(timeout)) is not None:
            if message["type"] == "http.response.body" and message.get("body"):
                return bytes(message["body"])
        return None

    async def wait(self, timeout: float | None = None) -> Response:
        """Wait until the application returns; checks everything."""
        await self.finish(timeout)
        return self.response

    @property
    def response(self) -> Response:
        """What was sent so far."""
        return Response(self.messages, self.exception)


def _encode(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1")


def _header_list(headers: HeaderInput, host: str = "testserver") -> list[tuple[bytes, bytes]]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    result = [(_encode(name).lower(), _encode(value)) for name, value in pairs]
    if not any(name == b"host" for name, _ in result):
        result.insert(0, (b"host", host.encode()))
    return result


def _merge(scope: Message, overrides: Mapping[str, Any] | None) -> Message:
    scope.update(overrides or {})
    return {key: value for key, value in scope.items() if value is not REMOVED}


def _scope(
    kind: str,
    path: str,
    raw_path: Any,
    query: bytes | str,
    headers: list[tuple[bytes, bytes]],
    scheme: str,
) -> Message:
    return {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": scheme,
        "path": path,
        "raw_path": quote(path, safe="/:@!$&'()*+,;=~").encode()
        if raw_path is _UNSET
        else raw_path,
        "query_string": query.encode() if isinstance(query, str) else query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 50000),
        "server": ("testserver", 80),
    }


def _exchange(
    app: ASGIApp,
    method: str,
    path: str,
    body: bytes | Sequence[bytes] | None,
    *,
    query: bytes | str = b"",
    headers: HeaderInput = (),
    scope: Mapping[str, Any] | None = None,
    receive: Receive | None = None,
    raw_path: Any = _UNSET,
    timeout: float = 20.0,
) -> Exchange:
    pairs = _header_list(headers)
    announced = {name for name, _ in pairs} & {b"content-length", b"transfer-encoding"}
    if body is not None and not announced and (body or method not in ("GET", "HEAD")):
        length = len(body) if isinstance(body, bytes) else sum(map(len, body))
        pairs.append((b"content-length", str(length).encode()))
    http_scope = {**_scope("http", path, raw_path, query, pairs, "http"), "method": method}
    return Exchange(app, _merge(http_scope, scope), receive, timeout)


def _body_messages(body: bytes | Sequence[bytes] | None) -> list[Message]:
    chunks = [body or b""] if body is None or isinstance(body, bytes) else list(body) or [b""]
    last = len(chunks) - 1
    return [piece(chunk, more=at < last) for at, chunk in enumerate(chunks)]


async def request(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    *,
    body: bytes | Sequence[bytes] | None = b"",
    receive: Receive | None = None,
    disconnect_after: int | None = None,
    expect_exception: type[BaseException] | None = None,
    **options: Any,
) -> Response:
    """Send one request and return the response; the module's docstring has the options."""
    connection = _exchange(app, method, path, body, receive=receive, **options)
    for message in _body_messages(body)[:disconnect_after]:
        connection._incoming.put_nowait(message)
    if disconnect_after is not None:
        connection._incoming.put_nowait({"type": "http.disconnect"})
    connection.start()
    await connection.finish(expected=expect_exception)
    return connection.response


def _split(target: str) -> tuple[str, bytes, bytes]:
    """The decoded path, the raw path and the query of a target, as in a server's scope."""
    raw, _, query = target.partition("?")
    raw_path = quote(raw, safe="/:@!$&'()*+,;=~%")
    return unquote(raw_path), raw_path.encode(), quote(query, safe="/:@!$&'()*+,;=~%?[]").encode()


async def get(app: ASGIApp, target: str = "/", *, method: str = "GET", **options: Any) -> Response:
    """`request()` with a target as it stands in a URL: `/path%20here?a=1`."""
    path, raw_path, query = _split(target)
    return await request(app, method, path, **{"raw_path": raw_path, "query": query, **options})


def encode_multipart(parts: Iterable[Part], boundary: str = BOUNDARY) -> bytes:
    """Encode `(name, value)` and `(name, filename, content_type, bytes)` as multipart/form-data.

    A `filename` or `content_type` of None is left out. Names are written as they are, quotes
    escaped as browsers do.
    """
    out = bytearray()
    for part in parts:
        name, filename, content_type, content = (
            part if len(part) == 4 else (part[0], None, None, part[1])
        )
        disposition = f'form-data; name="{_quoted(name)}"'
        if filename is not None:
            disposition += f'; filename="{_quoted(filename)}"'
        out += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n".encode()
        if content_type is not None:
            out += f"Content-Type: {content_type}\r\n".encode()
        out += b"\r\n" + (content.encode() if isinstance(content, str) else content) + b"\r\n"
    return bytes(out + f"--{boundary}--\r\n".encode())


def _quoted(text: str) -> str:
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


async def post(
    app: ASGIApp,
    target: str = "/",
    *,
    form: Mapping[str, Any] | Sequence[tuple[str, Any]] | None = None,
    json: Any = _UNSET,
    multipart: Iterable[Part] | None = None,
    body: bytes | Sequence[bytes] | None = b"",
    chunk_size: int | None = None,
    method: str = "POST",
    headers: HeaderInput = (),
    **options: Any,
) -> Response:
    """POST a form, JSON, a multipart form or raw bytes; `chunk_size` cuts up the body."""
    content_type = None
    if form is not None:
        content_type, body = (
            "application/x-www-form-urlencoded",
            urlencode(form, doseq=True).encode(),
        )
    elif json is not _UNSET:
        content_type, body = "application/json", json_module.dumps(json).encode()
    elif multipart is not None:
        content_type, body = (
            f"multipart/form-data; boundary={BOUNDARY}",
            encode_multipart(multipart),
        )
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    if content_type and not any(_encode(name).lower() == b"content-type" for name, _ in pairs):
        pairs.append(("content-type", content_type))
    if chunk_size and isinstance(body, bytes):
        body = [body[start : start + chunk_size] for start in range(0, len(body), chunk_size)]
    return await get(app, target, method=method, headers=pairs, body=body, **options)


@contextlib.asynccontextmanager
async def exchange(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    *,
    body: bytes | Sequence[bytes] | None = None,
    **options: Any,
) -> AsyncIterator[Exchange]:
    """A request in steps.

    With a `body` (or on GET and HEAD without announced one) the whole body is delivered at once,
    otherwise the test calls `send_body`. On leaving the block, a client whose request still runs
    disconnects, and everything is checked.
    """
    connection = _exchange(app, method, path, body, **options)
    announced = {name for name, _ in connection.scope.get("headers") or ()} & {
        b"content-length",
        b"transfer-encoding",
    }
    if body is not None or (method in ("GET", "HEAD") and not announced):
        for message in _body_messages(body):
            connection._incoming.put_nowait(message)
    async with connection.cancelled_on_error():
        yield connection
    if not connection.done and not connection._finished:
        await connection.disconnect()
    connection.release()
    await connection.finish()


class Browser:
    """A client with a cookie jar that honors `Path` and `Max-Age=0`, but not `Secure`."""

    def __init__(self, app: ASGIApp, headers: HeaderInput = ()) -> None:
        self.app = app
        self.headers = list(headers.items() if isinstance(headers, Mapping) else headers)
        self.jar: dict[tuple[str, str], str] = {}
        """Values by name and path."""

    @property
    def cookies(self) -> dict[str, str]:
        """Values by name."""
        return {name: value for (name, _), value in self.jar.items()}

    async def get(self, target: str = "/", **options: Any) -> Response:
        return await self._send(get, target, options)

    async def post(self, target: str = "/", **options: Any) -> Response:
        return await self._send(post, target, options)

    async def _send(
        self, verb: Callable[..., Awaitable[Response]], target: str, options: dict[str, Any]
    ) -> Response:
        options["headers"] = self.with_cookies(target, options.get("headers", ()))
        response = await verb(self.app, target, **options)
        self.remember(response, target)
        return response

    def with_cookies(self, target: str, headers: HeaderInput = ()) -> list[tuple[Any, Any]]:
        """The browser's own headers, `headers` and the cookies that go to `target`."""
        pairs = self.headers + list(headers.items() if isinstance(headers, Mapping) else headers)
        path = target.partition("?")[0] or "/"
        matching = [
            (at, name, value) for (name, at), value in self.jar.items() if _path_matches(path, at)
        ]
        matching.sort(key=lambda entry: -len(entry[0]))
        if matching:
            pairs.append(("cookie", "; ".join(f"{name}={value}" for _, name, value in matching)))
        return pairs

    def remember(self, response: Response, target: str = "/") -> None:
        """Take over the cookies of a response."""
        for cookie in response.headers_all("set-cookie"):
            pair, *attributes = cookie.split("; ")
            name, _, value = pair.partition("=")
            options = {
                key.lower(): text
                for key, _, text in (attribute.partition("=") for attribute in attributes)
            }
            default = target.partition("?")[0].rpartition("/")[0] or "/"
            key = (name, options.get("path") or default)
            if options.get("max-age", "1").startswith(("0", "-")):
                self.jar.pop(key, None)
            else:
                self.jar[key] = value


def _path_matches(path: str, cookie_path: str) -> bool:
    return path == cookie_path or path.startswith(cookie_path.rstrip("/") + "/")


# --- WebSocket ------------------------------------------------------------------------------------


def _sendable(code: int) -> bool:
    # RFC 6455 section 7.4: 1004 to 1006 and 1015 are never sent, 1016 to 2999 are not assigned.
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999


class WebSocketSession(_Connection):
    """One WebSocket, seen from the client. Made by `websocket()`."""

    checks = {f"websocket.{name}": f"_check_{name}" for name in ("accept", "send", "close")}

    def __init__(
        self, app: ASGIApp, scope: Message, receive: Receive | None = None, timeout: float = 20.0
    ) -> None:
        super().__init__(app, scope, receive, timeout)
        self.accepted = False
        self.accept_headers: list[tuple[bytes, bytes]] = []
        self.subprotocol: str | None = None
        self.rejected: int | None = None
        """The close code of a refused handshake."""
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._closed = False

    # The protocol.

    def check(self, message: Message) -> None:
        if self._closed:
            raise ProtocolError(f"sent after the socket was closed: {_short(message)}")
        super().check(message)

    def _check_accept(self, message: Message) -> None:
        if self.accepted:
            raise ProtocolError("a second websocket.accept")
        self.accepted = True
        self.subprotocol = message.get("subprotocol")
        if self.subprotocol is not None and self.subprotocol not in (
            self.scope.get("subprotocols") or ()
        ):
            raise ProtocolError(f"a subprotocol that was not offered: {self.subprotocol!r}")
        self.accept_headers = message["headers"] = check_headers(message.get("headers", []))
        if any(name.startswith(b"sec-websocket-") for name, _ in self.accept_headers):
            raise ProtocolError(f"a header of the server's own: {self.accept_headers!r}")

    def _check_send(self, message: Message) -> None:
        if not self.accepted:
            raise ProtocolError("sent before the socket was accepted")
        text, data = message.get("text"), message.get("bytes")
        if (text is None) == (data is None):
            raise ProtocolError(f"exactly one of text and bytes must be there: {_short(message)}")
        if (
            text is not None
            and type(text) is not str
            or data is not None
            and type(data) is not bytes
        ):
            raise ProtocolError(f"text must be str and bytes bytes: {_short(message)}")
        if text is not None:
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                raise ProtocolError(f"text that UTF-8 cannot carry: {text!r}") from None

    def _check_close(self, message: Message) -> None:
        self._closed = True
        code, reason = message.get("code", 1000), message.get("reason") or ""
        self.close_code, self.close_reason = code, reason
        if not self.accepted:
            self.rejected = code
        if type(code) is not int or not _sendable(code):
            raise ProtocolError(f"a close code that may not be sent: {code!r}")
        if not isinstance(reason, str) or len(reason.encode("utf-8")) > 123:
            raise ProtocolError(f"a reason is a str of at most 123 bytes: {reason!r}")
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    def check_end(self) -> None:
        if not self._closed:
            self.violate("the application returned and left the socket open")

    # What the client does.

    async def opened(self) -> None:
        """Wait until the handshake is accepted or refused."""
        await self._next()

    async def send_text(self, text: str) -> None:
        await self.deliver({"type": "websocket.receive", "text": text})

    async def send_bytes(self, data: bytes) -> None:
        await self.deliver({"type": "websocket.receive", "bytes": data})

    async def send_json(self, value: Any) -> None:
        await self.send_text(json_module.dumps(value))

    async def receive(self, timeout: float | None = None) -> Any:
        """The application's next message, str or bytes; `WebSocketClosed` if it has closed."""
        message = await self._next(timeout)
        if message is None or message["type"] == "websocket.close":
            raise WebSocketClosed(self.close_code, self.close_reason or "")
        text = message.get("text")
        return message.get("bytes") if text is None else text

    async def receive_json(self, timeout: float | None = None) -> Any:
        return json_module.loads(await self.receive(timeout))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """The client leaves."""
        await self.deliver({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def wait(self, timeout: float | None = None) -> None:
        """Wait until the application returns; checks everything."""
        await self.finish(timeout)


@contextlib.asynccontextmanager
async def websocket(
    app: ASGIApp,
    path: str = "/",
    *,
    headers: HeaderInput = (),
    subprotocols: Sequence[str] = (),
    query: bytes | str = b"",
    scope: Mapping[str, Any] | None = None,
    raw_path: Any = _UNSET,
    receive: Receive | None = None,
    timeout: float = 20.0,
) -> AsyncIterator[WebSocketSession]:
    """Open a WebSocket; on leaving the block the client goes (1000), and everything is checked.

    `path` may carry a query after `?`. The handshake is over when the block begins: look at
    `ws.accepted`.
    """
    if "?" in path and not query:
        path, _, query = path.partition("?")
    ws_scope = _scope("websocket", path, raw_path, query, _header_list(headers), "ws")
    ws_scope["subprotocols"] = list(subprotocols)
    connection = WebSocketSession(app, _merge(ws_scope, scope), receive, timeout)
    connection._incoming.put_nowait({"type": "websocket.connect"})
    async with connection.cancelled_on_error():
        await connection.opened()
        yield connection
    if not connection.done:
        await connection.close()
    connection.release()
    await connection.finish()


# --- Lifespan -------------------------------------------------------------------------------------


class Lifespan(_Connection):
    """The lifespan of an application. Made by `lifespan()`."""

    def check(self, message: Message) -> None:
        kind = message.get("type", "")
        stage = "startup" if len(self.messages) == 0 else "shutdown"
        if kind not in (f"lifespan.{stage}.complete", f"lifespan.{stage}.failed"):
            raise ProtocolError(f"no answer to lifespan.{stage}: {message!r}")
        if not isinstance(message.get("message", ""), str):
            raise ProtocolError(f"the message of a failure is text: {message!r}")

    def check_end(self) -> None:
        if not self.messages:
            self.violate("the application returned without an answer to lifespan.startup")

    async def step(self, stage: str) -> None:
        """Deliver one event and wait for its answer."""
        self._incoming.put_nowait({"type": f"lifespan.{stage}"})
        message = await self._next()
        if message is None or message["type"].endswith(".failed"):
            await self.finish()
        if message is None:
            raise ProtocolError(f"the application returned without an answer to lifespan.{stage}")
        if message["type"].endswith(".failed"):
            raise LifespanFailed(message.get("message", ""))


@contextlib.asynccontextmanager
async def lifespan(
    app: ASGIApp, *, scope: Mapping[str, Any] | None = None, timeout: float = 20.0
) -> AsyncIterator[Lifespan]:
    """Run startup, the block, then shutdown."""
    life_scope = {
        "type": "lifespan",
        "asgi": {"version": "3.0", "spec_version": "2.0"},
        "state": {},
    }
    connection = Lifespan(app, _merge(life_scope, scope), timeout=timeout)
    async with connection.cancelled_on_error():
        await connection.step("startup")
        yield connection
    await connection.step("shutdown")
    await connection.finish()
