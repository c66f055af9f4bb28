"""The pictures that visitors send: files in a folder, under our own names."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from micropie import HTTPError, UploadedFile

import store

MAX_SIZE = 5 * 2**20  # bytes
KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif"}
NAME = re.compile(r"[0-9a-f]{32}\.(png|jpeg|gif)")


def folder() -> Path:
    """Return the folder of the pictures."""
    path = store.DATA / "pictures"
    path.mkdir(exist_ok=True)
    return path


async def keep(picture: UploadedFile) -> str:
    """Write a picture to the disk while it comes in, and return its name there.

    Raises:
        HTTPError: 413 it is too large; 422 it is not a picture.
    """
    number = secrets.token_hex(16)
    # No visitor can ask for a name like this.
    path = await asyncio.to_thread(folder) / f".{number}"
    await picture.save(path, limit=MAX_SIZE)
    return await asyncio.to_thread(checked, path, number)


def checked(path: Path, number: str) -> str:
    """Rename the file if it is a picture; otherwise delete it."""
    kind = kind_of(path)
    if kind is None:
        path.unlink()
        raise HTTPError(422, "Please choose a PNG, JPEG or GIF picture.")
    return path.rename(path.with_name(f"{number}.{kind}")).name


def kind_of(path: Path) -> str | None:
    """Look into the file, since its name and its type from the browser can be a lie."""
    with path.open("rb") as file:
        start = file.read(8)
    return next(
        (kind for first, kind in KINDS.items() if start.startswith(first)), None
    )


def find(name: str) -> Path:
    """Return the file of a picture.

    Raises:
        HTTPError: 404 there is none.
    """
    # No other name becomes a part of a path.
    path = folder() / name if NAME.fullmatch(name) else None
    if path is None or not path.exists():
        raise HTTPError(404, "There is no such picture.")
    return path


def chunks(path: Path) -> Iterator[bytes]:
    """Read a file piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(2**16):
            yield chunk


def remove(names: list[str]) -> None:
    """Delete pictures that the poll shows no more."""
    for name in names:
        (folder() / name).unlink(missing_ok=True)
