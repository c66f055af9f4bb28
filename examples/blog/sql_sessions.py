"""Sessions in SQLite or PostgreSQL, through SQLAlchemy's async engine.

Copy this file beside your app.
"""

import contextlib
import hashlib
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from micropie import SessionBackend
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

metadata = sa.MetaData()
sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id_hash", sa.String(64), primary_key=True),
    sa.Column("data", sa.JSON, nullable=False),
    sa.Column("expires", sa.Double, nullable=False, index=True),  # seconds since 1970
)

Data = dict[str, Any]
Change = Callable[[Data], Data]
TRIES = 10

# Of workers that start together, one creates tables and the others wait for it.
_LOCKS = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "SELECT pg_advisory_xact_lock(7629)",
}


def make_engine(url: str) -> AsyncEngine:
    """Return an engine for a URL.

    Args:
        url: ``sqlite+aiosqlite:///sessions.db``, or
            ``postgresql+asyncpg://user@host/database``.
    """
    # SQLite has one writer at a time: the others wait, 30 seconds at most.
    options = {"timeout": 30} if url.startswith("sqlite") else {}
    engine = create_async_engine(url, pool_pre_ping=True, connect_args=options)
    if engine.dialect.name == "sqlite":

        @sa.event.listens_for(engine.sync_engine, "connect")
        def _set_up(connection: Any, _: object) -> None:
            connection.execute("PRAGMA synchronous = NORMAL").close()
            # So readers do not wait for the writer. While others work, SQLite refuses.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL").close()

    return engine


async def create_tables(engine: AsyncEngine, tables: sa.MetaData) -> None:
    """Create the tables that do not exist yet."""
    async with engine.begin() as connection:
        await connection.exec_driver_sql(_LOCKS[engine.dialect.name])
        await connection.run_sync(tables.create_all)


def _hashed(session_id: str) -> str:
    # A reader of the database finds no id to use, and each key has 64 characters.
    return hashlib.sha256(session_id.encode()).hexdigest()


class SQLSessionBackend(SessionBackend):
    """Keeps each session as one row of the table ``sessions``.

    Args:
        engine: What `make_engine` returns; dispose of it when the app shuts down.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        inserts = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
        self._insert: Any = inserts[engine.dialect.name]

    async def create_table(self) -> None:
        """Create the table if it does not exist yet."""
        await create_tables(self.engine, metadata)

    async def load(self, session_id: str) -> Data:
        """Return the data of a live session, ``{}`` if there is none."""
        query = sa.select(sessions.c.data).where(
            sessions.c.id_hash == _hashed(session_id), sessions.c.expires > time.time()
        )
        async with self.engine.connect() as connection:
            return await connection.scalar(query) or {}

    async def save(self, session_id: str, data: Data, timeout: float) -> None:
        """Keep the data for `timeout` seconds from now; ``{}`` deletes the session."""
        async with self.engine.begin() as connection:
            await self._store(connection, _hashed(session_id), data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Let a live session expire `timeout` seconds from now."""
        statement = sa.update(sessions).where(
            sessions.c.id_hash == _hashed(session_id), sessions.c.expires > time.time()
        )
        statement = statement.values(expires=time.time() + timeout)
        async with self.engine.begin() as connection:
            await connection.execute(statement)

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
        """Store ``change(stored)`` in one transaction, for `timeout` seconds from now.

        Raises:
            RuntimeError: Others have deleted the row each time, before it was locked.
        """
        key = _hashed(session_id)
        for _ in range(TRIES):
            async with self.engine.connect() as connection:
                if self.engine.dialect.name == "sqlite":
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
        query = sa.select(sessions.c.data, sessions.c.expires)
        # SQLite has no such lock; it has locked the whole database.
        query = query.where(sessions.c.id_hash == key).with_for_update()
        row = (await connection.execute(query)).first()
        if row is None:
            empty = self._insert(sessions).values(id_hash=key, data={}, expires=0.0)
            await connection.execute(empty.on_conflict_do_nothing())
            row = (await connection.execute(query)).first()
        return row

    async def _store(
        self, connection: AsyncConnection, key: str, data: Data, timeout: float
    ) -> None:
        row = {"data": data, "expires": time.time() + timeout}
        insert = self._insert(sessions).values(id_hash=key, **row)
        statement = insert.on_conflict_do_update(index_elements=["id_hash"], set_=row)
        if not data:
            statement = sa.delete(sessions).where(sessions.c.id_hash == key)
        await connection.execute(statement)

    async def delete_expired(self) -> int:
        """Delete the rows of sessions that have ended; return how many there were."""
        statement = sa.delete(sessions).where(sessions.c.expires <= time.time())
        async with self.engine.begin() as connection:
            result = await connection.execute(statement)
        return result.rowcount
