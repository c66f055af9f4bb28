"""examples/server_sent_events"""

import json

import pytest

from tests.examples.browsing import Browsing, fill_in
from tests.examples.relay import relay_to


@pytest.fixture
def say(client):
    return lambda text, **more: client.post("/say", data={"name": "Alice", "text": text, **more})


def read(client, until, last_id=None):
    """Read events up to the one with that text; return their ids and texts."""
    found = {}
    headers = {"last-event-id": last_id} if last_id else {}
    with client.stream("GET", "/messages", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in response.iter_lines():
            if line.startswith("id: "):
                name = line[4:]
            if line.startswith("data: "):
                found[name] = json.loads(line[6:])["text"]
                if found[name] == until:
                    return found
    raise AssertionError(found)


def write_in(page, name, text):
    fill_in(page, {"Name": name, "Message": text}, "Send", exact=True)


def test_two_windows_see_each_other(browsing):
    alice, bob = browsing.page(), browsing.page()
    for page in (alice, bob):
        page.goto("/")
        page.get_by_text("Connected.").wait_for()
    write_in(alice, "Alice", "Hello <script>alert(1)</script>")
    bob.get_by_text("Hello <script>alert(1)</script>").wait_for()
    write_in(bob, "<img src=x onerror=alert(1)>", "Hello Alice")

    alice.get_by_text("Hello Alice").wait_for()
    assert "<img src=x onerror=alert(1)> Hello Alice" in alice.locator("li").last.inner_text()
    assert alice.get_by_label("Message", exact=True).input_value() == ""
    assert alice.evaluate("document.querySelectorAll('li img, li script').length") == 0


def test_clock_ticks(page):
    page.goto("/")
    page.wait_for_function(
        "/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('#clock').textContent)"
    )
    first = page.inner_text("#clock")

    page.wait_for_function(f"document.querySelector('#clock').textContent !== '{first}'")


def test_browser_that_loses_its_connection_misses_nothing(browser, server, say):
    with relay_to(server.port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_"]
        page = browsing.page()
        page.goto("/")
        say("before the tunnel")
        page.get_by_text("before the tunnel").wait_for()
        line.cut()
        page.get_by_text("Connection lost").wait_for()
        say("in the tunnel")
        line.mend()

        page.get_by_text("in the tunnel").wait_for()
        assert page.get_by_text("before the tunnel").count() == 1
        browsing.close()


def test_client_with_last_event_id_gets_the_events_after_it(client, say):
    for text in ("first", "second", "third"):
        say(text)
    seen = read(client, "third")
    [first] = [name for name, text in seen.items() if text == "first"]

    assert list(read(client, "third", first).values()) == ["second", "third"]


@pytest.mark.parametrize("last_id", ["00000000-1", "nonsense", "-", "é", "9" * 5000])
def test_last_event_id_of_another_start_gets_the_latest_messages(client, say, last_id):
    say("newest")

    assert len(read(client, "newest", last_id.encode())) <= 20


def test_new_readers_and_those_of_the_future_get_the_last_twenty(client, say):
    for number in range(25):
        say(f"number {number}")
    latest = read(client, "number 24")
    future = next(iter(latest)).partition("-")[0] + "-" + "9" * 30

    assert list(latest.values()) == [f"number {number}" for number in range(5, 25)]
    assert read(client, "number 24", future) == latest


@pytest.mark.parametrize(
    "wrong", [{"text": ""}, {"text": " "}, {"text": "x" * 501}, {"name": ""}, {"name": "x" * 41}]
)
def test_odd_messages_are_refused(say, wrong):
    assert say(**{"text": "x", **wrong}).status_code == 422


def test_line_breaks_in_a_message_make_no_fields(client, say):
    say("a\n\nid: 7\ndata: forged")
    say("after it")

    assert "a\n\nid: 7\ndata: forged" in read(client, "after it").values()


def test_refusal_is_shown(browsing, page):
    browsing.expected = ["422"]
    page.goto("/")
    write_in(page, "  ", "text")

    page.get_by_text("A name and a text, please").wait_for()


def test_page_looks_good(browsing, say):
    say("How do you do?")
    browsing.check_look("/")
