"""Sessions in Redis or Valkey. Copy this file beside your app."""

import asyncio
import hashlib
import json
import random
import secrets
from collections.abc import Callable
from typing import Any

from micropie import SessionBackend
from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

Change = Callable[[dict[str, Any]], dict[str, Any]]
TRIES = 10
LOCKED = 0.5  # seconds: how long a process that has died keeps the others waiting

# Gives the lock back, and replaces a value if it is still the same. "" means none.
_SWAP = """
if redis.call('GET', KEYS[2]) == ARGV[4] then redis.call('DEL', KEYS[2]) end
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return 1
"""


def make_client(url: str) -> Redis:
    """Return a client for a URL, ``redis://:password@host:6379/0`` for example.

    If Redis does not answer within five seconds, a command fails. If a connection turns
    out to be closed, as all are when Redis has restarted, it is tried once more.
    """
    return Redis.from_url(
        url,
        socket_timeout=5,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
    )


class RedisSessionBackend(SessionBackend):
    """Keeps each session as JSON under a key that expires with it.

    Args:
        client: A client; close it when the app shuts down.
        prefix: What all keys begin with.
    """

    def __init__(self, client: Redis, prefix: str = "session:") -> None:
        self.client = client
        self.prefix = prefix
        self._swap = client.register_script(_SWAP)

    def _key(self, session_id: str) -> str:
        # A reader of the database finds no id to use, and each key has 64 characters.
        return self.prefix + hashlib.sha256(session_id.encode()).hexdigest()

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a live session, ``{}`` if there is none."""
        found = await self.client.get(self._key(session_id))
        return json.loads(found) if found else {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep the data for `timeout` seconds from now; ``{}`` deletes the session."""
        key = self._key(session_id)
        if data:
            await self.client.set(key, json.dumps(data), px=_milliseconds(timeout))
        else:
            await self.client.delete(key)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire `timeout` seconds from now."""
        await self.client.pexpire(self._key(session_id), _milliseconds(timeout))

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
        """Store ``change(stored)`` in one atomic step, for `timeout` seconds from now.

        The swap alone makes it atomic. The lock lets one writer after the other try, or
        those that are farther from Redis would lose each race.

        Raises:
            RuntimeError: Others, who take no lock, have changed the session each time.
        """
        key = self._key(session_id)
        lock, token = f"lock:{{{key}}}", secrets.token_hex(16)
        for _ in range(TRIES):
            found = await self._locked(key, lock, token)
            try:
                data = change(json.loads(found) if found else {})
                new = json.dumps(data) if data else ""
            except BaseException:
                await self.client.delete(lock)
                raise
            arguments = [found or "", new, _milliseconds(timeout), token]
            if await self._swap(keys=[key, lock], args=arguments):
                return
        raise RuntimeError(f"the session was changed by others {TRIES} times in a row")

    async def _locked(self, key: str, lock: str, token: str) -> Any:
        """Take the lock of a session; return its value."""
        pause = 0.0005  # seconds
        while True:
            async with self.client.pipeline(transaction=True) as pipe:
                pipe.set(lock, token, nx=True, px=_milliseconds(LOCKED)).get(key)
                taken, found = await pipe.execute()
            if taken:
                return found
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, 0.005)


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))  # Redis refuses 0
