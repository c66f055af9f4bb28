"""Headless Chromium, in which every error of a page counts."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Literal

import httpx
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FilePayload,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.processes import chromium

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000  # milliseconds until a test gives up
WIDE = (1280, 800)
NARROW = (390, 844)
#: Script for a page, before it is opened: keep its WebSockets in `sockets`.
KEEP_SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(address) { super(address); sockets.push(this); }
};
"""

expect.set_options(timeout=PATIENCE)


@contextlib.contextmanager
def launched() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


def noted_errors(page: Page) -> list[str]:
    """Return a list that gets the page's errors, those of its console too, from now on."""
    errors: list[str] = []

    def note(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


def fill_in(
    page: Page, fields: Mapping[str, str], press: str = "", then: str = "", *, exact: bool = False
) -> None:
    """Fill in fields by their labels, press a button, and wait for a text.

    Args:
        page: Where the form is.
        fields: The text for each label; a check box has none.
        press: A part of the name of the button.
        then: A part of the text.
        exact: Whether the labels are whole.
    """
    page.wait_for_load_state()  # its scripts have run
    for label, text in fields.items():
        field = page.get_by_label(label, exact=exact)
        if text:
            field.fill(text)
        else:
            field.check()
    if press:
        page.get_by_role("button", name=press).click()
    if then:
        page.get_by_text(then).wait_for()


def enter_chat(page: Page, name: str) -> None:
    page.goto("/")
    fill_in(page, {"Your name": name}, "Enter", "You are here.")


def check_chat(browsing: "Browsing") -> None:
    """Let two pages of a chat talk, one of them in markup."""
    ada, eve = browsing.page(), browsing.page()
    enter_chat(ada, "Ada")
    enter_chat(eve, "<b>Eve")
    ada.get_by_text("<b>Eve came in.").wait_for()
    eve.get_by_label("Say").fill("<img src=x onerror=alert(1)>")
    eve.get_by_label("Say").press("Enter")
    ada.get_by_text("<b>Eve: <img src=x onerror=alert(1)>").wait_for()
    browsing.check_accessible(ada)
    eve.close()
    ada.get_by_text("<b>Eve left.").wait_for()


def file_named(name: str, content: bytes, kind: str = "text/plain") -> FilePayload:
    return {"name": name, "mimeType": kind, "buffer": content}


def use_session_of(page: Page, client: httpx.Client) -> None:
    """Let a page go on with the session of a client."""
    value = client.cookies["session_id"]
    page.context.add_cookies([{"name": "session_id", "value": value, "url": str(client.base_url)}])


def contrast(first: str, second: str) -> float:
    """Return the contrast of two colors, each six hexadecimal digits, as WCAG 2 defines it."""
    darker, lighter = sorted(_luminance(color) for color in (first, second))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


class Browsing:
    """A browser with cookies of its own.

    Attributes:
        expected: Texts; an error that contains one of them is meant to happen.
    """

    def __init__(self, browser: Browser, url: str) -> None:
        self.url = url
        self.expected: list[str] = []
        self._browser = browser
        self._errors: list[str] = []
        self._contexts: list[BrowserContext] = []

    def page(
        self, size: tuple[int, int] = WIDE, *, dark: bool = False, like: Page | None = None
    ) -> Page:
        """Open a page: a new visitor's, or one that shares the cookies of another page."""
        page = (like.context if like else self._context(size, dark)).new_page()
        page.on(
            "console",
            lambda message: self._note(message.type == "error", f"console: {message.text}"),
        )
        page.on("pageerror", lambda error: self._note(True, f"page error: {error}"))
        return page

    def _context(self, size: tuple[int, int], dark: bool) -> BrowserContext:
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            base_url=self.url,
            reduced_motion="reduce",
        )
        context.set_default_timeout(PATIENCE)
        context.route(lambda url: not url.startswith((self.url, "data:", "blob:")), self._refuse)
        self._contexts.append(context)
        return context

    def _refuse(self, route: Route) -> None:
        self._note(True, f"a page asks for {route.request.url}")
        route.abort()

    def _note(self, bad: bool, text: str) -> None:
        if bad:
            self._errors.append(text)

    def check_look(self, *paths: str, like: Page | None = None) -> None:
        """Open pages on a desktop and on a phone, in light and in dark, and look for hindrances."""
        page = self.page(like=like)
        looks: list[tuple[tuple[int, int], Literal["light", "dark"]]] = [
            (WIDE, "light"),
            (NARROW, "dark"),
        ]
        for size, scheme in looks:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.emulate_media(color_scheme=scheme)
            for path in paths:
                page.goto(path)
                self.check_accessible(page)
                width = page.evaluate("document.documentElement.scrollWidth")
                assert width <= size[0], f"{path} is {width} pixels wide on a screen of {size[0]}"
        page.close()

    def check_accessible(self, page: Page) -> None:
        """Let axe look at a page: no violation that is serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

        page.wait_for_load_state()  # a click may have led here a moment ago
        found = Axe().run(page).response["violations"]
        bad = [
            (violation["id"], node["html"])
            for violation in found
            if violation["impact"] in {"serious", "critical"}
            for node in violation["nodes"]
        ]
        assert bad == []

    def close(self) -> None:
        """Close all pages; fail on what went wrong in them."""
        for context in self._contexts:
            context.close()
        unexpected = [
            error for error in self._errors if not any(text in error for text in self.expected)
        ]
        assert unexpected == []
