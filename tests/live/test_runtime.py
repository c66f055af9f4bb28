"""Python in a worker, and its server: what docs/live/worker and docs/live/service promise."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.live.static_host import Host

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HELLO = "from micropie import App\n\n\nclass Hello(App):\n    async def index(self):\n        return 'Hello'\n\n\napp = Hello()\n"


class Live:
    """A page with a runtime of its own."""

    def __init__(self, page: Page, host: Host) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.goto(f"{host.url}/docs/page/")
        page.wait_for_function("window.isReady")

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def boot(self, *packages: str) -> dict[str, Any]:
        """Start the worker and Python."""
        return self.page.evaluate(
            "packages => (window.runtime = new Runtime()).ask('boot', {id: 'first', packages})",
            list(packages),
        )

    def ask(self, kind: str, **rest: Any) -> dict[str, Any]:
        return self.page.evaluate("([t, rest]) => runtime.ask(t, rest)", [kind, rest])

    def run(self, files: dict[str, Any], **rest: Any) -> dict[str, Any]:
        answer = self.ask("run", files=files, **{"fresh": True, **rest})
        assert answer["t"] == "loaded", answer["s"]
        return answer

    def fetch(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        """Send a request as the page's own request form does."""
        return self.page.evaluate(
            "([method, path, rest]) => runtime.fetch(method, path, rest)", [method, path, rest]
        )

    def text(self, *kinds: str) -> str:
        """Return what Python has printed, or the app logged."""
        return self.page.evaluate("kinds => runtime.text(...kinds)", list(kinds))


@pytest.fixture(scope="module")
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context()
    yield context
    context.close()


@pytest.fixture(scope="module")
def live(context: BrowserContext, host: Host) -> Live:
    """One runtime for the tests of this module: each runs an app of its own."""
    live = Live(context.new_page(), host)
    assert live.boot("jinja2", "multipart")["t"] == "ready", live.text("err")
    return live


def files_of(folder: str) -> dict[str, str]:
    """Return the files of an example or a step, as apps/ID.json has them."""
    kinds = {".py", ".html", ".css", ".js", ".svg", ".txt", ".sql", ".json"}
    return {
        path.relative_to(ROOT / folder).as_posix(): path.read_text()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }


def test_an_app_answers(live: Live) -> None:
    live.run({"app.py": HELLO})
    answer = live.fetch("GET", "/")
    assert (answer["status"], answer["text"]) == (200, "Hello")
    assert "GET / 200" in live.text("log")
    assert live.errors == []
