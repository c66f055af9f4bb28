"""A limit on how often each client can send some forms, or open some pages."""

import math
import time
from collections.abc import Collection

from micropie import HTTPError, HttpMiddleware, Request


class RateLimit(HttpMiddleware):
    """Lets each client call `handlers` `limit` times in `seconds`; counts in memory."""

    def __init__(
        self,
        limit: int,
        seconds: float,
        handlers: Collection[str],
        methods: Collection[str] = (),  # which count; without any, all do
        clients: int = 10_000,
    ) -> None:
        self.limit, self.seconds = limit, seconds
        self.handlers, self.methods, self.clients = handlers, methods, clients
        self.windows: dict[str, tuple[float, int]] = {}  # the end, and how many

    async def before_request(self, request: Request) -> None:
        """Count a request, and refuse one too many."""
        if request.route_handler not in self.handlers:
            return
        if self.methods and request.method not in self.methods:
            return
        now = time.monotonic()
        client = (request.scope.get("client") or ("unknown",))[0]
        end, count = self.windows.pop(client, (0.0, 0))
        if end <= now:
            end, count = now + self.seconds, 0
        self.windows[client] = end, count + 1
        if len(self.windows) > self.clients:  # forget the one that was idle longest
            del self.windows[next(iter(self.windows))]
        if count >= self.limit:
            raise HTTPError(429, None, {"retry-after": str(math.ceil(end - now))})
