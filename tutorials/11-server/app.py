"""A live poll about the pie that we bake on Friday."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from enum import StrEnum
from typing import Any

from micropie import App, FromSession, UploadedFile, WebSocket, event_stream, methods

import pictures
import store
from news import News
from sessions import SQLiteSessions

MAX_TEXT = 500  # characters of one message
TOO_OLD = 4403  # the close code of a chat without a session; chat.js knows it
MAX_DESCRIPTION = 100  # characters


class Pie(StrEnum):
    """The pies to choose from."""

    APPLE = "Apple"
    CHERRY = "Cherry"
    PUMPKIN = "Pumpkin"
    RHUBARB = "Rhubarb"


class Poll(App):
    """Each public method answers the URL of its name."""

    def __init__(self) -> None:
        super().__init__(SQLiteSessions())
        self._news = News()
        self._watcher: asyncio.Task[None] | None = None
        self.startup_handlers += [store.create_tables, self._start_watching]
        self.shutdown_handlers.append(self._stop_watching)

    async def index(self) -> str:
        """Show the poll."""
        session = self.request.session
        voter = session.setdefault("voter", secrets.token_urlsafe(16))
        name = session.setdefault("name", f"Guest {secrets.randbelow(9000) + 1000}")
        return await self._render_template(
            "index.html",
            pies=Pie,
            votes=await asyncio.to_thread(store.count_votes),
            chosen=await asyncio.to_thread(store.vote_of, voter),
            name=name,
            max_text=MAX_TEXT,
            pictures=await asyncio.to_thread(store.latest_pictures),
            max_description=MAX_DESCRIPTION,
        )

    @methods("GET")
    async def results(self, at_least: int = 0) -> dict[str, int]:
        """Answer ``/results`` and ``/results?at_least=2``."""
        votes = await asyncio.to_thread(store.count_votes)
        return {pie: votes[pie] for pie in Pie if votes[pie] >= at_least}

    @methods("POST")
    async def vote(self, pie: Pie, *, voter: FromSession = "") -> Any:
        """Take the form, and show the poll again."""
        if not voter:
            return await self._too_old()
        await asyncio.to_thread(store.set_vote, voter, pie)
        self._news.tell()
        return self._redirect("./", 303)

    @methods("GET")
    async def events(self) -> Any:
        """Send what has changed, for as long as the page is open."""
        return event_stream(self._changes())

    async def _changes(self) -> AsyncIterator[dict[str, Any]]:
        while True:
            coming = self._news.coming()
            yield {
                "votes": await self.results(),
                "pictures": await asyncio.to_thread(store.latest_pictures),
            }
            await coming.wait()
            await asyncio.sleep(0.1)  # many votes in a moment are one piece of news

    async def ws_chat(self, ws: WebSocket, name: FromSession = "") -> None:
        """Talk to an open page: take its messages, and send it those of all."""
        await ws.accept()
        if not name:  # a page sees no status of a handshake, but it sees a close code
            await ws.close(TOO_OLD, "This page is too old. Reload it.")
            return
        async with asyncio.TaskGroup() as tasks:
            sender = tasks.create_task(self._send_all(ws))
            async for text in ws:
                if isinstance(text, str) and text.strip():
                    await asyncio.to_thread(
                        store.add_message, name, text.strip()[:MAX_TEXT]
                    )
                    self._news.tell()
                # No visitor gets in more than two messages a second.
                await asyncio.sleep(0.5)
            sender.cancel()

    async def _send_all(self, ws: WebSocket) -> None:
        seen = 0
        while True:
            coming = self._news.coming()
            for number, name, text in await asyncio.to_thread(
                store.messages_after, seen
            ):
                await ws.send_json({"name": name, "text": text})
                seen = number
            await coming.wait()

    @methods("POST")
    async def upload(
        self, description: str, picture: UploadedFile, *, voter: FromSession = ""
    ) -> Any:
        """Take a picture while it comes in, since it is the last thing in the form."""
        if not voter:
            return await self._too_old()
        name = await pictures.keep(picture)
        dropped = await asyncio.to_thread(
            store.add_picture, name, description.strip()[:MAX_DESCRIPTION] or "A pie"
        )
        await asyncio.to_thread(pictures.remove, dropped)
        self._news.tell()
        return self._redirect("./", 303)

    @methods("GET")
    def picture(self, name: str) -> tuple[int, Iterator[bytes], dict[str, str]]:
        """Send a picture. Plain functions run in a thread, since disks are slow."""
        path = pictures.find(name)
        headers = {
            "content-type": f"image/{path.suffix[1:]}",
            "content-length": str(path.stat().st_size),
            "cache-control": "private, max-age=31536000, immutable",
            "x-content-type-options": "nosniff",
        }
        return 200, pictures.chunks(path), headers

    def _start_watching(self) -> None:
        self._watcher = asyncio.create_task(self._news.watch(store.DATA / "poll.db"))

    def _stop_watching(self) -> None:
        if self._watcher is not None:  # None: creating the tables has failed
            self._watcher.cancel()

    async def _too_old(self) -> tuple[int, str]:
        """Refuse a form if the server does not know the visitor's session."""
        return 403, await self._render_template("too_old.html")


app = Poll()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
