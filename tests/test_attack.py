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


# --- Clients that do not end their request -----------------------------------------------------------------------


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


