"""Times every request, and gives it an id that the log and the client share."""

import logging
import time
import uuid
from typing import Any

from micropie import HttpMiddleware, Request

_log = logging.getLogger("timing")


class Timing(HttpMiddleware):
    """Sets ``request.id``, sends ``x-request-id`` and ``server-timing``, and logs."""

    async def before_request(self, request: Request) -> None:
        """Start the clock."""
        request.started = time.perf_counter()
        request.id = uuid.uuid4().hex

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Stop the clock; of a stream, this is the time to its beginning."""
        if not hasattr(request, "id"):  # refused before any before_request
            await self.before_request(request)
        took = (time.perf_counter() - request.started) * 1000
        headers.append(("x-request-id", request.id))
        headers.append(("server-timing", f"app;dur={took:.1f}"))
        path = request.scope.get("path", "")
        message = "%s %s %r %d %.1f ms"
        _log.info(message, request.id, request.method, path, status, took)
