"""Sessions in SQLite, so that a restart logs no visitor out."""

import asyncio
import hashlib
import json
import time
from collections.abc import Callable
from typing import Any

from micropie import SessionBackend

from database import connected

Data = dict[str, Any]


class SQLiteSessions(SessionBackend):
    """Keeps each session as a row; `update` also moves its expiry."""

    async def load(self, session_id: str) -> Data:
        """Return the data of a live session, ``{}`` if there is none."""
        return await asyncio.to_thread(_load, _hashed(session_id))

    async def save(self, session_id: str, data: Data, timeout: float) -> None:
        """Keep the data for `timeout` seconds from now; ``{}`` deletes the session."""
        await self.update(session_id, lambda _: data, timeout)

    async def update(
        self, session_id: str, change: Callable[[Data], Data], timeout: float
    ) -> None:
        """Store ``change(stored)`` in one transaction."""
        await asyncio.to_thread(_update, _hashed(session_id), change, timeout)


def _hashed(session_id: str) -> str:
    # A reader of the database finds no id to use.
    return hashlib.sha256(session_id.encode()).hexdigest()


def _load(key: str) -> Data:
    query = "SELECT data FROM sessions WHERE id_hash = ? AND expires > ?"
    with connected() as database:
        row = database.execute(query, (key, time.time())).fetchone()
    return json.loads(row["data"]) if row else {}


def _update(key: str, change: Callable[[Data], Data], timeout: float) -> None:
    now = time.time()
    with connected(write=True) as database:
        database.execute("DELETE FROM sessions WHERE expires <= ?", (now,))
        query = "DELETE FROM sessions WHERE id_hash = ? RETURNING data"
        row = database.execute(query, (key,)).fetchone()
        if data := change(json.loads(row["data"]) if row else {}):
            new = (key, json.dumps(data), now + timeout)
            database.execute("INSERT INTO sessions VALUES (?, ?, ?)", new)
