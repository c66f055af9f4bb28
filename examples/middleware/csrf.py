"""Tokens against forged forms, for sites that want them: foreign pages have none."""

import secrets
from urllib.parse import urlsplit

from micropie import HTTPError, HttpMiddleware, Request


def csrf_token(request: Request) -> str:
    """Return the session's token, for a hidden ``<input name="csrf_token">``."""
    token: str = request.session.setdefault("csrf_token", secrets.token_urlsafe(32))
    return token


class CSRF(HttpMiddleware):
    """Asks for the token with every request that may change something.

    It is a form field, or the header ``x-csrf-token`` from scripts. A request with a
    bearer token passes, since no browser adds one by itself. An upload (multipart) has
    not been read yet when a middleware sees it: its token must be in the header, or
    its origin must be this host.
    """

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        headers = request.headers
        by_bearer = headers.get("authorization", "").lower().startswith("bearer ")
        signed_in = by_bearer and hasattr(request, "user")  # see bearer_auth.py
        if request.method in {"GET", "HEAD", "OPTIONS"} or signed_in:
            return
        sent = headers.get("x-csrf-token") or request.form("csrf_token", "")
        expected = request.session.get("csrf_token", "")
        if expected and secrets.compare_digest(sent.encode(), expected.encode()):
            return
        if sent or not _is_own_upload(request):
            advice = "go back, reload it and send it again."
            raise HTTPError(403, f"403 Forbidden: this form has expired; {advice}")


def _is_own_upload(request: Request) -> bool:
    content_type = request.headers.get("content-type", "").lower()
    origin = urlsplit(request.headers.get("origin", "")).netloc.lower()
    is_own = bool(origin) and origin == request.headers.get("host", "").lower()
    return is_own and content_type.startswith("multipart/form-data")
