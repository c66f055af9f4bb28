"""Tests of the guest book, in memory if possible, else over a real connection."""

import httpx
import pytest
import pytest_asyncio
from httpx_ws import WebSocketDisconnect, aconnect_ws
from httpx_ws.transport import ASGIWebSocketTransport
from micropie import HTTPError, Request, current_request

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
    app = GuestBook()
    token = current_request.set(
        Request({"type": "http", "headers": [(b"content-type", b"text/plain")]})
    )
    try:
        with pytest.raises(HTTPError) as refused:
            await app.introduce("Alice")
        assert refused.value.status == 415
    finally:
        current_request.reset(token)


# Over HTTP, in memory -----------------------------------------------------------------


@pytest_asyncio.fixture
async def alice(client: httpx.AsyncClient) -> httpx.AsyncClient:
    """Return a client whose name is known; it keeps its cookie."""
    await client.post("/introduce", json={"name": "Alice"})
    return client


async def test_entry_is_shown(alice: httpx.AsyncClient) -> None:
    """The way of a visitor: each request sees what the one before has done."""
    signed = await alice.post("/sign", json={"text": "What a pie!"})

    assert signed.status_code == 201
    assert "<li><b>Alice</b> What a pie!</li>" in (await alice.get("/")).text


async def test_stranger_cannot_sign(client: httpx.AsyncClient) -> None:
    """A parameter `FromSession` comes from the session alone."""
    refused = await client.post("/sign", json={"text": "Hello", "name": "Mallory"})

    assert refused.status_code == 401


async def test_forms_are_refused(alice: httpx.AsyncClient) -> None:
    """What a page of another site could send."""
    assert (await alice.post("/sign", data={"text": "Hello"})).status_code == 415


async def test_introduction_changes_the_session_id(alice: httpx.AsyncClient) -> None:
    """Nobody can give a visitor a session that he knows."""
    before = alice.cookies["session_id"]
    await alice.post("/introduce", json={"name": "Bob"})

    assert alice.cookies["session_id"] != before


async def test_app_that_was_not_started(app: GuestBook) -> None:
    """Without the fixture `client`, nobody runs the startup handlers."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://localhost"
    ) as client:
        assert (await client.get("/")).status_code == 503


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
        httpx.AsyncClient(base_url=live_server, timeout=5) as client,
        client.stream("GET", "/numbers?pause=0.01") as response,
    ):
        assert response.headers["content-type"].startswith("text/event-stream")
        async for line in response.aiter_lines():
            if line.startswith("data: "):
                seen.append(line)
            if len(seen) == 3:
                break

    assert seen == ["data: 0", "data: 1", "data: 2"]


async def test_real_server(live_server: str) -> None:
    """What goes over a network, seen as a client sees it."""
    async with httpx.AsyncClient(base_url=live_server) as client:
        response = await client.get("/")

    assert response.headers["content-type"] == "text/html; charset=utf-8"
