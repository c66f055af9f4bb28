"""Clients of one request, as `receive` callables; bodies in pieces; streams never read."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.asgi import BOUNDARY, Receive, piece, scripted

CHUNKED = [("transfer-encoding", "chunked")]
MULTIPART = [("content-type", f"multipart/form-data; boundary={BOUNDARY}"), *CHUNKED]
END = f"\r\n--{BOUNDARY}--\r\n".encode()


def head(disposition: str) -> bytes:
    """The beginning of a part of a form, up to its content."""
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode()


silence = scripted()
"""A client that sends nothing."""


def sends(*pieces: bytes, last: bool = False, pause: float = 0) -> Receive:
    """A client that sends these pieces, each after a pause, and then nothing.

    With `last` the body ends with them.
    """
    messages = [
        piece(content, more=at < len(pieces) or not last) for at, content in enumerate(pieces, 1)
    ]
    return scripted(*messages, pause=pause)


class Endless:
    """A client that never stops sending; counts what was taken from it."""

    def __init__(self, piece: bytes, pieces: int = 2000) -> None:
        self.piece = piece
        self.left = pieces
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        self.left -= 1
        self.taken += len(self.piece)
        await asyncio.sleep(0)
        return piece(self.piece, more=self.left > 0)


class UnreadStream:
    """A stream that is to be closed without being read; counts how often it was closed."""

    closed = 0

    def __aiter__(self) -> UnreadStream:
        return self

    async def __anext__(self) -> str:
        raise AssertionError("it is not to be read")

    async def aclose(self) -> None:
        self.closed += 1


class UnreadFile:
    """The same as a plain iterator with a `close()`, as an open file is."""

    closed = 0

    def __iter__(self) -> UnreadFile:
        return self

    def __next__(self) -> bytes:
        raise AssertionError("it is not to be read")

    def close(self) -> None:
        self.closed += 1


class Turns:
    """A `send()` that counts the messages of each turn of the event loop, until it is ended."""

    def __init__(self) -> None:
        self.turn = 0
        self.counts: dict[int, int] = {}
        self._counter = asyncio.create_task(self._count())

    @property
    def sends(self) -> int:
        return sum(self.counts.values())

    async def _count(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    async def __call__(self, message: Any) -> None:
        self.counts[self.turn] = self.counts.get(self.turn, 0) + 1

    def end(self) -> None:
        self._counter.cancel()
