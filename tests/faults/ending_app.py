"""The application under attack, which ends its streams and sockets itself, as the guide shows."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncIterator
from typing import Any

from micropie import WebSocket, event_stream
from tests.faults.app import Root, note
from tests.processes import ROOT

sys.path.append(str(ROOT / "examples/cluster"))
ending = importlib.import_module("ending").ending


class Ending(Root):
    async def events(self, token: str = "") -> Any:
        async def source() -> AsyncIterator[str]:
            try:
                yield "first"
                await ending.wait()
            finally:
                note(token, "finally")

        return event_stream(source())

    async def ws_echo(self, ws: WebSocket, token: str = "") -> None:
        await ws.accept()
        closer = asyncio.create_task(self._close(ws))
        try:
            async for message in ws:
                await ws.send_text(str(message))
        finally:
            closer.cancel()
            note(token, "finally")

    async def _close(self, ws: WebSocket) -> None:
        await ending.wait()
        await ws.close(1012)


app = Ending(max_upload_size=2**30, body_timeout=60.0)
app.startup_handlers.append(ending.notice)
