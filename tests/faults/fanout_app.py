"""One app twice, with MicroPie and by hand, straight on ASGI: a room and an event stream of news.

A message of a WebSocket in the room goes to all in it. Published news go to all streams, each of
which gets a comment every fifteen seconds, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from micropie import App, ServerSentEvent, WebSocket, event_stream

QUEUES: set[asyncio.Queue[bytes]] = set()
Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Root(App):
    """The app as a user of MicroPie writes it."""

    _sockets: set[WebSocket] = set()

    async def ws_room(self, ws: WebSocket) -> None:
        await ws.accept()
        self._sockets.add(ws)
        try:
            async for message in ws:
                for other in list(self._sockets):
                    await other.send_text(str(message))
        finally:
            self._sockets.discard(ws)

    async def news(self) -> Any:
        return event_stream(self._news())

    async def _news(self) -> AsyncIterator[str | bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        QUEUES.add(queue)
        try:
            yield "ready"
            while True:
                yield await queue.get()
        finally:
            QUEUES.discard(queue)

    async def publish(self, text: str) -> None:
        event = bytes(ServerSentEvent(text))  # once for all
        for queue in QUEUES:
            queue.put_nowait(event)


app = Root()


# --- By hand -----------------------------------------------------------------------------------

SENDS: set[Send] = set()
PING, GONE = b": ping\n\n", b""


async def by_hand(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await room(receive, send)
    elif scope["path"] == "/news":
        await news(receive, send)
    elif scope["path"] == "/publish":
        event = f"data: {parse_qs(scope['query_string'].decode())['text'][0]}\n\n".encode()
        for queue in QUEUES:
            queue.put_nowait(event)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})


async def room(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    SENDS.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            for other in list(SENDS):
                await other({"type": "websocket.send", "text": message["text"]})
    finally:
        SENDS.discard(send)


async def news(receive: Receive, send: Send) -> None:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    queue.put_nowait(b"data: ready\n\n")
    QUEUES.add(queue)
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        queue.put_nowait(GONE)

    def ping() -> None:
        nonlocal timer
        queue.put_nowait(PING)
        timer = loop.call_later(15, ping)

    listener, timer = asyncio.create_task(listen()), loop.call_later(15, ping)
    try:
        kind = (b"content-type", b"text/event-stream")
        await send({"type": "http.response.start", "status": 200, "headers": [kind]})
        while event := await queue.get():
            await send({"type": "http.response.body", "body": event, "more_body": True})
    finally:
        QUEUES.discard(queue)
        timer.cancel()
        listener.cancel()
