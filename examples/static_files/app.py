"""Static files in two ways, both with caching: mounted in the app, and around it."""

import functools
import hashlib
from pathlib import Path
from typing import Any

from micropie import App
from servestatic import ServeStaticASGI
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

HERE = Path(__file__).parent
STATIC = HERE / "static"
PICTURE = next((HERE / "public").glob("pie.*.svg")).name
FOR_EVER = "public, max-age=31536000, immutable"


@functools.cache
def version(name: str) -> str:
    """Return what changes with the content of a file in ``static/``."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


class VersionedFiles(StaticFiles):
    """Files that a browser keeps for ever when their URL names their version.

    Others are kept for a minute. Where there is no such file, StaticFiles raises
    Starlette's HTTPException: ExceptionMiddleware around it makes a 404 of that.
    """

    def file_response(
        self,
        full_path: Any,
        stat_result: Any,
        scope: Any,
        status_code: int = 200,
    ) -> Response:
        """Add the caching header."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        name = Path(full_path).relative_to(STATIC).as_posix()
        current = scope["query_string"] == b"v=" + version(name).encode()
        response.headers["cache-control"] = (
            FOR_EVER if current else "public, max-age=60"
        )
        return response


class Site(App):
    """A page that shows what its own files were sent with."""

    def __init__(self) -> None:
        super().__init__()
        self.mounts["/static"] = ExceptionMiddleware(VersionedFiles(directory=STATIC))

    async def index(self) -> str:
        """Show the page."""
        base = self.request.scope.get("root_path", "")
        return await self._render_template(
            "index.html",
            base=base,
            picture=f"{base}/{PICTURE}",
            static=lambda name: f"{base}/static/{name}?v={version(name)}",
        )


class PublicFiles(ServeStaticASGI):
    """Serves a folder before the app is asked, below the path of both."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on the path without ``root_path``: ServeStatic compares whole paths."""
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
            scope = {**scope, "path": path}
        await super().__call__(scope, receive, send)


# The names of all files are read once, here; `immutable_file_test` says which of them
# hold their version in their name.
app = PublicFiles(
    Site(),
    root=HERE / "public",
    max_age=3600,
    allow_all_origins=False,
    immutable_file_test=r"^.+\.[0-9a-f]{12}\..+$",
)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
