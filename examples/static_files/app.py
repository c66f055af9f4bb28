"""Static files in two ways, each with caching: mounted in the app, and around the app."""

import asyncio
import functools
import hashlib
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from micropie import App, Request
from servestatic import ServeStaticASGI
from servestatic.asgi import FileServerASGI
from servestatic.responders import StaticFile
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

from conditions import parsed_date, precondition, range_applies

# Resolved, since StaticFiles resolves the path of each file: this folder can be reached
# through a symbolic link, such as "current" for the newest release.
HERE = Path(__file__).resolve().parent
STATIC = HERE / "static"
FOR_EVER = "public, max-age=31536000, immutable"


RANGE = re.compile(
    r"bytes=(?:(\d{1,18})-(\d{1,18})?|-0*[1-9]\d{0,17})", re.ASCII | re.I
)
CONDITIONS = {b"if-match", b"if-unmodified-since", b"if-none-match"}
CONDITIONS |= {b"if-modified-since", b"if-range"}


def version(name: str) -> str:
    """Return a string that changes with the content of a file in ``static/``."""
    status = (STATIC / name).stat()
    return _digest(name, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _digest(name: str, changed: int, size: int) -> str:
    """Read a file once, and again after it has changed."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def picture_name() -> str:
    """Return the name of the picture in ``public/``, which has its version in it."""
    return next((HERE / "public").glob("pie.*.svg")).name


def without_conditions(scope: Any, tag: str, changed: datetime) -> list[Any]:
    """Return a request's headers without conditions, and without a range to ignore.

    Starlette and ServeStatic follow a ``Range`` that RFC 9110 tells a server to ignore,
    for example that of a HEAD, or of another version of the file.
    """
    request = Request(scope)
    found = RANGE.fullmatch(request.headers.get("range", ""))
    backwards = found and found[2] and int(found[2]) < int(found[1])
    left_out = set(CONDITIONS)
    if found is None or backwards or not range_applies(request, tag, changed):
        left_out.add(b"range")
    return [pair for pair in scope["headers"] if pair[0].lower() not in left_out]


class VersionedFiles(StaticFiles):
    """Files that a browser keeps for ever when their URL names their version.

    Others are kept for a minute. Where there is no such file, StaticFiles raises
    Starlette's HTTPException: ExceptionMiddleware around it makes a 404 of that.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a file, with a scope of our own, since `file_response` changes it."""
        await super().__call__({**scope}, receive, send)

    def file_response(
        self,
        full_path: Any,
        stat_result: os.stat_result,
        scope: Any,
        status_code: int = 200,
    ) -> Response:
        """Answer the conditions of the request, and add the caching header."""
        response: Response = FileResponse(full_path, stat_result=stat_result)
        tag = response.headers["etag"]
        changed = datetime.fromtimestamp(stat_result.st_mtime, UTC)
        status = precondition(Request(scope), tag, changed)
        scope["headers"] = without_conditions(scope, tag, changed)
        if status == 304:
            response = NotModifiedResponse(response.headers)
        elif status is not None:
            return Response(status_code=status)
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
            picture=f"{base}/{picture_name()}",
            static=lambda name: f"{base}/static/{name}?v={version(name)}",
        )


class PublicFiles(ServeStaticASGI):
    """Serves a folder before the app is asked, below the path where both are mounted."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Look for a file under the path without ``root_path``, since it may be mounted."""
        file = None
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path") or "") or "/"
            file = await asyncio.to_thread(self.find_file, path)
        if not isinstance(file, StaticFile):
            await self.application(scope, receive, send)
            return
        modified = dict(file.alternatives[0][2])["Last-Modified"] or ""
        changed = parsed_date(modified) or datetime.now(UTC)
        status = precondition(Request(scope), file.etag, changed)
        headers = without_conditions(scope, file.etag, changed)
        if status == 304:
            headers.append((b"if-none-match", file.etag.encode()))
        handler: Any = FileServerASGI(file)
        if status == 412:
            handler = Response(status_code=412)
        await handler({**scope, "headers": headers}, receive, send)


def add_tag(headers: Any, path: str, url: str) -> None:
    """Tell two versions of one second apart, which ServeStatic's own tag does not."""
    status = Path(path).stat()
    headers["ETag"] = f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


# `immutable_file_test` says which files hold their version in their name. `autorefresh`
# looks at the folder for each request, so that a file can change while the app runs.
app = PublicFiles(
    Site(),
    root=HERE / "public",
    autorefresh=True,
    max_age=3600,
    allow_all_origins=False,
    immutable_file_test=r"^.+\.[0-9a-f]{12}\..+$",
    add_headers_function=add_tag,
)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
