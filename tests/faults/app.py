"""The application under attack: one of everything, and a page that tells what is left over.

`/state` counts the tasks, threads and open files of the process, and the streams and sockets whose
handlers have not ended. Each `finally` of a stream, socket or upload is written to a file under
`MICROPIE_TEST_NOTES`, since a process that ends can answer no request about it.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from micropie import App, UploadedFile, WebSocket, event_stream
from tests.processes import until

NOTES = Path(os.environ.get("MICROPIE_TEST_NOTES", "."))
IMPATIENT = 0.5  # seconds without a byte of a body, below /impatient


def note(token: str, line: str) -> None:
    """Append a line to the notes of a test; lines of several writers do not mix."""
    if token:
        with (NOTES / token).open("a") as file:
            file.write(line + "\n")


class Root(App):
    """A page, a slow page, uploads, an event stream, WebSockets and a session counter."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.open: Counter[str] = Counter()

    async def ready(self) -> str:
        return "ready"

    async def index(self, name: str = "World") -> str:
        return f"Hello, {name}!"

    async def slow(self, seconds: float = 0.2) -> str:
        await asyncio.sleep(min(seconds, 30.0))  # the work of a slow page
        return "slow"

    async def worker(self) -> str:
        return str(os.getpid())

    async def fails(self) -> None:
        raise RuntimeError("as asked for")

    async def number(self, number: int) -> dict[str, int]:
        return {"number": number}

    async def form(self, name: str) -> dict[str, str]:
        return {"name": name}

    async def upload(self, file: UploadedFile, text: str = "") -> dict[str, Any]:
        """Gets its file when the whole form is there; a large one is on the disk by then."""
        return {"size": len(await file.read()), "text": text}

    async def streamed_upload(self, file: UploadedFile, token: str = "") -> dict[str, int]:
        """Runs while the file arrives."""
        self.open["uploads"] += 1
        size = 0
        try:
            async for chunk in file:
                size += len(chunk)
                note(token, "got")
            note(token, "whole")
        except BaseException as error:
            note(token, type(error).__name__)
            raise
        finally:
            self.open["uploads"] -= 1
        return {"size": size}

    async def saved_upload(self, file: UploadedFile, path: str) -> dict[str, int]:
        """Saves the file where the test says, for example on a full disk."""
        await file.save(path)
        return {"size": Path(path).stat().st_size}

    async def body(self) -> dict[str, int]:
        return {"size": len(await self.request.body())}

    async def stream(self, pieces: int = 3) -> AsyncIterator[str]:
        for piece in range(pieces):
            yield f"piece {piece}\n"

    async def events(self, token: str = "") -> Any:
        """One event, and then nothing, until the client leaves or the server ends."""

        async def source() -> AsyncIterator[str]:
            self.open["streams"] += 1
            try:
                yield "first"
                await asyncio.Event().wait()
            finally:
                self.open["streams"] -= 1
                note(token, "finally")

        return event_stream(source())

    async def count(self) -> dict[str, int]:
        self.request.session["count"] = self.request.session.get("count", 0) + 1
        return {"count": self.request.session["count"]}

    async def mine(self, secret: str = "") -> str:
        """Keeps a secret in the session; returns the one that is there."""
        if secret:
            self.request.session["secret"] = secret
        return str(self.request.session.get("secret", ""))

    async def state(self) -> dict[str, int]:
        # Memory that is free, but that the allocator keeps, is no memory of the application.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return {
            "tasks": len(asyncio.all_tasks()),
            # Those of the framework's pools stay, at most 84 of them.
            "threads": sum("micropie" not in thread.name for thread in threading.enumerate()),
            "files": len(os.listdir("/proc/self/fd")),
            **{kind: self.open[kind] for kind in ("streams", "sockets", "uploads")},
        }

    async def ws_echo(self, ws: WebSocket, token: str = "") -> None:
        await ws.accept()
        self.open["sockets"] += 1
        try:
            async for message in ws:
                if isinstance(message, str):
                    await ws.send_text(message)
                else:
                    await ws.send_bytes(message)
        finally:
            self.open["sockets"] -= 1
            note(token, "finally")

    async def ws_secret(self, ws: WebSocket) -> None:
        """Answers with the message, and the secret of the session."""
        await ws.accept()
        message = await ws.receive_text()
        await ws.send_json([message, self.request.session.get("secret", "")])

    async def ws_busy(self, ws: WebSocket, token: str) -> None:
        """Never receives; sends when the test says so."""
        await ws.accept()
        self.open["sockets"] += 1
        try:
            await until((NOTES / f"{token}.go").exists, 60, "the test to let it send")
            while True:
                await ws.send_text("tick")
                await asyncio.sleep(0)
        finally:
            self.open["sockets"] -= 1


app = Root(max_upload_size=2**30, body_timeout=60.0)
# For clients that stall on purpose; any other client might stall because the machine is busy.
app.mounts["/impatient"] = Root(max_upload_size=2**30, body_timeout=IMPATIENT)
