"""Keeps the events in SQLite, as a queue that survives the end of the process."""

import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

LEASE = 60  # seconds after which an event that was taken can be taken again
MOST_TRIES = 5
FIRST_PAUSE = 2.0  # seconds to the second try; each later pause is twice as long
KEPT = 7 * 86_400  # seconds; longer than the time in which a sender sends again

TABLES = (
    "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, body TEXT,"
    " received REAL, state TEXT DEFAULT 'waiting', due REAL, tries INTEGER DEFAULT 0,"
    " error TEXT DEFAULT '')",
    "CREATE INDEX IF NOT EXISTS events_by_age ON events (received)",
    "CREATE INDEX IF NOT EXISTS events_by_state ON events (state, due)",
)
ADD = """INSERT INTO events (id, type, body, received, due) VALUES (?, ?, ?, ?, ?)
 ON CONFLICT DO NOTHING RETURNING id"""
GIVE_UP = """UPDATE events SET state = 'failed', error = 'The process ended.'
 WHERE state = 'waiting' AND due <= ? AND tries >= ?"""
TAKE = """UPDATE events SET due = ?, tries = tries + 1 WHERE id =
 (SELECT id FROM events WHERE state = 'waiting' AND due <= ? ORDER BY due LIMIT 1)
 RETURNING id, body, tries"""

LAST = """SELECT id, type, datetime(received, 'unixepoch'), state, tries, error
 FROM events ORDER BY received DESC LIMIT 100"""


class Events:
    """All events; each method can run in any thread, and in several processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with suppress(sqlite3.OperationalError):  # another process does it now
            self._run("PRAGMA journal_mode = WAL")
        for sql in TABLES:
            self._run(sql)

    def add(self, event_id: str, event_type: str, body: str) -> bool:
        """Add an event; return whether it is new."""
        now = time.time()
        self._run("DELETE FROM events WHERE received < ?", now - KEPT)
        return bool(self._run(ADD, event_id, event_type, body, now, now))

    def take(self) -> list[tuple[str, str, int]]:
        """Take the next event, if there is one: its id, its body, and the try's number.

        If it isn't finished in time, it comes again.
        """
        now = time.time()
        self._run(GIVE_UP, now, MOST_TRIES)
        return self._run(TAKE, now + LEASE, now)

    def finish(self, event_id: str, tries: int, error: str) -> None:
        """Note that an event is done, or has failed and is due again later."""
        given_up = tries >= MOST_TRIES
        state = "done" if not error else "failed" if given_up else "waiting"
        due = time.time() + FIRST_PAUSE * 2 ** (tries - 1)
        sql = "UPDATE events SET state = ?, due = ?, error = ? WHERE id = ?"
        self._run(sql, state, due, error, event_id)

    def last(self) -> list[dict[str, Any]]:
        """Return the last 100 events, newest first."""
        rows = self._run(LAST)
        names = ("id", "type", "received", "state", "tries", "error")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _run(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            return database.execute(sql, values).fetchall()
