"""The App itself: options and attributes, start and stop, errors and the log, reserved names."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    InMemorySessionBackend,
    SessionBackend,
    current_request,
    methods,
)
from tests.asgi import (
    REMOVED,
    LifespanFailed,
    assert_logged_500,
    call,
    exchange,
    get,
    lifespan,
    post,
    request,
    scripted,
    thread_set,
    websocket,
)
from tests.clock import elapse


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


class Nasty(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


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
        timeout=20,
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


@pytest.mark.parametrize("debug", [False, True])
async def test_base_exception_that_ends_the_process_passes_through(
    debug: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Stop(BaseException):
        pass

    class Stops(App):
        async def index(self) -> None:
            raise Stop

    response = await request(Stops(debug=debug), expect_exception=Stop)
    assert response.status is None
    assert caplog.records == []


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
    error = rf"{forgetful.__name__}.__init__ must call super\(\).__init__\(\)"
    with pytest.raises((AttributeError, TypeError), match=error):
        await call(forgetful(), scripted({"type": f"{kind}.startup"}), type=kind)


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
