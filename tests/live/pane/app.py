"""An app that has something of everything, for the tests of the pane."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from micropie import App, ServerSentEvent, UploadedFile, WebSocket, event_stream, methods

GREETING = "Hello"


class Root(App):
    """Each method is what one of the pane's tools talks to."""

    async def index(self, name: str = "reader") -> str:
        visits = self.request.session.get("visits", 0) + 1
        self.request.session["visits"] = visits
        return (
            f"<!doctype html><html lang='en'><title>Greeting</title><h1>{GREETING}, {name}</h1>"
            f"<p>Visit <b>{visits}</b></p><a href='other'>Other page</a>"
        )

    async def other(self) -> str:
        return "<!doctype html><html lang='en'><title>Other</title><h1>The other page</h1>"

    async def visits(self) -> dict[str, int]:
        return {"visits": self.request.session.get("visits", 0)}

    async def jump(self) -> tuple[int, str, list[tuple[str, str]]]:
        return self._redirect("other", status=303)

    async def picture(self) -> tuple[int, bytes, list[tuple[str, str]]]:
        return 200, Path("pictures/dot.bin").read_bytes(), [("content-type", "image/x-dot")]

    async def crash(self) -> str:
        print("about to crash")
        raise ValueError("on purpose")

    async def loop(self) -> str:
        while True:
            pass

    @methods("POST")
    async def upload(self, note: str, picture: UploadedFile) -> dict[str, str | int]:
        size = len(await picture.read())
        return {"note": note, "name": picture.filename, "size": size}

    async def echo(self) -> tuple[int, dict[str, str], list[tuple[str, str]]]:
        body = (await self.request.body()).decode()
        said = {"method": self.request.method, "body": body}
        said["type"] = self.request.headers.get("content-type", "")
        said["mine"] = self.request.headers.get("x-mine", "")
        return 201, said, [("x-answer", "yes")]

    async def ticks(self) -> object:
        return event_stream(self._ticks(int(self.request.headers.get("last-event-id", "0"))))

    async def _ticks(self, last: int) -> AsyncIterator[ServerSentEvent]:
        for number in range(last + 1, last + 4):
            yield ServerSentEvent(f"tick\nnumber {number}", event="tick", id=str(number))

    async def count(self) -> AsyncIterator[str]:
        number = 0
        while True:
            number += 1
            yield f"{number}\n"
            await asyncio.sleep(0.02)  # the client decides when it has had enough

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for text in ws:
            if text == "bye":
                await ws.close(4000, "as you said")
                return
            await ws.send_text(str(text).upper())


app = Root()
