"""The accounts and the refresh tokens, in SQLite."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "data" / "accounts.sqlite3"))
SCHEMA = """
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,  -- no id twice, since old tokens name it
    username TEXT NOT NULL UNIQUE, password TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS refresh_tokens (
    hash TEXT PRIMARY KEY,
    family TEXT NOT NULL,  -- the tokens that stem from one login
    user_id INTEGER NOT NULL REFERENCES users,
    expires INTEGER NOT NULL,
    used INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS family ON refresh_tokens (family);
"""


@contextmanager
def transaction() -> Iterator[sqlite3.Connection]:
    """Open a connection; an exception takes back its changes."""
    with closing(sqlite3.connect(DATABASE)) as connection, connection:
        yield connection


def create_tables() -> None:
    """Create what isn't there yet, the folder too."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with transaction() as connection:
        connection.executescript(SCHEMA)
