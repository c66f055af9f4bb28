"""A pool of SQLite connections, with the standard library alone.

Copy this file beside your app.
"""

import contextlib
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path


class PoolError(Exception):
    """No connection was free in time."""


class Pool:
    """A few connections for plain handlers, which run in threads.

    Args:
        path: The database file.
        size: How many connections there are.
        timeout: Seconds to wait for a free one, and for the database while another
            connection writes.
    """

    def __init__(self, path: str, size: int = 5, timeout: float = 5.0) -> None:
        self.path = path
        self.size = size
        self.timeout = timeout
        self._free: queue.Queue[sqlite3.Connection] = queue.Queue()
        self._opened = 0

    def open(self) -> None:
        """Open all connections, or raise sqlite3.OperationalError."""
        Path(self.path).parent.mkdir(exist_ok=True)
        for _ in range(self.size):
            # In this mode, a transaction starts only if `transaction` says so.
            connection = sqlite3.connect(
                self.path,
                timeout=self.timeout,
                isolation_level=None,
                check_same_thread=False,
            )
            self._opened += 1
            self._free.put(connection)
            connection.row_factory = sqlite3.Row
            # So readers do not wait for the writer. While others work, SQLite refuses.
            with contextlib.suppress(sqlite3.OperationalError):
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close all connections that were opened, each when it is free."""
        while self._opened:
            self._take().close()
            self._opened -= 1

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection, or raise PoolError if none is free in time."""
        connection = self._take()
        try:
            yield connection
        finally:
            self._free.put(connection)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for a transaction; an exception undoes all of it."""
        with self.connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite ends it itself if a disk is full
                    connection.execute("ROLLBACK")
                raise

    def _take(self) -> sqlite3.Connection:
        try:
            return self._free.get(timeout=self.timeout)
        except queue.Empty:
            raise PoolError(
                f"no connection was free for {self.timeout} seconds"
            ) from None
