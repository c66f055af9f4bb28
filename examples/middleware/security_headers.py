"""The headers that keep a browser from doing what no page of yours asks for."""

import secrets
from typing import Any

from micropie import HttpMiddleware, Request

POLICY = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; "
    "img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "strict-origin-when-cross-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class SecurityHeaders(HttpMiddleware):
    """Sends a Content-Security-Policy with a nonce, and other headers.

    What a handler has set itself stays. A page's own scripts and styles must carry
    the nonce: ``<script nonce="...">`` with ``request.csp_nonce``. A script that got
    in by an escaping mistake does not have it, and does not run.

    Args:
        policy: The Content-Security-Policy; ``{nonce}`` stands for the nonce.
        hsts: For how many seconds browsers are to insist on HTTPS once they have seen
            it; 0: not at all.
    """

    def __init__(self, policy: str = POLICY, hsts: int = 31_536_000) -> None:
        self.policy = policy
        self.hsts = hsts

    async def before_request(self, request: Request) -> None:
        """Make a nonce for this response alone."""
        request.csp_nonce = secrets.token_urlsafe(16)

    async def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: list[tuple[str, str]],
    ) -> None:
        """Add the headers."""
        wanted = dict(HEADERS)
        nonce = getattr(request, "csp_nonce", "") or secrets.token_urlsafe(16)
        wanted["content-security-policy"] = self.policy.format(nonce=nonce)
        if request.scope.get("scheme") == "https" and self.hsts:
            wanted["strict-transport-security"] = f"max-age={self.hsts}"
        present = {name.lower() for name, _ in headers}
        headers.extend(item for item in wanted.items() if item[0] not in present)
