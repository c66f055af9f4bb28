"""What a hostile client, an unlucky moment or a hasty signature must not achieve, one test for each way that worked."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    UploadedFile,
    WebSocket,
)
from tests.asgi import exchange, get, post, websocket

# --- Time and memory ---------------------------------------------------------------------------------------------


class Readers(App):
    async def body(self) -> str:
        return str(len(await self.request.body()))

    async def upload(self, file: UploadedFile) -> str:
        return str(len(await file.read()))

    async def field(self, text: str) -> str:
        return str(len(text))


# --- Clients that do not end their request -----------------------------------------------------------------------


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


class Odd(App):
    """What one handler in a thousand does."""

    async def ws_group(self, ws: WebSocket) -> None:
        async def echo() -> None:
            while True:
                await ws.send_text(await ws.receive_text())

        await ws.accept()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(echo())

    async def number(self, n: int) -> int:
        return n


async def test_a_task_group_ends_with_its_client(caplog: pytest.LogCaptureFixture) -> None:
    async with websocket(Odd(), "/group") as ws:
        await ws.send_text("a")
        assert await ws.receive() == "a"
        await ws.close()
    assert caplog.records == []


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


# --- Reading twice, giving up, cancelling twice -------------------------------------------------------------------


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


# --- Halves of bodies ---------------------------------------------------------------------------------------------


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
