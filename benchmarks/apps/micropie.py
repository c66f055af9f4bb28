"""MicroPie: the names of methods are the URLs, their parameters the arguments."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import jinja2

from benchmarks.workloads import (
    CHUNK,
    CHUNK_COUNT,
    DATA,
    FIRST_EVENT,
    GREETING,
    ITEMS,
    ROWS,
    SAVED,
    TITLE,
    UPLOAD_SIZE,
)
from micropie import App, ServerSentEvent, UploadedFile, WebSocket, event_stream

IMPORTS = "from micropie import App"
PACKAGE = "micropie"


SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[bytes]] = set()


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

    async def ws_room(self, ws: WebSocket) -> None:
        await ws.accept()
        SOCKETS.add(ws)
        try:
            async for message in ws:
                for other in list(SOCKETS):
                    await other.send_text(message)
        finally:
            SOCKETS.discard(ws)

    async def news(self) -> Any:
        async def source() -> AsyncIterator[str | bytes]:
            queue: asyncio.Queue[bytes] = asyncio.Queue()
            QUEUES.add(queue)
            try:
                yield FIRST_EVENT
                while True:
                    yield await queue.get()
            finally:
                QUEUES.discard(queue)

        return event_stream(source())

    async def publish(self, text: str) -> None:
        event = bytes(ServerSentEvent(text))
        for queue in QUEUES:
            queue.put_nowait(event)

    async def order(
        self, number: int, page: int, product: str, price: float, tags: list[str], gift: bool
    ) -> dict[str, Any]:
        return {
            "number": number,
            "page": page,
            "product": product,
            "price": price,
            "tags": tags,
            "gift": gift,
        }

    async def table(self) -> str:
        visits = self.request.session.get("visits", 0) + 1
        self.request.session["visits"] = visits
        return await self._render_template("table.html", title=TITLE, visits=visits, rows=ROWS)

    async def save(self, file: UploadedFile) -> str:
        await file.save(SAVED)
        return str(os.path.getsize(SAVED))


app = Root(max_upload_size=2 * UPLOAD_SIZE)
table_app = Root()
table_app.env = jinja2.Environment(loader=table_app.env.loader, autoescape=True)


def routes(count: int) -> App:
    def handler(number: int) -> Any:
        async def answer(self: App) -> str:
            return str(number)

        return answer

    names = {f"route_{number}": handler(number) for number in range(count)}
    return type("Many", (App,), names)()
