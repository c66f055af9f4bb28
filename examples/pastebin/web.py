"""The parts of the site that have nothing to do with pastes: pages, headers, limits."""

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
STYLES = ("templates/style.css", "static/paste.css")
FILES = {
    "style.css": "\n".join(
        [*((HERE / at).read_text() for at in STYLES), style_sheet()]
    ),
    "copy.js": (HERE / "static" / "copy.js").read_text(),
}
KINDS = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
# It is in the URLs of the files, so that browsers can keep them until one changes.
VERSION = hashlib.sha256("".join(FILES.values()).encode()).hexdigest()[:12]
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; "
    "style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Site(App):
    """An app with pages, and with the files that they use."""

    @methods("GET")
    def static(self, name: str, /) -> tuple[int, str, dict[str, str]]:
        """Send the style sheet or the script."""
        if name not in FILES:
            raise HTTPError(404)
        kind = KINDS[name.rpartition(".")[2]]
        headers = {"content-type": kind, "cache-control": "public, max-age=86400"}
        return 200, FILES[name], headers

    async def _page(
        self, template: str, status: int = 200, headers: Any = None, **context: Any
    ) -> tuple[int, str, Any]:
        """Render a page; if a plain `def` handler returns this, MicroPie awaits it."""
        context |= {"url": self._url, "version": VERSION}
        page = await self._render_template(template, **context)
        return status, page, headers or {}

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
        headers.extend(pair for pair in HEADERS.items() if pair[0] not in chosen)
        if request.exception is None:
            return None
        detail = self._details.get(status, body)
        if "text/html" not in request.headers.get("accept", ""):
            return {"body": detail}
        title = HTTPStatus(status).phrase
        page = await self._site._page("error.html", title=title, detail=detail)
        kept = [pair for pair in headers if pair[0].lower() != "content-type"]
        kind = ("content-type", "text/html; charset=utf-8")
        return {"body": page[1], "headers": [*kept, kind]}


class Limiter:
    """Counts in this process alone, so each worker allows as much.

    Args:
        most: How often one client can do it in a minute.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._minute = 0.0
        self._counts: Counter[str] = Counter()

    def check(self, request: Request) -> None:
        """Count the client of a request, and refuse it if that was too often."""
        minute, second = divmod(time.monotonic(), 60)
        if minute != self._minute:
            self._minute = minute
            self._counts.clear()
        self._counts[key := client_of(request)] += 1
        if self._counts[key] > self._most:
            wait = str(60 - int(second))
            text = f"That was too often. Please try again in {wait} seconds."
            raise HTTPError(429, text, {"retry-after": wait})


def client_of(request: Request) -> str:
    """Return the client's address, or its IPv6 network, which one client has whole."""
    host = str((request.scope.get("client") or ("unknown",))[0])
    # A socket for both kinds shows an IPv4 address as one of these.
    host = host.removeprefix("::ffff:")
    if ":" not in host:
        return host
    return str(ipaddress.ip_network((host.partition("%")[0], 64), strict=False))
