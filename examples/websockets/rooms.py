"""Chat rooms: members, messages and their history; no WebSockets here."""

import asyncio
import secrets
from collections import deque
from typing import Any

QUEUE_SIZE = 100  # messages that wait for one slow reader, until it has to go
HISTORY_SIZE = 50  # messages that a newcomer gets to see
MAX_ROOMS = 200  # with those that are empty, and are kept for their history
MAX_MEMBERS = 500  # in one room


class Member:
    """A connection in a room: `queue` has its messages, `dismissed` why it must end."""

    def __init__(self, name: str, key: str) -> None:
        self.name, self.key = name, key
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue(QUEUE_SIZE)
        self.dismissed: asyncio.Future[tuple[int, str]] = asyncio.Future()

    def tell(self, message: dict[str, Any]) -> None:
        """Queue a message; never wait, or the slowest reader would set the pace."""
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.dismiss(1013, "you read too slowly")

    def dismiss(self, code: int, reason: str) -> None:
        """Let the connection end with a close code and a reason."""
        if not self.dismissed.done():
            self.dismissed.set_result((code, reason))


class Room:
    """The members of one room, by name, and the last things they said."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.history: deque[dict[str, Any]] = deque(maxlen=HISTORY_SIZE)

    def tell_all(self, message: dict[str, Any]) -> None:
        """Queue a message for all members."""
        for member in self.members.values():
            member.tell(message)

    def say(self, member: Member, text: str) -> None:
        """Let a member say something."""
        self.history.append({"type": "message", "name": member.name, "text": text})
        self.tell_all(self.history[-1])


class Rooms:
    """All rooms, in the order in which members left them."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def enter(self, room_name: str, name: str, key: str) -> tuple[Room, Member]:
        """Let a member in; one with the same name and key makes way for it.

        Raises:
            ValueError: Another member has the name, or there is no place left.
        """
        if room_name not in self._rooms and len(self._rooms) >= MAX_ROOMS:
            empty = [key for key, room in self._rooms.items() if not room.members]
            if not empty:
                raise ValueError("there are too many rooms")
            del self._rooms[empty[0]]
        room = self._rooms.setdefault(room_name, Room())
        old, member = room.members.get(name), Member(name, key)
        if old is None:
            if len(room.members) >= MAX_MEMBERS:
                raise ValueError("this room is full")
            room.tell_all({"type": "entered", "name": name})
        elif secrets.compare_digest(old.key.encode(), key.encode()):
            old.dismiss(4002, "you have connected again")
        else:
            raise ValueError("this name is taken")
        room.members[name] = member
        names, history = sorted(room.members), list(room.history)
        member.tell({"type": "welcome", "members": names, "history": history})
        return room, member

    def leave(self, room_name: str, member: Member) -> None:
        """Let a member out, unless a new connection has taken its place."""
        room = self._rooms[room_name]
        if room.members.get(member.name) is member:
            del room.members[member.name]
            room.tell_all({"type": "left", "name": member.name})
            self._rooms[room_name] = self._rooms.pop(room_name)
