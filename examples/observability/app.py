"""A shop whose operator sees what it does: logs, metrics, traces, errors, health."""

import asyncio
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import structlog
from micropie import HTTPError, WebSocket, event_stream

import errors
import logs
import metrics
import tracing
from health import Health
from watch import Observer, Watch

DATABASE = Path(os.environ.get("DATABASE", "data/app.sqlite3"))

log = structlog.get_logger()


class Shop(Health, metrics.Metrics):
    """Handlers that answer in all the ways that an operator meets."""

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(create_table)
        # The first is the outermost. A line is written while the span is open, if any.
        self.observers: list[Observer] = [logs.line, metrics.count]
        self._watch = Watch(super().__call__, self.observers)
        self.shutdown_handlers.append(self._watch.finish)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a connection; the app stays an App, which others can mount."""
        await self._watch(scope, receive, send)

    async def index(self) -> str:
        """Show a page with a button for each handler."""
        root = self.request.scope.get("root_path", "")
        return await self._render_template("index.html", root=root)

    def price(self, pie: str = "apple") -> dict[str, Any]:
        """Answer fast; this runs in a worker thread."""
        with tracing.tracer.start_as_current_span("query"), connected() as connection:
            query = "SELECT cents FROM pies WHERE name = ?"
            found = connection.execute(query, (pie,)).fetchone()
        if found is None:
            raise HTTPError(404)
        log.info("a price is asked", pie=pie)
        return {"pie": pie, "cents": found[0]}

    async def slow(self) -> dict[str, str]:
        """Answer after more than SLOW_SECONDS."""
        await asyncio.sleep(logs.SLOW_SECONDS + 0.2)
        return {"pie": "done"}

    async def broken(self) -> None:
        """Fail."""
        raise RuntimeError("the oven is cold")

    async def events(self) -> Any:
        """Send the time each second, for as long as the client listens."""
        return event_stream(ticks())

    async def ws_echo(self, socket: WebSocket) -> None:
        """Send back what comes."""
        await socket.accept()
        async for message in socket:
            await socket.send_text(str(message))

    def _check(self) -> None:
        with connected() as connection:
            connection.execute("SELECT count(*) FROM pies")


async def ticks() -> AsyncIterator[str]:
    """Yield the time, each second."""
    while True:
        yield time.strftime("%H:%M:%S", time.gmtime())
        await asyncio.sleep(1)


def connected() -> closing[sqlite3.Connection]:
    """Connect to the database; the connection is closed at the end of the block."""
    return closing(sqlite3.connect(DATABASE, timeout=2))


def create_table() -> None:
    """Make what is missing."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    with connected() as connection:
        connection.executescript(
            "CREATE TABLE IF NOT EXISTS pies (name TEXT PRIMARY KEY, cents INTEGER);"
            "INSERT OR IGNORE INTO pies VALUES ('apple', 350), ('plum', 400);"
        )


logs.configure(tracing.add_trace_id)
app = Shop()
# Neither has a default: nothing leaves this machine unless you say where to.
if {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER"} & os.environ.keys():
    tracing.configure()
    app.observers.insert(0, tracing.span)
    app.shutdown_handlers.append(tracing.flush)
if "SENTRY_DSN" in os.environ:
    errors.configure()
    app.observers.insert(0, errors.scope)
    app.shutdown_handlers.append(errors.flush)

if __name__ == "__main__":
    import uvicorn

    # Without a configuration, uvicorn leaves the logging to logs.py.
    uvicorn.run(app, log_config=None, timeout_graceful_shutdown=5)
