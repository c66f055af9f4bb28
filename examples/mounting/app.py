"""FastAPI, a WSGI app and static files in one MicroPie app."""

from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods

import parts
from lifespan import Lifespan

LARGEST = 2**16  # bytes of a request's body


class Root(App):
    """Its own handlers, and the other apps below their paths."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(HandOver())
        api = Lifespan(parts.api)
        self.startup_handlers.append(api.start)
        self.shutdown_handlers.append(api.stop)
        self.mounts["/api"] = api
        self.mounts["/old"] = parts.old
        self.mounts["/static"] = parts.static

    def index(self) -> dict[str, Any]:
        """Show what is where, and who asks."""
        root = self.request.scope.get("root_path", "")
        paths = ("api/pies", "old/page", "static/pie.txt")
        visitor = self.request.session.get("visitor")
        return {"visitor": visitor, "mounted": [f"{root}/{path}" for path in paths]}

    @methods("POST")
    def introduce(self) -> dict[str, Any]:
        """Keep the visitor's name in the session."""
        self.request.session["visitor"] = self.request.form("name", "")[:50]
        return self.index()


class HandOver(HttpMiddleware):
    """Runs before the mounted apps too."""

    async def before_request(self, request: Request) -> None:
        """Put the visitor into the scope that they get, and check the body's size."""
        request.scope["visitor"] = request.session.get("visitor")
        # MicroPie's own limits do not reach the bodies that mounted apps read.
        length = request.headers.get("content-length")
        if length is None and request.method not in {"GET", "HEAD", "OPTIONS"}:
            raise HTTPError(411)
        if int(length or 0) > LARGEST:
            raise HTTPError(413)


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
