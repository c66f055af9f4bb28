"""A Starlette app, as it is."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket


async def hello(request: Request) -> JSONResponse:
    """Greet, and tell the URL that Starlette makes for this route."""
    name = request.path_params["name"]
    return JSONResponse(
        {"hello": name, "url": request.url_for("hello", name=name).path}
    )


async def shout(socket: WebSocket) -> None:
    """Answer a message in capitals."""
    await socket.accept()
    await socket.send_text((await socket.receive_text()).upper())
    await socket.close()


api = Starlette(
    routes=[
        Route("/hello/{name}", hello, name="hello"),
        WebSocketRoute("/shout", shout),
    ]
)
