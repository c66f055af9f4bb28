"""Sessions in the blog's database: workers share them, and a restart keeps them."""

import hashlib
import time
from typing import Any

from micropie import SessionBackend
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncEngine

from models import WebSession

_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def _hashed(session_id: str) -> str:
    # A reader of the database finds no id to use; and a key has 64 characters, however
    # long the cookie was.
    return hashlib.sha256(session_id.encode()).hexdigest()


class SQLSessionBackend(SessionBackend):
    """Keeps each session as one row.

    Args:
        engine: The engine of the database.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert = _INSERTS[engine.dialect.name]

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data of a live session, ``{}`` where there is none."""
        query = select(WebSession.data).where(
            WebSession.id_hash == _hashed(session_id), WebSession.expires > time.time()
        )
        async with self._engine.connect() as connection:
            return await connection.scalar(query) or {}

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep the data for `timeout` seconds; saving ``{}`` deletes the session."""
        key = _hashed(session_id)
        row = {"data": data, "expires": time.time() + timeout}
        insert = self._insert(WebSession).values(id_hash=key, **row)
        statement = insert.on_conflict_do_update(index_elements=["id_hash"], set_=row)
        async with self._engine.begin() as connection:
            await connection.execute(
                statement
                if data
                else delete(WebSession).where(WebSession.id_hash == key)
            )

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire `timeout` seconds from now."""
        now = time.time()
        statement = update(WebSession).where(
            WebSession.id_hash == _hashed(session_id), WebSession.expires > now
        )
        async with self._engine.begin() as connection:
            await connection.execute(statement.values(expires=now + timeout))

    async def delete_expired(self) -> None:
        """Delete the rows of sessions that have ended."""
        async with self._engine.begin() as connection:
            await connection.execute(
                delete(WebSession).where(WebSession.expires <= time.time())
            )
