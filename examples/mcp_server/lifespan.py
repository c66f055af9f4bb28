"""Runs the lifespan of any ASGI app that an `App` mounts: FastAPI, Starlette, MCP.

MicroPie does so for a mounted `App` alone. Copy this file beside your app, and write:

    api = Lifespan(FastAPI())
    self.mounts["/api"] = api
    self.startup_handlers.append(api.start)
    self.shutdown_handlers.append(api.stop)
"""

import asyncio
import logging
from typing import Any

_log = logging.getLogger("lifespan")


class Lifespan:
    """The lifespan protocol from the server's side, for one app.

    An app that doesn't know the protocol raises or returns at once. That is all right.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._state: dict[str, Any] = {}
        self._task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Hand a request over, with the state that the app has set at its start."""
        state = {**scope.get("state", {}), **self._state}
        await self._app({**scope, "state": state}, receive, send)

    async def start(self) -> None:
        """Start the app, or raise RuntimeError."""
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # One task, since an app can open something here that the same one must close.
        self._task = asyncio.create_task(self._run())
        await self._tell("startup")

    async def stop(self) -> None:
        """Stop the app, if it runs, or raise RuntimeError or (in 10 s) TimeoutError."""
        if self._task is not None and not self._task.done():
            try:
                async with asyncio.timeout(10):
                    await self._tell("shutdown")
                    await asyncio.wait([self._task])
            finally:
                self._task.cancel()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self._state}
        try:
            await self._app(scope, self._to_app.get, self._from_app.put)
        except Exception as error:
            _log.info("%r ended its lifespan: %r", self._app, error)
        finally:  # or `_tell` would wait forever
            self._from_app.put_nowait({"type": "ended"})

    async def _tell(self, event: str) -> None:
        await self._to_app.put({"type": f"lifespan.{event}"})
        answer = await self._from_app.get()
        if answer["type"] == f"lifespan.{event}.failed":
            raise RuntimeError(answer.get("message") or f"{event} failed")
