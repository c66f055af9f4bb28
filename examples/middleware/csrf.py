"""Tokens against forged forms, for sites that want them: foreign pages have none."""

import secrets

from micropie import HTTPError, HttpMiddleware, Request


def csrf_token(request: Request) -> str:
    """Return the session's token, for a hidden ``<input name="csrf_token">``."""
    token: str = request.session.setdefault("csrf_token", secrets.token_urlsafe(32))
    return token


class CSRF(HttpMiddleware):
    """Asks for the token with every request that may change something.

    It is a form field, or the header ``x-csrf-token`` from scripts. A request with a
    bearer token passes, since no browser adds one by itself. An upload (multipart) has
    not been read yet when a middleware sees it. So it needs the header, or a browser
    that says that the form is this site's, as all do over HTTPS.
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
        is_upload = headers.get("content-type", "").startswith("multipart/form-data")
        if sent or not is_upload or headers.get("sec-fetch-site") != "same-origin":
            advice = "go back, reload it and send it again."
            raise HTTPError(403, f"403 Forbidden: this form has expired; {advice}")
