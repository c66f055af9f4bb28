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

FOLDER = Path(os.environ.get("UPLOAD_FOLDER", Path(__file__).parent / "uploads"))
LIMIT = int(os.environ.get("UPLOAD_LIMIT", 100 * 2**20))  # bytes of one file
FORM_OVERHEAD = 2**16  # what a form needs beside its file
ID = re.compile(r"[0-9a-f]{32}")
CHUNK = 2**16


@dataclass(frozen=True)
class Stored:
    """A file that is there: ``uploads/<id>/<name>``."""

    id: str
    name: str
    size: int
    changed: float

    @property
    def path(self) -> Path:
        """Where it is."""
        return FOLDER / self.id / self.name


def safe_name(name: str) -> str:
    """Return a name that means nothing to a shell, a web server or an old file system.

    MicroPie has cut off folders already. This is about hidden files, odd characters and
    length.
    """
    stem, dot, ending = re.sub(r"[^\w.() -]", "_", name).strip(". ").rpartition(".")
    short = (stem or ending)[:80].rstrip(". ") + (dot + ending[:20] if stem else "")
    return short or "file"


def stored(upload_id: str) -> Stored:
    """Return what is stored under an id.

    Raises:
        HTTPError: 404 nothing is.
    """
    if ID.fullmatch(upload_id):  # nothing else may become a part of a path
        # While a file comes in, its name starts with a dot.
        for path in (FOLDER / upload_id).glob("[!.]*"):
            status = path.stat()
            return Stored(upload_id, path.name, status.st_size, status.st_mtime)
    raise HTTPError(404, "There is no such file.")


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

    async def index(self) -> str:
        """Show what is there."""
        return await self._render_template(
            "index.html",
            base=self._base(),
            files=await asyncio.to_thread(everything),
            limit=LIMIT,
            csrf_token=self._csrf_token(),
        )

    @methods("POST")
    async def upload(self, file: UploadedFile) -> tuple[int, dict[str, Any]]:
        """Take one file, while it comes in.

        ``file`` is the last argument to arrive, so the call need not wait for its end.
        """
        self._check_csrf()
        kept = await self._keep(file)
        return 201, {"name": kept.name, "size": kept.size, "url": self._url_of(kept)}

    @methods("POST")
    async def several(self, files: list[UploadedFile]) -> Any:
        """Take all files of a form: the way for browsers without JavaScript."""
        self._check_csrf()
        for file in files:
            await self._keep(file)
        return self._redirect(f"{self._base()}/", status=303)

    @methods("GET")
    def files(
        self, upload_id: str, name: str
    ) -> tuple[int, Iterator[bytes], dict[str, str]]:
        """Send a file back: to be saved, never to be shown as a page of this site."""
        item = stored(upload_id)
        if name != item.name:
            raise HTTPError(404, "There is no such file.")
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
    async def delete(self, upload_id: str) -> Any:
        """Remove a file."""
        self._check_csrf()
        item = await asyncio.to_thread(stored, upload_id)
        await asyncio.to_thread(shutil.rmtree, item.path.parent, ignore_errors=True)
        return self._redirect(f"{self._base()}/", status=303)

    async def _keep(self, file: UploadedFile) -> Stored:
        """Save a file in a new folder, with nothing left of one that breaks off."""
        folder = FOLDER / secrets.token_hex(16)
        folder.mkdir()
        try:
            await file.save(folder / safe_name(file.filename), limit=LIMIT)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return await asyncio.to_thread(stored, folder.name)

    def _url_of(self, item: Stored) -> str:
        return f"{self._base()}/files/{item.id}/{quote(item.name, safe='')}"

    def _base(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", ""))

    def _csrf_token(self) -> str:
        """Return the token of this visitor, made at the first form."""
        return str(self.request.session.setdefault("csrf", secrets.token_urlsafe(32)))

    def _check_csrf(self) -> None:
        """Refuse an upload that another site has started.

        The token comes before the files, or in a header.
        """
        sent = self.request.headers.get("x-csrf-token") or self.request.form(
            "csrf_token", ""
        )
        known = self.request.session.get("csrf", "")
        if not known or not secrets.compare_digest(sent.encode(), known.encode()):
            raise HTTPError(403, "This page is too old. Please load it again.")


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
