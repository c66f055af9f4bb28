"""Quart: Flask's decorators and globals, with the orjson provider of Flask's documentation."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import orjson
from quart import Quart, Response, make_response, render_template, request, session, websocket
from quart.json.provider import JSONProvider

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

IMPORTS = "from quart import Quart"
PACKAGE = "quart"
MISSING = {"order": "Quart leaves the checking of JSON to the app or to a package"}
SOCKETS: set[Any] = set()
QUEUES: set[asyncio.Queue[bytes]] = set()


class OrjsonProvider(JSONProvider):
    def dumps(self, obj: Any, **options: Any) -> str:
        return orjson.dumps(obj).decode()

    def loads(self, text: str | bytes, **options: Any) -> Any:
        return orjson.loads(text)

    def response(self, *args: Any, **kwargs: Any) -> Response:
        return self._app.response_class(
            orjson.dumps(self._prepare_response_obj(args, kwargs)), mimetype="application/json"
        )


def make_app() -> Quart:
    made = Quart(__name__)
    made.json = OrjsonProvider(made)
    made.config["MAX_CONTENT_LENGTH"] = 2 * UPLOAD_SIZE
    return made


app = make_app()
session_app = make_app()
session_app.secret_key = "a secret of thirty-two characters"


@app.get("/")
async def hello() -> str:
    return GREETING


@app.get("/json")
async def data() -> dict[str, Any]:
    return DATA


@app.get("/greet/<name>")
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@app.get("/search")
async def search() -> str:
    return f"{request.args['q']} page {request.args['page']}"


@app.post("/form")
async def form() -> str:
    fields = await request.form
    return f"{fields['name']} {fields['email']}"


@app.post("/echo")
async def echo() -> Any:
    return await request.get_json()


@app.post("/upload")
async def upload() -> str:
    size = 0
    file = (await request.files)["file"]
    while chunk := file.read(len(UPLOAD_CHUNK)):
        size += len(chunk)
    return str(size)


@app.get("/stream")
async def stream() -> AsyncIterator[bytes]:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    return chunks()


@session_app.get("/counter")
async def counter() -> str:
    visits = session.get("visits", 0) + 1
    session["visits"] = visits
    return str(visits)


@app.get("/page")
async def page() -> str:
    return await render_template("page.html", title=TITLE, items=ITEMS)


@app.get("/events")
async def events() -> Any:
    async def source() -> AsyncIterator[bytes]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queue.put_nowait(FIRST_EVENT)
        while True:
            yield f"data: {await queue.get()}\n\n".encode()

    response = await make_response(
        source(), {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    response.timeout = None
    return response


@app.websocket("/echo")
async def socket() -> None:
    await websocket.accept()
    while True:
        await websocket.send(await websocket.receive())


@app.websocket("/room")
async def room() -> None:
    await websocket.accept()
    mine = websocket._get_current_object()
    SOCKETS.add(mine)
    try:
        while True:
            message = await websocket.receive()
            for other in list(SOCKETS):
                await other.send(message)
    finally:
        SOCKETS.discard(mine)


@app.get("/news")
async def news() -> Any:
    async def source() -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        QUEUES.add(queue)
        try:
            yield f"data: {FIRST_EVENT}\n\n".encode()
            while True:
                yield await queue.get()
        finally:
            QUEUES.discard(queue)

    response = await make_response(
        source(), {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    )
    response.timeout = None
    return response


@app.get("/publish")
async def publish() -> tuple[str, int]:
    event = f"data: {request.args['text']}\n\n".encode()
    for queue in QUEUES:
        queue.put_nowait(event)
    return "", 204


@session_app.get("/table")
async def table() -> str:
    visits = session.get("visits", 0) + 1
    session["visits"] = visits
    return await render_template("table.html", title=TITLE, visits=visits, rows=ROWS)


@app.post("/save")
async def save() -> str:
    await (await request.files)["file"].save(SAVED)
    return str(os.path.getsize(SAVED))


table_app = session_app


def routes(count: int) -> Quart:
    def endpoint(number: int) -> Any:
        async def answer() -> str:
            return str(number)

        return answer

    many = make_app()
    for number in range(count):
        many.add_url_rule(f"/route_{number}", f"route_{number}", endpoint(number))
    return many
