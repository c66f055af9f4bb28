"""Headers and cookies: of a request, of a response, and one that keeps a choice."""

import hashlib
import json
import secrets
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

    async def index(self) -> tuple[int, str, dict[str, str]]:
        """Show the page in the theme that the visitor has chosen."""
        request = self.request
        theme = request.cookies.get("theme")
        page = await self._render_template(
            "index.html",
            base=self._base(),
            theme=theme if theme in THEMES else "system",
            themes=THEMES,
            headers=sorted(request.headers.items()),
            csrf_token=self._csrf_token(),
        )
        # The same URL is another page for another cookie: caches must know.
        return 200, page, {"vary": "Cookie", "cache-control": "private, no-cache"}

    @methods("POST")
    async def theme(self, name: str) -> Any:
        """Remember a theme for a year, or forget it."""
        self._check_csrf()
        if name not in THEMES:
            raise HTTPError(400, f"Choose one of {', '.join(THEMES)}.")
        if name == "system":
            cookie = delete_cookie("theme", path=self._base() or "/")
        else:
            # A choice of colors is no secret, so it can travel over plain HTTP, and
            # scripts can read it.
            cookie = set_cookie(
                "theme",
                name,
                max_age=YEAR,
                path=self._base() or "/",
                secure=False,
                httponly=False,
                samesite="Lax",
            )
        return self._redirect(f"{self._base()}/", status=303, headers=[cookie])

    async def client(self) -> dict[str, Any]:
        """Say what the request told about its sender."""
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

    def _csrf_token(self) -> str:
        """Return the token of this visitor, made at the first form."""
        return str(self.request.session.setdefault("csrf", secrets.token_urlsafe(32)))

    def _check_csrf(self) -> None:
        """Refuse a post from another site's page, which cannot know the token."""
        sent = self.request.form("csrf_token", "")
        known = self.request.session.get("csrf", "")
        if not known or not secrets.compare_digest(sent.encode(), known.encode()):
            raise HTTPError(403, "This form is too old. Please load the page again.")

    def _base(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", ""))


app = Headers()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
