"""Server-sent events: what goes over the wire, pings while a stream is idle, and how it ends."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from micropie import App, ServerSentEvent, event_stream
from tests.asgi import Response, exchange, get, post, request

PING = 0.03


def events(source: Callable[[], Any], **options: Any) -> App:
    class Root(App):
        async def index(self) -> Any:
            return event_stream(source(), **options)

    return Root()


async def sent(*items: Any) -> Response:
    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    return await request(events(source))


def logged(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [entry for entry in caplog.records if entry.name == "micropie" and entry.levelno >= logging.ERROR]


def is_ping(piece: bytes) -> bool:
    return piece.startswith(b":") and piece.endswith(b"\n\n") and piece.count(b"\n") == 2


def parsed(stream: str) -> list[dict[str, str]]:
    """What a browser makes of an event stream (HTML standard, section 9.2.6)."""
    seen: list[dict[str, str]] = []
    data: list[str] = []
    fields: dict[str, str] = {}
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        if not line:
            if data:
                seen.append({"data": "\n".join(data), **fields})
            data, fields = [], {}
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif name:
            fields[name] = value.removeprefix(" ")
    return seen


# --- What goes over the wire ------------------------------------------------------------------------------------------


async def test_the_headers_of_an_event_stream() -> None:
    response = await sent("a")
    assert response.status == 200
    assert response.headers_all("content-type")[0].split(";")[0] == "text/event-stream"
    assert (response.header("cache-control"), response.header("x-accel-buffering")) == ("no-cache", "no")
    assert response.header("content-length") is None and response.complete


def test_the_documented_signatures() -> None:
    assert [str(each) for each in inspect.signature(ServerSentEvent).parameters] == ["data", "event", "id", "retry"]
    assert inspect.signature(event_stream).parameters["ping"].default == 15.0


@pytest.mark.parametrize(
    ("item", "wire"),
    [
        ("hello", "data: hello\n\n"),
        ("", "data: \n\n"),
        ("é ☃", "data: é ☃\n\n"),
        (" led by a blank", "data:  led by a blank\n\n"),
        ("two\nlines", "data: two\ndata: lines\n\n"),
        ("a\r\nb\rc\n\nd", "data: a\ndata: b\ndata: c\ndata: \ndata: d\n\n"),
        ("ends\n", "data: ends\ndata: \n\n"),
        ("\u2028\x0b\x85 are no line ends", "data: \u2028\x0b\x85 are no line ends\n\n"),
        ({"a": [1, "é"]}, 'data: {"a":[1,"é"]}\n\n'),
        ([1, None], "data: [1,null]\n\n"),
        ({"a": "b\nc"}, 'data: {"a":"b\\nc"}\n\n'),
        (ServerSentEvent("x"), "data: x\n\n"),
        (ServerSentEvent({"a": 1}), 'data: {"a":1}\n\n'),
        (ServerSentEvent("a\nb"), "data: a\ndata: b\n\n"),
    ],
)
async def test_what_each_item_becomes(item: Any, wire: str) -> None:
    assert (await sent(item)).text == wire


async def test_the_fields_of_an_event() -> None:
    response = await sent(ServerSentEvent("a\nb", event="tick", id="7", retry=250), ServerSentEvent("c", id="8"), "d")
    assert parsed(response.text) == [
        {"data": "a\nb", "event": "tick", "id": "7", "retry": "250"},
        {"data": "c", "id": "8"},
        {"data": "d"},
    ]


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\n\r"])
async def test_no_newline_injection_through_a_field(field: str, end: str) -> None:
    """The event is refused, or arrives as one event with nothing in it that was not meant."""
    try:
        event = ServerSentEvent("good", **{field: f"x{end}data: evil{end}retry: 1{end}"})
    except ValueError:
        return
    seen = parsed((await sent(event)).text)
    assert len(seen) <= 1
    assert all(each["data"] == "good" and "retry" not in each and len(each) <= 2 for each in seen)


async def test_a_null_character_does_not_make_browsers_ignore_an_id() -> None:
    try:
        event = ServerSentEvent("x", id="a\0b")
    except ValueError:
        return
    assert "\0" not in (await sent(event)).text


@pytest.mark.parametrize("retry", ["1\ndata: evil", "soon"])
async def test_a_retry_that_is_no_number_is_not_sent(retry: Any) -> None:
    try:
        event = ServerSentEvent("good", retry=retry)
    except (TypeError, ValueError):
        return
    assert "evil" not in (await sent(event)).text and "soon" not in (await sent(event)).text


@pytest.mark.parametrize(
    "item",
    [object(), b"bytes", {1, 2}, "\ud800", ServerSentEvent(object())],
    ids=["object", "bytes", "set", "surrogate", "event"],
)
async def test_an_item_that_cannot_be_said_breaks_the_stream_off(item: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = await sent("first", item, "never")
    assert (response.text, response.complete) == ("data: first\n\n", False)
    assert len(logged(caplog)) == 1


@pytest.mark.parametrize("source", [42, None, object()], ids=["number", "None", "object"])
async def test_a_source_that_is_none_is_a_logged_500(source: Any, caplog: pytest.LogCaptureFixture) -> None:
    response = await request(events(lambda: source))
    assert response.status == 500
    assert len(logged(caplog)) == 1


async def test_a_plain_source_runs_off_the_loop() -> None:
    def source() -> Iterator[str]:
        for number in range(3):
            time.sleep(0.001)
            yield str(number)
        assert not in_loop()

    assert (await get(events(source))).text == "data: 0\n\ndata: 1\n\ndata: 2\n\n"
    assert (await get(events(lambda: ["a", {"b": 1}]))).text == 'data: a\n\ndata: {"b":1}\n\n'


def in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def test_a_browser_that_reconnects_says_where_it_was() -> None:
    class Root(App):
        async def index(self) -> Any:
            start = int(self.request.headers["last-event-id"])
            return event_stream(ServerSentEvent(str(number), id=str(number)) for number in range(start + 1, start + 3))

    response = await get(Root(), headers={"Last-Event-ID": "41"})
    assert [each["id"] for each in parsed(response.text)] == ["42", "43"]


async def test_an_event_stream_answers_a_post_too_and_head_runs_no_source() -> None:
    ran: list[str] = []

    async def source() -> AsyncIterator[Any]:
        ran.append("ran")
        yield {"ran": True}

    assert (await post(events(source), json={"prompt": "x"})).text == 'data: {"ran":true}\n\n'
    response = await request(events(source), "HEAD")
    assert (response.status, response.body, ran) == (200, b"", ["ran"])
    assert str(response.header("content-type")).startswith("text/event-stream")


async def test_headers_may_be_added_to_an_event_stream() -> None:
    class Root(App):
        async def index(self) -> Any:
            status, body, headers = event_stream(iter(["a"]))
            return status, body, [*headers, ("x-a", "1")]

    response = await get(Root())
    assert (response.text, response.header("x-a")) == ("data: a\n\n", "1")
    assert str(response.header("content-type")).startswith("text/event-stream")


# --- Pings ------------------------------------------------------------------------------------------------------------


async def test_an_idle_stream_is_pinged_and_loses_no_item() -> None:
    """The source is waiting in one and the same step all the time."""

    async def steps() -> list[bytes]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        pieces: list[bytes] = []

        async def source() -> AsyncIterator[str]:
            while item := await queue.get():
                yield item

        async with exchange(events(source, ping=PING)) as ex:
            for item in ("a", "b"):
                for _ in range(2):
                    pieces.append(await ex.next_chunk() or b"")
                queue.put_nowait(item)
                while not is_ping(piece := await ex.next_chunk() or b""):
                    pieces.append(piece)
                pieces.append(piece)
            queue.put_nowait("")
            assert (await ex.wait()).complete
        return pieces

    pieces = await steps()
    assert [piece for piece in pieces if not is_ping(piece)] == [b"data: a\n\n", b"data: b\n\n"]
    assert parsed(b"".join(pieces).decode()) == [{"data": "a"}, {"data": "b"}]


async def test_a_busy_stream_is_not_pinged() -> None:
    async def source() -> AsyncIterator[str]:
        for _ in range(40):
            await asyncio.sleep(0.01)
            yield "x"

    assert (await get(events(source, ping=0.3))).text == "data: x\n\n" * 40


@pytest.mark.parametrize("ping", [None, 15.0])
async def test_a_stream_without_pings(ping: float | None) -> None:
    async def source() -> AsyncIterator[str]:
        await asyncio.sleep(0.02)
        yield "x"

    assert (await get(events(source, ping=ping))).text == "data: x\n\n"
    assert (await get(events(source))).text == "data: x\n\n"


async def test_no_ping_while_a_send_is_under_way() -> None:
    """The driver fails on two sends at once; and a client that has read nothing for a while needs no heap of pings."""


    queue: asyncio.Queue[str] = asyncio.Queue()

    async def source() -> AsyncIterator[str]:
        while item := await queue.get():
            yield item

    async with exchange(events(source, ping=PING)) as ex:
        queue.put_nowait("a")
        await ex.next_chunk()
        ex.hold()
        queue.put_nowait("b")
        await asyncio.sleep(PING * 8)
        ex.release()
        await asyncio.sleep(PING / 10)
        queue.put_nowait("")
        response = await ex.wait()
    pings = [piece for piece in response.chunks if piece and is_ping(piece)]
    assert parsed(response.text) == [{"data": "a"}, {"data": "b"}] and len(pings) < 4, pings


async def test_a_ping_that_is_stuck_does_not_disturb_the_next_event() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def source() -> AsyncIterator[str]:
        while item := await queue.get():
            yield item

    async with exchange(events(source, ping=0.01)) as ex:
        while not is_ping(await ex.next_chunk() or b""):
            pass
        ex.hold()
        await asyncio.sleep(0.03)
        queue.put_nowait("a")
        queue.put_nowait("b")
        queue.put_nowait("")
        await asyncio.sleep(0.03)
        ex.release()
        response = await ex.wait()
        assert response.complete
        assert parsed(response.text) == [{"data": "a"}, {"data": "b"}]


async def test_the_end_of_a_stream_waits_for_the_ping_under_way() -> None:
    go = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        await go.wait()
        return
        yield

    async with exchange(events(source, ping=0.01)) as ex:
        while not is_ping(await ex.next_chunk() or b""):
            pass
        ex.hold()
        await asyncio.sleep(0.03)
        go.set()
        await asyncio.sleep(0.01)
        ex.release()
        assert (await ex.wait()).complete


async def test_a_plain_source_is_pinged_while_it_blocks() -> None:
    go = threading.Event()

    def source() -> Iterator[str]:
        go.wait(5)
        yield "x"


    async with exchange(events(source, ping=0.01)) as ex:
        assert is_ping(await ex.next_chunk() or b"")
        go.set()
        response = await ex.wait()
        assert response.complete and response.text.replace(": ping\n\n", "") == "data: x\n\n"


# --- Where it runs, and how it ends -----------------------------------------------------------------------------------

marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker")


async def test_the_source_runs_in_the_requests_task_with_pings_too() -> None:
    tasks: set[Any] = set()

    async def source() -> AsyncIterator[str]:
        token = marker.set("set")
        async with asyncio.timeout(20):
            for _ in range(3):
                tasks.add(asyncio.current_task())
                await asyncio.sleep(0.02)
                yield marker.get()
        marker.reset(token)


    async with exchange(events(source, ping=0.01)) as ex:
        await ex.next_message()
        assert ex.task is not None
        expected = {ex.task}
        response = await ex.wait()
    assert tasks == expected
    assert response.complete and parsed(response.text) == [{"data": "set"}] * 3


class Watched:
    """An application whose source never ends, with a note of its `finally`."""

    def __init__(self, ping: float | None, *, silent: bool = False) -> None:
        self.silent = silent
        self.ends: list[str] = []
        self.app = events(self.source, ping=ping)

    async def source(self) -> AsyncIterator[str]:
        try:
            if not self.silent:
                yield "x"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.005)
            self.ends.append("finally")


@pytest.mark.parametrize("ping", [None, 0.01])
@pytest.mark.parametrize("delay", [0, 0.025])
async def test_a_client_that_leaves_ends_the_source(ping: float | None, delay: float) -> None:
    watched = Watched(ping)
    async with exchange(watched.app) as ex:
        await ex.next_chunk()
        await asyncio.sleep(delay)
        await ex.disconnect()
        await ex.wait()
        assert watched.ends == ["finally"]
        count = len(ex.messages)
        await asyncio.sleep(0.03)
        assert len(ex.messages) == count, "a ping outlived its request"


async def test_no_ping_to_a_client_who_leaves_in_the_same_turn_of_the_loop() -> None:
    async def source() -> AsyncIterator[str]:
        yield "a"
        loop = asyncio.get_running_loop()
        loop.call_later(0.01, time.sleep, 0.1)  # both of these are due when that is over
        loop.call_later(0.02, left.set)
        await asyncio.sleep(20)

    async def receive() -> Any:
        if not asked:
            asked.append(True)
            return {"type": "http.request", "body": b"", "more_body": False}
        await left.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message.get("body"))


    asked: list[bool] = []
    sent: list[bytes | None] = []
    left = asyncio.Event()
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    await asyncio.wait_for(events(source, ping=0.05)(scope, receive, send), 10)
    assert sent == [None, b"", b"data: a\n\n"]


@pytest.mark.parametrize("end", ["disconnect", "cancel"])
async def test_a_ping_that_is_stuck_ends_with_its_request(end: str) -> None:
    watched = Watched(0.01)
    async with exchange(watched.app) as ex:
        while not is_ping(await ex.next_chunk() or b""):
            pass
        ex.hold()
        await asyncio.sleep(0.01)
        if end == "cancel":
            ex.cancel()
        else:
            await ex.disconnect()
        await ex.wait(1)
    assert watched.ends == ["finally"]


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize("headers", [{}, {"expect": "100-continue"}, {"transfer-encoding": "chunked"}], ids=repr)
async def test_a_client_that_leaves_ends_the_source_though_nobody_reads_its_body(
    headers: dict[str, str], silent: bool
) -> None:
    """Else one byte of a body that no handler wants would keep a stream open for ever."""


    watched = Watched(None, silent=silent)
    async with exchange(watched.app, "POST", headers={"content-type": "text/plain", **headers}, body=b"x") as ex:
        await asyncio.sleep(0.005)
        await ex.disconnect()
        await ex.wait(1)
    assert watched.ends == ["finally"]


@pytest.mark.parametrize("ping", [None, 0.01])
async def test_a_cancelled_request_ends_the_source(ping: float | None) -> None:
    watched = Watched(ping)
    async with exchange(watched.app) as ex:
        await ex.next_chunk()
        await asyncio.sleep(0.025)
        ex.cancel()
        await ex.wait()
    assert watched.ends == ["finally"]


async def test_a_ping_that_cannot_be_sent_ends_the_source(caplog: pytest.LogCaptureFixture) -> None:
    """Where the server never tells of the leaving but by an `OSError` of `send()`."""


    watched = Watched(0.01)
    async with exchange(watched.app) as ex:
        await ex.next_chunk()
        ex.break_sends()
        await ex.wait()
    assert watched.ends == ["finally"]
    assert not logged(caplog)


async def test_a_client_whose_leaving_shows_in_two_ways_at_once() -> None:
    async def steps() -> None:
        watched = Watched(0.005)
        async with exchange(watched.app) as ex:
            await ex.next_chunk()
            ex.break_sends()
            await asyncio.sleep(0.005)
            await ex.disconnect()
            await ex.wait()
            assert ex.task is not None and ex.task.cancelling() == 0
        assert watched.ends == ["finally"]

    for _ in range(5):
        await steps()


async def test_no_ping_that_is_due_when_the_client_leaves_is_sent() -> None:
    """The loop is busy until both have happened: first the client leaves, then the ping is due."""


    messages = [{"type": "http.request"}]

    async def receive() -> dict[str, Any]:
        if not messages:
            await asyncio.sleep(0.01)
            return {"type": "http.disconnect"}
        return messages.pop()

    async def source() -> AsyncIterator[str]:
        yield "x"
        await asyncio.sleep(0.005)  # the listener and the clock start
        time.sleep(0.04)
        await asyncio.Event().wait()

    response = await request(events(source, ping=0.02), receive=receive)
    assert response.text == "data: x\n\n"


async def test_a_source_that_fails_is_logged_and_the_stream_incomplete(caplog: pytest.LogCaptureFixture) -> None:
    async def source() -> AsyncIterator[str]:
        yield "x"
        await asyncio.sleep(0.025)
        raise RuntimeError("broken")

    response = await request(events(source, ping=0.01))
    assert response.text.startswith("data: x\n\n") and not response.complete
    assert [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info] == ["broken"]


async def test_many_streams_at_once_stay_apart() -> None:
    class Root(App):
        async def index(self, name: str) -> Any:
            async def source() -> AsyncIterator[Any]:
                for number in range(5):
                    await asyncio.sleep(0.002)
                    yield {"name": name, "number": number}

            return event_stream(source(), ping=0.003)


    app = Root()
    responses = await asyncio.gather(*(get(app, f"/index/{name}") for name in range(50)))
    for name, response in enumerate(responses):
        seen = [json.loads(each["data"]) for each in parsed(response.text)]
        assert seen == [{"name": str(name), "number": number} for number in range(5)]


async def test_a_ping_that_is_due_when_another_one_ends_does_not_meet_an_event() -> None:
    sending, most = 0, 0

    async def send(message: dict[str, Any]) -> None:
        nonlocal sending, most
        sending += 1
        most = max(most, sending)
        if message.get("body") == b": ping\n\n":
            await asyncio.sleep(0.01)  # an event waits for its end
            time.sleep(0.02)  # and the next ping is due by then
        else:
            await asyncio.sleep(0)
        sending -= 1

    async def source() -> AsyncIterator[str]:
        for _ in range(3):
            await asyncio.sleep(0.012)
            yield "x"


    messages = [{"type": "http.request"}]

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else await asyncio.get_running_loop().create_future()

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await events(source, ping=0.005)(scope, receive, send)
    assert most == 1


async def test_an_event_stream_may_be_iterated_by_a_test_or_a_middleware() -> None:
    _, body, _ = event_stream(iter(["a", ServerSentEvent("b", event="e")]))
    assert [bytes(piece) async for piece in body] == [b"data: a\n\n", b"event: e\ndata: b\n\n"]


@pytest.mark.parametrize("ping", [0, -1, -0.5, float("nan")])
def test_a_ping_is_a_number_of_seconds(ping: float) -> None:
    with pytest.raises(ValueError, match="ping is a number of seconds"):
        event_stream(iter(()), ping)
