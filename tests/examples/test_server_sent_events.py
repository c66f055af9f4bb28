"""examples/server_sent_events"""

import json

import pytest
from playwright.sync_api import expect

from tests.examples.browsing import Browsing, fill_in
from tests.examples.empty_room import MESSAGES, shown_after_a_break
from tests.examples.harness import EXAMPLES, SERVE
from tests.examples.relay import relay_to


@pytest.fixture
def say(client):
    return lambda text, **more: client.post("/say", data={"name": "Alice", "text": text, **more})


def read(client, until, last_id=None, query=None):
    """Read events up to the one with that text; return their ids and texts."""
    found = {}
    headers = {"last-event-id": last_id} if last_id else {}
    params = {"last": query} if query else {}
    with client.stream("GET", "/messages", headers=headers, params=params) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        name = ""
        for line in response.iter_lines():
            if line.startswith("id: "):
                name = line[4:]
            if line.startswith("data: ") and (data := line[6:]):  # the event `start` has none
                found[name] = json.loads(data)["text"] if data[0] == "{" else data
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
    expect(alice.get_by_label("Message", exact=True)).to_have_value("")
    assert alice.evaluate("document.querySelectorAll('li img, li script').length") == 0


def test_clock_ticks(page):
    page.goto("/")
    page.wait_for_function(
        "/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('#clock').textContent)"
    )
    first = page.inner_text("#clock")

    page.wait_for_function(f"document.querySelector('#clock').textContent !== '{first}'")


@pytest.mark.parametrize("bad_gateway", [False, True], ids=["no answer", "502"])
def test_browser_that_loses_its_connection_misses_nothing(browser, server, say, bad_gateway):
    with relay_to(server.port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "502"]
        page = browsing.page()
        page.goto("/")
        before = f"before the tunnel {bad_gateway}"
        say(before)
        page.get_by_text(before).wait_for()
        if bad_gateway:  # the browser gives up on an EventSource that gets such an answer
            with page.expect_response(lambda response: "messages" in response.url) as refusal:
                line.cut(bad_gateway=True)
            assert refusal.value.status == 502
        else:
            line.cut()
        page.get_by_text("Connection lost").wait_for()
        clock = page.inner_text("#clock")
        say(f"in the tunnel {bad_gateway}")
        line.mend()

        page.get_by_text(f"in the tunnel {bad_gateway}").wait_for()
        assert page.get_by_text(before).count() == 1
        assert page.get_by_text("may be missing").count() == 0
        page.wait_for_function(f"document.querySelector('#clock').textContent !== '{clock}'")
        browsing.close()


@pytest.mark.parametrize("bad_gateway", [False, True], ids=["no answer", "502"])
def test_page_without_any_message_yet_misses_nothing(browser, bad_gateway):
    folder = EXAMPLES / "server_sent_events"

    assert shown_after_a_break(browser, SERVE, folder, bad_gateway=bad_gateway) == MESSAGES


def test_page_without_any_message_yet_is_told_of_a_restart(browser):
    gap, *messages = shown_after_a_break(
        browser, SERVE, EXAMPLES / "server_sent_events", restart=True
    )

    assert "may be missing" in gap
    assert messages == MESSAGES


def test_client_with_last_event_id_gets_the_events_after_it(client, say):
    for text in ("first", "second", "third"):
        say(text)
    seen = read(client, "third")
    [first] = [name for name, text in seen.items() if text == "first"]

    assert list(read(client, "third", first).values()) == ["second", "third"]


def test_query_gives_the_id_too_and_the_header_is_newer(client, say):
    for text in ("first", "second", "third"):
        say(text)
    seen = read(client, "third")
    first, second = [name for name, text in seen.items() if text in ("first", "second")][-2:]

    assert list(read(client, "third", query=first).values()) == ["second", "third"]
    assert list(read(client, "third", second, query=first).values()) == ["third"]


@pytest.mark.parametrize("last_id", ["00000000-1", "nonsense", "-", "é", "9" * 5000])
def test_last_event_id_of_another_start_gets_all_messages_and_is_told_of_the_gap(
    client, say, last_id
):
    for number in range(30):
        say(f"number {number}")
    gap, *texts = read(client, "number 29", last_id.encode()).values()

    assert "may be missing" in gap
    assert texts[-30:] == [f"number {number}" for number in range(30)]


def test_reader_who_was_away_for_too_long_is_told_of_the_gap_once(client, say):
    say("long ago")
    long_ago = list(read(client, "long ago"))[-1]
    for number in range(201):
        say(f"number {number}")
    (gap_id, gap), *seen = read(client, "number 200", long_ago).items()

    assert "may be missing" in gap
    assert [text for _, text in seen] == [f"number {number}" for number in range(1, 201)]
    assert list(read(client, "number 200", gap_id).items()) == seen


def test_new_readers_get_the_last_twenty(client, say):
    for number in range(25):
        say(f"number {number}")
    latest = read(client, "number 24")

    assert list(latest.values()) == [f"number {number}" for number in range(5, 25)]


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
