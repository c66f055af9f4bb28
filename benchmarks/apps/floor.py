"""The floor: each answer written by hand, straight on ASGI, in its own app, which does only this.

There is no routing, no error handling and no shared helper: no framework can be cheaper than this,
only close.
"""

# ruff: noqa: D101, D102, D103 (every handler is named after what it answers)

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import jinja2
import orjson
from multipart import MultipartSegment, PushMultipartParser, parse_options_header

from benchmarks.workloads import (
    CHUNK,
    CHUNK_COUNT,
    DATA,
    FIRST_EVENT,
    ITEMS,
    ROWS,
    SAVED,
    TITLE,
)

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

IMPORTS = "pass"
PACKAGE = None

TEXT = (b"content-type", b"text/html; charset=utf-8")
JSON = (b"content-type", b"application/json")
SESSIONS: dict[str, dict[str, Any]] = {}
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    enable_async=True,
)


PLAIN_TEMPLATES = jinja2.Environment(loader=TEMPLATES.loader, autoescape=True)
SOCKETS: set[Send] = set()
QUEUES: set[asyncio.Queue[bytes]] = set()


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"13")],
        }
    )
    await send({"type": "http.response.body", "body": b"Hello, World!"})


async def json(scope: Scope, receive: Receive, send: Send) -> None:
    body = orjson.dumps(DATA)
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [JSON, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def greet(scope: Scope, receive: Receive, send: Send) -> None:
    body = f"Hello, {scope['path'][7:]}!".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def search(scope: Scope, receive: Receive, send: Send) -> None:
    query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
    body = f"{query['q']} page {query['page']}".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body


async def form(scope: Scope, receive: Receive, send: Send) -> None:
    fields = dict(parse_qsl((await read_body(receive)).decode(), keep_blank_values=True))
    body = f"{fields['name']} {fields['email']}".encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    body = orjson.dumps(orjson.loads(await read_body(receive)))
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [JSON, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


def header(scope: Scope, wanted: bytes) -> str:
    for name, value in scope["headers"]:
        if name == wanted:
            return value.decode("latin-1")
    return ""


async def upload(scope: Scope, receive: Receive, send: Send) -> None:
    _, options = parse_options_header(header(scope, b"content-type"))
    size, more = 0, True
    with PushMultipartParser(options["boundary"]) as parser:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            more = message.get("more_body", False)
            for event in parser.parse(message.get("body", b"")):
                if event and not isinstance(event, MultipartSegment):
                    size += len(event)
    body = str(size).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def chunks() -> AsyncIterator[bytes]:
    for _ in range(CHUNK_COUNT):
        yield CHUNK


async def stream(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    async for chunk in chunks():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def find_session(scope: Scope, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    cookies = dict(
        pair.split("=", 1) for pair in header(scope, b"cookie").split("; ") if "=" in pair
    )
    session = SESSIONS.get(cookies.get("session_id", ""))
    if session is None:
        session_id = secrets.token_urlsafe(32)
        session = SESSIONS[session_id] = {}
        headers.append(
            (b"set-cookie", f"session_id={session_id}; Path=/; HttpOnly; SameSite=Lax".encode())
        )
    return session


async def counter(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [TEXT]
    session = find_session(scope, headers)
    session["visits"] = session.get("visits", 0) + 1
    body = str(session["visits"]).encode()
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def page(scope: Scope, receive: Receive, send: Send) -> None:
    body = (
        await TEMPLATES.get_template("page.html").render_async(title=TITLE, items=ITEMS)
    ).encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def events(scope: Scope, receive: Receive, send: Send) -> None:
    queue: asyncio.Queue[str | None] = asyncio.Queue()

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        queue.put_nowait(None)

    listener = asyncio.create_task(listen())
    queue.put_nowait(FIRST_EVENT)
    event_stream = (b"content-type", b"text/event-stream")
    await send({"type": "http.response.start", "status": 200, "headers": [event_stream]})
    text: str | None = ""
    while text is not None:
        try:
            async with asyncio.timeout(15):
                text = await queue.get()
        except TimeoutError:
            text = None if listener.done() else ""
        if text is not None:
            body = f"data: {text}\n\n".encode() if text else b": ping\n\n"
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def websocket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


async def room(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    SOCKETS.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            for other in list(SOCKETS):
                await other({"type": "websocket.send", "text": message["text"]})
    finally:
        SOCKETS.discard(send)


async def news(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == "/publish":
        event = f"data: {dict(parse_qsl(scope['query_string'].decode()))['text']}\n\n".encode()
        for subscriber in QUEUES:
            subscriber.put_nowait(event)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})
        return
    queue: asyncio.Queue[bytes] = asyncio.Queue()
    queue.put_nowait(f"data: {FIRST_EVENT}\n\n".encode())
    QUEUES.add(queue)

    async def listen() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        queue.put_nowait(b"")

    listener = asyncio.create_task(listen())
    try:
        event_stream = (b"content-type", b"text/event-stream")
        await send({"type": "http.response.start", "status": 200, "headers": [event_stream]})
        while event := await queue.get():
            await send({"type": "http.response.body", "body": event, "more_body": True})
    finally:
        QUEUES.discard(queue)
        listener.cancel()


def is_order(order: Any) -> bool:
    return (
        type(order["product"]) is str
        and type(order["price"]) in (int, float)
        and type(order["tags"]) is list
        and all(type(tag) is str for tag in order["tags"])
        and type(order["gift"]) is bool
    )


async def order(scope: Scope, receive: Receive, send: Send) -> None:
    status, body = 200, b""
    try:
        number = int(scope["path"][7:])
        page = int(dict(parse_qsl(scope["query_string"].decode()))["page"])
        asked = orjson.loads(await read_body(receive))
        if not is_order(asked):
            raise ValueError
        body = orjson.dumps(
            {
                "number": number,
                "page": page,
                "product": asked["product"],
                "price": asked["price"],
                "tags": asked["tags"],
                "gift": asked["gift"],
            }
        )
    except (ValueError, KeyError, TypeError):
        status = 400
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [JSON, length]})
    await send({"type": "http.response.body", "body": body})


async def table(scope: Scope, receive: Receive, send: Send) -> None:
    headers = [TEXT]
    session = find_session(scope, headers)
    session["visits"] = session.get("visits", 0) + 1
    template = PLAIN_TEMPLATES.get_template("table.html")
    body = template.render(title=TITLE, visits=session["visits"], rows=ROWS).encode()
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def save(scope: Scope, receive: Receive, send: Send) -> None:
    _, options = parse_options_header(header(scope, b"content-type"))
    more = True
    with PushMultipartParser(options["boundary"]) as parser, open(SAVED, "wb") as file:
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError
            more = message.get("more_body", False)
            for event in parser.parse(message.get("body", b"")):
                if event and not isinstance(event, MultipartSegment):
                    file.write(event)
    body = str(os.path.getsize(SAVED)).encode()
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT, length]})
    await send({"type": "http.response.body", "body": body})


APPS = {
    "hello": hello,
    "json": json,
    "path": greet,
    "query": search,
    "form": form,
    "echo": echo,
    "upload": upload,
    "stream": stream,
    "session": counter,
    "page": page,
    "websocket": websocket,
    "events": events,
    "room": room,
    "news": news,
    "order": order,
    "table": table,
    "save": save,
}


def routes(count: int) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    table = {f"/route_{number}": str(number).encode() for number in range(count)}

    async def routed(scope: Scope, receive: Receive, send: Send) -> None:
        body = table[scope["path"]]
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [TEXT, length]})
        await send({"type": "http.response.body", "body": body})

    return routed
