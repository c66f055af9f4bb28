"""Sessions in the blog's database: workers share them, and a restart keeps them."""

import hashlib
import time
from collections.abc import Callable
from typing import Any

from micropie import SessionBackend
from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from models import WebSession

TRIES = 10
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
        async with self._engine.begin() as connection:
            await self._store(connection, _hashed(session_id), data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire `timeout` seconds from now."""
        now = time.time()
        statement = update(WebSession).where(
            WebSession.id_hash == _hashed(session_id), WebSession.expires > now
        )
        async with self._engine.begin() as connection:
            await connection.execute(statement.values(expires=now + timeout))

    async def update(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        timeout: float,
    ) -> None:
        """Store ``change(stored)`` in one transaction, for `timeout` seconds from now.

        Args:
            session_id: The session.
            change: Returns the new data, and can be called again. It gets ``{}`` if
                there is no such session, and returns ``{}`` to delete it.
            timeout: In seconds.

        Raises:
            RuntimeError: Others have deleted the row each time, before it was locked.
        """
        key = _hashed(session_id)
        for _ in range(TRIES):
            async with self._engine.connect() as connection:
                if self._engine.dialect.name == "sqlite":
                    await connection.exec_driver_sql("BEGIN IMMEDIATE")
                row = await self._locked(connection, key)
                if row is not None:
                    stored = row.data if row.expires > time.time() else {}
                    await self._store(connection, key, change(stored), timeout)
                    await connection.commit()
                    return
        raise RuntimeError(f"the session was deleted by others {TRIES} times in a row")

    async def _locked(self, connection: AsyncConnection, key: str) -> Any:
        """Lock the row of a session, and return it; without a session, an empty one.

        None if another transaction has just deleted it.
        """
        query = select(WebSession.data, WebSession.expires).where(
            WebSession.id_hash == key
        )
        query = query.with_for_update()  # SQLite has locked the whole database
        row = (await connection.execute(query)).first()
        if row is None:
            empty = self._insert(WebSession).values(id_hash=key, data={}, expires=0.0)
            await connection.execute(empty.on_conflict_do_nothing())
            row = (await connection.execute(query)).first()
        return row

    async def _store(
        self,
        connection: AsyncConnection,
        key: str,
        data: dict[str, Any],
        timeout: float,
    ) -> None:
        row = {"data": data, "expires": time.time() + timeout}
        insert = self._insert(WebSession).values(id_hash=key, **row)
        statement = insert.on_conflict_do_update(index_elements=["id_hash"], set_=row)
        if not data:
            statement = delete(WebSession).where(WebSession.id_hash == key)
        await connection.execute(statement)

    async def delete_expired(self) -> None:
        """Delete the rows of sessions that have ended."""
        async with self._engine.begin() as connection:
            await connection.execute(
                delete(WebSession).where(WebSession.expires <= time.time())
            )
