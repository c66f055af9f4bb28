"""The app as ``application``, for WSGI servers: ``gunicorn wsgi:application``."""

import asyncio
import atexit
import threading
from typing import Any

from a2wsgi import ASGIMiddleware

from app import app


class Lifespan:
    """Runs startup and shutdown handlers, unknown to WSGI, on the app's own loop."""

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def start(self) -> None:
        """Start the app, and see to it that it is stopped when this process ends."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
        asyncio.run_coroutine_threadsafe(
            self._app(scope, self._to_app.get, self._from_app.put), self._loop
        )
        self._say("startup")
        atexit.register(self._say, "shutdown")

    def _say(self, event: str) -> None:
        answer = asyncio.run_coroutine_threadsafe(
            self._exchange(event), self._loop
        ).result(timeout=30)
        if not answer["type"].endswith(".complete"):
            raise RuntimeError(answer.get("message"))

    async def _exchange(self, event: str) -> dict[str, Any]:
        await self._to_app.put({"type": f"lifespan.{event}"})
        return await self._from_app.get()


# One loop, in a thread, for all requests, since things that the app opens belong to it.
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, name="asgi", daemon=True).start()
Lifespan(app, loop).start()
application = ASGIMiddleware(app, loop=loop)
