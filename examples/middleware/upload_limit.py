"""A limit of its own for each handler's body, below what the whole app allows."""

from collections.abc import Mapping
from typing import Any

from micropie import HttpMiddleware, Request


class UploadLimit(HttpMiddleware):
    """Refuses a body that says it is too large, and one that does not say its size.

    That happens before a byte of it is read. The servers hold a client to the length
    that it announces. The limits of the whole app are arguments of `App`,
    ``max_upload_size`` and ``max_body_size``: JSON and forms have been read under
    them before a middleware is asked.

    Args:
        limits: The most bytes for each handler, by name.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        limit = self.limits.get(request.route_handler or "")
        if limit is None:
            return None
        headers = {"content-type": "text/plain; charset=utf-8"}
        length = request.headers.get("content-length", "")
        if _hides_its_size(request, length):
            body = "411 Length Required"
            return {"status_code": 411, "body": body, "headers": headers}
        if int(length or 0) > limit:
            body = f"413 Content Too Large: at most {limit} bytes"
            return {"status_code": 413, "body": body, "headers": headers}
        return None


def _hides_its_size(request: Request, length: str) -> bool:
    """Return whether a body can come whose size no header says.

    In HTTP/1.1 it has ``Transfer-Encoding``. From HTTP/2 on it needs no header at all,
    so that each method but these two could bring one. Some bridges from WSGI send an
    empty ``Content-Length``, which says nothing.
    """
    if "transfer-encoding" in request.headers:
        return True
    version = request.scope.get("http_version") or "1.1"
    framed = not version.startswith(("0", "1"))
    return framed and not length and request.method not in {"GET", "HEAD"}
