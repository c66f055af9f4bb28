"""Streaming: text bit by bit, a CSV export in constant memory, a video in ranges."""

import asyncio
import contextlib
import csv
import io
import os
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, methods

from conditions import http_date, precondition, range_applies

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "orders.sqlite3"))
ROWS = int(os.environ.get("ROWS", 100_000))
VIDEO = HERE / "video.webm"
CHUNK = 2**16
RANGE = re.compile(
    r"bytes=(?:(\d{1,4000})-(\d{1,4000})?|-(\d{1,4000}))", re.ASCII | re.I
)


def fill_database() -> None:
    """Make a table that nobody would want to have in memory as a whole."""
    with contextlib.closing(sqlite3.connect(DATABASE)) as database, database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS orders "
            "(id INTEGER PRIMARY KEY, customer TEXT, pie TEXT, cents INT)"
        )
        [(there,)] = database.execute("SELECT count(*) FROM orders")
        pies = ("apple", "cherry", "plum")
        rows = (
            (n, f"Customer {n % 997}", pies[n % 3], 400 + n % 150)
            for n in range(there + 1, ROWS + 1)
        )
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)


def csv_lines() -> Iterator[bytes]:
    """Yield the table as CSV, a thousand rows at a time.

    MicroPie runs each step of this plain generator in a thread, so a slow database
    stops no other request. It closes the generator, and so the connection, when the
    client leaves.
    """
    # Two threads never use the connection at once, but each step may be another
    # thread's.
    with contextlib.closing(
        sqlite3.connect(DATABASE, check_same_thread=False)
    ) as database:
        cursor = database.execute(
            "SELECT id, customer, pie, cents / 100.0 FROM orders ORDER BY id"
        )
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerow(["id", "customer", "pie", "euros"])
        while rows := cursor.fetchmany(1000):
            writer.writerows(rows)
            yield text.getvalue().encode()
            text.seek(0)
            text.truncate()


def version_of(status: os.stat_result) -> str:
    """Return an ``ETag`` that changes with a file."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def file_chunks(path: Path, version: str, start: int, length: int) -> Iterator[bytes]:
    """Yield a part of one version of a file.

    Raises:
        RuntimeError: The file has been replaced since its headers were made.
    """
    with path.open("rb") as file:
        if version_of(os.fstat(file.fileno())) != version:
            raise RuntimeError(f"{path} has been replaced")
        file.seek(start)
        while length > 0 and (chunk := file.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk


def requested_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the first and last byte of a ``Range`` header (RFC 9110 section 14.1.2).

    Several ranges, and what is no range of bytes, may be ignored: None stands for the
    whole.

    Raises:
        HTTPError: 416, nothing of it is there.
    """
    match = RANGE.fullmatch(header.replace(" ", ""))
    if match is None:
        return None
    first, last, suffix = (
        None if group is None else int(group) for group in match.groups()
    )
    if first is None:
        start, end = max(size - (suffix or 0), 0), size - 1
    else:
        start, end = first, size - 1 if last is None else min(last, size - 1)
    if last is not None and first is not None and last < first:
        return None
    if start >= size or suffix == 0:
        raise HTTPError(416, headers={"content-range": f"bytes */{size}"})
    return start, end


class Streams(App):
    """Responses that are sent while they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(lambda: asyncio.to_thread(fill_database))

    async def index(self) -> str:
        """Show all of them on one page."""
        return await self._render_template(
            "index.html", base=self.request.scope.get("root_path", "")
        )

    @methods("GET")
    async def poem(
        self, pause: float = 0.2
    ) -> tuple[int, AsyncIterator[str], dict[str, str]]:
        """Send a text line by line."""
        if not 0 <= pause <= 2:
            raise HTTPError(400, "A pause is from 0 to 2 seconds.")
        # Without nosniff, browsers wait for enough bytes to guess a type.
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "x-content-type-options": "nosniff",
        }
        return 200, self._lines(pause), headers

    async def _lines(self, pause: float) -> AsyncIterator[str]:
        for line in (
            (HERE / "poem.txt").read_text(encoding="utf-8").splitlines(keepends=True)
        ):
            yield line
            await asyncio.sleep(pause)

    @methods("GET")
    async def export(self) -> tuple[int, Iterator[bytes], dict[str, str]]:
        """Send the whole table as a file to save."""
        headers = {
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": 'attachment; filename="orders.csv"',
            "x-accel-buffering": "no",
        }
        return 200, csv_lines(), headers

    @methods("GET")
    async def video(self) -> Any:
        """Send the film, or the part that the browser asks for to jump ahead."""
        status = VIDEO.stat()
        size, tag = status.st_size, version_of(status)
        changed = datetime.fromtimestamp(status.st_mtime, UTC)
        headers = {"etag": tag, "last-modified": http_date(changed)}
        refusal = precondition(self.request, tag, changed)
        if refusal is not None:
            return refusal, None, headers
        headers |= {"accept-ranges": "bytes", "content-type": "video/webm"}
        wanted = None
        if range_applies(self.request, tag, changed):
            wanted = requested_range(self.request.headers["range"], size)
        start, end = wanted or (0, size - 1)
        headers["content-length"] = str(end - start + 1)
        if wanted is not None:
            headers["content-range"] = f"bytes {start}-{end}/{size}"
        chunks = file_chunks(VIDEO, tag, start, end - start + 1)
        return 206 if wanted else 200, chunks, headers


app = Streams()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
