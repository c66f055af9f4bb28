"""The rooms in the memory of one process, and how a reader follows one."""

import asyncio
import contextlib
import os
import re
import time
from collections import Counter, deque
from collections.abc import AsyncGenerator
from itertools import takewhile
from typing import Any, NamedTuple

from micropie import HTTPError, InMemorySessionBackend

ROOMS = os.environ.get("ROOMS", "lobby kitchen garden").split()
KEPT = 10_000  # messages of a room, about
AT_HAND = 200  # of them in the memory of each process
SHOWN = 20  # of them for a new reader
PAGE = 200  # that are read at once
ANSWERS_WITHIN = float(os.environ.get("ANSWERS_WITHIN", 1))  # s, or Redis is down

Id = tuple[int, int]
Event = dict[str, Any]


class Entry(NamedTuple):
    """A message with its place in the room, or the beginning of the room."""

    order: Id
    event: Event


def order_of(entry_id: str) -> Id:
    """Return the numbers of an id, to compare it with others; clients send any."""
    found = re.fullmatch("([0-9]{1,19})-([0-9]{1,19})", entry_id)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def make_entry(entry_id: str, fields: dict[str, str]) -> Entry:
    """Make an entry of what a stream of Redis has."""
    kind = "message" if "text" in fields else "begin"
    return Entry(order_of(entry_id), {"type": kind, "id": entry_id, **fields})


class Room:
    """A room as this process knows it: the newest entries, and who is present."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.entries = deque([make_entry("0-0", {})], AT_HAND)  # never empty
        self.present: list[str] = []  # in all processes
        self.here: Counter[str] = Counter()  # the connections to this process
        self.news = asyncio.Event()

    def add(self, *entries: Entry) -> None:
        """Put entries at the end."""
        self.entries.extend(entries)
        self.wake()

    def wake(self) -> None:
        """Let all readers look."""
        self.news.set()
        self.news = asyncio.Event()

    def after(self, last: Id) -> list[Entry] | None:
        """Return the entries after one, or None if that one is not among them."""
        if not self.entries[0].order <= last <= self.entries[-1].order:
            return None
        newest_first = takewhile(
            lambda entry: entry.order > last, reversed(self.entries)
        )
        return [*newest_first][::-1]

    def show(self, present: list[str]) -> None:
        """Tell readers who is present, if that is news."""
        if present != self.present:
            self.present = present
            self.wake()


class MemoryBus:
    """Carries messages to all readers, in one process that forgets all when it stops.

    Attributes:
        rooms: By name.
        sessions: The session backend.
        link: A context for commands, which raises HTTPError if there is no Redis.
    """

    def __init__(self) -> None:
        self.rooms = {name: Room(name) for name in ROOMS}
        self.sessions: Any = InMemorySessionBackend()
        self.link: Any = contextlib.nullcontext()
        self.is_stopping = False
        self._keys: deque[tuple[str, str]] = deque(maxlen=1000)  # of messages
        self._users: dict[str, str] = {}
        self._free_at: dict[str, float] = {}  # when all that was used up is back

    async def open(self) -> None:
        """Begin: a startup handler."""
        # An id of another process is older, and its reader gets a gap.
        for room in self.rooms.values():
            room.entries = deque([make_entry(f"{_milliseconds()}-0", {})], KEPT)

    async def close(self) -> None:
        """End: a shutdown handler."""

    def stop(self) -> None:
        """End all readers."""
        self.is_stopping = True
        for room in self.rooms.values():
            room.wake()

    async def read(self, name: str, last_id: str = "") -> AsyncGenerator[Event, None]:
        """Yield the messages after an id, then each new one, and who is present.

        A reader without an id first gets a "start", with the id of the place from which
        the last messages follow. If the messages after an id are not kept any more, it
        gets a "gap" instead, and goes on from there in the same way.
        """
        room, present = self.rooms[name], None
        while not self.is_stopping:
            news = room.news  # taken before the look, so that no message is missed
            if room.present != present:
                present = room.present
                yield {"type": "present", "names": present}
            try:
                events = await self._after(room, last_id)
            except HTTPError:
                events = []  # Redis is down; there is news when it is back
            for event in events:
                last_id = event["id"]
                yield event
            if not events:
                await news.wait()

    async def _after(self, room: Room, last_id: str) -> list[Event]:
        entries = None
        if last_id:
            last = order_of(last_id)
            entries = room.after(last)
            if entries is None:
                entries = await self.older(room, last)
        if entries is None:
            kind = "gap" if last_id else "start"
            return [{"type": kind, "id": await self.place(room, SHOWN)}]
        return [entry.event for entry in entries if entry.event["type"] == "message"]

    async def older(self, room: Room, last: Id) -> list[Entry] | None:
        """Return what the room no longer has after an entry, or None after a gap."""
        return None

    async def place(self, room: Room, count: int) -> str:
        """Return the id after which the last `count` entries follow."""
        return str(room.entries[-min(count + 1, len(room.entries))].event["id"])

    async def add(self, name: str, author: str, key: str, text: str) -> str:
        """Store a message once for each key, and return its id."""
        for known, entry_id in self._keys:
            if known == f"{author} {key}":
                return entry_id
        room = self.rooms[name]
        last, number = room.entries[-1].order
        # The clock might have gone back.
        newest = max((_milliseconds(), 0), (last, number + 1))
        entry_id = f"{newest[0]}-{newest[1]}"
        room.add(make_entry(entry_id, {"name": author, "text": text}))
        self._keys.append((f"{author} {key}", entry_id))
        return entry_id

    async def history(self, name: str) -> list[Event]:
        """Return all messages of a room."""
        entries = self.rooms[name].entries
        return [entry.event for entry in entries if entry.event["type"] == "message"]

    async def enter(self, room: Room, name: str) -> None:
        """Note one more connection of a member."""
        room.here[name] += 1
        await self.beat(room)

    async def leave(self, room: Room, name: str) -> None:
        """Note the end of a connection."""
        room.here[name] -= 1
        room.here = +room.here  # without zeros
        await self.beat(room)

    async def beat(self, room: Room) -> None:
        """Tell readers who is present."""
        room.show(sorted(room.here))

    async def add_user(self, name: str, password: str) -> bool:
        """Keep the hash of a new user's password; say whether the name was free."""
        return self._users.setdefault(name, password) is password

    async def password_of(self, name: str) -> str | None:
        """Return the hash of a user's password, if there is one."""
        return self._users.get(name)

    async def wait(self, key: str, limit: int, seconds: float) -> float:
        """Return 0 if a client may go on, or the seconds until it may.

        It may do `limit` things at once, and as many again in `seconds`. This is the
        generic cell rate algorithm, which needs one number for each client.
        """
        now = time.monotonic()
        free_at = max(self._free_at.pop(key, now), now) + seconds / limit
        wait = free_at - seconds - now
        self._free_at[key] = free_at if wait <= 1e-6 else free_at - seconds / limit
        if len(self._free_at) > 100_000:
            del self._free_at[next(iter(self._free_at))]  # the quietest
        return wait if wait > 1e-6 else 0.0


def _milliseconds() -> int:
    return time.time_ns() // 1_000_000
