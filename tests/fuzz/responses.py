"""Values that a handler sends back: headers, cookies, locations, events."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

from micropie import App, ServerSentEvent, event_stream, set_cookie
from tests.asgi import get, run
from tests.fuzz.inputs import Input, ask, logged, target


class Answering(App):
    answer: Any = None

    async def index(self) -> Any:
        return self.answer(self) if callable(self.answer) else self.answer


@target(b"x-name", b"\r\n", b": ", b"set-cookie", b"content-type", b"\x00", b"\t", b"\xc3\xa9")
def response_header(data: bytes) -> None:
    """A header of a client's text arrives as it is, or the response is a logged 500."""
    given = Input(data)
    name, value = given.text(20), given.rest().decode("utf-8", "replace")
    if name.lower() == "set-cookie":
        return  # `set_cookie` makes these; the client of these tests refuses all others
    app = Answering()
    app.answer = 200, "text", [(name, value)]
    with logged() as records:
        response = run(get(app))
    own = ("content-type", "content-length")
    if response.status == 200:
        sent = [pair for pair in response.headers if pair[0].decode() not in own]
        expected = [(name.lower().encode(), value.strip(" \t").encode("latin-1"))]
        assert sent == ([] if name.lower() in own else expected), sent
    else:
        assert (response.status, response.text) == (500, "500 Internal Server Error")
        assert len(records) == 1


@target(b";", b"=", b'"', b",", b" ", b"\\", b"\r\n", b"/", b"; Domain=", b"__Host-", b"__Secure-")
def cookie(data: bytes) -> None:
    """A cookie comes back as it was set and with no other attribute, or raises a ValueError."""
    given = Input(data)
    name, path, domain = given.text(12), given.text(9), given.text(9)
    value = given.rest().decode("utf-8", "replace")
    try:
        header, sent = set_cookie(name, value, path=path or None, domain=domain or None)
    except ValueError:
        return
    app = Answering()
    app.answer = 200, "text", [(header, sent)]
    response = ask(app)  # the client of these tests checks the attributes
    assert response.cookies == {name: value}
    attributes = [f"Domain={domain}"] * bool(domain) + [f"Path={path}"] * bool(path)
    assert sent.split("; ")[1:] == [*attributes, "HttpOnly", "Secure", "SameSite=Lax"]


@target(b"//", b"\r\n", b"%", b"%0d%0a", b"?a=", b"#", b"\xc3\xa9", b"https://", b"\\", b" ")
def location(data: bytes) -> None:
    """A redirect is ASCII without blanks and controls, and is not encoded twice."""
    app, text = Answering(), data.decode("utf-8", "replace")
    app.answer = lambda app: app._redirect(text)
    response = ask(app)
    sent = response.header("location") or ""
    assert response.status == 302
    assert all("!" <= char <= "~" and char not in '"<>\\^`{|}' for char in sent), sent
    app.answer = lambda app: app._redirect(sent)
    assert (ask(app).header("location") or "") == sent


def events_of(stream: str) -> list[dict[str, str]]:
    """Read an event stream as a browser does (HTML standard, section 9.2.6)."""
    events, fields, lines = [], {"event": "", "id": ""}, []
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if lines:
                events.append({"data": "\n".join(lines), **fields})
            fields, lines = {"event": "", "id": ""}, []
        elif name == "data":
            lines.append(value)
        elif name in ("event", "id"):
            fields[name] = value
    return events


@target(b"\n", b"\r", b"\r\n", b"data: ", b"id: ", b"\n\n", b": ", b"\x00", b"\xe2\x80\xa8")
def event(data: bytes) -> None:
    """An event is read by a browser as it was made, and injects no other one."""
    given = Input(data)
    kind, number = given.text(20), given.text(20)
    text = given.rest().decode("utf-8", "replace")
    made = ServerSentEvent(text, event=kind or None, id=number or None)

    async def source() -> AsyncIterator[ServerSentEvent]:
        yield made
        yield ServerSentEvent("last")

    app = Answering()
    app.answer = lambda app: event_stream(source())
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    kind, number = (re.sub(r"[\r\n\0]+", " ", one) for one in (kind, number))
    first = {"data": lines, "event": kind, "id": number}
    assert events_of(ask(app).text) == [first, {"data": "last", "event": "", "id": ""}]
