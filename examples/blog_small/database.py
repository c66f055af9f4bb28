"""The SQLite database: connections, and the migrations that make its tables."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DATABASE = Path(os.environ.get("DATABASE", "data/blog.sqlite3"))
MIGRATIONS = sorted(Path(__file__).with_name("migrations").glob("*.sql"))


@contextmanager
def connected(*, write: bool = False) -> Iterator[sqlite3.Connection]:
    """Open a connection for one transaction; an error in it undoes its changes.

    Args:
        write: Whether to be the one writer from the start. Other writers wait then.
    """
    database = sqlite3.connect(DATABASE, timeout=30, isolation_level=None)
    database.row_factory = sqlite3.Row
    try:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN IMMEDIATE" if write else "BEGIN")
        yield database
        database.execute("COMMIT")
    finally:
        database.close()  # without a COMMIT, this is a ROLLBACK


def migrate() -> None:
    """Run the files in migrations/ that this database has not seen, in their order.

    PRAGMA user_version counts those that it has seen.
    """
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(DATABASE)
    # So readers don't wait for the writer. SQLite refuses while another worker does it.
    with suppress(sqlite3.OperationalError):
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    with connected(write=True) as database:
        [seen] = database.execute("PRAGMA user_version").fetchone()
        for path in MIGRATIONS[seen:]:
            for statement in _statements(path.read_text(encoding="utf-8")):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {max(seen, len(MIGRATIONS))}")


def _statements(script: str) -> Iterator[str]:
    statement = ""  # not executescript(), which would end the transaction
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
