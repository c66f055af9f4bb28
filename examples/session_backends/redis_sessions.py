"""Sessions in Redis or Valkey. Copy this file beside your app."""

import hashlib
import json
from typing import Any

from micropie import SessionBackend
from redis.asyncio import Redis


class RedisSessionBackend(SessionBackend):
    """Keeps each session as JSON under a key that expires with it.

    Args:
        client: A client; close it when the app shuts down.
        prefix: What all keys begin with.
    """

    def __init__(self, client: Redis, prefix: str = "session:") -> None:
        self.client = client
        self.prefix = prefix

    def _key(self, session_id: str) -> str:
        # Who reads the database finds no id to use; and a key has 64 characters,
        # however long the cookie was.
        return self.prefix + hashlib.sha256(session_id.encode()).hexdigest()

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a live session, ``{}`` where there is none."""
        found = await self.client.get(self._key(session_id))
        return json.loads(found) if found else {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep the data for `timeout` seconds from now; ``{}`` deletes the session."""
        key = self._key(session_id)
        if data:
            await self.client.set(key, json.dumps(data), px=int(timeout * 1000))
        else:
            await self.client.delete(key)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire `timeout` seconds from now."""
        await self.client.pexpire(self._key(session_id), int(timeout * 1000))
