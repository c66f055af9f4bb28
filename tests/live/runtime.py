"""A page with a runtime of its own, and apps to run in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import FrameLocator, Page

from tests.live.static_host import Host

ROOT = Path(__file__).parents[2]


class Live:
    """A page with a runtime of its own."""

    def __init__(self, page: Page, host: Host) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._heard)
        page.goto(f"{host.url}/docs/page/")
        page.wait_for_function("() => window.isReady")

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

    def wait_for(self, kind: str, text: str) -> None:
        """Wait for a text that Python prints, or the app logs. It can come after a response."""
        self.page.wait_for_function(
            "([kind, text]) => runtime.text(kind).includes(text)", arg=[kind, text]
        )

    def serve(self, name: str) -> None:
        """Lend the app to the service worker."""
        self.page.evaluate("name => runtime.serve(name)", name)

    def show(self, name: str, path: str = "/", visitor: str = "1") -> FrameLocator:
        """Show a page of the app in a pane."""
        self.page.evaluate(
            "([name, path, visitor]) => runtime.show(name, path, visitor)", [name, path, visitor]
        )
        return self.page.frame_locator(f"[name=pane-{visitor}] >> nth=-1")


def files_of(folder: str) -> dict[str, str]:
    """Return the files of an example or a step, as apps/ID.json has them."""
    kinds = {".py", ".html", ".css", ".js", ".svg", ".txt", ".sql", ".json"}
    return {
        path.relative_to(ROOT / folder).as_posix(): path.read_text()
        for path in (ROOT / folder).rglob("*")
        if path.suffix in kinds and "__pycache__" not in path.parts
    }


def app_of(body: str, before: str = "") -> dict[str, str]:
    """Return the file of an app with these handlers."""
    lines = "\n".join(f"    {line}" if line else "" for line in body.strip().splitlines())
    head = f"from micropie import App\n{before}\n"
    return {"app.py": f"{head}\n\nclass Tested(App):\n{lines}\n\n\napp = Tested()\n"}


HELLO = app_of("""
async def index(self):
    return "Hello"
""")
