"""Pages, files, headers and limits; nothing here is about pastes."""

import hashlib
import ipaddress
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods

from languages import style_sheet

HERE = Path(__file__).parent
STYLES = [HERE / "templates" / "style.css", HERE / "static" / "paste.css"]
FILES = {
    "copy.js": ("text/javascript", (HERE / "static" / "copy.js").read_text()),
    "style.css": ("text/css", "\n".join(path.read_text() for path in STYLES)),
    "code.css": ("text/css", style_sheet()),
}
# It is in the URLs of the files, so that browsers can keep them until one changes.
VERSION = hashlib.sha256(str(FILES).encode()).hexdigest()[:12]
HTML = "text/html; charset=utf-8"
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; img-src data:; "
    "style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Site(App):
    """An app with pages, and with the files that they use."""

    @methods("GET")
    def static(self, name: str, /) -> tuple[int, str, dict[str, str]]:
        """Send a style sheet or the script."""
        if name not in FILES:
            raise HTTPError(404)
        kind, text = FILES[name]
        headers = {"content-type": f"{kind}; charset=utf-8"}
        return 200, text, headers | {"cache-control": "public, max-age=86400"}

    async def _page(self, template: str, **context: Any) -> str:
        context |= {"url": self._url, "version": VERSION}
        return await self._render_template(template, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


class Polish(HttpMiddleware):
    """Adds the headers for security, and makes a page of an error for browsers.

    Args:
        site: It has the template ``error.html``.
        details: Sentences for statuses, instead of what MicroPie says.
    """

    def __init__(self, site: Site, details: dict[int, str]) -> None:
        self._site = site
        self._details = details

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Add the headers that the handler has not chosen."""
        chosen = {name.lower() for name, _ in headers}
        headers += [pair for pair in HEADERS.items() if pair[0] not in chosen]
        if request.exception is None:
            return None
        detail = self._details.get(status, body)
        if "text/html" not in request.headers.get("accept", ""):
            return {"body": detail}
        title = HTTPStatus(status).phrase
        page = await self._site._page("error.html", title=title, detail=detail)
        kept = [pair for pair in headers if pair[0].lower() != "content-type"]
        return {"body": page, "headers": [*kept, ("content-type", HTML)]}


class Limiter:
    """Lets one client do something so often in a minute, in each worker."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def check(self, request: Request) -> None:
        """Count the client of a request, and refuse it if that was too often."""
        minute = int(time.monotonic() / 60)
        if minute != self._minute:
            self._minute, self._counts = minute, Counter()
        self._counts[key := client_of(request)] += 1
        if self._counts[key] > self._most:
            text = "That was too often. Please try again in a minute."
            raise HTTPError(429, text, {"retry-after": "60"})


def client_of(request: Request) -> str:
    """Return the client's address, or its IPv6 network, which one client has whole."""
    host = str((request.scope.get("client") or ("unknown",))[0])
    # A socket for both kinds shows an IPv4 address as one of these.
    host = host.removeprefix("::ffff:").partition("%")[0]
    network = ipaddress.ip_network((host, 64), strict=False) if ":" in host else host
    return str(network)
