"""A small client for checks: it calls an ASGI app in memory, as a visitor with a browser would.

`Visitor.get`, `post` and `request` send one request, `events` opens an event stream, and
`websocket` opens a WebSocket. A visitor keeps cookies. If the app does not answer, or if the
reader's code raises an exception, the client raises `Missing` with the place, so a check need not
look for that.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode

if TYPE_CHECKING:
    from checking import Program

PATIENCE = 20.0  # seconds of the loop's time; they pass at once
BOUNDARY = "the-boundary-of-a-check"
Headers = Mapping[str, str]
Message = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where something is missing: a file, and in it a class, a function or a line."""

    file: str
    name: str = ""
    line: int | None = None

    def __str__(self) -> str:
        return f"`{self.file}`, `{self.name}`" if self.name else f"`{self.file}`"


class Missing(Exception):
    """Something that the reader's files lack, in words, and the place."""

    is_error = False
    """Whether the reader's code raises an exception, rather than leaves something out."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(f"{place}: {text}")
        self.place = place
        self.text = text


class Broken(Missing):
    """An exception of the reader's code, in words, and the place."""

    is_error = True


@dataclass
class Form:
    """A form of a page."""

    action: str
    method: str
    kind: str
    fields: list[dict[str, str]] = field(default_factory=list)
    """The attributes of each field, in order, and its element as `tag`."""
    name: str = ""
    """The id of the form."""

    def has(self, name: str, value: str | None = None) -> bool:
        """Tell if there is a field with this name, and with this value if one is given."""
        return any(
            one.get("name") == name and (value is None or one.get("value") == value)
            for one in self.fields
        )

    def chosen(self, name: str) -> list[str]:
        """Return the values of a field that are checked or selected."""
        return [
            one.get("value", "")
            for one in self.fields
            if one.get("name") == name and ("checked" in one or "selected" in one)
        ]

    def buttons(self) -> list[dict[str, str]]:
        """Return the fields that send the form."""
        kinds = {"button": ("submit", {"submit"}), "input": ("text", {"submit", "image"})}
        return [
            one
            for one in self.fields
            if one["tag"] in kinds
            and (one.get("type") or kinds[one["tag"]][0]).lower() in kinds[one["tag"]][1]
        ]


class _Page(HTMLParser):
    """Collects the forms, the scripts and the visible text of a page. An option is its select's."""

    FIELDS = frozenset({"input", "textarea", "button", "select", "option"})
    HIDDEN = frozenset({"script", "style", "title", "template"})

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.scripts: list[tuple[dict[str, str], str]] = []
        """The attributes and the text of each script."""
        self.text: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self._select = ""
        self._within: Form | None = None
        self._hidden = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.attributes += values.items()
        if tag in self.HIDDEN:
            self._hidden = tag
        if tag == "script":
            self.scripts.append((values, ""))
        elif tag == "form":
            method = values.get("method", "get").lower()
            action, kind = values.get("action", ""), values.get("enctype", "")
            self._within = Form(action, method, kind, name=values.get("id", ""))
            self.forms.append(self._within)
        elif tag in {"meter", "progress"}:
            self.text.append(f" {values.get('value', '')} ")
        elif tag in self.FIELDS:
            self._add_field(tag, values)

    def _add_field(self, tag: str, values: dict[str, str]) -> None:
        if tag == "select":
            self._select = values.get("name", "")
        if tag == "option":
            values["name"] = self._select
        form = self._within
        if "form" in values:  # a field can stand outside of its form
            form = next((one for one in self.forms if one.name == values["form"]), None)
        if form is not None:
            form.fields.append({**values, "tag": tag})

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._within = None
        if tag == self._hidden:
            self._hidden = ""

    def handle_data(self, data: str) -> None:
        if self._hidden == "script":
            attributes, text = self.scripts[-1]
            self.scripts[-1] = attributes, text + data
        elif not self._hidden:
            self.text.append(data)


@dataclass
class Answer:
    """The answer of the app."""

    asked: str
    """The request in words, for example ``POST /vote``."""
    place: Place
    """The handler that should have answered."""
    absent: str = ""
    """The method that should answer, if the app has none of this name."""
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def header(self, name: str) -> str:
        """Return the value of a header, or an empty string."""
        return next((value for key, value in self.headers if key == name), "")

    def json(self) -> Any:
        """Return the body as JSON, or say that it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            self.missing(f"`{self.asked}` must answer with JSON, and it answered {self.shown()}.")

    def page(self) -> _Page:
        """Return what the page has: its forms, its scripts, and its text."""
        parser = _Page()
        parser.feed(self.text)
        parser.close()
        return parser

    def forms(self) -> list[Form]:
        """Return the forms of the page."""
        return self.page().forms

    def visible(self) -> str:
        """Return the text that a visitor sees on the page."""
        return " ".join(" ".join(self.page().text).split())

    def shown(self) -> str:
        """Return the start of the body for a message."""
        text = " ".join(self.text.split())
        return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`" if text else "nothing"

    def missing(self, text: str) -> Any:
        """Say that something is missing, at the handler of this answer."""
        raise Missing(self.place, text)

    def expect(self, status: int | range, text: str) -> "Answer":
        """Say what is missing if the status is another one, and else return this answer."""
        wanted = status if isinstance(status, range) else range(status, status + 1)
        if self.status not in wanted:
            if self.absent:
                path = "" if self.absent == "index" else self.absent
                self.missing(f"Write a method `{self.absent}`, since it answers `/{path}`.")
            self.missing(f"{text} `{self.asked}` answered {_status(self.status)}.")
        return self


def _status(number: int) -> str:
    try:
        return f"{number} {HTTPStatus(number).phrase}"
    except ValueError:
        return str(number)


class Visitor:
    """One visitor with a cookie jar."""

    def __init__(self, program: "Program") -> None:
        self.program = program
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, headers: Headers | None = None) -> Answer:
        """Send a GET."""
        return await self.request("GET", path, headers)

    async def post(
        self,
        path: str,
        *,
        form: Mapping[str, str] | None = None,
        multipart: Sequence[tuple[str, str | tuple[str, bytes]]] | None = None,
        json: Any = None,
        headers: Headers | None = None,
    ) -> Answer:
        """Send a POST.

        Args:
            path: The path, and the query behind a ``?``.
            form: The fields of a form.
            multipart: The fields in their order. A file is a pair, its name and its bytes.
            json: What is sent as JSON.
            headers: More headers.
        """
        body, kind = _encoded(form, multipart, json)
        sent = {"content-type": kind} if kind else {}
        return await self.request("POST", path, {**sent, **(headers or {})}, body)

    async def request(
        self, method: str, path: str, headers: Headers | None = None, body: bytes = b""
    ) -> Answer:
        """Send a request, and wait for the whole answer."""
        exchange = _Exchange(self, method, path, headers, body)
        answer = exchange.answer
        try:
            async with asyncio.timeout(PATIENCE):
                await exchange.run()
        except TimeoutError:
            answer.missing(f"`{answer.asked}` got no answer in {PATIENCE:.0f} seconds.")
        if answer.status == 500:
            self.program.tell_error(answer)
        return answer

    async def fill_in(self, path: str, **fields: str) -> Answer:
        """Load the first page, and send a form, as a browser does."""
        await self.get("/")
        return await self.post(path, form=fields)

    @asynccontextmanager
    async def events(self, path: str) -> AsyncIterator["Events"]:
        """Open an event stream."""
        exchange = _Exchange(self, "GET", path, {"accept": "text/event-stream"}, b"")
        task = asyncio.create_task(exchange.run())
        try:
            yield await _opened(exchange, task)
        finally:
            exchange.leave()
            await asyncio.wait([task], timeout=PATIENCE)
            task.cancel()

    @asynccontextmanager
    async def websocket(self, path: str, headers: Headers | None = None) -> AsyncIterator["Socket"]:
        """Open a WebSocket. `Socket.accepted` tells if the app accepted it."""
        socket = Socket(self, path, headers)
        task = asyncio.create_task(socket.run())
        try:
            await socket.opened()
            yield socket
        finally:
            socket.leave()
            await asyncio.wait([task], timeout=PATIENCE)
            socket.goes_on = not task.done()
            task.cancel()
            self.program.tell_error(None)

    def scope(self, kind: str, path: str, headers: Headers | None) -> Message:
        """Return the scope of a request, with this visitor's cookies."""
        path, _, query = path.partition("?")
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        sent = {
            "host": "127.0.0.1:8000",
            **({"cookie": cookie} if cookie else {}),
            **(headers or {}),
        }
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "ws" if kind == "websocket" else "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 8000),
            "state": dict(self.program.state),
        }

    def keep_cookies(self, headers: list[tuple[str, str]]) -> None:
        """Keep and delete cookies as an answer says."""
        for name, value in headers:
            jar = SimpleCookie()
            with suppress(CookieError):
                jar.load(value if name == "set-cookie" else "")
            for key, morsel in jar.items():
                self.cookies[key] = morsel.value
                if morsel["max-age"] == "0":
                    del self.cookies[key]


def _encoded(
    form: Mapping[str, str] | None,
    multipart: Sequence[tuple[str, str | tuple[str, bytes]]] | None,
    value: Any,
) -> tuple[bytes, str]:
    """Return the body and its type."""
    if form is not None:
        return urlencode(form).encode(), "application/x-www-form-urlencoded"
    if multipart is not None:
        return _parts(multipart), f"multipart/form-data; boundary={BOUNDARY}"
    if value is not None:
        return json.dumps(value).encode(), "application/json"
    return b"", ""


def _parts(fields: Sequence[tuple[str, str | tuple[str, bytes]]]) -> bytes:
    body = b""
    for name, value in fields:
        head = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{name}"'
        content = value.encode() if isinstance(value, str) else value[1]
        if not isinstance(value, str):
            head += f'; filename="{value[0]}"\r\ncontent-type: image/png'
        body += head.encode() + b"\r\n\r\n" + content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


class _Exchange:
    """One request and its answer, piece by piece."""

    def __init__(
        self, visitor: Visitor, method: str, path: str, headers: Headers | None, body: bytes
    ) -> None:
        self.visitor = visitor
        place = visitor.program.handler(path)
        absent = visitor.program.absent(path)
        self.answer = Answer(f"{method} {path}", place, absent)
        length = {"content-length": str(len(body))} if body else {}
        self.scope = {
            **visitor.scope("http", path, {**length, **(headers or {})}),
            "method": method,
        }
        self.pieces: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._body = [body[at : at + 65536] for at in range(0, len(body), 65536)] or [b""]
        self._left = asyncio.Event()

    async def run(self) -> None:
        """Call the app until it returns."""
        try:
            await self.visitor.program.app(self.scope, self._receive, self._send)
        finally:
            self.pieces.put_nowait(None)

    def leave(self) -> None:
        """Go away, as a browser does that closes the page."""
        self._left.set()

    async def _receive(self) -> Message:
        if self._body:
            piece = self._body.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(self._body)}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.answer.status = message["status"]
            self.answer.headers = [
                (name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
            self.visitor.keep_cookies(self.answer.headers)
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self.answer.body += body
            self.pieces.put_nowait(body)
            if not message.get("more_body", False):
                self._left.set()
        await asyncio.sleep(0)


async def _opened(exchange: _Exchange, task: "asyncio.Task[None]") -> "Events":
    """Wait for the start of a stream."""
    answer = exchange.answer
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            first = await exchange.pieces.get()
            if first is not None:
                exchange.pieces.put_nowait(first)
    if answer.status == 500:
        exchange.visitor.program.tell_error(answer)
    if not answer.status:
        answer.missing(f"`{answer.asked}` got no answer in {PATIENCE:.0f} seconds.")
    return Events(exchange)


class Events:
    """An event stream that is open."""

    def __init__(self, exchange: _Exchange) -> None:
        self.answer = exchange.answer
        self._exchange = exchange
        self._read = 0  # bytes of the body that were read as events

    async def next(self, seconds: float = PATIENCE) -> Any:
        """Return the data of the next event, or None if none comes in this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    found, data = self._take()
                    if found:
                        return data
                    if await self._exchange.pieces.get() is None:
                        self._exchange.pieces.put_nowait(None)
                        break
        self._exchange.visitor.program.tell_error(None)
        return None

    def _take(self) -> tuple[bool, Any]:
        """Take the next whole event from the body; comments are no events."""
        while (end := self.answer.body.find(b"\n\n", self._read)) >= 0:
            lines = self.answer.body[self._read : end].decode().splitlines()
            self._read = end + 2
            data = [line[5:].removeprefix(" ") for line in lines if line.startswith("data:")]
            if data:
                return True, self._decoded("\n".join(data))
        return False, None

    def _decoded(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return self.answer.missing(
                f"The data of an event must be JSON, and it is `{text[:60]}`."
            )


class Socket:
    """A WebSocket of a visitor."""

    def __init__(self, visitor: Visitor, path: str, headers: Headers | None) -> None:
        self.visitor = visitor
        self.place = visitor.program.handler(path, "ws_")
        self.scope = {**visitor.scope("websocket", path, headers), "subprotocols": []}
        self.absent = visitor.program.absent(path, "ws_")
        self.accepted = False
        self.code: int | None = None
        """The close code, if the app has closed it."""
        self.reason = ""
        self.goes_on = False
        """The app has not let go of it, although the visitor has left."""
        self._in: asyncio.Queue[Message] = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})
        self._out: asyncio.Queue[Message] = asyncio.Queue()
        self._answered = asyncio.Event()

    async def run(self) -> None:
        """Call the app until it returns."""
        try:
            await self.visitor.program.app(self.scope, self._in.get, self._send)
        finally:
            self._answered.set()
            self._out.put_nowait({"type": "end"})

    async def opened(self) -> None:
        """Wait until the app has accepted or refused."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._answered.wait()
        except TimeoutError:
            raise Missing(self.place, "The WebSocket is neither accepted nor closed.") from None
        if self.absent and not self.accepted:
            text = (
                f"Write a method `{self.absent}`, since it answers the WebSocket at "
                f"`/{self.absent[3:]}`."
            )
            raise Missing(self.place, text)

    def leave(self) -> None:
        """Close it, as a page does that is closed."""
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1001, "reason": ""})

    def send(self, message: str | bytes) -> None:
        """Send a message."""
        key = "text" if isinstance(message, str) else "bytes"
        self._in.put_nowait({"type": "websocket.receive", key: message})

    async def receive(self, seconds: float = PATIENCE) -> Any:
        """Return the next message, or None if none comes in this time. JSON is read."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                message = await self._out.get()
                if message["type"] == "websocket.send":
                    text = message.get("text") or (message.get("bytes") or b"").decode()
                    with suppress(ValueError):
                        return json.loads(text)
                    return text
                self._out.put_nowait(message)
        self.visitor.program.tell_error(None)
        return None

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.accept":
            self.accepted = True
        if message["type"] == "websocket.close":
            self.code, self.reason = message.get("code", 1000), message.get("reason") or ""
            self.leave()
        self._answered.set()
        if message["type"] != "websocket.accept":
            self._out.put_nowait(message)
        await asyncio.sleep(0)
