"""What is asked of every framework, and what it has to answer before anything is timed."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

Message = dict[str, Any]
MIB = 2**20

GREETING = "Hello, World!"
DATA = {"message": GREETING, "numbers": [1, 2, 3], "ok": True}
CHUNK = b"x" * 64
CHUNK_COUNT = 1_000
TITLE = "Fruit & vegetables"
ITEMS = [{"name": f"Item <{number}>", "price": number * 1.25} for number in range(20)]
ECHO = {
    "people": [
        {"id": n, "name": f"Person {n}", "tags": ["a", "b"], "score": n * 1.5} for n in range(17)
    ],
    "page": 1,
}
FIRST_EVENT = "ready"
ROWS = [{"name": f"Item <{number}>", "price": number * 1.25} for number in range(50)]
ORDER = {"product": "Plum pie", "price": 4.75, "tags": ["sweet", "fresh"], "gift": True}
ORDER_REPLY = {"number": 42, "page": 2} | ORDER
# Published to many clients. Of these 100 bytes the last one occurs nowhere else, so that a client
# can count.
NEWS = "ping-pong-" * 9 + "and-again" + "!"
UPLOAD_CHUNK = (
    bytes(range(256)) * 256
)  # 64 KiB: what uvicorn hands over at a time when the client is fast
UPLOAD_SIZE = 64 * MIB
# Where the apps save an upload to; the processes that are started inherit it.
SAVED = os.environ.setdefault(
    "BENCHMARK_SAVED", os.path.join(tempfile.gettempdir(), f"benchmark-{os.getpid()}.bin")
)

_BOUNDARY = b"----benchmark7MA4YWxkTrZu0gW"
_UPLOAD_HEAD = (
    b'--%s\r\nContent-Disposition: form-data; name="file"; filename="data.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n" % _BOUNDARY
)
_UPLOAD_TAIL = b"\r\n--%s--\r\n" % _BOUNDARY
_HEADERS = [
    (b"host", b"127.0.0.1:8000"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"user-agent", b"benchmark/1.0"),
]


@dataclass
class Answer:
    """What an app sent back: the status, the headers, the body, and the messages as they came."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    messages: list[Message] = field(repr=False)

    @classmethod
    def of(cls, messages: list[Message]) -> Answer:
        """Put an answer together from the ASGI messages of one HTTP request."""
        start = messages[0] if messages else {}
        body = b"".join(message.get("body", b"") for message in messages[1:])
        return cls(start.get("status", 0), list(start.get("headers", [])), body, messages)


@dataclass(frozen=True)
class Workload:
    """One thing that is asked.

    Attributes:
        name: Short name, also the key in the result file.
        title: Heading in tables.
        check: Raises AssertionError when the answer is wrong.
        method: HTTP method; ``"WEBSOCKET"`` for a socket.
        path: Decoded path.
        query: Query string.
        headers: Headers beside those that every request has.
        body: The request's body, at once.
        stream: Makes the body's chunks for one request, where it is too large to be held.
        refused: A body with a value of the wrong type, which every framework has to refuse.
        units: How many units (MiB) one request consists of; costs are given per unit.
    """

    name: str
    title: str
    check: Callable[[Answer], None]
    method: str = "GET"
    path: str = "/"
    query: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    stream: Callable[[int], Iterator[bytes]] | None = None
    refused: bytes = b""
    units: int = 1

    def scope(self, *, cookie: bytes | None = None) -> Message:
        """Build the ASGI scope as uvicorn would, with a session cookie where one is given."""
        headers = [*_HEADERS, *self.headers]
        if cookie is not None:
            headers.append((b"cookie", cookie))
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8000),
            "client": ("127.0.0.1", 50000),
            "scheme": "http",
            "root_path": "",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": self.query,
            "headers": headers,
        }
        if self.method == "WEBSOCKET":
            scope |= {"type": "websocket", "scheme": "ws", "subprotocols": [], "extensions": {}}
        else:
            scope["method"] = self.method
        return scope

    def messages(self, units: int | None = None) -> Iterator[Message]:
        """Make what the app receives for one request, or for one socket of so many messages."""
        units = self.units if units is None else units
        if self.method == "WEBSOCKET":
            return chain(
                ({"type": "websocket.connect"},),
                repeat({"type": "websocket.receive", "text": GREETING}, units),
            )
        if self.stream is None:
            return iter(({"type": "http.request", "body": self.body, "more_body": False},))
        return self._streamed(self.stream(units))

    @staticmethod
    def _streamed(chunks: Iterator[bytes]) -> Iterator[Message]:
        for chunk in chunks:
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b"", "more_body": False}


def upload_body(units: int) -> Iterator[bytes]:
    """Make the chunks of a multipart form that holds one file of ``units`` MiB."""
    yield _UPLOAD_HEAD
    yield from repeat(UPLOAD_CHUNK, units * MIB // len(UPLOAD_CHUNK))
    yield _UPLOAD_TAIL


def upload_length(units: int) -> int:
    """Return the length in bytes of what :func:`upload_body` makes."""
    return len(_UPLOAD_HEAD) + units * MIB + len(_UPLOAD_TAIL)


UPLOAD_TYPE = b"multipart/form-data; boundary=" + _BOUNDARY


def _expect(answer: Answer, body: bytes) -> None:
    assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
    assert answer.body == body, f"{answer.body[:200]!r} instead of {body[:200]!r}"


def _text(text: str) -> Callable[[Answer], None]:
    return lambda answer: _expect(answer, text.encode())


def _json(value: Any) -> Callable[[Answer], None]:
    def check(answer: Answer) -> None:
        assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
        kind = dict(answer.headers).get(b"content-type", b"")
        assert kind.startswith(b"application/json"), f"content type {kind!r}"
        assert json.loads(answer.body) == value, f"{answer.body[:200]!r}"

    return check


def _chunked(answer: Answer) -> None:
    _expect(answer, CHUNK * CHUNK_COUNT)
    sent = sum(message.get("body") == CHUNK for message in answer.messages)
    assert sent == CHUNK_COUNT, f"{sent} separate chunks instead of {CHUNK_COUNT}"


def _page(answer: Answer) -> None:
    assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
    text = answer.body.decode()
    assert text.count("<h1>Fruit &amp; vegetables</h1>") == 1, text[:200]
    assert (
        text.count('<tr class="odd"><td>Item &lt;')
        == text.count('<tr class="even"><td>Item &lt;')
        == 10
    ), text[:300]


def _echoed(answer: Answer) -> None:
    texts = [
        message.get("text") for message in answer.messages if message["type"] == "websocket.send"
    ]
    assert answer.messages[0]["type"] == "websocket.accept", answer.messages[0]
    assert texts, "no message came back"
    assert set(texts) == {GREETING}, f"{texts[:3]!r} instead of {GREETING!r}"


def _counted(answer: Answer) -> None:
    assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
    assert answer.body.isdigit(), f"{answer.body[:200]!r} is no count"


def _any(answer: Answer) -> None:
    """Take whatever comes: who asks does the checking."""


def _table(answer: Answer) -> None:
    assert answer.status == 200, f"status {answer.status}: {answer.body[:200]!r}"
    text = answer.body.decode()
    assert re.search(r"<p>Visit \d+</p>", text), text[:200]
    assert text.count("><td>Item &lt;") == len(ROWS), text[:300]


_ECHO_BODY = json.dumps(ECHO, separators=(",", ":")).encode()
_FORM_BODY = b"name=Zo%C3%AB+Miller&email=zoe%40example.org"


def _with_body(kind: bytes, body: bytes) -> dict[str, Any]:
    headers = ((b"content-type", kind), (b"content-length", str(len(body)).encode()))
    return {"method": "POST", "headers": headers, "body": body}


def upload(units: int = UPLOAD_SIZE // MIB, name: str = "upload") -> Workload:
    """Return the upload workload for a file of ``units`` MiB, or the one that also saves it."""
    headers = (
        (b"content-type", UPLOAD_TYPE),
        (b"content-length", str(upload_length(units)).encode()),
    )
    return Workload(
        name,
        f"{units} MiB upload" + (", saved" if name == "save" else ""),
        _text(str(units * MIB)),
        "POST",
        f"/{name}",
        headers=headers,
        stream=upload_body,
        units=units,
    )


def route(number: int) -> Workload:
    """Return the workload that asks for one of many routes."""
    return Workload("route", "One of many routes", _text(str(number)), path=f"/route_{number}")


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("hello", "Hello", _text(GREETING)),
        Workload("json", "JSON", _json(DATA), path="/json"),
        Workload("path", "Path argument", _text("Hello, Alice!"), path="/greet/Alice"),
        Workload(
            "query",
            "Query",
            _text("frameworks page 2"),
            path="/search",
            query=b"q=frameworks&page=2",
        ),
        Workload(
            "form",
            "Form",
            _text("Zoë Miller zoe@example.org"),
            path="/form",
            **_with_body(b"application/x-www-form-urlencoded", _FORM_BODY),
        ),
        Workload(
            "echo",
            "1 KB JSON echo",
            _json(ECHO),
            path="/echo",
            **_with_body(b"application/json", _ECHO_BODY),
        ),
        upload(),
        Workload("stream", "Stream of 1,000 chunks", _chunked, path="/stream"),
        Workload("session", "Session counter", _counted, path="/counter"),
        Workload("page", "Jinja page", _page, path="/page"),
        Workload("websocket", "WebSocket message", _echoed, "WEBSOCKET", "/echo"),
    )
}

# The daily work of small apps. It is measured under a server, where it shows which share of the
# whole a framework is.
TASKS = {
    workload.name: workload
    for workload in (
        Workload("room", "Message to 500 WebSockets, for each", _any, "WEBSOCKET", "/room"),
        Workload("news", "Event to 500 event streams, for each", _any, path="/news"),
        Workload(
            "order",
            "API call with a checked JSON body",
            _json(ORDER_REPLY),
            path="/order/42",
            query=b"page=2",
            refused=json.dumps(ORDER | {"price": "cheap"}).encode(),
            **_with_body(b"application/json", json.dumps(ORDER, separators=(",", ":")).encode()),
        ),
        Workload("table", "Jinja page of 50 rows with a session", _table, path="/table"),
        upload(name="save"),
    )
}

EVENTS = Workload("events", "Event stream", _any, path="/events")
