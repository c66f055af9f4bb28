"""Static files with caching: browsers keep them forever, and never show old ones."""

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Any

from micropie import App, Request, methods
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

# Resolved, since StaticFiles resolves the path of each file, and this folder can be
# behind a symbolic link, such as "current" for the newest release.
STATIC = (Path(__file__).parent / "static").resolve()
FOREVER = "public, max-age=31536000, immutable"
MINUTE = "public, max-age=60"
DATE = re.compile(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", re.ASCII)
RANGE = re.compile(r"(?i:bytes)=(?:(\d{1,18})-(\d{1,18})?|-0*[1-9]\d{0,17})", re.ASCII)


def version(name: str) -> str:
    """Return a string that changes with the content of a file in ``static/``."""
    status = (STATIC / name).stat()
    return _digest(name, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _digest(name: str, changed: int, size: int) -> str:
    """Read a file once, and again after it has changed."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]


def tidied(scope: Any, tag: str, modified: str) -> list[Any]:
    """Return a request's headers with the conditions that RFC 9110 lets a server see.

    Left out are a date that is no HTTP date, and a range of a HEAD, of another version
    of the file, or in another form. Starlette would go by some of them.
    """
    headers = Request(scope).headers
    wanted = dict(headers)
    if not DATE.fullmatch(headers.get("if-modified-since", "")):
        wanted.pop("if-modified-since", None)
    found = RANGE.fullmatch(headers.get("range", ""))
    backwards = found and found[2] and int(found[2]) < int(found[1])
    other = headers.get("if-range", tag) not in {tag, modified}
    if found is None or backwards or other or scope["method"] != "GET":
        wanted.pop("range", None)
    return [(name.encode(), text.encode("latin-1")) for name, text in wanted.items()]


class VersionedFiles(StaticFiles):
    """Files that a browser keeps forever if their URL names their version.

    It keeps others for a minute. If there is no such file, StaticFiles raises an
    HTTPException of Starlette, and the ExceptionMiddleware around it makes a 404 of it.
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
        response.headers["cache-control"] = FOREVER if current else MINUTE
        return response


class Site(App):
    """A page that shows the headers of its own files."""

    def __init__(self) -> None:
        super().__init__()
        self.mounts["/static"] = ExceptionMiddleware(VersionedFiles(directory=STATIC))
        self.env.globals["static"] = self._static

    async def index(self) -> str:
        """Show the page."""
        return await self._render_template("index.html")

    @methods("GET")
    async def robots_txt(self) -> tuple[int, str, dict[str, str]]:
        """Answer ``/robots.txt``: a single file needs no folder."""
        headers = {"content-type": "text/plain", "cache-control": MINUTE}
        return 200, "User-agent: *\nAllow: /\n", headers

    def _static(self, name: str) -> str:
        """Return the URL of a file with its version."""
        root = str(self.request.scope.get("root_path", "")).rstrip("/")
        return f"{root}/static/{name}?v={version(name)}"


app = Site()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
