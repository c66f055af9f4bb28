"""Streaming: text bit by bit, a CSV export in constant memory, a video in ranges."""

import asyncio
import csv
import io
import os
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, methods

from ranges import ranged_file

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "data" / "orders.sqlite3"))
POEM = (HERE / "poem.txt").read_text(encoding="utf-8").splitlines(keepends=True)
PIES = ("apple", "cherry", "plum")
# Without nosniff, browsers wait for enough bytes to guess a type.
TEXT = {
    "content-type": "text/plain; charset=utf-8",
    "x-content-type-options": "nosniff",
}
SAVED = 'attachment; filename="orders.csv"'
CSV = {"content-type": "text/csv; charset=utf-8", "content-disposition": SAVED}


def fill_database() -> None:
    """Make a table that is too long to have it in memory as a whole."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(DATABASE)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS orders"
            " (id INTEGER PRIMARY KEY, customer TEXT, pie TEXT, cents INTEGER)"
        )
        rows = (
            (number, f"Customer {number % 997}", PIES[number % 3], 400 + number % 150)
            for number in range(1, 100_001)
        )
        database.executemany("INSERT OR IGNORE INTO orders VALUES (?, ?, ?, ?)", rows)


def csv_lines() -> Iterator[str]:
    """Yield the table as CSV, a thousand rows at a time.

    MicroPie runs each step of this plain generator in a thread. It closes the
    generator, and so the connection, when the client leaves.
    """
    # Each step might run in another thread, but never two at once.
    with closing(sqlite3.connect(DATABASE, check_same_thread=False)) as database:
        cursor = database.execute(
            "SELECT id, customer, pie, cents / 100.0 FROM orders ORDER BY id"
        )
        rows: list[tuple[Any, ...]] = [("id", "customer", "pie", "euros")]
        while rows:
            text = io.StringIO()
            csv.writer(text).writerows(rows)
            yield text.getvalue()
            rows = cursor.fetchmany(1000)


class Streams(App):
    """Responses that are sent while they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self.startup_handlers.append(fill_database)

    async def index(self) -> str:
        """Show all of them on one page."""
        return await self._render_template("index.html")

    @methods("GET")
    async def poem(self, pause: float = 0.2) -> Any:
        """Send a text line by line."""
        if not 0 <= pause <= 2:
            raise HTTPError(400, "A pause is from 0 to 2 seconds.")
        return 200, self._lines(pause), TEXT

    async def _lines(self, pause: float) -> AsyncIterator[str]:
        for line in POEM:
            yield line
            await asyncio.sleep(pause)

    @methods("GET")
    async def export(self) -> Any:
        """Send the whole table as a file to save."""
        return 200, csv_lines(), CSV

    @methods("GET")
    def video(self) -> Any:
        """Send the film, or the part that the browser asks for to jump ahead."""
        return ranged_file(self.request, HERE / "video.webm", "video/webm")

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Streams()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
