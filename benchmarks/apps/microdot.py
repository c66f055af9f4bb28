"""Microdot: its ASGI application, without limits, its multipart buffer as large as it advises."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from microdot.asgi import Microdot, Request, with_websocket
from microdot.jinja import Template
from microdot.multipart import FormDataIter
from microdot.session import Session, with_session
from microdot.sse import with_sse

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
    UPLOAD_SIZE,
)

IMPORTS = "from microdot.asgi import Microdot"
PACKAGE = "microdot"
MISSING = {"order": "Microdot leaves the checking of JSON to the app or to a package"}
SOCKETS: set[Any] = set()
QUEUES: set[asyncio.Queue[str]] = set()

Request.max_content_length = 2 * UPLOAD_SIZE
FormDataIter.buffer_size = len(UPLOAD_CHUNK)
Template.initialize(str(Path(__file__).parent / "templates"), enable_async=True)


class PlainTemplate(Template):
    pass


PlainTemplate.initialize(str(Path(__file__).parent / "templates"))
app = Microdot()
Session(app, secret_key="a secret of thirty-two characters")


@app.get("/")
async def hello(request: Request) -> str:
    return GREETING


@app.get("/json")
async def data(request: Request) -> dict[str, Any]:
    return DATA


@app.get("/greet/<name>")
async def greet(request: Request, name: str) -> str:
    return f"Hello, {name}!"


@app.get("/search")
async def search(request: Request) -> str:
    return f"{request.args['q']} page {request.args['page']}"


@app.post("/form")
async def form(request: Request) -> str:
    return f"{request.form['name']} {request.form['email']}"


@app.post("/echo")
async def echo(request: Request) -> Any:
    return request.json


@app.post("/upload")
async def upload(request: Request) -> str:
    size = 0
    async for _, file in FormDataIter(request):
        while chunk := await file.read(len(UPLOAD_CHUNK)):
            size += len(chunk)
    return str(size)


@app.get("/stream")
async def stream(request: Request) -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    return chunks()


@app.get("/counter")
@with_session
async def counter(request: Request, session: Any) -> str:
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    return str(session["visits"])


@app.get("/page")
async def page(request: Request) -> Any:
    return await Template("page.html").render_async(title=TITLE, items=ITEMS), {
        "Content-Type": "text/html"
    }


@app.get("/events")
@with_sse
async def events(request: Request, sse: Any) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    while True:
        await sse.send(await queue.get())


@app.get("/echo")
@with_websocket
async def socket(request: Request, ws: Any) -> None:
    while True:
        await ws.send(await ws.receive())


@app.get("/room")
@with_websocket
async def room(request: Request, ws: Any) -> None:
    SOCKETS.add(ws)
    try:
        while True:
            message = await ws.receive()
            for other in list(SOCKETS):
                await other.send(message)
    finally:
        SOCKETS.discard(ws)


@app.get("/news")
@with_sse
async def news(request: Request, sse: Any) -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()
    QUEUES.add(queue)
    try:
        await sse.send(FIRST_EVENT)
        while True:
            await sse.send(await queue.get())
    finally:
        QUEUES.discard(queue)


@app.get("/publish")
async def publish(request: Request) -> tuple[str, int]:
    for queue in QUEUES:
        queue.put_nowait(request.args["text"])
    return "", 204


@app.get("/table")
@with_session
async def table(request: Request, session: Any) -> Any:
    session["visits"] = session.get("visits", 0) + 1
    session.save()
    template = PlainTemplate("table.html")
    page = template.render(title=TITLE, visits=session["visits"], rows=ROWS)
    return page, {"Content-Type": "text/html"}


@app.post("/save")
async def save(request: Request) -> str:
    async for _, file in FormDataIter(request):
        await file.save(SAVED)
    return str(os.path.getsize(SAVED))


table_app = app


def routes(count: int) -> Microdot:
    def handler(number: int) -> Any:
        async def answer(request: Request) -> str:
            return str(number)

        return answer

    many = Microdot()
    for number in range(count):
        many.get(f"/route_{number}")(handler(number))
    return many
