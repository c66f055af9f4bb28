"""How bodies are read, parsed, limited, timed and dropped; hostile, slow and leaving clients among them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import importlib.util
import json
import logging
import sys
import time
import tracemalloc
import urllib.parse
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

import micropie
from micropie import App, ConnectionClosed, HTTPError, HttpMiddleware, Request, UploadedFile, event_stream
from tests.asgi import BOUNDARY, Response, encode_multipart, exchange, get, post, request, run

MIB = 2**20
JSON = [("content-type", "application/json")]
FORM = [("content-type", "application/x-www-form-urlencoded")]
TEXT = [("content-type", "text/plain")]
MULTIPART = [("content-type", f"multipart/form-data; boundary={BOUNDARY}")]
CHUNKED = [("transfer-encoding", "chunked")]
CONTINUE = [("expect", "100-continue")]


class Handlers:
    """Handlers of every way to read a body; `calls` counts those that ran to their end."""

    calls = 0

    async def parsed(self) -> list[Any]:
        """What the framework has made of the body."""
        self.calls += 1
        return [self.request.get_json, self.request.body_params]

    async def buffered(self) -> bytes:
        body = await self.request.body()
        self.calls += 1
        return body

    async def streamed(self) -> bytes:
        body = b"".join([chunk async for chunk in self.request.stream()])
        self.calls += 1
        return body

    async def unread(self) -> str:
        self.calls += 1
        return "unread"


class Root(Handlers, App):
    """The handlers, as an app."""


def parsed(response: Response) -> Any:
    """The JSON body and the form fields that the handler saw; the framework's answer if it never ran."""
    return response.json() if response.status == 200 else response.status


class Endless:
    """A client that never stops sending; counts what was taken from it."""

    def __init__(self, piece: bytes, pieces: int = 2000) -> None:
        self.piece = piece
        self.left = pieces
        self.taken = 0

    async def __call__(self) -> dict[str, Any]:
        self.left -= 1
        self.taken += len(self.piece)
        await asyncio.sleep(0)
        return {"type": "http.request", "body": self.piece, "more_body": self.left > 0}


async def never() -> dict[str, Any]:
    """A client that sends nothing."""
    return await asyncio.Future()


# --- Which bodies are parsed ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"json": {"a": 1}}, [{"a": 1}, {"a": ["1"]}]),
        ({"form": {"a": "1"}}, [{}, {"a": ["1"]}]),
        ({"multipart": [("a", "1")]}, [{}, {"a": ["1"]}]),
    ],
    ids=["json", "form", "multipart"],
)
async def test_bodies_are_parsed_for_any_method(method: str, options: dict[str, Any], expected: Any) -> None:
    assert (await post(Root(), "/parsed", method=method, **options)).json() == expected


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "json"),
        ("APPLICATION/JSON", "json"),
        ("application/json;charset=utf-8", "json"),
        ("application/json ; charset=utf-8", "json"),
        ("application/json;", "json"),
        ("application/problem+json", "json"),
        ("Application/Vnd.API+JSON; version=1", "json"),
        ("application/x-www-form-urlencoded", "form"),
        ("Application/X-WWW-Form-Urlencoded; charset=utf-8", "form"),
        # What a cross-site form may send must never be taken for JSON.
        ("text/plain; application/json", None),
        ("text/plain;application/json", None),
        ("text/plain, application/json", None),
        ("text/plain; x=application/json", None),
        ("text/plain; charset=x+json", None),
        ("text/plain", None),
        ("application/jsonp", None),
        ("application/json-seq", None),
        ("json", None),
        ("+json/x", None),
        ("application/x-www-form-urlencoded2", None),
        ("", None),
        (";", None),
        (None, None),
    ],
)
async def test_media_types_are_compared_as_media_types(content_type: str | None, kind: str | None) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    body = b"a=1" if kind == "form" else b'{"a":1}'
    expected = {"json": [{"a": 1}, {"a": ["1"]}], "form": [{}, {"a": ["1"]}], None: [{}, {}]}[kind]
    assert parsed(await post(Root(), "/parsed", headers=headers, body=body)) == expected


@pytest.mark.parametrize("order", [1, -1])
async def test_two_content_types_are_no_json(order: int) -> None:
    headers = [("content-type", "text/plain"), ("content-type", "application/json")][::order]
    assert parsed(await post(Root(), "/parsed", headers=headers, body=b'{"a":1}')) == [{}, {}]


@pytest.mark.parametrize(
    "content_type",
    [
        f"multipart/form-data; boundary={BOUNDARY}",
        f"Multipart/Form-Data;BOUNDARY={BOUNDARY}",
        f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"',
        f"multipart/form-data ; boundary={BOUNDARY} ; charset=utf-8",
    ],
)
async def test_multipart_is_recognised_in_any_spelling(content_type: str) -> None:
    response = await post(Root(), "/parsed", headers=[("content-type", content_type)], multipart=[("a", "1")])
    assert response.json() == [{}, {"a": ["1"]}]


async def test_a_quoted_boundary_may_hold_what_would_end_a_token() -> None:
    body = encode_multipart([("a", "1")], boundary="a;b, c:d")
    headers = [("content-type", 'multipart/form-data; boundary="a;b, c:d"')]
    assert (await post(Root(), "/parsed", headers=headers, body=body)).json() == [{}, {"a": ["1"]}]


class Witness(HttpMiddleware):
    """Notes what is there, and what was taken from the client, when `before_request` runs."""

    def __init__(self, receive: Endless | None = None) -> None:
        self.receive = receive
        self.saw: Any = None

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        self.saw = self.receive.taken if self.receive else (request.get_json, request.form("csrf"))
        return None if self.receive or request.form("csrf") == "good" else {"status_code": 403, "body": "no"}

    async def after_request(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("csrf", "status"), [("good", 200), ("bad", 403)])
@pytest.mark.parametrize("kind", ["form", "json"])
async def test_a_middleware_can_check_a_csrf_field(kind: str, csrf: str, status: int) -> None:
    """JSON and urlencoded bodies are read before `before_request` runs."""
    app = Root()
    app.middlewares.append(witness := Witness())
    response = await post(app, "/parsed", chunk_size=3, **{kind: {"csrf": csrf}})
    assert (response.status, app.calls) == (status, status == 200)
    assert witness.saw == ({"csrf": csrf} if kind == "json" else {}, csrf)


@pytest.mark.parametrize("headers", [TEXT, MULTIPART, [("content-type", "application/octet-stream")], []])
async def test_other_bodies_are_left_on_the_wire(headers: list[tuple[str, str]]) -> None:
    app = Root()
    receive = Endless(b"x", 3)
    app.middlewares.append(witness := Witness(receive))
    await post(app, "/unread", headers=[*headers, *CHUNKED], receive=receive)
    assert witness.saw == 0


# --- body() and stream() ----------------------------------------------------------------------------------------------

RAW = [
    pytest.param(JSON, b'{"a": 1}', id="json"),
    pytest.param(FORM, b"a=1&b=%20", id="form"),
    pytest.param(TEXT, b"any \xff bytes", id="text"),
    pytest.param([], b"untyped", id="untyped"),
    pytest.param(TEXT, b"", id="empty"),
]


@pytest.mark.parametrize("path", ["/buffered", "/streamed"])
@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize(("headers", "body"), RAW)
async def test_the_raw_body(path: str, chunk_size: int | None, headers: Any, body: bytes) -> None:
    """Also after JSON or form parsing, for the signatures of webhooks."""
    assert (await post(Root(), path, headers=headers, body=body, chunk_size=chunk_size)).body == body


@pytest.mark.parametrize(("headers", "body"), RAW)
async def test_the_raw_body_as_often_as_one_likes(headers: Any, body: bytes) -> None:
    class Again(App):
        async def index(self) -> bytes:
            first = await self.request.body()
            streamed = b"".join([chunk async for chunk in self.request.stream()])
            assert await self.request.body() == first == streamed
            return first

    assert (await post(Again(), headers=headers, body=body, chunk_size=2)).body == body


async def test_empty_pieces_are_no_end_of_the_body() -> None:
    for path in ("/buffered", "/streamed"):
        assert (await post(Root(), path, headers=TEXT, body=[b"", b"a", b"", b"b", b""])).body == b"ab"
    assert parsed(await post(Root(), "/parsed", headers=JSON, body=[b"", b"[1", b"", b"]", b""]))[0] == [1]


async def test_two_tasks_that_read_the_body_both_have_all_of_it() -> None:
    class Both(App):
        async def index(self) -> list[str]:
            both = await asyncio.gather(self.request.body(), self.request.body())
            return [body.decode() for body in both]

    async def main() -> Response:
        async with exchange(Both(), "POST", "/", headers=[("content-length", "6")]) as client:
            for piece in ("ab", "cd"):
                await client.send_body(piece.encode())
                await asyncio.sleep(0.01)
            await client.send_body(b"ef", more=False)
            return await client.wait()

    assert (await main()).json() == ["abcdef", "abcdef"]


async def test_a_body_that_streamed_away_cannot_be_had_again() -> None:
    class Again(App):
        async def index(self) -> str:
            assert [chunk async for chunk in self.request.stream()]
            with pytest.raises(RuntimeError):
                await self.request.body()
            return "told"

    assert (await post(Again(), headers=TEXT, body=b"text")).text == "told"


async def test_stream_gives_the_body_as_it_comes() -> None:
    class Echo(App):
        async def index(self) -> AsyncIterator[bytes]:
            async for chunk in self.request.stream():
                yield chunk


    async with exchange(Echo(), "POST", headers=CHUNKED) as ex:
        for piece in (b"one", b"two"):
            await ex.send_body(piece)
            assert await ex.next_chunk() == piece
        await ex.send_body(b"end", more=False)
        assert (await ex.wait()).body == b"onetwoend"


async def test_stream_takes_nothing_before_it_is_asked() -> None:
    """Back-pressure: what the handler has not asked for stays with the server."""

    class Slow(App):
        async def index(self) -> None:
            async for _ in self.request.stream():
                reached.set()
                await proceed.wait()


    reached, proceed = asyncio.Event(), asyncio.Event()
    async with exchange(Slow(), "POST", headers=CHUNKED) as ex:
        for _ in range(20):
            await ex.send_body(b"x")
        await reached.wait()
        assert ex.received == 1
        proceed.set()
        await ex.send_body(b"", more=False)
        assert (await ex.wait()).status == 204


# --- What is wrong with a body: 400 -----------------------------------------------------------------------------------


@functools.cache
def micropie_without_orjson() -> ModuleType:
    """A second copy of the module, which has never seen orjson."""
    spec = importlib.util.spec_from_file_location("micropie_without_orjson", micropie.__file__)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["orjson", "json"])
def any_json(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app that has orjson, and one that has not."""
    if request.param == "orjson":
        import orjson  # noqa: F401

        return Root()
    monkeypatch.setitem(sys.modules, "orjson", None)
    return type("Root", (Handlers, micropie_without_orjson().App), {})()


BAD_JSON = [
    b"{",
    b'{"a":1}}',
    b'{"a":1,}',
    b"{'a':1}",
    b"[1,]",
    b"[01]",
    b"[+1]",
    b"[.5]",
    b"[1.]",
    b"NaN",
    b"[NaN]",
    b"Infinity",
    b"[-Infinity]",
    b'"\\ud800"',
    b'{"\\uDC00":1}',
    b'"\\ude00\\ud83d"',
    b"\xef\xbb\xbf{}",
    b'"\xff"',
    b'"\xed\xa0\x80"',
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-16-le"),
    b'"\n"',
    b'"\\x41"',
    b" ",
    b"\xc2\xa0{}",
    b"nul",
    b"[" * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
]


@pytest.mark.parametrize("body", BAD_JSON, ids=lambda body: repr(body[:20]))
async def test_bad_json_is_400(any_json: App, body: bytes) -> None:
    response = await post(any_json, "/parsed", headers=JSON, body=body)
    assert (response.status, any_json.calls) == (400, 0)
    assert response.text.startswith("400 Bad Request")


@pytest.mark.parametrize(
    "body", [b"1e400", b'{"a":-1e999}', b"[" + b"9" * 400 + b".0]"], ids=["1e400", "-1e999", "digits"]
)
async def test_json_numbers_that_are_infinite_are_400(any_json: App, body: bytes) -> None:
    assert (await post(any_json, "/parsed", headers=JSON, body=body)).status == 400


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, -2, 0.5, 1e300, True, False, None, "é€\U0001f600", ""]},
        ["\\ud800", "\u2028", "\x7f", "a/b"],
        {"": {"": []}},
        [2**53, 2**63 - 1, -(2**63), 2**64 - 1],
        "text",
        0,
        None,
    ],
)
async def test_good_json(any_json: App, value: Any) -> None:
    for body in (json.dumps(value), json.dumps(value, ensure_ascii=False), f"\r\n\t {json.dumps(value)} \n"):
        response = await post(any_json, "/parsed", headers=JSON, body=body.encode(), chunk_size=7)
        assert response.json()[0] == value


async def test_json_may_be_nested(any_json: App) -> None:
    assert (await post(any_json, "/parsed", headers=JSON, body=b"[" * 200 + b"]" * 200)).status == 200


@pytest.mark.parametrize("body", [b"[" * 255 + b"]" * 255, b'{"a":' * 300 + b"1" + b"}" * 300])
async def test_json_may_be_nested_as_deeply_as_it_can_be_said_again(any_json: App, body: bytes) -> None:
    assert (await post(any_json, "/parsed", headers=JSON, body=body)).status == 400


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
async def test_json_integers_are_exact_whatever_their_size(any_json: App, number: int) -> None:
    any_json.integer = None

    async def index(self: Any) -> None:
        self.integer = self.request.get_json

    app = type("Integers", (type(any_json),), {"index": index})()
    assert (await post(app, headers=JSON, body=b"%d" % number)).status == 204
    assert (type(app.integer), app.integer) == (int, number)


@pytest.mark.parametrize("body", [b"", [b""], [b"", b""]])
async def test_an_empty_json_body_is_none(any_json: App, body: Any) -> None:
    assert (await post(any_json, "/parsed", headers=JSON, body=body)).json() == [{}, {}]
    assert (await post(any_json, "/parsed", headers=[*JSON, *CHUNKED], body=body)).json() == [{}, {}]


@pytest.mark.parametrize("length", ["", "-1", "+5", "1_0", "0x5", "5.0", "five", "5 5", "5, 6", "\xb2", "9" * 30])
@pytest.mark.parametrize("path", ["/parsed", "/unread"])
async def test_a_bad_content_length_is_400(path: str, length: str) -> None:
    app = Root()
    response = await post(app, path, headers=[*JSON, ("content-length", length)], body=b"[1,2]")
    assert (response.status, app.calls) == (400, 0)


@pytest.mark.parametrize("lengths", [["5", "6"], ["5", "x"]])
async def test_content_lengths_that_differ_are_400(lengths: list[str]) -> None:
    headers = [*JSON, *[("content-length", length) for length in lengths]]
    assert (await post(Root(), "/parsed", headers=headers, body=b"[1,2]")).status == 400


async def test_bytes_of_a_form_that_are_not_utf_8_become_replacement_characters() -> None:
    response = await post(Root(), "/parsed", headers=FORM, body=b"a=%FF&b=\xff&%FF=%C3%A9+%E2%82")
    assert response.json()[1] == {"a": ["\ufffd"], "b": ["\ufffd"], "\ufffd": ["é \ufffd"]}


async def test_a_form_keeps_blank_and_repeated_values() -> None:
    response = await post(Root(), "/parsed", headers=FORM, body=b"a=1&a=&b&&c=x%3D%26y=z")
    assert response.json()[1] == {"a": ["1", ""], "b": [""], "c": ["x=&y=z"]}


@pytest.mark.parametrize("size", [100, 300_000, 3 * MIB])
async def test_a_form_of_any_size(size: int) -> None:
    class Measure(App):
        async def index(self) -> list[Any]:
            return [len(self.request.form("a")), self.request.form("b")]

    assert (await post(Measure(), form={"a": "%" * (size // 3), "b": "é"})).json() == [size // 3, "é"]


PART = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"

BAD_MULTIPART = {
    "empty": b"",
    "no boundary inside": b"a=1",
    "another boundary": encode_multipart([("a", "1")], boundary="other"),
    "no end": PART,
    "cut in the end": PART + b"--b-",
    "cut in a header": b"--b\r\nContent-Disp",
    "cut in a part": b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1",
    "no name": b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n--b--\r\n",
    "empty name": b'--b\r\nContent-Disposition: form-data; name=""\r\n\r\n1\r\n--b--\r\n',
    "no disposition": b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n--b--\r\n",
    "another disposition": b"--b\r\nContent-Disposition: attachment; name=a\r\n\r\n1\r\n--b--\r\n",
    "no header": b"--b\r\n\r\n1\r\n--b--\r\n",
    "no colon": b"--b\r\nContent-Disposition\r\n\r\n1\r\n--b--\r\n",
    "bare line feeds": PART.replace(b"\r\n", b"\n") + b"--b--\n",
    "text after a boundary": PART + b"--bx\r\n",
    "a header that is no UTF-8": b'--b\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n1\r\n--b--\r\n',
    "a field that is no UTF-8": PART.replace(b"1", b"\xff") + b"--b--\r\n",
    "a field that ends inside a character": PART.replace(b"1", b"\xc3") + b"--b--\r\n",
    "a wrong part length": PART.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n") + b"--b--\r\n",
}


@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize("body", list(BAD_MULTIPART.values()), ids=list(BAD_MULTIPART))
async def test_malformed_multipart_is_400(body: bytes, chunk_size: int | None) -> None:
    app = Root()
    headers = [("content-type", "multipart/form-data; boundary=b"), *CHUNKED]
    response = await post(app, "/parsed", headers=headers, body=body, chunk_size=chunk_size)
    assert (response.status, app.calls) == (400, 0)
    assert response.text.startswith("400 Bad Request")


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        ";",
        "; boundary",
        "; boundary=",
        '; boundary=""',
        "; xboundary=b",
        "; charset=b",
        f"; boundary={'b' * 1000}",
        '; boundary="b\n"',
    ],
)
async def test_a_missing_boundary_is_400(parameters: str) -> None:
    app = Root()
    headers = [("content-type", f"multipart/form-data{parameters}")]
    response = await post(app, "/parsed", headers=headers, body=PART + b"--b--\r\n")
    assert (response.status, app.calls) == (400, 0)


async def test_multipart_may_have_a_preamble_and_an_epilogue() -> None:
    headers = [("content-type", "multipart/form-data; boundary=b")]
    for chunk_size in (None, 1):
        body = b"preamble\r\n" + PART + b"--b--\r\nepilogue"
        assert (await post(Root(), "/parsed", headers=headers, body=body, chunk_size=chunk_size)).json()[1] == {"a": ["1"]}


async def test_multipart_fields_are_utf_8_whatever_the_chunks() -> None:
    parts = [("a", "é€\U0001f600"), ("b", ""), ("a", "2"), ("naïve", "\r\n--x")]
    response = await post(Root(), "/parsed", multipart=parts, chunk_size=1)
    assert response.json()[1] == {"a": ["é€\U0001f600", "2"], "b": [""], "naïve": ["\r\n--x"]}


@pytest.mark.parametrize(("headers", "body"), [(JSON, b'{"<script>'), (MULTIPART, b"<script>")])
async def test_an_error_never_repeats_what_the_client_sent(headers: Any, body: bytes) -> None:
    response = await post(Root(), "/parsed", headers=headers, body=body)
    assert response.status == 400
    assert "script" not in response.text
    assert response.header("content-type") == "text/plain; charset=utf-8"


async def test_multipart_without_the_package_is_500_and_the_log_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    response = await post(Root(), "/parsed", multipart=[("a", "1")])
    assert response.status == 500
    assert "multipart" in caplog.text and "pip install" in caplog.text


# --- Limits: 413 ------------------------------------------------------------------------------------------------------

PARSED = [
    pytest.param("/parsed", JSON, b'"' + b"x" * 98 + b'"', id="json"),
    pytest.param("/parsed", FORM, b"a=" + b"x" * 98, id="form"),
    pytest.param("/buffered", TEXT, b"x" * 100, id="body()"),
]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(("limit", "status"), [(100, 200), (99, 413), (0, 413), (None, 200)])
@pytest.mark.parametrize(("path", "headers", "body"), PARSED)
async def test_what_is_buffered_falls_under_max_body_size(
    path: str, headers: Any, body: bytes, limit: int | None, status: int, announced: bool
) -> None:
    app = Root(max_body_size=limit, max_upload_size=10)
    headers = headers if announced else [*headers, *CHUNKED]
    response = await post(app, path, headers=headers, body=body, chunk_size=7)
    assert (response.status, app.calls) == (status, status == 200)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(("limit", "status"), [(100, 200), (99, 413), (0, 413), (None, 200)])
async def test_what_streams_falls_under_max_upload_size(limit: int | None, status: int, announced: bool) -> None:
    app = Root(max_body_size=10, max_upload_size=limit)
    headers = TEXT if announced else [*TEXT, *CHUNKED]
    response = await post(app, "/streamed", headers=headers, body=b"x" * 100, chunk_size=7)
    assert (response.status, app.calls) == (status, status == 200)


async def test_the_limits_are_16_mib_when_nobody_sets_them() -> None:
    for path, headers in (("/buffered", TEXT), ("/streamed", TEXT), ("/parsed", JSON)):
        length = [("content-length", str(16 * MIB + 1)), *CONTINUE]
        assert (await post(Root(), path, headers=[*headers, *length], body=None)).status == 413
    app = Root()
    block = [b" " * MIB] * 15 + [b" " * (MIB - 1) + b"1"]
    assert (await post(app, "/parsed", headers=JSON, body=block)).status == 200


@pytest.mark.parametrize("path", ["/parsed", "/buffered", "/streamed"])
async def test_a_limit_holds_before_anything_is_read_where_content_length_says_so(path: str) -> None:
    headers = {"/parsed": JSON}.get(path, TEXT)
    app = Root(max_body_size=99, max_upload_size=99)
    receive = Endless(b"x")
    response = await post(app, path, headers=[*headers, ("content-length", "100"), *CONTINUE], receive=receive)
    assert (response.status, receive.taken, app.calls) == (413, 0, 0)
    assert response.text.startswith("413 ")


@pytest.mark.parametrize("path", ["/parsed", "/buffered", "/streamed"])
async def test_no_more_is_kept_than_the_limit_of_a_body_that_never_ends(path: str) -> None:
    app = Root(max_body_size=1000, max_upload_size=1000)
    receive = Endless(b"x" * 300)
    headers = {"/parsed": JSON}.get(path, TEXT)
    response = await post(app, path, headers=headers, body=None, receive=receive)
    assert (response.status, app.calls) == (413, 0)
    assert receive.taken == 1200, "stopped at the first piece past the limit"


async def test_a_body_that_nobody_reads_is_not_limited() -> None:
    app = Root(max_body_size=10, max_upload_size=10)
    assert (await post(app, "/unread", headers=TEXT, body=b"x" * 100)).text == "unread"


@pytest.mark.parametrize("cause", [413, 408])
@pytest.mark.parametrize("way", ["body", "stream"])
async def test_a_body_that_failed_fails_again(way: str, cause: int) -> None:
    class Again(App):
        async def index(self) -> list[int]:
            found = []
            for _ in range(2):
                try:
                    if way == "body":
                        await self.request.body()
                    else:
                        _ = [chunk async for chunk in self.request.stream()]
                except HTTPError as error:
                    found.append(error.status)
            return found

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        if not pieces:
            return await asyncio.Future()
        return {"type": "http.request", "body": pieces.pop(), "more_body": True}

    asked = 0
    pieces = [b"x" * 40] * (2 if cause == 413 else 1)
    app = Again(max_body_size=50, max_upload_size=50, body_timeout=0.02)
    assert (await post(app, headers=TEXT, body=None, receive=receive)).json() == [cause, cause]
    assert asked == 2, "nobody waits twice"


# --- Slow clients: 408 ------------------------------------------------------------------------------------------------

SLOW = [
    pytest.param("/parsed", JSON, id="json"),
    pytest.param("/parsed", FORM, id="form"),
    pytest.param("/parsed", MULTIPART, id="multipart"),
    pytest.param("/buffered", TEXT, id="body()"),
    pytest.param("/streamed", TEXT, id="stream()"),
]


@pytest.mark.parametrize("sent", [[], [b"a"], [b"a", b"", b""]], ids=["nothing", "a byte", "empty pieces"])
@pytest.mark.parametrize(("path", "headers"), SLOW)
async def test_a_client_that_sends_nothing_for_body_timeout_is_408(path: str, headers: Any, sent: list[bytes]) -> None:
    app = Root(body_timeout=0.02)


    async with exchange(app, "POST", path, headers=[*headers, *CHUNKED]) as ex:
        for piece in sent:
            await ex.send_body(piece)
        response = await ex.wait()
        assert (response.status, app.calls) == (408, 0)
        assert response.text.startswith("408 ")


@pytest.mark.parametrize(("path", "headers"), SLOW)
async def test_a_client_that_was_waited_for_is_waited_for_only_once(path: str, headers: Any) -> None:
    """The 408 goes out at once: nobody waits for the rest of that body."""
    calls = 0

    async def receive() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        return await asyncio.Future()

    response = await post(Root(body_timeout=0.02), path, headers=[*headers, *CHUNKED], receive=receive)
    assert (response.status, calls) == (408, 1)


async def test_empty_pieces_do_not_stand_for_bytes() -> None:
    """No *byte* for `body_timeout` seconds: a client cannot stay for ever on empty messages."""
    app = Root(body_timeout=0.05)

    async def drip() -> dict[str, Any]:
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}

    assert (await post(app, "/buffered", headers=TEXT, body=None, receive=drip)).status == 408


async def test_a_client_that_sends_empty_pieces_is_waited_for_only_once() -> None:
    calls = 0

    async def drip() -> dict[str, Any]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        return {"type": "http.request", "body": b"", "more_body": True}


    seen = 0

    class Counting(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            pass

        async def after_request(self, *_: Any) -> None:
            nonlocal seen
            seen = calls

    app = Root(body_timeout=0.05)
    app.middlewares.append(Counting())
    response = await post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=drip)
    assert response.status == 408
    before, after = (seen, calls)
    assert before == after


async def test_a_client_that_is_slow_but_steady_gets_through() -> None:
    app = Root(body_timeout=0.3)


    async with exchange(app, "POST", "/buffered", headers=[*TEXT, *CHUNKED]) as ex:
        for _ in range(8):
            await asyncio.sleep(0.05)
            await ex.send_body(b"x")
        await ex.send_body(b"", more=False)
        assert (await ex.wait()).body == b"x" * 8


async def test_time_in_back_pressure_does_not_count() -> None:
    class Slow(App):
        async def index(self) -> int:
            size = 0
            async for chunk in self.request.stream():
                await asyncio.sleep(0.03)
                size += len(chunk)
            return size

    assert (await post(Slow(body_timeout=0.02), headers=TEXT, body=b"x" * 4, chunk_size=1)).json() == 4


async def test_a_body_timeout_of_none_is_no_limit() -> None:
    app = Root(body_timeout=None)


    async with exchange(app, "POST", "/buffered", headers=[*TEXT, *CHUNKED]) as ex:
        await asyncio.sleep(0.02)
        await ex.send_body(b"late", more=False)
        assert (await ex.wait()).body == b"late"


async def test_all_waits_of_an_event_loop_share_one_timer() -> None:
    app = Root(body_timeout=0.2)
    timers = []


    loop: Any = asyncio.get_running_loop()
    call_later = loop.call_later
    loop.call_later = lambda delay, *args, **options: timers.append(delay) or call_later(delay, *args, **options)
    answers = [post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=never) for _ in range(50)]
    assert [response.status for response in await asyncio.gather(*answers)] == [408] * 50
    # The first look, eight in a time-out, one for who began after the first; the driver of the tests has longer ones.
    assert 1 <= len([delay for delay in timers if delay <= 0.2]) <= 10


async def test_a_wait_ends_in_its_own_time_however_long_others_have_lasted() -> None:
    app = Root(body_timeout=0.2)

    async def late(delay: float) -> float:
        await asyncio.sleep(delay)
        begun = time.monotonic()
        async with exchange(app, "POST", "/buffered", headers=[*TEXT, *CHUNKED]) as ex:
            assert (await ex.wait(20)).status == 408
        return time.monotonic() - begun


    assert min(await asyncio.gather(late(0), late(0.1), late(0.15))) >= 0.199


def test_an_app_may_serve_in_several_event_loops() -> None:
    """One after the other in a thread, as in tests, and side by side in threads."""
    app = Root(body_timeout=0.05)

    def serve() -> int | None:
        return run(post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=never)).status

    assert [serve(), serve()] == [408, 408]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: serve(), range(8))) == [408] * 8


async def test_a_request_that_is_cancelled_when_its_time_is_up_ends_as_cancelled() -> None:
    app = Root(body_timeout=0.02)


    async def receive() -> dict[str, Any]:
        try:
            return await asyncio.Future()
        finally:
            task.cancel()

    task = asyncio.ensure_future(post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=receive))
    await asyncio.wait([task], timeout=20)
    assert task.cancelled()


async def test_a_408_leaves_the_task_as_it_was() -> None:
    """The clock's cancellation is taken back: whoever runs in the task later would be thought cancelled."""
    left = []

    class Patient(App):
        async def index(self) -> bytes:
            try:
                return await self.request.body()
            finally:
                task = asyncio.current_task()
                left.append(task and task.cancelling())

    async def late() -> dict[str, Any]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Future()
        return {"type": "http.request", "body": b"late"}

    for receive in (never, late):
        await post(Patient(body_timeout=0.02), headers=[*TEXT, *CHUNKED], receive=receive)
    assert left == [0, 0]


# --- Clients that leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(("path", "headers"), SLOW)
async def test_a_client_that_goes_away_mid_body_ends_the_request(path: str, headers: Any, after: int) -> None:
    app = Root()
    body = [b"[1", b", 2", b"]"] if headers is JSON else encode_multipart([("a", "1"), ("b", "2")])
    if isinstance(body, bytes):
        body = [body[:100], body[100:150], body[150:]]
    response = await post(app, path, headers=headers, body=body, disconnect_after=after)
    assert (response.status, app.calls) == (None, 0)


async def test_a_client_that_goes_away_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    for path in ("/buffered", "/streamed"):
        await post(Root(), path, headers=TEXT, body=[b"a", b"b"], disconnect_after=1)
    assert caplog.records == []


async def test_the_handler_that_reads_sees_connection_closed() -> None:
    caught = []

    class Reader(App):
        async def buffered(self) -> None:
            try:
                await self.request.body()
            except ConnectionClosed:
                caught.append("body")
                raise

        async def streamed(self) -> None:
            try:
                async for _ in self.request.stream():
                    pass
            except ConnectionClosed:
                caught.append("stream")
                raise

    for path in ("/buffered", "/streamed"):
        await post(Reader(), path, headers=TEXT, body=[b"a", b"b"], disconnect_after=1)
    assert caught == ["body", "stream"]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "HTTP/2"])
@pytest.mark.parametrize("answer", ["text", HTTPError(400), RuntimeError("broken")])
async def test_a_handler_that_swallows_it_answers_nobody(answer: Any, announced: bool) -> None:
    """Nothing may be sent after a disconnect was received."""

    class Stubborn(App):
        async def index(self) -> str:
            with contextlib.suppress(ConnectionClosed):
                await self.request.body()
            if isinstance(answer, Exception):
                raise answer
            return answer

    incoming = iter([{"type": "http.request", "body": b"a", "more_body": True}])

    async def receive() -> dict[str, Any]:
        return next(incoming, {"type": "http.disconnect"})

    headers = [*TEXT, *CHUNKED] if announced else TEXT
    assert (await post(Stubborn(), headers=headers, body=None, receive=receive)).status is None


async def test_a_stream_that_swallows_it_sends_nothing_more() -> None:
    class Stubborn(App):
        async def index(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self.request.stream():
                    yield chunk
            except ConnectionClosed:
                yield b"too late"


    async with exchange(Stubborn(), "POST", headers=[*TEXT, *CHUNKED]) as ex:
        await ex.send_body(b"a")
        assert await ex.next_chunk() == b"a"
        await ex.disconnect()
        response = await ex.wait()
        assert (response.body, response.complete) == (b"a", False)


async def test_connection_closed_out_of_nowhere_is_500(caplog: pytest.LogCaptureFixture) -> None:
    class Confused(App):
        async def index(self) -> None:
            raise ConnectionClosed

    assert (await post(Confused(), headers=TEXT, body=b"text")).status == 500
    assert "ConnectionClosed" in caplog.text


# --- What is left of a body when the response is ready ----------------------------------------------------------------


@pytest.mark.parametrize("headers", [CHUNKED, [("content-length", "3")]], ids=["chunked", "length"])
async def test_an_announced_body_is_read_and_dropped_before_the_response(headers: Any) -> None:
    app = Root()


    async with exchange(app, "POST", "/unread", headers=[*TEXT, *headers]) as ex:
        for piece in (b"a", b"b"):
            await ex.send_body(piece)
            await asyncio.sleep(0.002)
            assert (app.calls, ex.messages) == (1, [])
        await ex.send_body(b"c", more=False)
        assert (await ex.wait()).text == "unread"


@pytest.mark.parametrize("path", ["/missing", "/parsed"])
async def test_the_same_for_an_error(path: str) -> None:
    app = Root(max_body_size=1)
    async with exchange(app, "POST", path, headers=[*JSON, ("content-length", "4")]) as ex:
        await ex.send_body(b"[1")
        await asyncio.sleep(0.002)
        assert ex.messages == []
        await ex.send_body(b"2]", more=False)
        assert (await ex.wait()).status == 413


async def test_a_body_that_was_not_announced_is_not_waited_for() -> None:
    async with exchange(Root(), "POST", "/unread") as ex:
        assert (await ex.wait()).text == "unread"
        assert ex.received == 0


@pytest.mark.parametrize("value", ["100-continue", "100-Continue"])
async def test_a_client_that_waits_for_100_continue_is_answered_at_once(value: str) -> None:
    headers = [*TEXT, ("content-length", "3"), ("expect", value)]
    async with exchange(Root(), "POST", "/unread", headers=headers) as ex:
        assert (await ex.wait()).text == "unread"
        assert ex.received == 0


async def test_at_most_64_mib_are_dropped() -> None:
    receive = Endless(b"x" * MIB, 200)
    response = await post(Root(), "/unread", headers=[*TEXT, *CHUNKED], receive=receive)
    assert response.text == "unread"
    assert receive.taken == 64 * MIB


async def test_a_smaller_rest_is_dropped_whole() -> None:
    receive = Endless(b"x" * MIB, 63)
    assert (await post(Root(), "/unread", headers=[*TEXT, *CHUNKED], receive=receive)).text == "unread"
    assert receive.left == 0


async def test_dropping_ends_after_body_timeout() -> None:
    """However steadily the client sends."""


    async with exchange(Root(body_timeout=0.06), "POST", "/unread", headers=[*TEXT, *CHUNKED]) as ex:
        for _ in range(100):
            if ex.done:
                break
            await ex.send_body(b"x")
            await asyncio.sleep(0.01)
        assert ex.done
        assert ex.response.text == "unread"


async def test_a_client_that_leaves_while_the_rest_is_dropped() -> None:
    app = Root()
    response = await post(app, "/unread", headers=TEXT, body=[b"a", b"b"], disconnect_after=1)
    assert (response.status, app.calls) == (None, 1)


# --- Servers and their ways -------------------------------------------------------------------------------------------


class Odd:
    """An awaitable that is neither a coroutine nor a future."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.value


async def test_a_server_may_answer_a_cancellation_with_the_body() -> None:
    class Slow(App):
        async def index(self) -> bytes:
            return await self.request.body()

    async def receive() -> dict[str, Any]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(10)
        return {"type": "http.request", "body": b"late"}

    response = await post(Slow(body_timeout=0.02), headers=[("content-length", "4")], body=None, receive=receive)
    assert (response.status, response.body) == (200, b"late")


def as_future(value: Any = None) -> Awaitable[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@pytest.mark.parametrize("awaitable", [Odd, as_future])
@pytest.mark.parametrize("path", ["parsed", "buffered", "streamed", "unread", "events"])
async def test_receive_and_send_may_return_any_awaitable(path: str, awaitable: Callable[..., Awaitable[Any]]) -> None:
    class Streaming(Root):
        async def events(self) -> AsyncIterator[bytes]:
            async for chunk in self.request.stream():
                yield chunk


    incoming = iter([b"[", b"1", b"]"])
    sent: list[dict[str, Any]] = []

    def receive() -> Awaitable[Any]:
        piece = next(incoming, None)
        if piece is None:
            return awaitable({"type": "http.disconnect"})
        return awaitable({"type": "http.request", "body": piece, "more_body": piece != b"]"})

    def send(message: dict[str, Any]) -> Awaitable[Any]:
        sent.append(message)
        return awaitable()

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": f"/{path}", "headers": headers}
    await Streaming()(scope, receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    assert sent[0]["status"] == 200
    assert body == {"parsed": b"[[1],{}]", "unread": b"unread"}.get(path, b"[1]")


@pytest.mark.parametrize("path", ["/parsed", "/buffered", "/streamed", "/unread"])
@pytest.mark.parametrize(
    "last",
    [{"body": None}, {"more_body": None}, {"body": None, "more_body": None}, {"body": b""}, {"more_body": False}, {}],
)
async def test_messages_may_leave_out_optional_keys_or_send_none(path: str, last: dict[str, Any]) -> None:
    messages = [{"body": b"[1"}, {"body": None}, {}, {"body": b"]"}]
    incoming = iter([*[{"type": "http.request", "more_body": True, **message} for message in messages]])

    async def receive() -> dict[str, Any]:
        return next(incoming, {"type": "http.request", **last})

    response = await post(Root(), path, headers=[*JSON, *CHUNKED], receive=receive)
    assert response.body == {"/parsed": b"[[1],{}]", "/unread": b"unread"}.get(path, b"[1]")


async def test_a_message_without_anything_is_an_empty_body() -> None:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    assert (await post(Root(), "/buffered", headers=TEXT, body=None, receive=receive)).body == b""


@pytest.mark.parametrize("path", ["/buffered", "/streamed", "/parsed"])
async def test_a_body_without_length_or_transfer_encoding_is_read(path: str) -> None:
    """HTTP/2 and HTTP/3 announce nothing."""
    response = await request(Root(), "GET", path, headers=JSON, receive=Endless(b"1", 3))
    assert response.body == {"/parsed": b"[111,{}]"}.get(path, b"111")


async def test_a_request_without_a_body_waits_for_none() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("nothing is there to be received")

    assert (await get(Root(), "/unread", receive=receive)).text == "unread"
    assert (await get(Root(), "/parsed", receive=receive)).json() == [{}, {}]


async def test_a_server_may_clean_up_when_a_receive_is_cancelled() -> None:
    """As one does whose `receive()` waits in a `try … finally`."""
    cleaned = []

    async def receive() -> dict[str, Any]:
        try:
            return await asyncio.Future()
        finally:
            await asyncio.sleep(0.001)
            cleaned.append(True)

    app = Root(body_timeout=0.02)
    assert (await post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=receive)).status == 408
    assert cleaned == [True]


async def test_a_receive_that_is_ready_at_the_last_moment_counts() -> None:
    """A server that answers a cancellation with what came meanwhile loses nothing."""
    messages = iter([{"type": "http.request", "body": b"late", "more_body": False}])

    async def receive() -> dict[str, Any]:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Future()
        return next(messages, {"type": "http.disconnect"})

    app = Root(body_timeout=0.02)
    assert (await post(app, "/buffered", headers=[*TEXT, *CHUNKED], receive=receive)).body == b"late"


async def test_what_a_server_raises_while_the_body_is_read_is_500(caplog: pytest.LogCaptureFixture) -> None:
    async def receive() -> dict[str, Any]:
        raise RuntimeError("the server is broken")

    app = Root()
    assert (await post(app, "/parsed", headers=JSON, body=None, receive=receive)).status == 500
    assert "the server is broken" in caplog.text
    assert caplog.records[0].levelno == logging.ERROR


# --- What is left of a body -------------------------------------------------------------------------------------------


MULTI = [("content-type", f"multipart/form-data; boundary={BOUNDARY}"), *CHUNKED]
FIELD = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="a"\r\n\r\n'.encode()
FILE = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'.encode()


class Keeps(App):
    async def index(self, file: UploadedFile | None = None) -> int:
        return len(await (file.read(limit=1000) if file else self.request.body()))

    async def later(self, file: UploadedFile, note: str = "") -> int:
        return len(await file.read())

    def plain(self) -> None:
        raise HTTPError(403)

    async def stream(self) -> AsyncIterator[str]:
        await self.request.body()
        yield "one"
        await asyncio.sleep(0.01)
        yield "two"

    async def events(self) -> Any:
        await self.request.body()
        return event_stream(self.stream(), ping=0.001)

    async def broken(self) -> None:
        await self.request.body()
        raise HTTPError("no status")  # type: ignore[arg-type]


@pytest.mark.parametrize("leaves", [False, True], ids=["stays", "leaves"])
@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [
        pytest.param("/", JSON, [b"[1,"] * 300, id="JSON too large"),
        pytest.param("/", JSON, [b"[1,"] * 3, id="JSON cut off"),
        pytest.param("/", TEXT, [b"x" * 100] * 10, id="body too large"),
        pytest.param("/", TEXT, [b"x"] * 3, id="body"),
        pytest.param("/broken", TEXT, [b"x"], id="malformed error"),
        pytest.param("/plain", FORM, [b"a=1"], id="plain handler that raises"),
        pytest.param("/stream", TEXT, [b"x"], id="stream"),
        pytest.param("/events", TEXT, [b"x"], id="events"),
        pytest.param("/", FORM, [b"a=%41", b"&b=1"], id="form"),
        pytest.param("/", MULTI, [FIELD, b"x", b"nonsense"], id="multipart cut off"),
        pytest.param("/", MULTI, [FIELD, b"x\r\n--" + BOUNDARY.encode(), b"nonsense"], id="multipart malformed"),
        pytest.param("/", MULTI, [FIELD, *[b"x" * 100] * 10], id="multipart too large"),
        pytest.param("/", MULTI, [FIELD + b"x\r\n", FILE + b"y", f"\r\n--{BOUNDARY}--".encode()], id="streamed file"),
        pytest.param("/", MULTI, [FILE, *[b"x" * 500] * 3], id="streamed file too large"),
        pytest.param("/later", MULTI, [FILE, b"x", f"\r\n--{BOUNDARY}--".encode()], id="kept file"),
    ],
)
async def test_nothing_waits_for_the_garbage_collector(path: str, headers: Any, body: list[bytes], leaves: bool) -> None:
    """What a request has read goes with it, or many that are refused would fill the memory."""

    sent = [*headers, *([] if CHUNKED[0] in headers else CHUNKED)]
    options = {"disconnect_after": len(body) - 1} if leaves else {}

    async def main() -> None:
        app = Keeps(max_body_size=800, max_form_field_size=800)
        await post(app, path, headers=sent, body=body, **options)

    def kept(known: list[Any]) -> list[Any]:
        kinds = (Request, micropie._BodyReader, micropie._MultipartForm)
        found = [one for one in gc.get_objects() if isinstance(one, kinds)]
        return [one for one in found if not any(one is old for old in known)]

    logging.disable()  # pytest keeps what is logged, tracebacks included
    try:
        await main()  # imports what it needs
        gc.collect()
        before = kept([])
        gc.disable()
        await main()
        until = time.monotonic() + 2
        while kept(before) and time.monotonic() < until:
            time.sleep(0.01)  # a worker thread lets go of its last call a moment after its result is there
        assert kept(before) == []
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


@pytest.mark.parametrize("content", [b"\n" + b"%" * 2**20, b"\n" + b"%41" * 2**18, b"%4" * 2**19, b"\n" * 2**20])
def test_odd_escapes_take_no_more_memory_than_others(content: bytes) -> None:
    micropie._parse_pairs(b"a=\n%")
    tracemalloc.start()
    try:
        pairs = micropie._parse_pairs(b"a=" + content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert pairs == {"a": [urllib.parse.unquote_to_bytes(content).decode("utf-8", "replace")]}
    assert peak < 8 * 2**20
