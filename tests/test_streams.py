"""Streams: when things are sent, where the generator runs, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    UploadedFile,
    current_request,
    event_stream,
)
from tests.asgi import (
    BOUNDARY,
    REMOVED,
    Exchange,
    call,
    encode_multipart,
    exchange,
    get,
    logged,
    post,
    request,
    scripted,
    shown,
    thread_set,
)
from tests.asgi import (
    piece as message_of,
)
from tests.clients import Turns
from tests.clock import elapse

HTML = "text/html; charset=utf-8"
Kind = Callable[[Callable[[], Iterator[Any]]], Callable[[], Any]]


def streaming(answer: Callable[[], Any], **options: Any) -> App:
    class Root(App):
        async def index(self) -> Any:
            return answer()

    return Root(**options)


def asynced(source: Callable[[], Iterator[Any]]) -> Callable[[], AsyncIterator[Any]]:
    """Make an async generator that does the same as a plain one."""

    async def agen() -> AsyncIterator[Any]:
        with contextlib.closing(source()) as items:  # type: ignore[type-var]
            for item in items:
                yield item

    return agen


both = pytest.mark.parametrize("kind", [lambda source: source, asynced], ids=["plain", "async"])
"""The two kinds of generator that `kind(source)` makes of a plain one."""


# --- What is streamed -----------------------------------------------------------------------------


def gen() -> Iterator[Any]:
    yield "é"
    yield b"\xff"
    yield bytearray(b"c")
    yield memoryview(b"dxd")[::2]


agen = asynced(gen)


class AsyncIterable:
    def __aiter__(self) -> AsyncIterator[Any]:
        return agen()


class AsyncSteps:
    """An async iterator that is no generator: it has no `aclose()`."""

    def __init__(self) -> None:
        self.left = ["é", b"\xff", bytearray(b"c"), b"dd"]

    def __aiter__(self) -> AsyncSteps:
        return self

    async def __anext__(self) -> Any:
        if not self.left:
            raise StopAsyncIteration
        return self.left.pop(0)


class Steps:
    """A plain iterator that is no generator: it has no `close()`."""

    def __init__(self) -> None:
        self.left = iter(["é", b"\xff", b"c", b"dd"])

    def __iter__(self) -> Steps:
        return self

    def __next__(self) -> Any:
        return next(self.left)


class File(Steps):
    """An iterator that must be closed, as an open file is."""

    closed = False

    def close(self) -> None:
        self.closed = True


class Chatty(AsyncSteps):
    """It has other methods, of any name, as a WebSocket client or a database cursor has."""

    source = "of its own"

    def ping(self) -> None:
        raise AssertionError("not for the framework to call")


@pytest.mark.parametrize(
    "answer",
    [agen, gen, AsyncIterable, AsyncSteps, Chatty, Steps, File, lambda: map(str.encode, "é")],
)
async def test_iterators_and_generators_are_streamed_and_files_closed(
    answer: Callable[[], Any],
) -> None:
    made = answer()
    response = await get(streaming(lambda: made))
    expected = b"\xc3\xa9" if answer.__name__ == "<lambda>" else b"\xc3\xa9\xffcdd"
    assert (response.status, response.body, response.complete) == (200, expected, True)
    assert (response.header("content-type"), response.header("content-length")) == (HTML, None)
    assert len([chunk for chunk in response.chunks if chunk]) == (1 if len(expected) == 2 else 4)
    assert (response.chunks[0], response.chunks[-1]) == (b"", b"")
    assert getattr(made, "closed", True)


class Handlers(App):
    async def agen(self, count: int = 2) -> AsyncIterator[str]:
        for number in range(count):
            yield str(number)

    def gen(self, count: int = 2) -> Iterator[str]:
        for number in range(count):
            yield str(number)

    def returns(self, count: int = 2) -> Any:
        return (str(number) for number in range(count))


@pytest.mark.parametrize("path", ["/agen", "/gen", "/returns"])
async def test_a_handler_may_be_a_generator_and_binds_its_arguments(path: str) -> None:
    assert (await get(Handlers(), path)).body == b"01"
    assert (await get(Handlers(), f"{path}/3")).body == b"012"
    assert (await get(Handlers(), f"{path}?count=0")).complete
    assert (await get(Handlers(), f"{path}?count=x")).status == 400


@pytest.mark.parametrize("source", [agen, gen])
async def test_a_stream_has_a_status_and_headers_in_a_tuple(source: Any) -> None:
    response = await get(streaming(lambda: (206, source(), {"Content-Type": "text/x", "x-a": "1"})))
    assert (response.status, response.body) == (206, b"\xc3\xa9\xffcdd")
    assert (response.headers_all("content-type"), response.header("x-a")) == (["text/x"], "1")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_stream_keeps_a_content_length_of_the_handlers_own(method: str) -> None:
    response = await get(
        streaming(lambda: (200, iter(["abc"]), {"Content-Length": "3"})), method=method
    )
    assert response.headers_all("content-length") == ["3"]


@pytest.mark.parametrize("status", [204, 304])
async def test_a_stream_without_a_body_is_not_run(status: int) -> None:
    ran: list[str] = []

    async def source() -> AsyncIterator[str]:
        ran.append("ran")
        yield "x"

    response = await get(streaming(lambda: (status, source(), {"content-length": "1"})))
    assert (response.status, response.body, response.header("content-length"), ran) == (
        status,
        b"",
        None,
        [],
    )


@pytest.mark.parametrize("path", ["/agen", "/gen", "/returned", "/file"])
async def test_head_runs_no_generator_and_sends_the_headers(path: str) -> None:
    ran: list[str] = []
    file = File()

    class Root(App):
        async def agen(self) -> AsyncIterator[str]:
            ran.append("agen")
            yield "x"

        def gen(self) -> Iterator[str]:
            ran.append("gen")
            yield "x"

        async def returned(self) -> Any:
            return 200, self.agen()

        async def file(self) -> Any:
            return file

    response = await get(Root(), path, method="HEAD")
    assert (response.status, response.body, response.header("content-type"), ran) == (
        200,
        b"",
        HTML,
        [],
    )
    assert response.header("content-length") is None
    assert file.closed == (path == "/file")


async def test_an_empty_piece_does_not_end_a_stream() -> None:
    response = await get(streaming(lambda: iter(["a", "", b"", "b"])))
    assert response.chunks == [b"", b"a", b"", b"", b"b", b""]
    assert (await get(streaming(lambda: iter([])))).complete


# --- When -----------------------------------------------------------------------------------------


async def test_the_headers_are_sent_before_the_first_step() -> None:
    """In an empty body message, since some servers keep the headers back until there is one."""
    go = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        await go.wait()
        yield "x"

    async with exchange(streaming(source)) as ex:
        start, first = await ex.next_message(), await ex.next_message()
        assert start is not None and start["type"] == "http.response.start"
        assert first is not None and (first["body"], first["more_body"]) == (b"", True)
        assert not go.is_set()
        go.set()
        assert await ex.next_chunk() == b"x"
        await ex.wait()


@both
async def test_a_slow_client_holds_the_generator_back(kind: Kind) -> None:
    made: list[int] = []

    def source() -> Iterator[bytes]:
        for number in range(100):
            made.append(number)
            yield b"x" * 1000

    async with exchange(streaming(kind(source))) as ex:
        await ex.next_chunk()
        ex.hold()
        await elapse(1)
        held = len(made)
        ex.release()
        assert len((await ex.wait()).body) == 100_000
    assert held <= 2


async def test_other_requests_run_while_a_plain_generator_blocks() -> None:
    blocked, go = threading.Event(), threading.Event()

    class Root(App):
        def slow(self) -> Iterator[str]:
            blocked.set()
            assert go.wait(20)
            yield "slow"

        async def index(self) -> str:
            return "quick"

    async with exchange(Root(), path="/slow") as ex:
        await thread_set(blocked)
        assert (await get(Root())).text == "quick"
        go.set()
        assert (await ex.wait()).body == b"slow"


# --- Where ----------------------------------------------------------------------------------------

marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="outside")


@pytest.mark.parametrize("ping", [0, None, 1], ids=["stream", "events", "events with pings"])
async def test_an_async_generator_runs_in_the_requests_own_task(ping: float | None) -> None:
    """So that a time-out or a context variable may stay open over a `yield`."""
    tasks: set[Any] = set()

    async def source() -> AsyncIterator[str]:
        token = marker.set("inside")
        async with asyncio.timeout(20):
            for _ in range(3):
                tasks.add(asyncio.current_task())
                yield marker.get()
                await elapse(1.4)
        marker.reset(token)

    async with exchange(
        streaming(lambda: source() if ping == 0 else event_stream(source(), ping))
    ) as ex:
        response = await ex.wait()
        assert tasks == {ex.task}
    assert (response.text.count("inside"), response.complete) == (3, True)
    assert response.text.count(": ping") == (4 if ping else 0)


async def test_a_plain_generator_runs_off_the_loop_in_one_copy_of_the_context() -> None:
    threads: set[int] = set()

    class Root(App):
        def index(self) -> Iterator[str]:
            token = marker.set("inside")
            try:
                for _ in range(3):
                    threads.add(threading.get_ident())
                    method = current_request.get().method
                    yield f"{marker.get()} {method} {self.request.query('a')} "
            finally:
                threads.add(threading.get_ident())
                marker.reset(token)

    assert (await get(Root(), "/?a=1")).text == "inside GET 1 " * 3
    assert threading.get_ident() not in threads
    assert marker.get() == "outside"


@pytest.mark.parametrize("path", ["/gen", "/plain"])
async def test_everything_runs_inline_on_a_system_without_threads(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "emscripten")

    class Root(App):
        def gen(self) -> Iterator[str]:
            yield f"{threading.current_thread() is threading.main_thread()}"

        def plain(self) -> str:
            return f"{threading.current_thread() is threading.main_thread()}"

    assert (await get(Root(), path)).text == "True"


async def test_streams_at_the_same_time_stay_apart() -> None:
    class Root(App):
        async def agen(self, name: str) -> AsyncIterator[str]:
            marker.set(name)
            for _ in range(5):
                await asyncio.sleep(0)
                yield f"{marker.get()}{self.request.path_params[0]}"

        def gen(self, name: str) -> Iterator[str]:
            marker.set(name)
            for _ in range(5):
                yield f"{marker.get()}{self.request.path_params[0]}"

    app = Root()
    names = [f"{kind}/{number}" for kind in ("agen", "gen") for number in range(10, 20)]
    responses = await asyncio.gather(*(get(app, f"/{name}") for name in names))
    assert [response.text for response in responses] == [name[-2:] * 10 for name in names]


# --- The client leaves ----------------------------------------------------------------------------


class Endless(App):
    """Endless streams of each kind, and how they ended."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[str] = []
        self.stepping, self.go = threading.Event(), threading.Event()

    async def waits(self, first: float = 0) -> AsyncIterator[str]:
        try:
            await elapse(first)
            yield "tick"
            await asyncio.Event().wait()
        finally:
            await elapse(1)
            self.ends.append("finally")

    async def floods(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "x" * 1000
        finally:
            await elapse(1)
            self.ends.append("finally")

    def plain(self) -> Iterator[str]:
        try:
            yield "tick"
            self.stepping.set()
            assert self.go.wait(20)
            self.ends.append("step finished")
            yield "unseen"
            self.ends.append("another step")
        finally:
            time.sleep(0.01)  # a request that did not wait for the thread would be over by now
            on_loop = threading.current_thread() is threading.main_thread()
            self.ends.append("finally on the loop" if on_loop else "finally")


@pytest.mark.parametrize(
    ("path", "reads"), [("/waits", True), ("/floods", True), ("/floods", False)]
)
async def test_a_stream_ends_and_its_finally_runs_when_the_client_leaves(
    path: str, reads: bool, caplog: pytest.LogCaptureFixture
) -> None:
    endless = Endless()
    async with exchange(endless, path=path) as ex:
        assert await ex.next_chunk()
        if not reads:
            ex.hold()
            await elapse(1)
        await ex.disconnect()
        assert not (await ex.wait()).complete
        assert endless.ends == ["finally"]
    assert not logged(caplog)


async def test_a_plain_generator_ends_its_step_and_is_closed_in_a_thread() -> None:
    endless = Endless()
    async with exchange(endless, path="/plain") as ex:
        await thread_set(endless.stepping)
        await ex.disconnect()
        await elapse(0.03)
        assert not ex.done, "the request waits for the step under way"
        endless.go.set()
        await ex.wait()
    assert endless.ends == ["step finished", "finally"]


@pytest.mark.parametrize("path", ["/waits", "/floods", "/plain"])
@pytest.mark.parametrize("at", [0, 1, 2])
async def test_a_server_may_say_by_oserror_that_the_client_left(
    path: str, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    """As ASGI 2.4 says: from the response's start, its first body message or a later one on."""
    endless, number = Endless(), itertools.count()
    endless.go.set()
    async with asyncio.timeout(20):
        sent = await call(
            endless,
            path=path,
            refuse=lambda message: OSError("gone") if next(number) >= at else None,
        )
    assert len(sent) == at
    # A generator that has not begun has no finally to run.
    assert endless.ends == [] or endless.ends[-1] == "finally"
    assert not logged(caplog)


async def test_a_client_that_left_before_the_stream_began() -> None:
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            await elapse(1)
            yield "x"
        finally:
            ends.append("finally")

    response = await get(streaming(source), disconnect_after=0)
    assert (response.body, response.complete, ends) == (b"", False, ["finally"])


@pytest.mark.parametrize("goes_on", [False, True])
async def test_generator_that_swallows_the_cancellation_is_closed_and_sends_no_more(
    goes_on: bool,
) -> None:
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                ends.append("swallowed")
            if goes_on:
                yield "unseen"
                ends.append("another step")
        finally:
            ends.append("finally")

    async with exchange(streaming(source)) as ex:
        await ex.next_chunk()
        await elapse(0.1)  # the source waits
        await ex.disconnect()
        assert (await ex.wait()).body == b"a"
        assert ex.task is not None and ex.task.cancelling() == 0
    assert ends == ["swallowed", "finally"]


async def test_a_server_that_cancels_while_the_finally_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            ends.append("begun")
            try:
                await elapse(5)
            finally:
                ends.append("cut short")

    async with exchange(streaming(source)) as ex:
        await ex.next_chunk()
        ex.hold()
        await elapse(1)
        await ex.disconnect()
        await elapse(1)
        assert ends == ["begun"]
        ex.cancel()
        await ex.wait()
    assert ends == ["begun", "cut short"]
    assert not logged(caplog)


@both
async def test_a_finally_that_fails_is_logged(kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
    def source() -> Iterator[str]:
        try:
            while True:
                yield "a"
        finally:
            raise RuntimeError("in finally")

    async with exchange(streaming(kind(source))) as ex:
        await ex.next_chunk()
        await ex.disconnect()
        await ex.wait()
    assert [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info] == ["in finally"]


async def test_leaving_at_the_very_end_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the moment at which the disconnect arrives, everything ends."""

    async def source() -> AsyncIterator[str]:
        for _ in range(3):
            yield "x"
            await asyncio.sleep(0)

    for delay in range(40):
        async with exchange(streaming(source)) as ex:
            for _ in range(delay):
                await asyncio.sleep(0)
            await ex.disconnect()
            await ex.wait()
            assert ex.task is not None and ex.task.cancelling() == 0
    assert not logged(caplog)


@pytest.mark.parametrize("first", [b"", b"x"])
@pytest.mark.parametrize("events", [False, True])
async def test_client_that_leaves_before_its_request_ended_ends_the_stream(
    events: bool, first: bytes
) -> None:
    """In HTTP/2 a body needs no header that announces it."""
    ended = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await elapse(0.1)
        finally:
            ended.set()

    app = streaming(lambda: event_stream(source()) if events else source(), body_timeout=0.5)
    async with exchange(app, "POST", scope={"http_version": "2"}) as ex:
        await ex.send_body(first)
        assert await ex.next_chunk()
        await ex.disconnect()
        await ended.wait()


# --- The server stops -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/waits", "/floods", "/plain"])
async def test_a_cancelled_request_runs_the_finally_of_its_stream(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As at a forced shutdown: the stream is in the task that the server cancels and waits for."""
    endless = Endless()
    async with exchange(endless, path=path) as ex:
        await ex.next_chunk()
        if path == "/plain":
            await thread_set(endless.stepping)
        ex.cancel()
        await elapse(0.02)
        endless.go.set()
        await ex.wait()
    assert endless.ends[-1:] == ["finally"]
    assert not logged(caplog)


@pytest.mark.parametrize("ping", [None, 0.5])
@pytest.mark.parametrize("times", [2, 3, 5])
async def test_a_request_that_is_cancelled_again_and_again_runs_the_finally_too(
    times: int, ping: float | None
) -> None:
    """As a cancel scope of anyio does, in every round of the loop, until the task ends."""
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            ends.append("finally")

    async with exchange(
        streaming(lambda: event_stream(source(), ping) if ping else source())
    ) as ex:
        await ex.next_chunk()
        ex.hold()
        await elapse(1)
        for _ in range(times):
            ex.cancel()
            await asyncio.sleep(0)
        await ex.wait()
    assert ends == ["finally"]


# --- A stream fails -------------------------------------------------------------------------------


def broken(error: Any, after: int, ends: list[str]) -> Callable[[], Iterator[Any]]:
    """A generator that yields `after` pieces and then raises, or yields, what it is given."""

    def source() -> Iterator[Any]:
        try:
            for _ in range(after):
                yield "a"
            if isinstance(error, BaseException):
                raise error
            yield error
            ends.append("went on")
        finally:
            ends.append("finally")

    return source


@both
@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("x"),
        HTTPError(404),
        OSError("a file that cannot be read"),
        asyncio.CancelledError("of something else"),
        5,
        None,
        {"a": 1},
        "\ud800",
        object(),
    ],
    ids=shown,
)
async def test_an_exception_in_a_stream_is_logged_and_leaves_it_incomplete(
    error: Any, after: int, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []
    response = await request(streaming(kind(broken(error, after, ends))))
    assert (response.status, response.body, response.complete) == (200, b"a" * after, False)
    assert ends == ["finally"]
    assert [entry.exc_info is not None for entry in logged(caplog)] == [True]


@both
async def test_a_broken_stream_does_not_disturb_the_next_request(kind: Kind) -> None:
    app = streaming(kind(broken(RuntimeError("x"), 1, [])))
    for _ in range(3):
        assert not (await request(app)).complete


class NoIterator:
    def __aiter__(self) -> Any:
        raise RuntimeError("no iterator today")


class OnlyNext:
    def __next__(self) -> str:
        raise StopIteration


@pytest.mark.parametrize("answer", [NoIterator, OnlyNext])
async def test_error_of_what_only_looks_like_an_iterator_is_logged(
    answer: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    response = await get(streaming(answer))
    assert response.status == 500 or not response.complete
    assert len(logged(caplog)) == 1


# --- The body of the request ----------------------------------------------------------------------


class Echo(App):
    async def index(self) -> AsyncIterator[bytes]:
        async for piece in self.request.stream():
            yield piece.upper()

    async def then_waits(self) -> AsyncIterator[bytes]:
        self.ends: list[str] = []
        async for piece in self.request.stream():
            yield piece
        try:
            yield b"end"
            await asyncio.Event().wait()
        finally:
            self.ends.append("finally")

    async def after(self) -> AsyncIterator[str]:
        yield "x"
        await asyncio.Event().wait()


CHUNKED = {"transfer-encoding": "chunked"}


async def next_piece(ex: Exchange, body: bytes, more: bool = True) -> bytes | None:
    await ex.send_body(body, more)
    return await ex.next_chunk()


async def test_a_stream_may_read_the_body_while_it_sends() -> None:
    async with exchange(Echo(), "POST", headers=CHUNKED) as ex:
        assert await next_piece(ex, b"ab") == b"AB"
        assert await next_piece(ex, b"cd") == b"CD"
        assert await next_piece(ex, b"ef", more=False) == b"EF"
        response = await ex.wait()
        assert (response.body, response.complete) == (b"ABCDEF", True)


async def test_the_listener_starts_once_the_body_is_read_to_its_end() -> None:
    app = Echo()
    async with exchange(app, "POST", "/then_waits", headers=CHUNKED) as ex:
        assert await next_piece(ex, b"a") == b"a"
        assert await next_piece(ex, b"b", more=False) == b"b"
        assert await ex.next_chunk() == b"end"
        await ex.disconnect()
        await ex.wait()
    assert app.ends == ["finally"]


async def test_client_that_leaves_mid_body_ends_a_stream_and_nothing_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with exchange(Echo(), "POST", headers=CHUNKED) as ex:
        assert await next_piece(ex, b"a") == b"A"
        await ex.disconnect()
        assert not (await ex.wait()).complete
    assert not logged(caplog)


async def test_generator_that_swallows_the_disconnect_is_closed_and_sends_no_more() -> None:
    ends: list[str] = []

    class Root(App):
        async def index(self) -> AsyncIterator[bytes]:
            try:
                with contextlib.suppress(ConnectionClosed):
                    async for piece in self.request.stream():
                        yield piece
                yield b"unseen"
                ends.append("another step")
            finally:
                ends.append("finally")

    async with exchange(Root(), "POST", headers=CHUNKED) as ex:
        assert await next_piece(ex, b"a") == b"a"
        await ex.disconnect()
        response = await ex.wait()
        assert (response.body, response.complete) == (b"a", False)
    assert ends == ["finally"]


@pytest.mark.parametrize(
    "options",
    [
        {"form": {"a": "1"}},
        {"json": [1]},
        {"body": b""},
        {"multipart": [("a", "1")]},
        {"body": b"x", "headers": {"content-type": "text/plain"}},
    ],
    ids=["form", "json", "empty", "multipart", "not read"],
)
async def test_leaving_ends_a_stream_after_a_body_that_was_parsed_or_is_not_read(
    options: dict[str, Any],
) -> None:
    """One byte of a body that no handler wants must not keep a stream open forever."""
    response = await post(Echo(), "/after", disconnect_after=1, **options)
    assert (response.status, response.complete) == (200, False)


class Late(App):
    """Reads its body, after the first piece or after some seconds, in one of these ways."""

    def __init__(self, events: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.events = events

    async def piece_first(self, how: str) -> Any:
        return self._answer(self._piece_first(how))

    async def after(self, seconds: float, how: str) -> Any:
        return self._answer(self._after(seconds, how))

    def _answer(self, source: AsyncIterator[Any]) -> Any:
        return event_stream(source, ping=None) if self.events else source

    async def _piece_first(self, how: str) -> AsyncIterator[Any]:
        yield b"first "
        yield await self._read(how)

    async def _after(self, seconds: float, how: str) -> AsyncIterator[Any]:
        await elapse(seconds)
        yield await self._read(how)

    async def _read(self, how: str) -> bytes:
        if how == "body":
            return await self.request.body()
        return b"".join([piece async for piece in self.request.stream()])


TEXT = [("content-type", "text/plain")]
late_ways = pytest.mark.parametrize("how", ["body", "stream"])
late_kinds = pytest.mark.parametrize("events", [False, True], ids=["stream", "events"])
DROPPED = "the body was dropped, since nothing read it in time"


@late_ways
@late_kinds
@pytest.mark.parametrize(
    "body", [b"abc", [b"a", b"b", b"c"], None], ids=["whole", "pieces", "still to come"]
)
async def test_a_body_that_is_first_read_after_the_first_piece_is_a_runtime_error(
    body: Any, events: bool, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It was dropped by then: silently short would be worse."""
    options: dict[str, Any] = {"body": body}
    if body is None:
        options = {"body": b"", "receive": scripted()}
    headers = [*TEXT, ("transfer-encoding", "chunked")]
    response = await post(Late(events), f"/piece_first/{how}", headers=headers, **options)
    assert (response.body, response.complete) == (b"first ", False)
    assert [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info] == [DROPPED]


@late_ways
@late_kinds
@pytest.mark.parametrize(
    ("seconds", "is_dropped"), [(0, False), (4.9, False), (5.1, True), (15, True)]
)
async def test_a_stream_may_begin_to_read_its_body_5_seconds_after_the_headers_and_no_later(
    seconds: float, is_dropped: bool, events: bool, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with exchange(
        Late(events, body_timeout=200), "POST", f"/after/{seconds}/{how}", headers=CHUNKED
    ) as ex:
        await elapse(16 if is_dropped else seconds + 0.05)
        if not is_dropped:  # it may take its time once it has begun
            await ex.send_body(b"ab")
            await elapse(10)
        await ex.send_body(b"c", more=False)
        response = await ex.wait()
    assert (response.body, response.complete) == ((b"", False) if is_dropped else (b"abc", True))
    errors = [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info]
    assert errors == [DROPPED] * is_dropped


@pytest.mark.parametrize("seconds", [4.9, 5.1])
async def test_the_5_seconds_begin_with_the_headers_and_not_with_the_handler(
    seconds: float, caplog: pytest.LogCaptureFixture
) -> None:
    class Slow(Late):
        async def index(self) -> Any:
            await elapse(10)
            return self._after(seconds, "body")

    response = await post(Slow(), headers=TEXT, body=b"abc")
    assert response.body == (b"abc" if seconds < 5 else b"")
    assert len(logged(caplog)) == (seconds > 5)


async def test_a_reader_that_catches_the_error_of_a_dropped_body_gets_it_again_and_may_go_on() -> (
    None
):
    class Catches(App):
        async def index(self) -> AsyncIterator[str]:
            yield "first "
            for read in (self.request.body, self.request.body, self._stream):
                with pytest.raises(RuntimeError, match=DROPPED):
                    await read()
            yield "last"

        async def _stream(self) -> None:
            async for _ in self.request.stream():
                raise AssertionError("there is nothing left")

    response = await post(Catches(), headers=TEXT, body=b"abc")
    assert (response.body, response.complete) == (b"first last", True)


async def test_leaving_ends_a_stream_that_still_asks_for_a_dropped_body_larger_than_allowed() -> (
    None
):
    taken: list[str] = []

    class Asks(App):
        async def index(self) -> AsyncIterator[str]:
            yield "first"
            await asyncio.sleep(0)  # the listener begins
            with pytest.raises(RuntimeError, match=DROPPED):
                await self.request.body()
            try:
                yield "asked"
                await asyncio.Event().wait()
            finally:
                taken.append("finally")

    async with exchange(Asks(max_body_size=3), "POST", headers=CHUNKED) as ex:
        assert await next_text(ex) == "first"
        assert await next_text(ex) == "asked"
        await ex.send_body(b"more than that")
        await ex.send_body(b"and more")
        await ex.disconnect()
        await asyncio.wait_for(ex.wait(), 5)
    assert taken == ["finally"]


@late_ways
@pytest.mark.parametrize("path", ["/piece_first", "/after/10"])
async def test_a_request_without_a_body_has_an_empty_one_at_any_time(path: str, how: str) -> None:
    response = await get(Late(), f"{path}/{how}")
    assert (response.body, response.complete) == (b"first " if "first" in path else b"", True)


@late_ways
async def test_a_body_that_was_read_before_the_stream_is_there_at_any_time(how: str) -> None:
    class Early(Late):
        async def index(self) -> Any:
            await self.request.body()
            return self._piece_first(how)

    response = await post(Early(), headers=TEXT, body=[b"a", b"bc"])
    assert (response.body, response.complete) == (b"first abc", True)


@late_kinds
async def test_leaving_ends_a_silent_stream_whose_body_is_unread_within_5_seconds(
    events: bool,
) -> None:
    ended: list[float] = []

    async def silent() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            ended.append(asyncio.get_running_loop().time())

    app = streaming(lambda: event_stream(silent(), None) if events else silent())
    async with exchange(app, "POST", headers=TEXT, body=[b"a", b"bc"]) as ex:
        began = asyncio.get_running_loop().time()
        await elapse(1)
        await ex.disconnect()
        await ex.wait()
    assert ended and ended[0] - began < 5.1


async def slow() -> AsyncIterator[str]:
    for _ in range(3):
        await elapse(1)
        yield "x"


@pytest.mark.parametrize(
    "again",
    [
        {"type": "http.request"},
        {"type": "http.request", "body": None, "more_body": None},
        RuntimeError("no more"),
    ],
    ids=shown,
)
async def test_a_server_that_does_not_tell_of_the_leaving_ends_no_stream(again: Any) -> None:
    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)
        return next(first, None) or await scripted(again)()

    first = iter([{"type": "http.request"}])
    response = await get(streaming(slow), receive=receive)
    assert (response.body, response.complete) == (b"xxx", True)


async def test_a_server_that_leaves_optional_keys_out() -> None:
    scope = {
        "raw_path": REMOVED,
        "query_string": REMOVED,
        "root_path": None,
        "client": None,
        "server": None,
    }
    assert (await get(Handlers(), "/agen", scope=scope)).body == b"01"


async def test_leaving_ends_a_stream_whose_first_piece_came_late_and_left_the_body_unread() -> None:
    endless = Endless()
    async with exchange(endless, "POST", "/waits/1", headers=[("content-length", "3")]) as ex:
        await ex.send_body(b"abc")
        assert await ex.next_chunk() == b"tick"  # after the listener has begun
        await ex.disconnect()
        await ex.wait()
    assert endless.ends == ["finally"]


async def test_leaving_ends_a_stream_whose_body_was_given_up_with_a_408() -> None:
    ended = asyncio.Event()

    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            try:
                with contextlib.suppress(HTTPError):
                    async for _ in self.request.stream():
                        yield "piece"
                while True:
                    await elapse(1)
                    yield "tick"
            finally:
                ended.set()

    async with exchange(Root(body_timeout=5), "POST", headers={"content-length": "100"}) as ex:
        await ex.send_body(b"abc")
        while await ex.next_chunk() != b"tick":
            pass
        await ex.disconnect()
        await ended.wait()


async def test_stream_whose_own_task_reads_the_body_ends_when_the_client_leaves_in_it() -> None:
    class Root(App):
        async def index(self) -> Any:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            body = self.request.stream()

            async def read() -> None:
                async for chunk in body:
                    queue.put_nowait(chunk)

            async def echo() -> Any:
                task = asyncio.create_task(read())
                try:
                    while True:
                        yield await queue.get()
                finally:
                    await asyncio.wait([task])
                    task.exception()

            return echo()

    async with exchange(Root(), "POST", headers={"transfer-encoding": "chunked"}) as ex:
        await ex.send_body(b"abc")
        while await ex.next_chunk() != b"abc":
            pass
        await ex.disconnect()
        await elapse(1)
        assert ex.task.done()


async def test_body_that_a_look_found_empty_can_still_be_read_in_a_stream() -> None:
    class Root(App):
        async def index(self) -> Any:
            assert not await self.request.is_disconnected()

            async def stream() -> Any:
                yield b"first "
                yield await self.request.body() or b"empty"

            return stream()

    sent = await call(Root(), method="POST", http_version="2")
    assert [message["body"] for message in sent[1:]] == [b"", b"first ", b"empty", b""]


async def stuck(after: float, taken: list[Any]) -> AsyncIterator[str]:
    """Reads a piece of the body, then none for so many seconds, then the next one."""
    body = current_request.get().stream()
    try:
        taken.append(await anext(body))
        yield "begun"
        await elapse(after)
        taken.append(await anext(body))
        yield "more"
        await asyncio.Event().wait()
    finally:
        taken.append("finally")


def stuck_steps(taken: list[Any]) -> Iterator[str]:
    try:
        while True:
            yield "step"
            time.sleep(0.001)  # so that the steps do not fill a core
    finally:
        taken.append("finally")


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks every 3 seconds in place of 30, since a test has 20."""
    monkeypatch.setattr("micropie._IDLE_SECONDS", 3)


@late_kinds
@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize("headers", [CHUNKED, {"content-length": "100"}], ids=["chunked", "length"])
async def test_leaving_ends_a_stream_that_has_read_a_part_of_the_body(
    headers: Any, events: bool
) -> None:
    """If it reads no more, MicroPie drops the rest, or it would never learn of the leaving."""
    taken: list[Any] = []

    def source() -> Any:
        return event_stream(stuck(1e9, taken), None) if events else stuck(1e9, taken)

    async with exchange(streaming(source), "POST", headers=headers) as ex:
        await ex.send_body(b"a")
        assert "begun" in (await next_text(ex))
        began = asyncio.get_running_loop().time()
        await ex.send_body(b"b")
        await ex.disconnect()
        assert not (await ex.wait()).complete
    assert taken == [b"a", "finally"]
    assert asyncio.get_running_loop().time() - began <= 6


@pytest.mark.real_time
async def test_leaving_ends_a_plain_stream_whose_handler_has_read_a_part_of_the_body(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micropie._IDLE_SECONDS", 0.01)
    taken: list[Any] = []

    class Root(App):
        async def index(self) -> Any:
            await anext(self.request.stream())
            return stuck_steps(taken)

    async with exchange(Root(), "POST", headers=CHUNKED) as ex:
        await ex.send_body(b"a")
        assert await next_text(ex) == "step"  # a generator that has not begun has no `finally`
        await ex.disconnect()
        await ex.wait()
    assert taken == ["finally"]


@pytest.mark.usefixtures("brisk")
async def test_leaving_ends_a_stream_that_has_read_a_part_of_an_upload() -> None:
    taken: list[Any] = []

    class Root(App):
        async def index(self, file: UploadedFile) -> Any:
            async def stream() -> AsyncIterator[str]:
                try:
                    taken.append(await file["content"].get())
                    yield "begun"
                    await asyncio.Event().wait()
                finally:
                    taken.append("finally")

            return stream()

    form = encode_multipart([("file", "a", "text/plain", b"x" * 99)])
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", **CHUNKED}
    async with exchange(Root(), "POST", headers=headers) as ex:
        await ex.send_body(form[:-120])
        assert "begun" in (await next_text(ex))
        await ex.disconnect()
        await ex.wait()
    assert taken[1:] == ["finally"]


@late_kinds
@pytest.mark.usefixtures("brisk")
@pytest.mark.parametrize(("seconds", "is_dropped"), [(2.9, False), (6.1, True)])
async def test_a_stream_may_take_a_while_between_two_pieces_of_the_body(
    seconds: float, is_dropped: bool, events: bool, caplog: pytest.LogCaptureFixture
) -> None:
    taken: list[Any] = []

    def source() -> Any:
        return event_stream(stuck(seconds, taken), None) if events else stuck(seconds, taken)

    async with exchange(streaming(source), "POST", headers=CHUNKED) as ex:
        await ex.send_body(b"a")
        await ex.send_body(b"b")
        assert "begun" in (await next_text(ex))
        if is_dropped:
            await ex.wait()
        else:
            assert "more" in (await next_text(ex))
            await ex.disconnect()
    assert taken == [b"a", *([] if is_dropped else [b"b"]), "finally"]
    errors = [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info]
    assert errors == [DROPPED] * is_dropped


@pytest.mark.usefixtures("brisk")
async def test_a_stream_that_waits_for_a_slow_client_keeps_the_body() -> None:
    async with exchange(Echo(body_timeout=None), "POST", headers=CHUNKED) as ex:
        for piece in (b"a", b"b"):
            assert await next_piece(ex, piece) == piece.upper()
            await elapse(7)
        await ex.send_body(b"", more=False)
        assert (await ex.wait()).complete


async def next_text(ex: Exchange) -> str:
    while not (chunk := await ex.next_chunk()):
        assert chunk is not None
    return chunk.decode()


# --- Sources that never wait ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "bytes", "events", "events with pings", "plain"])
async def test_source_that_never_waits_lets_others_run_and_ends_with_its_client(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, left, ends = Turns(), asyncio.Event(), list[str]()
    if kind == "plain":
        monkeypatch.setattr(sys, "platform", "emscripten")  # each step waits for a thread elsewhere

    def steps() -> Iterator[Any]:
        try:
            while True:
                yield b"x" if kind == "bytes" else "x"
        finally:
            ends.append("finally")

    def answer() -> Any:
        source = steps() if kind == "plain" else asynced(steps)()
        pings = {"events": None, "events with pings": 1}
        return event_stream(source, pings[kind]) if kind in pings else source

    async def send(message: Any) -> None:
        await turns(message)
        if turns.sends == 1000:
            left.set()

    async def receive() -> Any:
        await left.wait()
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await streaming(answer)(scope, receive, send)
    turns.end()
    assert ends == ["finally"]
    assert max(turns.counts.values()) <= 66  # the headers and their empty message come before
    assert turns.sends < 1200


# --- Errors that are raised again -----------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("x"), HTTPError(403), SystemExit(3)])
@pytest.mark.parametrize("kind", ["async", "plain", "finally"])
async def test_an_exception_of_a_source_keeps_nothing_and_ends_nothing(
    error: BaseException, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    error.__traceback__ = None

    def source() -> Iterator[str]:
        try:
            yield "a"
            if kind != "finally":
                raise error
            yield "b"
        finally:
            if kind == "finally":
                raise error

    async with exchange(streaming(source if kind == "plain" else asynced(source))) as ex:
        await ex.next_chunk()
        if kind == "finally":
            ex.hold()
            await ex.disconnect()
            ex.release()
        response = await ex.wait()
    assert response.complete is False
    assert len(caplog.records) == 1
    assert error.__traceback__ is None


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_a_stream_that_has_looked_for_its_client_ends_when_the_client_leaves(version):
    """An empty body without a length ends at that look, and the listener must see that."""
    ended = asyncio.Event()

    class Root(App):
        async def index(self):
            async def source():
                assert not await current_request.get().is_disconnected()
                yield b"x"
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()

            return source()

    incoming = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": b"", "more_body": False})
    headers = [(b"transfer-encoding", b"chunked")] if version == "1.1" else []
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}

    async def send(message):
        pass

    task = asyncio.create_task(Root()({**scope, "http_version": version}, incoming.get, send))
    await elapse(1)
    incoming.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(task, 20)
    assert ended.is_set()


def losing(*messages: Any, steps: int = 6) -> Any:
    """Make a `receive` that loses the message for which it waits when it is cancelled.

    So does that of Granian, and that of Starlette's `BaseHTTPMiddleware`.
    """
    left = list(messages)

    async def receive() -> Any:
        if not left:
            await asyncio.Event().wait()
        message = left.pop(0)
        for _ in range(steps):  # it is on its way
            await asyncio.sleep(0)
        return message

    return receive


@pytest.mark.parametrize("timeout", [30.0, None])
@pytest.mark.parametrize("pieces", [1, 2])
async def test_a_stream_beside_an_unread_body_ends_at_once_where_a_receive_loses_a_message(
    pieces: int,
    timeout: float | None,
) -> None:
    async def dots() -> AsyncIterator[bytes]:
        for _ in range(9 * pieces - 6):
            yield b"."
            await asyncio.sleep(0)

    receive = losing(*[message_of(b"x", more=number < pieces) for number in range(1, pieces + 1)])
    headers = [(b"content-length", b"11")]
    work = call(streaming(dots, body_timeout=timeout), receive, method="POST", headers=headers)
    sent = await asyncio.wait_for(work, 5)
    assert b"".join(message.get("body", b"") for message in sent) == b"." * (9 * pieces - 6)
    assert sent[-1]["more_body"] is False


async def test_a_stream_after_an_unread_body_takes_no_more_tasks_than_another() -> None:
    async def tasks(method: str, headers: Any, *messages: Any) -> list[int]:
        found = []

        async def dots() -> AsyncIterator[bytes]:
            yield b"."
            await elapse(0.1)
            found.append(len(asyncio.all_tasks()))

        await call(streaming(dots), losing(*messages), method=method, headers=headers)
        return found

    announced = [(b"content-length", b"1")]
    assert await tasks("POST", announced, message_of(b"x")) == await tasks("GET", [])


@pytest.mark.parametrize("steps", range(12))
async def test_a_stream_beside_an_unread_body_sends_nothing_once_receive_has_told_of_the_leaving(
    steps: int,
) -> None:
    told, sent_when = [False], list[bool]()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0)

    async def receive() -> Any:
        message = await inner()
        if message["type"] == "http.disconnect":
            told.append(True)
        return message

    async def send(message: Any) -> None:
        sent_when.append(told[-1])

    inner = losing(message_of(b"x", more=True), {"type": "http.disconnect"}, steps=steps)
    headers = [(b"content-length", b"11")]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
    await asyncio.wait_for(streaming(endless)(scope, receive, send), 20)
    assert told[-1] and sent_when[2:] and not any(sent_when)
