"""Cross-origin requests: which other sites' scripts may read what this one sends."""

from collections.abc import Iterable
from typing import Any

from micropie import HttpMiddleware, Request

PREFLIGHT = {
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "authorization, content-type",
    "access-control-max-age": "600",
}
VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


class CORS(HttpMiddleware):
    """Answers preflight requests, and tells browsers who may read a response.

    Put it before what refuses requests. CORS only ever gives rights away. So a site
    needs none, if no script of another site has to read its answers. `origins` are
    full ones, such as ``https://app.example.com``, or ``["*"]``. None sends cookies.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        self.origins = frozenset(origins)

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Answer a preflight; it never reaches a handler."""
        asked = "access-control-request-method" in request.headers
        if request.method != "OPTIONS" or not asked:
            return None
        request.is_preflight = True
        allowed = self._allowed(request)
        headers = allowed and [*allowed, *PREFLIGHT.items()]
        return {"status_code": 204, "headers": [*headers, ("vary", VARY)]}

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add the headers to every other response, errors included."""
        if not hasattr(request, "is_preflight"):
            headers.extend(self._allowed(request))
            if "*" not in self.origins:
                headers.append(("vary", "Origin"))

    def _allowed(self, request: Request) -> list[tuple[str, str]]:
        origin = "*" if "*" in self.origins else request.headers.get("origin", "")
        if origin not in self.origins:
            return []
        return [("access-control-allow-origin", origin)]
