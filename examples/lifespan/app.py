"""Startup and shutdown, with a pool of connections that is open while the app runs."""

import asyncio
import logging
import os
from typing import Any

from micropie import App, HTTPError, methods

from pool import Pool, PoolError

_log = logging.getLogger("uvicorn.error")

SCHEMA = """
CREATE TABLE IF NOT EXISTS books (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL UNIQUE,
    copies INTEGER NOT NULL CHECK (copies >= 0)
) STRICT
"""


class Root(App):
    """A shelf of books."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._pool = Pool(path)
        # In this order. If one fails, the app doesn't serve.
        self.startup_handlers += [self._open_pool, self._create_tables]
        self.shutdown_handlers += [self._close_pool]

    async def _open_pool(self) -> None:
        # In a thread: startup handlers run on the event loop, plain ones too.
        await asyncio.to_thread(self._pool.open)
        _log.info("opened %d connections to %s", self._pool.size, self._pool.path)

    def _create_tables(self) -> None:
        with self._pool.transaction() as connection:
            connection.execute(SCHEMA)

    async def _close_pool(self) -> None:
        await asyncio.to_thread(self._pool.close)
        _log.info("closed %d connections", self._pool.size)

    def index(self) -> list[dict[str, Any]]:
        """List the books."""
        with self._pool.connection() as connection:
            rows = connection.execute("SELECT * FROM books ORDER BY title LIMIT 1000")
            return [dict(row) for row in rows]

    @methods("POST")
    def add(self, title: str, copies: int = 1) -> tuple[int, dict[str, Any]]:
        """Add copies of a book, a new one or one that is there."""
        if not 0 < len(title) <= 200 or not 0 < copies <= 1000:
            raise HTTPError(400, {"error": "1 to 200 characters, and 1 to 1000 copies"})
        with self._pool.transaction() as connection:
            [row] = connection.execute(
                "INSERT INTO books (title, copies) VALUES (?, ?) "
                "ON CONFLICT (title) DO UPDATE SET copies = copies + excluded.copies "
                "RETURNING *",
                (title, copies),
            ).fetchall()
        return 201, dict(row)

    @methods("POST")
    def lend(self, book_id: int, /, copies: int = 1) -> dict[str, Any]:
        """Give copies away, never more than there are."""
        if copies < 1:
            raise HTTPError(400, {"error": "at least 1 copy"})
        with self._pool.transaction() as connection:
            rows = connection.execute(
                "UPDATE books SET copies = copies - ? WHERE id = ? AND copies >= ? "
                "RETURNING *",
                (copies, book_id, copies),
            ).fetchall()
        if not rows:
            raise HTTPError(409, {"error": "there are not that many copies"})
        return dict(rows[0])

    def health(self) -> tuple[int, dict[str, str]]:
        """Answer a load balancer: 503 while no connection is free."""
        try:
            with self._pool.connection() as connection:
                connection.execute("SELECT 1")
        except PoolError as error:
            return 503, {"status": str(error)}
        return 200, {"status": "ok"}


app = Root(os.environ.get("DATABASE", "data/books.sqlite3"))

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
