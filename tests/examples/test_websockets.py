"""examples/websockets"""

import json

import pytest

from tests import asgi
from tests.examples.browsing import KEEP_SOCKETS, check_chat, enter_chat, fill_in
from tests.examples.loading import load

example = load("websockets")
rooms = load("websockets", "rooms")

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def app():
    return example.Root()


def join(app, name, room="lobby"):
    return asgi.websocket(app, f"/chat/{room}", query=f"name={name}".encode())


async def heard(ws):
    return json.loads(await ws.receive())


async def test_echo(app):
    async with asgi.websocket(app, "/echo") as ws:
        await ws.send_text("héllo")
        assert await ws.receive() == "héllo"
        await ws.send_bytes(b"\0\xff")
        assert await ws.receive() == b"\0\xff"


async def test_message_is_heard_in_its_room_alone(app):
    async with join(app, "ada") as ada, join(app, "bob", "attic") as bob, join(app, "eve") as eve:
        assert await heard(bob) == {"type": "welcome", "members": ["bob"], "history": []}
        assert (await heard(ada))["members"] == ["ada"]
        assert (await heard(eve))["members"] == ["ada", "eve"]
        assert await heard(ada) == {"type": "entered", "name": "eve"}
        for text in ("  ", "hello", "x" * 2000):
            await eve.send_text(text)
        await eve.send_bytes(b"no text")
        for ws in (ada, eve):
            assert await heard(ws) == {"type": "message", "name": "eve", "text": "hello"}
            assert await heard(ws) == {"type": "message", "name": "eve", "text": "x" * 1000}
        await eve.close()
        assert await heard(ada) == {"type": "left", "name": "eve"}
        async with join(app, "eve") as again:
            assert len((await heard(again))["history"]) == 2
        await bob.send_text("alone")
        assert (await heard(bob))["text"] == "alone"
    assert app._rooms._rooms == {}


@pytest.mark.parametrize(
    ("name", "code", "reason"),
    [
        ("ada", 4001, "this name is taken"),
        ("%20ada%20", 4001, "this name is taken"),
        ("%20", 4000, "a name has 1 to 30 characters"),
        ("x" * 31, 4000, "a name has 1 to 30 characters"),
    ],
)
async def test_refusals_have_a_reason(app, name, code, reason):
    async with join(app, "ada") as ada, join(app, name) as other:
        with pytest.raises(asgi.WebSocketClosed):
            await other.receive()
        assert (other.close_code, other.close_reason) == (code, reason)
        assert (await heard(ada))["members"] == ["ada"]


@pytest.mark.parametrize(
    ("limit", "room", "reason"),
    [
        ("MAX_ROOMS", "attic", "there are too many rooms"),
        ("MAX_MEMBERS", "lobby", "this room is full"),
    ],
)
async def test_too_many_rooms_or_members_are_refused(app, limit, room, reason, monkeypatch):
    monkeypatch.setattr(rooms, limit, 1)
    async with join(app, "ada"), join(app, "bob", room) as bob:
        with pytest.raises(asgi.WebSocketClosed):
            await bob.receive()
        assert bob.close_reason == reason


async def test_slow_reader_is_closed_with_1013_and_delays_no_other(app):
    async with join(app, "ada") as ada, join(app, "eve") as eve:
        await heard(ada)
        await heard(ada)
        await heard(eve)
        eve.hold()
        for number in range(rooms.QUEUE_SIZE + 5):
            await ada.send_text(str(number))
            message = await heard(ada)
            if message == {"type": "left", "name": "eve"}:
                break
            assert message == {"type": "message", "name": "ada", "text": str(number)}
        assert message["type"] == "left"
        assert number >= rooms.QUEUE_SIZE - 1
        eve.release()
        with pytest.raises(asgi.WebSocketClosed):
            while True:
                await eve.receive()
        assert (eve.close_code, eve.close_reason) == (1013, "you read too slowly")
        await ada.send_text("still here")
        while (await heard(ada))["text"] != "still here":
            pass


def test_two_browsers_talk(browsing):
    check_chat(browsing)


def test_taken_name_is_said_in_the_form(browsing):
    for page in (browsing.page(), browsing.page()):
        page.goto("/")
        fill_in(page, {"Your name": "Max"}, "Enter")
    page.wait_for_function(
        "document.getElementById('name').validationMessage === 'this name is taken'"
    )


def test_echo_in_the_browser(page, browsing):
    page.goto("/")
    page.get_by_label("Send", exact=True).fill("<i>echo")
    page.locator("#echo button").click()
    page.locator("#answer", has_text="<i>echo").wait_for()
    browsing.check_look("/")


def test_nothing_is_sent_without_a_connection(page):
    page.add_init_script(KEEP_SOCKETS)
    enter_chat(page, "Ada")
    echo, say = page.locator("#echo button"), page.locator("#say button")
    for button in (echo, say):
        button.click(trial=True)  # waits until it can be pressed
    page.get_by_label("Say").fill("Are you there?")
    page.evaluate("sockets.forEach((socket) => socket.close())")
    page.get_by_text("The connection is lost. Trying again …").wait_for()
    page.get_by_label("Say").press("Enter")
    say.click()  # waits for the next connection
    page.get_by_text("Ada: Are you there?").wait_for()
    page.locator("#answer", has_text="Load the page again.").wait_for()
    assert echo.is_disabled()
