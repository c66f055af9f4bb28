"""How bodies are read, parsed, limited, timed and dropped, with hostile and slow clients."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import gzip
import json
import logging
import sys
import threading
import tracemalloc
import urllib.parse
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from typing import Any

import pytest

from micropie import (
    App,
    ConnectionClosed,
    HTTPError,
    HttpMiddleware,
    Request,
    UploadedFile,
    event_stream,
    methods,
)
from tests.asgi import (
    BOUNDARY,
    Response,
    call,
    encode_multipart,
    exchange,
    get,
    logged,
    piece,
    post,
    request,
    scripted,
    shown,
)
from tests.clients import CHUNKED, END, MULTIPART, Endless, UnreadFile, head, sends
from tests.clock import ManualClock, elapse
from tests.processes import wait_until

MIB = 2**20
JSON = [("content-type", "application/json")]
FORM = [("content-type", "application/x-www-form-urlencoded")]
TEXT = [("content-type", "text/plain")]
FORM_DATA = [("content-type", f"multipart/form-data; boundary={BOUNDARY}")]
CONTINUE = [("expect", "100-continue")]
LEAVES = [{"type": "http.disconnect"}] * 2
"""A client that leaves, and the server says it again when it is asked again."""


def encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


class Root(App):
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

    async def repeated(self) -> bytes:
        body = await self.buffered()
        assert await self.streamed() == await self.buffered() == body
        return body

    async def unread(self) -> str:
        self.calls += 1
        return "unread"


def parsed(response: Response) -> Any:
    """The handler's JSON body and form fields; the framework's answer if it never ran."""
    return response.json() if response.status == 200 else response.status


# --- Which bodies are parsed ----------------------------------------------------------------------


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
async def test_json_and_forms_are_parsed_for_any_method(
    method: str, options: dict[str, Any], expected: Any
) -> None:
    assert (await post(Root(), "/parsed", method=method, **options)).json() == expected


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/json", "json"),
        ("APPLICATION/JSON", "json"),
        ("application/json;", "json"),
        ("application/json;charset=utf-8", "json"),
        ("application/json ; charset=utf-8", "json"),
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
        ("application/x-www-form-urlencoded2", None),
        ("json", None),
        ("+json/x", None),
        ("", None),
        (";", None),
        (None, None),
    ],
)
async def test_body_is_parsed_by_its_exact_media_type(
    content_type: str | None, kind: str | None
) -> None:
    headers = [] if content_type is None else [("content-type", content_type)]
    body = b"a=1" if kind == "form" else b'{"a":1}'
    expected = {"json": [{"a": 1}, {"a": ["1"]}], "form": [{}, {"a": ["1"]}], None: [{}, {}]}[kind]
    assert parsed(await post(Root(), "/parsed", headers=headers, body=body)) == expected


@pytest.mark.parametrize("kind", ["application/json", "application/json; charset=utf-8"])
@pytest.mark.parametrize("order", [1, -1])
async def test_json_is_not_parsed_when_a_second_content_type_is_sent(kind: str, order: int) -> None:
    headers = [("content-type", "text/plain"), ("content-type", kind)][::order]
    assert parsed(await post(Root(), "/parsed", headers=headers, body=b'{"a":1}')) == [{}, {}]


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        (f"multipart/form-data; boundary={BOUNDARY}", BOUNDARY),
        (f"Multipart/Form-Data;BOUNDARY={BOUNDARY}", BOUNDARY),
        (f'multipart/form-data; charset=utf-8; boundary="{BOUNDARY}"', BOUNDARY),
        (f"multipart/form-data ; boundary={BOUNDARY} ; charset=utf-8", BOUNDARY),
        ('multipart/form-data; boundary="a;b, c:d"', "a;b, c:d"),
    ],
)
async def test_multipart_content_type_is_recognized_in_any_spelling(
    content_type: str, boundary: str
) -> None:
    body = encode_multipart([("a", "1")], boundary=boundary)
    response = await post(Root(), "/parsed", headers=[("content-type", content_type)], body=body)
    assert response.json() == [{}, {"a": ["1"]}]


class Witness(HttpMiddleware):
    """Notes what is there, and what was taken from the client, when `before_request` runs."""

    def __init__(self, receive: Endless | None = None) -> None:
        self.receive = receive
        self.saw: Any = None

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        self.saw = self.receive.taken if self.receive else (request.get_json, request.form("csrf"))
        return (
            None
            if self.receive or request.form("csrf") == "good"
            else {"status_code": 403, "body": "no"}
        )

    async def after_request(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize(("csrf", "status"), [("good", 200), ("bad", 403)])
@pytest.mark.parametrize("kind", ["form", "json"])
async def test_before_request_sees_the_fields_of_json_and_urlencoded_forms(
    kind: str, csrf: str, status: int
) -> None:
    app = Root()
    app.middlewares.append(witness := Witness())
    form: dict[str, Any] = {kind: {"csrf": csrf}}
    response = await post(app, "/parsed", chunk_size=3, **form)
    assert (response.status, app.calls) == (status, status == 200)
    assert witness.saw == ({"csrf": csrf} if kind == "json" else {}, csrf)


@pytest.mark.parametrize(
    "headers", [TEXT, FORM_DATA, [("content-type", "application/octet-stream")], []]
)
async def test_bodies_of_other_types_are_not_read_before_the_handler(
    headers: list[tuple[str, str]],
) -> None:
    app = Root()
    receive = Endless(b"x", 3)
    app.middlewares.append(witness := Witness(receive))
    await post(app, "/unread", headers=[*headers, *CHUNKED], receive=receive)
    assert witness.saw == 0


# --- body() and stream() --------------------------------------------------------------------------

RAW = [
    pytest.param(JSON, b'{"a": 1}', id="json"),
    pytest.param(FORM, b"a=1&b=%20", id="form"),
    pytest.param(TEXT, b"any \xff bytes", id="text"),
    pytest.param([], b"untyped", id="untyped"),
    pytest.param(TEXT, b"", id="empty"),
]


@pytest.mark.parametrize("path", ["/buffered", "/streamed", "/repeated"])
@pytest.mark.parametrize("chunk_size", [None, 1])
@pytest.mark.parametrize(("headers", "body"), RAW)
async def test_body_and_stream_give_the_raw_bytes(
    path: str, chunk_size: int | None, headers: Any, body: bytes
) -> None:
    assert (
        await post(Root(), path, headers=headers, body=body, chunk_size=chunk_size)
    ).body == body


async def test_empty_messages_do_not_end_the_body() -> None:
    for path in ("/buffered", "/streamed"):
        assert (
            await post(Root(), path, headers=TEXT, body=[b"", b"a", b"", b"b", b""])
        ).body == b"ab"
    assert parsed(await post(Root(), "/parsed", headers=JSON, body=[b"", b"[1", b"", b"]", b""]))[
        0
    ] == [1]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
async def test_compressed_body_is_never_unpacked(encoding: str) -> None:
    class Reader(App):
        async def index(self) -> bytes:
            return await self.request.body()

        async def json(self) -> Any:
            return self.request.get_json

    bomb = gzip.compress(b"[" + b" " * 10**6 + b"]")
    packed = {"content-encoding": encoding}
    as_json = {**packed, "content-type": "application/json"}

    assert (await post(Reader(), "/", headers=packed, body=bomb)).body == bomb
    assert (await post(Reader(), "/json", headers=as_json, body=bomb)).status == 400


@pytest.mark.parametrize("sent", [0, 1], ids=["nothing", "a piece"])
@pytest.mark.parametrize("second", ["buffered", "streamed"])
@pytest.mark.parametrize("first", ["buffered", "streamed"])
async def test_task_that_reads_while_another_one_waits_gets_a_runtime_error(
    first: str, second: str, sent: int
) -> None:
    class Two(Root):
        async def index(self) -> bytes:
            reading = asyncio.ensure_future(getattr(self, first)())
            await elapse(0.01)
            with pytest.raises(RuntimeError, match="another task" if not sent else "body"):
                await getattr(self, second)()
            body: bytes = await reading
            return body

    async with exchange(Two(), "POST", headers=CHUNKED) as ex:
        for _ in range(sent):
            await ex.send_body(b"ab")
        await elapse(0.02)
        await ex.send_body(b"cd", more=False)
        assert (await ex.wait()).body == b"ab" * sent + b"cd"


async def test_task_that_streams_a_read_body_does_not_change_what_body_returns() -> None:
    class Again(Root):
        async def index(self) -> bytes:
            await self.buffered()
            assert await asyncio.gather(self.streamed(), self.buffered()) == [b"hello"] * 2
            return await self.buffered()

    client = sends(b"hel", b"lo", last=True, pause=0.01)
    assert (await post(Again(), headers=CHUNKED, receive=client)).text == "hello"


async def test_body_after_stream_raises_runtime_error() -> None:
    class Again(Root):
        async def index(self) -> bytes:
            streamed = await self.streamed()
            with pytest.raises(RuntimeError):
                await self.request.body()
            return streamed

    assert (await post(Again(), headers=TEXT, body=b"text")).text == "text"


class Reader(HttpMiddleware):
    """Reads a part of the body, or all of it, before the handler does."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def before_request(self, request: Request) -> None:
        if self.how == "gives up":
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(request.body(), 0.02)
        else:
            async for _ in request.stream():
                if self.how == "looks":
                    break

    async def after_request(self, *_: Any) -> None:
        pass


async def test_handler_that_streams_a_body_its_middleware_streamed_is_500() -> None:
    app = Root()
    app.middlewares.append(Reader("streams"))
    assert (await post(app, "/streamed", body=b"hello")).status == 500


@pytest.mark.parametrize("kind", [TEXT, FORM_DATA], ids=["text", "form"])
@pytest.mark.parametrize(
    ("how", "share", "status"),
    [
        ("gives up", 0, 200),
        ("gives up", 0.4, 500),
        ("gives up", 0.7, 500),
        ("looks", 0, 500),
        ("looks", 0.4, 500),
        ("looks", 0.7, 500),
    ],
)
async def test_handler_gets_the_whole_body_or_a_500_when_its_middleware_read_a_part(
    kind: Any, how: str, share: float, status: int
) -> None:
    class Form(App):
        async def index(self, a: str = "", b: str = "") -> Any:
            if kind is TEXT:
                return b"".join([chunk async for chunk in self.request.stream()])
            return f"{a} {b}"

    app = Form()
    app.middlewares.append(Reader(how))
    body = b"1 2" if kind is TEXT else head('name="a"') + b"1\r\n" + head('name="b"') + b"2" + END
    at = int(len(body) * share)
    async with exchange(app, "POST", "/", headers=[*kind, *CHUNKED]) as ex:
        await ex.send_body(body[:at])
        await elapse(0.05)
        await ex.send_body(body[at:], more=False)
        response = await ex.wait()
    assert (response.status, response.text) == (
        status,
        "1 2" if status == 200 else "500 Internal Server Error",
    )


@pytest.mark.parametrize("way", ["body", "stream", "file"])
async def test_task_that_reads_on_after_the_response_gets_no_part_of_the_body(way: str) -> None:
    class Late(Root):
        async def index(self) -> str:
            return await self.leave(self.buffered() if way == "body" else self.streamed())

        async def form(self, file: UploadedFile) -> str:
            return await self.leave(file.read())

        async def leave(self, reading: Any) -> str:
            kept.append(asyncio.ensure_future(reading))
            await asyncio.sleep(0)
            return "answered"

    kept: list[asyncio.Task[bytes]] = []
    body, path, headers = b"0123456789", "/", CHUNKED
    if way == "file":
        body, path, headers = head('name="file"; filename="f"') + body + END, "/form", MULTIPART
    at = body.index(b"23456789")
    pieces = [body[:at], body[at : at + 2], body[at + 2 : at + 4], body[at + 4 :]]
    messages = [piece(content, more=content is not pieces[-1]) for content in pieces]
    client = scripted(*messages, *LEAVES, pause=0.005)
    sent = await call(Late(), client, method="POST", path=path, headers=encoded(headers))
    assert sent[-1]["body"] == b"answered"
    (result,) = await asyncio.gather(*kept, return_exceptions=True)
    assert isinstance(result, HTTPError | ConnectionClosed) or result == b"0123456789"


async def test_task_that_waits_for_the_body_when_the_request_ends_gets_at_most_one_more_piece() -> (
    None
):
    class Late(App):
        async def index(self) -> str:
            kept.append(asyncio.ensure_future(self.read(self.request.stream())))
            await asyncio.sleep(0)
            return "answered"

        async def read(self, stream: AsyncIterator[bytes]) -> None:
            async for one in stream:
                pieces.append(one)

    kept: list[asyncio.Task[None]] = []
    pieces: list[bytes] = []
    client = scripted(*[piece(b"%d" % number, more=True) for number in range(9)], pause=0.005)
    sent = await call(Late(), client, method="POST", headers=encoded(CHUNKED))
    assert sent[-1]["body"] == b"answered"
    with pytest.raises(ConnectionClosed):
        await kept[0]
    assert pieces in ([], [b"0"])


async def test_task_that_reads_on_while_the_rest_is_dropped_gets_a_runtime_error() -> None:
    class Late(App):
        async def index(self) -> str:
            stream = self.request.stream()
            await anext(stream)
            kept.append(asyncio.ensure_future(self.read_on(stream)))
            return "answered"

        async def read_on(self, stream: AsyncIterator[bytes]) -> bytes:
            await dropping.wait()
            return await anext(stream)

    kept: list[asyncio.Task[bytes]] = []
    dropping = asyncio.Event()
    async with exchange(Late(), "POST", headers=CHUNKED) as ex:
        await ex.send_body(b"01")
        await elapse(0.01)
        assert ex.receiving
        dropping.set()
        with pytest.raises(RuntimeError):
            await kept[0]
        await ex.send_body(b"23", more=False)
        assert (await ex.wait()).text == "answered"


async def test_stream_receives_the_next_piece_only_when_the_handler_asks() -> None:
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


# --- What is wrong with a body: 400 ---------------------------------------------------------------


@pytest.mark.parametrize(
    "lengths",
    [
        *[
            [one]
            for one in (
                "-1",
                "+5",
                "1_0",
                "0x5",
                "5.0",
                "five",
                "5 5",
                "5, 6",
                "\xb2",
                "9" * 30,
            )
        ],
        ["5", "6"],
        ["5", "x"],
        ["0", "5"],
        ["5", "0"],
    ],
)
@pytest.mark.parametrize("path", ["/parsed", "/unread"])
async def test_bad_or_differing_content_lengths_are_400(path: str, lengths: list[str]) -> None:
    app = Root()
    headers = [*JSON, *[("content-length", length) for length in lengths]]
    assert ((await post(app, path, headers=headers, body=b"[1,2]")).status, app.calls) == (400, 0)


@pytest.mark.parametrize(
    ("path", "headers", "body"),
    [("/unread", [], None), ("/buffered", [*TEXT, *CHUNKED], b"abc"), ("/buffered", TEXT, b"abc")],
)
async def test_empty_content_length_is_none(path: str, headers: Any, body: bytes | None) -> None:
    """WSGI bridges send one with every request that has no body."""
    response = await post(
        Root(), path, headers=[*headers, ("content-length", "")], body=body or b""
    )
    assert (response.status, response.body) == (200, body or b"unread")


async def test_form_bytes_that_are_not_utf_8_become_replacement_characters() -> None:
    response = await post(Root(), "/parsed", headers=FORM, body=b"a=%FF&b=\xff&%FF=%C3%A9+%E2%82")
    assert response.json()[1] == {"a": ["\ufffd"], "b": ["\ufffd"], "\ufffd": ["é \ufffd"]}


async def test_form_keeps_empty_and_repeated_values() -> None:
    response = await post(Root(), "/parsed", headers=FORM, body=b"a=1&a=&b&&c=x%3D%26y=z")
    assert response.json()[1] == {"a": ["1", ""], "b": [""], "c": ["x=&y=z"]}


@pytest.mark.parametrize("size", [100, 300_000, 3 * MIB])
async def test_urlencoded_form_of_any_size_is_parsed(size: int) -> None:
    form = {"a": "%" * (size // 3), "b": "é"}
    response = await post(Root(max_form_field_size=None), "/parsed", form=form)
    assert response.json()[1] == {"a": [form["a"]], "b": ["é"]}


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
    "a bare line feed in a header": PART.replace(b"name=a", b"name=a\nX-A: b") + b"--b--\r\n",
    "a bare line feed before a header": PART.replace(b"\r\nC", b"\r\n\nC") + b"--b--\r\n",
    "a bare line feed at the end of a name": PART.replace(b"tion:", b"tion\n:") + b"--b--\r\n",
    "a bare carriage return in a header": PART.replace(b"name=a", b"name=a\rb") + b"--b--\r\n",
    "a bare carriage return before a line end": PART.replace(b"=a\r", b"=a\r\r") + b"--b--\r\n",
    "a bare line feed in a folded header": PART.replace(b"=a", b"=a;\r\n x=y\nz") + b"--b--\r\n",
    "a field that is no UTF-8": PART.replace(b"1", b"\xff") + b"--b--\r\n",
    "a field that ends inside a character": PART.replace(b"1", b"\xc3") + b"--b--\r\n",
    "a wrong part length": PART.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")
    + b"--b--\r\n",
}


@pytest.mark.parametrize("chunk_size", [None, 1, 30, 60])
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
async def test_missing_or_invalid_boundary_is_400(parameters: str) -> None:
    app = Root()
    headers = [("content-type", f"multipart/form-data{parameters}")]
    response = await post(app, "/parsed", headers=headers, body=PART + b"--b--\r\n")
    assert (response.status, app.calls) == (400, 0)


async def test_multipart_with_preamble_and_epilogue_is_parsed() -> None:
    headers = [("content-type", "multipart/form-data; boundary=b")]
    body = b"preamble\r\n" + PART + b"--b--\r\nepilogue"
    for chunk_size in (None, 1):
        response = await post(Root(), "/parsed", headers=headers, body=body, chunk_size=chunk_size)
        assert response.json()[1] == {"a": ["1"]}


async def test_multipart_fields_are_decoded_as_utf_8_across_pieces() -> None:
    parts = [("a", "é€\U0001f600"), ("b", ""), ("a", "2"), ("naïve", "\r\n--x")]
    response = await post(Root(), "/parsed", multipart=parts, chunk_size=1)
    assert response.json()[1] == {"a": ["é€\U0001f600", "2"], "b": [""], "naïve": ["\r\n--x"]}


@pytest.mark.parametrize(("headers", "body"), [(JSON, b'{"<script>'), (FORM_DATA, b"<script>")])
async def test_400_does_not_repeat_the_bad_body(headers: Any, body: bytes) -> None:
    response = await post(Root(), "/parsed", headers=headers, body=body)
    assert response.status == 400
    assert "script" not in response.text
    assert response.header("content-type") == "text/plain; charset=utf-8"


async def test_multipart_without_the_package_is_500_and_logs_what_to_install(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "multipart", None)
    response = await post(Root(), "/parsed", multipart=[("a", "1")])
    assert response.status == 500
    assert "multipart" in caplog.text and "pip install" in caplog.text


CUT_FORM = encode_multipart([("a", "1"), ("c", "2")], "cut")
CUT_HEADER = "content-disposition: form-data; name=a; x="
CUT_HEADER += "y" * (4096 - len(CUT_HEADER))


def with_header(line: str) -> bytes:
    return f"--cut\r\n{line}\r\n\r\n1\r\n--cut--\r\n".encode()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\r\n" + CUT_FORM, 200),
        (b"preamble\r\n" + CUT_FORM, 200),
        (b"a longer preamble\r\nof --cu and -- lines\r\n\r\n" + CUT_FORM, 200),
        (b"\r" + CUT_FORM, 400),
        (b"\n" + CUT_FORM, 400),
        (b"x" + CUT_FORM, 400),
        (b"junk junk junk" + CUT_FORM, 400),
        (b"junk\r\njunk--cut\r\n" + CUT_FORM, 400),
        (b"junk\r\n", 400),
        (b"--cut--", 200),
        (with_header(CUT_HEADER), 200),
        (with_header(CUT_HEADER + "y"), 413),
        (with_header("\r" + CUT_HEADER), 413),
        (with_header("\n" + CUT_HEADER), 400),
        (with_header(CUT_HEADER[:-1] + "\r"), 400),
    ],
    ids=lambda value: shown(value)[:40],
)
async def test_form_is_the_same_however_it_is_cut(body: bytes, status: int) -> None:
    class Root(App):
        async def index(self) -> Any:
            return sorted(self.request.body_params)

    headers = {"content-type": "multipart/form-data; boundary=cut"}
    whole = await post(Root(), body=body, headers=headers)
    assert whole.status == status
    cuts = [cut for cut in range(1, len(body)) if min(cut, len(body) - cut) < 99]
    for pieces in [[body[:cut], body[cut:]] for cut in cuts] + [[bytes([one]) for one in body]]:
        response = await post(Root(), body=pieces, headers=headers)
        assert (response.status, response.text) == (whole.status, whole.text), pieces


async def test_preamble_of_any_length_is_skipped() -> None:
    headers = [("content-type", "multipart/form-data; boundary=b"), *CHUNKED]
    body = [*[b"-\r\n--" * 13_000] * 100, b"\r\n" + PART + b"--b--\r\n"]
    response = await post(Root(), "/parsed", headers=headers, body=body)
    assert response.json()[1] == {"a": ["1"]}


# --- Limits: 413 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(("limit", "status"), [(100, 200), (99, 413), (0, 413), (None, 200)])
@pytest.mark.parametrize(
    ("path", "headers", "body", "counts", "other"),
    [
        pytest.param(
            "/parsed", JSON, b'"' + b"x" * 98 + b'"', "max_body_size", "max_upload_size", id="json"
        ),
        pytest.param(
            "/parsed", FORM, b"a=" + b"x" * 98, "max_body_size", "max_upload_size", id="form"
        ),
        pytest.param(
            *("/parsed", FORM, b"a=" + b"x" * 98, "max_form_field_size", "max_upload_size"),
            id="form as a field",
        ),
        pytest.param(
            "/buffered", TEXT, b"x" * 100, "max_body_size", "max_upload_size", id="body()"
        ),
        pytest.param(
            "/streamed", TEXT, b"x" * 100, "max_upload_size", "max_body_size", id="stream()"
        ),
    ],
)
async def test_body_counts_against_the_limit_of_its_kind_and_no_other(
    path: str,
    headers: Any,
    body: bytes,
    counts: str,
    other: str,
    limit: int | None,
    status: int,
    announced: bool,
) -> None:
    app = Root(**{counts: limit, other: 10})  # type: ignore[arg-type]
    headers = headers if announced else [*headers, *CHUNKED]
    response = await post(app, path, headers=headers, body=body, chunk_size=7)
    assert (response.status, app.calls) == (status, status == 200)


@pytest.mark.parametrize(
    ("path", "headers", "size"),
    [
        ("/buffered", TEXT, 16 * MIB),
        ("/streamed", TEXT, 16 * MIB),
        ("/parsed", JSON, MIB),
        ("/parsed", [("content-type", "application/vnd.api+json")], MIB),
    ],
    ids=["body()", "stream()", "json", "+json"],
)
async def test_body_limits_are_16_mib_and_1_mib_for_json_by_default(
    path: str, headers: Any, size: int
) -> None:
    length = [("content-length", str(size + 1)), *CONTINUE]
    assert (await post(Root(), path, headers=[*headers, *length], body=None)).status == 413
    body = [b" " * (MIB // 2)] * (2 * size // MIB - 1) + [b" " * (MIB // 2 - 1) + b"1"]
    assert (await post(Root(), path, headers=headers, body=body)).status == 200
    assert (
        await post(Root(), path, headers=[*headers, *CHUNKED], body=[*body, b" "])
    ).status == 413


@pytest.mark.parametrize(
    ("limits", "path", "headers", "says"),
    [
        ({"max_body_size": 50}, "/buffered", TEXT, "max_body_size is 50 bytes"),
        ({"max_upload_size": 50}, "/streamed", TEXT, "max_upload_size is 50 bytes"),
        ({"max_body_size": 50}, "/streamed", TEXT, "max_upload_size is 50 bytes"),
        ({"max_json_size": 50}, "/parsed", JSON, "max_json_size is 50 bytes"),
        ({"max_json_size": 90, "max_body_size": 50}, "/parsed", JSON, "max_body_size is 50 bytes"),
        ({"max_json_size": None, "max_body_size": 9}, "/parsed", JSON, "max_body_size is 9 bytes"),
        ({"max_form_field_size": 50}, "/parsed", FORM, "max_form_field_size is 50 bytes"),
        ({"max_form_field_size": 60, "max_body_size": 50}, "/parsed", FORM, "max_body_size is 50 "),
        ({"max_form_field_size": 50}, "/parsed", FORM_DATA, "max_form_field_size is 50 bytes"),
        ({"max_form_field_size": 60, "max_body_size": 50}, "/parsed", FORM_DATA, "max_body_size"),
        ({"max_upload_size": 0}, "/parsed", FORM_DATA, "max_upload_size is 0 bytes"),
    ],
)
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_413_names_the_smallest_limit_that_applies_and_its_value(
    announced: bool, limits: Any, path: str, headers: Any, says: str
) -> None:
    body = b'"' + b"x" * 98 + b'"'
    if headers is FORM_DATA:
        body = encode_multipart([("a", body.decode())])
        limits = {"max_upload_size": None, **limits}
    sent = headers if announced else [*headers, *CHUNKED]
    response = await post(Root(**limits), path, headers=sent, body=body)
    assert response.status == 413
    assert response.text.startswith(f"413 Content Too Large: {says}")


class Gate(HttpMiddleware):
    """Refuses a page without a look at the body, and looks when the response is there."""

    def __init__(self) -> None:
        self.after: list[Any] = []

    async def before_request(self, request: Request) -> Any:
        return {"status_code": 401} if request.route_handler == "secret" else None

    async def after_request(self, request: Request, *response: Any) -> None:
        looks = request.body_params, request.get_json, request.json("a"), request.form("a")
        self.after.append(looks)


LOOKS: list[Callable[[Request], Any]] = [
    lambda request: request.get_json,
    lambda request: request.body_params,
    lambda request: request.json("a"),
]


def refusal(request: Request, look: Callable[[Request], Any]) -> str:
    with pytest.raises(HTTPError) as error:
        look(request)
    return str(error.value)


class Lazy(Root):
    @methods("PUT")
    async def put(self) -> None: ...

    async def secret(self, a: str) -> None: ...

    async def binds(self, a: str = "") -> None: ...

    async def takes(self, **fields: str) -> None: ...

    async def segment(self, a: int) -> str:
        return "unread"

    async def repeats(self) -> list[str]:
        return [refusal(self.request, look) for look in LOOKS]

    async def streams(self) -> AsyncIterator[str]:
        yield refusal(self.request, LOOKS[0])


MANY = b"&".join([b"a=1"] * 1001)


@pytest.mark.parametrize(
    ("headers", "body", "status", "says"),
    [
        (JSON, b'{"a": oops', 400, "Invalid JSON"),
        (JSON, b'{"a": NaN}', 400, "Invalid JSON"),
        (JSON, b'"\xff"', 400, "Invalid JSON"),
        (FORM, MANY, 413, "more than 1000 fields"),
        (FORM, b"&" * 1000, 413, "more than 1000 fields"),
    ],
)
async def test_body_is_parsed_at_the_first_look_and_its_error_is_kept(
    headers: Any, body: bytes, status: int, says: str
) -> None:
    app, gate = Lazy(), Gate()
    app.middlewares.append(gate)
    for path, expected in (
        *(("/none", 404), ("/put", 405), ("/secret", 401), ("/unread", 200), ("/segment/x", 404)),
        *(("/segment/5", 200), ("/parsed", status), ("/binds", status), ("/takes", status)),
    ):
        response = await post(app, path, headers=headers, body=body)
        assert (path, response.status) == (path, expected)
        assert expected != status or says in response.text
        assert gate.after.pop() == ({}, {}, None, None)
    texts = (await post(app, "/repeats", headers=headers, body=body)).json()
    assert len(texts) == 3 and all(says in text for text in texts)
    assert says in (await post(app, "/streams", headers=headers, body=body)).text


async def test_body_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    class Looks(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            request.json()["a"].append(2)

        async def after_request(self, *args: Any) -> None: ...

    app = Root()
    app.middlewares.append(Looks())
    response = await post(app, "/parsed", json={"a": [1]})
    assert response.json() == [{"a": [1, 2]}, {"a": ["1", "2"]}]


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413)])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
async def test_urlencoded_form_past_1_mib_is_413_by_default(
    announced: bool, size: int, status: int
) -> None:
    app = Root()
    headers = FORM if announced else [*FORM, *CHUNKED]
    body = (b"a=%s&b=" % (b"x" * (MIB // 2))).ljust(size, b"x")  # neither field is too long
    response = await post(app, "/parsed", headers=headers, body=body, chunk_size=2**16)
    assert (response.status, app.calls) == (status, status == 200)


@pytest.mark.parametrize("limits", [(1000, 500), (500, 1000), (None, 500), (500, None)])
async def test_urlencoded_form_falls_under_the_smaller_of_its_limits(
    limits: tuple[int | None, int | None],
) -> None:
    app = Root(max_body_size=limits[0], max_form_field_size=limits[1])
    for size, status in ((500, 200), (501, 413)):
        assert (await post(app, "/parsed", headers=FORM, body=b"a" * size)).status == status


@pytest.mark.parametrize(
    ("announced", "taken"),
    [([("content-length", "1001"), *CONTINUE], 0), ([], 1200)],
    ids=["announced", "endless"],
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [("/parsed", JSON), ("/parsed", FORM), ("/buffered", TEXT), ("/streamed", TEXT)],
)
async def test_body_past_the_limit_is_413_at_its_length_or_at_the_first_piece_past_it(
    path: str, kind: Any, announced: Any, taken: int
) -> None:
    app = Root(max_body_size=1000, max_upload_size=1000)
    receive = Endless(b"x" * 300)
    response = await post(app, path, headers=[*kind, *announced], body=None, receive=receive)
    assert (response.status, receive.taken, app.calls) == (413, taken, 0)
    assert response.text.startswith("413 ")


async def test_limits_do_not_apply_to_a_body_that_the_handler_does_not_read() -> None:
    app = Root(max_body_size=10, max_upload_size=10)
    assert (await post(app, "/unread", headers=TEXT, body=b"x" * 100)).text == "unread"


@pytest.mark.parametrize(("cause", "sent"), [(413, 2), (408, 1)])
@pytest.mark.parametrize("way", ["body", "stream"])
async def test_second_read_after_413_or_408_fails_the_same_without_waiting(
    way: str, cause: int, sent: int
) -> None:
    class Again(Root):
        async def index(self) -> list[int]:
            found = []
            for _ in range(2):
                try:
                    await (self.buffered() if way == "body" else self.streamed())
                except HTTPError as error:
                    found.append(error.status)
            return found

    asked = 0
    client = sends(*[b"x" * 40] * sent)

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return await client()

    app = Again(max_body_size=50, max_upload_size=50, body_timeout=0.02)
    assert (await post(app, headers=TEXT, body=None, receive=receive)).json() == [cause, cause]
    assert asked == 2


# --- Clients that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/parsed", JSON),
        ("/parsed", FORM),
        ("/parsed", FORM_DATA),
        ("/reads/buffered", TEXT),
        ("/reads/streamed", TEXT),
    ],
    ids=["json", "form", "multipart", "body()", "stream()"],
)
async def test_no_handler_goes_on_when_the_client_leaves_within_the_body(
    path: str, headers: Any, after: int, caplog: pytest.LogCaptureFixture
) -> None:
    class Reader(Root):
        closed = False

        async def reads(self, way: str) -> None:
            try:
                await getattr(self, way)()
            except ConnectionClosed:
                self.closed = True
                raise

    app = Reader()
    body = [b"[1", b", 2", b"]"]
    if headers is FORM_DATA:
        form = encode_multipart([("a", "1"), ("b", "2")])
        body = [form[:100], form[100:150], form[150:]]
    response = await post(app, path, headers=headers, body=body, disconnect_after=after)
    assert (response.status, app.calls, caplog.records) == (None, 0, [])
    assert app.closed == (headers is TEXT)


@pytest.mark.parametrize(
    ("method", "headers", "sent"),
    [("GET", [], []), ("POST", [*TEXT, *CHUNKED], [b"a"]), ("POST", TEXT, [b"a"])],
    ids=["no body", "half a body", "half a body in HTTP/2"],
)
@pytest.mark.parametrize("answer", ["text", "stream", HTTPError(400), RuntimeError("broken")])
async def test_handler_that_catches_connection_closed_sends_no_response(
    answer: Any, method: str, headers: Any, sent: list[bytes]
) -> None:
    """Nothing may be sent after a disconnect was received."""

    class Stubborn(App):
        async def index(self) -> Any:
            with contextlib.suppress(ConnectionClosed):
                await self.request.body()
            if isinstance(answer, Exception):
                raise answer
            return unread if answer == "stream" else answer

    unread = UnreadFile()
    client = scripted(*[piece(content, more=True) for content in sent], *LEAVES)
    assert (
        await request(Stubborn(), method, headers=headers, body=None, receive=client)
    ).status is None
    assert unread.closed == (answer == "stream")


async def test_connection_closed_raised_while_the_client_is_there_is_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Confused(App):
        async def index(self) -> None:
            raise ConnectionClosed

    assert (await post(Confused(), headers=TEXT, body=b"text")).status == 500
    assert "ConnectionClosed" in caplog.text


# --- is_disconnected ------------------------------------------------------------------------------


class Watching(App):
    """Tells what `is_disconnected` says after each piece that the test sends."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Queue[None]()
        self.told = asyncio.Queue[Any]()

    async def index(self, reads: int = 0) -> Any:
        return await self.watch(reads)

    async def watch(self, reads: int) -> Any:
        while True:
            await self.go.get()
            is_gone = await self.request.is_disconnected()
            self.told.put_nowait(is_gone)
            if is_gone:
                return "gone"
            if reads:
                reads = 0
                self.told.put_nowait(await self.request.body())

    async def ask(self) -> Any:
        self.go.put_nowait(None)
        return await self.told.get()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_is_disconnected_tells_that_the_client_has_left(method: str) -> None:
    app = Watching()
    async with exchange(app, method, body=b"", headers=[("content-length", "0")]) as ex:
        assert [await app.ask() for _ in range(3)] == [False] * 3
        await ex.disconnect()
        assert await app.ask() is True
        assert (await ex.wait()).status is None


@pytest.mark.parametrize("version", ["1.1", "2"])
async def test_is_disconnected_is_false_as_long_as_an_announced_body_is_unread(
    version: str,
) -> None:
    app = Watching()
    headers = [*TEXT, *(CHUNKED if version == "1.1" else [])]
    scope = {"http_version": version}
    async with exchange(app, "POST", query="reads=1", headers=headers, scope=scope) as ex:
        await ex.send_body(b"ab")
        await ex.send_body(b"c", more=False)
        await ex.disconnect()
        assert (await app.ask(), await app.told.get()) == (False, b"abc")
        assert await app.ask() is True


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"", b"bc"], [b"", b"abc"]])
async def test_is_disconnected_loses_no_piece_of_an_unannounced_body(pieces: list[bytes]) -> None:
    class Late(App):
        async def index(self) -> list[Any]:
            before = [await self.request.is_disconnected() for _ in range(3)]
            body = await self.request.body()
            return [*before, body.decode(), await self.request.is_disconnected()]

    messages = [piece(one, more=one is not pieces[-1]) for one in pieces]
    response = await post(Late(), receive=scripted(*messages), body=None)
    assert response.json() == [False, False, False, "abc", False]


async def test_is_disconnected_and_a_stream_that_follows_share_the_messages() -> None:
    ended = asyncio.Event()

    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            assert not await self.request.is_disconnected()
            assert not await self.request.is_disconnected()
            return self.chunks()

        async def chunks(self) -> AsyncIterator[str]:
            try:
                yield str(await self.request.is_disconnected())
                await asyncio.Event().wait()
            finally:
                assert await self.request.is_disconnected()
                ended.set()

    async with exchange(Streams()) as ex:
        assert await ex.next_chunk() == b"False"
        await ex.disconnect()
        await ended.wait()


async def test_is_disconnected_in_several_tasks_at_once() -> None:
    class Asks(App):
        async def index(self) -> list[bool]:
            return await asyncio.gather(*[self.request.is_disconnected() for _ in range(3)])

    assert (await get(Asks())).json() == [False] * 3


@pytest.mark.parametrize("pause", range(2))
@pytest.mark.parametrize("looks", range(4))
@pytest.mark.parametrize("reads", range(4))
@pytest.mark.parametrize("pieces", [[b""], [b"a", b""], [b"a", b"b", b"c"]])
async def test_reader_and_looks_in_other_tasks_share_each_message(
    pieces: list[bytes], looks: int, reads: int, pause: int
) -> None:
    """No message is lost or handed out twice, in any order of the two tasks."""

    class Root(App):
        async def index(self) -> Any:
            async def look() -> bool:
                for _ in range(looks):
                    await asyncio.sleep(0)
                return await self.request.is_disconnected()

            async def read() -> bytes:
                for _ in range(reads):
                    await asyncio.sleep(0)
                return await self.request.body()

            found = await asyncio.gather(look(), read(), look())
            return [str(one) for one in (*found, await self.request.is_disconnected())]

    async def receive() -> dict[str, Any]:
        waits.append(True)
        assert len(waits) == 1, "receive() is called while another receive() waits"
        try:
            for _ in range(pause):
                await asyncio.sleep(0)
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)
        finally:
            waits.pop()

    waits: list[bool] = []
    left = [piece(one, more=number < len(pieces)) for number, one in enumerate(pieces, 1)]
    sent = await asyncio.wait_for(call(Root(), receive), 5)
    read = str(b"".join(pieces))
    assert json.loads(sent[-1]["body"]) == ["False", read, "False", "False"]
    assert not waits


async def test_no_look_receives_beside_the_drain() -> None:
    """A task that outlives the handler may look while MicroPie drops the rest of the body."""

    class Root(App):
        async def index(self) -> str:
            self.look = asyncio.create_task(self._look(self.request))
            return "done"

        async def _look(self, request: Request) -> bool:
            await waiting.wait()
            return await request.is_disconnected()

    async def receive() -> dict[str, Any]:
        assert not waiting.is_set(), "receive() is called while another receive() waits"
        waiting.set()
        await app.look
        return piece(b"the body")

    waiting, app = asyncio.Event(), Root()
    chunked = [(b"transfer-encoding", b"chunked")]
    sent = await asyncio.wait_for(call(app, receive, method="POST", headers=chunked), 5)
    assert sent[-1]["body"] == b"done"
    assert app.look.result() is False


async def test_two_receivers_in_a_mounted_app_get_a_message_each() -> None:
    """As if the middleware of the parent had not looked."""

    class Looks(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            assert not await request.is_disconnected()

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        got = await asyncio.gather(receive(), receive())
        bodies = b"".join(message["body"] for message in got)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bodies})

    app = App()
    app.middlewares.append(Looks())
    app.mounts["/m"] = mounted
    receive = scripted(piece(b"a", more=True), piece(b"b"), pause=0.1)
    sent = await asyncio.wait_for(call(app, receive, path="/m"), 5)
    assert sent[-1]["body"] == b"ab"


@pytest.mark.parametrize("after", [0, 1])
async def test_is_disconnected_where_the_server_tells_nothing_or_fails(
    after: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An outer layer has drained the body; a server repeats its last message; receive() fails."""

    class Asks(App):
        async def index(self) -> str:
            return str([await self.request.is_disconnected() for _ in range(3)])

    for receive in (scripted(), scripted(piece(b""), piece(b""), piece(b""))):
        assert (await get(Asks(), receive=receive)).text == "[False, False, False]"
    broken = scripted(*[piece(b"")] * after, OSError("broken"))
    response = await get(Asks(), receive=broken)
    assert response.status == 500
    assert "broken" in caplog.text


async def test_is_disconnected_of_a_request_without_a_server_is_false() -> None:
    assert await Request({"type": "http"}).is_disconnected() is False


async def test_408_and_body_after_is_disconnected() -> None:
    class Late(App):
        async def index(self) -> bytes:
            await self.request.is_disconnected()
            return await self.request.body()

    assert (await get(Late(body_timeout=0.02), receive=scripted())).status == 408


# --- What is left of a body when the response is ready --------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ["/unread", "/missing"])
async def test_http_2_body_needs_no_header_to_be_dropped_before_the_response(
    path: str, method: str
) -> None:
    async with exchange(Root(), method, path, scope={"http_version": "2"}) as ex:
        await ex.send_body(b"x")
        await elapse(0.002)
        assert ex.messages == []
        await ex.send_body(b"", more=False)
        assert (await ex.wait()).status in (200, 404)
    assert (await get(Root(), path, scope={"http_version": "2"})).status in (200, 404)


@pytest.mark.parametrize("headers", [CHUNKED, [("content-length", "3")]], ids=["chunked", "length"])
@pytest.mark.parametrize(
    ("path", "kind", "status", "calls"),
    [("/unread", TEXT, 200, 1), ("/missing", JSON, 413, 0), ("/parsed", JSON, 413, 0)],
)
async def test_announced_body_is_read_and_dropped_before_the_response(
    path: str, kind: Any, status: int, calls: int, headers: Any
) -> None:
    app = Root(max_body_size=1)
    async with exchange(app, "POST", path, headers=[*kind, *headers]) as ex:
        for sent in (b"[1", b"2"):
            await ex.send_body(sent)
            await elapse(0.002)
            assert (app.calls, ex.messages) == (calls, [])
        await ex.send_body(b"]", more=False)
        assert (await ex.wait()).status == status


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-length", "3"), ("expect", "100-continue")],
        [("content-length", "3"), ("expect", "100-Continue")],
    ],
)
async def test_response_does_not_wait_for_a_body_that_is_unannounced_or_awaits_100_continue(
    headers: Any,
) -> None:
    async with exchange(Root(), "POST", "/unread", headers=[*TEXT, *headers]) as ex:
        assert (await ex.wait()).text == "unread"
        assert ex.received == 0


@pytest.mark.parametrize(("sent", "taken"), [(200, 64), (63, 63)])
async def test_rest_of_the_body_is_dropped_up_to_64_mib(sent: int, taken: int) -> None:
    receive = Endless(b"x" * MIB, sent)
    assert (
        await post(Root(), "/unread", headers=[*TEXT, *CHUNKED], receive=receive)
    ).text == "unread"
    assert receive.taken == taken * MIB


async def test_client_that_leaves_while_the_rest_is_dropped_gets_no_response() -> None:
    app = Root()
    response = await post(app, "/unread", headers=TEXT, body=[b"a", b"b"], disconnect_after=1)
    assert (response.status, app.calls) == (None, 1)


# --- Servers and their ways -----------------------------------------------------------------------


class Odd:
    """An awaitable that is neither a coroutine nor a future."""

    def __init__(self, value: Any = None) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, None, Any]:
        yield from asyncio.sleep(0).__await__()
        return self.value


def as_future(value: Any = None) -> Awaitable[Any]:
    future = asyncio.get_running_loop().create_future()
    future.set_result(value)
    return future


@pytest.mark.parametrize("awaitable", [Odd, as_future])
@pytest.mark.parametrize("path", ["parsed", "buffered", "streamed", "unread", "events"])
async def test_receive_and_send_can_return_any_awaitable(
    path: str, awaitable: Callable[..., Awaitable[Any]]
) -> None:
    class Streaming(Root):
        async def events(self) -> AsyncIterator[bytes]:
            async for chunk in self.request.stream():
                yield chunk

    incoming = iter([b"[", b"1", b"]"])
    sent: list[dict[str, Any]] = []

    def receive() -> Awaitable[Any]:
        content = next(incoming, None)
        return awaitable(
            {"type": "http.disconnect"} if content is None else piece(content, more=content != b"]")
        )

    def send(message: dict[str, Any]) -> Awaitable[Any]:
        sent.append(message)
        return awaitable()

    headers = [(b"content-type", b"application/json"), (b"transfer-encoding", b"chunked")]
    scope = {"type": "http", "method": "POST", "path": f"/{path}", "headers": headers}
    await Streaming()(scope, receive, send)  # type: ignore[arg-type]
    body = b"".join(message.get("body", b"") for message in sent)
    assert sent[0]["status"] == 200
    assert body == {"parsed": b"[[1],{}]", "unread": b"unread"}.get(path, b"[1]")


async def test_body_is_read_when_the_app_runs_in_no_task_of_asyncio() -> None:
    """Granian runs it in tasks of its own, written in Rust."""
    loop = asyncio.get_running_loop()

    def step() -> None:
        try:
            handling.send(None)
        except StopIteration as end:
            done.set_result(end.value)
        else:
            loop.call_soon(step, context=context)

    async def receive() -> Any:
        await asyncio.sleep(0)
        return piece(b"x", more=False)

    headers = [(b"content-length", b"1")]
    handling = call(Root(), receive, method="POST", path="/buffered", headers=headers)
    done = loop.create_future()
    context = contextvars.copy_context()
    loop.call_soon(step, context=context)
    assert (await done)[1]["body"] == b"x"


@pytest.mark.parametrize("path", ["/parsed", "/buffered", "/streamed", "/unread"])
@pytest.mark.parametrize(
    "last",
    [
        {"body": None},
        {"more_body": None},
        {"body": None, "more_body": None},
        {"body": b""},
        {"more_body": False},
        {},
    ],
)
async def test_messages_can_leave_out_optional_keys_or_send_none(
    path: str, last: dict[str, Any]
) -> None:
    messages: list[dict[str, Any]] = [{"body": b"[1"}, {"body": None}, {}, {"body": b"]"}]
    more = [{"type": "http.request", "more_body": True, **message} for message in messages]
    client = scripted(*more, {"type": "http.request", **last})
    response = await post(Root(), path, headers=[*JSON, *CHUNKED], receive=client)
    assert response.body == {"/parsed": b"[[1],{}]", "/unread": b"unread"}.get(path, b"[1]")


async def test_message_without_keys_is_an_empty_body() -> None:
    client = scripted({"type": "http.request"})
    assert (await post(Root(), "/buffered", headers=TEXT, body=None, receive=client)).body == b""


@pytest.mark.parametrize("path", ["/buffered", "/streamed", "/parsed"])
async def test_body_without_length_or_transfer_encoding_is_read(path: str) -> None:
    """HTTP/2 and HTTP/3 announce nothing."""
    response = await request(Root(), "GET", path, headers=JSON, receive=Endless(b"1", 3))
    assert response.body == {"/parsed": b"[111,{}]"}.get(path, b"111")


async def test_request_without_a_body_calls_receive_never() -> None:
    receive = scripted(AssertionError("nothing is there to be received"))
    assert (await get(Root(), "/unread", receive=receive)).text == "unread"
    assert (await get(Root(), "/parsed", receive=receive)).json() == [{}, {}]


async def test_error_that_receive_raises_is_logged_and_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = scripted(RuntimeError("the server is broken"))
    assert (await post(Root(), "/parsed", headers=JSON, body=None, receive=client)).status == 500
    assert "the server is broken" in caplog.text
    assert len(logged(caplog)) == 1


# --- What a body costs ----------------------------------------------------------------------------


FIELD = head('name="a"')
FILE = head('name="file"; filename="x"')
LAST = END.rstrip()


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
        await elapse(0.01)
        yield "two"

    async def unread(self) -> AsyncIterator[str]:
        yield "one"
        await elapse(0.01)
        yield "two"

    async def events(self) -> Any:
        await self.request.body()
        return event_stream(self.stream(), ping=0.001)

    async def asks(self) -> str:
        return str(await self.request.is_disconnected())

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
        pytest.param("/unread", TEXT, [b"x"] * 3, id="stream beside an unread body"),
        pytest.param("/events", TEXT, [b"x"], id="events"),
        pytest.param("/", FORM, [b"a=%41", b"&b=1"], id="form"),
        pytest.param("/", FORM_DATA, [FIELD, b"x", b"nonsense"], id="multipart cut off"),
        pytest.param(
            "/",
            FORM_DATA,
            [FIELD, b"x\r\n--" + BOUNDARY.encode(), b"nonsense"],
            id="multipart malformed",
        ),
        pytest.param("/", FORM_DATA, [FIELD, *[b"x" * 100] * 10], id="multipart too large"),
        pytest.param("/", FORM_DATA, [FIELD + b"x\r\n", FILE + b"y", LAST], id="streamed file"),
        pytest.param("/", FORM_DATA, [FILE, *[b"x" * 500] * 3], id="streamed file too large"),
        pytest.param("/later", FORM_DATA, [FILE, b"x", LAST], id="kept file"),
        pytest.param("/asks", TEXT, [b"x"], id="is_disconnected"),
        pytest.param("/asks", (), [], id="is_disconnected without a body"),
    ],
)
async def test_request_is_freed_without_the_garbage_collector(
    path: str, headers: Any, body: list[bytes], leaves: bool
) -> None:
    """All that a request has read goes with it, or many that are refused would fill the memory."""
    options: Any = {"disconnect_after": len(body) - 1} if leaves else {}

    async def answer() -> None:
        app = Keeps(max_body_size=800, max_form_field_size=800)
        await post(app, path, headers=[*headers, *CHUNKED], body=body, **options)

    await check_freed(answer)


@pytest.mark.parametrize("path", ["/unread", "/asks", "/"])
async def test_request_whose_receive_fails_is_freed_without_the_garbage_collector(
    path: str,
) -> None:
    async def receive() -> Any:
        await elapse(0.001)
        raise ValueError("a middleware around the app")

    async def answer() -> None:
        await call(Keeps(), receive, method="POST", path=path, headers=encoded([*TEXT, *CHUNKED]))

    await check_freed(answer)


async def check_freed(answer: Callable[[], Awaitable[None]]) -> None:
    def kept() -> list[Any]:
        own = [one for one in gc.get_objects() if type(one).__module__ == "micropie"]
        return [one for one in own if not isinstance(one, UploadedFile)]  # closed files, in a cycle

    logging.disable()  # pytest keeps what is logged, tracebacks included
    gc.disable()
    try:
        await answer()  # imports what it needs
        gc.freeze()  # all that is there already is no object of the next request
        await answer()
        # A worker thread lets go of its last call a moment after the loop has its result.
        wait_until(lambda: kept() == [], 20, "the request to be freed")
    finally:
        logging.disable(logging.NOTSET)
        gc.unfreeze()
        gc.enable()


@pytest.mark.parametrize("last", [{"type": "http.disconnect"}, {"body": b"x" * 1000}])
@pytest.mark.parametrize("timeout", [30.0, None])
async def test_body_that_fails_in_another_task_is_freed_without_the_garbage_collector(
    last: dict[str, Any], timeout: float | None
) -> None:
    bodies: list[weakref.ref[Any]] = []

    class Beside(App):
        async def index(self) -> str:
            bodies.append(weakref.ref(self.request._body))
            return str(await asyncio.gather(self.request.body(), return_exceptions=True))

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0)  # the task has to wait
        return {"type": "http.request", **last}

    gc.disable()
    try:
        app = Beside(max_body_size=800, body_timeout=timeout)
        await post(app, "/", headers=[*TEXT, *CHUNKED], receive=receive)
        assert [body() for body in bodies] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "content", [b"\n" + b"%" * 2**19, b"\n" + b"%41" * 2**17, b"%4" * 2**18, b"\n" * 2**19]
)
def test_escapes_take_no_more_memory_than_the_form_limit_allows_for(content: bytes) -> None:
    """At most 32 bytes for each that was sent."""

    def fields(pairs: bytes) -> dict[str, list[str]]:
        return Request({"type": "http", "query_string": pairs}).query_params

    fields(b"a=\n%")
    tracemalloc.start()
    try:
        found = fields(b"a=" + content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found == {"a": [urllib.parse.unquote_to_bytes(content).decode("utf-8", "replace")]}
    assert peak < 32 * len(content)


async def test_exception_of_a_body_past_the_limit_keeps_nothing_of_the_body() -> None:
    class Root(App):
        async def index(self) -> None:
            try:
                await self.request.body()
            except HTTPError as error:
                kept.append(error)

    kept: list[HTTPError] = []
    tracemalloc.start()
    try:
        await post(Root(max_body_size=4 * MIB), body=None, receive=Endless(b"x" * 2**16))
        assert [error.status for error in kept] == [413]
        assert tracemalloc.get_traced_memory()[0] < MIB
    finally:
        tracemalloc.stop()


class Lengths(App):
    async def body(self) -> str:
        return str(len(await self.request.body()))

    async def upload(self, file: UploadedFile) -> str:
        return str(len(await file.read()))

    async def field(self, text: str) -> str:
        return str(len(text))


@pytest.mark.parametrize(
    ("path", "opening", "ending"),
    [("/body", b"", b""), ("/upload", FILE, END), ("/field", head('name="text"'), END)],
    ids=["body()", "file", "field"],
)
async def test_body_in_messages_of_two_bytes_takes_a_few_times_its_size(
    path: str, opening: bytes, ending: bytes
) -> None:
    """Hypercorn and Granian hand on each HTTP chunk as a message, and a chunk can be two bytes."""
    size = 20_000
    app = Lengths()
    headers = MULTIPART if opening else CHUNKED

    async def peak() -> int:
        pieces = iter([opening, *(b"%02d" % (number % 100) for number in range(size // 2)), ending])

        async def receive() -> dict[str, Any]:
            content = next(pieces, None)
            return piece(content or b"", more=content is not None)

        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        sent = await call(app, receive, method="POST", path=path, headers=encoded(headers))
        assert sent[-1]["body"] == b"%d" % size
        return tracemalloc.get_traced_memory()[1] - before

    await post(app, path, body=[opening, b"12", ending], headers=headers)  # imports
    tracemalloc.start()
    try:
        # Threads of earlier tests may still allocate; that adds to a peak, and to one of two.
        peaks = await peak(), await peak()
    finally:
        tracemalloc.stop()
    assert min(peaks) < 8 * size


async def test_large_json_body_is_parsed_while_all_worker_threads_are_busy() -> None:
    class Root(App):
        def block(self) -> None:
            release.wait(20)

        async def index(self) -> str:
            return str(len(self.request.get_json))

    app = Root()
    release = threading.Event()
    # More than there are threads.
    blocked = [asyncio.ensure_future(get(app, "/block")) for _ in range(50)]
    try:
        await asyncio.sleep(0)
        assert (await post(app, json=["x" * 1000] * 400)).text == "400"
        assert not any(task.done() for task in blocked)
    finally:
        release.set()
        await asyncio.gather(*blocked)


async def test_two_streams_of_a_kept_body_both_give_all_of_it() -> None:
    class Root(App):
        async def index(self) -> Any:
            await self.request.body()
            streams = self.request.stream(), self.request.stream()
            return [[chunk.decode() async for chunk in stream] for stream in streams]

    response = await post(Root(), body=b"hello", headers={"content-type": "text/plain"})
    assert response.json() == [["hello"], ["hello"]]


READ_ALREADY = "the body was read already"


async def test_the_second_of_two_streams_to_be_read_is_a_runtime_error() -> None:
    """It would get what the first one left, and take it for the body."""

    class Root(App):
        async def index(self) -> Any:
            one, two = self.request.stream(), self.request.stream()
            pieces = [await anext(one)]
            for _ in range(2):
                with pytest.raises(RuntimeError, match=READ_ALREADY):
                    await anext(two)
            return "".join([chunk.decode() for chunk in [*pieces, *[chunk async for chunk in one]]])

    response = await post(Root(), body=[b"he", b"ll", b"o"], headers=TEXT)
    assert response.text == "hello"


async def test_a_stream_that_is_first_read_after_the_form_is_a_runtime_error() -> None:
    class Root(App):
        async def index(self, note: str) -> str:
            with pytest.raises(RuntimeError, match=READ_ALREADY):
                await anext(self.request.early)
            return note

    class Early(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            request.early = request.stream()

    app = Root()
    app.middlewares.append(Early())
    assert (await post(app, multipart=[("note", "hello")])).text == "hello"


async def test_a_stream_that_is_first_read_after_body_gives_all_of_it() -> None:
    class Root(App):
        async def index(self) -> Any:
            stream = self.request.stream()
            await self.request.body()
            return [chunk.decode() async for chunk in stream]

    assert (await post(Root(), body=[b"he", b"llo"], headers=TEXT)).json() == ["hello"]


async def test_another_stream_may_go_on_after_one_that_was_given_up_before_its_first_piece() -> (
    None
):
    class Root(App):
        async def index(self) -> Any:
            one, two = self.request.stream(), self.request.stream()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(one), 0.01)
            return [chunk.decode() async for chunk in two]

    client = scripted(piece(b"he", more=True), piece(b"llo"), pause=0.02)
    sent = await call(Root(), client, method="POST", headers=encoded([*TEXT, *CHUNKED]))
    assert json.loads(sent[-1]["body"]) == ["he", "llo"]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> ManualClock:
    """The clock by which MicroPie finds that a body is not read."""
    clock = ManualClock()
    monkeypatch.setattr("micropie.monotonic", clock)
    return clock


@pytest.mark.parametrize("started", [False, True])
async def test_is_disconnected_drops_a_body_that_no_code_reads(
    clock: ManualClock, started: bool
) -> None:
    """Otherwise one byte would hold a handler that looks whether its client has left."""

    class Root(App):
        async def index(self) -> None:
            request = self.request
            if started:
                await anext(request.stream())
            began = clock()
            while not await request.is_disconnected():
                clock.advance(1)
            waits.append(clock() - began)
            with pytest.raises(ConnectionClosed):
                await request.body()

    waits: list[float] = []
    headers = [(b"content-length", b"6")]
    receive = scripted(
        piece(b"ab", more=True), piece(b"cd", more=True), {"type": "http.disconnect"}
    )
    await call(Root(), receive, method="POST", headers=headers)
    assert 30 < waits[0] < 33


async def test_is_disconnected_keeps_a_body_that_is_read_now_and_then(clock: ManualClock) -> None:
    class Root(App):
        async def index(self) -> list[str]:
            pieces: list[str] = []
            async for chunk in self.request.stream():
                for _ in range(10):  # all pieces take longer than the time that one of them may
                    clock.advance(1)
                    assert not await self.request.is_disconnected()
                pieces.append(chunk.decode())
            return pieces

    headers = [(b"content-length", b"4")]
    receive = scripted(*[piece(bytes([65 + n]), more=n < 3) for n in range(4)])
    sent = await call(Root(), receive, method="POST", headers=headers)
    assert json.loads(sent[-1]["body"]) == [*"ABCD"]


@pytest.mark.parametrize("started", [False, True])
async def test_is_disconnected_sees_a_client_that_left_before_the_rest_of_its_body(
    started: bool,
) -> None:
    class Root(App):
        async def index(self) -> None:
            if started:
                await anext(self.request.stream())
            seen.append(await self.request.is_disconnected())

    seen: list[bool] = []
    pieces = [piece(b"ab", more=True)] if started else []
    receive = scripted(*pieces, {"type": "http.disconnect"})
    await call(Root(), receive, method="POST", headers=[(b"content-length", b"6")])
    assert seen == [True]


@pytest.mark.parametrize("wants", ["body", "is_disconnected"])
async def test_a_loop_that_asks_a_request_again_and_again_lets_others_run(wants: str) -> None:
    turns = 0

    class Root(App):
        async def index(self) -> None:
            while turns < 5:
                with contextlib.suppress(ConnectionClosed):
                    await getattr(self.request, wants)()

    async with exchange(Root(), "POST", headers=[("content-length", "9")]) as ex:
        await ex.send_body(b"a")
        await ex.disconnect()
        for turns in range(6):  # noqa: B007
            await asyncio.sleep(0)


async def test_a_server_whose_receive_fails_gets_its_response_all_the_same() -> None:
    class Root(App):
        async def index(self) -> str:
            return "ok"

    receive = scripted(RuntimeError("broken"))
    headers = [(b"content-length", b"5"), (b"content-type", b"text/plain")]
    start, _ = await call(Root(), receive, method="POST", headers=headers)
    assert start["status"] == 200


@pytest.mark.real_time
async def test_two_tasks_that_look_for_a_disconnect_share_the_dropped_messages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("micropie._IDLE_SECONDS", 0)
    queue = asyncio.Queue[Any]()

    class Root(App):
        async def index(self) -> None:
            async def look() -> None:
                while not await self.request.is_disconnected():
                    pass

            await asyncio.gather(look(), look())

    async def send() -> None:
        for _ in range(20):
            queue.put_nowait(piece(b"a", more=True))
            await asyncio.sleep(0)
        queue.put_nowait({"type": "http.disconnect"})

    headers = [(b"content-length", b"99")]
    async with asyncio.timeout(20):
        await asyncio.gather(call(Root(), queue.get, method="POST", headers=headers), send())


async def test_a_receive_that_is_false_is_one_all_the_same() -> None:
    class Messages(list[Any]):
        """An empty list of what was received, which fills up when it is called."""

        async def __call__(self) -> Any:
            return {"type": "http.request", "body": b"hi", "more_body": False}

    class Echo(App):
        async def index(self) -> bytes:
            return await self.request.body()

    *_, last = await call(Echo(), Messages(), method="POST", headers=[(b"content-length", b"2")])
    assert last["body"] == b"hi"
