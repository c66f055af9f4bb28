"""BlackSheep: handlers bound by names and types of parameters, orjson in its JSON settings."""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

os.environ["APP_JINJA_EXTENSION"] = ".html"  # read when the package is imported

import orjson  # noqa: E402
from blacksheep import (  # noqa: E402
    Application,
    FromJSON,
    Request,
    Response,
    Router,
    StreamedContent,
    WebSocket,
    WebSocketDisconnectError,  # noqa: E402
    json,
    text,
)
from blacksheep.server.rendering.jinja2 import JinjaRenderer  # noqa: E402
from blacksheep.server.responses import html, view_async  # noqa: E402
from blacksheep.server.sse import ServerSentEventsResponse, TextServerSentEvent  # noqa: E402
from blacksheep.sessions.memory import InMemorySessionStore  # noqa: E402
from blacksheep.settings.html import html_settings  # noqa: E402
from blacksheep.settings.json import json_settings  # noqa: E402
from jinja2 import FileSystemLoader  # noqa: E402
from pydantic import BaseModel  # noqa: E402

from benchmarks.workloads import (  # noqa: E402
    CHUNK,
    CHUNK_COUNT,
    DATA,
    FIRST_EVENT,
    GREETING,
    ITEMS,
    ROWS,
    SAVED,
    TITLE,
)

IMPORTS = "from blacksheep import Application, get"
PACKAGE = "blacksheep"

json_settings.use(loads=orjson.loads, dumps=lambda value: orjson.dumps(value).decode())
TEMPLATES = FileSystemLoader(Path(__file__).parent / "templates")
PLAIN_RENDERER = JinjaRenderer(TEMPLATES)
SOCKETS: set[WebSocket] = set()
QUEUES: set[asyncio.Queue[str]] = set()

html_settings.use(JinjaRenderer(TEMPLATES, enable_async=True))
router = Router()
app = Application(router=router)
session_router = Router()
session_app = Application(router=session_router)
session_app.use_sessions(InMemorySessionStore())


@router.get("/")
async def hello(request: Request) -> Response:
    return text(GREETING)


@router.get("/json")
async def data(request: Request) -> Response:
    return json(DATA)


@router.get("/greet/{name}")
async def greet(name: str) -> Response:
    return text(f"Hello, {name}!")


@router.get("/search")
async def search(q: str, page: str) -> Response:
    return text(f"{q} page {page}")


@router.post("/form")
async def form(request: Request) -> Response:
    fields = await request.form()
    return text(f"{fields['name']} {fields['email']}")


@router.post("/echo")
async def echo(request: Request) -> Response:
    return json(await request.json())


@router.post("/upload")
async def upload(request: Request) -> Response:
    size = 0
    async for part in request.multipart_stream():
        async for chunk in part.stream():
            size += len(chunk)
    return text(str(size))


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


@router.get("/stream")
async def stream(request: Request) -> Response:
    return Response(200, content=StreamedContent(b"text/plain", chunks))


@session_router.get("/counter")
async def counter(request: Request) -> Response:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    return text(str(visits))


@router.get("/page")
async def page(request: Request) -> Response:
    return await view_async("page", {"title": TITLE, "items": ITEMS})


async def source() -> AsyncIterator[TextServerSentEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    queue.put_nowait(FIRST_EVENT)
    while True:
        yield TextServerSentEvent(await queue.get())


@router.get("/events")
async def events(request: Request) -> Response:
    return ServerSentEventsResponse(source)


@router.ws("/echo")
async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnectError:
        pass


@router.ws("/room")
async def room(websocket: WebSocket) -> None:
    await websocket.accept()
    SOCKETS.add(websocket)
    try:
        while True:
            message = await websocket.receive_text()
            for other in list(SOCKETS):
                await other.send_text(message)
    except WebSocketDisconnectError:
        pass
    finally:
        SOCKETS.discard(websocket)


async def subscribe() -> AsyncIterator[TextServerSentEvent]:
    queue: asyncio.Queue[str] = asyncio.Queue()
    QUEUES.add(queue)
    try:
        yield TextServerSentEvent(FIRST_EVENT)
        while True:
            yield TextServerSentEvent(await queue.get())
    finally:
        QUEUES.discard(queue)


@router.get("/news")
async def news(request: Request) -> Response:
    return ServerSentEventsResponse(subscribe)


@router.get("/publish")
async def publish(text: str) -> Response:
    for queue in QUEUES:
        queue.put_nowait(text)
    return Response(204)


class Order(BaseModel):
    product: str
    price: float
    tags: list[str]
    gift: bool


@router.post("/order/{number}")
async def place(number: int, page: int, order: FromJSON[Order]) -> Response:
    return json({"number": number, "page": page, **order.value.model_dump()})


@session_router.get("/table")
async def table(request: Request) -> Response:
    visits = request.session.get("visits", 0) + 1
    request.session["visits"] = visits
    model = {"title": TITLE, "visits": visits, "rows": ROWS}
    return html(PLAIN_RENDERER.render("table", model))


@router.post("/save")
async def save(request: Request) -> Response:
    async for part in request.multipart_stream():
        with open(SAVED, "wb") as out:  # `part.save_to` takes only files below the working folder
            async for chunk in part.stream():
                out.write(chunk)
    return text(str(os.path.getsize(SAVED)))


table_app = session_app


def routes(count: int) -> Application:
    def handler(number: int) -> Any:
        async def answer(request: Request) -> Response:
            return text(str(number))

        return answer

    many = Router()
    for number in range(count):
        many.add_get(f"/route_{number}", handler(number))
    return Application(router=many)
