"""examples/websockets"""

import contextlib
import json

import pytest
from playwright.sync_api import expect

from tests import asgi
from tests.examples.browsing import Browsing, check_chat, enter_chat, fill_in
from tests.examples.loading import load
from tests.examples.relay import relay_to

example = load("websockets")
rooms = load("websockets", "rooms")

pytestmark = pytest.mark.usefixtures("measured")


KEY = "a key of sixteen or more"


def welcome(*members):
    entered = [{"type": "entered", "name": name} for name in members]
    return {"type": "welcome", "members": sorted(members), "history": entered}


@pytest.fixture
def app():
    return example.Chat()


@contextlib.asynccontextmanager
async def join(app, name, room="lobby", key=KEY):
    async with asgi.websocket(app, f"/chat/{room}") as ws:
        await ws.send_text(json.dumps({"type": "enter", "name": name, "key": key}))
        yield ws


async def say(ws, text):
    await ws.send_text(json.dumps({"type": "say", "text": text}))


async def heard(ws):
    return json.loads(await ws.receive())


async def refused(ws):
    with pytest.raises(asgi.WebSocketClosed):
        await ws.receive()
    return ws.close_code, ws.close_reason


async def test_message_is_heard_in_its_room_alone(app):
    async with join(app, "ada") as ada, join(app, "bob", "attic") as bob, join(app, "eve") as eve:
        assert await heard(bob) == welcome("bob")
        assert await heard(ada) == welcome("ada")
        assert await heard(eve) == welcome("ada", "eve")
        assert await heard(ada) == {"type": "entered", "name": "eve"}
        for text in ("hello", "x" * 2000):
            await say(eve, text)
        for ws in (ada, eve):
            assert await heard(ws) == {"type": "message", "name": "eve", "text": "hello"}
            assert await heard(ws) == {"type": "message", "name": "eve", "text": "x" * 1000}
        await eve.close()
        assert await heard(ada) == {"type": "left", "name": "eve"}
        await say(bob, "alone")
        assert (await heard(bob))["text"] == "alone"


@pytest.mark.parametrize(
    "wrong", ["no JSON", "[]", '{"type": "say"}', '{"type": "say", "text": " "}', b"bytes", "5"]
)
async def test_odd_message_is_ignored(app, wrong):
    async with join(app, "ada") as ada, join(app, "eve") as eve:
        await heard(eve)
        await (eve.send_bytes if isinstance(wrong, bytes) else eve.send_text)(wrong)
        await say(eve, "hello")
        assert [(await heard(ada))["type"] for _ in range(3)] == ["welcome", "entered", "message"]


async def test_history_stays_and_is_bounded(app):
    async with join(app, "ada") as ada:
        await heard(ada)
        for number in range(rooms.KEPT):
            await say(ada, str(number))
            await heard(ada)
    async with join(app, "eve") as eve:
        history = (await heard(eve))["history"]
    assert [message.get("text") for message in history[:-2]] == [*map(str, range(2, rooms.KEPT))]
    assert [message["type"] for message in history[-2:]] == ["left", "entered"]


async def test_connection_with_the_same_key_takes_over_unseen_by_the_others(app):
    async with join(app, "eve") as eve, join(app, "ada") as old:
        await heard(old)
        async with join(app, " ada ") as new:
            assert (await heard(new))["members"] == ["ada", "eve"]
            assert await refused(old) == (4002, "you have connected again")
            await say(new, "I am back")
            assert [(await heard(eve))["type"] for _ in range(3)] == [
                "welcome",
                "entered",
                "message",
            ]
        assert await heard(eve) == {"type": "left", "name": "ada"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "another of sixteen"}, "this name is taken"),
        ({"name": " ada ", "key": "another of sixteen"}, "this name is taken"),
        ({"name": " "}, "a name has 1 to 30 characters, and a key 16 to 64"),
        ({"name": "x" * 31}, "a name has 1 to 30 characters, and a key 16 to 64"),
        ({"room": "x" * 31}, "a name has 1 to 30 characters, and a key 16 to 64"),
        ({"key": "short"}, "a name has 1 to 30 characters, and a key 16 to 64"),
        ({"key": None}, example.ENTER),
    ],
)
async def test_refusals_have_a_reason(app, change, reason):
    async with join(app, "ada") as ada, join(app, **{"name": "ada", **change}) as other:
        assert await refused(other) == (4001, reason)
        assert (await heard(ada))["members"] == ["ada"]


async def test_full_room_is_refused(app, monkeypatch):
    monkeypatch.setattr(rooms, "MAX_MEMBERS", 1)
    async with join(app, "ada"), join(app, "bob") as bob:
        assert await refused(bob) == (4001, "this room is full")


async def test_room_that_was_left_first_makes_way_for_a_new_one(app, monkeypatch):
    monkeypatch.setattr(example, "MAX_ROOMS", 2)
    async with join(app, "ada", "attic") as ada:
        async with join(app, "bob", "cellar") as bob:
            async with join(app, "eve", "garden") as eve:
                assert await refused(eve) == (4001, "there are too many rooms")
            await heard(bob)
            await say(bob, "it is dark")
            await heard(bob)
        async with join(app, "eve", "garden") as eve:
            assert await heard(eve) == welcome("eve")
        async with join(app, "bob", "cellar") as bob:
            assert await heard(bob) == welcome("bob")
        await heard(ada)
        await say(ada, "still here")
        assert (await heard(ada))["text"] == "still here"


async def test_slow_reader_gets_a_new_welcome_and_delays_no_other(app):
    async with join(app, "ada") as ada, join(app, "eve") as eve:
        await heard(ada)
        await heard(ada)
        await heard(eve)
        eve.hold()
        for number in range(rooms.KEPT + 50):
            await say(ada, str(number))
            assert (await heard(ada))["text"] == str(number)
        eve.release()
        message = await heard(eve)
        while message["type"] == "message":
            message = await heard(eve)
        assert (message["type"], message["members"]) == ("welcome", ["ada", "eve"])
        assert message["history"][-1]["text"] == str(rooms.KEPT + 49)
        await say(ada, "still here")
        assert (await heard(eve))["text"] == "still here"


def test_two_browsers_talk(browsing):
    check_chat(browsing)


def test_members_are_shown(browsing):
    kim, guy = browsing.page(), browsing.page()
    enter_chat(kim, "Kim")
    enter_chat(guy, "<b>Guy")
    kim.get_by_text("<b>Guy came in.").wait_for()
    expect(kim.locator("#members")).to_have_text("In lobby: <b>Guy, Kim")
    guy.close()
    kim.get_by_text("<b>Guy left.").wait_for()
    expect(kim.locator("#members")).to_have_text("In lobby: Kim")


def test_taken_name_is_said_in_the_form(browsing):
    enter_chat(browsing.page(), "Max")
    page = browsing.page()
    page.goto("/")
    fill_in(page, {"Your name": "Max"}, "Enter")
    page.wait_for_function(
        "document.getElementById('name').validationMessage === 'this name is taken'"
    )
    browsing.check_look("/")


def test_connection_that_is_lost_comes_back_with_its_history(browser, server):
    """The server has not missed the old connection when the new one comes."""
    with relay_to(server.port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "WebSocket connection to"]
        page, other = browsing.page(), Browsing(browser, server.url)
        friend = other.page()
        enter_chat(page, "Pia")
        enter_chat(friend, "Leo")
        line.cut()
        page.get_by_text("The connection is lost. Trying again …").first.wait_for()
        assert page.locator("#send").is_disabled()
        page.get_by_label("Say").fill("Are you there?")
        page.get_by_label("Say").press("Enter")
        fill_in(friend, {"Say": "in the tunnel"}, "Send")
        line.mend()
        page.get_by_text("Leo: in the tunnel").wait_for()
        page.locator("#send").click()  # waits for the connection
        friend.get_by_text("Pia: Are you there?").wait_for()
        other.close()
        browsing.close()


def test_page_that_is_loaded_again_takes_over_and_the_other_rests(browsing):
    """The second page has the key of the first, as that of a tab that was duplicated."""
    first = browsing.page()
    enter_chat(first, "Zoe")
    second = browsing.page(like=first)
    second.add_init_script(f"sessionStorage.chatKey = '{first.evaluate('sessionStorage.chatKey')}'")
    enter_chat(second, "Zoe")
    first.wait_for_function(
        "document.getElementById('name').validationMessage === 'you have connected again'"
    )
    expect(second.locator("#members")).to_contain_text("Zoe")
