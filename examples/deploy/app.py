"""A guest book with all that a deployment has to carry.

A page, a session, uploads, an event stream and a WebSocket, in several workers.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, UploadedFile, WebSocket, event_stream, methods

from database import DATA, connected, create
from sqlite_sessions import SQLiteSessions

UPLOADS = DATA / "uploads"
LIMIT = 10 * 2**20  # bytes of a file; nginx and Caddy refuse bodies above 16 MiB
HTTPS_ONLY = os.environ.get("HTTPS_ONLY") == "1"


class Shop(App):
    """Keeps all that must stay in the folder DATA, so workers share it."""

    def __init__(self) -> None:
        super().__init__(
            SQLiteSessions(), session_cookie_secure=True if HTTPS_ONLY else None
        )
        self.startup_handlers.append(create)
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show what the app knows about the visitor."""
        name = self.request.session.get("name", "")
        files = await asyncio.to_thread(_newest)
        return await self._render_template(
            "index.html", name=name, files=files, **self._seen()
        )

    def health(self) -> tuple[int, str, dict[str, str]]:
        """Answer if the database does."""
        with connected() as database:
            database.execute("SELECT 1 FROM files LIMIT 1")
        return 200, "ready\n", {"cache-control": "no-store"}

    async def client(self) -> dict[str, Any]:
        """Tell where the request comes from, and which worker answers it."""
        return self._seen()

    @methods("POST")
    async def name(self, name: str) -> Any:
        """Keep the visitor's name in the session."""
        self.request.session["name"] = name.strip()[:40]
        return self._redirect(self._url(), 303)

    @methods("POST")
    async def upload(self, file: UploadedFile) -> Any:
        """Keep a file while it comes in, under a name that no visitor chooses."""
        path = UPLOADS / secrets.token_hex(16)
        await file.save(path, limit=LIMIT)
        size = path.stat().st_size
        await asyncio.to_thread(_keep, file.filename[:100], size, path.name)
        if "text/html" in self.request.headers.get("accept", ""):
            return self._redirect(self._url(), 303)
        return 201, {"name": file.filename, "bytes": size}

    async def ticks(self) -> Any:
        """Send a number each half second."""
        return event_stream(self._ticks())

    async def ws_echo(self, ws: WebSocket) -> None:
        """Send each message back, with the name in the visitor's session."""
        await ws.accept()
        name = self.request.session.get("name") or "A visitor"
        async for message in ws:
            await ws.send_text(f"{name} says {message}")

    async def _ticks(self) -> AsyncIterator[str]:
        for number in range(1_000_000):
            yield str(number)
            await asyncio.sleep(0.5)

    def _seen(self) -> dict[str, Any]:
        scope = self.request.scope
        address = scope["client"][0] if scope.get("client") else "unknown"
        return {"scheme": scope["scheme"], "address": address, "worker": os.getpid()}

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, also if it lives below a path."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


def _newest() -> list[Any]:
    with connected() as database:
        query = "SELECT name, size FROM files ORDER BY id DESC LIMIT 5"
        return list(database.execute(query))


def _keep(name: str, size: int, stored: str) -> None:
    with connected(write=True) as database:
        query = "INSERT INTO files (name, size, stored) VALUES (?, ?, ?)"
        database.execute(query, (name, size, stored))


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
