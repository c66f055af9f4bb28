"""A request leaves nothing in memory, over 10,000 of all kinds."""

from __future__ import annotations

import gc
import itertools
import logging
import tracemalloc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from micropie import App
from tests.asgi import BOUNDARY, Message, call, elapse, encode_multipart, piece, scripted
from tests.faults.app import Root

FORM = (b"content-type", b"application/x-www-form-urlencoded")
MULTIPART = (b"content-type", f"multipart/form-data; boundary={BOUNDARY}".encode())
JSON = (b"content-type", b"application/json")
SMALL = encode_multipart([("file", "f.bin", "text/plain", b"x" * 1000), ("text", "y")])
LAST = encode_multipart([("file", "f.bin", "text/plain", b"x" * 100_000)])
SPILLED = encode_multipart([("file", "f.bin", "text/plain", b"x" * 1_100_000), ("text", "y")])


def get(path: str, query: bytes = b"", **scope: Any) -> Callable[[App], Awaitable[Any]]:
    return lambda app: call(app, path=path, query_string=query, **scope)


def send(path: str, header: tuple[bytes, bytes], *pieces: bytes) -> Callable[[App], Awaitable[Any]]:
    messages = [piece(one, more=at < len(pieces)) for at, one in enumerate(pieces, 1)]
    headers = [header, (b"content-length", b"%d" % sum(map(len, pieces)))]
    return lambda app: call(app, scripted(*messages), method="POST", path=path, headers=headers)


def leave(path: str, *pieces: bytes) -> Callable[[App], Awaitable[Any]]:
    """A client that leaves in the middle of its body, or of a stream."""
    messages: list[Message] = [piece(one, more=True) for one in pieces] or [piece()]
    messages.append({"type": "http.disconnect"})
    headers = [MULTIPART, (b"content-length", b"1000000")] if pieces else []
    method = "POST" if pieces else "GET"
    return lambda app: call(app, scripted(*messages), method=method, path=path, headers=headers)


def talk(*messages: Message, path: str = "/echo") -> Callable[[App], Awaitable[Any]]:
    end = {"type": "websocket.disconnect", "code": 1000}
    told = [{"type": "websocket.connect"}, *messages, end]
    return lambda app: call(app, scripted(*told), type="websocket", path=path)


MIXED = [
    get("/", b"name=Ada"),
    get("/no/such/page"),
    get("/number", b"number=seven"),  # 400
    get("/fails"),  # 500
    get("/number", b"number=7"),
    get("/stream"),
    get("/count", headers=[(b"cookie", b"session_id=known")]),
    send("/form", FORM, b"name=", b"Ada"),
    send("/form", JSON, b'{"name": "Ada"}'),
    send("/form", JSON, b"{"),  # 400
    send("/upload", MULTIPART, SMALL[:50], SMALL[50:]),
    send("/streamed_upload", MULTIPART, LAST[:50_000], LAST[50_000:]),
    send("/body", MULTIPART, b"x" * 1000),
    send("/impatient/body", MULTIPART, b"x" * 1000),
    leave("/streamed_upload", LAST[:50_000]),
    leave("/upload", SMALL[:500]),
    leave("/events"),
    talk({"type": "websocket.receive", "text": "a"}, {"type": "websocket.receive", "bytes": b"b"}),
    talk(path="/no/such/socket"),
]


def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the log of MicroPie be written, but kept by none of pytest's handlers."""
    log = logging.getLogger("micropie")
    monkeypatch.setattr(log, "propagate", False)
    monkeypatch.setattr(log, "handlers", [logging.NullHandler()])


ROUNDS = 5


async def left_by(app: App, requests: int) -> float:
    """Return how many bytes of memory a request leaves, after a warm-up.

    Of five rounds the one counts that leaves least: a leak is in each. In others a thread of a
    pool might start, or a cache of Python might grow.
    """
    await app.session_backend.save("known", {"count": 1}, 10**6)
    of_round, levels = requests // ROUNDS, []
    tracemalloc.start()
    try:
        for number in [20 * len(MIXED), *[of_round] * ROUNDS]:
            for one in itertools.islice(itertools.cycle(MIXED), number):
                await one(app)
            await send("/upload", MULTIPART, SPILLED)(app)  # it takes long, so once
            await elapse(1)  # a timer keeps each WebSocket for a quarter of a second
            gc.collect()
            levels.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    return min(later - sooner for sooner, later in itertools.pairwise(levels)) / of_round


def application(kind: type[Root] = Root) -> Root:
    app = kind(max_upload_size=2**30)
    app.mounts["/impatient"] = Root()
    return app


@pytest.mark.parametrize("requests", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_mixed_requests_leave_nothing(requests: int, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    assert await left_by(application(), requests) < 1


async def test_the_measure_sees_what_few_requests_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(monkeypatch)
    kept: list[object] = []

    class Leaks(Root):
        async def index(self, name: str = "World") -> str:
            kept.append(bytes(200))  # in one of 19 requests
            return name

    assert await left_by(application(Leaks), 1000) > 1
