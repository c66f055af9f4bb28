"""A guest book, written to be tested: test_app.py shows how."""

import asyncio
import html
from collections.abc import AsyncIterator
from typing import Any

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    ServerSentEvent,
    WebSocket,
    event_stream,
    methods,
)


class GuestBook(App):
    """Entries, a name in the session, a WebSocket, and a stream without an end."""

    def __init__(self) -> None:
        super().__init__(session_timeout=3600)
        self.entries: list[dict[str, str]] | None = None
        self.startup_handlers.append(self._open_book)
        self.shutdown_handlers.append(self._close_book)

    async def index(self) -> str:
        """Show all entries."""
        items = "".join(
            f"<li><b>{html.escape(item['name'])}</b> {html.escape(item['text'])}</li>"
            for item in self._book()
        )
        return (
            '<!doctype html><html lang="en"><title>Guest book</title>'
            f"<h1>Guest book</h1><ul>{items}</ul></html>"
        )

    @methods("POST")
    async def introduce(self, name: str) -> dict[str, str]:
        """Remember the name of the visitor, in a session with a new id."""
        self._want_json()
        self.request.regenerate_session()
        self.request.session["name"] = name
        return {"name": name}

    @methods("POST")
    async def sign(self, text: str, *, name: FromSession) -> tuple[int, dict[str, str]]:
        """Add an entry of a visitor whose name is known."""
        self._want_json()
        entry = {"name": name, "text": text}
        self._book().append(entry)
        return 201, entry

    async def ws_shout(self, ws: WebSocket) -> None:
        """Send every message back in capitals."""
        await ws.accept()
        async for message in ws:
            if message == "enough":
                await ws.close(4000, "as you wish")
                raise ConnectionClosed(4000)
            await ws.send_text(str(message).upper())

    async def numbers(self, pause: float = 0.05) -> Any:
        """Count for ever."""
        return event_stream(self._count(pause))

    async def _count(self, pause: float) -> AsyncIterator[ServerSentEvent]:
        number = 0
        while True:
            yield ServerSentEvent(str(number), id=str(number))
            number += 1
            await asyncio.sleep(pause)

    def _want_json(self) -> None:
        """Refuse what a form of another site could send: it cannot send JSON."""
        if (
            self.request.headers.get("content-type", "")
            .partition(";")[0]
            .strip()
            .lower()
            != "application/json"
        ):
            raise HTTPError(415, "Send application/json.")

    def _book(self) -> list[dict[str, str]]:
        """Return the entries; None means that the app was never started."""
        if self.entries is None:
            raise HTTPError(503, "The book is closed.")
        return self.entries

    async def _open_book(self) -> None:
        self.entries = []

    async def _close_book(self) -> None:
        self.entries = None


app = GuestBook()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
