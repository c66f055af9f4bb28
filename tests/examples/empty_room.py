"""A chat's page that loses the connection before there is any message."""

import contextlib
from pathlib import Path

import httpx
from playwright.sync_api import Browser

from tests.examples.browsing import Browsing
from tests.examples.harness import PLAIN
from tests.examples.relay import relay_to
from tests.processes import free_port, serving

MESSAGES = [f"number {number}" for number in range(30)]
#: Script for a page, before it is opened: say when the first event has come.
SAY_WHEN_STARTED = """
window.EventSource = class extends EventSource {
  constructor(address) {
    super(address);
    this.addEventListener("start", () => { window.started = true; });
  }
};
"""


def shown_after_a_break(
    browser: Browser,
    command: str,
    folder: Path,
    *,
    bad_gateway: bool = False,
    restart: bool = False,
) -> list[str]:
    """Cut the connection of a page without any message, send 30, and return what it then shows.

    Args:
        browser: The browser.
        command: The command that serves the chat.
        folder: The chat's folder.
        bad_gateway: Answer with 502 meanwhile, as a proxy does while the app is down.
        restart: Start the server again before the messages are sent.
    """
    port = free_port()
    with contextlib.ExitStack() as servers, relay_to(port) as line:
        servers.enter_context(serving(command, folder, port, {}))
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "502"]
        page = browsing.page()
        page.add_init_script(SAY_WHEN_STARTED)
        page.goto("/")
        page.wait_for_function("window.started")
        if bad_gateway:  # the browser gives up on an EventSource that gets such an answer
            with page.expect_response(lambda response: response.status == 502):
                line.cut(bad_gateway=True)
        else:
            line.cut()
        page.get_by_text("Connection lost").wait_for()
        if restart:
            servers.close()
            servers.enter_context(serving(command, folder, port, {}))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", verify=PLAIN, timeout=60) as client:
            for text in MESSAGES:
                client.post("/say", data={"name": "Ada", "text": text}).raise_for_status()
        line.mend()
        page.get_by_text(MESSAGES[-1]).wait_for()
        shown = page.locator("#messages li").all_inner_texts()
        browsing.close()
    return [text.removeprefix("Ada").lstrip(": ") for text in shown]
