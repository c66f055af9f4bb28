"""Server-sent events: a clock, and a chat whose readers miss nothing in a break."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from micropie import App, HTTPError, ServerSentEvent, event_stream, methods

KEPT = 200  # messages that somebody who comes back can still get
SHOWN = 20  # messages that somebody who is new gets
LONGEST = {"name": 40, "text": 500}


class Room:
    """The last messages of a chat, and those who wait for the next.

    Each message has a number. The id that readers see also holds when this process was
    started. After a restart the numbers start anew, and an old id must not be taken for
    one of them.
    """

    def __init__(self) -> None:
        self._started = secrets.token_hex(4)
        self._messages: deque[tuple[int, dict[str, str]]] = deque(maxlen=KEPT)
        self._count = 0
        self._news = asyncio.Event()

    def add(self, name: str, text: str) -> None:
        """Keep a message and wake all readers."""
        self._count += 1
        self._messages.append(
            (
                self._count,
                {"name": name, "text": text, "at": datetime.now(UTC).isoformat()},
            )
        )
        self._news.set()
        self._news = asyncio.Event()

    async def read(self, last_id: str) -> AsyncIterator[ServerSentEvent]:
        """Yield all messages after the one with that id, and then each new one.

        A reader that is slow gets what has come meanwhile; one that has fallen back
        behind the first message that is kept goes on with that one. So nothing piles
        up.
        """
        seen = self._number(last_id)
        while True:
            # Taken before the look, since each message after it sets this event.
            news = self._news
            for number, message in [item for item in self._messages if item[0] > seen]:
                # A browser that loses the connection waits for a second (`retry`).
                yield ServerSentEvent(
                    message, id=f"{self._started}-{number}", retry=1000
                )
                seen = number
            await news.wait()

    def _number(self, last_id: str) -> int:
        started, _, number = last_id.partition("-")
        if (
            started == self._started
            and number.isascii()
            and number.isdigit()
            and len(number) < 16
        ):
            return int(number)
        return max(self._count - SHOWN, 0)


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

    async def index(self) -> str:
        """Show the clock and the chat."""
        base = self.request.scope.get("root_path", "")
        return await self._render_template(
            "index.html", base=base, longest=LONGEST, csrf_token=self._csrf_token()
        )

    @methods("GET")
    async def clock(self) -> Any:
        """Send the time."""
        return event_stream(ticks())

    @methods("GET")
    async def messages(self) -> Any:
        """Send the messages; a browser that comes back names the last that it got."""
        last_id = self.request.headers.get("last-event-id", "")
        return event_stream(self._room.read(last_id))

    @methods("POST")
    async def say(self, name: str, text: str) -> None:
        """Take a message."""
        self._check_csrf()
        name, text = name.strip(), text.strip()
        if not 0 < len(name) <= LONGEST["name"] or not 0 < len(text) <= LONGEST["text"]:
            raise HTTPError(422, "A name and a text, please, and not too long.")
        self._room.add(name, text)

    def _csrf_token(self) -> str:
        """Return the token of this visitor, made at the first form."""
        return str(self.request.session.setdefault("csrf", secrets.token_urlsafe(32)))

    def _check_csrf(self) -> None:
        """Refuse a message that another site has sent in a visitor's name."""
        sent = self.request.form("csrf_token", "")
        known = self.request.session.get("csrf", "")
        if not known or not secrets.compare_digest(sent.encode(), known.encode()):
            raise HTTPError(403, "This page is too old. Please load it again.")


app = Chat()

if __name__ == "__main__":
    import uvicorn

    # A stream of events has no end. Without the time limit, the server would wait for
    # its readers forever.
    uvicorn.run(app, timeout_graceful_shutdown=5)
