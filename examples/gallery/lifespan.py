"""Tells an ASGI app that the server starts and stops. What is mounted in an `App`, and is none, hears it from nobody."""

import asyncio
from typing import Any


class Lifespan:
    """The lifespan protocol from the server's side, for one app.

    Args:
        app: Any ASGI app. One that does not know the protocol raises or returns at once, and that is all right.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._to_app: asyncio.Queue[dict[str, Any]]
        self._from_app: asyncio.Queue[dict[str, Any]]

    async def start(self) -> None:
        """Start the app: a startup handler.

        Raises:
            RuntimeError: It could not start.
        """
        self._to_app, self._from_app = asyncio.Queue(), asyncio.Queue()
        # One task from the start to the end, since an app may open something here that the same task has to close.
        self._task = asyncio.create_task(self._run())
        await self._say("startup")

    async def stop(self) -> None:
        """Stop the app, if it has started: a shutdown handler.

        Raises:
            RuntimeError: It could not stop properly.
        """
        if self._task is not None and not self._task.done():
            await self._say("shutdown")
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await self._app({"type": "lifespan", "asgi": {"version": "3.0"}}, self._to_app.get, self._from_app.put)

    async def _say(self, event: str) -> None:
        await self._to_app.put({"type": f"lifespan.{event}"})
        answer = asyncio.create_task(self._from_app.get())
        await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            self._task.exception()  # looked at, so that nobody warns of it
            return
        if answer.result()["type"] == f"lifespan.{event}.failed":
            raise RuntimeError(answer.result().get("message", f"{event} failed"))
