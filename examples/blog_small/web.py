"""The parts of the site share pages, URLs and error pages."""

from typing import Any

from micropie import App, HttpMiddleware, Request

HTML = "text/html; charset=utf-8"
HINTS = {
    401: "Please log in first.",
    403: "This is another author's post.",
    404: "There is no such page.",
}


class Site(App):
    """The base of the parts, which app.py puts together."""

    async def _page(self, template: str, status: int = 200, **context: Any) -> Any:
        """Render a page; if a plain `def` handler returns this, MicroPie awaits it."""
        context["url"] = self._url
        context["user_name"] = self.request.session.get("user_name")
        return status, await self._render_template(template, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


class ErrorPages(HttpMiddleware):
    """Makes a page of each error; programs that want no HTML get the line of text."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def after_request(
        self, request: Request, status: int, body: Any, headers: Any
    ) -> dict[str, Any] | None:
        """Replace the body of an error that MicroPie or a handler has raised."""
        wants_page = "text/html" in request.headers.get("accept", "")
        if request.exception is None or not wants_page:
            return None
        context = {"code": status, "hint": HINTS.get(status, body)}
        _, page = await self._site._page("error.html", **context)
        kept = [header for header in headers if header[0].lower() != "content-type"]
        return {"body": page, "headers": [*kept, ("content-type", HTML)]}
