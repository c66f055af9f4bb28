"""Fixtures to copy: a client in memory, a started app, and a real server."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import pytest_asyncio
import uvicorn
from micropie import App

from app import GuestBook


@contextlib.asynccontextmanager
async def started(app: App) -> AsyncIterator[None]:
    """Run the startup handlers, and later the shutdown handlers; httpx does not."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    lifespan = asyncio.create_task(app(scope, to_app.get, from_app.put))
    for event in ("startup", "shutdown"):
        await to_app.put({"type": f"lifespan.{event}"})
        answer = await from_app.get()
        assert answer["type"] == f"lifespan.{event}.complete", answer
        if event == "startup":
            yield
    await lifespan


@pytest.fixture
def app() -> GuestBook:
    """Return a new app for each test."""
    return GuestBook()


@pytest_asyncio.fixture
async def client(app: GuestBook) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client that calls the app in memory; a debugger stops in the handler."""
    transport = httpx.ASGITransport(app=app)
    client = httpx.AsyncClient(transport=transport, base_url="http://localhost")
    async with started(app), client:
        yield client


@pytest.fixture
def live_server(app: GuestBook) -> Iterator[str]:
    """Yield the URL of a real server in a thread, for streams and for the network."""
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(timeout=10)
