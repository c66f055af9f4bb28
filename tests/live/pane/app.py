"""An app that has something of everything, for the tests of the pane."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

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

    async def lines(self, count: int = 0) -> str:
        for number in range(count):
            print("line", number)
        return "printed"

    async def text(self, length: int = 0) -> str:
        return "x" * (length - 3) + "end"

    async def ways(self) -> str:
        """Ways to a path of the app that a server with the app at its root would not mind."""
        host = self.request.headers["host"]
        return (
            "<!doctype html><html lang='en'><title>Ways</title><iframe src='/other'></iframe>"
            f"<a href='http://{host}/other'>link</a>"
            "<form action='/other'><input name='submitted' value='1'></form>"
            "<button onclick='document.forms[0].submit()'>submit</button>"
            "<button onclick='location = `/other?set`'>location</button>"
            "<button onclick='history.pushState(0, ``, `/other?pushed`)'>push</button>"
            "<button onclick='history.replaceState(0, ``, `/other?put`)'>replace</button>"
        )

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

    async def late(self, last: str = "") -> object:
        return event_stream(self._late(last))

    async def _late(self, last: str) -> AsyncIterator[str]:
        yield "one"
        await asyncio.sleep(0.01)  # a second piece follows, much sooner than the page gives up
        if last == "raise":
            raise ValueError("after the first event")
        if last:
            yield last
            return
        await asyncio.sleep(60)  # the client lets go before

    async def gap(self) -> str:
        return "above\n\n\nbelow\n"

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

    async def ws_flood(self, ws: WebSocket, count: int = 0, name: str = "") -> None:
        await ws.accept()
        for number in range(count):
            await ws.send_text(f"{name} {number}")
        await ws.close(1000, "that was all")


root = Root()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Send bodies with responses that can have none; MicroPie itself would not."""
    if not scope.get("path", "").endswith("/rude"):
        return await root(scope, receive, send)
    status = int(scope["query_string"] or 200)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    return await send({"type": "http.response.body", "body": b"a body"})
