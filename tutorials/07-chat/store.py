"""The memory of the poll, an SQLite database in the folder data."""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

MESSAGES = 100  # that are kept
DATA = Path(os.environ.get("POLL_DATA", Path(__file__).parent / "data"))


@contextmanager
def database() -> Iterator[sqlite3.Connection]:
    """Open the database; keep the changes at the end, and none of them on an error."""
    with closing(sqlite3.connect(DATA / "poll.db")) as connection, connection:
        yield connection


def create_tables() -> None:
    """Make what is not there yet."""
    DATA.mkdir(parents=True, exist_ok=True)
    with database() as db:
        db.execute("PRAGMA journal_mode = WAL")  # readers need not wait for writers
        db.execute(
            "CREATE TABLE IF NOT EXISTS votes "
            "(voter TEXT PRIMARY KEY, pie TEXT NOT NULL)"
        )
        db.execute(
            "CREATE TABLE IF NOT EXISTS messages "
            "(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, text TEXT)"
        )


def count_votes() -> Counter[str]:
    """Return how many votes each pie has."""
    with database() as db:
        return Counter(dict(db.execute("SELECT pie, count(*) FROM votes GROUP BY pie")))


def vote_of(voter: str) -> str | None:
    """Return the pie that a voter has chosen."""
    with database() as db:
        row = db.execute("SELECT pie FROM votes WHERE voter = ?", (voter,)).fetchone()
        return row[0] if row else None


def set_vote(voter: str, pie: str) -> None:
    """Keep a vote, in place of an earlier one."""
    with database() as db:
        db.execute("INSERT OR REPLACE INTO votes VALUES (?, ?)", (voter, pie))


def add_message(name: str, text: str) -> None:
    """Keep a message, and delete the oldest ones."""
    with database() as db:
        db.execute("INSERT INTO messages (name, text) VALUES (?, ?)", (name, text))
        db.execute(
            "DELETE FROM messages WHERE id <= last_insert_rowid() - ?", (MESSAGES,)
        )


def messages_after(number: int) -> list[tuple[int, str, str]]:
    """Return the number, the name and the text of each message after that one."""
    with database() as db:
        return db.execute(
            "SELECT id, name, text FROM messages WHERE id > ? ORDER BY id", (number,)
        ).fetchall()
