"""The App itself: options and attributes, start and stop, errors and the log, reserved names."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import logging
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    SessionBackend,
    WebSocket,
    current_request,
    methods,
)
from tests.asgi import (
    REMOVED,
    LifespanFailed,
    WebSocketClosed,
    assert_logged_500,
    call,
    exchange,
    get,
    lifespan,
    logged,
    post,
    scripted,
    shown,
    thread_set,
    websocket,
)
from tests.clock import elapse
from tests.noting import Note


class Root(App):
    """One handler for each thing that may go wrong."""

    async def index(self) -> str:
        return "index"

    async def item(self, name: str, number: int = 0) -> str:
        return name

    @methods("POST")
    async def only_post(self) -> str:
        return "posted"

    async def reads(self) -> bytes:
        return await self.request.body()

    async def crashes(self, secret: str = "") -> None:
        raise RuntimeError(f"a secret {secret}")

    def crashes_in_a_thread(self) -> None:
        raise RuntimeError("a secret")

    async def stray(self) -> None:
        raise asyncio.CancelledError

    def stray_in_a_thread(self) -> None:
        raise asyncio.CancelledError

    async def awaits_a_cancelled_task(self) -> None:
        task = asyncio.ensure_future(elapse(10))
        task.cancel()
        await task

    async def closed(self) -> None:
        raise ConnectionClosed


# --- Options and attributes -----------------------------------------------------------------------


def test_the_attributes_of_a_new_app() -> None:
    app = Root()
    assert [app.middlewares, app.ws_middlewares, app.startup_handlers, app.shutdown_handlers] == [
        [],
        [],
        [],
        [],
    ]
    assert app.mounts == {}
    assert isinstance(app.session_backend, InMemorySessionBackend)
    assert app._started is False


def test_apps_share_nothing() -> None:
    first, second = Root(), Root()
    for name in (
        "middlewares",
        "ws_middlewares",
        "startup_handlers",
        "shutdown_handlers",
        "mounts",
    ):
        assert getattr(first, name) is not getattr(second, name), name


def test_options_but_the_backend_are_keywords() -> None:
    with pytest.raises(TypeError):
        Root(None, True)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Root(unknown=True)  # type: ignore[call-arg]


def test_a_session_backend_that_lacks_a_method_cannot_be_made() -> None:
    half = type("Half", (SessionBackend,), {"load": lambda *arguments: None})
    for incomplete in (SessionBackend, half):
        with pytest.raises(TypeError, match="abstract"):
            incomplete()


async def test_request_is_the_one_of_this_context() -> None:
    class Asks(App):
        async def index(self, name: str) -> bool:
            before = self.request
            await elapse(1)
            return self.request is before is current_request.get() and before.query("name") == name

        def plain(self, name: str) -> bool:
            return self.request is current_request.get() and self.request.query("name") == name

    app = Asks()
    targets = [f"/{handler}?name={number}" for number in range(5) for handler in ("index", "plain")]
    responses = await asyncio.gather(*(get(app, target) for target in targets))
    assert [response.json() for response in responses] == [True] * 10


async def test_outside_of_a_request_there_is_none() -> None:
    app = Root()
    await get(app, "/")
    async with websocket(app, "/nope"):
        pass
    with pytest.raises(RuntimeError, match="request"):
        _ = app.request
    with pytest.raises(LookupError):
        current_request.get()


@pytest.mark.parametrize("path", ["/", "/crashes", "/nope"])
@pytest.mark.parametrize(
    ("kind", "message"), [("http", "http.request"), ("websocket", "websocket.connect")]
)
async def test_nothing_of_a_connection_stays_in_the_servers_context(
    kind: str, message: str, path: str
) -> None:
    await call(Root(), scripted({"type": message}), type=kind, path=path)
    assert current_request.get(None) is None


# --- Lifespan -------------------------------------------------------------------------------------


class Hooks:
    """Startup and shutdown handlers of every kind, and what they did."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def plain(self, name: str) -> Callable[[], None]:
        return lambda: self.done.append(name)

    def slow(self, name: str) -> Callable[[], Any]:
        async def handler() -> None:
            await elapse(1)
            self.done.append(name)

        return handler

    def raises(self, name: str, error: BaseException) -> Callable[[], Any]:
        async def handler() -> None:
            self.done.append(name)
            raise error

        return handler


class Callable_:
    """An object that is called like an async function."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks

    async def __call__(self) -> None:
        self.hooks.done.append("object")


async def test_handlers_run_one_after_the_other_async_or_plain() -> None:
    hooks, app = Hooks(), Root()
    app.startup_handlers += [
        hooks.slow("a"),
        hooks.plain("b"),
        functools.partial(hooks.slow("c")),
        Callable_(hooks),
    ]
    app.shutdown_handlers += [hooks.slow("d"), hooks.plain("e")]
    async with lifespan(app):
        assert hooks.done == ["a", "b", "c", "object"]
    assert hooks.done[4:] == ["d", "e"]


async def test_started_says_whether_it_runs() -> None:
    app = Root()
    states: list[bool] = []
    app.startup_handlers.append(lambda: states.append(app._started))
    async with lifespan(app):
        states.append(app._started)
    assert [*states, app._started] == [False, True, False]


async def test_a_lifespan_without_handlers_and_an_app_without_a_lifespan() -> None:
    app = Root()
    assert (await get(app, "/")).status == 200
    async with lifespan(app, scope={"state": REMOVED}) as life:
        assert (await get(app, "/")).status == 200
    assert life.messages == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
    ]


async def test_a_failing_startup_is_logged_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    hooks, app = Hooks(), Root()
    app.startup_handlers += [
        hooks.plain("a"),
        hooks.raises("b", OSError("no database")),
        hooks.plain("c"),
    ]
    with pytest.raises(LifespanFailed, match="no database"):
        async with lifespan(app):
            raise AssertionError("not reached")
    assert hooks.done == ["a", "b"]
    assert app._started is False
    assert [(record.name, record.levelno) for record in caplog.records] == [
        ("micropie", logging.ERROR)
    ]
    assert "Traceback" in caplog.text


class Unready(Callable_):
    """A handler whose `repr` needs what its call makes, or has a password."""

    def __repr__(self) -> str:
        raise RuntimeError("not connected")

    async def __call__(self) -> None:
        raise OSError("no database")


async def test_a_failing_startup_is_reported_without_the_repr_of_its_handler(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for handler in Unready(Hooks()), functools.partial(Hooks().raises("a", OSError("no database"))):
        hooks, app = Hooks(), Root()
        app.startup_handlers.append(handler)
        app.shutdown_handlers.append(hooks.plain("closed"))
        with pytest.raises(LifespanFailed, match=rf"{type(handler).__name__}.*no database"):
            async with lifespan(app):
                pass
        assert hooks.done == ["closed"]
        assert len(logged(caplog)) == 1
        caplog.clear()


@pytest.mark.parametrize("wrong", [(Hooks().plain("never"), 7), (7,), 7, None])
@pytest.mark.parametrize("is_mounted", [False, True])
async def test_startup_handlers_that_are_no_list_of_handlers_fail_the_startup(
    wrong: Any, is_mounted: bool
) -> None:
    app = child = Root()
    if is_mounted:
        app = Root()
        app.mounts["/child"] = child
    child.startup_handlers = wrong
    with pytest.raises(LifespanFailed, match="not (iterable|callable)"):
        async with lifespan(app):
            pass


async def test_a_task_that_a_startup_handler_starts_and_returns_runs_on() -> None:
    app, ticks = Root(), 0
    tasks: list[asyncio.Task[None]] = []

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await elapse(1)

    def start() -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(tick()))
        return tasks[0]

    app.startup_handlers += [start, lambda: tasks[0]]
    app.shutdown_handlers.append(lambda: tasks[0].cancel() and None)
    async with lifespan(app):
        await elapse(3)
        assert ticks >= 3
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


async def test_a_task_that_a_shutdown_handler_returns_ends_first() -> None:
    app, done = Root(), []

    async def flush() -> None:
        await elapse(1)
        done.append("flushed")

    app.shutdown_handlers += [lambda: asyncio.create_task(flush()), lambda: done.append("last")]
    async with lifespan(app):
        pass
    assert done == ["flushed", "last"]


async def test_all_shutdown_handlers_run_even_if_one_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, app = Hooks(), Root()
    app.shutdown_handlers += [
        hooks.raises("a", OSError("first")),
        hooks.plain("b"),
        hooks.raises("c", ValueError("second")),
        hooks.plain("d"),
    ]
    with pytest.raises(LifespanFailed, match="(?s)first.*second"):
        async with lifespan(app):
            pass
    assert hooks.done == ["a", "b", "c", "d"]
    assert len(caplog.records) == 2


async def test_a_startup_that_fails_half_way_runs_all_shutdown_handlers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hooks, app, child, late = Hooks(), Root(), Root(), Root()
    app.mounts |= {"/child": child, "/late": late}
    app.startup_handlers.append(hooks.plain("open"))
    child.startup_handlers += [hooks.raises("child", OSError("no queue")), hooks.plain("never")]
    late.startup_handlers.append(hooks.plain("never"))
    late.shutdown_handlers.append(hooks.slow("late closes"))
    child.shutdown_handlers += [
        hooks.raises("child fails", SystemExit(1)),
        hooks.plain("child closes"),
    ]
    app.shutdown_handlers.append(hooks.plain("close"))
    with pytest.raises(LifespanFailed, match="no queue.*SystemExit: 1"):
        async with lifespan(app):
            raise AssertionError("not reached")
    closes = ["late closes", "child fails", "child closes", "close"]
    assert hooks.done == ["open", "child", *closes]
    assert [one._started for one in (app, child, late)] == [False] * 3
    assert len(caplog.records) == 2


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize("handlers", ["startup_handlers", "shutdown_handlers"])
@pytest.mark.parametrize(
    "error", [SystemExit(2), KeyboardInterrupt(), BaseException(), Nasty()], ids=shown
)
async def test_no_exception_of_a_hook_ends_the_server_without_a_report(
    handlers: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root()
    getattr(app, handlers).append(Hooks().raises("a", error))
    with pytest.raises(LifespanFailed, match=type(error).__name__):
        async with lifespan(app):
            pass
    assert len(caplog.records) == 1


@pytest.mark.parametrize("kind", ["async_generator", "generator"])
@pytest.mark.parametrize("handlers", ["startup_handlers", "shutdown_handlers"])
async def test_a_hook_with_a_yield_is_reported_and_not_left_out(
    handlers: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def async_generator() -> AsyncIterator[None]:
        yield

    def generator() -> Iterator[None]:
        yield

    database = async_generator if kind == "async_generator" else generator
    database.__qualname__ = "database"
    app = Root()
    getattr(app, handlers).append(database)
    with pytest.raises(LifespanFailed, match=rf"database: TypeError: .*\b{kind}\b.*await"):
        async with lifespan(app):
            pass
    assert len(logged(caplog)) == 1


def test_another_event_loop_is_a_failed_startup_that_says_so() -> None:
    app, sent, hooks = Root(), [], Hooks()
    app.startup_handlers.append(hooks.plain("never"))
    app.shutdown_handlers.append(hooks.plain("never"))

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    # Without a loop of asyncio, as under trio.
    with pytest.raises(StopIteration):
        app({"type": "lifespan"}, receive, send).send(None)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "MicroPie needs asyncio" in sent[0]["message"]
    assert hooks.done == []


@pytest.mark.parametrize("handlers", ["startup_handlers", "shutdown_handlers"])
async def test_a_plain_handler_and_a_stray_cancellation_fail_too(
    handlers: str, caplog: pytest.LogCaptureFixture
) -> None:
    def plain() -> None:
        raise KeyError("missing")

    for handler in (plain, Hooks().raises("a", asyncio.CancelledError())):
        app = Root()
        getattr(app, handlers).append(handler)
        with pytest.raises(LifespanFailed):
            async with lifespan(app):
                pass
    assert len(caplog.records) == 2


@pytest.mark.parametrize("stage", ["startup", "shutdown", "between"])
async def test_a_lifespan_that_is_cancelled_ends(
    stage: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def waits() -> None:
        waiting.set()
        await asyncio.Event().wait()

    app, waiting = Root(), asyncio.Event()
    getattr(app, f"{stage}_handlers", []).append(waits)
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}][
        : 1 if stage == "between" else 2
    ]
    sent: list[str] = []

    async def receive() -> Any:
        if not events:
            waiting.set()
            await asyncio.Event().wait()
        return events.pop(0)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    task = asyncio.create_task(app({"type": "lifespan"}, receive, send))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent == ([] if stage == "startup" else ["lifespan.startup.complete"])
    assert caplog.records == []


# --- Errors ---------------------------------------------------------------------------------------


async def broken(app: App, target: str) -> Any:
    """One request for each status of the framework's own."""
    if target == "400 body":
        return await post(app, "/item", body=b"{", headers={"content-type": "application/json"})
    if target == "408":
        async with exchange(app, "POST", "/reads", headers={"content-length": "5"}) as ex:
            await ex.send_body(b"a")
            return await ex.wait()
    if target == "413":
        return await post(app, "/reads", body=b"x" * 100)
    return await get(app, target)


@pytest.mark.parametrize(
    "target, status, text",
    [
        ("/nope", 404, "404 Not Found"),
        ("/item/a/b", 404, "404 Not Found"),
        ("/item", 400, "400 Bad Request: Missing required parameter 'name'"),
        ("400 body", 400, "400 Bad Request: "),
        ("/only_post", 405, "405 Method Not Allowed"),
        ("408", 408, "408 Request Timeout"),
        ("413", 413, "413 "),
        ("/crashes", 500, "500 Internal Server Error"),
    ],
)
async def test_errors_are_short_plain_text(target: str, status: int, text: str) -> None:
    response = await broken(Root(body_timeout=5, max_body_size=10), target)
    assert response.status == status
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert response.text == text or (text.endswith(" ") and response.text.startswith(text))
    assert len(response.text) < 100 and "\n" not in response.text


@pytest.mark.parametrize(
    "target",
    [
        "/nope<script>",
        "/item/a/<script>",
        "/item/a?number=<script>",
        "/item?<script>=1",
        "/_<script>",
    ],
)
async def test_errors_do_not_repeat_what_the_client_sent(target: str) -> None:
    response = await get(Root(), target)
    assert response.status in (400, 404)
    assert b"script" not in response.body


@pytest.mark.parametrize("debug", [False, True])
async def test_errors_of_the_client_are_not_logged(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = Root(debug=debug, max_body_size=10)
    for target in ("/nope", "/item", "400 body", "/only_post", "413"):
        assert "Traceback" not in (await broken(app, target)).text
    assert caplog.records == []


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/crashes", "a secret"),
        ("/crashes_in_a_thread", "a secret"),
        # Something else ended, which the handler awaited or used: this request did not.
        *[
            (target, "CancelledError")
            for target in ("/stray", "/stray_in_a_thread", "/awaits_a_cancelled_task")
        ],
        ("/closed", "ConnectionClosed"),
    ],
)
async def test_an_unhandled_exception_is_a_500_logged_once_with_its_traceback(target, text, caplog):
    assert_logged_500(await get(Root(), target), caplog)
    assert len(caplog.records) == 1
    assert "Traceback" in caplog.text and text in caplog.text and "test_app.py" in caplog.text


async def test_debug_puts_the_traceback_in_the_response_as_text() -> None:
    response = await get(Root(debug=True), "/crashes?secret=<script>")
    assert response.status == 500
    assert response.header("content-type") == "text/plain; charset=utf-8"
    assert "Traceback" in response.text and "test_app.py" in response.text
    assert "RuntimeError: a secret <script>" in response.text


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(
    "error", [Nasty(), RuntimeError("bad \ud800 text")], ids=["no text", "surrogate"]
)
async def test_an_exception_whose_text_cannot_be_shown_is_still_a_500(
    error: Exception, debug: bool
) -> None:
    class Raises(App):
        async def index(self) -> None:
            raise error

    response = await get(Raises(debug=debug))
    assert (response.status, "Traceback" in response.text) == (500, debug)


def test_the_log_reaches_standard_error_with_no_configuration(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import asyncio
from micropie import App

class Root(App):
    async def index(self):
        raise RuntimeError("this went wrong")

async def receive():
    return {"type": "http.request"}

async def send(message):
    print(message["type"])

asyncio.run(Root()({"type": "http", "method": "GET", "path": "/"}, receive, send))
"""
    )
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PYTHONPATH": root},
    )
    assert done.stdout.split() == ["http.response.start", "http.response.body"]
    assert "Traceback" in done.stderr and "RuntimeError: this went wrong" in done.stderr


@pytest.mark.parametrize("path", ["/", "/streams"])
async def test_a_cancellation_of_this_task_passes_through(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Waits(App):
        async def index(self) -> None:
            await self._wait()

        async def streams(self) -> AsyncIterator[str]:
            yield "a"
            await self._wait()

        async def _wait(self) -> None:
            waiting.set()
            try:
                await asyncio.Event().wait()
            finally:
                await elapse(1)
                ends.append("finally")

    ends: list[str] = []
    waiting = asyncio.Event()
    task = asyncio.create_task(call(Waits(), path=path))
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ends == ["finally"]
    assert caplog.records == []


@pytest.mark.parametrize("fails", [False, True])
async def test_a_cancelled_request_waits_for_its_thread(
    fails: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """A thread cannot be stopped: if the request ended first, a server could exit under it.

    An error in the thread of a cancelled request is not logged, neither by MicroPie nor by the
    event loop (the driver would fail).
    """

    class Threads(App):
        def index(self) -> None:
            started.set()
            assert go_on.wait(20)
            ends.append(current_request.get().method)
            if fails:
                raise ValueError("too late")

    started, go_on = threading.Event(), threading.Event()
    ends: list[str] = []
    async with exchange(Threads()) as ex:
        await thread_set(started)
        for _ in range(2):
            ex.cancel()
            await elapse(0.02)  # of real time, as the thread is at work
        assert not ex.done
        go_on.set()
        assert await ex.next_message() is None
        ends.append("request")
    gc.collect()  # this is when the loop would complain of an exception that was not retrieved
    assert ends == ["GET", "request"]
    assert caplog.records == []


class Stop(BaseException):
    """Like the panic of an extension module."""


class Ends(App):
    """Each handler raises what would end the process."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def index(self) -> None:
        raise self.error

    def in_a_thread(self) -> None:
        raise self.error

    async def fine(self) -> str:
        return "fine"

    async def body(self) -> Any:
        class Raises:
            def __aiter__(_) -> Any:
                raise self.error

        return Raises()

    async def http_error(self) -> None:
        class Raises:
            @property
            def __aiter__(_) -> Any:
                raise self.error

        raise HTTPError(409, Raises())

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        raise self.error


ENDS = [SystemExit(2), KeyboardInterrupt(), Stop()]


@pytest.mark.parametrize("error", ENDS, ids=shown)
@pytest.mark.parametrize("path", ["/", "/in_a_thread", "/body", "/http_error"])
async def test_no_exception_of_a_handler_ends_the_server(
    path: str, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    app = Ends(error)
    assert_logged_500(await get(app, path), caplog)
    assert type(error).__name__ in caplog.text
    assert (await get(app, "/fine")).text == "fine"


@pytest.mark.parametrize("error", ENDS, ids=shown)
async def test_no_exception_of_a_middleware_or_a_session_backend_ends_the_server(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    class Backend(InMemorySessionBackend):
        async def load(self, session_id: str) -> Any:
            raise error

    for before, after in ((error, None), (None, error)):
        app = Root()
        app.middlewares.append(Note([], before=before, after=after))
        assert_logged_500(await get(app), caplog)
        caplog.clear()
    response = await get(Root(Backend()), headers=[("cookie", f"session_id={'a' * 43}")])
    assert_logged_500(response, caplog)


@pytest.mark.parametrize("error", ENDS, ids=shown)
async def test_no_exception_of_a_websocket_ends_the_server(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with websocket(Ends(error)) as ws:
        with pytest.raises(WebSocketClosed):
            await ws.receive()
    assert ws.close_code == 1011
    app = Ends(error)
    app.ws_middlewares.append(Note([], before=error))
    async with websocket(app) as ws:
        pass
    assert ws.rejected == 1011
    assert len(caplog.records) == 2


async def test_a_request_that_is_thrown_away_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    class Never:
        def __await__(self) -> Any:
            yield

    class Waits(App):
        async def index(self) -> None:
            await Never()

    never: Any = None
    coroutine = Waits()({"type": "http", "method": "GET", "path": "/"}, never, never)
    coroutine.send(None)
    coroutine.close()
    assert caplog.records == []


# --- An exception that an app keeps ---------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    name: str = "frozen"


KEPT = [HTTPError(404, "no such pie"), HTTPError(99), ValueError("kept"), Frozen(), Stop()]


class Keeps(App):
    """Raises one and the same exception in each request, in many ways."""

    error: BaseException

    async def index(self) -> None:
        raise self.error

    def in_a_thread(self) -> None:
        raise self.error

    async def from_another(self) -> None:
        try:
            try:
                raise KeyError(1)
            except KeyError as inner:
                raise ValueError(2) from inner
        except ValueError:
            raise self.error  # noqa: B904 - the context is the point

    async def as_the_cause(self) -> None:
        raise RuntimeError from self.error

    async def in_a_group(self) -> None:
        async def child() -> None:
            raise self.error

        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async def session(self) -> str:
        self.request.session["a"] = 1
        return "fine"

    async def fine(self) -> str:
        return "fine"


class Watches(HttpMiddleware):
    """Sees each request, and that its exceptions are whole as long as a middleware can look."""

    def __init__(self) -> None:
        self.requests: weakref.WeakSet[Any] = weakref.WeakSet()

    async def before_request(self, request: Any) -> None:
        self.requests.add(request)

    async def after_request(self, request: Any, *response: Any) -> None:
        assert request.exception is None or request.exception.__traceback__ is not None


@pytest.fixture
def unlogged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log nothing: pytest keeps the records, and with them the tracebacks."""
    monkeypatch.setattr(logging.getLogger("micropie"), "disabled", True)


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("error", KEPT, ids=shown)
@pytest.mark.parametrize(
    "path", ["/", "/in_a_thread", "/from_another", "/as_the_cause", "/in_a_group"]
)
async def test_an_exception_that_an_app_keeps_holds_no_request(
    path: str, error: BaseException
) -> None:
    app, watches = Keeps(), Watches()
    Keeps.error = error
    app.middlewares.append(watches)
    await assert_nothing_kept(app, path, watches)


async def assert_nothing_kept(app: App, path: str, watches: Watches) -> None:
    for _ in range(3):
        assert (await get(app, path)).status in (404, 500)
    await asyncio.sleep(0)
    gc.collect()
    assert len(watches.requests) == 0


@pytest.mark.usefixtures("unlogged")
@pytest.mark.parametrize("error", KEPT, ids=shown)
@pytest.mark.parametrize("where", ["before", "after", "both", "backend"])
async def test_an_exception_that_a_middleware_or_a_backend_keeps_holds_no_request(
    where: str, error: BaseException
) -> None:
    class Backend(InMemorySessionBackend):
        async def update(self, *arguments: Any) -> None:
            if where == "backend":
                raise error

    app, watches = Keeps(Backend()), Watches()
    Keeps.error = error
    before, after = (error if where == one else None for one in ("before", "after"))
    app.middlewares += [watches, Note([], before=before, after=after)]
    if where == "both":  # the handler's own exception is one that another one replaces
        app.middlewares.append(Note([], after=RuntimeError()))
    path = {"backend": "/session", "both": "/"}.get(where, "/fine")
    await assert_nothing_kept(app, path, watches)


async def test_an_exception_of_a_hook_keeps_nothing_either() -> None:
    app, error = Root(), ValueError("kept")
    app.startup_handlers.append(Hooks().raises("a", error))
    with pytest.raises(LifespanFailed):
        async with lifespan(app):
            pass
    assert error.__traceback__ is None


SIZES = ["max_body_size", "max_upload_size", "max_json_size", "max_form_field_size"]


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("size", [-1, float("nan")])
def test_size_below_zero_raises_a_value_error_that_names_it(name: str, size: float) -> None:
    with pytest.raises(ValueError, match=name):
        App(**{name: size})  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_session_timeout_that_is_no_time_raises_value_error(timeout: float) -> None:
    with pytest.raises(ValueError, match="session_timeout"):
        App(session_timeout=timeout)


@pytest.mark.parametrize("kind", ["smtp", "", "HTTP"])
async def test_an_unknown_scope_type_raises(kind: str) -> None:
    async def never(*arguments: Any) -> Any:
        raise AssertionError("nothing is received or sent")

    with pytest.raises(ValueError, match="scope"):
        await Root()({"type": kind}, never, never)


async def test_a_server_that_is_gone_is_not_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """Servers raise OSError from `send()` once the client has left (ASGI 2.4)."""

    async with exchange(Root()) as ex:
        ex.break_sends()
    assert caplog.records == []


# --- Reserved names -------------------------------------------------------------------------------

RESERVED = (
    "env middlewares mounts request session_backend shutdown_handlers startup_handlers "
    "ws_middlewares _started"
)


async def method(self: Any) -> str:
    return "never"


def plain_method(self: Any) -> str:
    return "never"


@pytest.mark.parametrize("name", RESERVED.split())
@pytest.mark.parametrize(
    "member", [method, plain_method, staticmethod(method), classmethod(method)]
)
def test_a_handler_under_a_reserved_name_is_a_type_error(name: str, member: Any) -> None:
    with pytest.raises(TypeError, match=name):
        type("Child", (App,), {name: member})


@pytest.mark.parametrize("name", RESERVED.replace("env ", "").split())
def test_a_value_under_a_reserved_name_is_a_type_error(name: str) -> None:
    """Each app would get a new list, and a guard in this one would never run."""
    with pytest.raises(TypeError, match=name):
        type("Child", (App,), {name: [HttpMiddleware()]})
    with pytest.raises(TypeError, match=name):
        type("Child", (type("Mixin", (), {name: None}), App), {})


async def test_a_class_may_have_a_template_environment_and_a_request_of_its_own() -> None:
    class Child(App):
        env = object()

        @property
        def request(self) -> Any:
            return type(self).env, super().request

        async def index(self) -> bool:
            return self.request == (self.env, current_request.get())

    assert (await get(Child())).text == "true"


def test_a_reserved_name_in_a_mixin_is_one_too() -> None:
    class Mixin:
        async def request(self) -> str:
            return "never"

    with pytest.raises(TypeError, match="request"):
        type("Child", (Mixin, App), {})
    with pytest.raises(TypeError, match="request"):
        type("Child", (App, Mixin), {})


def test_subclasses_may_have_options_of_their_own() -> None:
    class Tagged:
        tag = ""

        def __init_subclass__(cls, *, tag: str, **options: Any) -> None:
            super().__init_subclass__(**options)
            cls.tag = tag

    child: Any = type("Child", (Root, Tagged), {}, tag="blue")
    assert child.tag == "blue"
    with pytest.raises(TypeError):
        type("Child", (Root,), {}, tag="blue")


async def test_every_other_name_is_free() -> None:
    words = "session requests debug settings error run app config routes set_cookie"
    names = words.split()
    child: Any = type("Child", (Root,), dict.fromkeys([*names, "ws_x"], method))

    for name in names:
        assert (await get(child(), f"/{name}")).body == b"never", name


# --- A forgotten super().__init__() ---------------------------------------------------------------


class ForgetfulMixin:
    def __init__(self) -> None:
        self.mine = 1


class Forgets(App):
    def __init__(self) -> None:
        self.mine = 1

    async def index(self) -> str:
        return "never"


class InheritsForgetting(Forgets):
    pass


class MixesForgettingIn(ForgetfulMixin, App):
    pass


@dataclasses.dataclass
class Data(App):
    mine: int = 1


@pytest.mark.parametrize("kind", ["http", "websocket", "lifespan"])
@pytest.mark.parametrize("forgetful", [Forgets, InheritsForgetting, MixesForgettingIn, Data])
async def test_a_forgotten_init_is_an_error_that_says_so_at_the_first_request_at_the_latest(
    forgetful: type[App], kind: str
) -> None:
    error = f"{forgetful.__name__}.__init__ must call super().__init__()"
    if kind == "lifespan":  # an exception would tell uvicorn that there is none
        [sent] = await call(forgetful(), scripted({"type": "lifespan.startup"}), type=kind)
        assert sent == {"type": "lifespan.startup.failed", "message": error}
        return
    with pytest.raises((AttributeError, TypeError), match=re.escape(error)):
        await call(forgetful(), scripted({"type": f"{kind}.connect"}), type=kind)


@pytest.mark.parametrize("name", sorted({*RESERVED.split()} - {"env", "request"}))
def test_a_forgotten_init_is_an_error_that_says_so_at_the_first_look(name: str) -> None:
    with pytest.raises(AttributeError, match=r"Data.__init__ must call super\(\).__init__\(\)"):
        getattr(Data(), name)


def test_an_init_that_calls_its_parents_first_or_last_is_fine() -> None:
    class Base(App):
        def __init__(self, name: str) -> None:
            super().__init__(debug=True)
            self.name = name

    class Last(Base):
        def __init__(self, name: str) -> None:
            """Call the parent last."""
            self.size = len(name)
            super().__init__(name)

    app = Last("abc")
    assert (app.name, app.size, Last.__init__.__doc__) == ("abc", 3, "Call the parent last.")


def test_attributes_that_are_missing_are_just_missing() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = Root().nope  # type: ignore[attr-defined]


async def test_an_exception_with_its_own_attribute_exceptions_is_an_error_like_any_other():
    class Odd(Exception):
        exceptions = ("text",)

    def fail():
        raise Odd("no oven")

    app = App()
    app.startup_handlers.append(fail)
    with pytest.raises(LifespanFailed, match="no oven"):
        async with lifespan(app):
            raise AssertionError("it must not start")


async def test_a_long_chain_of_exceptions_is_let_go_in_time_that_grows_with_it() -> None:
    """Each `raise ... from` names the one before as its cause, and as its context too."""

    class Root(App):
        async def index(self) -> None:
            self.nested(400)

        def nested(self, depth: int) -> None:
            try:
                if depth:
                    self.nested(depth - 1)
                raise ValueError(depth)
            except ValueError as error:
                raise ValueError(depth) from error

    assert (await get(Root())).status == 500


def test_attributes_that_are_set_before_app_init_are_a_type_error() -> None:
    """A list of guards that a second one replaces would let every visitor in."""

    class Early(App):
        def __init__(self, name: str) -> None:
            setattr(self, name, [])
            super().__init__()

    class One(App): ...

    class Two(App): ...

    class Both(One, Two):
        def __init__(self) -> None:
            One.__init__(self)
            Two.__init__(self)

    names = ["middlewares", "ws_middlewares", "startup_handlers", "shutdown_handlers", "mounts"]
    for name in (*names, "session_backend"):
        with pytest.raises(TypeError, match="App.__init__ runs once"):
            Early(name)
    with pytest.raises(TypeError, match="App.__init__ runs once"):
        Both()


async def test_a_mounted_app_that_is_not_complete_fails_the_startup() -> None:
    """Otherwise uvicorn takes the app for one without a lifespan, and serves."""

    class Odd(App):
        def __init__(self) -> None: ...

    app = App()
    app.mounts["/odd"] = Odd()
    error = r"Odd.__init__ must call super\(\).__init__\(\)"
    with pytest.raises(LifespanFailed, match=error):
        async with lifespan(app):
            raise AssertionError("it must not start")


def test_app_init_asks_nothing_of_a_subclass_that_is_not_ready() -> None:
    class Passing(App):
        def __init__(self) -> None:
            super().__init__()
            self.inner = {"oven": "hot"}

        def __getattr__(self, name: str) -> str:
            return self.inner[name]

    assert Passing().oven == "hot"

    class Own(App):
        def __init__(self) -> None:
            self.shelves: dict[str, Any] = {"store": None}
            super().__init__()

        @property
        def session_backend(self) -> Any:
            return self.shelves["store"]

        @session_backend.setter
        def session_backend(self, value: Any) -> None:
            self.shelves["store"] = value

    own: Any = Own()
    assert isinstance(own.session_backend, InMemorySessionBackend)


@pytest.mark.parametrize("name", ["middlewares", "session_backend"])
def test_a_value_that_is_put_on_the_class_later_is_a_type_error(name: str) -> None:
    """`App.__init__` would put an empty list before the guards in it."""

    class Root(App): ...

    setattr(Root, name, [])
    with pytest.raises(TypeError, match="App.__init__ runs once"):
        Root()


def test_a_subclass_that_is_called_app_cannot_replace_a_private_method() -> None:
    """Both write ``__start``, and Python names both ``_App__start``."""

    def start(self: App) -> None: ...

    with pytest.raises(TypeError, match="App._App__start cannot stand here"):
        type("App", (App,), {"_App__start": start})
    with pytest.raises(TypeError, match="App._App__debug cannot stand here"):
        type("App", (App,), {"_App__debug": start})


async def test_a_startup_handler_may_return_an_iterator() -> None:
    app = App()
    app.startup_handlers.append(lambda: iter([]))  # as a cursor of a database
    async with lifespan(app):
        assert app._started
