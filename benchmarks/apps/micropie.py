"""MicroPie: the names of methods are the URLs, their parameters the arguments."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from benchmarks.workloads import (
    CHUNK,
    CHUNK_COUNT,
    DATA,
    FIRST_EVENT,
    GREETING,
    ITEMS,
    TITLE,
    UPLOAD_SIZE,
)
from micropie import App, UploadedFile, WebSocket, event_stream

IMPORTS = "from micropie import App"
PACKAGE = "micropie"


class Root(App):
    async def index(self) -> str:
        return GREETING

    async def json(self) -> dict[str, Any]:
        return DATA

    async def greet(self, name: str) -> str:
        return f"Hello, {name}!"

    async def search(self, q: str, page: str) -> str:
        return f"{q} page {page}"

    async def form(self, name: str, email: str) -> str:
        return f"{name} {email}"

    async def echo(self) -> Any:
        return self.request.get_json

    async def upload(self, file: UploadedFile) -> str:
        size = 0
        async for chunk in file:
            size += len(chunk)
        return str(size)

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    async def counter(self) -> str:
        visits = self.request.session.get("visits", 0) + 1
        self.request.session["visits"] = visits
        return str(visits)

    async def page(self) -> str:
        return await self._render_template("page.html", title=TITLE, items=ITEMS)

    async def events(self) -> Any:
        async def source() -> AsyncIterator[str]:
            queue: asyncio.Queue[str] = asyncio.Queue()
            queue.put_nowait(FIRST_EVENT)
            while True:
                yield await queue.get()

        return event_stream(source())

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await ws.send_text(message)


app = Root(max_upload_size=2 * UPLOAD_SIZE)


def routes(count: int) -> App:
    def handler(number: int) -> Any:
        async def answer(self: App) -> str:
            return str(number)

        return answer

    names = {f"route_{number}": handler(number) for number in range(count)}
    return type("Many", (App,), names)()
