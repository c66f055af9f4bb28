"""Error pages: what people see in place of a line of text."""

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
html {{ background: light-dark(#fdfdfb, #15181d);
  color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 34rem; margin: 18vh auto; padding: 0 1.25rem; }}
p.status {{ margin: 0; font-size: 4rem; font-weight: 700; line-height: 1; }}
a {{ color: light-dark(#0b57a4, #8cc8ff); }}
</style>
<main>
<p class="status">{status}</p>
<h1>{title}</h1>
<p>{detail}</p>
<p><a href="{root}/">Home</a></p>
</main>
</html>
"""
# The names of RFC 9110, which MicroPie sends too; Python before 3.13 has older ones.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
DETAILS = {
    404: "There is no such page. It may have moved, or the address has a mistake.",
    429: "That was too often. Wait a little, and try again.",
    500: "Something went wrong here, and we have been told. Try again later.",
}


class ErrorPages(HttpMiddleware):
    """Makes a page, or problem details in JSON (RFC 9457), of errors in text."""

    async def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: list[tuple[str, str]],
    ) -> dict[str, Any] | None:
        """Replace the body; leave Allow, Retry-After and WWW-Authenticate alone."""
        if status < 400 or not isinstance(body, str) or body.lstrip().startswith("<"):
            return None
        title = _phrase(status)
        own = body.removeprefix(f"{status} {title}").lstrip(": ")
        detail = DETAILS.get(status) or own
        if "text/html" in request.headers.get("accept", ""):
            kind = "text/html; charset=utf-8"
            new = self._page(request, status, title, detail)
        else:
            kind = "application/problem+json"
            problem = {"title": title, "status": status, "detail": detail}
            known = {name: value for name, value in problem.items() if value}
            new = json.dumps(known)
        kept = [header for header in headers if header[0].lower() != "content-type"]
        return {"body": new, "headers": [*kept, ("content-type", kind)]}

    def _page(self, request: Request, status: int, title: str, detail: str) -> str:
        return PAGE.format(
            status=status,
            title=html.escape(title),
            detail=html.escape(detail),
            nonce=getattr(request, "csp_nonce", ""),
            root=html.escape(request.scope.get("root_path", "").rstrip("/")),
        )


def _phrase(status: int) -> str:
    known = HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
    return PHRASES.get(status, known)
