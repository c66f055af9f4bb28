"""Apps inside of an app: another App, a Starlette app, and a folder of static files."""

import html
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from micropie import App, HttpMiddleware, Request
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from api import api
from notes import Notes
from page import page

HERE = Path(__file__).parent
HOSTS = os.environ.get("ALLOWED_HOSTS", "127.0.0.1,localhost").split(",")


class TrustedHosts(HttpMiddleware):
    """Refuses requests for any other host.

    The parent's ``before_request`` runs for the mounted apps too.
    """

    def __init__(self, hosts: Collection[str]) -> None:
        self.hosts = frozenset(hosts)

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if request.headers.get("host", "").partition(":")[0].lower() in self.hosts:
            return None
        return {
            "status_code": 421,
            "body": "421 Misdirected Request",
            "headers": {"content-type": "text/plain"},
        }


class Root(App):
    """The parent: one page, and what is mounted below it."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares.append(TrustedHosts(HOSTS))
        self.mounts["/notes"] = Notes()
        self.mounts["/api"] = api
        # Bare, StaticFiles would raise for a missing file what only a Starlette app
        # around it makes a 404 of.
        self.mounts["/static"] = Starlette(
            routes=[Mount("/", StaticFiles(directory=HERE / "static"))]
        )

    async def index(self) -> str:
        """Show what is where."""
        root = self.request.scope.get("root_path", "").rstrip("/")
        cards = (
            (
                "notes/",
                "Notes",
                "another App, with sessions and a startup handler of its own",
            ),
            ("api/hello/World", "API", "a Starlette app, with its own routes and URLs"),
            (
                "static/style.css",
                "Static files",
                "a folder, served by Starlette's StaticFiles",
            ),
        )
        items = "".join(
            f'<li><a href="{html.escape(root)}/{path}">{name}</a><p>{text}</p></li>'
            for path, name, text in cards
        )
        return page("Apps inside of an app", f'<ul class="cards">{items}</ul>', root)


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
