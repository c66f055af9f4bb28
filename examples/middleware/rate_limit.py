"""A rate limit for each client, in the memory of this process or in Redis.

Both use the generic cell rate algorithm, which needs one number for each client.
"""

import ipaddress
import logging
import math
import time
from collections.abc import Collection
from typing import Any

from micropie import HTTPError, HttpMiddleware, Request

_log = logging.getLogger("rate_limit")


class MemoryLimiter:
    """Counts in this process: with several workers, each one allows that much.

    `limit` requests may come at once, and as many again in `seconds`. If there are
    too many `clients`, it forgets the quietest.
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
    """Counts in Redis, by its clock, for all workers and machines together."""

    def __init__(self, client: Any, limit: int, seconds: float) -> None:
        self.arguments = [seconds / limit, seconds]
        self._script = client.register_script(_SCRIPT)

    async def wait(self, key: str) -> float:
        """Return 0 or the seconds to wait; without Redis, all pass."""
        from redis.exceptions import RedisError

        try:
            return float(await self._script(keys=[f"rate:{key}"], args=self.arguments))
        except RedisError as error:
            _log.warning("no rate limit: %s", error)
            return 0.0


class RateLimit(HttpMiddleware):
    """Refuses with 429 what comes too often from one address to all `handlers`."""

    def __init__(
        self,
        limiter: MemoryLimiter | RedisLimiter,
        handlers: Collection[str],
        methods: Collection[str] = (),  # which count; without any, all do
    ) -> None:
        self.limiter = limiter
        self.handlers, self.methods = handlers, {*methods}
        if "GET" in methods:
            self.methods.add("HEAD")

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        is_counted = not self.methods or request.method in self.methods
        if is_counted and request.route_handler in self.handlers:
            wait = await self.limiter.wait(client_of(request))
            if wait:
                raise HTTPError(429, None, {"retry-after": str(math.ceil(wait))})


def client_of(request: Request) -> str:
    """Return the client's address, of IPv6 the network, which a customer has."""
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
