"""WebSockets: an echo, and a chat with rooms, presence, no wait for slow readers."""

import asyncio
import html
from pathlib import Path

from micropie import App, WebSocket

from rooms import Member, Room, Rooms

PAGE = Path(__file__).with_name("index.html").read_text(encoding="utf-8")
MAX_TEXT = 1000  # characters of one message


class Root(App):
    """Methods that begin with ``ws_`` are WebSockets."""

    def __init__(self) -> None:
        super().__init__()
        self._rooms = Rooms()

    async def index(self) -> str:
        """Show the page."""
        return PAGE.replace(
            "{{ root }}",
            html.escape(self.request.scope.get("root_path", "").rstrip("/")),
        )

    async def ws_echo(self, ws: WebSocket) -> None:
        """Send back what comes, text as text and bytes as bytes."""
        await ws.accept()
        async for message in ws:
            if isinstance(message, str):
                await ws.send_text(message)
            else:
                await ws.send_bytes(message)

    async def ws_chat(self, ws: WebSocket, room: str, name: str) -> None:
        """Serve ``/chat/lobby?name=Ada``: exchange JSON until the member leaves."""
        await ws.accept()  # a refusal before that would reach a page without its reason
        name = " ".join(name.split())
        if not 0 < len(name) <= 30 or not 0 < len(room) <= 30:
            return await ws.close(4000, "a name has 1 to 30 characters")
        try:
            entered, member = self._rooms.enter(room, name)
        except ValueError as error:
            return await ws.close(4001, str(error))
        try:
            await self._serve(ws, entered, member)
        finally:
            self._rooms.leave(room, member)
        if member.too_slow.is_set():
            await ws.close(1013, "you read too slowly")

    async def _serve(self, ws: WebSocket, room: Room, member: Member) -> None:
        """Read and write at once, until one of them ends or the member is too slow."""
        tasks = [
            asyncio.create_task(self._hear(ws, room, member)),
            asyncio.create_task(self._tell(ws, member)),
            asyncio.create_task(member.too_slow.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _hear(self, ws: WebSocket, room: Room, member: Member) -> None:
        async for text in ws:
            if isinstance(text, str) and text.strip():
                room.say(member, text[:MAX_TEXT])

    async def _tell(self, ws: WebSocket, member: Member) -> None:
        while True:
            # Waits while the client does not read.
            await ws.send_json(await member.queue.get())


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
