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
