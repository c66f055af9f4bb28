"""Server-sent events: what goes over the wire, pings while a stream is idle, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from micropie import App, ServerSentEvent, event_stream
from tests.asgi import Response, exchange, get, logged, piece, post, request, shown
from tests.clock import VirtualLoop, elapse


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


def wire(response: Response) -> list[str]:
    """The pieces of a stream in order, each comment that a browser ignores as "ping"."""
    pieces = [chunk.decode() for chunk in response.chunks if chunk]
    return [
        "ping" if text.startswith(":") and text.find("\n") == len(text) - 2 else text
        for text in pieces
    ]


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


# --- What goes over the wire ----------------------------------------------------------------------


async def test_the_headers_of_an_event_stream() -> None:
    response = await sent("a")
    assert response.status == 200
    assert response.headers_all("content-type")[0].split(";")[0] == "text/event-stream"
    assert (response.header("cache-control"), response.header("x-accel-buffering")) == (
        "no-cache",
        "no",
    )
    assert response.header("content-length") is None and response.complete


def test_the_documented_signatures() -> None:
    assert [str(each) for each in inspect.signature(ServerSentEvent).parameters] == [
        "data",
        "event",
        "id",
        "retry",
    ]
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
        (b"data: x\n\n", "data: x\n\n"),
        (b": a comment\n\n", ": a comment\n\n"),
        (b"no event\r\n", "no event\r\n"),
        (bytes(ServerSentEvent({"a": 1}, event="e")), 'event: e\ndata: {"a":1}\n\n'),
    ],
)
async def test_each_item_becomes_one_event_in_text_or_json_and_bytes_are_sent_as_they_are(
    item: Any, wire: str
) -> None:
    assert (await sent(item)).text == wire


async def test_the_fields_of_an_event() -> None:
    response = await sent(
        ServerSentEvent("a\nb", event="tick", id="7", retry=250), ServerSentEvent("c", id="8"), "d"
    )
    assert parsed(response.text) == [
        {"data": "a\nb", "event": "tick", "id": "7", "retry": "250"},
        {"data": "c", "id": "8"},
        {"data": "d"},
    ]


@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        *(
            ({field: f"x{end}data: evil{end}retry: 1{end}"}, [{field: "x data: evil retry: 1 "}])
            for field in ("event", "id")
            for end in ("\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\n\r")
        ),
        # Browsers ignore an id with a null character.
        ({"id": "a\0b"}, [{"id": "a b"}]),
        ({"retry": "1\ndata: evil"}, [{"retry": "1 data: evil"}]),
    ],
)
async def test_no_newline_injection_through_a_field(fields: Any, seen: list[Any]) -> None:
    response = await sent(ServerSentEvent("good", **fields))
    assert parsed(response.text) == [{"data": "good", **each} for each in seen]


@pytest.mark.parametrize(
    "item",
    [object(), {1, 2}, "\ud800", ServerSentEvent(object()), ServerSentEvent(b"bytes"), [b"bytes"]],
    ids=["object", "set", "surrogate", "event", "bytes in an event", "bytes in a list"],
)
async def test_an_item_that_json_cannot_carry_breaks_the_stream_off(
    item: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await sent("first", item, "never")
    assert (response.text, response.complete) == ("data: first\n\n", False)
    assert len(logged(caplog)) == 1


@pytest.mark.parametrize("plain", [False, True])
async def test_bytes_are_sent_as_they_are_one_message_each(plain: bool) -> None:
    items: list[Any] = [bytes(ServerSentEvent("a", id="1")), "b", b"", b"\xff"]

    async def source() -> AsyncIterator[Any]:
        for item in items:
            yield item

    response = await get(events(lambda: iter(items) if plain else source()))
    assert response.chunks == [b"", b"id: 1\ndata: a\n\n", b"data: b\n\n", b"", b"\xff", b""]
    assert response.complete


async def test_an_event_encoded_once_goes_to_many_streams() -> None:
    once = bytes(ServerSentEvent({"seats": 4}, event="sold"))
    responses = await asyncio.gather(*(get(events(lambda: iter([once, once]))) for _ in range(20)))
    assert {response.body for response in responses} == {once * 2}


@pytest.mark.parametrize("source", [42, None, object()], ids=["number", "None", "object"])
async def test_a_source_that_cannot_be_iterated_is_a_logged_500(
    source: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await request(events(lambda: source))
    assert response.status == 500
    assert len(logged(caplog)) == 1


async def test_a_plain_source_runs_off_the_loop() -> None:
    def source() -> Iterator[str]:
        yield from "012"
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
            return event_stream(
                ServerSentEvent(str(number), id=str(number))
                for number in range(start + 1, start + 3)
            )

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


# --- Pings ----------------------------------------------------------------------------------------


def fed() -> tuple[asyncio.Queue[str], Callable[[], AsyncIterator[str]]]:
    """A queue, and a source of what is put into it that ends at an empty string."""
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def source() -> AsyncIterator[str]:
        while item := await queue.get():
            yield item

    return queue, source


X = "data: x\n\n"


@pytest.mark.parametrize(
    ("options", "waits", "expected"),
    [
        ({"ping": 1}, [0.9] * 5, [X, *["ping", X] * 4]),
        ({"ping": 1}, [0.3] * 5, [X, X, X, "ping", X, X]),
        ({"ping": 1}, [2.5, 0.9, 1.1], ["ping", "ping", X, "ping", X, "ping", X]),
        ({"ping": None}, [19], [X]),
        ({}, [14.9], [X]),
        ({}, [15.1], ["ping", X]),
        ({}, [10, 9], [X, "ping", X]),
    ],
)
async def test_a_stream_is_pinged_every_so_many_seconds_also_while_events_flow(
    options: Any, waits: list[float], expected: list[str]
) -> None:
    async def source() -> AsyncIterator[str]:
        for seconds in waits:
            await elapse(seconds)
            yield "x"

    response = await get(events(source, **options))
    assert (wire(response), response.complete) == (expected, True)


async def test_no_ping_while_a_send_is_under_way() -> None:
    """The driver fails on two sends at once; an event on its way keeps the connection open."""
    queue, source = fed()
    async with exchange(events(source, ping=1)) as ex:
        queue.put_nowait("a")
        await ex.next_chunk()
        ex.hold()  # "a" is under way
        queue.put_nowait("b")
        await elapse(8.5)
        ex.release()
        await elapse(0.4)
        queue.put_nowait("")
        assert wire(await ex.wait()) == ["data: a\n\n", "data: b\n\n"]


@pytest.mark.parametrize("items", ["ab", ""])
async def test_events_and_the_end_of_a_stream_wait_for_a_ping_that_is_stuck(items: str) -> None:
    queue, source = fed()
    async with exchange(events(source, ping=1)) as ex:
        await elapse(0.5)
        ex.hold()
        await elapse(2)
        for item in [*items, ""]:
            queue.put_nowait(item)
        await elapse(2)
        ex.release()
        response = await ex.wait()
    assert wire(response) == ["ping", *(f"data: {item}\n\n" for item in items)]
    assert response.complete


async def test_an_event_that_waits_for_a_ping_is_sent_before_the_next_ping() -> None:
    queue, source = fed()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    async with exchange(events(source, ping=1)) as ex:
        await elapse(0.5)
        ex.hold()
        await elapse(1)
        queue.put_nowait("x")
        await elapse(0.1)
        ex.release()
        loop.now += 1  # the ping under way ends, and the next one is due, in one turn of the loop
        await elapse(0.1)
        queue.put_nowait("")
        assert wire(await ex.wait()) == ["ping", X]


async def test_a_plain_source_is_pinged_while_it_blocks() -> None:
    go = threading.Event()

    def source() -> Iterator[str]:
        assert go.wait(20)
        yield "x"

    async with exchange(events(source, ping=0.01)) as ex:
        assert await ex.next_chunk()
        go.set()
        response = await ex.wait()
    # A ping can follow the event too, since time is real while a thread is at work.
    sent = wire(response)
    assert (sent[0], set(sent), sent.count(X), response.complete) == ("ping", {"ping", X}, 1, True)


# --- How it ends ----------------------------------------------------------------------------------


class Watched:
    """An application whose source never ends, and takes longer than a ping for its `finally`."""

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
            await elapse(5)
            self.ends.append("finally")


@pytest.mark.parametrize("end", ["the client leaves", "the server stops"])
@pytest.mark.parametrize(
    ("ping", "delay", "stuck", "pings"),
    [(None, 0, False, 0), (None, 2, False, 0), (1, 0, False, 0), (1, 2, False, 2), (1, 2, True, 1)],
)
async def test_source_ends_and_no_ping_follows_when_the_client_leaves_or_the_server_stops(
    end: str, ping: float | None, delay: float, stuck: bool, pings: int
) -> None:
    watched = Watched(ping)
    async with exchange(watched.app) as ex:
        await ex.next_chunk()
        await elapse(min(delay, 0.5))
        if stuck:
            ex.hold()
        await elapse(delay)
        if end == "the client leaves":
            await ex.disconnect()
        else:
            ex.cancel()
        await ex.wait()
        assert watched.ends == ["finally"]
        sent = wire(ex.response)
        await elapse(5)
        assert wire(ex.response) == sent
    # The client of a server that stops is still there while the source tidies up for 5 seconds.
    most = pings + 5 if ping and end == "the server stops" else pings
    assert sent[0] == X and set(sent[1:]) <= {"ping"}
    assert pings <= len(sent) - 1 <= most


@pytest.mark.parametrize("order", ["just before the ping", "when the ping has begun"])
async def test_a_ping_that_is_due_when_the_client_leaves_is_not_sent(order: str) -> None:
    """The loop was blocked until both have happened."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    left = asyncio.Event()

    def block() -> None:
        if order == "just before the ping":  # the listener runs ahead of the clock of the pings
            left.set()
        loop.now += 2

    async def source() -> AsyncIterator[str]:
        yield "x"
        loop.call_later(0.5, block)
        loop.call_later(0.6, left.set)
        await asyncio.Event().wait()

    messages = [piece()]

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await left.wait()
        return {"type": "http.disconnect"}

    assert wire(await request(events(source, ping=1), receive=receive)) == [X]


@pytest.mark.parametrize("silent", [False, True])
@pytest.mark.parametrize(
    "headers", [{}, {"expect": "100-continue"}, {"transfer-encoding": "chunked"}], ids=shown
)
async def test_a_client_that_leaves_ends_the_source_though_its_body_is_not_read(
    headers: dict[str, str], silent: bool
) -> None:
    """Else one byte of a body that no handler wants would keep a stream open forever."""
    watched = Watched(None, silent=silent)
    async with exchange(
        watched.app, "POST", headers={"content-type": "text/plain", **headers}, body=b"x"
    ) as ex:
        await elapse(1)
        await ex.disconnect()
        await ex.wait()
    assert watched.ends == ["finally"]


@pytest.mark.parametrize("first", ["only the ping fails", "the ping fails", "the client leaves"])
async def test_a_ping_that_cannot_be_sent_ends_the_source(
    first: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Some servers tell of the leaving only by an `OSError` of `send()`, others in both ways."""
    watched = Watched(1)
    async with exchange(watched.app) as ex:
        await ex.next_chunk()
        await elapse(0.5)
        if first == "the client leaves":
            ex.hold()
            await elapse(1)  # a ping is under way
            await ex.disconnect()
            await elapse(1)
            ex.break_sends()
            ex.release()
        else:
            ex.break_sends()
            await elapse(1)
        if first == "the ping fails":
            await ex.disconnect()
        await ex.wait()
        assert ex.task is not None and ex.task.cancelling() == 0
    assert watched.ends == ["finally"]
    assert not logged(caplog)


async def test_a_source_that_fails_is_logged_and_the_stream_incomplete(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def source() -> AsyncIterator[str]:
        yield "x"
        await elapse(2.5)
        raise RuntimeError("broken")

    response = await request(events(source, ping=1))
    assert (wire(response), response.complete) == ([X, "ping", "ping"], False)
    assert [str(entry.exc_info[1]) for entry in logged(caplog) if entry.exc_info] == ["broken"]


async def test_many_streams_at_once_stay_apart() -> None:
    class Root(App):
        async def index(self, name: str) -> Any:
            async def source() -> AsyncIterator[Any]:
                for number in range(5):
                    await elapse(2)
                    yield {"name": name, "number": number}

            return event_stream(source(), ping=3)

    app = Root()
    responses = await asyncio.gather(*(get(app, f"/index/{name}") for name in range(50)))
    for name, response in enumerate(responses):
        seen = [json.loads(each["data"]) for each in parsed(response.text)]
        assert seen == [{"name": str(name), "number": number} for number in range(5)]


async def test_an_event_stream_may_be_iterated_by_a_test_or_a_middleware() -> None:
    _, body, _ = event_stream(iter(["a", ServerSentEvent("b", event="e")]))
    assert [bytes(chunk) async for chunk in body] == [b"data: a\n\n", b"event: e\ndata: b\n\n"]


async def test_an_event_stream_that_is_left_early_closes_its_source() -> None:
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            ends.append("finally")

    _, body, _ = event_stream(source())
    async with contextlib.aclosing(body):
        assert await anext(body) == b"data: a\n\n"
    assert ends == ["finally"]


@pytest.mark.parametrize("ping", [0, -1, -0.5, float("nan")])
def test_a_ping_is_a_number_of_seconds(ping: float) -> None:
    with pytest.raises(ValueError, match="ping is a number of seconds"):
        event_stream(iter(()), ping)
