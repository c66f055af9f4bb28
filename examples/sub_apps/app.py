"""An app in parts. Each part is an App, mounted below its own path."""

import os

from micropie import App, HTTPError, HttpMiddleware, Request, WebSocketMiddleware

from api import Api
from notes import Notes

HOSTS = set(os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(","))


class TrustedHosts(HttpMiddleware, WebSocketMiddleware):
    """Refuses requests for other hosts, before they reach any mounted app."""

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        if request.headers.get("host", "").partition(":")[0].lower() not in HOSTS:
            raise HTTPError(421)

    before_websocket = before_request


class Root(App):
    """The parent: one page, and its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(TrustedHosts())
        self.ws_middlewares.append(TrustedHosts())
        self.mounts["/notes"] = Notes()
        self.mounts["/api/v2"] = Api()

    async def index(self) -> str:
        """Show the way to the parts."""
        home = str(self.request.scope.get("root_path", "")).rstrip("/")
        return await self._render_template("home.html", home=home)


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
