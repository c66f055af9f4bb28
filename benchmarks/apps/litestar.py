"""Litestar: typed handlers (msgspec writes the JSON), without OpenAPI and logging set-up."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from litestar import Litestar, MediaType, Request, WebSocket, get, post, websocket
from litestar.contrib.jinja import JinjaTemplateEngine
from litestar.datastructures import UploadFile
from litestar.enums import RequestEncodingType
from litestar.exceptions import WebSocketDisconnect
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.params import Body
from litestar.response import ServerSentEvent, Stream, Template
from litestar.template.config import TemplateConfig

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

IMPORTS = "from litestar import Litestar, get"
PACKAGE = "litestar"
SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[str]] = set()
PLAIN: dict[str, Any] = {
    "openapi_config": None,
    "logging_config": None,
    "request_max_body_size": None,
}


@get("/", media_type=MediaType.TEXT)
async def hello() -> str:
    return GREETING


@get("/json")
async def data() -> dict[str, Any]:
    return DATA


@get("/greet/{name:str}", media_type=MediaType.TEXT)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@get("/search", media_type=MediaType.TEXT)
async def search(q: str, page: str) -> str:
    return f"{q} page {page}"


@dataclass
class Person:
    name: str
    email: str


@post("/form", media_type=MediaType.TEXT, status_code=200)
async def form(data: Annotated[Person, Body(media_type=RequestEncodingType.URL_ENCODED)]) -> str:
    return f"{data.name} {data.email}"


@post("/echo", status_code=200)
async def echo(data: dict[str, Any]) -> dict[str, Any]:
    return data


@post("/upload", media_type=MediaType.TEXT, status_code=200)
async def upload(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> str:
    size = 0
    while chunk := await data["file"].read(len(UPLOAD_CHUNK)):
        size += len(chunk)
    return str(size)


@get("/stream")
async def stream() -> Stream:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(CHUNK_COUNT):
            yield CHUNK

    return Stream(chunks())


@get("/counter", media_type=MediaType.TEXT)
async def counter(request: Request) -> str:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return str(visits)


@get("/page")
async def page() -> Template:
    return Template("page.html", context={"title": TITLE, "items": ITEMS})


@get("/events")
async def events() -> ServerSentEvent:
    async def source() -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        queue.put_nowait(FIRST_EVENT)
        while True:
            yield await queue.get()

    return ServerSentEvent(source())


@websocket("/echo")
async def socket(socket: WebSocket) -> None:
    await socket.accept()
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass


@websocket("/room")
async def room(socket: WebSocket) -> None:
    await socket.accept()
    SOCKETS.add(socket)
    try:
        while True:
            message = await socket.receive_text()
            for other in list(SOCKETS):
                await other.send_text(message)
    except WebSocketDisconnect:
        pass
    finally:
        SOCKETS.discard(socket)


@get("/news")
async def news() -> ServerSentEvent:
    async def source() -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue()
        QUEUES.add(queue)
        try:
            yield FIRST_EVENT
            while True:
                yield await queue.get()
        finally:
            QUEUES.discard(queue)

    return ServerSentEvent(source())


@get("/publish", status_code=204)
async def publish(text: str) -> None:
    for queue in QUEUES:
        queue.put_nowait(text)


class Order(msgspec.Struct):
    product: str
    price: float
    tags: list[str]
    gift: bool


@post("/order/{number:int}", status_code=200)
async def place(number: int, page: int, data: Order) -> dict[str, Any]:
    return {"number": number, "page": page, **msgspec.structs.asdict(data)}


@get("/table")
async def table(request: Request) -> Template:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return Template("table.html", context={"title": TITLE, "visits": visits, "rows": ROWS})


@post("/save", media_type=MediaType.TEXT, status_code=200)
async def save(
    data: Annotated[dict[str, UploadFile], Body(media_type=RequestEncodingType.MULTI_PART)],
) -> str:
    with open(SAVED, "wb") as out:
        while chunk := await data["file"].read(len(UPLOAD_CHUNK)):
            out.write(chunk)
    return str(os.path.getsize(SAVED))


templates = TemplateConfig(
    directory=Path(__file__).parent / "templates", engine=JinjaTemplateEngine
)
app = Litestar(
    [
        *(hello, data, greet, search, form, echo, upload, stream, page, events, socket),
        *(room, news, publish, place, save),
    ],
    template_config=templates,
    **PLAIN,
)
session_app = table_app = Litestar(
    [counter, table],
    middleware=[ServerSideSessionConfig().middleware],
    template_config=templates,
    **PLAIN,
)


def routes(count: int) -> Litestar:
    def handler(number: int) -> Any:
        @get(f"/route_{number}", media_type=MediaType.TEXT)
        async def answer() -> str:
            return str(number)

        return answer

    return Litestar([handler(number) for number in range(count)], **PLAIN)
