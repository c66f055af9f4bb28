"""Error pages: a page for people, problem details for programs."""

import html
import json
from http import HTTPStatus
from typing import Any

from micropie import HttpMiddleware, Request

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">
:root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif; }}
html {{ background: light-dark(#fff, #15181d); color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 34rem; margin: 18vh auto; padding: 0 1.25rem; }}
a {{ color: light-dark(#0b57a4, #8cc8ff); }}
</style>
<main>
<p>{status}</p>
<h1>{title}</h1>
<p>{detail}</p>
<p><a href="{home}">Home</a></p>
</main>
</html>
"""
# The names of RFC 9110, which MicroPie sends too; Python before 3.13 has older ones.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
DETAILS = {
    404: "There is no such page. It may have moved, or the address has a mistake.",
    500: "Something went wrong here, and we have been told. Try again later.",
}


class ErrorPages(HttpMiddleware):
    """Makes a page, or problem details in JSON (RFC 9457), of errors in text."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the body; leave Allow, Retry-After and WWW-Authenticate alone."""
        if status < 400 or not isinstance(body, str) or body.lstrip().startswith("<"):
            return None
        known = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
        title = PHRASES.get(status, known)
        own = body.removeprefix(f"{status} {title}").lstrip(": ")
        detail = DETAILS.get(status) or own
        if "text/html" in request.headers.get("accept", ""):
            kind = "text/html; charset=utf-8"
            new = _page(request, status, title, detail)
        else:
            kind = "application/problem+json"
            problem = {"title": title, "status": status, "detail": detail}
            new = json.dumps({name: value for name, value in problem.items() if value})
        kept = [header for header in headers if header[0].lower() != "content-type"]
        return {"body": new, "headers": [*kept, ("content-type", kind)]}


def _page(request: Request, status: int, title: str, detail: str) -> str:
    nonce = getattr(request, "csp_nonce", "")
    home = html.escape(request.scope.get("root_path", "").rstrip("/") + "/")
    shown = {"title": html.escape(title), "detail": html.escape(detail)}
    return PAGE.format(status=status, nonce=nonce, home=home, **shown)
