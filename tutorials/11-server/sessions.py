"""Sessions in SQLite: all workers know them, and a restart ends none."""

import asyncio
import hashlib
import json
import sqlite3
import time
from collections.abc import Callable
from typing import Any

from micropie import SessionBackend

from store import database

NAME = "sessions.db"  # a file of its own, so that sessions are no news to the poll


def hidden(session_id: str) -> str:
    """Return an id's stand-in, with which a reader of the database cannot come in."""
    return hashlib.sha256(session_id.encode()).hexdigest()


def read(db: sqlite3.Connection, key: str) -> dict[str, Any]:
    """Return a session that has not ended, or `{}` if there is none."""
    found = db.execute(
        "SELECT data FROM sessions WHERE id = ? AND ends > ?", (key, time.time())
    )
    row = found.fetchone()
    return json.loads(row[0]) if row else {}


def write(
    db: sqlite3.Connection, key: str, data: dict[str, Any], timeout: float
) -> None:
    """Put a session in the place of the one before; an empty one is deleted."""
    db.execute("DELETE FROM sessions WHERE id = ? OR ends < ?", (key, time.time()))
    if data:
        db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?)",
            (key, json.dumps(data), time.time() + timeout),
        )


class SQLiteSessions(SessionBackend):
    """Keeps each session until the time that it ends."""

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return a session, or `{}` if there is none."""
        return await asyncio.to_thread(self._load, hidden(session_id))

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        """Keep a session for `timeout` seconds; an empty one is deleted."""
        await asyncio.to_thread(self._save, hidden(session_id), data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        """Keep a session that has not changed for `timeout` seconds more."""
        await asyncio.to_thread(self._touch, hidden(session_id), timeout)

    async def update(
        self,
        session_id: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        timeout: float,
    ) -> None:
        """Store what `change` makes of a session, in one step."""
        await asyncio.to_thread(self._update, hidden(session_id), change, timeout)

    def _load(self, key: str) -> dict[str, Any]:
        with database(NAME) as db:
            return read(db, key)

    def _save(self, key: str, data: dict[str, Any], timeout: float) -> None:
        with database(NAME) as db:
            write(db, key, data, timeout)

    def _update(
        self,
        key: str,
        change: Callable[[dict[str, Any]], dict[str, Any]],
        timeout: float,
    ) -> None:
        with database(NAME) as db:
            db.execute("BEGIN IMMEDIATE")  # other writers wait until the end
            write(db, key, change(read(db, key)), timeout)

    def _touch(self, key: str, timeout: float) -> None:
        with database(NAME) as db:
            now = time.time()
            db.execute(
                "UPDATE sessions SET ends = ? WHERE id = ? AND ends > ?",
                (now + timeout, key, now),
            )
