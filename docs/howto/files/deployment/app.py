"""The app that the deployment page puts behind servers and proxies."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, HTTPError, WebSocket, event_stream

log = logging.getLogger("shop")
logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), format="%(levelname)s %(name)s: %(message)s")


class Shop(App):
    """Says what reaches it, and how it ends."""

    def __init__(self) -> None:
        super().__init__(
            debug=os.environ.get("DEBUG") == "1",
            max_body_size=int(os.environ.get("MAX_BODY_SIZE", 2**20)),
        )
        self._database: str | None = None
        self.startup_handlers.append(self._open)
        self.shutdown_handlers.append(self._close)

    async def index(self) -> dict[str, Any]:
        """Say who asks, as far as the server knows."""
        scope = self.request.scope
        client = (scope.get("client") or [None])[0]
        root = scope.get("root_path", "")
        return {"scheme": scope["scheme"], "host": self.request.headers["host"], "client": client, "root_path": root}

    async def health(self) -> tuple[int, str, dict[str, str]]:
        """Answer whether requests may be sent here."""
        if self._database is None:
            raise HTTPError(503, "starting")
        return 200, "ok", {"cache-control": "no-store"}

    async def ticks(self) -> Any:
        """Count for ever."""
        return event_stream(self._ticks())

    async def ws_echo(self, ws: WebSocket) -> None:
        """Send back what comes."""
        await ws.accept()
        async for message in ws:
            await ws.send_text(str(message))

    async def _ticks(self) -> AsyncIterator[str]:
        number = 0
        try:
            while True:
                yield str(number)
                number += 1
                await asyncio.sleep(0.1)
        finally:
            log.info("the stream is closed")

    async def _open(self) -> None:
        self._database = os.environ.get("DATABASE_URL", "sqlite:///shop.db")
        log.info("the shop is open")

    async def _close(self) -> None:
        self._database = None
        log.info("the shop is closed")


app = Shop()
