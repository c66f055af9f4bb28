"""What a hostile client, an unlucky moment or a hasty signature must not achieve, one test for each way that worked."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, NewType, Optional

import pytest

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    UploadedFile,
    WebSocket,
    event_stream,
)
from tests.asgi import BOUNDARY, Browser, exchange, get, post, request, websocket

MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}", "transfer-encoding": "chunked"}
JSON = {"content-type": "application/json"}
CHUNKED = {"transfer-encoding": "chunked"}
UserId = NewType("UserId", FromSession)  # type: ignore[valid-newtype]


END = f"\r\n--{BOUNDARY}--\r\n".encode()


def head(disposition: str) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


async def post_late(app: App, path: str, content: bytes) -> str:
    """Let a handler wait for the body, send it in one piece, and return the answer."""
    async with exchange(app, "POST", path, headers=CHUNKED) as ex:
        await asyncio.sleep(0.02)
        await ex.send_body(content, more=False)
        return (await ex.wait()).text


# --- Time and memory ---------------------------------------------------------------------------------------------


class Numbers(App):
    async def real(self, x: float) -> str:
        return "taken"

    async def exact(self, x: Decimal) -> str:
        return "taken"


@pytest.mark.parametrize(
    "text", ["1" * 20_000 + "z", "1" * 10_000 + "." + "1" * 10_000 + "z", "1." + "1" * 20_000 + "e"]
)
@pytest.mark.parametrize("name", ["real", "exact"])
async def test_a_long_text_that_is_no_number_is_refused_at_once(name: str, text: str) -> None:
    app = Numbers()
    start = time.process_time()
    found = [await get(app, f"/{name}", query=f"x={text}"), await post(app, f"/{name}", form={"x": text})]
    assert [response.status for response in found] == [400, 400]
    assert time.process_time() - start < 2.0


class Readers(App):
    async def body(self) -> str:
        return str(len(await self.request.body()))

    async def upload(self, file: UploadedFile) -> str:
        return str(len(await file.read()))

    async def field(self, text: str) -> str:
        return str(len(text))


@pytest.mark.parametrize("path", ["/body", "/upload", "/field"])
async def test_a_body_in_tiny_messages_takes_a_few_times_its_size(path: str) -> None:
    """Hypercorn and Granian hand on each HTTP chunk as a message, and a chunk may be two bytes."""
    size = 60_000
    opening = b"" if path == "/body" else head('name="file"; filename="a"' if path == "/upload" else 'name="text"')
    ending = b"" if path == "/body" else f"\r\n--{BOUNDARY}--\r\n".encode()
    pieces = iter([opening, *(b"%02d" % (number % 100) for number in range(size // 2)), ending])
    app = Readers()
    answers: list[Any] = []

    async def receive() -> dict[str, Any]:
        piece = next(pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def send(message: Any) -> None:
        answers.append(message)

    async def main() -> int:
        await get(app, "/body")  # what is imported and made at first use is not counted
        announced = CHUNKED if path == "/body" else MULTIPART
        headers = [(name.encode(), value.encode()) for name, value in announced.items()]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await app(scope, receive, send)
            return tracemalloc.get_traced_memory()[1] - before
        finally:
            tracemalloc.stop()

    peak = await main()
    assert answers[-1]["body"] == b"%d" % size
    assert peak < 8 * size


# --- Clients that do not end their request -----------------------------------------------------------------------


class Streams(App):
    """An event stream and a generator that never end by themselves."""

    def __init__(self) -> None:
        super().__init__(body_timeout=0.5)
        self.ended = asyncio.Event()

    async def source(self) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0.01)
        finally:
            self.ended.set()

    async def events(self) -> Any:
        return event_stream(self.source())

    async def generator(self) -> Any:
        return self.source()


@pytest.mark.parametrize("first", [b"", b"x"])
@pytest.mark.parametrize("path", ["/events", "/generator"])
async def test_a_client_that_leaves_with_its_request_unended_ends_the_stream(path: str, first: bytes) -> None:
    """In HTTP/2 a body needs no header that announces it."""


    app = Streams()
    async with exchange(app, "POST", path, scope={"http_version": "2"}) as ex:
        await ex.send_body(first)
        assert await ex.next_chunk()
        await ex.disconnect()
        async with asyncio.timeout(20):
            await app.ended.wait()


class Patient(App):
    """Reads with time-outs, again and again, and returns all that came."""

    async def index(self, file: UploadedFile) -> list[Any]:
        pieces: list[bytes] = []
        while True:
            try:
                piece = await asyncio.wait_for(file["content"].get(), 0.02)
            except TimeoutError:
                continue
            if piece is None:
                return [b"".join(pieces).decode(), self.request.body_params, len(self.request.files)]
            pieces.append(piece)


@pytest.mark.parametrize("cut", [1, 20, 70, 110, 150, 190, 230, 270])
async def test_what_follows_a_file_never_becomes_its_content(cut: int) -> None:
    """A reader that gives up waiting just where the rest of the form is taken in may ask again."""
    file = head('name="file"; filename="a"') + b"hello"
    rest = b"\r\n" + head('name="csrf"') + b"secret\r\n" + head('name="more"; filename="b"') + b"other\r\n"
    rest += f"--{BOUNDARY}--\r\n".encode()

    async def main() -> Any:
        async with exchange(Patient(), "POST", "/", headers=MULTIPART) as ex:
            await ex.send_body(file + rest[:cut])
            await asyncio.sleep(0.1)
            await ex.send_body(rest[cut:], more=False)
            return (await ex.wait()).json()

    assert (await main()) == ["hello", {"csrf": ["secret"]}, 2]


class Impatient(App):
    """Gives up waiting for the rest of a form, and answers, streams or fails."""

    async def answer(self, file: UploadedFile) -> bytes:
        pieces: list[bytes | None] = []
        with contextlib.suppress(TimeoutError):
            while pieces[-1:] != [None]:
                pieces.append(await asyncio.wait_for(file["content"].get(), 0.05))
        return b"".join(piece or b"" for piece in pieces)

    async def stream(self, file: UploadedFile) -> AsyncIterator[bytes]:
        yield await self.answer(file)
        await asyncio.sleep(0.05)

    async def fail(self, file: UploadedFile) -> None:
        await self.answer(file)
        raise ValueError("enough")


@pytest.mark.parametrize("rest", ["good", "bad", "none", "left"])
@pytest.mark.parametrize(("path", "status"), [("/answer", 200), ("/stream", 200), ("/fail", 500)])
async def test_a_handler_may_give_up_waiting_for_what_follows_a_file(path: str, status: int, rest: str) -> None:
    """The driver sees to it that there are never two receive() at once, and no task is left over."""
    file = head('name="file"; filename="a"') + b"hello\r\n" + head('name="csrf"') + b"se"
    ending = f"cret\r\n--{BOUNDARY}--\r\n".encode()

    async def main() -> int | None:
        async with exchange(Impatient(body_timeout=0.3), "POST", path, headers=MULTIPART) as ex:
            await ex.send_body(file)
            await asyncio.sleep(0.1)
            if rest == "left":
                await ex.disconnect()
            elif rest != "none":
                await ex.send_body(ending if rest == "good" else b"bad", more=False)
            return (await ex.wait()).status

    assert (await main()) in (status, None if rest == "left" else status)


class Opened:
    """Something open that a handler returns, such as a file or the cursor of a database."""

    closed = False

    def __aiter__(self) -> Opened:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.closed = True


class Slow(HttpMiddleware):
    async def before_request(self, request: Request) -> None:
        return None

    async def after_request(self, request: Request, status_code: int, response_body: Any, extra_headers: Any) -> None:
        await asyncio.sleep(60)


async def test_a_stream_is_closed_when_the_request_is_cancelled_in_a_middleware() -> None:
    opened = Opened()

    class Root(App):
        async def index(self) -> Any:
            return opened


    app = Root()
    app.middlewares.append(Slow())
    async with exchange(app) as ex:
        await asyncio.sleep(0.02)
        ex.cancel()
    assert opened.closed


# --- Sessions ----------------------------------------------------------------------------------------------------


class Failing(InMemorySessionBackend):
    """Takes no new session while `is_full`."""

    is_full = False

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        if self.is_full and data:
            raise OSError("disk full")
        await super().save(session_id, data, timeout)


class Shop(App):
    def __init__(self) -> None:
        super().__init__(Failing())
        self.gate = asyncio.Event()

    async def seed(self) -> str:
        self.request.session["cart"] = 1
        return "seeded"

    async def slow(self) -> str:
        self.request.session["seen"] = True
        await self.gate.wait()
        return "slow"

    async def login(self) -> str:
        self.request.session["user"] = "ann"
        self.request.regenerate_session()
        return "welcome"

    async def me(self) -> str:
        return str(self.request.session)


async def test_a_request_from_before_the_login_does_not_end_the_new_session() -> None:
    app = Shop()
    browser = Browser(app)
    await browser.get("/seed")
    slow = asyncio.create_task(browser.get("/slow"))
    await asyncio.sleep(0.02)
    await browser.get("/login")
    app.gate.set()
    await slow
    assert (await browser.get("/me")).text == "{'cart': 1, 'user': 'ann'}"


async def test_a_login_that_cannot_be_saved_leaves_the_old_session() -> None:
    app = Shop()
    browser = Browser(app)
    await browser.get("/seed")
    app.session_backend.is_full = True  # type: ignore[attr-defined]
    response = await browser.get("/login")
    app.session_backend.is_full = False  # type: ignore[attr-defined]
    assert (response.status, (await browser.get("/me")).text) == (500, "{'cart': 1}")


@pytest.mark.parametrize(
    "annotation",
    [
        Optional["FromSession"],
        Annotated["FromSession", "who"],
        "Optional['FromSession']",
        "list['FromSession']",
        UserId,
    ],
)
async def test_from_session_in_any_wrapping_takes_nothing_from_the_url(annotation: Any) -> None:
    async def handler(self: Any, user_id: Any = None) -> str:
        return str(user_id)

    handler.__annotations__["user_id"] = annotation
    app = type("Root", (App,), {"who": handler})()
    assert (await get(app, "/who?user_id=evil")).text == "None"
    assert (await get(app, "/who/evil")).status == 404


# --- Logs --------------------------------------------------------------------------------------------------------


async def test_a_method_puts_no_line_and_no_escape_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Root(App):
        async def index(self) -> str:
            raise ValueError("no")

    assert (await request(Root(), "GET\x1b[2J\nFORGED", "/")).status == 500
    assert all(char.isprintable() for record in caplog.records for char in record.getMessage())


@pytest.mark.parametrize("depth", [100, 400, 700, 900, 1000, 1020, 5000])
async def test_no_nesting_of_a_body_makes_a_handler_fail(depth: int) -> None:
    """What is too deep for one of the encoders is 400 from the start."""

    class Root(App):
        async def echo(self) -> Any:
            return self.request.get_json

        async def text(self) -> str:
            return self.request.form("a")  # type: ignore[no-any-return]

    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    for path in ("/echo", "/text"):
        response = await request(Root(), "POST", path, body=body, headers=JSON)
        assert response.status == 400 or response.text.startswith("[[[" if path == "/text" else '{"a":[[[')


class Odd(App):
    """What one handler in a thousand does."""

    async def ws_group(self, ws: WebSocket) -> None:
        async def echo() -> None:
            while True:
                await ws.send_text(await ws.receive_text())

        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(echo())

    async def index(self, *ids: FromSession) -> str:
        return str(ids)

    async def number(self, n: int) -> int:
        return n


async def test_a_task_group_ends_with_its_client(caplog: pytest.LogCaptureFixture) -> None:
    async with websocket(Odd(), "/group") as ws:
        await ws.send_text("a")
        assert await ws.receive() == "a"
        await ws.close()
    assert caplog.records == []


async def test_path_segments_never_name_the_user(caplog: pytest.LogCaptureFixture) -> None:
    assert (await get(Odd(), "/1/2")).status == 500
    assert "*ids takes path segments: it cannot be FromSession" in caplog.text


class JsonErrors(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        return None

    async def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> Any:
        return {"body": {"error": response_body}}


@pytest.mark.parametrize("path", ["/number?n=x", "/number", "/nope"])
async def test_error_pages_may_be_json_whatever_the_error(path: str) -> None:
    app = Odd()
    app.middlewares.append(JsonErrors())
    if path == "/nope":
        app = App()
        app.middlewares.append(JsonErrors())
    response = await get(app, path)
    assert response.status in (400, 404)
    assert response.header("content-type") == "application/json"
    assert str(response.status) in response.json()["error"]


class NextOnly:
    """An awaitable whose iterator knows nothing but `next`, and which is never done."""

    def __await__(self) -> NextOnly:
        return self

    def __iter__(self) -> NextOnly:
        return self

    def __next__(self) -> None:
        return None


class Hesitant(App):
    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    async def index(self) -> AsyncIterator[str]:
        try:
            await asyncio.sleep(0.02)  # the listener is there before the first piece
            yield "first"
            await asyncio.sleep(10)
        finally:
            self.ended.set()


async def test_a_late_first_piece_leaves_the_unread_body_to_the_listener() -> None:
    app = Hesitant()
    async with exchange(app, "POST", "/", headers=[("content-length", "3")]) as ex:
        await ex.send_body(b"abc")
        assert await ex.next_chunk() == b"first"
        await ex.disconnect()
        async with asyncio.timeout(20):
            await app.ended.wait()


# --- Reading twice, giving up, cancelling twice -------------------------------------------------------------------


class Eager(HttpMiddleware):
    async def before_request(self, request: Any) -> None:
        async for _ in request.stream():
            pass

    async def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> None:
        pass


async def test_a_body_that_was_streamed_already_is_not_an_empty_one() -> None:
    class Root(App):
        async def s(self) -> str:
            return str(sum([len(piece) async for piece in self.request.stream()]))

    app = Root()
    app.middlewares.append(Eager())
    response = await post(app, "/s", body=b"hello")
    assert (response.status, response.text) != (200, "0")


async def test_an_accept_that_was_given_up_may_be_tried_again() -> None:
    class Root(App):
        async def ws_index(self, ws: Any) -> None:
            try:
                await asyncio.wait_for(ws.accept(), 0.01)
            except TimeoutError:
                await ws.accept()
            await ws.send_text(await ws.receive_text())


    queue: asyncio.Queue[Any] = asyncio.Queue()
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    task = asyncio.create_task(Root()({"type": "websocket", "path": "/"}, queue.get, send))
    await asyncio.sleep(0.05)
    queue.put_nowait({"type": "websocket.connect"})
    queue.put_nowait({"type": "websocket.receive", "text": "hello"})
    await asyncio.wait([task], timeout=20)
    assert [message.get("text") or message["type"] for message in sent] == ["websocket.accept", "hello", "websocket.close"]


class SlowToClose:
    closed = False

    def __aiter__(self) -> SlowToClose:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        await asyncio.sleep(0.05)
        self.closed = True


async def test_a_request_that_is_cancelled_twice_closes_its_temporary_files() -> None:
    kept: list[Any] = []

    class Replace(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            pass

        async def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> Any:
            return {"body": "other"}

    class Root(App):
        async def up(self, file: UploadedFile, late: str = "") -> Any:
            kept.append(file.file)
            return SlowToClose()


    app = Root()
    app.middlewares.append(Replace())
    body = head('name="file"; filename="a"') + b"x" * 2_000_000 + END
    async with exchange(app, "POST", "/up", headers=MULTIPART, body=body) as ex:
        ex.hold()
        while not kept:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.02)
        ex.cancel()
        await asyncio.sleep(0.02)  # now the replaced stream is being closed
        ex.cancel()
    assert kept[0].closed


async def test_a_spooled_file_that_was_rewound_is_saved_whole(tmp_path: Path) -> None:
    class Root(App):
        async def up(self, file: UploadedFile, late: str = "") -> str:
            await file.read()
            file.file.seek(0)
            await file.save(tmp_path / "saved")
            return "saved"

    await post(Root(), "/up", multipart=[("file", "a", "x/y", b"abc")])
    assert (tmp_path / "saved").read_bytes() == b"abc"


async def test_a_body_that_is_replayed_is_not_read_twice() -> None:
    class Root(App):
        async def b(self) -> Any:
            async def one() -> str:
                await self.request.body()
                again = self.request.stream()
                await asyncio.sleep(0)
                return b"".join([piece async for piece in again]).decode()

            await asyncio.gather(one(), one())
            return (await self.request.body()).decode()

    assert (await post_late(Root(), "/b", b"hello")) == "hello"


async def test_a_mounted_app_gets_the_body_that_a_middleware_has_read() -> None:
    class Signed(HttpMiddleware):
        async def before_request(self, request: Any) -> None:
            await request.body()

        async def after_request(self, request: Any, status_code: int, response_body: Any, extra_headers: Any) -> None:
            pass

    app = App()
    app.middlewares.append(Signed())
    app.mounts["/child"] = Readers(body_timeout=0.5)
    response = await post(app, "/child/body", body=b"hello")
    assert (response.status, response.text) == (200, "5")


async def test_a_type_that_is_sent_twice_is_none() -> None:
    class Root(App):
        async def index(self) -> Any:
            return [self.request.get_json, self.request.headers["content-type"]]

    kinds = [("content-type", "application/json; charset=utf-8"), ("content-type", "text/plain")]
    assert (await post(Root(), "/", headers=kinds, body=b"[1]")).json() == [
        {}, "application/json; charset=utf-8, text/plain"
    ]  # fmt: skip


async def test_a_failure_after_a_cancellation_is_nobodys() -> None:
    """What a worker thread raises when its request is cancelled must not be logged as never retrieved."""

    class Root(App):
        def index(self) -> str:
            started.set()
            time.sleep(0.05)
            raise ValueError("too late")

    started = threading.Event()


    async with exchange(Root(), "GET", "/") as ex:
        await asyncio.to_thread(started.wait, 5)
        ex.cancel()
    gc.collect()


# --- The clock of the waits for clients ---------------------------------------------------------------------------


async def silence() -> Any:
    """A client that sends nothing."""
    return await asyncio.Future()


def then(*messages: dict[str, Any]) -> Any:
    """A client that sends these at once, and then nothing."""
    left = list(messages)

    async def receive() -> Any:
        return left.pop(0) if left else await silence()

    return receive


def piece(content: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": content, "more_body": more}


class Bodies(App):
    """Reads a body; the last exception that this ended with is in `error`."""

    error: BaseException | None = None

    async def index(self) -> bytes:
        try:
            return await self.read()
        except BaseException as error:
            self.error = error
            raise

    async def read(self) -> bytes:
        return await self.request.body()


async def test_a_task_is_not_needed() -> None:
    """Granian's Rust tasks are none that asyncio knows."""


    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    def step() -> None:
        try:
            handling.send(None)
        except StopIteration:
            done.set_result(None)
        else:
            asyncio.get_running_loop().call_soon(step, context=context)

    async def receive() -> Any:
        await asyncio.sleep(0)
        return piece(b"x", more=False)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-length", b"1")]}
    handling = Bodies()(scope, receive, send)
    done = asyncio.get_running_loop().create_future()
    context = contextvars.copy_context()
    asyncio.get_running_loop().call_soon(step, context=context)
    await done
    assert sent[1]["body"] == b"x"


# --- Halves of bodies ---------------------------------------------------------------------------------------------


class Glancing(Eager):
    """Gives up waiting for the body, or looks only at its first piece."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def before_request(self, request: Any) -> None:
        if self.how == "gives up":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(request.body(), 0.02)
        else:
            async for _ in request.stream():
                break


@pytest.mark.parametrize("kind", ["text/plain", f"multipart/form-data; boundary={BOUNDARY}"])
@pytest.mark.parametrize(("how", "expected"), [("gives up", 200), ("looks", 500)])
@pytest.mark.parametrize("cut", [0.3, 0.7])
async def test_nobody_gets_the_second_half_of_a_body(kind: str, how: str, expected: int, cut: float) -> None:
    class Root(App):
        async def index(self, a: str = "", b: str = "") -> Any:
            if kind == "text/plain":
                return b"".join([chunk async for chunk in self.request.stream()])
            return f"{a} {b}"

    app = Root()
    app.middlewares.append(Glancing(how))
    body = b"1 2" if kind == "text/plain" else head('name="a"') + b"1\r\n" + head('name="b"') + b"2" + END
    at = max(1, int(len(body) * cut))

    async def main() -> tuple[int | None, str]:
        async with exchange(app, "POST", "/", headers={"content-type": kind, **CHUNKED}) as ex:
            await ex.send_body(body[:at])
            await asyncio.sleep(0.05)
            with contextlib.suppress(Exception):  # it may have been answered already
                await ex.send_body(body[at:], more=False)
            response = await ex.wait()
            return response.status, response.text

    status, text = await main()
    assert (status, text if status == 200 else "") == (expected, "1 2" if expected == 200 else "")


async def test_a_body_that_one_task_reads_is_not_streamed_to_another() -> None:
    class Root(App):
        async def index(self) -> str:
            reading = asyncio.ensure_future(self.request.body())
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another task"):
                self.request.stream()
            return (await reading).decode()

    assert (await post_late(Root(), "/", b"whole")) == "whole"


@pytest.mark.parametrize("way", ["body", "stream", "file"])
async def test_who_reads_on_behind_a_response_gets_no_half(way: str) -> None:
    class Root(App):
        async def index(self) -> str:
            kept.append(asyncio.ensure_future(self.read()))
            await asyncio.sleep(0)
            return "answered"

        async def form(self, file: UploadedFile) -> str:
            kept.append(asyncio.ensure_future(file.read()))
            await asyncio.sleep(0)
            return "answered"

        async def read(self) -> bytes:
            if way == "body":
                return await self.request.body()
            return b"".join([chunk async for chunk in self.request.stream()])

    kept: list[asyncio.Task[bytes]] = []
    form = head('name="file"; filename="f"') + b"0123456789" + END
    at = form.index(b"23456789")
    body, path = (form, "/form") if way == "file" else (b"0123456789", "/")
    cuts = (at, at + 2, at + 4) if way == "file" else (2, 4, 6)
    messages = [body[: cuts[0]], body[cuts[0] : cuts[1]], body[cuts[1] : cuts[2]], body[cuts[2] :]]


    left = list(messages)

    async def receive() -> Any:
        await asyncio.sleep(0.005)
        return piece(left.pop(0), more=bool(left)) if left else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    headers = [(name.encode(), value.encode()) for name, value in (MULTIPART if way == "file" else CHUNKED).items()]
    await Root()({"type": "http", "method": "POST", "path": path, "headers": headers}, receive, send)
    assert sent[-1]["body"] == b"answered"
    (result,) = await asyncio.gather(*kept, return_exceptions=True)
    assert isinstance(result, (HTTPError, ConnectionClosed)) or result == b"0123456789"


async def test_what_is_put_back_into_a_files_queue_comes_again() -> None:
    class Root(App):
        async def index(self, file: UploadedFile) -> bytes:
            start = await file["content"].get()
            file["content"].put_nowait(start)
            return await file.read()

    form = head('name="file"; filename="f"') + b"0123456789" + END
    response = await post(Root(), "/", headers=MULTIPART, body=form, chunk_size=120)
    assert sorted(response.text) == list("0123456789")


async def test_a_stream_ends_when_the_client_leaves_after_a_408() -> None:
    class Root(App):
        async def index(self) -> AsyncIterator[str]:
            try:
                with contextlib.suppress(HTTPError):
                    async for _ in self.request.stream():
                        yield "piece"
                while True:
                    await asyncio.sleep(0.01)
                    yield "tick"
            finally:
                ended.set()

    ended = asyncio.Event()


    async with exchange(Root(body_timeout=0.05), "POST", "/", headers={"content-length": "100"}) as ex:
        await ex.send_body(b"abc")
        while await ex.next_chunk() != b"tick":
            pass
        await ex.disconnect()
        async with asyncio.timeout(20):
            await ended.wait()


async def test_what_only_claims_to_be_bytes_is_sent_as_bytes() -> None:
    class Proxy:
        @property  # type: ignore[misc]
        def __class__(self) -> type[bytes]:  # as the proxies of wrapt and werkzeug do
            return bytes

        def __bytes__(self) -> bytes:
            return b"hello"

    class Root(App):
        async def index(self) -> AsyncIterator[Any]:
            yield Proxy()

    assert (await get(Root())).body == b"hello"


# --- Ends of WebSockets -------------------------------------------------------------------------------------------


class Talks(App):
    """One WebSocket, and what its handler has noted."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Any] = []


async def talk_to(app: App, incoming: list[Any], refuses: Any = None) -> list[Any]:
    """Run a WebSocket against a server that has these messages, and raises what `refuses` returns for a message."""
    sent: list[Any] = []

    async def receive() -> Any:
        message = incoming.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    async def send(message: Any) -> None:
        error = refuses(message) if refuses is not None else None
        if error is not None:
            raise error
        sent.append(message)

    await app({"type": "websocket", "path": "/", "headers": []}, receive, send)
    return sent


CONNECT = {"type": "websocket.connect"}


def text(content: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": content}


async def test_a_socket_whose_close_was_refused_works_on() -> None:
    class Root(Talks):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            with contextlib.suppress(ValueError):
                await ws.close(4999)
            await ws.send_text(await ws.receive_text())
            self.noted += [await ws.receive_json(), await anext(ws)]

    app = Root()
    sent = await talk_to(
        app, [CONNECT, text("1"), text("2"), text("3")],
        lambda message: ValueError("no") if message.get("code") == 4999 else None,
    )  # fmt: skip
    assert app.noted == [2, "3"]
    assert [message["type"].partition(".")[2] for message in sent] == ["accept", "send", "close"]


async def test_a_connection_that_another_one_needs_is_no_end_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class Root(Talks):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            async for message in ws:
                self.noted.append(message)

    app = Root()
    sent = await talk_to(app, [CONNECT, text("1"), ConnectionClosed(1011, "of the upstream socket")])
    assert (app.noted, sent[-1]["code"]) == (["1"], 1011)
    assert "of the upstream socket" in caplog.text


async def test_the_code_of_the_client_is_there_after_a_failed_send() -> None:
    class Root(Talks):
        async def ws_index(self, ws: WebSocket) -> None:
            await ws.accept()
            for call in (ws.send_text("too late"), ws.send_text("again"), ws.receive_text(), ws.receive_text()):
                try:
                    await call
                except ConnectionClosed as closed:
                    self.noted.append((closed.code, closed.reason))

    app = Root()
    left = {"type": "websocket.disconnect", "code": 3000, "reason": "bye"}
    await talk_to(app, [CONNECT, left], lambda message: OSError("gone") if message["type"] == "websocket.send" else None)
    assert app.noted == [(1006, ""), (1006, ""), (3000, "bye"), (3000, "bye")]


async def test_a_socket_that_was_closed_while_it_was_accepted_stays_closed() -> None:
    class Slow(InMemorySessionBackend):
        async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
            await asyncio.sleep(0.02)
            await super().save(session_id, data, timeout)

    class Root(App):
        async def ws_index(self, ws: WebSocket) -> None:
            self.request.session["user"] = "ada"
            accepting = asyncio.ensure_future(ws.accept())
            await asyncio.sleep(0.01)
            await ws.close(1008)
            with pytest.raises(ConnectionClosed):
                await accepting

    sent = await talk_to(Root(Slow()), [CONNECT])
    assert [(message["type"], message.get("code")) for message in sent] == [("websocket.close", 1008)]


# --- The clock of the bodies, and whole answers ------------------------------------------------------------------


class Stand(str):
    __slots__ = ()


class Proxy:
    """What only claims to be text, as a transparent proxy does."""

    def __init__(self, value: object) -> None:
        self.value = value

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self.value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.value, name)


@pytest.mark.parametrize("make", [Stand, Proxy])
async def test_what_claims_to_be_text_is_sent_as_text(make: Any) -> None:
    class Root(App):
        async def index(self) -> Any:
            return make("text")

    assert (await get(Root())).text == "text"


async def test_a_large_json_body_waits_for_no_worker_thread() -> None:
    class Root(App):
        def block(self) -> None:
            release.wait(20)

        async def index(self) -> str:
            return str(len(self.request.get_json))

    async def main() -> str:
        app = Root()
        blocked = [asyncio.ensure_future(get(app, "/block")) for _ in range(50)]  # more than there are threads
        await asyncio.sleep(0.05)
        try:
            return (await asyncio.wait_for(post(app, json=["x" * 1000] * 400), 10)).text
        finally:
            release.set()
            await asyncio.gather(*blocked)

    release = threading.Event()
    assert (await main()) == "400"


class Noting(HttpMiddleware):
    def __init__(self, events: list[str], name: str, change: Any = None) -> None:
        self.events, self.name, self.change = events, name, change

    async def before_request(self, request: Request) -> None:
        self.events.append(f"before {self.name}")

    async def after_request(self, request: Request, status_code: int, response_body: Any, extra_headers: Any) -> None:
        self.events.append(f"after {self.name}")
        if self.change is not None:
            self.change()


async def test_a_change_of_the_middlewares_is_for_the_next_request() -> None:
    class Root(App):
        async def index(self) -> str:
            self.middlewares.clear()
            return "hi"

        async def more(self) -> str:
            self.middlewares.append(Noting(events, "late"))
            return "hi"

    events: list[str] = []
    app = Root()
    app.middlewares += [Noting(events, "A"), Noting(events, "B")]
    assert (await get(app)).status == 200
    assert events == ["before A", "before B", "after B", "after A"]
    events.clear()
    assert (await get(app, "/more")).status == 200
    assert events == []


@pytest.mark.parametrize("change", ["pop", "insert", "clear"])
async def test_every_middleware_sees_a_bad_request_once(change: str) -> None:
    events: list[str] = []
    app = Bodies()
    changes = {
        "pop": lambda: app.middlewares.pop(0), "insert": lambda: app.middlewares.insert(0, Noting(events, "X")),
        "clear": app.middlewares.clear,
    }  # fmt: skip
    app.middlewares += [Noting(events, "A"), Noting(events, "B"), Noting(events, "C", changes[change])]
    assert (await post(app, headers=[("content-length", "x")], body=None, receive=silence)).status == 400
    assert events == ["after C", "after B", "after A"]


class Saves(App):
    folder: Path

    async def again(self, file: UploadedFile) -> str:
        for wait in (0.25, 20):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(file.save(self.folder / "saved"), wait)
        return str((self.folder / "saved").exists())

    async def elsewhere(self, file: UploadedFile) -> str:
        with contextlib.suppress(OSError):
            await file.save(self.folder)
        await file.save(self.folder / "saved")
        return str((self.folder / "saved").stat().st_size)

    async def limited(self, file: UploadedFile) -> str:
        with contextlib.suppress(HTTPError):
            await file.read(limit=2000)
        return str(len(await file.read()))

    async def missing(self, file: UploadedFile) -> str:
        with contextlib.suppress(OSError):
            await file.save(self.folder / "no such folder" / "saved")
        return str(len(await file.read()))

    async def kept(self, file: UploadedFile, after: str) -> str:
        return await self.limited(file)


@pytest.mark.parametrize(
    ("path", "text"),
    [("again", None), ("elsewhere", None), ("limited", None), ("missing", "5000"), ("kept", "5000")],
)
async def test_a_file_is_never_read_short_a_second_time(path: str, text: str | None, tmp_path: Path) -> None:
    body = head('name="file"; filename="a"') + b"d" * 5000 + END
    if path == "kept":
        body = head('name="file"; filename="a"') + b"d" * 5000 + b"\r\n" + head('name="after"') + b"x" + END
    pieces = [piece(body[at : at + 1000], more=at + 1000 < len(body)) for at in range(0, len(body), 1000)]

    async def receive() -> Any:
        if pieces[0]["body"] != body[:1000]:
            await asyncio.sleep(0.1)
        return pieces.pop(0)

    app = Saves()
    app.folder = tmp_path
    response = await post(app, f"/{path}", headers=MULTIPART, receive=receive)
    assert (response.status, response.text) == ((200, text) if text else (500, "500 Internal Server Error"))
    assert list(tmp_path.iterdir()) == []


async def test_a_session_that_changes_while_accept_saves_it_is_saved_at_the_end() -> None:
    class Slow(InMemorySessionBackend):
        saved: Any = None

        async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
            await super().save(session_id, data, timeout)
            self.saved = dict(data)
            await asyncio.sleep(0.02)

    class Root(App):
        async def ws_index(self, ws: WebSocket) -> None:
            self.request.session["a"] = 1

            async def change() -> None:
                await asyncio.sleep(0.01)
                self.request.session["b"] = 2

            task = asyncio.ensure_future(change())
            await ws.accept()
            await task


    backend = Slow()
    async with websocket(Root(backend)) as ws:
        await ws.wait()
    assert backend.saved == {"a": 1, "b": 2}
