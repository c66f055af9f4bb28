"""Tells an ASGI app that the server starts and stops.

Mounted in an `App`, an app of another kind would not be told.
"""

import asyncio
from typing import Any


class Lifespan:
    """The lifespan protocol from the server's side, for one app.

    Args:
        app: Any ASGI app. One that does not know the protocol raises or returns at
            once, and that is all right.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the app: a startup handler.

        Raises:
            RuntimeError: It could not start.
        """
        # One task from the start to the end, since an app may open something here that
        # the same task has to close.
        self._task = asyncio.create_task(self._run())
        await self._say("startup", self._task)

    async def stop(self) -> None:
        """Stop the app, if it has started: a shutdown handler.

        Raises:
            RuntimeError: It could not stop properly.
        """
        if self._task is not None and not self._task.done():
            await self._say("shutdown", self._task)
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        await self._app(
            {"type": "lifespan", "asgi": {"version": "3.0"}},
            self._to_app.get,
            self._from_app.put,
        )

    async def _say(self, event: str, task: asyncio.Task[None]) -> None:
        await self._to_app.put({"type": f"lifespan.{event}"})
        answer = asyncio.create_task(self._from_app.get())
        both: list[asyncio.Task[Any]] = [answer, task]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        if not answer.done():
            answer.cancel()
            task.exception()  # looked at, so that nobody warns of it
        elif answer.result()["type"] == f"lifespan.{event}.failed":
            raise RuntimeError(answer.result().get("message", f"{event} failed"))
