"""The floor of the fan-out: event streams and WebSockets written by hand, straight on ASGI."""

from benchmarks.apps.floor import Receive, Scope, Send, news, room


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await (room if scope["type"] == "websocket" else news)(scope, receive, send)
