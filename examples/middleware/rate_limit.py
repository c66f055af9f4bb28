"""A rate limit for each client, in the memory of this process or in Redis."""

import ipaddress
import logging
import math
import time
from collections.abc import Collection
from typing import Any, Protocol

from micropie import HttpMiddleware, Request

_log = logging.getLogger("rate_limit")


class Limiter(Protocol):
    """Counts by the generic cell rate algorithm.

    It needs one number for each client, and has no windows with edges to abuse.
    """

    async def wait(self, key: str) -> float:
        """Return 0 for a request that may pass, or the seconds until one may."""


class MemoryLimiter:
    """Counts in this process: with several workers, each one allows that much.

    Args:
        limit: How many requests may come at once.
        seconds: In what time as many may come again.
        clients: How many clients are remembered; then those that have been quiet
            longest are forgotten.
    """

    def __init__(self, limit: int, seconds: float, clients: int = 100_000) -> None:
        self.interval = seconds / limit
        self.seconds = seconds
        self.clients = clients
        # When all that a client has used up is there again.
        self._free_at: dict[str, float] = {}

    async def wait(self, key: str) -> float:
        """Return 0 for a request that may pass, or the seconds until one may."""
        now = time.monotonic()
        free_at = max(self._free_at.pop(key, now), now) + self.interval
        wait = free_at - self.seconds - now
        self._free_at[key] = free_at if wait <= 1e-9 else free_at - self.interval
        if len(self._free_at) > self.clients:
            del self._free_at[next(iter(self._free_at))]
        return wait if wait > 1e-9 else 0.0


_SCRIPT = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local interval, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local free_at = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + interval
local wait = free_at - seconds - now
if wait > 0.000001 then return tostring(wait) end
local expires = math.ceil((free_at - now) * 1000)
redis.call('SET', KEYS[1], string.format('%.6f', free_at), 'PX', expires)
return '0'
"""


class RedisLimiter:
    """Counts in Redis, for all workers and machines together, by the clock of Redis.

    Args:
        client: A ``redis.asyncio.Redis``.
        limit: How many requests may come at once.
        seconds: In what time as many may come again.
        prefix: What all keys begin with.
    """

    def __init__(
        self,
        client: Any,
        limit: int,
        seconds: float,
        prefix: str = "rate:",
    ) -> None:
        self.interval = seconds / limit
        self.seconds = seconds
        self.prefix = prefix
        self._script = client.register_script(_SCRIPT)

    async def wait(self, key: str) -> float:
        """Return 0 or the seconds to wait; without Redis, all pass."""
        from redis.exceptions import RedisError

        arguments = [self.interval, self.seconds]
        try:
            return float(await self._script(keys=[self.prefix + key], args=arguments))
        except RedisError as error:
            _log.warning("no rate limit: %s", error)
            return 0.0


class RateLimit(HttpMiddleware):
    """Refuses with 429 and ``Retry-After`` what comes too often from one address.

    Args:
        limiter: Who counts.
        handlers: The names of the handlers that are limited, together; None: all.
    """

    def __init__(
        self,
        limiter: Limiter,
        handlers: Collection[str] | None = None,
    ) -> None:
        self.limiter = limiter
        self.handlers = handlers

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if self.handlers is not None and request.route_handler not in self.handlers:
            return None
        wait = await self.limiter.wait(client_of(request))
        if not wait:
            return None
        headers = {
            "retry-after": str(math.ceil(wait)),
            "content-type": "text/plain; charset=utf-8",
        }
        body = "429 Too Many Requests"
        return {"status_code": 429, "body": body, "headers": headers}


def client_of(request: Request) -> str:
    """Return the client's address, of IPv6 the network: a customer has all of it."""
    host = (request.scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    # A socket for both kinds shows an IPv4 address as a mapped one.
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
