"""The example with sessions in Redis or PostgreSQL, and a handler of every kind that uses them.

Its folder is on the path of the server that runs it, as if this were a file beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import guarded_sessions  # type: ignore[import-not-found]  # of the example, as is app
from app import STORE, Root  # type: ignore[import-not-found]

from micropie import FromSession, WebSocket, event_stream

# On a busy machine a store that works might need more than the 1.2 seconds of the example.
LIMIT = 4.0
guarded_sessions.LIMIT = LIMIT
guarded_sessions._patience = ContextVar("_patience", default=LIMIT)


class Visits(Root):
    """Pages with and without a session; each path is a case of the tests."""

    async def ready(self) -> str:
        return "ready"

    # Without a session: these work, whatever has happened to the store.

    async def about(self) -> str:
        return "about"

    def about_def(self) -> str:
        return "about"

    async def news(self) -> Any:
        return event_stream(self._events("news"))

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))

    # These look at it.

    async def read(self) -> str:
        return str(self.request.session.get("visits", 0))

    def read_def(self) -> str:
        return str(self.request.session.get("visits", 0))

    async def bound(self, visits: FromSession) -> str:
        return str(visits)

    async def mine(self) -> Any:
        return event_stream(self._events(str(self.request.session.get("visits", 0))))

    async def ws_mine(self, ws: WebSocket) -> None:
        visits = self.request.session.get("visits", 0)
        await ws.accept()
        await ws.send_text(str(visits))

    async def ws_late(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(str(self.request.session.get("visits", 0)))

    # These change it.

    async def count(self) -> str:
        return self._counted()

    def count_def(self) -> str:
        return self._counted()

    async def counted_events(self) -> Any:
        return event_stream(self._events(self._counted()))

    async def ws_count(self, ws: WebSocket) -> None:
        """Saves the session when it ends, and then closes."""
        await ws.accept()
        await ws.receive_text()
        await ws.send_text(self._counted())

    def _counted(self) -> str:
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return str(session["visits"])

    async def _events(self, first: str) -> AsyncIterator[str]:
        yield first
        await asyncio.Event().wait()  # until the client leaves


app = Visits(STORE)
