"""A chat over WebSockets, with rooms, history, and connections that come back."""

import asyncio
from typing import Any

from micropie import App, ConnectionClosed, WebSocket

from rooms import Member, Room, Rooms

MAX_TEXT = 1000  # characters of one message
ENTER = 'begin with {"type": "enter", "name": "...", "key": "..."}'
SAY = 'send {"type": "say", "text": "..."}'


class Chat(App):
    """A page, and a WebSocket for each room; all messages are JSON objects."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms = Rooms()
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show the page."""
        return await self._render_template("index.html")

    async def ws_chat(self, ws: WebSocket, room_name: str, /) -> None:
        """Serve ``/chat/lobby`` until the member leaves or has to go."""
        await ws.accept()  # a refusal before that would reach a page without its reason
        try:
            room, member = self._enter(room_name, await ws.receive_json())
        except ValueError as error:
            return await ws.close(4001, str(error))
        try:
            await self._serve(ws, room, member)
        finally:
            self._rooms.leave(room_name, member)
        if member.dismissed.done():
            await ws.close(*member.dismissed.result())

    def _enter(self, room_name: str, message: Any) -> tuple[Room, Member]:
        match message:
            case {"type": "enter", "name": str(name), "key": str(key)}:
                name = " ".join(name.split())
            case _:
                raise ValueError(ENTER)
        if not (0 < len(name) <= 30 and len(room_name) <= 30 and 16 <= len(key) <= 64):
            raise ValueError("a name has 1 to 30 characters, and a key 16 to 64")
        return self._rooms.enter(room_name, name, key)

    async def _serve(self, ws: WebSocket, room: Room, member: Member) -> None:
        """Read and write at once, until the client leaves or the member has to go."""
        try:
            async with asyncio.TaskGroup() as group:
                hear = group.create_task(self._hear(ws, room, member))
                tell = group.create_task(self._tell(ws, member))
                await asyncio.wait([member.dismissed])
                hear.cancel()
                tell.cancel()
        except* ConnectionClosed:
            pass  # the client has left

    async def _hear(self, ws: WebSocket, room: Room, member: Member) -> None:
        """Do what the client asks for: add a case for each new type of message."""
        while True:
            try:
                message = await ws.receive_json()
            except ValueError:
                message = None
            match message:
                case {"type": "say", "text": str(text)} if text.strip():
                    room.say(member, text[:MAX_TEXT])
                case _:
                    member.tell({"type": "error", "error": SAY})

    async def _tell(self, ws: WebSocket, member: Member) -> None:
        """Send what is queued, and wait while the client does not read."""
        while True:
            await ws.send_json(await member.queue.get())

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Chat()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
