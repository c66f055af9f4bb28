"""Wakes all who wait for something new."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path


class News:
    """An alarm clock: many may wait for it, and each time it rings once for all of them."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def coming(self) -> asyncio.Event:
        """Return what the next `tell` will set: ask for it before you look at what there is."""
        return self._next

    def tell(self) -> None:
        """Wake all who wait."""
        self._next.set()
        self._next = asyncio.Event()

    async def watch(self, path: Path) -> None:
        """Tell what other processes have done in a database, for which SQLite has a number that changes then."""
        with closing(sqlite3.connect(path)) as db:
            before = None
            while True:
                version = db.execute(
                    "PRAGMA data_version"
                ).fetchone()  # takes some millionths of a second
                if version != before:
                    self.tell()
                before = version
                await asyncio.sleep(0.2)
