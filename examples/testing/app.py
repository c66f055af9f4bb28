"""A guest book, written to be tested: test_app.py shows how."""

import asyncio
import html
from collections.abc import AsyncIterator
from typing import Any

from micropie import (
    App,
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

    async def index(self) -> str:
        """Show all entries."""
        items = "".join(
            f"<li><b>{html.escape(entry['name'])}</b> {html.escape(entry['text'])}</li>"
            for entry in self._book()
        )
        head = '<!doctype html><html lang="en"><title>Guest book</title>'
        return f"{head}<h1>Guest book</h1><ul>{items}</ul></html>"

    @methods("POST")
    async def introduce(self, name: str) -> dict[str, str]:
        """Remember the name of the visitor, in a session with a new id."""
        if not 0 < len(name) <= 40:
            raise HTTPError(422, "A name has 1 to 40 characters.")
        self.request.regenerate_session()
        self.request.session["name"] = name
        return {"name": name}

    @methods("POST")
    async def sign(self, text: str, *, name: FromSession) -> tuple[int, dict[str, str]]:
        """Add an entry of a visitor whose name is known."""
        entry = {"name": name, "text": text}
        self.entries = [*self._book()[-99:], entry]  # a hundred are kept
        return 201, entry

    async def ws_shout(self, ws: WebSocket) -> None:
        """Send every message back in capitals."""
        await ws.accept()
        async for message in ws:
            if message == "enough":
                return await ws.close(4000, "as you wish")
            await ws.send_text(str(message).upper())

    async def numbers(self, pause: float = 0.05) -> Any:
        """Count forever."""
        return event_stream(self._count(pause))

    async def _count(self, pause: float) -> AsyncIterator[ServerSentEvent]:
        number = 0
        while True:
            yield ServerSentEvent(str(number), id=str(number))
            number += 1
            await asyncio.sleep(pause)

    def _book(self) -> list[dict[str, str]]:
        """Return the entries; None means that the app was never started."""
        if self.entries is None:
            raise HTTPError(503, "The book is closed.")
        return self.entries

    async def _open_book(self) -> None:
        self.entries = []


app = GuestBook()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
