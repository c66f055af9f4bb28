"""The application of the server matrix: one handler for each thing that a server could get wrong.

What happens inside is written to files under `MICROPIE_TEST_NOTES`, one file for each test's token,
so that a test in another process can wait for it; a file `<token>.go` lets a waiting handler go on.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    ServerSentEvent,
    UploadedFile,
    WebSocket,
    event_stream,
    methods,
)
from tests.processes import until

IMPATIENT = 0.5  # seconds without a byte of a body, below /impatient
NOTES = Path(os.environ.get("MICROPIE_TEST_NOTES", "."))

# Exceptions that would end a process.
ENDS = {"exit": SystemExit(2), "interrupt": KeyboardInterrupt(), "panic": BaseException("panic")}


def note(token: str, line: str) -> None:
    with (NOTES / token).open("a") as file:
        file.write(line + "\n")


async def gone(token: str) -> None:
    """Wait until the test says go."""
    await until((NOTES / f"{token}.go").exists, 60, f"the test to let {token} go")


class Basics(App):
    async def ready(self) -> str:
        return "ready"

    async def hello(self, name: str = "World") -> str:
        return f"Hello, {name}!"

    async def segments(self, *args: str) -> list[str]:
        return list(args)

    async def query(self, number: int, text: str = "") -> dict[str, Any]:
        return {"number": number, "text": text}

    async def members(self, name: str, age: int) -> dict[str, Any]:
        return {"name": name, "age": age}

    async def raw(self) -> bytes:
        return await self.request.body()

    async def echo(self) -> AsyncIterator[bytes]:
        async for piece in self.request.stream():
            yield piece

    async def waits(self, token: str, reads: bool = False) -> None:
        """Works until its client has left, having read its body or not."""
        size = len(await self.request.body()) if reads else 0
        is_gone = await self.request.is_disconnected()
        note(token, f"{size} bytes, gone: {is_gone}")
        while not await self.request.is_disconnected():
            await asyncio.sleep(0.01)  # the work that it does
        note(token, "gone")

    async def tasks(self) -> int:
        """Counts them after a look, which needs one."""
        await self.request.is_disconnected()
        return len(asyncio.all_tasks())

    async def looks(self) -> str:
        """Looks for a disconnect before it reads the body."""
        looks = [await self.request.is_disconnected()]
        await asyncio.sleep(0.05)  # what the server sends comes meanwhile
        looks.append(await self.request.is_disconnected())
        return f"{looks} {len(await self.request.body())}"

    @methods("POST")
    async def only_post(self) -> None:
        return None

    def thread(self) -> bool:
        return threading.current_thread() is threading.main_thread()

    async def fails(self) -> None:
        raise RuntimeError("a secret")

    async def ends(self, error: str) -> None:
        raise ENDS[error]

    def ends_in_a_thread(self, error: str) -> None:
        raise ENDS[error]


class Streams(App):
    async def steps(self, token: str) -> AsyncIterator[str]:
        yield "one"
        yield ""  # an empty piece does not end a stream
        await gone(token)
        yield "two"

    async def endless(self, token: str) -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100
                await asyncio.sleep(0.05)  # an endless stream has a pace, or it would fill the disk
        finally:
            note(token, "finally")

    async def floods(self, token: str) -> AsyncIterator[str]:
        """Never waits: its client leaves soon."""
        try:
            while True:
                yield "x" * 1000
        finally:
            note(token, "finally")

    async def large(self, token: str) -> AsyncIterator[bytes]:
        """Makes 32 MiB, more than the buffers of a socket hold."""
        for _ in range(512):
            yield bytes(2**16)
        note(token, "made")

    async def silent(self, token: str) -> AsyncIterator[bytes]:
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            note(token, "finally")

    def plain(self, token: str) -> Iterator[bytes]:
        try:
            while True:
                yield b"x" * 100
                time.sleep(0.05)  # the same in a thread
        finally:
            note(token, "finally")

    async def breaks(self) -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("a secret")

    async def short(self) -> Any:
        async def source() -> AsyncIterator[bytes]:
            yield b"part"

        return 200, source(), {"content-length": "9"}

    async def events(self, token: str) -> Any:
        last = self.request.headers.get("last-event-id", "none")

        async def source() -> AsyncIterator[Any]:
            try:
                yield ServerSentEvent(f"after {last}\nsecond line", event="hello", id="7")
                await gone(token)
                yield {"n": 1}
                await asyncio.Event().wait()
            finally:
                note(token, "finally")

        return event_stream(source(), ping=0.1)


class Uploads(App):
    async def upload(self, file: UploadedFile, text: str = "") -> dict[str, Any]:
        """Gets its file when the whole form is there: the text may stand behind it."""
        return {"name": file.filename, "text": text, **await self._digest(file)}

    async def streamed_upload(self, file: UploadedFile) -> dict[str, Any]:
        """Runs while the file arrives."""
        return await self._digest(file)

    async def _digest(self, file: UploadedFile) -> dict[str, Any]:
        digest, size = hashlib.sha256(), 0
        async for chunk in file:
            digest.update(chunk)
            size += len(chunk)
        return {"size": size, "sha256": digest.hexdigest()}

    async def slow_upload(self, token: str, file: UploadedFile) -> dict[str, int]:
        note(token, "started")
        await gone(token)
        return {"size": sum([len(chunk) async for chunk in file])}

    async def cut_upload(self, token: str, file: UploadedFile) -> None:
        note(token, "started")
        try:
            async for _ in file:
                pass
            note(token, "whole")
        except ConnectionClosed:
            note(token, "ConnectionClosed")
            raise

    async def unread(self, file: UploadedFile) -> str:
        return f"not read: {file.filename}"

    async def never_runs(self, token: str, name: str) -> None:
        note(token, "ran")


class Sessions(App):
    async def login(self, name: str) -> str:
        self.request.session["name"] = name
        self.request.regenerate_session()
        return "in"

    async def whoami(self, name: FromSession) -> str:
        return str(name)

    async def logout(self) -> str:
        self.request.session.clear()
        return "out"

    async def ws_login(self, ws: WebSocket, name: str) -> None:
        self.request.session["name"] = name
        await ws.accept()
        # A client that gets the end together with the handshake might not see its headers.
        await ws.receive_text()

    async def ws_whoami(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(self.request.session)


class Sockets:
    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("index")

    async def ws_echo(self, ws: WebSocket, token: str = "") -> None:
        await ws.accept()
        try:
            async for message in ws:
                if isinstance(message, str):
                    await ws.send_text(message)
                else:
                    await ws.send_bytes(message)
        finally:
            note(token, "finally")

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"got": await ws.receive_json()})

    async def ws_chat(self, ws: WebSocket) -> None:
        await ws.accept(subprotocol="chat.v2" if "chat.v2" in ws.subprotocols else None)

    async def ws_refuses(self, ws: WebSocket) -> None:
        await ws.close(1008)

    async def ws_closes(self, ws: WebSocket, code: int, reason: str) -> None:
        await ws.accept()
        await ws.close(code, reason)

    async def ws_ends(self, ws: WebSocket, error: str) -> None:
        await ws.accept()
        raise ENDS[error]

    async def ws_fails(self, ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("a secret")

    async def ws_denied(self, ws: WebSocket) -> None:
        raise HTTPError(401, {"error": "expired"}, {"www-authenticate": "Bearer"})

    async def ws_waits(self, ws: WebSocket, token: str) -> None:
        """Never receives, nor sends."""
        await ws.accept()
        try:
            await asyncio.Event().wait()
        finally:
            note(token, "finally")

    async def ws_ticks(self, ws: WebSocket, token: str, ticks: int = 10**6) -> None:
        """Only sends, and then closes."""
        await ws.accept()
        try:
            for _ in range(ticks):
                await ws.send_text("tick")
                await asyncio.sleep(0.1)  # a ticker has a pace
            await ws.close(4000)
        except ConnectionClosed:
            note(token, "told")
            raise
        finally:
            note(token, "finally")

    async def ws_floods(self, ws: WebSocket, token: str) -> None:
        """Only sends, and never waits."""
        await ws.accept()
        try:
            while True:
                await ws.send_bytes(b"x" * 1000)
        finally:
            note(token, "finally")

    async def ws_large(self, ws: WebSocket, token: str) -> None:
        """Sends 32 MiB, as the stream of this name."""
        await ws.accept()
        for _ in range(512):
            await ws.send_bytes(bytes(2**16))
        note(token, "made")

    async def ws_closed(self, ws: WebSocket, token: str) -> None:
        await ws.accept()
        try:
            await ws.receive_text()
        except ConnectionClosed as closed:
            note(token, f"{closed.code} {closed.reason}".strip())
            raise


class Root(Basics, Streams, Uploads, Sessions, Sockets):
    pass


async def started() -> None:
    note("lifespan", "startup")


def stopped() -> None:
    note("lifespan", "shutdown")


app = Root(max_body_size=2**20, max_upload_size=128 * 2**20, body_timeout=60.0)
# For clients that stall on purpose; any other client might stall because the machine is busy.
app.mounts["/impatient"] = Root(
    max_body_size=2**20, max_upload_size=128 * 2**20, body_timeout=IMPATIENT
)
app.startup_handlers.append(started)
app.shutdown_handlers.append(stopped)
