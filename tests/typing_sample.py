"""An app that uses every public name of MicroPie, checked by strict type checkers and run.

`tests/test_packaging.py` installs the built wheel into a fresh environment, checks this file there
with mypy and pyright, and runs it. It must therefore import nothing but the installed module.
"""

import asyncio
import http
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any
from uuid import UUID

from micropie import (
    SESSION_TIMEOUT,
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    Route,
    ServerSentEvent,
    SessionBackend,
    UploadedFile,
    WebSocket,
    WebSocketMiddleware,
    WebSocketRequest,
    __version__,
    current_request,
    delete_cookie,
    event_stream,
    methods,
    routes,
    set_cookie,
)


class CountingBackend(SessionBackend):
    """A session backend that counts what it is asked."""

    def __init__(self) -> None:
        self.inner = InMemorySessionBackend()
        self.loads = 0

    async def load(self, session_id: str) -> dict[str, Any]:
        self.loads += 1
        return await self.inner.load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        await self.inner.save(session_id, data, timeout)


class Stamp(HttpMiddleware):
    """Refuse one path and stamp every response."""

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        request.user = "ann"  # any attribute may be set
        if request.path_params and request.query("refuse") is not None:
            return {"status_code": 403, "body": "refused"}
        return None

    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> dict[str, Any] | None:
        extra_headers.append(("x-version", __version__))
        return None


class Guard(WebSocketMiddleware):
    """Let every WebSocket through."""

    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None:
        return None

    async def after_websocket(self, request: WebSocketRequest) -> None:
        return None


class Root(App):
    """One handler for each kind of thing that the module offers."""

    async def index(self) -> str:
        request: Request = current_request.get()
        return f"{request.method} {self.request.headers.get('host', '')}"

    @methods("POST", "PUT")
    async def login(
        self, name: str, remember: bool = False
    ) -> tuple[int, str, list[tuple[str, str]]]:
        self.request.session["user"] = name
        self.request.regenerate_session()
        return 200, "welcome", [set_cookie("name", name, max_age=60 if remember else None)]

    async def logout(self) -> tuple[int, None, list[tuple[str, str]]]:
        self.request.session.clear()
        return 204, None, [delete_cookie("name")]

    async def me(self, user: FromSession) -> dict[str, Any]:
        return {"user": user}

    async def item(self, key: UUID, page: int = 1) -> dict[str, Any]:
        if page < 1:
            raise HTTPError(404, "no such page")
        return {"key": key, "page": page}

    async def upload(self, picture: UploadedFile) -> str:
        data: bytes = await picture.read(limit=1024)
        return f"{picture.filename}: {len(data)}"

    async def away(self) -> Any:
        return self._redirect("/")

    async def events(self) -> Any:
        async def source() -> AsyncIterator[ServerSentEvent]:
            yield ServerSentEvent("hello", event="greeting", id="1", retry=1000)

        return event_stream(source(), ping=15.0)

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        try:
            while True:
                text: str = await ws.receive_text()
                await ws.send_text(text)
        except ConnectionClosed as closed:
            print(closed.code, closed.reason)


backend = CountingBackend()
app = Root(backend, session_timeout=SESSION_TIMEOUT, allowed_origins=("https://example.com",))
app.middlewares.append(Stamp())
app.ws_middlewares.append(Guard())

Message = MutableMapping[str, Any]
Asgi = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]


async def get(
    asgi: Asgi, path: str, method: str = "GET", query: bytes = b""
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Send one request; return the status, the headers and the body."""
    sent: list[Message] = []
    incoming: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        if not incoming:
            await asyncio.Event().wait()  # the client stays
        return incoming.pop()

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Message = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "root_path": "",
        "headers": [(b"host", b"testserver")],
    }
    await asgi(scope, receive, send)
    return (
        sent[0]["status"],
        dict(sent[0]["headers"]),
        b"".join(message.get("body", b"") for message in sent[1:]),
    )


def described(route: Route) -> str:
    """Say in one line what a route takes, as a page for the admins of a site may."""
    names: list[str] = [name for name, _annotation, _default in route.parameters]
    methods_: tuple[str, ...] = route.methods or ("any",)
    return f"{route.protocol} {'/'.join(methods_)} {route.path} ({', '.join(names)})"


async def main() -> None:
    """Ask each handler that answers a request without a body."""
    status, headers, body = await get(app, "/")
    assert (status, body, headers[b"x-version"]) == (200, b"GET testserver", __version__.encode())
    assert (await get(app, "/login"))[0] == http.HTTPStatus.METHOD_NOT_ALLOWED
    status, headers, body = await get(app, "/login/Ann", "POST")
    assert (status, body) == (200, b"welcome") and b"set-cookie" in headers
    assert (await get(app, "/me"))[0] == http.HTTPStatus.UNAUTHORIZED
    assert (await get(app, "/item/00000000-0000-0000-0000-000000000001", query=b"page=2"))[
        0
    ] == http.HTTPStatus.OK
    assert (await get(app, "/item/none"))[0] == http.HTTPStatus.NOT_FOUND
    assert (await get(app, "/item/1", query=b"refuse="))[0] == http.HTTPStatus.FORBIDDEN
    assert (await get(app, "/away"))[0] == http.HTTPStatus.FOUND
    assert b"event: greeting" in (await get(app, "/events"))[2]
    listed: list[Route] = routes(app)
    assert "http POST/PUT /login (name, remember)" in [described(route) for route in listed]
    print("typing sample: all answers are right")


if __name__ == "__main__":
    asyncio.run(main())
