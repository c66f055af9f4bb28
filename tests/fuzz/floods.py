"""The work is linear in what was sent, however a short piece is repeated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from micropie import App, HTTPError, Request, UploadedFile
from tests.asgi import call, piece
from tests.fuzz.inputs import Input, logged, target
from tests.timing import shortest

SIZE = 2**17
# Many times what linear work takes, and a fraction of what work with the square of SIZE takes.
ENOUGH = 0.8
FORM = b"application/x-www-form-urlencoded"
PARTS = b"multipart/form-data; boundary=b"


class Site(App):
    async def index(self, *rest: str) -> None:
        found = self.request
        _ = found.headers, found.cookies, found.session, found.query_params, found.body_params

    async def number(self, value: int | float) -> None: ...

    async def upload(self, file: UploadedFile) -> None:
        await file.read()


def _header(name: bytes) -> Callable[[bytes], dict[str, Any]]:
    return lambda sent: {"headers": [(name, sent)]}


def _body(kind: bytes, before: bytes = b"") -> Callable[[bytes], dict[str, Any]]:
    def options(sent: bytes) -> dict[str, Any]:
        return {"method": "POST", "headers": [(b"content-type", kind)], "body": before + sent}

    return options


HEAD = b'--b\r\ncontent-disposition: form-data; name="file"; filename="'
WAYS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "path": lambda sent: {"path": "/" + sent.decode("latin-1")},
    "query": lambda sent: {"query_string": sent},
    "number": lambda sent: {"path": "/number", "query_string": b"value=" + sent},
    "form": _body(FORM),
    "json": _body(b"application/json"),
    "parts": _body(PARTS),
    "filename": _body(PARTS, HEAD),
    "file": _body(PARTS, HEAD + b'x"\r\n\r\n'),
    "boundary": lambda sent: _body(PARTS + sent)(HEAD),
    "lines": lambda sent: {"headers": [(b"x", sent[:9])] * (len(sent) // 9)},
    **{
        name: _header(name.encode())
        for name in ("cookie", "origin", "host", "referer", "content-type", "content-length")
    },
}


async def _ask(options: dict[str, Any]) -> None:
    body = options.pop("body", b"")
    messages = [piece(body[at : at + 2**14], more=True) for at in range(0, len(body), 2**14)]
    messages.append(piece())

    async def receive() -> Any:
        if messages:
            return messages.pop(0)
        return await asyncio.get_running_loop().create_future()

    await call(Site(), receive, **options)


@target(b"a=1&", b"; ", b"session_id=x;", b"%", b"[", b"{", b"--b\r\n", b"1", b"\r", b"::", b"127.")
def flood(data: bytes) -> None:
    """128 KiB of a repeated piece cost less than a second, wherever a client puts them."""
    given = Input(data)
    way, before, after = given.pick(sorted(WAYS)), given.some(40), given.some(40)
    repeated = given.rest()[:200] or b"x"
    sent = before + repeated * (SIZE // len(repeated)) + after

    def attempt() -> float:
        began = time.process_time()
        with logged():
            asyncio.run(_ask(WAYS[way](sent)))
        return time.process_time() - began

    assert shortest(attempt, enough=ENOUGH) <= ENOUGH, way


@target(b"../", b"\\", b"C:", b" ", b".", b"\xc3\xbc", b"\x00")
def long_name(data: bytes) -> None:
    """A long file name is shortened in linear time, too."""
    name = (data[:100] or b"x").decode("utf-8", "replace")
    name *= SIZE // len(name)

    def attempt() -> float:
        began = time.process_time()
        UploadedFile(name)
        return time.process_time() - began

    assert shortest(attempt, enough=ENOUGH) <= ENOUGH


@target(b"&", b"=", b"a&")
def many_fields(data: bytes) -> None:
    """At most 1,000 fields of a query are taken, and the first one more is a 413."""
    request = Request({"type": "http", "query_string": data[:20] * 500})
    try:
        found = request.query_params
    except HTTPError as error:
        assert error.status == 413
        return
    assert sum(map(len, found.values())) <= 1000
