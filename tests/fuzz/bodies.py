"""Urlencoded forms, JSON, multipart forms and raw bodies, cut into pieces as a network does."""

from __future__ import annotations

import asyncio
import json
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

from micropie import App, HTTPError, UploadedFile
from tests.asgi import Response
from tests.fuzz.inputs import Input, ask, target
from tests.fuzz.urls import pairs_of


class Bodies(App):
    """Handlers that keep what they got in `seen`, each in another way."""

    seen: Any = None

    async def form(self) -> None:
        self.seen = dict(self.request.body_params)

    async def json(self) -> None:
        self.seen = self.request.get_json

    async def parts(self) -> None:
        files = {name: await _content(file) for name, file in self.request.files.items()}
        self.seen = dict(self.request.body_params), files

    async def first(self, file: UploadedFile, after: str) -> None:
        self.seen = await _content(file), after

    async def streamed(self, file: UploadedFile) -> None:
        self.seen = await _content(file)

    async def several(self, file: list[UploadedFile], **others: Any) -> None:
        self.seen = [await _content(one) for one in file], sorted(others)

    async def raw(self) -> None:
        self.seen = await self.request.body()

    async def stream(self) -> None:
        self.seen = b"".join([piece async for piece in self.request.stream()])


async def _content(file: UploadedFile) -> tuple[str, str, bytes]:
    _check_name(file.filename)
    return file.filename, file.content_type, await file.read()


def _check_name(name: str) -> None:
    assert name and name.strip("."), name
    assert name.isprintable() and not set(name) & {"/", "\\"}, name
    assert len(name.encode()) <= 255, name
    assert PurePosixPath(name).name == PureWindowsPath(name).name == name, name


def _post(handler: str, kind: bytes, pieces: list[bytes], **options: Any) -> tuple[Response, Any]:
    limits = {name: options.pop(name) for name in list(options) if name.startswith("max_")}
    app = Bodies(**limits)
    sent = [(b"content-type", kind)] if kind else []
    response = ask(app, "POST", f"/{handler}", headers=sent, body=pieces, **options)
    return response, app.seen


@target(b"a=1", b"&", b"=", b"%", b"+", b"%26", b"%C3%A9", b"\xff")
def form(data: bytes) -> None:
    """A form is read as a query is, however it was cut."""
    given = Input(data)
    cuts = Input(given.some(6))
    body = given.rest()
    response, seen = _post("form", b"application/x-www-form-urlencoded", cuts.cut(body))
    if response.status == 413:
        assert body.count(b"&") >= 1000
    else:
        assert (response.status, seen) == (204, pairs_of(body))


def _is_everyday(value: Any) -> bool:
    """Whether all JSON libraries agree on a value: its integers have 64 bits."""
    if isinstance(value, dict):
        return all(map(_is_everyday, value.values()))
    if isinstance(value, list):
        return all(map(_is_everyday, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@target(b'{"a":', b"[", b"]", b"}", b"null", b"true", b"1e9", b'"\\u00e9"', b"NaN", b"\\ud800")
def json_body(data: bytes) -> None:
    """A JSON body is what the standard library makes of it, or 400, however it was cut."""
    given = Input(data)
    cuts = Input(given.some(6))
    body = given.rest()
    response, seen = _post("json", b"application/json", cuts.cut(body))
    try:
        expected = json.loads(body.decode(), parse_constant=int) if body else {}
    except (ValueError, RecursionError):
        assert response.status == 400 or b"E" in body.upper(), (response, seen)
        return
    if response.status == 204:
        assert seen == expected or not _is_everyday(expected), (seen, expected)
    else:  # a lone surrogate, a float beyond all limits, or deep nesting
        assert response.status == 400
        assert b"\\u" in body or b"e" in body.lower() or len(body) > 300, body


PARTS = (
    b"--b\r\n",
    b"--b--\r\n",
    b"\r\n--b\r\n",
    b"\r\n--b--",
    b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n',
    b'Content-Disposition: form-data; name="after"\r\n\r\n',
    b"Content-Type: text/plain; charset=utf-16\r\n",
    b'; filename="',
    b"\r\n\r\n",
)


@target(*PARTS, b"\r", b"\n", b"--", b"filename*=UTF-8''", b"\xff")
def multipart(data: bytes) -> None:
    """A multipart form has one answer, however it was cut, and none of them is a 500."""
    given = Input(data)
    handler = given.pick(["parts", "first", "streamed", "several"])
    boundary = given.pick([b"b", b'"b"', b'"b c"'])
    cuts, body = Input(given.some(6)), given.rest()
    kind = b"multipart/form-data; boundary=" + boundary
    response, seen = whole = _post(handler, kind, [body])
    assert response.status in (204, 400, 413), response
    for pieces in (cuts.cut(body), [body[at : at + 1] for at in range(len(body))]):
        again, same = _post(handler, kind, pieces)
        assert (again.status, again.body) == (response.status, response.body), (whole, again)
        assert same == seen or response.status != 204, (seen, same)


@target(*PARTS[:6])
def limits(data: bytes) -> None:
    """No body beyond a limit is taken, announced or not, and none below it is refused."""
    given = Input(data)
    handler, kind = given.pick(
        [
            ("raw", b""),
            ("stream", b""),
            ("form", b"application/x-www-form-urlencoded"),
            ("json", b"application/json"),
            ("parts", b"multipart/form-data; boundary=b"),
            ("streamed", b"multipart/form-data; boundary=b"),
        ]
    )
    most, chunked = given.number(64), given.number(2)
    cuts, body = Input(given.some(6)), given.rest()
    length = [(b"transfer-encoding", b"chunked")] if chunked else []
    sent = [*([(b"content-type", kind)] if kind else []), *length]
    app = Bodies(max_body_size=most)
    response = ask(app, "POST", f"/{handler}", headers=sent, body=cuts.cut(body))
    if len(body) > most:
        # A form can be malformed before it is too large.
        assert response.status == 413 or (handler in ("parts", "streamed") and chunked)
        assert response.status in (413, 400), response
    else:
        assert response.status != 413, response
        assert kind or app.seen == body


@target(*PARTS[:6])
def leaving(data: bytes) -> None:
    """No handler takes half a body for the whole one."""
    given = Input(data)
    handler = given.pick(["raw", "stream", "form", "json", "parts", "streamed", "first"])
    kind = {
        "form": b"application/x-www-form-urlencoded",
        "json": b"application/json",
        "parts": b"multipart/form-data; boundary=b",
    }.get(handler, b"multipart/form-data; boundary=b" if handler in ("streamed", "first") else b"")
    cuts, body = Input(given.some(6)), given.rest()
    pieces = cuts.cut(body)
    leaves = given.number(len(pieces))
    response, seen = _post(handler, kind, pieces, disconnect_after=leaves)
    assert seen is None and response.status in (None, 400, 413), (response, seen)


@target(b"..", b"/", b"\\", b"C:", b"\x00", b"\xe2\x80\xae", b".", b" ", b"\xc3\xbc" * 99)
def filename(data: bytes) -> None:
    """A file name is one component that stays in its folder, and the same the second time."""
    sent = data.decode("utf-8", "replace")
    if len(sent.encode()) > 255:
        return  # the end of a long name can begin with a blank
    name = UploadedFile(sent).filename
    _check_name(name)
    assert UploadedFile(name).filename == name


@target(*PARTS)
def whole_form(data: bytes) -> None:
    """`_parse_multipart`, which apps may call, gives fields and files, or an HTTPError."""

    async def parse() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(data)
        reader.feed_eof()
        try:
            fields, files = await App()._parse_multipart(reader, b"b")
        except HTTPError as error:
            assert error.status in (400, 413)
            return
        assert all(isinstance(one, str) for values in fields.values() for one in values)
        for file in files.values():
            await _content(file)

    asyncio.run(parse())
