"""Pages, their style, headers, and a limit; nothing here is about pastes."""

import ipaddress
from collections import Counter
from pathlib import Path
from time import monotonic
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods

from languages import style_sheet

_FOLDER = Path(__file__).with_name("templates")
_STYLES = [(_FOLDER / name).read_text() for name in ("style.css", "paste.css")]
STYLE = "\n".join([*_STYLES, style_sheet()])
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cache-control": "no-store",
}


class Site(App):
    """An app with pages, without any script."""

    @methods("GET")
    def style_css(self) -> tuple[int, str, dict[str, str]]:
        """Send the style sheet: not a part of each page, where it could be injected."""
        headers = {"content-type": "text/css", "cache-control": "max-age=3600"}
        return 200, STYLE, headers

    async def _page(self, template: str, **context: Any) -> str:
        return await self._render_template(template, url=self._url, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


class SecurityHeaders(HttpMiddleware):
    """Adds the headers that a handler has not chosen itself."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add them to every response, also to errors."""
        chosen = {name.lower() for name, _ in headers}
        headers += [pair for pair in HEADERS.items() if pair[0] not in chosen]


class Limiter:
    """Lets one client do something so often in a minute, in each worker."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._minute = 0
        self._counts: Counter[str] = Counter()

    def check(self, request: Request) -> None:
        """Count the client of a request, and refuse it if that was too often."""
        minute = int(monotonic() / 60)
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
