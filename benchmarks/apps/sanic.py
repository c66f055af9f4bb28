"""Sanic: its ASGI application (its own server is another thing), orjson, no access log."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from typing import Any

import orjson
from sanic import HTTPResponse, Request, Sanic, Websocket, json, text

from benchmarks.workloads import (
    CHUNK,
    CHUNK_COUNT,
    DATA,
    FIRST_EVENT,
    GREETING,
    SAVED,
    UPLOAD_SIZE,
)

IMPORTS = "from sanic import Sanic"
PACKAGE = "sanic"
MISSING = {
    "session": "Sanic has no sessions",
    "page": "Sanic renders templates only with its extensions package",
    "table": "Sanic renders templates only with its extensions package",
    "order": "Sanic leaves the checking of JSON to the app or to a package",
}
SOCKETS: set[Websocket] = set()
QUEUES: set[asyncio.Queue[str]] = set()


def make_app(name: str) -> Sanic[Any, Any]:
    made = Sanic(name, dumps=orjson.dumps, loads=orjson.loads, configure_logging=False)
    made.config.ACCESS_LOG = False
    made.config.REQUEST_MAX_SIZE = 2 * UPLOAD_SIZE
    return made


app = make_app("benchmark")


@app.get("/")
async def hello(request: Request) -> HTTPResponse:
    return text(GREETING)


@app.get("/json")
async def data(request: Request) -> HTTPResponse:
    return json(DATA)


@app.get("/greet/<name:str>")
async def greet(request: Request, name: str) -> HTTPResponse:
    return text(f"Hello, {name}!")


@app.get("/search")
async def search(request: Request) -> HTTPResponse:
    return text(f"{request.args.get('q')} page {request.args.get('page')}")


@app.post("/form")
async def form(request: Request) -> HTTPResponse:
    return text(f"{request.form.get('name')} {request.form.get('email')}")


@app.post("/echo", name="echo_json")
async def echo(request: Request) -> HTTPResponse:
    return json(request.json)


@app.post("/upload")
async def upload(request: Request) -> HTTPResponse:
    return text(str(len(request.files.get("file").body)))


@app.get("/stream")
async def stream(request: Request) -> None:
    response = await request.respond(content_type="text/plain")
    for _ in range(CHUNK_COUNT):
        await response.send(CHUNK)
    await response.eof()


@app.get("/events")
async def events(request: Request) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    response = await request.respond(content_type="text/event-stream")
    while True:
        await response.send(f"data: {await queue.get()}\n\n")


@app.websocket("/echo", name="echo_socket")
async def socket(request: Request, ws: Websocket) -> None:
    while (message := await ws.recv()) is not None:
        await ws.send(message)


@app.websocket("/room")
async def room(request: Request, ws: Websocket) -> None:
    SOCKETS.add(ws)
    try:
        while (message := await ws.recv()) is not None:
            for other in list(SOCKETS):
                await other.send(message)
    finally:
        SOCKETS.discard(ws)


@app.get("/news")
async def news(request: Request) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    response = await request.respond(content_type="text/event-stream")
    await response.send(f"data: {FIRST_EVENT}\n\n")
    QUEUES.add(queue)
    try:
        while True:
            await response.send(await queue.get())
    finally:
        QUEUES.discard(queue)


@app.get("/publish")
async def publish(request: Request) -> HTTPResponse:
    event = f"data: {request.args.get('text')}\n\n"
    for queue in QUEUES:
        queue.put_nowait(event)
    return HTTPResponse(status=204)


@app.post("/save")
async def save(request: Request) -> HTTPResponse:
    with open(SAVED, "wb") as out:
        out.write(request.files.get("file").body)
    return text(str(os.path.getsize(SAVED)))


def routes(count: int) -> Sanic[Any, Any]:
    def handler(number: int) -> Any:
        async def answer(request: Request) -> HTTPResponse:
            return text(str(number))

        return answer

    many = make_app(f"routes-{count}")
    for number in range(count):
        many.add_route(handler(number), f"/route_{number}", name=f"route_{number}")
    return many
