"""Parsers that people copy from the examples: ranges, conditions, and explicit routes."""

from __future__ import annotations

import importlib
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from micropie import HTTPError, Request
from tests.fuzz.inputs import Input, ask, target

EXAMPLES = Path(__file__).parents[2] / "examples"


def _import(folder: str, name: str) -> Any:
    """Import a module of an example, and leave its name free for the others."""
    sys.path.insert(0, str(EXAMPLES / folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)
        sys.modules.pop(name, None)


ranges = _import("streaming", "ranges")
conditions = _import("headers_and_cookies", "conditions")
routing = _import("explicit_routing", "routing")
RoutedApp: Any = routing.RoutedApp


@target(b"bytes=", b"0-", b"-1", b"0-0", b", ", b"9" * 30, b"\xc2\xb2", b"-")
def byte_range(data: bytes) -> None:
    """A range lies in the file, or is ignored, or is a 416 that names the size."""
    given = Input(data)
    size = given.number(256)
    header = given.rest().decode("latin-1")
    try:
        found = ranges.requested_range(header, size)
    except HTTPError as error:
        assert (error.status, error.headers) == (416, {"content-range": f"bytes */{size}"})
        return
    if found is not None:
        start, end = found
        assert 0 <= start < end <= size, (header, size, found)


DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"


@target(DATE, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994", b'"a"', b"W/", b"*")
def condition(data: bytes) -> None:
    """A condition is 304, 412 or none, and a date that is read is the date that was sent."""
    given = Input(data)
    names = (b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since")
    sent = [(given.pick(names), given.one_of([DATE, b'"a"', b"*"])) for _ in range(2)]
    sent += [(b"if-range", given.some(40)), (b"range", b"bytes=0-1")]
    text = given.rest().decode("latin-1")
    moment = conditions.parsed_date(text)
    if moment is not None:
        assert conditions.parsed_date(conditions.http_date(moment)) == moment
    request = Request({"type": "http", "method": "GET", "headers": sent})
    changed = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    for tag in ('"a"', 'W/"a"', None):
        assert conditions.precondition(request, tag, changed) in (None, 304, 412)
        assert conditions.range_applies(request, tag, changed) in (True, False)
    assert ranges.seconds_of(text) is None or "GMT" in text.upper()


class Routed(RoutedApp):
    @routing.get("/users/{number:int}")
    async def _user(self, number: int) -> Any:
        return ["user", number]

    @routing.get("/{first}-{last}.csv")
    async def _table(self, first: str, last: str) -> Any:
        return ["table", first, last]

    @routing.get("/files/{name:path}")
    async def _file(self, name: str) -> Any:
        return ["file", name]

    @routing.get("/at/{when:uuid}/{size:float}")
    async def _at(self, when: Any, size: float) -> Any:
        return ["at", str(when), size]


@target(b"/users/", b"/files/", b"/at/", b"-", b".csv", b"1.5", b"%2F", b"\x0a", b"12345678-")
def route(data: bytes) -> None:
    """The router of the example finds the route that a path has, and 404 for all others."""
    path = data.decode("utf-8", "replace")
    response = ask(Routed(), path=path)
    if response.status != 200:
        assert response.status == 404
        return
    found = response.json()
    trimmed = path.removesuffix("/")
    if found[0] == "user":
        assert int(trimmed.removeprefix("/users/")) == found[1]
    elif found[0] == "file":
        assert trimmed == f"/files/{found[1]}"
    elif found[0] == "table":
        assert trimmed == f"/{found[1]}-{found[2]}.csv" and "-" not in found[1]
    else:
        assert trimmed.lower().startswith(f"/at/{found[1]}/")
