"""Falcon: resource classes, orjson in the media handlers, no receive queue for WebSockets."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import falcon
import falcon.asgi
import orjson
from falcon.asgi import Request, Response, SSEvent, WebSocket

from benchmarks.workloads import CHUNK, CHUNK_COUNT, DATA, FIRST_EVENT, GREETING, SAVED

IMPORTS = "import falcon.asgi"
PACKAGE = "falcon"
MISSING = {
    "session": "Falcon has no sessions",
    "page": "Falcon has no templates",
    "table": "Falcon has no templates",
    "order": "Falcon leaves the checking of JSON to the app or to a package",
}
SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[str]] = set()


class Hello:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.text = GREETING


class Data:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.media = DATA


class Greet:
    async def on_get(self, req: Request, resp: Response, name: str) -> None:
        resp.text = f"Hello, {name}!"


class Search:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.text = (
            f"{req.get_param('q', required=True)} page {req.get_param('page', required=True)}"
        )


class Form:
    async def on_post(self, req: Request, resp: Response) -> None:
        fields = await req.get_media()
        resp.text = f"{fields['name']} {fields['email']}"


class Echo:
    async def on_post(self, req: Request, resp: Response) -> None:
        resp.content_type = falcon.MEDIA_JSON
        resp.media = await req.get_media()

    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                await ws.send_text(await ws.receive_text())
        except falcon.WebSocketDisconnected:
            pass


class Upload:
    async def on_post(self, req: Request, resp: Response) -> None:
        size = 0
        async for part in await req.get_media():
            async for chunk in part.stream:
                size += len(chunk)
        resp.text = str(size)


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


class Stream:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.stream = chunks()


async def source() -> AsyncIterator[SSEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    while True:
        yield SSEvent(text=await queue.get())


class Events:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.sse = source()


class Room:
    async def on_websocket(self, req: Request, ws: WebSocket) -> None:
        await ws.accept()
        SOCKETS.add(ws)
        try:
            while True:
                message = await ws.receive_text()
                for other in list(SOCKETS):
                    await other.send_text(message)
        except falcon.WebSocketDisconnected:
            pass
        finally:
            SOCKETS.discard(ws)


async def subscribe() -> AsyncIterator[SSEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    QUEUES.add(queue)
    try:
        yield SSEvent(text=FIRST_EVENT)
        while True:
            yield SSEvent(text=await queue.get())
    finally:
        QUEUES.discard(queue)


class News:
    async def on_get(self, req: Request, resp: Response) -> None:
        resp.sse = subscribe()


class Publish:
    async def on_get(self, req: Request, resp: Response) -> None:
        for queue in QUEUES:
            queue.put_nowait(req.get_param("text", required=True))
        resp.status = falcon.HTTP_204


class Save:
    async def on_post(self, req: Request, resp: Response) -> None:
        with open(SAVED, "wb") as out:
            async for part in await req.get_media():
                async for chunk in part.stream:
                    out.write(chunk)
        resp.text = str(os.path.getsize(SAVED))


class Numbered:
    def __init__(self, number: int) -> None:
        self.answer = str(number)

    async def on_get(self, req: Request, resp: Response) -> None:
        resp.text = self.answer


def make_app() -> falcon.asgi.App[Any, Any]:
    made = falcon.asgi.App(media_type=falcon.MEDIA_TEXT)
    handler = falcon.media.JSONHandler(dumps=orjson.dumps, loads=orjson.loads)
    for options in (made.req_options, made.resp_options):
        options.media_handlers[falcon.MEDIA_JSON] = handler
    made.ws_options.max_receive_queue = 0
    return made


app = make_app()
for path, resource in {
    "/": Hello(),
    "/json": Data(),
    "/greet/{name}": Greet(),
    "/search": Search(),
    "/form": Form(),
    "/echo": Echo(),
    "/upload": Upload(),
    "/stream": Stream(),
    "/events": Events(),
    "/room": Room(),
    "/news": News(),
    "/publish": Publish(),
    "/save": Save(),
}.items():
    app.add_route(path, resource)


def routes(count: int) -> falcon.asgi.App[Any, Any]:
    many = make_app()
    for number in range(count):
        many.add_route(f"/route_{number}", Numbered(number))
    return many
