"""The headers that keep a browser from doing what no page of yours asks for."""

import secrets
from typing import Any

from micropie import HttpMiddleware, Request

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders(HttpMiddleware):
    """Sends a Content-Security-Policy with a nonce, and other headers.

    A header that a handler has set stays. Scripts and styles in your pages carry the
    nonce: ``<script nonce="...">`` with ``request.csp_nonce``. A script that got in
    by an escaping mistake has none, and does not run.
    """

    async def before_request(self, request: Request) -> None:
        """Make a nonce for this response alone."""
        request.csp_nonce = secrets.token_urlsafe(16)

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add the headers."""
        nonce = getattr(request, "csp_nonce", "") or secrets.token_urlsafe(16)
        wanted = HEADERS | {"content-security-policy": POLICY.format(nonce=nonce)}
        if request.scope.get("scheme") == "https":
            wanted["strict-transport-security"] = "max-age=31536000"
        present = {name.lower() for name, _ in headers}
        headers.extend(item for item in wanted.items() if item[0] not in present)
