"""Works around every request: security headers, and pages for errors."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from micropie import HttpMiddleware, Request

# As RFC 9110 has them, and Python from 3.13 on.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
DETAILS = {
    404: "There is no such page. It may have been removed, "
    "or the address has a typing mistake.",
    500: "Something went wrong here, and it has been noted. Try again later.",
}


class SecurityHeaders(HttpMiddleware):
    """Keeps a browser from doing things that no page of this blog asks for.

    No script or style stands in a page.
    """

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add the headers that a handler has not set itself."""
        wanted = dict(HEADERS)
        if request.scope.get("scheme") == "https":
            wanted["strict-transport-security"] = "max-age=31536000"
        if getattr(request, "user", None) is not None:
            # After a logout, the back button shows nothing.
            wanted["cache-control"] = "no-store"
        present = {name.lower() for name, _ in headers}
        headers.extend(
            (name, value) for name, value in wanted.items() if name not in present
        )


class ErrorPages(HttpMiddleware):
    """Makes a page of an error that is a line of text; scripts and curl get the line.

    Args:
        render: Makes the page of a request, a status, a title and a detail.
    """

    def __init__(
        self, render: Callable[[Request, int, str, str], Awaitable[str]]
    ) -> None:
        self._render = render

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the body, and keep the other headers: Allow, Retry-After."""
        is_line = isinstance(body, str) and not body.lstrip().startswith("<")
        if (
            status < 400
            or not is_line
            or "text/html" not in request.headers.get("accept", "")
        ):
            return None
        title = PHRASES.get(status) or HTTPStatus(status).phrase
        detail = DETAILS.get(status) or body.removeprefix(f"{status} ").removeprefix(
            title
        ).lstrip(": ")
        kept = [
            (name, value) for name, value in headers if name.lower() != "content-type"
        ]
        page = await self._render(request, status, title, detail)
        return {
            "body": page,
            "headers": [*kept, ("content-type", "text/html; charset=utf-8")],
        }
