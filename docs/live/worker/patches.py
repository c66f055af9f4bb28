"""Mends what works differently in Pyodide, so that an app runs there unchanged."""

from __future__ import annotations

import os
import sqlite3
from typing import Any
from urllib.parse import quote


def apply() -> None:
    """Mend all of it, once."""
    keep_index_in_memory()


def keep_index_in_memory() -> None:
    """Make sqlite3.connect() use SQLite's file system for databases that one process opens.

    With a write-ahead log, the usual one maps the log's index into memory. In Pyodide, each
    connection that does so leaves 128 KB that are never freed. The other one keeps the index in the
    heap. Locks among connections work as ever, because all of them are in this process.
    """
    real = sqlite3.connect

    def connect(database: Any, *args: Any, **named: Any) -> sqlite3.Connection:
        name = os.fspath(database)
        if isinstance(name, bytes) or name in ("", ":memory:") or named.get("uri"):
            return real(database, *args, **named)
        named["uri"] = True
        return real(f"file:{quote(name)}?vfs=unix-excl", *args, **named)

    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]
