"""Starlette: routes to functions of a request, with the orjson response of its documentation."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.templating import Jinja2Templates
from starlette.websockets import WebSocket

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
    UPLOAD_CHUNK,
)

IMPORTS = (
    "from starlette.applications import Starlette; "
    "from starlette.responses import PlainTextResponse; "
    "from starlette.routing import Route"
)
PACKAGE = "starlette"
MISSING = {"order": "Starlette leaves the checking of JSON to the app or to a package"}
SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[bytes]] = set()
templates = Jinja2Templates(Path(__file__).parent / "templates")


class OrjsonResponse(JSONResponse):
    def render(self, content: Any) -> bytes:
        return orjson.dumps(content)


async def hello(request: Request) -> Response:
    return PlainTextResponse(GREETING)


async def data(request: Request) -> Response:
    return OrjsonResponse(DATA)


async def greet(request: Request) -> Response:
    return PlainTextResponse(f"Hello, {request.path_params['name']}!")


async def search(request: Request) -> Response:
    query = request.query_params
    return PlainTextResponse(f"{query['q']} page {query['page']}")


async def form(request: Request) -> Response:
    async with request.form() as fields:
        return PlainTextResponse(f"{fields['name']} {fields['email']}")


async def echo(request: Request) -> Response:
    return OrjsonResponse(orjson.loads(await request.body()))


async def upload(request: Request) -> Response:
    size = 0
    async with request.form() as fields:
        while chunk := await fields["file"].read(len(UPLOAD_CHUNK)):
            size += len(chunk)
    return PlainTextResponse(str(size))


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def stream(request: Request) -> Response:
    return StreamingResponse(chunks())


async def counter(request: Request) -> Response:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return PlainTextResponse(str(visits))


async def page(request: Request) -> Response:
    return templates.TemplateResponse(request, "page.html", {"title": TITLE, "items": ITEMS})


async def source() -> AsyncIterator[str]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    while True:
        yield f"data: {await queue.get()}\n\n"


async def events(request: Request) -> Response:
    return StreamingResponse(source(), media_type="text/event-stream")


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    async for message in websocket.iter_text():
        await websocket.send_text(message)


async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    SOCKETS.add(websocket)
    try:
        async for message in websocket.iter_text():
            for other in list(SOCKETS):
                await other.send_text(message)
    finally:
        SOCKETS.discard(websocket)


async def subscribe() -> AsyncIterator[bytes]:
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    QUEUES.add(queue)
    try:
        yield f"data: {FIRST_EVENT}\n\n".encode()
        while True:
            yield await queue.get()
    finally:
        QUEUES.discard(queue)


async def news(request: Request) -> Response:
    return StreamingResponse(subscribe(), media_type="text/event-stream")


async def publish(request: Request) -> Response:
    event = f"data: {request.query_params['text']}\n\n".encode()
    for queue in QUEUES:
        queue.put_nowait(event)
    return Response(status_code=204)


async def table(request: Request) -> Response:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    context = {"title": TITLE, "visits": visits, "rows": ROWS}
    return templates.TemplateResponse(request, "table.html", context)


async def save(request: Request) -> Response:
    async with request.form() as fields:
        with open(SAVED, "wb") as out:
            while chunk := await fields["file"].read(len(UPLOAD_CHUNK)):
                out.write(chunk)
    return PlainTextResponse(str(os.path.getsize(SAVED)))


app = Starlette(
    routes=[
        Route("/", hello),
        Route("/json", data),
        Route("/greet/{name}", greet),
        Route("/search", search),
        Route("/form", form, methods=["POST"]),
        Route("/echo", echo, methods=["POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/stream", stream),
        Route("/page", page),
        Route("/events", events),
        WebSocketRoute("/echo", socket),
        WebSocketRoute("/room", room),
        Route("/news", news),
        Route("/publish", publish),
        Route("/save", save, methods=["POST"]),
    ]
)
session_app = Starlette(
    routes=[Route("/counter", counter), Route("/table", table)],
    middleware=[Middleware(SessionMiddleware, secret_key="a secret of thirty-two characters")],
)
table_app = session_app


def routes(count: int) -> Starlette:
    def endpoint(number: int) -> Any:
        async def answer(request: Request) -> Response:
            return PlainTextResponse(str(number))

        return answer

    return Starlette(
        routes=[Route(f"/route_{number}", endpoint(number)) for number in range(count)]
    )
