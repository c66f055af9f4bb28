"""Server-sent events: a clock, and a chat whose readers miss nothing in a break."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from micropie import App, HTTPError, ServerSentEvent, event_stream, methods

KEPT = 200  # messages that a reader who comes back can still get
SHOWN = 20  # messages that a new reader gets
LONGEST = {"name": 40, "text": 500}


class Room:
    """The last messages of a chat, with numbers."""

    def __init__(self) -> None:
        self._process = secrets.token_hex(4)  # a restart makes another one
        self._messages: deque[tuple[int, dict[str, str]]] = deque(maxlen=KEPT)
        self._count = 0
        self._news = asyncio.Event()

    def add(self, message: dict[str, str]) -> None:
        """Keep a message and wake all readers."""
        self._count += 1
        self._messages.append((self._count, message))
        self._news.set()
        self._news = asyncio.Event()

    async def read(self, last_id: str) -> AsyncIterator[ServerSentEvent]:
        """Yield all messages after the one with that id, and then each new one."""
        seen = self._start(last_id)
        if not last_id:  # so that the browser has an id before the first message
            yield self._event(seen, "", "start")
        while True:
            news = self._news  # taken before the look, so that no message is missed
            dropped = self._count - len(self._messages)
            if seen < dropped:  # this reader was away for too long, or is too slow
                seen = dropped
                yield self._event(seen, "Some messages may be missing here.", "gap")
                continue
            for number, message in [item for item in self._messages if item[0] > seen]:
                yield self._event(number, message)
                seen = number
            await news.wait()

    def _start(self, last_id: str) -> int:
        """Return the number of the last message that a reader has seen."""
        if not last_id:  # a new reader
            return max(self._count - SHOWN, self._count - len(self._messages))
        process, _, number = last_id.partition("-")
        if process == self._process and number.isdecimal() and len(number) < 16:
            return int(number)
        return -1  # an id of another process: all that is kept, after a gap

    def _event(
        self, number: int, data: dict[str, str] | str, event: str | None = None
    ) -> ServerSentEvent:
        # A browser that loses the connection waits for a second (`retry`).
        event_id = f"{self._process}-{number}"
        return ServerSentEvent(data, event=event, id=event_id, retry=1000)


async def ticks() -> AsyncIterator[ServerSentEvent]:
    """Yield the time, at the beginning of each second."""
    while True:
        now = datetime.now(UTC)
        yield ServerSentEvent(now.strftime("%H:%M:%S"), event="tick")
        await asyncio.sleep(1 - now.microsecond / 1e6)


class Chat(App):
    """One room for all."""

    def __init__(self) -> None:
        super().__init__()
        self._room = Room()
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show the clock and the chat."""
        return await self._render_template("index.html", longest=LONGEST)

    @methods("GET")
    async def clock(self) -> Any:
        """Send the time."""
        return event_stream(ticks())

    @methods("GET")
    async def messages(self, last: str = "") -> Any:
        """Send the messages; a browser that comes back names the last that it got.

        A browser that connects again by itself sends the header. It is newer than the
        query, which the page writes when it makes a new `EventSource`.
        """
        last_id = self.request.headers.get("last-event-id", last)
        return event_stream(self._room.read(last_id))

    @methods("POST")
    async def say(self, name: str, text: str) -> None:
        """Take a message."""
        said = {"name": name.strip(), "text": text.strip()}
        if not all(0 < len(said[field]) <= LONGEST[field] for field in said):
            raise HTTPError(422, "A name and a text, please, and not too long.")
        self._room.add(said)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Chat()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
