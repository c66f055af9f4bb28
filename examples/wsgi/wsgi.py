"""The app as ``application``, for WSGI servers: ``gunicorn wsgi:application``."""

import asyncio
import atexit
import threading
from collections.abc import Coroutine, Iterator
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


async def carried(scope: Any, receive: Any, send: Any) -> None:
    """Run the app for one request, and tell it if an upload is cut off."""
    scope["wsgi_environ"]["app.task"] = asyncio.current_task()
    cut_off = False

    async def receive_whole() -> Any:
        nonlocal cut_off
        message = await receive()
        # a2wsgi would go on asking for the rest, as fast as it can.
        cut_off = cut_off or bool(message.get("more_body") and not message["body"])
        return {"type": "http.disconnect"} if cut_off else message

    await app(scope, receive_whole, send)
    if cut_off:  # without a response or an exception, a2wsgi would wait forever
        raise ConnectionError("The client has left.")


def application(environ: Any, start_response: Any) -> Iterator[bytes]:
    """Answer a request. The server closes this early if the client has left."""
    try:
        yield from bridge(environ, start_response)
    finally:
        loop.call_soon_threadsafe(environ["app.task"].cancel)


# One loop, in a thread, for all requests, since things that the app opens belong to it.
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, name="asgi", daemon=True).start()
run(app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put))
run(tell("startup")).result(timeout=30)
atexit.register(lambda: run(tell("shutdown")).result(timeout=30))
bridge = ASGIMiddleware(carried, loop=loop)
