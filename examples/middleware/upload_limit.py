"""A limit for the body of each handler, below the limit of the whole app."""

from collections.abc import Mapping

from micropie import HTTPError, HttpMiddleware, Request


class UploadLimit(HttpMiddleware):
    """Refuses a body that says it is too large, and one that does not say its size.

    The handler is not called then. JSON and forms have been read before, and
    `App` limits them. `limits` are the most bytes for each handler, by name.
    """

    def __init__(self, limits: Mapping[str, int]) -> None:
        self.limits = limits

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        limit = self.limits.get(request.route_handler or "")
        if limit is None:
            return
        # Over HTTP/2 a body needs no header, so that any other method may bring one.
        length = request.headers.get("content-length", "")
        known = length or request.method in {"GET", "HEAD"}
        if "transfer-encoding" in request.headers or not known:
            raise HTTPError(411)
        if int(length or 0) > limit:
            raise HTTPError(413, f"413 Content Too Large: at most {limit} bytes")
