"""How files are uploaded: parts, files, streaming, limits, and clients that leave."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import gc
import os
import re
import sys
import threading
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path, PureWindowsPath
from typing import Any

import pytest

import micropie
from micropie import (
    App,
    ConnectionClosed,
    FromSession,
    HTTPError,
    HttpMiddleware,
    Request,
    UploadedFile,
)
from tests.asgi import (
    BOUNDARY,
    Exchange,
    Part,
    Response,
    assert_logged_500,
    call,
    encode_multipart,
    exchange,
    post,
    scripted,
)
from tests.clients import END, MULTIPART, UnreadStream, head, sends
from tests.clock import VirtualLoop, elapse

MIB = 2**20
HEAD = head('name="file"; filename="x.bin"')


def file(
    content: bytes = b"content",
    name: str = "file",
    filename: str = "x.bin",
    kind: str | None = None,
) -> Part:
    return (name, filename, kind, content)


def raw_part(headers: str | bytes, content: bytes = b"content") -> bytes:
    """A form of one part with these header lines."""
    lines = headers.encode() if isinstance(headers, str) else headers
    return f"--{BOUNDARY}\r\n".encode() + lines + b"\r\n\r\n" + content + END


async def send_raw(app: App, body: bytes, target: str = "/", **options: Any) -> Response:
    return await post(app, target, headers=MULTIPART, body=body, **options)


def described(upload: UploadedFile, content: bytes) -> list[str]:
    return [upload.filename, upload.content_type, content.decode()]


class Counted(enum.Enum):
    """Notes each conversion."""

    ONE = 1
    conversions = enum.nonmember([])

    @classmethod
    def _missing_(cls, value: object) -> Any:
        cls.conversions.append(value)
        return cls.ONE


class Root(App):
    """Takes forms in every way."""

    async def index(self) -> dict[str, Any]:
        """Everything there is."""
        files = {
            name: described(upload, await upload.read())
            for name, upload in self.request.files.items()
        }
        return {"fields": self.request.body_params, "files": files}

    async def one(self, file: UploadedFile) -> list[str]:
        return described(file, await file.read())

    async def untyped(self, file) -> list[str]:
        return described(file, await file.read())

    async def optional(self, file: UploadedFile | None = None) -> str:
        return "absent" if file is None else (await file.read()).decode()

    async def several(self, file: list[UploadedFile]) -> list[list[str]]:
        return [described(each, await each.read()) for each in file]

    async def counted(self, number: Counted, file: UploadedFile) -> str:
        return (await file.read()).decode()

    def plain(self, file: UploadedFile) -> list[str]:
        return described(file, file.file.read())


async def test_values_are_not_converted_anew_for_each_file() -> None:
    """To convert a large one a thousand times would hold up all other requests."""

    Counted.conversions.clear()
    others = [file(name="other") for _ in range(100)]
    parts = [("number", "2"), *others, file(), *others]
    assert (await post(Root(), "/counted", multipart=parts)).text == "content"
    assert len(Counted.conversions) < 5


# --- What is a field, what is a file --------------------------------------------------------------

P = "Content-Disposition: form-data; name=p"


@pytest.mark.parametrize("chunk_size", [None, 1])
async def test_form_gives_its_fields_and_files_in_any_order(chunk_size: int | None) -> None:
    parts: list[Part] = [
        file(b"1"),
        ("a", "x"),
        file(b"2", "other", "y.txt", "text/plain"),
        ("b", "y"),
        ("a", "z"),
    ]
    assert (await post(Root(), multipart=parts, chunk_size=chunk_size)).json() == {
        "fields": {"a": ["x", "z"], "b": ["y"]},
        "files": {
            "file": ["x.bin", "application/octet-stream", "1"],
            "other": ["y.txt", "text/plain", "2"],
        },
    }


@pytest.mark.parametrize(
    ("headers", "filename", "content_type"),
    [
        ('Content-Disposition: form-data; name="p"; filename="x"', "x", "application/octet-stream"),
        ('content-disposition: FORM-DATA; NAME="p"; FILENAME="x"', "x", "application/octet-stream"),
        (f"{P}; filename=x", "x", None),
        (f"{P}; filename=x\r\nContent-Type: text/plain", "x", "text/plain"),
        (f"{P}; filename=x\r\nContent-Type: image/png", "x", "image/png"),
        (f'{P}; filename="é€.txt"', "é€.txt", None),
        (f'{P}; filename="caf\xe9.txt"'.encode("latin-1"), "caf\ufffd.txt", None),
        (f"{P}; filename=x\r\nContent-Type: a/b; c=\xe9".encode("latin-1"), "x", "a/b; c=\ufffd"),
        (f"{P};\r\n filename=x\r\nX-A: \xe9\r\n b".encode("latin-1"), "x", None),
        (f'{P}; filename="a\\"b"', 'a"b', None),
        # RFC 7578 section 4.2 forbids `filename*` in forms.
        (f"{P}; filename=x; filename*=UTF-8''y", "x", None),
        (f"{P}; filename*=UTF-8''y; filename=x", "x", None),
        # A quoted name is no place for parameters.
        (f"{P}; filename=\"x; filename*=UTF-8''y\"", "x; filename*=UTF-8''y", None),
    ],
)
async def test_part_with_a_filename_is_a_file(
    headers: str | bytes, filename: str, content_type: str | None
) -> None:
    answer = (await send_raw(Root(), raw_part(headers))).json()
    assert answer == {
        "fields": {},
        "files": {"p": [filename, content_type or "application/octet-stream", "content"]},
    }


@pytest.mark.parametrize(
    "headers",
    [
        'Content-Disposition: form-data; name="p"',
        f"{P}\r\nX-Other: 1",
        f"{P}\r\nContent-Type: text/plain",
        f"{P}\r\nContent-Type: text/plain; charset=utf-8",
        f"{P}\r\nContent-Type: Text/Plain",
        f"{P}\r\nContent-Type: TEXT/HTML; charset=UTF-8",
        f"{P}\r\nContent-Type: text/csv",
        f"{P}\r\nContent-Type: application/json",
        f"{P}\r\nContent-Type: image/png",
        f"{P}\r\nContent-Type: application/octet-stream",
        'Content-Disposition: form-data; x="; filename=y"; name=p',
        f"{P}; filename*=UTF-8''y",
        "Content-Disposition: form-data; filename*=UTF-8''y; name=p",
    ],
)
async def test_part_without_a_filename_is_a_field_whatever_its_type(headers: str) -> None:
    assert (await send_raw(Root(), raw_part(headers))).json() == {
        "fields": {"p": ["content"]},
        "files": {},
    }


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("text/plain", "é€".encode(), "é€"),
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ("text/plain; CHARSET=ISO-8859-1", b"caf\xe9", "café"),
        ('text/plain; charset="windows-1252"', b"\x80", "€"),
        ("text/plain; charset=utf-16", "é€".encode("utf-16"), "é€"),
        ("application/json; charset=cp1252", b'"\x80"', '"€"'),
        ("text/plain; charset=us-ascii", b"plain", "plain"),
        ("text/plain; charset=koi8-u", "ї".encode("koi8-u"), "ї"),
        ("image/png; charset=Shift_JIS", "日".encode("shift_jis"), "日"),
        ("text/plain; charset=latin-1", b"", ""),
        ("text/plain; charset=", "é".encode(), "é"),
    ],
)
async def test_field_is_decoded_by_the_charset_of_its_part(
    kind: str, content: bytes, text: str
) -> None:
    other = head('name="other"') + "é".encode() + b"\r\n"
    body = other + raw_part(f"{P}\r\nContent-Type: {kind}", content)
    for chunk_size in (None, 1):
        answer = (await send_raw(Root(), body, chunk_size=chunk_size)).json()
        assert answer == {"fields": {"other": ["é"], "p": [text]}, "files": {}}


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("text/plain", b"caf\xe9"),
        ("text/plain; charset=utf-8", b"caf\xe9"),
        ("text/plain; charset=us-ascii", "é".encode()),
        ("text/plain; charset=utf-16", b"odd"),
        ("text/plain; charset=nope", b"x"),
        ("text/plain; charset=a\0b", b"x"),
        # Python has codecs that are no charsets. Some are for bytes, some take minutes for a MiB.
        *[(f"text/plain; charset={name}", b"x") for name in ("base64", "hex", "rot13", "zip")],
        *[(f"text/plain; charset={name}", b"x") for name in ("undefined", "punycode", "idna")],
        # Halves of characters, which no response can send.
        *[
            (f"text/plain; charset={name}", b"+2AA-")
            for name in ("utf-7", "U7", "unicode-1-1-utf-7")
        ],
    ],
)
@pytest.mark.parametrize("path", ["/", "/one"])
async def test_field_with_an_unknown_charset_or_bytes_that_do_not_fit_it_is_400(
    path: str, kind: str, content: bytes
) -> None:
    part = raw_part(f"{P}\r\nContent-Type: {kind}", content)
    whole = encode_multipart([file()])[: -len(END) + 2] + part
    response = await send_raw(Root(), whole, path)
    assert (response.status, response.text) == (
        400,
        "400 Bad Request: A form field is not in its charset",
    )


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "text/plain"])
async def test_file_input_left_empty_is_no_file(kind: str | None) -> None:
    empty: Part = ("file", "", kind, b"")
    app = Root()
    assert (await post(app, multipart=[empty, ("a", "x")])).json() == {
        "fields": {"a": ["x"]},
        "files": {},
    }
    assert (await post(app, "/optional", multipart=[empty])).text == "absent"
    assert (await post(app, "/several", multipart=[empty, file(), empty])).json()[0][0] == "x.bin"
    response = await post(app, "/one", multipart=[empty])
    assert (response.status, response.text) == (
        400,
        "400 Bad Request: Missing required parameter 'file'",
    )


@pytest.mark.parametrize(
    ("filename", "content"), [("", b"x"), ("x.bin", b"")], ids=["no name", "no content"]
)
@pytest.mark.parametrize("path", ["/one", "/plain", "/untyped"])
async def test_file_without_name_or_without_content_is_a_file(
    path: str, filename: str, content: bytes
) -> None:
    response = await post(Root(), path, multipart=[file(content, filename=filename)])
    assert response.json() == [filename or "file", "application/octet-stream", content.decode()]


async def test_request_files_has_the_first_file_of_a_name_and_a_list_parameter_all() -> None:
    parts = [file(b"1"), ("a", "x"), file(b"2", filename="y"), file(b"3", "other")]
    files = (await post(Root(), multipart=parts)).json()["files"]
    assert {name: content for name, (_, _, content) in files.items()} == {"file": "1", "other": "3"}
    answer = (await post(Root(), "/several", multipart=parts)).json()
    assert [[name, content] for name, _, content in answer] == [["x.bin", "1"], ["y", "2"]]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", {"multipart": [("file", "text")]}),
        ("", {"multipart": [file(name="other")]}),
        ("", {"multipart": []}),
        ("", {"form": {"file": "text"}}),
        ("?file=text", {"multipart": []}),
    ],
    ids=["a field of that name", "another file", "an empty form", "urlencoded", "query"],
)
@pytest.mark.parametrize("path", ["/one", "/plain", "/several"])
async def test_file_parameter_without_its_file_is_400(path: str, query: str, options: Any) -> None:
    assert (await post(Root(), path + query, **options)).status == 400


# --- File names -----------------------------------------------------------------------------------

FILENAMES = [
    ("x.txt", "x.txt"),
    ("../../etc/passwd", "passwd"),
    ("../a/b.txt", "b.txt"),
    ("/etc/passwd", "passwd"),
    ("C:\\Users\\ada\\x.txt", "x.txt"),
    ("..\\..\\x.txt", "x.txt"),
    ("a/b\\c", "c"),
    ("a\\b/c", "c"),
    ("C:x.txt", "x.txt"),
    ("C:D:x.txt", "x.txt"),
    ("\x01C:x.txt", "x.txt"),
    (" C:x.txt", "x.txt"),
    ("C:..", "file"),
    ("C:", "file"),
    ("naïve €.txt", "naïve €.txt"),
    (".profile", ".profile"),
    ("..x", "..x"),
    (".", "file"),
    ("..", "file"),
    ("../..", "file"),
    ("folder/", "file"),
    ("folder\\", "file"),
    ("/", "file"),
    (" ", "file"),
    ("\t", "file"),
    ("\x01\x02", "file"),
    ("a\x00b.txt", "ab.txt"),
    ("a\x1fb\x7fc\x85d", "abcd"),
    (".\x01.", "file"),
    ("..\x00", "file"),
    (" ..", "file"),
    ("\u200b..", "file"),
]


class Names(App):
    def plain(self, file: UploadedFile) -> list[str]:
        return [file.filename, file.raw_filename]

    async def stream(self, file: UploadedFile) -> list[str]:
        return self.plain(file)


@pytest.mark.parametrize(("sent", "filename"), FILENAMES)
async def test_filename_is_the_last_component_of_the_raw_filename(sent: str, filename: str) -> None:
    by_hand = UploadedFile(sent)
    assert (by_hand.filename, by_hand["filename"], by_hand.raw_filename) == (
        filename,
        filename,
        sent,
    )
    if sent.endswith("\\"):
        return  # it would escape the quotation mark at the end
    # The parser takes the folder off that old browsers send.
    raw = filename if sent.startswith("C:\\") else sent
    for path in ("/stream", "/plain"):
        response = await send_raw(Names(), raw_part(f'{P[:-1]}file; filename="{sent}"'), path)
        assert response.json() == [filename, raw]


@pytest.mark.parametrize(
    "sent",
    [sent for sent, _ in FILENAMES]
    + [
        "é" * 300 + ".jpeg",
        "é" * 200,
        "x" * 300,
        "." + "x" * 300,
        "x." + "y" * 300,
        "." * 300,
        "con\udcff",
        "a\r\nb",
        "a\u2028b",
        "1:evil",
        "é: evil",
        "xC:" + "a" * 253,
        "x" * 9 + " " + "a" * 254,
    ],
)
def test_filename_joined_to_a_folder_stays_in_the_folder(tmp_path: Path, sent: str) -> None:
    name = UploadedFile(sent).filename
    target = tmp_path / name
    assert os.path.dirname(os.path.normpath(target)) == str(tmp_path)
    assert re.search(r"[\x00-\x1f\x7f-\x9f/\\]", name) is None
    assert (PureWindowsPath("D:/uploads") / name).parent == PureWindowsPath("D:/uploads")
    assert name == name.strip()
    target.write_bytes(b"it can be written")
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
    assert name.endswith("é.jpeg") or not sent.endswith("é.jpeg"), "a long name keeps its extension"


# --- UploadedFile ---------------------------------------------------------------------------------


class Ways:
    """The same file, read in every way; `streams` and `spooled` differ in how it gets here."""

    @staticmethod
    async def queue(upload: UploadedFile) -> bytes:
        content = b""
        while chunk := await upload["content"].get():
            assert type(chunk) is bytes
            content += chunk
        return content

    @staticmethod
    async def iteration(upload: UploadedFile) -> bytes:
        return b"".join([chunk async for chunk in upload])

    @staticmethod
    async def step_by_step(upload: UploadedFile) -> bytes:
        iterator = aiter(upload)
        content = await anext(iterator, b"")
        return content + b"".join([chunk async for chunk in iterator])

    @staticmethod
    async def read(upload: UploadedFile) -> bytes:
        return await upload.read()

    @staticmethod
    async def save(upload: UploadedFile) -> bytes:
        await upload.save(upload.raw_filename)  # relative to the working directory
        return Path(upload.raw_filename).read_bytes()


Way = Callable[[UploadedFile], Any]
ways = pytest.mark.parametrize(
    "way", [Ways.queue, Ways.iteration, Ways.step_by_step, Ways.read, Ways.save]
)


class Streams(App):
    """Does with a file that streams what the test says."""

    def __init__(self, way: Way, **options: Any) -> None:
        super().__init__(**options)
        self.way = way
        self.result: Any = None
        self.error: BaseException | None = None

    async def index(self, file: UploadedFile) -> None:
        try:
            self.result = await self.way(file)
        except BaseException as error:
            self.error = error
            raise


class Spooled(Streams):
    """The same with a file that was received before the handler began."""

    async def index(self, file: UploadedFile, after: str = "") -> None:
        await super().index(file)


both = pytest.mark.parametrize("kind", [Streams, Spooled])


@contextlib.asynccontextmanager
async def half_sent(
    app: App, before: Iterable[Part] = (), path: str = "/", **options: Any
) -> AsyncIterator[Exchange]:
    """A request that has sent these parts, and the first half of its file."""
    async with exchange(app, "POST", path, headers=MULTIPART, **options) as ex:
        await ex.send_body(encode_multipart(before)[: -len(END) + 2] + HEAD + b"half")
        yield ex


@both
@ways
@pytest.mark.parametrize("size", [0, 1, 200_000, 2 * MIB])
async def test_every_way_to_read_a_file_gives_its_content(
    kind: type[Streams], way: Way, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = kind(way)
    content = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert (await post(app, multipart=[file(content)], chunk_size=50_000)).status == 204
    assert app.result == content


@both
async def test_uploaded_file_is_a_dict_whose_content_has_get(kind: type[Streams]) -> None:
    async def look(upload: UploadedFile) -> Any:
        assert isinstance(upload, UploadedFile) and isinstance(upload, dict)
        assert set(upload) == {"filename", "content_type", "content"}
        assert type(await upload["content"].get()) is bytes
        return [upload["filename"], upload["content_type"], upload.filename, upload.content_type]

    app = kind(look)
    assert (await post(app, multipart=[file(filename="x.png", kind="image/png")])).status == 204
    assert app.result == ["x.png", "image/png"] * 2


@both
async def test_content_gives_none_again_after_its_end(kind: type[Streams]) -> None:
    async def drain(upload: UploadedFile) -> Any:
        content = upload["content"]
        while await content.get():
            pass
        assert [await content.get() for _ in range(3)] == [None] * 3
        return b"".join([chunk async for chunk in upload])

    app = kind(drain)
    assert (await post(app, multipart=[file(b"x" * 100_000)])).status == 204
    # One that was received can be read again.
    assert app.result == (b"x" * 100_000 if kind is Spooled else b"")


async def test_a_received_file_can_be_read_again_in_each_way() -> None:
    for content in (b"x" * 5000, b"y" * 1_200_000):  # in memory, and on disk

        async def read(upload: UploadedFile) -> Any:
            await upload.read()
            first = b"".join([chunk async for chunk in upload])
            upload.file.read(4)
            return [first, b"".join([chunk async for chunk in upload]), await upload.read()]

        app = Spooled(read)
        assert (await post(app, multipart=[file(content)])).status == 204
        assert app.result == [content] * 3


@pytest.mark.real_time
async def test_a_reader_that_gives_up_a_chunk_and_asks_again_misses_nothing() -> None:
    """The thread reads on, though nothing waits for it any more."""
    free, gave_up = threading.Event(), 0

    def wait() -> None:
        free.wait()

    async def read(upload: UploadedFile) -> Any:
        nonlocal gave_up
        busy = [asyncio.create_task(micropie._in_thread(wait)) for _ in range(4)]
        await asyncio.sleep(0)
        pieces: list[bytes] = []
        while True:
            asking = asyncio.create_task(upload["content"].get())
            await asyncio.sleep(0)
            if not gave_up:
                asking.cancel()
                await asyncio.sleep(0)
                free.set()
                gave_up += 1
            with contextlib.suppress(asyncio.CancelledError):
                if (piece := await asking) is None:
                    break
                pieces.append(piece)
        await asyncio.gather(*busy)
        return b"".join(pieces)

    app = Spooled(read)
    assert (await post(app, multipart=[file(b"z" * 1_200_000)])).status == 204
    assert (app.result == b"z" * 1_200_000, gave_up) == (True, 1)


async def first_chunk(upload: UploadedFile) -> Any:
    return await upload["content"].get()


async def first_step(upload: UploadedFile) -> Any:
    return await anext(aiter(upload))


async def past_its_limit(upload: UploadedFile) -> None:
    with pytest.raises(HTTPError):
        await upload.read(limit=10)


async def into_no_folder(upload: UploadedFile) -> None:
    with pytest.raises(OSError):
        await upload.save("no such folder/x")


BEGINNINGS: list[Way] = [
    Ways.queue,
    Ways.iteration,
    Ways.read,
    Ways.save,
    first_chunk,
    first_step,
    past_its_limit,
]


@pytest.mark.parametrize("begin", BEGINNINGS)
@pytest.mark.parametrize("again", [Ways.read, Ways.save])
@pytest.mark.parametrize("size", [100, 200_000])
async def test_streamed_file_that_was_begun_raises_runtime_error_from_read_and_save(
    size: int, again: Way, begin: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has passed by, and half of it must not be taken for the whole."""

    async def twice(upload: UploadedFile) -> Any:
        await begin(upload)
        (tmp_path / "x.bin").unlink(missing_ok=True)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="at least a part of it was read already"):
                await again(upload)
        return list(tmp_path.iterdir())

    monkeypatch.chdir(tmp_path)
    app = Streams(twice)
    assert (await post(app, multipart=[file(b"x" * size)], chunk_size=50_000)).status == 204
    assert app.result == []


async def test_save_that_fails_before_it_reads_leaves_a_streamed_file_unread(
    tmp_path: Path,
) -> None:
    async def twice(upload: UploadedFile) -> bytes:
        await into_no_folder(upload)
        return await upload.read()

    app = Streams(twice)
    assert (await post(app, multipart=[file(b"x" * 200_000)], chunk_size=50_000)).status == 204
    assert app.result == b"x" * 200_000


@pytest.mark.parametrize("begin", [*BEGINNINGS, into_no_folder])
@pytest.mark.parametrize("again", [Ways.read, Ways.save])
@pytest.mark.parametrize("size", [100, 2 * MIB])
async def test_spooled_file_is_read_and_saved_as_often_as_it_is_asked(
    size: int, again: Way, begin: Way, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def twice(upload: UploadedFile) -> Any:
        await begin(upload)
        return [await again(upload) for _ in range(2)]

    monkeypatch.chdir(tmp_path)
    app = Spooled(twice)
    content = os.urandom(size)
    assert (await post(app, multipart=[file(content)], chunk_size=50_000)).status == 204
    assert app.result == [content] * 2


@pytest.mark.parametrize("size", [100, 3 * MIB])
async def test_tasks_that_read_and_save_a_spooled_file_at_once_all_get_the_whole(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(upload: UploadedFile) -> Any:
        return await asyncio.gather(*[way(upload) for way in [Ways.read, Ways.read, Ways.save]])

    monkeypatch.chdir(tmp_path)
    app = Spooled(at_once)
    content = os.urandom(size)
    assert (await post(app, multipart=[file(content)], chunk_size=2**18)).status == 204
    assert app.result == [content] * 3


@pytest.mark.parametrize("reads", [1, 2])
@both
async def test_handler_that_breaks_out_of_a_loop_over_its_file_leaves_no_task(
    kind: type[Streams], reads: int
) -> None:
    async def breaks(upload: UploadedFile) -> None:
        left = reads
        async for _ in upload:
            left -= 1
            if not left:
                break

    assert (
        await post(kind(breaks), multipart=[file(b"x" * 300_000)], chunk_size=50_000)
    ).status == 204


@both
@pytest.mark.parametrize(
    ("limit", "status"), [(None, 204), (101, 204), (100, 204), (99, 413), (0, 413)]
)
@pytest.mark.parametrize("method", ["read", "save"])
async def test_read_and_save_past_their_limit_are_413(
    kind: type[Streams], method: str, limit: int | None, status: int, tmp_path: Path
) -> None:
    async def limited(upload: UploadedFile) -> Any:
        if method == "read":
            return await upload.read(limit=limit)
        return await upload.save(tmp_path / "x", limit=limit)

    app = kind(limited)
    assert (await post(app, multipart=[file(b"x" * 100)], chunk_size=70)).status == status
    if status == 413:
        assert isinstance(app.error, HTTPError) and app.error.status == 413
        assert list(tmp_path.iterdir()) == []


@both
@pytest.mark.parametrize(
    ("target", "error"),
    [("missing/x", FileNotFoundError), ("folder", OSError)],
    ids=["no such folder", "a folder"],
)
async def test_save_that_fails_leaves_nothing_behind(
    kind: type[Streams], target: str, error: type[OSError], tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    app = kind(lambda upload: upload.save(tmp_path / target))
    assert (await post(app, multipart=[file()])).status == 500
    assert isinstance(app.error, error)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["folder"]


@both
async def test_save_replaces_an_existing_file_only_when_it_succeeds(
    kind: type[Streams], tmp_path: Path
) -> None:
    (tmp_path / "x").write_bytes(b"old")
    app = kind(lambda upload: upload.save(os.fspath(tmp_path / "x"), limit=5))
    assert (await post(app, multipart=[file(b"too long")])).status == 413
    assert (tmp_path / "x").read_bytes() == b"old"
    assert (await post(app, multipart=[file(b"new")])).status == 204
    assert (tmp_path / "x").read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


async def test_save_writes_beside_its_target_and_shows_it_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    app = Streams(lambda upload: upload.save(tmp_path / "there" / "x"))
    async with half_sent(app) as ex:
        await settled()
        assert list((tmp_path / "here").iterdir()) == []
        assert not (tmp_path / "there" / "x").exists()
        await ex.send_body(END, more=False)
        assert (await ex.wait()).status == 204
    assert (tmp_path / "there" / "x").read_bytes() == b"half"


@pytest.mark.parametrize(
    ("second", "error"),
    [(Ways.read, "a part of it was read already"), (Ways.queue, "read by another task")],
)
async def test_second_task_that_reads_a_streamed_file_gets_a_runtime_error(
    second: Way, error: str
) -> None:
    async def at_once(upload: UploadedFile) -> Any:
        return await asyncio.gather(upload.read(), second(upload), return_exceptions=True)

    app = Streams(at_once)
    async with half_sent(app) as ex:
        await settled()
        await ex.send_body(b"-half" + END, more=False)
        assert (await ex.wait()).status == 204
    content, raised = app.result
    assert isinstance(raised, RuntimeError) and error in str(raised)
    assert content == b"half-half"


@both
async def test_files_are_saved_without_threads_in_pyodide(
    kind: type[Streams], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In Pyodide, what would go to a thread runs inline."""

    def no_threads(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(sys, "platform", "emscripten")
    monkeypatch.setattr(threading.Thread, "start", no_threads)
    app = kind(lambda upload: upload.save(tmp_path / "x"))
    assert (await post(app, multipart=[file(b"x" * 2 * MIB)], chunk_size=100_000)).status == 204
    assert (tmp_path / "x").stat().st_size == 2 * MIB
    assert (await post(Root(), "/plain", multipart=[file(b"x" * 2 * MIB)])).status == 200


async def test_file_attribute_of_a_streamed_file_raises_runtime_error() -> None:
    async def look(upload: UploadedFile) -> None:
        with pytest.raises(RuntimeError, match="stream"):
            _ = upload.file

    assert (await post(Streams(look), multipart=[file()])).status == 204


async def test_file_attribute_of_a_spooled_file_is_a_binary_file_that_can_be_rewound(
    tmp_path: Path,
) -> None:
    async def look(upload: UploadedFile) -> Any:
        first = upload.file.read(3)
        upload.file.seek(0)
        found = first, upload.file.read(), upload.file.readable(), upload.file.tell()
        upload.file.seek(0)
        await upload.read()
        upload.file.seek(0)
        await upload.save(tmp_path / "saved")
        return found

    app = Spooled(look)
    await post(app, multipart=[file(b"content")])
    assert app.result == (b"con", b"content", True, 7)
    assert (tmp_path / "saved").read_bytes() == b"content"


class Saves(App):
    """Reads or saves a file, fails within it, and tries once more."""

    folder: Path

    async def again(self, file: UploadedFile) -> str:
        for wait in (5, 20):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(file.save(self.folder / "saved"), wait)
        return str((self.folder / "saved").exists())

    async def elsewhere(self, file: UploadedFile) -> str:
        with contextlib.suppress(OSError):
            await file.save(self.folder)
        await file.save(self.folder / "saved")
        return str((self.folder / "saved").stat().st_size)

    async def limited(self, file: UploadedFile) -> str:
        with contextlib.suppress(HTTPError):
            await file.read(limit=2000)
        return str(len(await file.read()))

    async def missing(self, file: UploadedFile) -> str:
        with contextlib.suppress(OSError):
            await file.save(self.folder / "no such folder" / "saved")
        return str(len(await file.read()))

    async def kept(self, file: UploadedFile, after: str) -> str:
        return await self.limited(file)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("again", None),
        ("elsewhere", None),
        ("limited", None),
        ("missing", "5000"),
        ("kept", "5000"),
    ],
)
async def test_second_read_after_a_failed_one_gives_the_whole_file_or_500(
    path: str, text: str | None, tmp_path: Path
) -> None:
    body = encode_multipart([file(b"d" * 5000), *([("after", "x")] if path == "kept" else [])])
    client = sends(*[body[at : at + 1000] for at in range(0, len(body), 1000)], last=True, pause=2)
    app = Saves()
    app.folder = tmp_path
    response = await post(app, f"/{path}", headers=MULTIPART, receive=client)
    assert (response.status, response.text) == (
        (200, text) if text else (500, "500 Internal Server Error")
    )
    assert list(tmp_path.iterdir()) == []


# --- When a handler starts ------------------------------------------------------------------------


class Starts(App):
    """Handlers whose parameters decide when they start; each notes that, then reads its file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.started = asyncio.Event()
        self.chunks: list[bytes] = []
        self.saw: Any = None

    async def take(self, file: UploadedFile, *saw: Any) -> None:
        self.saw = saw
        self.started.set()
        async for chunk in file:
            self.chunks.append(chunk)

    async def alone(self, file: UploadedFile) -> None:
        await self.take(file)

    async def untyped(self, file) -> None:
        await self.take(file)

    async def keyword(self, *, file: UploadedFile) -> None:
        await self.take(file)

    async def title(self, title: str, file: UploadedFile) -> None:
        await self.take(file, title)

    async def reverse(self, file: UploadedFile, title: str) -> None:
        await self.take(file, title)

    async def number(self, title: int, file: UploadedFile) -> None:
        await self.take(file, title)

    async def optional(self, file: UploadedFile, title: str = "none") -> None:
        await self.take(file, title)

    async def rest(self, file: UploadedFile, **rest: Any) -> None:
        await self.take(file, rest)

    async def two(self, other: UploadedFile, file: UploadedFile) -> None:
        await self.take(file, await other.read())

    async def many(self, file: list[UploadedFile]) -> None:
        await self.take(file[0])

    async def list_and_one(self, others: list[UploadedFile], file: UploadedFile) -> None:
        await self.take(file, [await each.read() for each in others])

    async def nothing(self) -> None:
        await self.take(self.request.files["file"])

    def plain(self, file: UploadedFile) -> None:
        self.started.set()
        self.chunks.append(file.file.read())


async def settled() -> None:
    """Let the application do all that it can do with what it has."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    await elapse(0.001)
    while loop.threads:
        await elapse(0.001)
    await elapse(0.001)


TITLE: Part = ("title", "7")
OTHER: Part = file(b"whole", "other")


@pytest.mark.parametrize(
    ("target", "before", "saw"),
    [
        ("/alone", [], ()),
        ("/alone", [("more", "x")], ()),
        ("/untyped", [], ()),
        ("/keyword", [], ()),
        ("/title", [TITLE], ("7",)),
        ("/reverse", [TITLE], ("7",)),
        ("/number", [TITLE], (7,)),
        ("/optional", [TITLE], ("7",)),
        ("/title/7", [], ("7",)),
        ("/title?title=7", [], ("7",)),
        ("/reverse?title=", [], ("",)),
        ("/two", [OTHER], (b"whole",)),
    ],
)
async def test_handler_starts_when_only_its_last_file_is_missing(
    target: str, before: list[Part], saw: Any
) -> None:
    app = Starts()
    path, _, query = target.partition("?")
    async with half_sent(app, before, path, query=query) as ex:
        await asyncio.wait_for(app.started.wait(), 20)
        await settled()
        assert b"".join(app.chunks) == b"half"
        await ex.send_body(b"-half")
        await settled()
        assert b"".join(app.chunks) == b"half-half"
        await ex.send_body(END, more=False)
        assert (await ex.wait()).status == 204
        assert app.saw == saw


@pytest.mark.parametrize(
    ("target", "before", "after", "saw"),
    [
        ("/title", [], [TITLE], ("7",)),
        ("/reverse", [], [TITLE], ("7",)),
        ("/number", [("title", "")], [], None),
        ("/optional", [], [TITLE], ("7",)),
        ("/optional", [], [], ("none",)),
        ("/rest", [], [TITLE], ({"title": "7"},)),
        ("/rest", [TITLE], [], ({"title": "7"},)),
        ("/two", [], [OTHER], (b"whole",)),
        ("/many", [], [], ()),
        ("/list_and_one", [file(b"1", "others")], [file(b"2", "others")], ([b"1", b"2"],)),
        ("/nothing", [], [TITLE], ()),
        ("/plain", [], [], None),
    ],
)
async def test_any_other_handler_starts_after_the_whole_form(
    target: str, before: list[Part], after: list[Part], saw: Any
) -> None:
    app = Starts()
    async with half_sent(app, before, target) as ex:
        await settled()
        assert not app.started.is_set()
        await ex.send_body(b"-half\r\n" + encode_multipart(after), more=False)
        response = await ex.wait()
        assert response.status == (400 if target == "/number" else 204)
        assert b"".join(app.chunks) == (b"" if target == "/number" else b"half-half")
        assert app.saw == saw


async def test_fields_and_files_after_a_streamed_file_are_there_at_its_end() -> None:
    class Whole(App):
        async def index(self, file: UploadedFile) -> list[Any]:
            content = await file.read()
            others = {
                name: (await each.read()).decode()
                for name, each in self.request.files.items()
                if name != "file"
            }
            return [content.decode(), self.request.form("after"), others]

    parts = [file(b"1"), ("after", "x"), file(b"2", "other")]
    for chunk_size in (None, 1):
        assert (await post(Whole(), multipart=parts, chunk_size=chunk_size)).json() == [
            "1",
            "x",
            {"other": "2"},
        ]


@pytest.mark.parametrize("cut", [1, 20, 70, 110, 150, 190, 230, 270])
async def test_reader_that_times_out_gets_its_file_and_the_form_or_a_runtime_error(
    cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    """In the file it can ask again; after it a part of the form is lost, which is an error."""

    class Patient(App):
        async def index(self, file: UploadedFile) -> list[Any]:
            pieces: list[bytes] = []
            while True:
                with contextlib.suppress(TimeoutError):
                    piece = await asyncio.wait_for(file["content"].get(), 0.02)
                    if piece is None:
                        return [
                            b"".join(pieces).decode(),
                            self.request.body_params,
                            len(self.request.files),
                        ]
                    pieces.append(piece)

    form = HEAD + b"hello"
    rest = (
        b"\r\n"
        + head('name="csrf"')
        + b"secret\r\n"
        + head('name="more"; filename="b"')
        + b"other"
        + END
    )
    async with exchange(Patient(), "POST", headers=MULTIPART) as ex:
        await ex.send_body(form + rest[:cut])
        await elapse(0.1)
        await ex.send_body(rest[cut:], more=False)
        response = await ex.wait()
    if cut <= 20:
        assert response.json() == ["hello", {"csrf": ["secret"]}, 2]
    else:
        assert_logged_500(response, caplog)
        assert "RuntimeError: the rest of the form was not read" in caplog.text


class Impatient(App):
    """Gives up waiting for the rest of a form, and answers, streams or fails."""

    async def answer(self, file: UploadedFile) -> bytes:
        pieces: list[bytes | None] = []
        with contextlib.suppress(TimeoutError):
            while pieces[-1:] != [None]:
                pieces.append(await asyncio.wait_for(file["content"].get(), 0.05))
        return b"".join(piece or b"" for piece in pieces)

    async def stream(self, file: UploadedFile) -> AsyncIterator[bytes]:
        yield await self.answer(file)
        await elapse(0.05)

    async def fail(self, file: UploadedFile) -> None:
        await self.answer(file)
        raise ValueError("enough")


@pytest.mark.parametrize("rest", ["good", "bad", "none", "left"])
@pytest.mark.parametrize(("path", "status"), [("/answer", 200), ("/stream", 200), ("/fail", 500)])
async def test_handler_that_gives_up_on_what_follows_its_file_is_answered(
    path: str, status: int, rest: str
) -> None:
    """The driver checks that two receive() never run at once, and no task is left over."""
    async with exchange(Impatient(body_timeout=0.3), "POST", path, headers=MULTIPART) as ex:
        await ex.send_body(HEAD + b"hello\r\n" + head('name="csrf"') + b"se")
        await elapse(0.1)
        if rest == "left":
            await ex.disconnect()
        elif rest != "none":
            await ex.send_body(b"cret" + END if rest == "good" else b"bad", more=False)
        found = (await ex.wait()).status
    assert found in (status, None if rest == "left" else status)


async def test_streamed_file_is_received_only_as_the_handler_reads_it() -> None:
    async def slow(upload: UploadedFile) -> int:
        await proceed.wait()
        return len(await upload.read())

    proceed = asyncio.Event()
    app = Streams(slow)
    async with half_sent(app) as ex:
        for _ in range(50):
            await ex.send_body(b"x" * 1000)
        await ex.send_body(END, more=False)
        await settled()
        assert 1 <= ex.received <= 2
        proceed.set()
        assert (await ex.wait()).status == 204
    assert app.result == 50_004


class Echo(App):
    """Streams back what streams in."""

    closed = False

    async def index(self, file: UploadedFile, after: str = "") -> AsyncIterator[bytes]:
        async for chunk in file:
            yield chunk

    async def alone(self, file: UploadedFile) -> AsyncIterator[bytes]:
        try:
            async for chunk in file:
                yield chunk.upper()
        except ConnectionClosed:
            self.closed = True
            raise

    async def returned(self, file: UploadedFile) -> Any:
        return (200, self.alone(file), {"content-type": file.content_type})

    def plain(self, file: UploadedFile) -> Iterator[bytes]:
        while chunk := file.file.read(100_000):
            yield chunk


@pytest.mark.parametrize("path", ["/alone", "/returned"])
@pytest.mark.parametrize("leaves", [False, True])
async def test_response_streams_a_streamed_file_until_its_end_or_the_client_leaves(
    path: str, leaves: bool
) -> None:
    app = Echo()
    async with half_sent(app, path=path) as ex:
        assert await ex.next_chunk() == b"HALF"
        await ex.send_body(b"-half")
        assert await ex.next_chunk() == b"-HALF"
        await (ex.disconnect() if leaves else ex.send_body(END, more=False))
        response = await ex.wait()
    assert (response.body, response.complete, app.closed) == (b"HALF-HALF", not leaves, leaves)


@pytest.mark.parametrize("size", [7, 2 * MIB])
@pytest.mark.parametrize("path", ["/", "/plain"])
async def test_response_can_stream_a_spooled_file(path: str, size: int) -> None:
    assert (
        await post(Echo(), path, multipart=[file(b"x" * size), ("after", "x")])
    ).body == b"x" * size


@pytest.mark.parametrize("path", ["/", "/one", "/plain"])
async def test_form_is_parsed_after_a_middleware_read_the_raw_body(path: str) -> None:
    """As it does to check a signature; the handler gets its form all the same."""

    class Signature(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            saw.append(await request.body())

        async def after_request(self, *_: Any) -> None:
            pass

    saw: list[bytes] = []
    app = Root()
    app.middlewares.append(Signature())
    response = await post(app, path, multipart=[file(b"x"), ("a", "1")], chunk_size=50)
    assert saw == [encode_multipart([file(b"x"), ("a", "1")])]
    assert response.status == 200


async def test_body_after_a_parsed_multipart_form_raises_runtime_error() -> None:
    class Late(App):
        async def index(self) -> str:
            with pytest.raises(RuntimeError):
                await self.request.body()
            return str(self.request.form("a"))

    assert (await post(Late(), multipart=[("a", "1")])).text == "1"


BLOCK = b"x" * 2**16


def endless_file(size: int, then: bytes = END) -> Callable[[], Any]:
    """A client that sends a form with a file of `size` bytes, and keeps none of it in memory."""

    def messages() -> Iterator[bytes]:
        yield HEAD
        for _ in range(size // len(BLOCK)):
            yield BLOCK
        yield then

    pieces = messages()

    async def receive() -> dict[str, Any]:
        piece = next(pieces)
        return {"type": "http.request", "body": piece, "more_body": piece != then}

    return receive


AFTER = b"\r\n" + encode_multipart([("after", "x")])


@pytest.mark.parametrize("then", [END, AFTER], ids=["last", "first"])
@pytest.mark.parametrize("path", ["read", "spooled", "nobody", "plain", "unread"])
async def test_upload_of_24_mib_takes_less_than_5_mib_of_memory(path: str, then: bytes) -> None:
    class Measure(App):
        async def read(self, file: UploadedFile) -> int:
            return sum([len(chunk) async for chunk in file])

        async def spooled(self, file: UploadedFile, after: str = "") -> int:
            return sum([len(chunk) async for chunk in file])

        async def nobody(self) -> int:
            return 24 * MIB

        def plain(self, file: UploadedFile) -> int:
            return file.file.seek(0, os.SEEK_END)

        async def unread(self, file: UploadedFile) -> int:
            return 24 * MIB

    app = Measure(max_body_size=None, max_upload_size=None)
    await post(app, f"/{path}", headers=MULTIPART, receive=endless_file(2 * MIB, then))
    tracemalloc.start()
    try:
        response = await post(
            app, f"/{path}", headers=MULTIPART, receive=endless_file(24 * MIB, then)
        )
        assert response.json() == 24 * MIB
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()


async def test_cancelled_reads_of_a_file_on_disk_lose_nothing() -> None:
    async def impatient(upload: UploadedFile) -> bytes:
        for _ in range(5):
            task = asyncio.create_task(upload["content"].get())
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
        return await upload.read()

    app = Spooled(impatient)
    content = os.urandom(2 * MIB)
    await post(app, multipart=[file(content)])
    assert app.result == content


@pytest.mark.parametrize("path", ["/spooled", "/plain"])
async def test_spooled_file_larger_than_1_mib_is_on_disk(path: str) -> None:
    class Disk(App):
        async def spooled(self, file: UploadedFile, after: str = "") -> int:
            return os.fstat(file.file.fileno()).st_size

        def plain(self, file: UploadedFile) -> int:
            return os.fstat(file.file.fileno()).st_size

    assert (await post(Disk(), path, multipart=[file(b"x" * (MIB + 1))])).json() == MIB + 1


async def test_spooled_file_on_disk_has_no_name_and_only_its_user_can_open_it() -> None:
    class Disk(App):
        async def index(self, file: UploadedFile, after: str = "") -> list[int]:
            status = os.fstat(file.file.fileno())
            return [status.st_nlink, status.st_mode & 0o077]

    links = int(sys.platform == "emscripten")  # whose file system does not count them
    assert (await post(Disk(), "/", multipart=[file(b"x" * (MIB + 1))])).json() == [links, 0]


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="open files are counted by /proc")
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "cut off"])
@pytest.mark.parametrize("path", ["/", "/plain", "/missing", "/one"])
async def test_files_are_closed_at_the_end_of_the_request(path: str, cut: bool) -> None:
    app = Root()
    body = encode_multipart([file(b"x" * 2 * MIB, "other"), file(b"y" * 2 * MIB)])
    pieces = [body[start : start + MIB] for start in range(0, len(body), MIB)]
    leave = len(pieces) - 1 if cut else None
    await post(app, path, headers=MULTIPART, body=pieces, disconnect_after=leave)
    before = open_files()
    for _ in range(3):
        await post(app, path, headers=MULTIPART, body=pieces, disconnect_after=leave)
    assert open_files() == before


# --- Handlers that do not read, clients that leave ------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status"), [(None, 204), (HTTPError(403), 403), (RuntimeError("broken"), 500)]
)
@pytest.mark.parametrize("reads", [0, 1])
async def test_handler_that_leaves_its_file_unread_is_answered(
    error: Any, status: int, reads: int
) -> None:
    async def early(upload: UploadedFile) -> None:
        for _ in range(reads):
            await upload["content"].get()
        if error is not None:
            raise error

    parts = [file(b"x" * 300_000), ("after", "x")]
    assert (await post(Streams(early), multipart=parts, chunk_size=1000)).status == status


async def test_files_that_no_parameter_takes_do_not_block() -> None:
    class Ignores(App):
        async def index(self, after: str) -> str:
            return after

    parts = [
        file(b"x" * 2 * MIB),
        file(b"y" * 300_000, "other"),
        file(b"z", "third"),
        ("after", "x"),
    ]
    assert (await post(Ignores(), multipart=parts, chunk_size=100_000)).text == "x"


@pytest.mark.parametrize("after", [1, 2])
@ways
async def test_upload_that_is_cut_off_raises_connection_closed(
    way: Way, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = Streams(way)
    pieces = [HEAD + b"half", b"-half", END]
    response = await post(app, headers=MULTIPART, body=pieces, disconnect_after=after)
    assert isinstance(app.error, ConnectionClosed)
    assert response.status is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/nothing", "/plain", "/many"])
async def test_no_handler_runs_on_a_form_that_is_cut_off(path: str) -> None:
    app = Starts()
    response = await post(
        app, path, headers=MULTIPART, body=[HEAD + b"half", END], disconnect_after=1
    )
    assert (response.status, app.started.is_set()) == (None, False)


@pytest.mark.parametrize(
    ("last", "error"),
    [(None, ConnectionClosed), (b"", HTTPError), (f"\r\n--{BOUNDARY}x".encode(), HTTPError)],
    ids=["cut off", "no end", "malformed"],
)
async def test_broken_file_raises_again_at_each_further_read(
    last: bytes | None, error: type[Exception]
) -> None:
    async def stubborn(upload: UploadedFile) -> None:
        assert await upload["content"].get() == b"half"
        for _ in range(3):
            with pytest.raises(error):
                await upload["content"].get()
        with pytest.raises(RuntimeError):
            await upload.read()
        raise error(400) if error is HTTPError else error()

    app = Streams(stubborn)
    pieces = [HEAD + b"half", last or b""]
    leave = 1 if last is None else None
    response = await post(app, headers=MULTIPART, body=pieces, disconnect_after=leave)
    assert type(app.error) is error, app.error
    assert response.status == (None if last is None else 400)


@pytest.mark.parametrize(
    "last",
    [
        b"",
        f"\r\n--{BOUNDARY}x".encode(),
        f"\r\n--{BOUNDARY}\r\nno head\r\n\r\n".encode(),
        b"\r\n" + encode_multipart([("after", "x")])[: -len(END)],
    ],
    ids=["no end", "bad boundary", "bad head", "no end of a later field"],
)
async def test_form_that_turns_out_malformed_in_or_after_a_streamed_file_is_400(
    last: bytes,
) -> None:
    for pieces in ([HEAD + b"half", last], [HEAD + b"half" + last]):
        assert (await post(Root(), "/plain", headers=MULTIPART, body=pieces)).status == 400


async def test_client_that_falls_silent_in_a_streamed_file_gets_408() -> None:
    app = Streams(Ways.read, body_timeout=0.02)
    async with half_sent(app) as ex:
        assert (await ex.wait()).status == 408
    assert isinstance(app.error, HTTPError) and app.error.status == 408


async def test_handler_that_reads_a_file_slowly_is_no_408() -> None:
    async def slow(upload: UploadedFile) -> int:
        size = 0
        async for chunk in upload:
            await elapse(0.03)
            size += len(chunk)
        return size

    app = Streams(slow, body_timeout=0.02)
    assert (await post(app, multipart=[file(b"x" * 3000)], chunk_size=1000)).status == 204
    assert app.result == 3000


@both
async def test_save_of_a_cancelled_request_leaves_nothing_behind(
    kind: type[Streams], tmp_path: Path
) -> None:
    """A forced shutdown in the middle of `save`."""
    async with half_sent(kind(lambda upload: upload.save(tmp_path / "x"))) as ex:
        await settled()
        ex.cancel()
        await ex.wait()
    assert list(tmp_path.iterdir()) == []


async def test_full_disk_is_a_500_and_no_more_when_the_file_is_closed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rest of the file is still in the buffer, so closing the file fails, too."""
    resource = pytest.importorskip("resource", reason="Needs the module resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    form = encode_multipart([file(b"x" * 2 * MIB)])
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB // 2, hard))
    try:
        pieces = [form[start : start + 1000] for start in range(0, len(form), 1000)]
        response = await post(Root(), "/plain", headers=MULTIPART, body=pieces)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_logged_500(response, caplog)
    assert "OSError" in caplog.text


async def test_request_that_is_cancelled_twice_closes_its_temporary_files() -> None:
    kept: list[Any] = []
    closing = asyncio.Event()

    class SlowToClose(UnreadStream):
        async def aclose(self) -> None:
            closing.set()
            await elapse(1)

    class Takes(App):
        async def index(self, file: UploadedFile, late: str = "") -> Any:
            kept.append(file.file)
            return SlowToClose()

    form = encode_multipart([file(b"x" * 2 * MIB)])
    async with exchange(Takes(), "POST", headers=MULTIPART, body=form) as ex:
        ex.hold()
        await ex.next_message()
        ex.cancel()
        await closing.wait()
        ex.cancel()
    assert kept[0].closed


@both
@pytest.mark.parametrize("moment", ["before", "during", "after"])
async def test_save_cancelled_around_any_call_of_a_thread_leaves_the_whole_file_or_nothing(
    kind: type[Streams], moment: str, tmp_path: Path
) -> None:
    """Cancel the request at its first call of a worker thread, then at the second, and so on."""
    content = b"x" * (MIB + 1)
    loop: Any = asyncio.get_running_loop()
    in_thread = loop.run_in_executor
    calls, last = 1, 0

    async def cancel() -> None:
        ex.cancel()

    def cancel_and_call(function: Callable[..., Any], *args: Any) -> Any:
        asyncio.run_coroutine_threadsafe(cancel(), loop).result(20)
        return function(*args)

    def run_in_executor(executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == last and moment == "during":
            return in_thread(executor, cancel_and_call, function, *args)
        if calls == last and moment == "before":
            ex.cancel()
        future = in_thread(executor, function, *args)
        if calls == last and moment == "after":
            future.add_done_callback(lambda _: ex.cancel())
        return future

    loop.run_in_executor = run_in_executor
    while calls >= last:
        calls, last = 0, last + 1
        app = kind(lambda upload: upload.save(tmp_path / "x"))
        async with exchange(
            app, "POST", headers=MULTIPART, body=encode_multipart([file(content)])
        ) as ex:
            response = await ex.wait()
        names = [entry.name for entry in tmp_path.iterdir()]
        assert names in ([], ["x"])
        if names:
            assert (tmp_path / "x").read_bytes() == content
            (tmp_path / "x").unlink()
    assert (response.status, names) == (204, ["x"]), "the last one was not cancelled"
    assert last > 2
    gc.collect()  # a file that was left open is a ResourceWarning, and that an error


async def test_streamed_file_raises_connection_closed_after_its_request() -> None:
    kept: list[UploadedFile] = []

    class Keeps(App):
        async def index(self, file: UploadedFile) -> None:
            kept.append(file)

    async with half_sent(Keeps(body_timeout=0.02)) as ex:
        await ex.wait()
        received = ex.received
        await ex.send_body(b"-half")
        with pytest.raises(ConnectionClosed):
            while await kept[0]["content"].get():
                pass
        assert ex.received == received


async def test_idle_upload_wakes_the_loop_fewer_than_ten_times_in_20_seconds() -> None:
    async with half_sent(Streams(Ways.read)) as ex:
        await settled()
        loop: Any = asyncio.get_running_loop()
        calls = 0

        def counted(method: Any) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal calls
                calls += 1
                return method(*args, **options)

            return call

        loop.call_soon, loop.call_at = counted(loop.call_soon), counted(loop.call_at)
        await elapse(20)
        assert 1 <= calls < 10
        await ex.send_body(END, more=False)
        assert (await ex.wait()).status == 204


# --- Limits ---------------------------------------------------------------------------------------


def framed(size: int, after: Iterable[Part] = ()) -> list[Part]:
    """A form with a file and what comes after it, of `size` bytes in all, framing included."""
    return [file(b"x" * (size - len(encode_multipart([file(b""), *after])))), *after]


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize("other", [500, 5000])
@pytest.mark.parametrize(("limit", "status"), [(1000, 204), (999, 413), (None, 204)])
async def test_streamed_file_counts_against_max_upload_size_alone(
    limit: int | None, status: int, other: int, announced: bool
) -> None:
    app = Streams(Ways.read, max_body_size=other, max_upload_size=limit)
    headers = MULTIPART if not announced else MULTIPART[:1]
    response = await post(app, multipart=framed(1000), headers=headers, chunk_size=100)
    assert response.status == status


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize(
    ("body_limit", "upload_limit", "status"),
    [
        (1000, 1000, 204),
        (999, 1000, 413),
        (1000, 999, 413),
        (None, 1000, 204),
        (None, 999, 413),
        (1000, None, 204),
        (999, None, 413),
        (None, None, 204),
        (5000, 999, 413),
        (999, 5000, 413),
    ],
)
@pytest.mark.parametrize(
    ("path", "after"),
    [
        ("/optional", []),
        ("/rest", []),
        ("/many", []),
        ("/nothing", []),
        ("/plain", []),
        ("/reverse", [TITLE]),
    ],
)
async def test_spooled_file_counts_against_the_smaller_of_max_body_size_and_max_upload_size(
    path: str,
    after: list[Part],
    body_limit: int | None,
    upload_limit: int | None,
    status: int,
    announced: bool,
) -> None:
    app = Starts(max_body_size=body_limit, max_upload_size=upload_limit)
    headers = MULTIPART if not announced else MULTIPART[:1]
    response = await post(app, path, multipart=framed(1000, after), headers=headers, chunk_size=100)
    assert response.status == status
    assert app.started.is_set() == (status == 204)


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
@pytest.mark.parametrize("path", ["/nothing", "/optional", "/plain"])
@pytest.mark.parametrize(("limit", "status"), [(1000, 204), (999, 413)])
async def test_form_without_a_file_counts_against_max_upload_size_too(
    limit: int, status: int, path: str, announced: bool
) -> None:
    class Fields(App):
        async def nothing(self) -> None: ...

        async def optional(self, file: UploadedFile | None = None) -> None: ...

        def plain(self) -> None: ...

    fields: list[Part] = [("a", "x" * (1000 - len(encode_multipart([("a", "")]))))]
    headers = MULTIPART if not announced else MULTIPART[:1]
    response = await post(
        Fields(max_upload_size=limit), path, multipart=fields, headers=headers, chunk_size=100
    )
    assert response.status == status


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("kind", ["field", "file"])
async def test_parts_beside_a_streamed_file_count_against_max_body_size(
    kind: str, order: str
) -> None:
    other: Part = ("more", "x" * 1000) if kind == "field" else file(b"x" * 1000, "other")
    parts = [other, file(b"y" * 3000)] if order == "before" else [file(b"y" * 3000), other]
    for limit, status in ((1500, 204), (900, 413)):
        app = Streams(Ways.read, max_body_size=limit, max_upload_size=10_000)
        assert (
            await post(app, multipart=parts, headers=MULTIPART, chunk_size=100)
        ).status == status


async def test_content_length_past_the_limit_of_a_form_is_413_before_anything_is_read() -> None:
    receive = scripted(AssertionError("nothing must be read"))
    headers = [*MULTIPART[:1], ("content-length", "2001"), ("expect", "100-continue")]
    app = Starts(max_body_size=1000, max_upload_size=2000)
    assert (await post(app, "/alone", headers=headers, receive=receive)).status == 413
    headers[1] = ("content-length", "1001")
    for path in ("/nothing", "/plain", "/many"):
        assert (await post(app, path, headers=headers, receive=receive)).status == 413


@pytest.mark.parametrize(("size", "status"), [(MIB, 200), (MIB + 1, 413)])
async def test_text_field_has_at_most_1_mib_by_default(size: int, status: int) -> None:
    assert (await post(Root(), multipart=[("a", "x" * size)], chunk_size=100_000)).status == status


@pytest.mark.parametrize(("limit", "status"), [(100, 200), (99, 413), (0, 413), (None, 200)])
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("path", ["/", "/one"])
async def test_field_past_max_form_field_size_is_413(
    path: str, order: str, limit: int | None, status: int
) -> None:
    parts: list[Part] = [("a", "x" * 100), file(b"x" * 200)]
    app = Root(max_form_field_size=limit)
    ordered = parts if order == "before" else parts[::-1]
    assert (await post(app, path, multipart=ordered, chunk_size=30)).status == status


@pytest.mark.parametrize(("count", "status"), [(7, 200), (8, 413)])
async def test_part_has_at_most_8_headers(count: int, status: int) -> None:
    lines = "".join(f"X-{number}: 1\r\n" for number in range(count))
    response = await send_raw(Root(), raw_part(f"{lines}Content-Disposition: form-data; name=p"))
    assert response.status == status
    assert status == 200 or response.text.endswith(": more than 8 headers per part")


@pytest.mark.parametrize("chunk_size", [None, 100])
@pytest.mark.parametrize(("size", "status"), [(4000, 200), (4097, 413), (100_000, 413)])
async def test_header_of_a_part_has_at_most_4_kib(
    size: int, status: int, chunk_size: int | None
) -> None:
    body = raw_part(f"X-Long: {'x' * (size - 8)}\r\nContent-Disposition: form-data; name=p")
    response = await send_raw(Root(), body, chunk_size=chunk_size)
    assert response.status == status
    assert status == 200 or response.text.endswith(": more than 4096 bytes per part header")


@pytest.mark.parametrize(
    "parameter",
    ['x="' + '\\"' * 1950 + end for end in ("", "\\")]
    + ['x="' + "\\" * 3900, "x=" + '"' * 3900, ";" * 3900, "filename*" * 400],
)
async def test_hostile_header_of_a_part_takes_no_more_time_than_a_hundred_plain_ones(
    parameter: str,
) -> None:
    """A thousand parts with a hostile header each must not block the loop for minutes."""

    async def seconds(parameter: str) -> float:
        parts = (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=p; {parameter}\r\n\r\n\r\n" * 20
        )
        began = time.process_time()
        assert (await send_raw(Root(), f"{parts}--{BOUNDARY}--\r\n".encode())).status == 200
        return time.process_time() - began

    plain = 'x="' + "y" * 3900 + '"'
    await seconds(plain)
    assert await seconds(parameter) < 100 * await seconds(plain)


async def test_header_of_a_part_that_never_ends_is_413() -> None:
    body = [f"--{BOUNDARY}\r\nX-Long: ".encode(), *[b"x" * 1000] * 20]
    assert (await post(Root(), headers=MULTIPART, body=body)).status == 413


FIELD: Part = ("a", "x")
EMPTY: list[Part] = [FIELD, file(b"", "b"), ("c", ""), ("d", "", None, b"")]


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param([FIELD] * 1000, 200, id="1000 fields"),
        pytest.param([FIELD] * 1001, 413, id="1001 fields"),
        pytest.param([FIELD] * 500 + [file(b"")] * 500, 200, id="500 fields, 500 files"),
        pytest.param([FIELD] * 500 + [file(b"")] * 501, 413, id="500 fields, 501 files"),
        pytest.param([file(b"")] * 1001, 413, id="1001 files"),
        pytest.param(EMPTY * 250, 200, id="1000 parts, empty ones among them"),
        pytest.param(EMPTY * 250 + [FIELD], 413, id="1001 parts, empty ones among them"),
    ],
)
async def test_form_has_at_most_1000_parts_files_and_empty_ones_included(
    parts: list[Part], status: int
) -> None:
    response = await post(Root(), multipart=parts)
    assert response.status == status
    assert status == 200 or response.text.endswith(": more than 1000 fields")


# --- _parse_multipart -----------------------------------------------------------------------------


def parse(body: bytes, app: App | None = None) -> Any:
    reader = asyncio.StreamReader()
    reader.feed_data(body)
    reader.feed_eof()
    return (app or App())._parse_multipart(reader, BOUNDARY.encode())


async def test_parse_multipart_gives_fields_and_files() -> None:
    parts = [
        ("a", "1"),
        file(b"x", filename="../x.txt", kind="text/plain"),
        ("b", ""),
        ("a", "é"),
        file(b"y", "other"),
    ]
    form_data, files = await parse(encode_multipart(parts))
    assert form_data == {"a": ["1", "é"], "b": [""]}
    assert set(files) == {"file", "other"}
    assert all(
        isinstance(each, dict) and set(each) == {"filename", "content_type", "content"}
        for each in files.values()
    )
    assert [(each["filename"], each["content_type"]) for each in files.values()] == [
        ("x.txt", "text/plain"),
        ("x.bin", "application/octet-stream"),
    ]
    assert [await Ways.queue(each) for each in files.values()] == [b"x", b"y"]
    assert await parse(encode_multipart([])) == ({}, {})


@pytest.mark.parametrize("size", [0, 100_000, MIB, 3 * MIB])
async def test_parse_multipart_takes_files_of_any_size(size: int) -> None:
    _, files = await parse(encode_multipart([file(b"x" * size), ("after", "x")]))
    assert await Ways.queue(files["file"]) == b"x" * size
    assert await files["file"]["content"].get() is None


async def test_parse_multipart_waits_for_the_rest() -> None:
    reader = asyncio.StreamReader()
    parsing = asyncio.create_task(App()._parse_multipart(reader, BOUNDARY.encode()))
    for byte in encode_multipart([("a", "1"), file(b"x")]):
        reader.feed_data(bytes([byte]))
        await asyncio.sleep(0)
    reader.feed_eof()
    form_data, files = await parsing
    assert (form_data, await Ways.queue(files["file"])) == ({"a": ["1"]}, b"x")


FORM = encode_multipart([("a", "x" * 100), file(b"x" * 100)])


@pytest.mark.parametrize(
    ("body", "limits", "status"),
    [
        pytest.param(b"", {}, 400, id="nothing"),
        pytest.param(b"text", {}, 400, id="no form"),
        pytest.param(FORM[:-4], {}, 400, id="no end"),
        pytest.param(encode_multipart([("a", b"\xff")]), {}, 400, id="no UTF-8"),
        pytest.param(encode_multipart([("a", "x" * (MIB + 1))]), {}, 413, id="a long field"),
        pytest.param(encode_multipart([("a", "")] * 1001), {}, 413, id="many fields"),
        pytest.param(FORM, {"max_form_field_size": 99}, 413, id="a field past the app's limit"),
        pytest.param(FORM, {"max_body_size": 150}, 413, id="a form past the app's limit"),
    ],
)
async def test_parse_multipart_refuses(body: bytes, limits: Any, status: int) -> None:
    with pytest.raises(HTTPError) as caught:
        await parse(body, App(**limits))
    assert caught.value.status == status


async def test_parse_multipart_in_a_handler_parses_the_streamed_body() -> None:
    class Own(App):
        async def index(self) -> list[Any]:
            reader = asyncio.StreamReader()
            async for chunk in self.request.stream():
                reader.feed_data(chunk)
            reader.feed_eof()
            form_data, files = await self._parse_multipart(reader, BOUNDARY.encode())
            return [form_data, (await Ways.queue(files["file"])).decode()]

    headers = [("content-type", "multipart/mixed"), ("transfer-encoding", "chunked")]
    body = encode_multipart([("a", "1"), file(b"x")])
    assert (await post(Own(), headers=headers, body=body)).json() == [{"a": ["1"]}, "x"]


async def test_uploaded_file_made_by_hand_is_read_from_any_queue() -> None:
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()
    for piece in (b"a", b"b", None):
        queue.put_nowait(piece)
    upload = UploadedFile("x.txt", "text/plain", queue)
    assert (upload.filename, upload.content_type, await upload.read()) == (
        "x.txt",
        "text/plain",
        b"ab",
    )
    assert Request({"type": "http"}).files == {}


async def test_folded_lines_of_headers_count_as_fields() -> None:
    """The parser reads the whole header again for each of them."""

    class Root(App):
        async def index(self, **fields: str) -> int:
            return len(fields)

    def form(lines: int) -> bytes:
        folded = b"X-A: b" + b"\r\n c" * lines
        head = b'--%s\r\nContent-Disposition: form-data; name="%d"\r\n%s\r\n\r\nx\r\n'
        boundary = BOUNDARY.encode()
        return b"".join(head % (boundary, n, folded) for n in range(2)) + b"--%s--" % boundary

    assert (await post(Root(), headers=MULTIPART, body=form(10))).text == "2"
    refused = await post(Root(), headers=MULTIPART, body=form(1000))
    assert (refused.status, refused.text) == (413, "413 Content Too Large: more than 1000 fields")


@pytest.mark.parametrize("streams", [True, False])
async def test_a_401_of_from_session_comes_before_a_byte_of_the_form_is_read(streams: bool) -> None:
    class Root(App):
        async def streamed(self, file: UploadedFile, *, user: FromSession) -> None: ...

        def kept(self, file: UploadedFile, *, user: FromSession) -> None: ...

    asked = 0

    async def receive() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    headers = [(b"content-type", MULTIPART[0][1].encode()), (b"content-length", b"50000000")]
    headers.append((b"expect", b"100-continue"))
    path = "/streamed" if streams else "/kept"
    app = Root(max_body_size=None)
    start, _ = await call(app, receive, method="POST", path=path, headers=headers)
    assert (start["status"], asked) == (401, 0)


@pytest.mark.parametrize("rest", [b"", b"\r\n--nothing"])
async def test_a_loop_that_asks_a_file_again_and_again_lets_others_run(rest: bytes) -> None:
    turns = 0

    class Root(App):
        async def index(self, file: UploadedFile) -> None:
            while turns < 5:
                with contextlib.suppress(Exception):
                    await file["content"].get()

    body = head('name="file"; filename="a.txt"') + b"x" * 100 + rest
    async with exchange(Root(), "POST", headers=MULTIPART) as ex:
        await ex.send_body(body, more=False)
        for turns in range(6):  # noqa: B007
            await asyncio.sleep(0)
