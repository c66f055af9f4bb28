"""GraphQL at /graphql, by Strawberry; the session tells it who asks."""

from datetime import timedelta
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, WebSocketMiddleware, methods
from strawberry.asgi import GraphQL
from strawberry.subscriptions import GRAPHQL_TRANSPORT_WS_PROTOCOL

from schema import schema

LARGEST = 2**16  # bytes of a request


class Guests(App):
    """A page to try it, and a login by name alone."""

    async def index(self) -> Any:
        """Show the page."""
        user = self.request.session.get("user_id")
        return await self._render_template("index.html", user=user, url=self._url)

    @methods("POST")
    def login(self) -> Any:
        """Remember the name in the session; `login` shows how to check a password."""
        name = self.request.form("name", "").strip()
        if not 1 <= len(name) <= 30:
            raise HTTPError(400, "A name has 1 to 30 characters.")
        self.request.session["user_id"] = name
        self.request.regenerate_session()
        return self._redirect(self._url(), 303)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


class HandOver(HttpMiddleware, WebSocketMiddleware):
    """Puts the user into the scope, which mounted apps get too, and checks the size."""

    async def before_request(self, request: Any) -> None:
        """Look at the session, which MicroPie has loaded before the mount."""
        request.scope["user_id"] = request.session.get("user_id")
        # MicroPie's own limits do not reach the bodies that mounted apps read.
        length = request.headers.get("content-length")
        if length is None and request.method == "POST":
            raise HTTPError(411)
        if int(length or 0) > LARGEST:
            raise HTTPError(413)

    async def before_websocket(self, request: Any) -> None:
        """Do the same for the handshake."""
        request.scope["user_id"] = request.session.get("user_id")


class View(GraphQL[Any, Any]):
    """Strawberry's ASGI app, with its own context."""

    async def get_context(self, request: Any, response: Any) -> Any:
        """Return what resolvers find in `info.context`."""
        return {"user_id": request.scope["user_id"]}


app = Guests()
app.middlewares.append(HandOver())
app.ws_middlewares.append(HandOver())
app.mounts["/graphql"] = View(
    schema,
    graphql_ide=None,  # it would load scripts from a CDN; index.html takes its place
    allow_queries_via_get=False,
    subscription_protocols=[GRAPHQL_TRANSPORT_WS_PROTOCOL],
    connection_init_wait_timeout=timedelta(seconds=10),
    max_subscriptions_per_connection=5,
)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
