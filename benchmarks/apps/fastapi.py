"""FastAPI: typed parameters, return annotations (pydantic writes the JSON), no API pages."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Form, Request, UploadFile, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, PlainTextResponse, StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel
from starlette.middleware.sessions import SessionMiddleware

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

IMPORTS = "from fastapi import FastAPI"
PACKAGE = "fastapi"
SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[str]] = set()
PLAIN: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None}

app = FastAPI(**PLAIN)
session_app = FastAPI(**PLAIN)
session_app.add_middleware(SessionMiddleware, secret_key="a secret of thirty-two characters")
templates = Jinja2Templates(Path(__file__).parent / "templates")


@app.get("/", response_class=PlainTextResponse)
async def hello() -> str:
    return GREETING


@app.get("/json")
async def data() -> dict[str, Any]:
    return DATA


@app.get("/greet/{name}", response_class=PlainTextResponse)
async def greet(name: str) -> str:
    return f"Hello, {name}!"


@app.get("/search", response_class=PlainTextResponse)
async def search(q: str, page: str) -> str:
    return f"{q} page {page}"


@app.post("/form", response_class=PlainTextResponse)
async def form(name: Annotated[str, Form()], email: Annotated[str, Form()]) -> str:
    return f"{name} {email}"


@app.post("/echo")
async def echo(body: dict[str, Any]) -> dict[str, Any]:
    return body


@app.post("/upload", response_class=PlainTextResponse)
async def upload(file: UploadFile) -> str:
    size = 0
    while chunk := await file.read(len(UPLOAD_CHUNK)):
        size += len(chunk)
    return str(size)


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


@app.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(chunks())


@session_app.get("/counter", response_class=PlainTextResponse)
async def counter(request: Request) -> str:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return str(visits)


@app.get("/page", response_class=HTMLResponse)
async def page(request: Request) -> HTMLResponse:
    return templates.TemplateResponse(request, "page.html", {"title": TITLE, "items": ITEMS})


@app.get("/events", response_class=EventSourceResponse)
async def events() -> AsyncIterable[ServerSentEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    while True:
        yield ServerSentEvent(raw_data=await queue.get())


@app.websocket("/echo")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/room")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    SOCKETS.add(websocket)
    try:
        while True:
            message = await websocket.receive_text()
            for other in list(SOCKETS):
                await other.send_text(message)
    except WebSocketDisconnect:
        pass
    finally:
        SOCKETS.discard(websocket)


@app.get("/news", response_class=EventSourceResponse)
async def news() -> AsyncIterable[ServerSentEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    QUEUES.add(queue)
    try:
        yield ServerSentEvent(raw_data=FIRST_EVENT)
        while True:
            yield ServerSentEvent(raw_data=await queue.get())
    finally:
        QUEUES.discard(queue)


@app.get("/publish", status_code=204)
async def publish(text: str) -> None:
    for queue in QUEUES:
        queue.put_nowait(text)


class Order(BaseModel):
    product: str
    price: float
    tags: list[str]
    gift: bool


@app.post("/order/{number}")
async def place(number: int, page: int, order: Order) -> dict[str, Any]:
    return {"number": number, "page": page, **order.model_dump()}


@session_app.get("/table", response_class=HTMLResponse)
async def table(request: Request) -> HTMLResponse:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    context = {"title": TITLE, "visits": visits, "rows": ROWS}
    return templates.TemplateResponse(request, "table.html", context)


@app.post("/save", response_class=PlainTextResponse)
async def save(file: UploadFile) -> str:
    with open(SAVED, "wb") as out:
        while chunk := await file.read(len(UPLOAD_CHUNK)):
            out.write(chunk)
    return str(os.path.getsize(SAVED))


table_app = session_app


def routes(count: int) -> FastAPI:
    def endpoint(number: int) -> Any:
        async def answer() -> str:
            return str(number)

        return answer

    many = FastAPI(**PLAIN)
    for number in range(count):
        many.get(f"/route_{number}", response_class=PlainTextResponse)(endpoint(number))
    return many
