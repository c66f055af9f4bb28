"""The SQLite database, in the folder for all that must stay."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DATA = Path(os.environ.get("DATA", "data"))
DATABASE = DATA / "shop.sqlite3"
TABLES = """
CREATE TABLE IF NOT EXISTS files (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    size INTEGER NOT NULL,
    stored TEXT NOT NULL  -- the name of the file in uploads/
);
CREATE TABLE IF NOT EXISTS sessions (
    id_hash TEXT PRIMARY KEY,
    data TEXT NOT NULL,  -- JSON
    expires REAL NOT NULL  -- seconds since 1970
);
CREATE INDEX IF NOT EXISTS sessions_by_end ON sessions (expires);
"""


@contextmanager
def connected(*, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a connection for one transaction; an error in it undoes its changes.

    Args:
        write: Whether to be the one writer from the start. Other writers wait then.
    """
    database = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    database.row_factory = sqlite3.Row
    try:
        database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield database
        database.execute("COMMIT")
    finally:
        database.close()  # without a COMMIT, this is a ROLLBACK


def create() -> None:
    """Make the folders and the tables that are missing; several workers may at once."""
    (DATA / "uploads").mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(DATABASE, timeout=30)
    # So readers don't wait for the writer. SQLite refuses while another worker does it.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = WAL")
    database.executescript(TABLES)
    database.close()
