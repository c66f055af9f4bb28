"""Properties that hold for any input: nothing escapes, and what is sent arrives at a handler.

The client of `tests.asgi` checks the protocol on every message, so that a test which only sends
already asserts a lot. The examples are the same in every run, and no branch of `micropie.py`
depends on them for its coverage: the other tests drive each one on purpose.
`EXPLORE=1 pytest tests/test_properties.py` looks for new ones.
"""

from __future__ import annotations

import email
import json
import os
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, quote_plus, unquote_to_bytes, urlencode

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from micropie import (
    App,
    FromSession,
    Request,
    ServerSentEvent,
    UploadedFile,
    WebSocket,
    event_stream,
    set_cookie,
)
from tests.asgi import BOUNDARY, REMOVED, Part, encode_multipart, get, post, request, run, websocket

MIB = 2**20


for _name in ("steady", "explore"):
    settings.register_profile(
        _name,
        deadline=None,
        derandomize=_name == "steady",
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
settings.load_profile("explore" if os.environ.get("EXPLORE") else "steady")


def cases(count: int) -> settings:
    return settings(max_examples=count)


# --- The application ------------------------------------------------------------------------------


class Forms(App):
    seen: dict[str, Any]

    async def form(self) -> None:
        self.seen["form"] = dict(self.request.body_params)

    async def json(self) -> None:
        self.seen["json"] = self.request.get_json

    async def raw(self) -> bytes:
        try:
            return await self.request.body()
        except RuntimeError as error:
            # What was parsed as a multipart form is not kept.
            return str(error).encode()

    async def streamed(self) -> bytes:
        try:
            return b"".join([chunk async for chunk in self.request.stream()])
        except RuntimeError as error:
            return str(error).encode()

    async def upload(self, file: UploadedFile) -> None:
        self.seen["upload"] = (file.filename, file.content_type, await file.read())

    async def first(self, file: UploadedFile, after: str) -> None:
        self.seen["upload"] = (file.filename, file.content_type, await file.read())

    def plain(self, file: UploadedFile) -> None:
        self.seen["upload"] = (file.filename, file.content_type, file.file.read())

    async def several(self, file: list[UploadedFile]) -> None:
        self.seen["several"] = [(each.filename, await each.read()) for each in file]

    async def parts(self) -> None:
        self.seen["form"] = dict(self.request.body_params)
        self.seen["files"] = {name: await file.read() for name, file in self.request.files.items()}

    async def drops(self, file: UploadedFile, text: str = "") -> str:
        return text


class Root(Forms):
    """Handlers of every shape; what they got is in `seen`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seen = {}
        self.answer: Any = "/"

    async def index(self, *args: str) -> list[str]:
        self.seen["segments"] = list(args)
        return list(args)

    async def typed(
        self, number: int, flag: bool = False, ratio: float | None = None
    ) -> dict[str, Any]:
        return {"number": number, "flag": flag, "ratio": ratio}

    async def anything(self, first: str = "", /, *rest: str, only: str = "", **others: Any) -> int:
        return len(rest) + len(others)

    def threaded(self, name: str = "") -> str:
        return name

    async def stream(self, count: int = 3) -> AsyncIterator[str]:
        for number in range(min(count, 5)):
            yield str(number)

    def plain_stream(self, count: int = 3) -> Iterator[bytes]:
        for number in range(min(count, 5)):
            yield b"%d" % number

    async def counts(self) -> int:
        self.request.session["count"] = self.request.session.get("count", 0) + 1
        return int(self.request.session["count"])

    async def member(self, user_id: FromSession) -> str:
        return str(user_id)

    async def look(self) -> None:
        self.seen["query"] = dict(self.request.query_params)
        self.seen["cookies"] = dict(self.request.cookies)
        self.seen["headers"] = self.request.headers

    async def answers(self) -> Any:
        return self.answer() if callable(self.answer) else self.answer

    async def redirects(self) -> Any:
        return self._redirect(self.answer)

    async def ws_index(self, ws: WebSocket, number: int = 0) -> None:
        await ws.accept()

    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()
        async for message in ws:
            await (ws.send_text(message) if isinstance(message, str) else ws.send_bytes(message))

    async def ws_texts(self, ws: WebSocket) -> None:
        await ws.accept(subprotocol=ws.subprotocols[0] if ws.subprotocols else None)
        while True:
            await ws.send_text(await ws.receive_text())

    async def ws_json(self, ws: WebSocket) -> None:
        await ws.accept()
        while True:
            await ws.send_json(await ws.receive_json())

    async def ws_says(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.close(4000, self.answer)


HANDLERS = [name for name in {**vars(Root), **vars(Forms)} if not name.startswith("_")]


# --- What is sent ---------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAME = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10)
TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
CONTENT_TYPE = st.sampled_from(
    [
        b"application/json",
        b"Application/Problem+JSON; charset=utf-8",
        b"application/x-www-form-urlencoded",
        b"application/x-www-form-urlencoded;charset=latin-1",
        b"multipart/form-data",
        b"multipart/form-data; boundary=",
        b'multipart/form-data; boundary="b"',
        b"multipart/form-data; boundary=" + BOUNDARY.encode(),
        b"text/plain; application/json",
        b"text/plain",
        b";",
        b"",
    ]
)
HEADER = st.one_of(
    st.tuples(st.just(b"content-type"), CONTENT_TYPE | st.binary(max_size=20)),
    st.tuples(
        st.just(b"cookie"),
        st.sampled_from([b"session_id=x", b"a=b; a=c", b'a="b', b";=;"]) | st.binary(max_size=20),
    ),
    st.tuples(
        st.just(b"content-length"),
        st.sampled_from([b"0", b"5", b"-1", b"+5", b"1_0", b"", b"9" * 30, b"5, 5"]),
    ),
    st.tuples(
        st.sampled_from(
            [b"host", b"origin", b"expect", b"transfer-encoding", b"accept", b"last-event-id", b"x"]
        ),
        st.sampled_from([b"", b"100-continue", b"chunked", b"null", b"http://testserver", b"[::1"])
        | st.binary(max_size=12),
    ),
)
SEGMENT = (
    st.sampled_from(
        [*HANDLERS, "__init__", "_redirect", "env", "mounts", "request", "..", "%2F", ""]
    )
    | TEXT
)
BODY = st.one_of(
    st.lists(st.binary(max_size=40), max_size=4),
    st.lists(
        st.sampled_from(
            [b"a=1", b"&", b"b=%FF", b'{"a":', b"1}", b"[[", b"\xef\xbb\xbf", b"NaN", b"\\ud800"]
        ),
        max_size=5,
    ),
    st.lists(
        st.sampled_from(
            [
                f"--{BOUNDARY}".encode(),
                b"\r\n",
                b"--",
                b'Content-Disposition: form-data; name="file"; filename="x"\r\n\r\n',
                b'Content-Disposition: form-data; name="a"\r\n\r\n',
                b"Content-Type: text/plain\r\n",
                b"data",
            ]
        ),
        max_size=12,
    ),
)
ODDITY = st.fixed_dictionaries(
    {},
    optional={
        "raw_path": st.sampled_from([None, REMOVED, b"", b"/%2F%2f", b"/\xff", b"/%"]),
        "root_path": st.sampled_from([None, REMOVED, "", "/", "/form", "/nope"]),
        "client": st.sampled_from([None, REMOVED]),
        "server": st.sampled_from([None, REMOVED, ("127.0.0.1", 80), ("/run/app.sock", None)]),
        "scheme": st.sampled_from([None, REMOVED, "https"]),
        "http_version": st.sampled_from(["1.0", "2", "3"]),
        "query_string": st.sampled_from([None, REMOVED]) | st.binary(max_size=20),
        "headers": st.sampled_from([REMOVED, (), []]),
        "subprotocols": st.sampled_from([None, REMOVED, ["chat"]]),
        "extensions": st.sampled_from([None, {}]),
        "state": st.just({}),
    },
)


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    """Cut `data` at `borders`, which are taken as far as it is long; empty pieces included."""
    places = sorted({0, len(data), *(border % (len(data) + 1) for border in borders)})
    pieces = [data[start:end] for start, end in zip(places, places[1:], strict=False)]
    return [*pieces, b""] if len(borders) % 2 else pieces or [b""]


BORDERS = st.lists(st.integers(0, 100_000), max_size=8)


# --- Nothing escapes, nothing breaks the protocol -------------------------------------------------


def path(segments: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    return segments.map(lambda segments: "/" + "/".join(segments))


@cases(400)
@given(
    options=st.fixed_dictionaries(
        {
            "method": st.sampled_from(
                ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "get", "BREW"]
            ),
            "path": path(st.lists(SEGMENT, max_size=4)),
            "query": st.binary(max_size=30),
            "headers": st.lists(HEADER, max_size=4),
            "body": BODY,
            "scope": ODDITY,
            "disconnect_after": st.none() | st.integers(0, 3),
        }
    ),
    debug=st.booleans(),
)
def test_any_request_is_answered_and_never_with_500(options: dict[str, Any], debug: bool) -> None:
    response = run(request(Root(debug=debug), **options))
    # No handler here fails by itself, so that a 500 would be the framework's.
    assert response.status != 500, response
    assert response.complete or options["disconnect_after"] is not None


MESSAGE = {"type": st.just("websocket.receive")}


@cases(150)
@given(
    options=st.fixed_dictionaries(
        {
            "path": path(
                st.lists(SEGMENT | st.sampled_from(["echo", "texts", "json", "says"]), max_size=3)
            ),
            "query": st.binary(max_size=30),
            "headers": st.lists(HEADER, max_size=3),
            "scope": ODDITY,
        }
    ),
    messages=st.lists(
        st.fixed_dictionaries({**MESSAGE, "text": TEXT}, optional={"bytes": st.none()})
        | st.fixed_dictionaries(
            {**MESSAGE, "bytes": st.binary(max_size=9)}, optional={"text": st.none()}
        ),
        max_size=4,
    ),
    leaving=st.fixed_dictionaries(
        {"type": st.just("websocket.disconnect")},
        optional={
            "code": st.sampled_from([None, 1000, 1005, 1006, 4000]),
            "reason": st.none() | TEXT,
        },
    ),
)
def test_any_websocket_is_accepted_or_refused_with_1008(
    options: dict[str, Any], messages: list[dict[str, Any]], leaving: dict[str, Any]
) -> None:
    app = Root()
    app.answer = "bye"

    async def steps() -> None:
        async with websocket(app, **options) as ws:
            assert ws.accepted or ws.rejected == 1008
            for message in [*messages, leaving]:
                await ws.deliver(message)
            await ws.wait()

    run(steps())


RETURNED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.sampled_from([2**64, -(2**80)])
    | st.floats()
    | st.text(max_size=9)
    | st.binary(max_size=9)
    | st.just(object()),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(st.integers(-1, 1000), inner)
        | st.tuples(st.integers(100, 599), inner, st.lists(st.tuples(inner, inner), max_size=2))
        | st.dictionaries(st.text(max_size=3) | st.integers() | st.none(), inner, max_size=3)
        | st.sets(st.integers(), max_size=2)
        | st.builds(lambda items: lambda: iter(items), st.lists(inner, max_size=3))
    ),
    max_leaves=6,
)


@cases(250)
@given(answer=RETURNED, method=st.sampled_from(["GET", "HEAD"]))
@example(answer=(200, "x", None), method="GET")
@example(answer=(204, "x"), method="GET")
@example(answer=(200, "x", {"content-length": "7"}), method="GET")
@example(answer=(200, "\ud800"), method="GET")
@example(answer=(99, "x"), method="GET")
@example(answer=(200, "x", [(10**6, "y")]), method="GET")
def test_any_value_that_a_handler_returns_is_answered(answer: Any, method: str) -> None:
    app = Root()
    app.answer = answer
    assert run(request(app, method, "/answers")).status is not None


@cases(150)
@given(
    headers=st.lists(
        st.tuples(
            st.text(max_size=8) | st.binary(max_size=8) | TOKEN,
            st.text(max_size=12) | st.binary(max_size=12),
        ),
        max_size=4,
    )
)
@example(headers=[("x-a", "1"), (b"x-b", b"\xe9"), ("X-A", " \t ")])
@example(headers=[("x-a", "1"), ("x-b", "\n")])
def test_response_headers_come_through_all_or_are_a_500(headers: list[tuple[Any, Any]]) -> None:
    app = Root()
    app.answer = lambda: (200, "x", headers)
    kept = list(headers)
    response = run(get(app, "/answers"))
    assert headers == kept
    if response.status == 500:
        assert response.headers == [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"25"),
        ]
        assert not all(may_be_sent(*pair) for pair in headers)
    else:
        assert (response.status, response.body) == (200, b"x")
        assert all(may_be_sent(*pair) for pair in headers)
        sent = [(latin_1(name).lower(), latin_1(value).strip(b" \t")) for name, value in headers]
        own = (b"content-type", b"content-length")
        assert [pair for pair in response.headers if pair[0] not in own] == [
            pair for pair in sent if pair[0] not in own
        ]


def latin_1(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")


def may_be_sent(name: str | bytes, value: str | bytes) -> bool:
    """Whether RFC 9110 lets the header be sent: a token, and a value without control characters."""
    try:
        raw_name, raw_value = latin_1(name), latin_1(value)
    except UnicodeEncodeError:
        return False
    is_token = re.fullmatch(rb"[!#$%&'*+.^_`|~0-9a-zA-Z-]+", raw_name) is not None
    return is_token and re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", raw_value) is None


# --- What was sent is what the handler gets -------------------------------------------------------


@cases(100)
@given(
    segments=st.lists(TEXT, min_size=1, max_size=4).filter(
        lambda segments: segments[-1][-1:] not in ("", "/")
    )
)
@example(segments=["a/b", "\ufffd", "/c"])
def test_path_segments_arrive_as_they_were_quoted_and_an_encoded_slash_is_a_slash(
    segments: list[str],
) -> None:
    app = Root()
    run(get(app, "/index/" + "/".join(quote(segment, safe="") for segment in segments)))
    assert app.seen["segments"] == "/".join(segments).split("/")


def grouped(pairs: list[tuple[str, Any]]) -> dict[str, list[Any]]:
    groups: dict[str, list[Any]] = {}
    for name, value in pairs:
        groups.setdefault(name, []).append(value)
    return groups


@cases(100)
@given(pairs=st.lists(st.tuples(NAME, TEXT), max_size=8), borders=BORDERS)
def test_an_urlencoded_body_arrives_however_it_is_cut(
    pairs: list[tuple[str, str]], borders: list[int]
) -> None:
    app = Root()
    headers = {"content-type": "application/x-www-form-urlencoded"}
    response = run(
        post(app, "/form", headers=headers, body=cut(urlencode(pairs).encode(), borders))
    )
    assert (response.status, app.seen["form"]) == (204, grouped(pairs))


@cases(150)
@given(value=JSON, borders=BORDERS, ascii_only=st.booleans())
@example(value=[2**64 - 1, -(2**63)], borders=[], ascii_only=True)
def test_a_json_body_arrives_however_it_is_cut(
    value: Any, borders: list[int], ascii_only: bool
) -> None:
    app = Root()
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    response = run(
        post(app, "/json", headers={"content-type": "application/json"}, body=cut(text, borders))
    )
    assert (response.status, app.seen["json"]) == (204, value)


@cases(150)
@given(value=JSON.filter(lambda value: isinstance(value, dict | list)))
def test_a_json_response_is_the_value_again(value: Any) -> None:
    app = Root()
    app.answer = value
    assert run(get(app, "/answers")).json() == value


@cases(100)
@given(
    value=st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**63), 2**64 - 1)
        | TEXT
        | st.sampled_from([0.5, -1.25, 3.0, 100.125]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=10,
    ).filter(lambda value: isinstance(value, dict | list))
)
def test_a_response_of_everyday_json_is_compact_utf8(value: Any) -> None:
    app = Root()
    app.answer = value
    assert run(get(app, "/answers")).text == json.dumps(
        value, ensure_ascii=False, separators=(",", ":")
    )


@cases(100)
@given(
    pairs=st.lists(
        st.tuples(TOKEN, st.text("abc019!#$%&'()*+-./:<=>?@[]^_`{|}~", max_size=9)),
        min_size=1,
        max_size=5,
    )
)
def test_cookies_arrive_and_the_first_of_a_name_is_used(pairs: list[tuple[str, str]]) -> None:
    app = Root()
    run(
        get(app, "/look", headers={"cookie": "; ".join(f"{name}={value}" for name, value in pairs)})
    )
    assert app.seen["cookies"] == {name: values[0] for name, values in grouped(pairs).items()}


@cases(150)
@given(
    name=TOKEN | st.text(max_size=6),
    value=st.text('aZ09-_.~ ;,"\\\n=é', max_size=9) | st.text(max_size=9),
)
def test_a_cookie_that_is_set_comes_back_or_raises(name: str, value: str) -> None:
    app = Root()
    try:
        pair = set_cookie(name, value)
    except ValueError:
        return
    app.answer = lambda: (200, "x", [pair])
    sent = run(get(app, "/answers")).cookies
    run(
        get(
            app,
            "/look",
            headers={"cookie": "; ".join(f"{key}={text}" for key, text in sent.items())},
        )
    )
    assert app.seen["cookies"] == {name: value}


@cases(150)
@given(
    location=st.text(max_size=20)
    | st.sampled_from(["/a%20b?c=%C3%A9&d=é", "//x", "http://x/é?é#é", "/\r\nx: y"])
)
def test_any_redirect_has_an_ascii_location(location: str) -> None:
    app = Root()
    app.answer = location
    response = run(get(app, "/redirects"))
    assert response.status in (
        302,
        500 if "\ud800" <= max(location, default="") <= "\udfff" else 302,
    )
    assert (response.header("location") or "").isascii()


# --- Multipart ------------------------------------------------------------------------------------

FIELD_NAME = st.text("abcdefgé _-[]", min_size=1, max_size=6)
CONTENT = st.one_of(
    st.binary(max_size=200),
    st.lists(
        st.sampled_from(
            [
                b"\r\n",
                b"--",
                BOUNDARY[:-1].encode(),
                b"\r\n--" + BOUNDARY[:-1].encode(),
                b"\r",
                b"\n",
                b"x",
                b"-",
            ]
        ),
        max_size=12,
    ).map(b"".join),
)
MULTIPART = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


@cases(150)
@given(
    fields=st.lists(st.tuples(FIELD_NAME, TEXT), max_size=5),
    files=st.dictionaries(FIELD_NAME, CONTENT, max_size=3),
    order=st.randoms(use_true_random=False),
    borders=BORDERS,
)
def test_multipart_fields_and_files_arrive_however_they_are_cut(
    fields: list[tuple[str, str]], files: dict[str, bytes], order: Any, borders: list[int]
) -> None:
    app = Root()
    parts: list[Part] = [
        (f"file {name}", "x.bin", "application/octet-stream", data) for name, data in files.items()
    ]
    places = sorted(order.randint(0, len(fields)) for _ in parts)
    mixed: list[Part] = list(fields)
    for place, part in zip(reversed(places), parts, strict=True):
        mixed.insert(place, part)
    response = run(
        post(app, "/parts", headers=MULTIPART, body=cut(encode_multipart(mixed), borders))
    )
    assert response.status == 204, response
    assert app.seen["form"] == grouped(fields)
    assert app.seen["files"] == {f"file {name}": data for name, data in files.items()}


@cases(150)
@given(content=CONTENT, borders=BORDERS, handler=st.sampled_from(["upload", "first", "plain"]))
def test_an_upload_is_the_same_whatever_its_way(
    content: bytes, borders: list[int], handler: Literal["upload", "first", "plain"]
) -> None:
    app = Root()
    parts: list[Part] = [("file", "a.txt", "text/plain; charset=x", content), ("after", "x")]
    response = run(
        post(app, f"/{handler}", headers=MULTIPART, body=cut(encode_multipart(parts), borders))
    )
    assert response.status == 204, response
    assert app.seen["upload"] == ("a.txt", "text/plain; charset=x", content)


@cases(10)
@given(
    size=st.integers(-2, 2).map(lambda delta: MIB + delta) | st.integers(0, 3 * MIB),
    chunk=st.integers(30_000, 2 * MIB),
    handler=st.sampled_from(["upload", "first", "plain"]),
    seed=st.binary(min_size=1, max_size=7),
)
def test_large_uploads_are_the_same_whether_streamed_or_spilled(
    size: int, chunk: int, handler: str, seed: bytes
) -> None:
    app = Root()
    content = (seed + b"\r\n-") * (size // (len(seed) + 3) + 1)
    parts: list[Part] = [("file", "a.bin", None, content[:size]), ("after", "x")]
    response = run(post(app, f"/{handler}", multipart=parts, chunk_size=chunk))
    assert response.status == 204, response
    assert app.seen["upload"] == ("a.bin", "application/octet-stream", content[:size])


@cases(60)
@given(contents=st.lists(CONTENT, min_size=1, max_size=4), borders=BORDERS)
def test_several_files_of_one_name_arrive_in_their_order(
    contents: list[bytes], borders: list[int]
) -> None:
    app = Root()
    parts: list[Part] = [
        ("file", f"{number}.txt", "text/plain", data) for number, data in enumerate(contents)
    ]
    response = run(
        post(app, "/several", headers=MULTIPART, body=cut(encode_multipart(parts), borders))
    )
    assert response.status == 204, response
    assert app.seen["several"] == [(f"{number}.txt", data) for number, data in enumerate(contents)]


BAD_NAMES = [
    "..",
    ".",
    "/",
    "a/..",
    "..\\..\\x",
    "C:\\x",
    "/etc/passwd",
    "a\x00b",
    "\x7f",
    "\u202e.exe",
    "x/.",
    ". ",
    "ü" * 300,
]


@cases(250)
@given(
    sent=st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(BAD_NAMES)
)
def test_a_file_name_is_always_one_safe_component(sent: str) -> None:
    app = Root()
    response = run(post(app, "/upload", multipart=[("file", sent, "text/plain", b"x")]))
    assert response.status in (204, 413), response
    if response.status == 413:
        assert len(sent.encode()) > 3000, "a part header of less than 4 KiB is within the limit"
        return
    name = app.seen["upload"][0]
    assert name and name not in (".", ".."), name
    assert not set(name) & {"/", "\\"}, name
    assert not [
        character for character in name if ord(character) < 32 or 127 <= ord(character) < 160
    ], name
    with tempfile.TemporaryDirectory() as folder:
        assert (Path(folder) / name).resolve().parent == Path(folder).resolve()


@cases(250)
@given(
    disposition=st.lists(
        st.sampled_from(
            [
                "form-data",
                ";",
                "; name=file",
                '; name="file"',
                '; filename="',
                "; filename*=UTF-8''%2e%2e%2f%FF",
                '"',
                "\\",
            ]
            + ["; filename*=utf-16''x", "; filename=..", "=", "x", "\x00", "é", "; name*=", "\t"]
        ),
        max_size=6,
    ).map("".join),
    handler=st.sampled_from(["upload", "drops", "parts"]),
)
def test_any_content_disposition_is_read_or_400(disposition: str, handler: str) -> None:
    head = f"Content-Disposition: {disposition}"
    body = f"--{BOUNDARY}\r\n{head}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode()
    response = run(post(Root(), f"/{handler}", headers=MULTIPART, body=body))
    assert response.status in (200, 204, 400), response


@cases(250)
@given(
    at=st.floats(0, 1),
    length=st.integers(0, 60),
    instead=st.binary(max_size=8)
    | st.sampled_from([b"\r\n\r\n", b"--", b"\r\n--" + BOUNDARY.encode(), b"\xff"]),
    borders=BORDERS,
    handler=st.sampled_from(
        ["upload", "first", "plain", "parts", "several", "drops", "raw", "streamed"]
    ),
    leaves=st.none() | st.integers(0, 5),
)
def test_damaged_forms_are_refused_or_read(
    at: float, length: int, instead: bytes, borders: list[int], handler: str, leaves: int | None
) -> None:
    whole = encode_multipart(
        [("text", "é"), ("file", "a.txt", "text/plain", b"content" * 9), ("after", "x")]
    )
    place = int(at * len(whole))
    body = cut(whole[:place] + instead + whole[place + length :], borders)
    response = run(
        post(Root(), f"/{handler}", headers=MULTIPART, body=body, disconnect_after=leaves)
    )
    allowed = {200, 204, 400, 413} if leaves is None else {None, 200, 204, 400, 413}
    assert response.status in allowed, response


@cases(40)
@given(
    limit=st.integers(0, 3000), fields=st.integers(0, 3), size=st.integers(0, 3000), borders=BORDERS
)
def test_limits_hold_whatever_the_borders(
    limit: int, fields: int, size: int, borders: list[int]
) -> None:
    app = Root(max_upload_size=limit)
    body = encode_multipart(
        [*[("text", "y" * 100)] * fields, ("file", "a", "text/plain", b"x" * size)]
    )
    for headers in (MULTIPART, {**MULTIPART, "transfer-encoding": "chunked"}):
        response = run(post(app, "/upload", headers=headers, body=cut(body, borders)))
        assert response.status == (413 if len(body) > limit else 204), (len(body), limit)


# --- Event streams and sockets --------------------------------------------------------------------


def parsed(stream: str) -> list[dict[str, str]]:
    """Read an event stream as a browser does (HTML standard, section 9.2.6)."""
    events: list[dict[str, str]] = []
    data: list[str] = []
    fields: dict[str, str] = {}
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                events.append({"data": "\n".join(data), **fields})
            data, fields = [], {}
        elif name == "data":
            data.append(value)
        elif name in ("event", "id", "retry"):
            fields[name] = value
        else:
            assert line.startswith(":"), f"a line of no known field: {line!r}"
    return events


LINES = st.text(
    st.sampled_from("ab: \n\r\0é\u2028\x0b\x85") | st.characters(exclude_categories=["Cs"]),
    max_size=12,
)


@cases(150)
@given(events=st.lists(st.tuples(LINES, LINES, LINES), max_size=4))
def test_events_arrive_as_they_were_sent_and_inject_nothing(
    events: list[tuple[str, str, str]],
) -> None:
    built = []
    for data, event, id_ in events:
        try:
            built.append(ServerSentEvent(data, event=event, id=id_))
        except ValueError:
            built.append(ServerSentEvent(data))

    async def source() -> AsyncIterator[ServerSentEvent]:
        for item in built:
            yield item

    app = Root()
    app.answer = lambda: event_stream(source())
    response = run(get(app, "/answers"))
    # A 500 in the middle of the stream would look like a response that ends early.
    assert response.status == 200
    if not response.complete:
        return
    seen = parsed(response.text)
    sent = [data.replace("\r\n", "\n").replace("\r", "\n") for data, _, _ in events]
    assert [event["data"] for event in seen] == sent


@cases(80)
@given(values=st.lists(JSON, max_size=4))
@example(values=[2**64 - 1, -(2**63)])
def test_websocket_json_comes_back(values: list[Any]) -> None:
    async def steps() -> None:
        async with websocket(Root(), "/json") as ws:
            for value in values:
                await ws.send_json(value)
                assert await ws.receive_json() == value

    run(steps())


@pytest.mark.parametrize("handler", HANDLERS)
async def test_the_application_of_these_tests_works(handler: str) -> None:
    """A 404 for every handler would make most of the properties above true."""
    target = f"/{handler}" if not handler.startswith("ws_") else "/nope"
    response = await get(Root(), target)
    assert response.status not in (404, 500) if target != "/nope" else response.json() == ["nope"]


PIECES = st.sampled_from(
    [
        b"%",
        b"=",
        b"&",
        b"+",
        b"a",
        b"4",
        b"F",
        b"_",
        b"\n",
        b"\r",
        b"\x01",
        b"\x02",
        b"\xc3",
        b"%41",
        b"%3D",
        b"%26",
        b"%0a",
        b"%01",
        b"%02",
        b"%C3%ab",
        b"%zz",
    ]
)


@cases(500)
@given(
    st.lists(PIECES | TEXT.map(lambda text: quote_plus(text).encode()), max_size=12).map(b"".join)
)
def test_a_query_is_read_as_the_standard_library_reads_its_parts(query: bytes) -> None:
    expected: dict[str, list[str]] = {}
    for pair in query.split(b"&"):
        if pair:
            parts = pair.replace(b"+", b" ").partition(b"=")[::2]
            name, value = (unquote_to_bytes(part).decode("utf-8", "replace") for part in parts)
            expected.setdefault(name, []).append(value)
    assert Request({"type": "http", "query_string": query}).query_params == expected


ODD = [b"%", b"4", b"F", b"g", b"=", b"\n", b"\r", b"\1", b" ", b"_", b"\xff", b"%41", b"%3D"]


@cases(300)
@given(
    st.lists(st.sampled_from(ODD)).map(b"".join),
    st.sampled_from([2**12, 2**14, 2**15, 2**16]),
    st.integers(0, 12),
)
def test_long_values_with_odd_escapes_are_decoded_as_the_standard_library_does(
    odd: bytes, end: int, before: int
) -> None:
    value = b"\1".ljust(end - before, b"a") + odd
    expected = unquote_to_bytes(value).decode("utf-8", "replace")
    assert Request({"type": "http", "query_string": b"x=" + value}).query_params == {
        "x": [expected]
    }


# --- Against a second way of computing the value --------------------------------------------------


@cases(300)
@given(st.lists(st.sampled_from(['"', "a", "b=", "=", ";", " ", "\t", ",", "%41", "é"])))
def test_a_cookie_header_is_read_as_a_pattern_reads_it(pieces: list[str]) -> None:
    header = "".join(pieces)
    expected: dict[str, str] = {}
    pattern = r"[ \t]*([^;=]*?)[ \t]*=[ \t]*([^;]*?)[ \t]*(?:;|\Z)"
    for pair in header.split(";"):
        found = re.fullmatch(pattern, pair)
        if found and found[1]:
            expected.setdefault(found[1], found[2])
    scope = {"type": "http", "headers": [(b"cookie", header.encode("latin-1"))]}
    assert Request(scope).cookies == expected


@cases(200)
@given(pieces=st.lists(PIECES, max_size=12), borders=BORDERS)
def test_an_urlencoded_form_is_read_as_a_query_is(pieces: list[bytes], borders: list[int]) -> None:
    app, body = Root(), b"".join(pieces)
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert run(post(app, "/form", headers=form, body=cut(body, borders))).status == 204
    assert app.seen["form"] == Request({"type": "http", "query_string": body}).query_params


LINES = st.text("abé€;=' ()/%.-", max_size=9).map(str.strip)


@cases(150)
@given(
    fields=st.lists(st.tuples(LINES, st.sampled_from(["utf-8", "latin-1", "utf-16"]), TEXT)),
    filename=LINES,
    content=CONTENT,
    borders=BORDERS,
)
def test_a_form_is_read_as_the_email_package_reads_it(
    fields: list[tuple[str, str, str]], filename: str, content: bytes, borders: list[int]
) -> None:
    texts = [
        (f"n{name}", charset, text.encode(charset, "replace")) for name, charset, text in fields
    ]
    heads = [
        (f'form-data; name="{name}"', f"text/plain; charset={charset}")
        for name, charset, _ in texts
    ]
    heads.append((f'form-data; name="file"; filename="x{filename}"', "image/png"))
    contents = [*[sent for *_, sent in texts], content]
    body = b"".join(
        f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n".encode()
        + f"Content-Type: {kind}\r\n\r\n".encode()
        + sent
        + b"\r\n"
        for (disposition, kind), sent in zip(heads, contents, strict=True)
    )
    expected: dict[str, list[str]] = {}
    for (disposition, kind), sent in zip(heads, contents, strict=True):
        head = email.message_from_string(
            f"Content-Disposition: {disposition}\nContent-Type: {kind}"
        )
        name = head.get_param("name", header="content-disposition")
        if head.get_filename() is None:
            text = sent.decode(str(head.get_content_charset()))
            expected.setdefault(str(name), []).append(text)
    app = Root()
    whole = body + f"--{BOUNDARY}--\r\n".encode()
    response = run(post(app, "/parts", headers=MULTIPART, body=cut(whole, borders)))
    assert response.status == 204, response
    assert (app.seen["form"], app.seen["files"]) == (expected, {"file": content})


@cases(250)
@given(
    at=st.floats(0, 1),
    length=st.integers(0, 9),
    instead=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b":", b"--", b" ", b"\xff", b"x"])),
    borders=BORDERS,
)
def test_a_damaged_form_has_the_same_answer_however_it_is_cut(
    at: float, length: int, instead: list[bytes], borders: list[int]
) -> None:
    whole = encode_multipart([("text", "é"), ("file", "a.txt", "text/plain", b"content")])
    place = len(BOUNDARY) + 4 + int(at * (len(whole) - len(BOUNDARY)))
    body = whole[:place] + b"".join(instead) + whole[place + length :]
    answers = []
    for pieces in ([body], cut(body, borders), [body[i : i + 1] for i in range(len(body))]):
        app = Root()
        answers.append((run(post(app, "/parts", headers=MULTIPART, body=pieces)).status, app.seen))
    assert answers[0] == answers[1] == answers[2]
