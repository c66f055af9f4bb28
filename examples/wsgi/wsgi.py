"""The app as ``application``, for WSGI servers: ``gunicorn wsgi:application``."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine
from typing import Any

from a2wsgi import ASGIMiddleware

from app import app

to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()


async def tell(event: str) -> None:
    """Tell the app to start or to stop, since a WSGI server does neither."""
    await to_app.put({"type": f"lifespan.{event}"})
    answer = await from_app.get()
    if not answer["type"].endswith(".complete"):
        raise RuntimeError(answer.get("message"))


def run(coroutine: Coroutine[Any, Any, None]) -> Any:
    """Start a coroutine on the app's loop."""
    return asyncio.run_coroutine_threadsafe(coroutine, loop)


# One loop, in a thread, for all requests, since things that the app opens belong to it.
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, name="asgi", daemon=True).start()
run(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
run(tell("startup")).result(timeout=30)
atexit.register(lambda: run(tell("shutdown")).result(timeout=30))
application = ASGIMiddleware(app, loop=loop)
