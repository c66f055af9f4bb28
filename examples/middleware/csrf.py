"""Protection against cross-site request forgery: foreign pages have no token."""

import secrets
from typing import Any
from urllib.parse import urlsplit

from micropie import HttpMiddleware, Request

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def csrf_token(request: Request) -> str:
    """Return the session's token, for a hidden ``<input name="csrf_token">``."""
    token: str = request.session.setdefault("csrf_token", secrets.token_urlsafe(32))
    return token


class CSRF(HttpMiddleware):
    """Asks for the token with every request that may change something.

    It is a form field, or the header ``x-csrf-token`` from scripts. A request with a
    bearer token passes: no browser adds one by itself. An upload (multipart) has not
    been read yet when a middleware sees it: its token must be in the header, or its
    origin must be this host.
    """

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if request.method in _SAFE:
            return None
        if hasattr(request, "user") and _has_bearer(request):
            return None
        sent = request.headers.get("x-csrf-token") or request.form("csrf_token", "")
        expected = request.session.get("csrf_token", "")
        if expected and secrets.compare_digest(sent.encode(), expected.encode()):
            return None
        if not sent and _is_upload(request) and _is_same_origin(request):
            return None
        headers = {"content-type": "text/plain; charset=utf-8"}
        advice = "go back, reload it and send it again."
        body = f"403 Forbidden: this form has expired; {advice}"
        return {"status_code": 403, "body": body, "headers": headers}


def _has_bearer(request: Request) -> bool:
    return request.headers.get("authorization", "").lower().startswith("bearer ")


def _is_upload(request: Request) -> bool:
    content_type = request.headers.get("content-type", "")
    return content_type.lower().startswith("multipart/form-data")


def _is_same_origin(request: Request) -> bool:
    origin = urlsplit(request.headers.get("origin", "")).netloc.lower()
    return bool(origin) and origin == request.headers.get("host", "").lower()
