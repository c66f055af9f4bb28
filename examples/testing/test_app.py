"""Tests of the guest book, in memory if possible, else over a real connection."""

import httpx
import pytest
from httpx_ws import WebSocketDisconnect, aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport
from micropie import Request, current_request

from app import GuestBook

pytestmark = pytest.mark.asyncio


# A handler alone ----------------------------------------------------------------------


async def test_handler_alone() -> None:
    """A handler is a method, and needs a request only to look at `self.request`."""
    app = GuestBook()
    app.entries = [{"name": "Alice", "text": "<b>"}]

    assert "&lt;b&gt;" in await app.index()


async def test_handler_alone_with_a_request() -> None:
    """`current_request` gives it one."""
    request = Request({"type": "http"})
    token = current_request.set(request)
    try:
        assert await GuestBook().introduce("Alice") == {"name": "Alice"}
        assert request.session == {"name": "Alice"}
    finally:
        current_request.reset(token)


# Over HTTP, in memory -----------------------------------------------------------------


async def test_entry_is_shown(client: httpx.AsyncClient) -> None:
    """The way of a visitor: each request sees what the one before has done."""
    await client.post("/introduce", json={"name": "Alice"})
    signed = await client.post("/sign", json={"text": "What a pie!"})

    assert signed.status_code == 201
    assert "<li><b>Alice</b> What a pie!</li>" in (await client.get("/")).text


async def test_stranger_cannot_sign(client: httpx.AsyncClient) -> None:
    """A parameter `FromSession` comes from the session alone."""
    refused = await client.post("/sign", json={"text": "Hello", "name": "Mallory"})

    assert refused.status_code == 401


async def test_introduction_changes_the_session_id(client: httpx.AsyncClient) -> None:
    """A session id that an attacker knows must not become Bob's."""
    await client.post("/introduce", json={"name": "Alice"})
    before = client.cookies["session_id"]
    await client.post("/introduce", json={"name": "Bob"})

    assert client.cookies["session_id"] != before


async def test_app_that_was_not_started(app: GuestBook) -> None:
    """Without the fixture `client`, no startup handler runs."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport) as client:
        assert (await client.get("http://localhost/")).status_code == 503


# WebSockets, in memory ----------------------------------------------------------------


async def test_websocket(app: GuestBook) -> None:
    """httpx-ws speaks to the app as a server does."""
    async with (
        httpx.AsyncClient(transport=ASGIWebSocketTransport(app=app)) as client,
        aconnect_ws("http://localhost/shout", client) as socket,
    ):
        await socket.send_text("hello")
        assert await socket.receive_text() == "HELLO"
        await socket.send_text("enough")
        with pytest.raises(WebSocketDisconnect) as closed:
            await socket.receive_text()
        assert (closed.value.code, closed.value.reason) == (4000, "as you wish")


# Over a real connection ---------------------------------------------------------------


async def test_stream_without_an_end(live_server: str) -> None:
    """In memory httpx waits for the end of a response, and this one has none."""
    seen = []
    async with (
        httpx.AsyncClient(base_url=live_server, timeout=60) as client,
        client.stream("GET", "/numbers?pause=0.01") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                seen.append(line)
            if len(seen) == 3:
                break

    assert seen == ["data: 0", "data: 1", "data: 2"]
