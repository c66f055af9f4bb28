"""The SQLite file, and the sessions in it. Any thread of any worker can open it."""

import asyncio
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from micropie import SessionBackend

Data = dict[str, Any]
Change = Callable[[Data], Data]

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "data" / "links.sqlite3"))
# Each one is run once, in order. Append to the list, and never change its entries.
MIGRATIONS = [
    # AUTOINCREMENT uses no id twice, so a new link gets no click of a deleted one.
    """CREATE TABLE links (id INTEGER PRIMARY KEY AUTOINCREMENT,
        alias TEXT NOT NULL UNIQUE, target TEXT NOT NULL, owner TEXT NOT NULL,
        created REAL NOT NULL, expires REAL)""",
    "CREATE INDEX links_by_owner ON links (owner)",
    "CREATE INDEX links_by_end ON links (expires)",
    """CREATE TABLE clicks (link_id INTEGER REFERENCES links ON DELETE CASCADE,
        day TEXT, count INTEGER NOT NULL, PRIMARY KEY (link_id, day)) WITHOUT ROWID""",
    "CREATE TABLE sessions (id_hash TEXT PRIMARY KEY, data TEXT, expires REAL)",
    "CREATE INDEX sessions_by_end ON sessions (expires)",
]


@contextmanager
def connected(*, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction, as the one writer or as a reader."""
    database = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    database.row_factory = sqlite3.Row
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("PRAGMA synchronous = NORMAL")  # safe with WAL, and faster
        database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield database
        database.execute("COMMIT")
    finally:
        database.close()  # without a COMMIT, this is a ROLLBACK


def migrate() -> None:
    """Bring the tables up to date; SQLite keeps the number of the last migration."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    # So readers don't wait for a writer. SQLite refuses while another worker does it.
    with closing(sqlite3.connect(DATABASE)) as db, suppress(sqlite3.OperationalError):
        db.execute("PRAGMA journal_mode = WAL")
    with connected(write=True) as database:  # other workers wait here, and find it done
        [version] = database.execute("PRAGMA user_version").fetchone()
        for number, statement in enumerate(MIGRATIONS[version:], version + 1):
            database.execute(statement)
            database.execute(f"PRAGMA user_version = {number}")


class SQLiteSessions(SessionBackend):
    """Keeps each session as a row, for all workers; `update` also moves its expiry."""

    async def load(self, session_id: str) -> Data:
        """Return the data of a live session, ``{}`` if there is none."""
        return await asyncio.to_thread(_load, _hashed(session_id))

    async def save(self, session_id: str, data: Data, timeout: float) -> None:
        """Keep the data for `timeout` seconds from now; ``{}`` deletes the session."""
        await self.update(session_id, lambda _: data, timeout)

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
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


def _update(key: str, change: Change, timeout: float) -> None:
    with connected(write=True) as database:
        database.execute("DELETE FROM sessions WHERE expires <= ?", (time.time(),))
        query = "DELETE FROM sessions WHERE id_hash = ? RETURNING data"
        row = database.execute(query, (key,)).fetchone()
        if data := change(json.loads(row["data"]) if row else {}):
            query = "INSERT INTO sessions VALUES (?, ?, ?)"
            database.execute(query, (key, json.dumps(data), time.time() + timeout))
