"""Cross-origin requests: which other sites' scripts may read what this one sends."""

from collections.abc import Iterable
from typing import Any

from micropie import HttpMiddleware, Request


class CORS(HttpMiddleware):
    """Answers preflight requests, and tells browsers who may read a response.

    Put it before what refuses requests. CORS only ever gives rights away: a site
    whose answers no script of another site has to read needs none.

    Args:
        origins: Full origins, such as ``https://app.example.com``; ``["*"]`` for
            every site, then without cookies.
        methods: What may be asked for with a preflight.
        headers: The request headers that may be sent besides the harmless ones.
        credentials: Whether cookies and HTTP authentication may be sent along.
        max_age: Seconds that browsers may remember the answer to a preflight.
    """

    def __init__(
        self,
        origins: Iterable[str],
        *,
        methods: Iterable[str] = ("GET", "POST", "PUT", "PATCH", "DELETE"),
        headers: Iterable[str] = ("authorization", "content-type"),
        credentials: bool = False,
        max_age: int = 600,
    ) -> None:
        self.origins = frozenset(origins)
        self.methods = ", ".join(methods)
        self.headers = ", ".join(headers)
        self.credentials = credentials
        self.max_age = max_age
        if credentials and "*" in self.origins:
            reason = "would let any page act as your visitors: list the origins"
            raise ValueError(f"credentials for every site {reason}")

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Answer a preflight; it never reaches a handler."""
        headers = request.headers
        asks = "origin" in headers and "access-control-request-method" in headers
        if request.method != "OPTIONS" or not asks:
            return None
        allowed = self._allowed(request)
        if allowed:
            allowed += [
                ("access-control-allow-methods", self.methods),
                ("access-control-allow-headers", self.headers),
                ("access-control-max-age", str(self.max_age)),
            ]
        request.is_preflight = True
        vary = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        return {"status_code": 204, "headers": [*allowed, ("vary", vary)]}

    async def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: list[tuple[str, str]],
    ) -> None:
        """Add the headers to every other response, errors included."""
        if not hasattr(request, "is_preflight"):
            headers.extend(self._allowed(request))
            if "*" not in self.origins:
                headers.append(("vary", "Origin"))

    def _allowed(self, request: Request) -> list[tuple[str, str]]:
        origin = request.headers.get("origin", "")
        if "*" in self.origins:
            return [("access-control-allow-origin", "*")]
        if origin not in self.origins:
            return []
        allowed = [("access-control-allow-origin", origin)]
        if self.credentials:
            allowed.append(("access-control-allow-credentials", "true"))
        return allowed
