"""File uploads: streamed to disk, limited, under safe names, with a progress bar."""

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from micropie import App, HTTPError, UploadedFile, methods

FOLDER = Path(os.environ.get("DATA", "data")) / "uploads"
LIMIT = int(os.environ.get("UPLOAD_LIMIT", 100_000_000))  # bytes of one file: 100 MB
# A form has some hundred bytes around its file: lines between parts, names, types.
FORM_OVERHEAD = 10_000
ID = re.compile(r"[0-9a-f]{32}")
CHUNK = 2**16


@dataclass(frozen=True)
class Stored:
    """A stored file: ``uploads/<id>/<name>``."""

    id: str
    name: str
    size: int
    changed: float

    @property
    def path(self) -> Path:
        """The path of the file."""
        return FOLDER / self.id / self.name


def safe_name(name: str) -> str:
    """Return a name of letters, digits, ``_``, ``.`` and ``-``, of at most 201 bytes.

    It starts with no dot and no dash, so it is neither hidden nor an option. It can
    still mean something to a program, as ``index.html`` and ``x.php`` do to a web
    server. So each file is alone in its folder, and no web server may serve these
    folders.
    """
    plain = re.sub(r"[^\w.-]", "_", name).strip(".-")
    stem, dot, ending = plain.rpartition(".")
    if not stem:
        return first_bytes(plain, 200) or "file"
    return first_bytes(stem, 160).rstrip(".-") + dot + first_bytes(ending, 40)


def first_bytes(text: str, size: int) -> str:
    """Return the start of a text that has at most that many bytes in UTF-8."""
    return text.encode()[:size].decode(errors="ignore")


def stored(upload_id: str) -> Stored:
    """Return the file with an id, or raise a 404."""
    if ID.fullmatch(upload_id):  # nothing else may become a part of a path
        # While a file comes in, its name starts with a dot.
        for path in (FOLDER / upload_id).glob("[!.]*"):
            status = path.stat()
            return Stored(upload_id, path.name, status.st_size, status.st_mtime)
    raise HTTPError(404, "There is no such file.\n")


def everything() -> list[Stored]:
    """Return all stored files, the newest first, without uploads still under way."""
    found = []
    for folder in FOLDER.glob("*"):
        try:
            found.append(stored(folder.name))
        except HTTPError:
            continue
    return sorted(found, key=lambda item: -item.changed)


class Uploads(App):
    """A page to send files to, and to get them back from."""

    def __init__(self) -> None:
        super().__init__(max_upload_size=LIMIT + FORM_OVERHEAD)
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show all files."""
        files = await asyncio.to_thread(everything)
        return await self._render_template("index.html", files=files, limit=LIMIT)

    @methods("POST")
    async def upload(self, file: UploadedFile) -> Any:
        """Take one file while it comes in: MicroPie doesn't wait for its end."""
        kept = await self._keep(file)
        if "text/html" in self.request.headers.get("accept", ""):
            return self._redirect(self._url(), 303)  # there is no script
        url = self._url("files", kept.id, kept.name)
        return 201, {"name": kept.name, "size": kept.size, "url": url}

    @methods("GET")
    def files(
        self, upload_id: str, name: str, /
    ) -> tuple[int, Iterator[bytes], dict[str, str]]:
        """Send a file back: to be saved, never to be shown as a page of this site."""
        item = stored(upload_id)
        if name != item.name:
            raise HTTPError(404, "There is no such file.\n")
        headers = {
            "content-type": "application/octet-stream",
            "content-disposition": "attachment; filename*=UTF-8''"
            f"{quote(item.name, safe='')}",
            "content-length": str(item.size),
            "content-security-policy": "sandbox",
            "x-content-type-options": "nosniff",
        }
        return 200, chunks(item.path), headers

    @methods("POST")
    async def delete(self, upload_id: str, /) -> Any:
        """Remove a file."""
        item = await asyncio.to_thread(stored, upload_id)
        await asyncio.to_thread(shutil.rmtree, item.path.parent, ignore_errors=True)
        return self._redirect(self._url(), 303)

    async def _keep(self, file: UploadedFile) -> Stored:
        """Save a file in a new folder; nothing stays of one that breaks off."""
        folder = FOLDER / secrets.token_hex(16)
        folder.mkdir()
        try:
            await file.save(folder / safe_name(file.filename), limit=LIMIT)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return await asyncio.to_thread(stored, folder.name)

    def _url(self, *segments: str) -> str:
        """Return a URL of this app, wherever it is mounted; segments are quoted."""
        root = str(self.request.scope.get("root_path", "")).rstrip("/")
        return f"{root}/{'/'.join(quote(item, safe='') for item in segments)}"


def chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece.

    A plain generator runs in a thread, so that a slow disk blocks no other request.
    """
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


app = Uploads()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
