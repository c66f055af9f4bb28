"""Headers and cookies: of a request, of a response, and one that keeps a choice."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from micropie import App, HTTPError, delete_cookie, methods, set_cookie

from conditions import http_date, precondition

THEMES = ("system", "light", "dark")
YEAR = 365 * 24 * 3600
NEWS = {"headline": "Pie is served", "text": "There is enough for everybody."}
NEWS_CHANGED = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


class Headers(App):
    """Headers in, headers out."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url

    async def index(self) -> tuple[int, str, dict[str, str]]:
        """Show the page in the theme that the visitor has chosen."""
        request = self.request
        theme = request.cookies.get("theme")
        page = await self._render_template(
            "index.html",
            theme=theme if theme in THEMES else "system",
            themes=THEMES,
            headers=sorted(request.headers.items()),
        )
        # The same URL is another page for another cookie: caches must know.
        return 200, page, {"vary": "Cookie", "cache-control": "private, no-cache"}

    @methods("POST")
    async def theme(self, name: str) -> Any:
        """Remember a theme for a year, or forget it."""
        if name not in THEMES:
            raise HTTPError(400, f"Choose one of {', '.join(THEMES)}.")
        if name == "system":
            cookie = delete_cookie("theme", path=self._url())
        else:
            # It is no secret, so plain HTTP can carry it, and scripts can read it.
            options: Any = {"path": self._url(), "secure": False, "httponly": False}
            cookie = set_cookie("theme", name, max_age=YEAR, **options)
        return self._redirect(self._url(), 303, [cookie])

    async def client(self) -> dict[str, Any]:
        """Show what the request tells about its client."""
        request = self.request
        # Over a Unix socket there is no address.
        address = (request.scope.get("client") or (None,))[0]
        return {
            "address": address,
            # Names are found in any letter case.
            "agent": request.headers.get("User-Agent", ""),
            "languages": [
                item.partition(";")[0].strip()
                for item in request.headers.get("accept-language", "").split(",")
            ],
        }

    @methods("GET")
    async def news(self) -> tuple[int, Any, dict[str, str]]:
        """Send 304 to a client that has this version already (RFC 9110 section 13)."""
        tag = '"' + hashlib.sha256(json.dumps(NEWS).encode()).hexdigest()[:16] + '"'
        headers = {
            "etag": tag,
            "last-modified": http_date(NEWS_CHANGED),
            "cache-control": "public, max-age=60",
        }
        status = precondition(self.request, tag, NEWS_CHANGED)
        if status is not None:
            return status, None, headers
        return 200, NEWS, headers

    async def report(self) -> tuple[int, bytes, list[tuple[str, str]]]:
        """Send a file to save, and the same header twice."""
        return (
            200,
            "name;price\nApple pie;4 €\n".encode(),
            [
                ("content-type", "text/csv; charset=utf-8"),
                ("content-disposition", 'attachment; filename="prices.csv"'),
                ("link", '</news>; rel="related"'),
                ("link", '</>; rel="index"'),
            ],
        )

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Headers()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
