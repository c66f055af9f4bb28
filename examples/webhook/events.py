"""The events that came, in SQLite: a queue that survives the end of the process."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

LEASE = 60  # seconds after which an event that was taken can be taken again
MOST_TRIES = 5
FIRST_PAUSE = 2.0  # seconds to the second try; each later pause is twice as long
KEPT = 7 * 86_400  # seconds; longer than the time in which a sender sends again

TABLE = """CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, type TEXT, body TEXT,
 received REAL, state TEXT DEFAULT 'waiting', due REAL, tries INTEGER DEFAULT 0,
 error TEXT DEFAULT '')"""
TAKE = """UPDATE events SET due = ?, tries = tries + 1 WHERE id =
 (SELECT id FROM events WHERE state = 'waiting' AND due <= ? ORDER BY due LIMIT 1)
 RETURNING id, body, tries"""


class Event(NamedTuple):
    """An event that was taken out of the queue."""

    id: str
    body: str
    tries: int


class Events:
    """All events; each method can run in any thread, and in several processes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._run("PRAGMA journal_mode = WAL")
        self._run(TABLE)

    def add(self, event_id: str, event_type: str, body: str) -> bool:
        """Add an event; return whether it is new."""
        now = time.time()
        self._run("DELETE FROM events WHERE received < ?", now - KEPT)
        added = (
            "INSERT INTO events (id, type, body, received, due) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING RETURNING id"
        )
        return bool(self._run(added, event_id, event_type, body, now, now))

    def take(self) -> Event | None:
        """Take the next event. If it isn't finished in time, it comes again."""
        now = time.time()
        rows = self._run(TAKE, now + LEASE, now)
        return Event(*rows[0]) if rows else None

    def finish(self, event: Event, error: str) -> None:
        """Note that an event is done, or has failed and is due again later."""
        given_up = event.tries >= MOST_TRIES
        state = "done" if not error else "failed" if given_up else "waiting"
        due = time.time() + FIRST_PAUSE * 2 ** (event.tries - 1)
        sql = "UPDATE events SET state = ?, due = ?, error = ? WHERE id = ?"
        self._run(sql, state, due, error, event.id)

    def last(self) -> list[Any]:
        """Return the last 100 events, newest first."""
        columns = "id, type, datetime(received, 'unixepoch'), state, tries, error"
        return self._run(
            f"SELECT {columns} FROM events ORDER BY received DESC LIMIT 100"
        )

    def _run(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._path)) as database, database:
            return database.execute(sql, values).fetchall()
