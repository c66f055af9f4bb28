"""The todos are in a SQLite file. Each use opens it, so any thread can do so."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "data" / "todos.sqlite3"))
# Each one is run once, in order. Append to the list, and never change what is in it.
MIGRATIONS = [
    "CREATE TABLE todos (id INTEGER PRIMARY KEY, title TEXT, done INTEGER DEFAULT 0)",
]


@contextlib.contextmanager
def connected() -> Iterator[sqlite3.Connection]:
    """Open the file for one transaction, which an exception rolls back."""
    connection = sqlite3.connect(DATABASE, timeout=10)
    connection.row_factory = sqlite3.Row
    with contextlib.closing(connection), connection:
        yield connection


def migrate() -> None:
    """Bring the tables up to date; SQLite keeps the number of the last migration."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with connected() as db:
        db.execute("BEGIN IMMEDIATE")  # other workers wait here, and find it done
        [version] = db.execute("PRAGMA user_version").fetchone()
        for number, statement in enumerate(MIGRATIONS[version:], version + 1):
            db.execute(statement)
            db.execute(f"PRAGMA user_version = {number}")
