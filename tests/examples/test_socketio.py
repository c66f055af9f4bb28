"""examples/socketio, with its Python client and, in a browser, with its JavaScript one."""

import asyncio
import contextlib

import pytest
import socketio

from tests.examples.browsing import check_chat, fill_in
from tests.examples.harness import EXAMPLES

pytestmark = pytest.mark.real_time


class Guest:
    """A client, and what it hears."""

    def __init__(self, server):
        self.url = server.url
        self.sio = socketio.AsyncClient(reconnection=False, request_timeout=60)
        self.heard = asyncio.Queue()
        for event in ("said", "entered", "left", "connect_error"):
            self.sio.on(event, self._listener(event))

    def _listener(self, event):
        async def listen(data):
            await self.heard.put((event, data))

        return listen

    async def call(self, event, data):
        return await self.sio.call(event, data, timeout=60)

    async def hear(self):
        return await asyncio.wait_for(self.heard.get(), 60)


@contextlib.asynccontextmanager
async def guest(server, auth, **options):
    connected = Guest(server)
    try:
        await connected.sio.connect(server.url, auth=auth, wait_timeout=60, **options)
        yield connected
    finally:
        await connected.sio.disconnect()


@pytest.mark.parametrize("transports", [["websocket"], None], ids=["websocket", "upgraded"])
async def test_people_in_a_room_hear_each_other(server, transports):
    async with (
        guest(server, {"name": " Ada "}, transports=transports) as ada,
        guest(server, {"name": "Eve"}, transports=transports) as eve,
    ):
        assert "error" in await ada.call("say", "too early")
        assert await ada.call("enter", "lobby") == {"ok": True}
        assert "error" in await ada.call("enter", "attic")
        assert await eve.call("enter", "lobby") == {"ok": True}
        assert await ada.hear() == ("entered", {"name": "Eve"})
        assert await eve.call("say", "x" * 2000) == {"ok": True}
        for one in (ada, eve):
            assert await one.hear() == ("said", {"name": "Eve", "text": "x" * 1000})
        for nothing in (" ", 5, None, (), ({}, 1, 2)):
            assert "error" in await eve.call("say", nothing)
        assert "error" in await eve.call("enter", {"a": 1})
        await eve.sio.disconnect()
        assert await ada.hear() == ("left", {"name": "Eve"})


@pytest.mark.parametrize("auth", [None, {}, {"name": "  "}, {"name": "x" * 31}, {"name": 5}, "Ada"])
async def test_connection_without_a_good_name_is_refused(server, auth):
    refused = Guest(server)
    with pytest.raises(socketio.exceptions.ConnectionError):
        await refused.sio.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=60)
    assert await refused.hear() == ("connect_error", {"message": "a name has 1 to 30 characters"})
    await refused.sio.disconnect()


def test_client_is_served_from_here(client):
    response = client.get("/client.js")

    assert response.headers["content-type"].startswith("text/javascript")
    assert response.content == (EXAMPLES / "socketio" / "static" / "socket.io.min.js").read_bytes()


def test_foreign_pages_are_refused(client):
    url = "/socket.io/?EIO=4&transport=polling"
    assert client.get(url, headers={"origin": "https://evil.example"}).status_code == 400
    assert client.get(url).status_code == 200


def test_two_browsers_talk(browsing):
    check_chat(browsing)


def test_refusal_is_said_in_the_form(page, browsing):
    page.goto("/")
    fill_in(page, {"Your name": " "}, "Enter")
    page.wait_for_function(
        "document.getElementById('name').validationMessage.startsWith('a name has')"
    )
    browsing.check_look("/")
