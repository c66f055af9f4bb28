"""Works around every request: headers, error pages, the token against forged posts."""

import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from http import HTTPStatus
from typing import Any

from micropie import HttpMiddleware, Request, set_cookie

from local import is_local

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
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


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


CSRF_COOKIE = "csrf"
TOKEN = re.compile(r"[\w-]{43}", re.ASCII)


def csrf_token(request: Request) -> str:
    """Return the token of this browser.

    It is in a cookie, and not in the session, so a visit alone stores nothing here.
    """
    if not hasattr(request, "csrf"):
        sent = request.cookies.get(CSRF_COOKIE, "")
        request.csrf = sent if TOKEN.fullmatch(sent) else secrets.token_urlsafe(32)
    return str(request.csrf)


def is_forged(request: Request) -> bool:
    """Return whether a request lacks the token, as a form field or in a header."""
    sent = request.headers.get("x-csrf-token") or request.form("csrf_token", "")
    known = request.cookies.get(CSRF_COOKIE, "")
    same = secrets.compare_digest(sent.encode(), known.encode())
    return not same or TOKEN.fullmatch(known) is None


REFUSED = "This form has expired: go back, reload the page and send it again."


class CSRF(HttpMiddleware):
    """Refuses what may change something and does not have the token of this browser.

    Args:
        uploads: The handlers that take an upload: its fields have not been read yet
            here, so they look themselves.
    """

    def __init__(self, uploads: Collection[str]) -> None:
        self._uploads = uploads

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if (
            request.method in _SAFE
            or request.route_handler in self._uploads
            and _is_upload(request)
        ):
            return None
        if is_forged(request):
            return {
                "status_code": 403,
                "body": REFUSED,
                "headers": {"content-type": "text/plain; charset=utf-8"},
            }
        return None

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Send the token of a page's forms along, unless the browser has it."""
        token = getattr(request, "csrf", "")
        if token and token != request.cookies.get(CSRF_COOKIE):
            path = request.scope.get("root_path") or "/"
            secure = not is_local(request)
            headers.append(set_cookie(CSRF_COOKIE, token, path=path, secure=secure))


def _is_upload(request: Request) -> bool:
    return (
        request.headers.get("content-type", "").partition(";")[0].strip().lower()
        == "multipart/form-data"
    )
