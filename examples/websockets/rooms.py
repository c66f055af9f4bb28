"""Chat rooms: who is there, and the last messages; no WebSockets here."""

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

KEPT = 100  # messages of one room, for those who come, or come back
MAX_MEMBERS = 500  # in one room
MAX_ROOMS = 100  # with those that are empty, and are kept for their history

Message = dict[str, Any]


@dataclass(eq=False)
class Member:
    """A connection to a room; a later one with the same name and key replaces it."""

    name: str
    key: str


class Room:
    """The members of one room, by name, and the last messages."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self._messages: deque[Message] = deque(maxlen=KEPT)
        self._count = 0
        self._news = asyncio.Event()

    def add(self, *messages: Message) -> None:
        """Keep messages, and wake all readers."""
        self._messages.extend(messages)
        self._count += len(messages)
        self._news.set()
        self._news = asyncio.Event()

    def enter(self, name: str, key: str) -> Member:
        """Let a member in.

        Raises:
            ValueError: Another member has the name, or there is no place left.
        """
        old = self.members.get(name)
        if old is not None and not secrets.compare_digest(
            old.key.encode(), key.encode()
        ):
            raise ValueError("this name is taken")
        if len(self.members) >= MAX_MEMBERS:
            raise ValueError("this room is full")
        member = self.members[name] = Member(name, key)
        self.add(*[{"type": "entered", "name": name}] if old is None else [])
        return member

    def leave(self, member: Member) -> None:
        """Let a member out, unless another connection has replaced it."""
        if self.members.get(member.name) is member:
            del self.members[member.name]
            self.add({"type": "left", "name": member.name})

    async def read(self, member: Member) -> AsyncIterator[Message]:
        """Yield a welcome, and then each new message until the member is replaced.

        A reader that is too slow for the messages that are kept gets a new welcome. So
        it delays no other member, and nothing piles up for it.
        """
        seen = -1
        while self.members.get(member.name) is member:
            news = self._news  # taken before the look, so that no message is missed
            if self._count - seen > len(self._messages):
                seen = self._count
                names, history = sorted(self.members), list(self._messages)
                yield {"type": "welcome", "members": names, "history": history}
            elif seen < self._count:
                seen += 1
                yield self._messages[seen - 1 - self._count]
            else:
                await news.wait()
