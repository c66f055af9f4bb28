"""Serves a file with ranges: films to jump about in, downloads that go on.

Copy this file beside your app. In a plain handler, return
``ranged_file(self.request, path, "video/webm")``.
"""

import calendar
import os
import re
import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

from micropie import HTTPError, Request

CHUNK = 2**16
RANGE = re.compile(r"(?i:bytes)=(?:([0-9]{1,4000})-([0-9]{1,4000})?|-([0-9]{1,4000}))")
TAG = re.compile(r'(?:W/)?"[^"]*"')


def ranged_file(request: Request, path: Path, content_type: str) -> Any:
    """Return a file, the part of it that the client wants, or that it has not changed.

    The conditions of the request are those of RFC 9110, section 13.
    """
    status = path.stat()
    size, tag = status.st_size, version_of(status)
    changed = int(status.st_mtime)
    headers = {"etag": tag, "last-modified": formatdate(changed, usegmt=True)}
    headers |= {"accept-ranges": "bytes", "content-type": content_type}
    expected = request.headers.get("if-match")
    if expected is None:
        until = seconds_of(request.headers.get("if-unmodified-since", ""))
        is_other = until is not None and changed > until
    else:
        is_other = expected.strip() != "*" and tag not in TAG.findall(expected)
    if is_other:
        return 412, None, headers
    known = request.headers.get("if-none-match")
    if known is None:  # a tag is more exact than a date
        since = seconds_of(request.headers.get("if-modified-since", ""))
        is_known = since is not None and changed <= since
    else:
        weak = [found.removeprefix("W/") for found in TAG.findall(known)]
        is_known = known.strip() == "*" or tag in weak
    if is_known:
        return 304, None, headers
    part = None
    if request.method == "GET" and request.headers.get("if-range", tag) == tag:
        part = requested_range(request.headers.get("range", ""), size)
    start, end = part or (0, size)
    headers["content-length"] = str(end - start)
    if part:
        headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    return 206 if part else 200, file_chunks(path, tag, start, end - start), headers


def seconds_of(date: str) -> int | None:
    """Return the seconds since 1970 of an HTTP date; None for another text."""
    try:
        return calendar.timegm(time.strptime(date, "%a, %d %b %Y %H:%M:%S GMT"))
    except ValueError:
        return None


def requested_range(header: str, size: int) -> tuple[int, int] | None:
    """Return the start and the end of a ``Range`` header (RFC 9110 section 14.1.2).

    Returns:
        The end is the first byte that is left out. None stands for the whole file. A
        server can ignore several ranges, and other units than bytes.

    Raises:
        HTTPError: 416, nothing of it is there.
    """
    match = RANGE.fullmatch(header.replace(" ", ""))
    if match is None:
        return None
    first, last, suffix = match.groups()
    start = max(size - int(suffix), 0) if suffix else int(first)
    end = int(last) + 1 if last else size
    if end <= start and last:
        return None
    if start >= size:
        raise HTTPError(416, headers={"content-range": f"bytes */{size}"})
    return start, min(end, size)


def version_of(status: os.stat_result) -> str:
    """Return an ``ETag`` that changes with a file."""
    return f'"{status.st_mtime_ns:x}-{status.st_size:x}"'


def file_chunks(path: Path, version: str, start: int, length: int) -> Iterator[bytes]:
    """Yield a part of one version of a file.

    Raises:
        RuntimeError: The file has been replaced since its headers were made.
    """
    with path.open("rb") as file:
        if version_of(os.fstat(file.fileno())) != version:
            raise RuntimeError(f"{path} has been replaced")
        file.seek(start)
        while length > 0 and (chunk := file.read(min(CHUNK, length))):
            length -= len(chunk)
            yield chunk
