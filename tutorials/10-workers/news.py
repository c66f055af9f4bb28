"""Wakes all tasks that wait for something new."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path


class News:
    """An alarm clock for many waiting tasks. Each ring wakes all of them."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def coming(self) -> asyncio.Event:
        """Return the event that the next `tell` sets; ask for it before you look."""
        return self._next

    def tell(self) -> None:
        """Wake all tasks that wait."""
        self._next.set()
        self._next = asyncio.Event()

    async def watch(self, path: Path) -> None:
        """Tell of changes by other processes, which SQLite counts in data_version."""
        with closing(sqlite3.connect(path)) as db:
            before = None
            while True:
                # Takes some millionths of a second.
                version = db.execute("PRAGMA data_version").fetchone()
                if version != before:
                    self.tell()
                before = version
                await asyncio.sleep(0.2)
