"""Static files in two ways, both with caching: mounted in the app, and around it."""

import asyncio
import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from micropie import App, Request
from servestatic import ServeStaticASGI
from servestatic.asgi import FileServerASGI
from servestatic.responders import StaticFile
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

# Resolved, since StaticFiles resolves the path of each file, and this folder can be
# behind a symbolic link, such as "current" for the newest release.
HERE = Path(__file__).resolve().parent
STATIC = (HERE / "static").resolve()
FOR_EVER = "public, max-age=31536000, immutable"
TAG = re.compile(r'(?:W/)?("[^"]*")')
DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
RANGE = re.compile(
    r"bytes=(?:(\d{1,18})-(\d{1,18})?|-0*[1-9]\d{0,17})", re.ASCII | re.I
)


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


def tidied(scope: Any, tag: str, modified: str) -> list[Any]:
    """Return a request's headers with the conditions that RFC 9110 lets a server see.

    Left out are a date that is no HTTP date, and a range of a HEAD, of another version
    of the file, or in another form. Starlette and ServeStatic would go by some of them.
    And ServeStatic knows a tag only if it stands alone.
    """
    headers = Request(scope).headers
    wanted = dict(headers)
    tags = headers.get("if-none-match", "")
    if tag in TAG.findall(tags) or tags.strip() == "*":
        wanted["if-none-match"] = tag
    if not DATE.fullmatch(headers.get("if-modified-since", "")):
        wanted.pop("if-modified-since", None)
    found = RANGE.fullmatch(headers.get("range", ""))
    backwards = found and found[2] and int(found[2]) < int(found[1])
    other = headers.get("if-range", tag) not in {tag, modified}
    if found is None or backwards or other or scope["method"] != "GET":
        wanted.pop("range", None)
    return [(name.encode(), text.encode("latin-1")) for name, text in wanted.items()]


class VersionedFiles(StaticFiles):
    """Files that a browser keeps for ever when their URL names their version.

    Others are kept for a minute. Where there is no such file, StaticFiles raises
    Starlette's HTTPException: ExceptionMiddleware around it makes a 404 of that.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve a file, with a copy of the scope, since `file_response` changes it."""
        await super().__call__({**scope}, receive, send)

    def file_response(
        self,
        full_path: Any,
        stat_result: os.stat_result,
        scope: Any,
        status_code: int = 200,
    ) -> Response:
        """Tidy the conditions of the request, and add the caching header."""
        sent = FileResponse(full_path, stat_result=stat_result).headers
        scope["headers"] = tidied(scope, sent["etag"], sent["last-modified"])
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
            picture=f"{base}/{picture_name()}",
            static=lambda name: f"{base}/static/{name}?v={version(name)}",
        )


class PublicFiles(ServeStaticASGI):
    """Serves a folder before the app is asked, below the path of both."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Look for a file at the path without ``root_path``, which a mount sets."""
        file = None
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path") or "") or "/"
            file = await asyncio.to_thread(self.find_file, path)
        if not isinstance(file, StaticFile):
            await self.application(scope, receive, send)
            return
        modified = dict(file.alternatives[0][2])["Last-Modified"] or ""
        own = {**scope, "headers": tidied(scope, file.etag, modified)}
        await FileServerASGI(file)(own, receive, send)


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
