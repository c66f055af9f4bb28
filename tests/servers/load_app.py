"""The application under load: each client waits until all are there and open at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, WebSocket, event_stream


class Meeting:
    """Lets its guests go on when `size` of them have come."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.guests = 0
        self.full = asyncio.Event()

    async def join(self) -> None:
        self.guests += 1
        if self.guests == self.size:
            self.full.set()
        await self.full.wait()


class Root(App):
    def __init__(self) -> None:
        super().__init__()
        self.meetings: dict[str, Meeting] = {}
        self.streams = 0

    async def ready(self) -> str:
        return "ready"

    async def state(self) -> dict[str, int]:
        return {"tasks": len(asyncio.all_tasks()), "streams": self.streams}

    async def meet(self, name: str, size: int, number: int) -> dict[str, int]:
        await self._meeting(name, size).join()
        return {"number": number}

    async def ws_meet(self, ws: WebSocket, name: str, size: int) -> None:
        await ws.accept()
        await self._meeting(name, size).join()
        async for message in ws:
            await ws.send_text("echo " + str(message))

    async def events(self, name: str, size: int, number: int) -> Any:
        async def source() -> AsyncIterator[dict[str, int]]:
            self.streams += 1
            try:
                await self._meeting(name, size).join()
                yield {"number": number}
                await self._meeting(f"{name} published", 1).full.wait()
                yield {"published": number}
                await asyncio.Event().wait()
            finally:
                self.streams -= 1

        return event_stream(source())

    async def publish(self, name: str) -> None:
        self._meeting(f"{name} published", 1).full.set()

    def _meeting(self, name: str, size: int) -> Meeting:
        return self.meetings.setdefault(name, Meeting(size))


app = Root()
