"""Chat rooms: members, messages, and an end for slow readers; no WebSockets here."""

import asyncio
from collections import deque
from typing import Any

QUEUE_SIZE = 100  # messages that wait for one slow reader, until it has to go
HISTORY_SIZE = 50  # messages that a newcomer gets to see
MAX_ROOMS = 1000
MAX_MEMBERS = 500  # in one room


class Member:
    """One person in a room; `queue` holds the messages until they can be sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE_SIZE)
        self.too_slow = asyncio.Event()

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message; never wait, or the slowest reader would set the pace."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.too_slow.set()


class Room:
    """The members of one room, by name, and the last things they said."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_SIZE)

    def tell_all(self, message: dict[str, Any]) -> None:
        """Queue a message for everybody here."""
        for member in self.members.values():
            member.tell(message)

    def say(self, member: Member, text: str) -> None:
        """Let a member say something."""
        message = {"type": "message", "name": member.name, "text": text}
        self.history.append(message)
        self.tell_all(message)


class Rooms:
    """All rooms; one exists while somebody is in it."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def enter(self, room_name: str, name: str) -> tuple[Room, Member]:
        """Let somebody in.

        Raises:
            ValueError: The name is taken, or there is no place left.
        """
        if room_name not in self._rooms and len(self._rooms) >= MAX_ROOMS:
            raise ValueError("there are too many rooms")
        room = self._rooms.setdefault(room_name, Room())
        if name in room.members:
            raise ValueError("this name is taken")
        if len(room.members) >= MAX_MEMBERS:
            raise ValueError("this room is full")
        member = Member(name)
        room.tell_all({"type": "entered", "name": name})
        room.members[name] = member
        member.tell(
            {
                "type": "welcome",
                "members": sorted(room.members),
                "history": list(room.history),
            }
        )
        return room, member

    def leave(self, room_name: str, member: Member) -> None:
        """Let somebody out, and close the door behind the last one."""
        room = self._rooms[room_name]
        del room.members[member.name]
        room.tell_all({"type": "left", "name": member.name})
        if not room.members:
            del self._rooms[room_name]
