"""Cookies, lengths, media types, and the headers that say where a request comes from."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from micropie import App, InMemorySessionBackend, Request
from tests.asgi import request, run
from tests.fuzz.inputs import Input, ask, logged, target

HEADERS = (b"cookie", b"accept", b"last-event-id", b"x-a", b"content-type")


@target(b"cookie", b"\n", b": ", b", ", b"; ", b"\xff")
def header_map(data: bytes) -> None:
    """Each header is there in any letter case, its values joined in their order, byte for byte."""
    given, sent = Input(data), []
    while not given.is_empty and len(sent) < 50:
        sent.append((given.one_of(HEADERS).lower(), given.some()))
    seen = Request({"type": "http", "headers": sent}).headers
    for name, _ in sent:
        lines = [value for other, value in sent if other == name]
        glue = b"; " if name == b"cookie" else b", "
        decoded = name.decode("latin-1")
        # Some letters beyond ASCII have no lower case of one byte: a server sends tokens alone.
        if re.fullmatch(rb"[!-~]+", name):
            for spelled in (decoded, decoded.upper(), decoded.title()):
                assert seen[spelled].encode("latin-1") == glue.join(lines)


@target(b"=", b";", b"; ", b'"', b"a=b", b"session_id=", b"\t", b"%3B", b",")
def cookies(data: bytes) -> None:
    """Cookies are what a pattern finds in the header, and of each name the first."""
    expected: dict[str, str] = {}
    for pair in data.decode("latin-1").split(";"):
        found = re.fullmatch(r"(?s)[ \t]*([^=]*?)[ \t]*=[ \t]*(.*?)[ \t]*", pair)
        if found and found[1]:
            expected.setdefault(found[1], found[2])
    assert Request({"type": "http", "headers": [(b"cookie", data)]}).cookies == expected


class _Recording(InMemorySessionBackend):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    async def load(self, session_id: str) -> Any:
        self.asked.append(session_id)
        return await super().load(session_id)


class _Login(App):
    async def index(self) -> str:
        self.request.session["user"] = "ada"
        return "welcome"

    async def who(self) -> str:
        return str(self.request.session.get("user", ""))


PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


@target(b"session_id=", b";", b"; session_id=", b"x" * 43, b"%00", b"__Host-", b" ", b"=")
def session_ids(data: bytes) -> None:
    """At most four well-formed ids reach the backend, and none of them is adopted."""
    given = Input(data)
    lines = [(b"cookie", given.some()) for _ in range(given.number(4))]
    lines.append((b"cookie", given.rest()))
    backend = _Recording()
    response = ask(_Login(backend), headers=lines)
    joined = b"; ".join(value for _, value in lines).decode("latin-1")
    assert len(backend.asked) <= 4
    assert all(PLAIN_ID.fullmatch(one) and one in joined for one in backend.asked)
    new = response.cookies["session_id"]
    assert len(new) == 43 and new not in joined


@target(b"0", b"5", b"+5", b"-1", b"1_0", b"\xb2", b"5, 5", b"chunked", b"9" * 18, b" 5")
def content_length(data: bytes) -> None:
    """A length is ASCII digits, at most 18, and if there are several they are the same."""

    class Reader(App):
        async def index(self) -> bytes:
            return await self.request.body()

    given = Input(data)
    values = [given.some(30) for _ in range(given.number(3))]
    values.append(given.rest())
    sent = [(b"content-length", value) for value in values]
    response = ask(Reader(), "POST", headers=sent, body=b"")
    known = [value for value in values if value]
    if all(re.fullmatch(rb"[0-9]{1,18}", value) for value in known) and (
        len({int(value) for value in known}) < 2
    ):
        is_large = bool(known) and int(known[0]) > 16 * 2**20
        assert response.status == (413 if is_large else 200), response
    else:
        assert response.status == 400, response


class _Kinds(App):
    async def index(self) -> Any:
        found = self.request
        return {"json": found.get_json != {}, "form": "a" in found.body_params}


@target(b"application/json", b"+json", b";", b"text/plain; ", b"multipart/form-data; boundary=")
def content_type(data: bytes) -> None:
    """Only the media type itself decides what a body is, never its parameters."""
    given = Input(data)
    body = given.pick([b'{"a":1}', b"a=1", b"--b\r\n\r\n\r\n--b--\r\n", b""])
    sent = [(b"content-type", given.rest())] + given.pick([[], [(b"content-type", b"text/x")]])
    response = ask(_Kinds(), "POST", headers=sent, body=body)
    media_type = sent[0][1].partition(b";")[0].strip().lower() if len(sent) == 1 else b""
    is_json = media_type == b"application/json" or media_type.endswith(b"+json")
    if response.status == 200:
        assert is_json or not response.json()["json"]
        assert is_json or b"urlencoded" in media_type or not response.json()["form"]
    else:
        assert response.status == 400 and (is_json or b"multipart" in media_type), response


NAMES = (b"shop.example", b"shop.example:80", b"shop.example:8000", b"evil.example", b"[::1]:443")
ORIGINS = tuple(b"https://" + name for name in NAMES) + (b"null", b"", b"https://friend.example")


def _place(text: str) -> tuple[str | None, int | None]:
    """Return a host and a port, of which both defaults count as none."""
    found = urlsplit(text)
    port = found.port
    return found.hostname, None if port in (80, 443) else port


@target(b"https://", b"shop.example", b":443", b":80", b"null", b"@", b"same-origin", b"none")
def origin(data: bytes) -> None:
    """A request that another origin's page caused has no session, and saves none."""
    given = Input(data)
    site = given.one_of([b"", b"same-origin", b"none", b"same-site", b"cross-site"])
    host, sender = given.one_of(NAMES), given.one_of(ORIGINS)
    has_origin = given.pick([True, False])
    backend = InMemorySessionBackend()
    app = _Login(backend, allowed_origins=["https://friend.example"])
    run(backend.save("known", {"user": "ada"}, 60))
    sent = [(b"host", host), (b"cookie", b"session_id=known")]
    sent += [(b"sec-fetch-site", site)] if site else []
    sent += [(b"origin", sender)] if has_origin else []
    with logged():
        has_session = run(request(app, "POST", "/who", headers=sent)).text == "ada"
        saves = run(request(app, "POST", "/", headers=sent[:1] + sent[2:])).cookies != {}
    assert has_session == saves
    theirs = sender.decode("latin-1").lower()
    if has_origin and theirs == "https://friend.example":
        assert has_session
    elif site:
        assert has_session == (site in (b"same-origin", b"none"))
    elif not has_origin:
        assert has_session
    elif has_session:  # then the Origin has to name this very host
        try:
            ours = _place("//" + host.decode("latin-1").lower())
            assert "://" in theirs and _place("//" + theirs.partition("://")[2]) == ours
        except ValueError:  # no URL; the two are the same string
            assert host.decode("latin-1").lower() in theirs


def _is_loopback(name: str) -> bool:
    name = re.sub(r":\d*\Z", "", name) if name.startswith("[") or name.count(":") < 2 else name
    name = name.strip("[]").lower()
    if name == "localhost" or re.fullmatch(r"(::ffff:)?127(\.[0-9]{1,3}){3}", name):
        return True
    try:
        found = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


HOSTS = (b"localhost", b"127.0.0.1:8000", b"[::1]", b"shop.example", b"127.0.0.1.evil.example")
PROXY = (b"via", b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-real-ip", b"x-other")


@target(b"localhost", b"127.0.0.1", b"[::1]", b"::ffff:7f00:1", b"http://", b"https://")
def loopback(data: bytes) -> None:
    """The session cookie lacks Secure only for a request straight from this machine."""
    given = Input(data)
    host = given.one_of(HOSTS)
    client = given.pick(["127.0.0.1", "::1", "10.0.0.1", "", "::ffff:127.0.0.1"])
    scope = {
        "scheme": given.pick(["http", "https"]),
        "http_version": given.pick(["1.1", "1.0", "2"]),
        "client": (client, 1) if client else None,
    }
    more = [(given.pick(PROXY), given.some(20))] if given.number(2) else []
    referer = given.one_of([b"", b"http://localhost/a", b"https://localhost/", b"http://evil/"])
    sent = [(b"host", host), *more, *([(b"referer", referer)] if referer else [])]
    response = ask(_Login(), headers=sent, scope=scope)
    if "; Secure" not in (response.header("set-cookie") or ""):
        assert (scope["scheme"], scope["http_version"]) == ("http", "1.1")
        assert _is_loopback(host.decode("latin-1")) and _is_loopback(client), (host, client)
        assert not more or more[0][0] == b"x-other"
        assert not referer or referer.lower().startswith(b"http://")
