"""Headless Chromium, in which every error of a page counts."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

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
    executable = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if executable is None:
        pytest.skip("no chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


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

    def page(self, size: tuple[int, int] = WIDE, *, dark: bool = False, like: Page | None = None) -> Page:
        """Open a page: a new visitor's, or one that shares the cookies of another page."""
        page = (like.context if like else self._context(size, dark)).new_page()
        page.on("console", lambda message: self._note(message.type == "error", f"console: {message.text}"))
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

    def check_look(self, path: str) -> None:
        """Open a page on a desktop and on a phone, in light and in dark, and look for what hinders people."""
        page = self.page()
        looks: list[tuple[tuple[int, int], Literal["light", "dark"]]] = [(WIDE, "light"), (NARROW, "dark")]
        for size, scheme in looks:
            page.set_viewport_size({"width": size[0], "height": size[1]})
            page.emulate_media(color_scheme=scheme)
            page.goto(path)
            self.check_accessible(page)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0], f"{path} is {width} pixels wide on a screen of {size[0]}"
        page.close()

    def check_accessible(self, page: Page) -> None:
        """Let axe look at a page: no violation that is serious or critical."""
        from axe_playwright_python.sync_playwright import Axe

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
        unexpected = [error for error in self._errors if not any(text in error for text in self.expected)]
        assert unexpected == []
