"""tutorials/07-chat"""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect
from websockets.exceptions import ConnectionClosedError
from websockets.sync.client import connect

from tests.examples.browsing import KEEP_SOCKETS, Browsing
from tests.examples.relay import relay_to


def cookie_of(client):
    client.get("/")
    return f"session_id={client.cookies['session_id']}"


def address(server):
    return f"ws{server.url.removeprefix('http')}/chat"


def test_two_visitors_see_each_other_s_messages(browsing, picture, visitor, vote):
    for pie in ("Apple", "Apple", "Rhubarb"):
        vote(visitor(), pie)
    ada, bob = browsing.page((800, 940)), browsing.page()
    for page in (ada, bob):
        page.goto("/")
        page.locator("#state", has_text="counted live").wait_for()
    for page, text in (
        (ada, "Nothing beats a warm apple pie."),
        (bob, "Rhubarb, <b>always</b>."),
        (ada, "With custard!"),
    ):
        page.locator("[name=text]").fill(text)
        page.get_by_role("button", name="Send").click()
        for reader in (ada, bob):
            expect(reader.locator("#messages li").last).to_contain_text(text)
    ada.locator("[name=text]").blur()
    picture(ada)
    browsing.check_accessible(ada)
    ada.reload()
    expect(ada.locator("#messages li").last).to_contain_text("custard")


def test_nothing_is_sent_without_a_connection(browser, server, client):
    assert "<button disabled>Send</button>" in client.get("/").text
    with relay_to(urlsplit(server.url).port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "WebSocket connection to"]
        page = browsing.page()
        page.goto("/")
        send = page.get_by_role("button", name="Send")
        expect(send).to_be_enabled()
        page.get_by_label("Your message").fill("Are you there?")
        line.cut()
        expect(send).to_be_disabled()
        expect(page.locator("#chat-problem")).to_contain_text("not connected")
        page.get_by_label("Your message").press("Enter")
        line.mend()
        send.click()  # waits for the next connection
        expect(page.locator("#messages li").last).to_contain_text("Are you there?")
        expect(page.locator("#chat-problem")).to_be_empty()
        browsing.close()


def test_page_that_is_older_than_the_server_says_so(browsing):
    page = browsing.page()
    page.add_init_script(KEEP_SOCKETS)
    page.goto("/")
    expect(page.get_by_role("button", name="Send")).to_be_enabled()
    page.context.clear_cookies()  # as after a restart: the server knows no such session
    page.evaluate("sockets[0].close()")
    expect(page.locator("#chat-problem")).to_have_text("This page is too old. Reload it.")
    expect(page.get_by_role("button", name="Send")).to_be_disabled()
    page.reload()
    expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_chat_is_for_visitors_of_the_page(client, server):
    for headers in (
        {},
        {"Cookie": "session_id=made-up"},
        {"Cookie": cookie_of(client), "Origin": "https://evil.example"},
    ):
        with connect(address(server), additional_headers=headers) as ws:
            with pytest.raises(ConnectionClosedError):
                ws.recv(timeout=30)
            assert (ws.close_code, ws.close_reason) == (4403, "This page is too old. Reload it.")


def test_empty_and_binary_messages_are_left_out_and_long_ones_cut(client, server):
    with connect(address(server), additional_headers={"Cookie": cookie_of(client)}) as ws:
        ws.send("the first of mine")
        while "the first of mine" not in ws.recv(timeout=30):  # what others have said comes before
            pass
        for message in (" ", b"bytes", "x" * 1000, "the last"):
            ws.send(message)
        text = ws.recv(timeout=30)
        assert "x" * 500 in text
        assert "x" * 501 not in text
        assert "the last" in ws.recv(timeout=30)
        ws.send("x" * 2**25)
        with pytest.raises(ConnectionClosedError):
            ws.recv(timeout=60)
