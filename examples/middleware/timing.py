"""Times every request, and gives it an id that the log and the client share."""

import logging
import re
import time
import uuid
from typing import Any

from micropie import HttpMiddleware, Request

_log = logging.getLogger("timing")


class Timing(HttpMiddleware):
    """Sets ``request.id``, sends ``x-request-id`` and ``server-timing``, and logs.

    Put it first.

    Args:
        trust_id: Whether to take over an ``x-request-id`` that came in, from a proxy
            of your own that sets it.
    """

    def __init__(self, *, trust_id: bool = False) -> None:
        self.trust_id = trust_id

    async def before_request(self, request: Request) -> None:
        """Start the clock."""
        self._start(request)

    async def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: list[tuple[str, str]],
    ) -> None:
        """Stop the clock; of a stream, this is the time to its beginning."""
        if not hasattr(request, "id"):  # refused before any before_request
            self._start(request)
        milliseconds = (time.perf_counter() - request.started) * 1000
        headers.append(("x-request-id", request.id))
        headers.append(("server-timing", f"app;dur={milliseconds:.1f}"))
        _log.info(
            "%s %s %r %d %.1f ms",
            request.id,
            request.method,
            request.scope.get("path", ""),
            status,
            milliseconds,
        )

    def _start(self, request: Request) -> None:
        request.started = time.perf_counter()
        sent = request.headers.get("x-request-id", "") if self.trust_id else ""
        is_id = re.fullmatch(r"[A-Za-z0-9_-]{8,64}", sent)
        request.id = sent if is_id else uuid.uuid4().hex
