"""A chat over WebSockets, with rooms, history, and connections that come back."""

import asyncio
from typing import Any

from micropie import App, ConnectionClosed, WebSocket

from rooms import MAX_ROOMS, Member, Room

MAX_TEXT = 1000  # characters of one message
ENTER = 'begin with {"type": "enter", "name": "...", "key": "..."}'


class Chat(App):
    """A page, and a WebSocket for each room; all messages are JSON objects."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms: dict[str, Room] = {}  # in the order in which they were entered
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show the page."""
        return await self._render_template("index.html")

    async def ws_chat(self, ws: WebSocket, room_name: str, /) -> None:
        """Serve ``/chat/lobby`` until the member leaves, or connects again."""
        await ws.accept()  # a refusal before that would reach a page without its reason
        try:
            room, member = self._enter(room_name, await ws.receive_json())
        except ValueError as error:
            return await ws.close(4001, str(error))
        try:
            async with asyncio.TaskGroup() as group:
                hearing = group.create_task(self._hear(ws, room, member))
                async for message in room.read(member):
                    await ws.send_json(message)  # waits while the client does not read
                hearing.cancel()
        except* ConnectionClosed:
            pass  # the client has left
        finally:
            room.leave(member)
        await ws.close(4002, "you have connected again")

    def _enter(self, room_name: str, message: Any) -> tuple[Room, Member]:
        match message:
            case {"type": "enter", "name": str(name), "key": str(key)}:
                name = " ".join(name.split())
            case _:
                raise ValueError(ENTER)
        if not (0 < len(name) <= 30 and len(room_name) <= 30 and 16 <= len(key) <= 64):
            raise ValueError("a name has 1 to 30 characters, and a key 16 to 64")
        room = self._rooms.pop(room_name, None) or Room()
        if len(self._rooms) >= MAX_ROOMS:
            empty = [key for key, room in self._rooms.items() if not room.members]
            if not empty:
                raise ValueError("there are too many rooms")
            del self._rooms[empty[0]]
        self._rooms[room_name] = room
        return room, room.enter(name, key)

    async def _hear(self, ws: WebSocket, room: Room, member: Member) -> None:
        """Do what the client asks for. Add a case for each new type of message."""
        while True:
            try:
                message = await ws.receive_json()
            except ValueError:
                continue
            match message:
                case {"type": "say", "text": str(text)} if text.strip():
                    said = {"name": member.name, "text": text[:MAX_TEXT]}
                    room.add({"type": "message", **said})

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Chat()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
