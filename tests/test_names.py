"""The names and signatures that stay: what an app written for the documented API relies on."""

from __future__ import annotations

import asyncio
import contextvars
import importlib.metadata
import inspect
import re
import typing
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import micropie
from micropie import App
from tests.asgi import BOUNDARY, encode_multipart, get, lifespan, request, run, websocket

PUBLIC = {
    "App",
    "ConnectionClosed",
    "FromSession",
    "HTTPError",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "Request",
    "SESSION_TIMEOUT",
    "ServerSentEvent",
    "SessionBackend",
    "UploadedFile",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "__version__",
    "current_request",
    "delete_cookie",
    "event_stream",
    "methods",
    "set_cookie",
}

ATTRIBUTES = {
    "env",
    "middlewares",
    "mounts",
    "request",
    "session_backend",
    "shutdown_handlers",
    "startup_handlers",
    "ws_middlewares",
}

COOKIE = "max_age=None, path='/', domain=None, secure=True, httponly=True, samesite='Lax'"

# As they stand in the documentation; annotations and the `self` of methods left out.
SIGNATURES = {
    "App": "(session_backend=None, *, debug=False, session_timeout=28800, session_cookie_secure=None, "
    "session_cookie_path=None, allowed_origins=(), max_body_size=16777216, max_upload_size=16777216, "
    "max_form_field_size=1048576, body_timeout=30.0)",
    "App.__call__": "(scope, receive, send)",
    "App._asgi_app_http": "(scope, receive, send)",
    "App._asgi_app_lifespan": "(receive, send)",
    "App._asgi_app_websocket": "(scope, receive, send)",
    "App._parse_cookies": "(cookie_header)",
    "App._parse_multipart": "(reader, boundary)",
    "App._redirect": "(location, status=302, headers=None)",
    "App._send_response": "(send, status_code, body, extra_headers=None)",
    "HTTPError": "(status, body=None, headers=None)",
    "HttpMiddleware.after_request": "(request, status_code, response_body, extra_headers)",
    "HttpMiddleware.before_request": "(request)",
    "InMemorySessionBackend": "()",
    "InMemorySessionBackend.load": "(session_id)",
    "InMemorySessionBackend.save": "(session_id, data, timeout)",
    "InMemorySessionBackend.touch": "(session_id, timeout)",
    "Request": "(scope)",
    "Request.body": "()",
    "Request.form": "(name, default=None)",
    "Request.json": "(name=None, default=None)",
    "Request.query": "(name, default=None)",
    "Request.regenerate_session": "()",
    "Request.stream": "()",
    "ServerSentEvent": "(data, event=None, id=None, retry=None)",
    "SessionBackend.load": "(session_id)",
    "SessionBackend.save": "(session_id, data, timeout)",
    "UploadedFile.read": "(limit=None)",
    "WebSocket": "(receive, send)",
    "WebSocket.accept": "(subprotocol=None, session_id=None)",
    "WebSocket.close": "(code=1000, reason=None)",
    "WebSocket.receive_bytes": "()",
    "WebSocket.receive_json": "()",
    "WebSocket.receive_text": "()",
    "WebSocketMiddleware.after_websocket": "(request)",
    "WebSocketMiddleware.before_websocket": "(request)",
    "WebSocketRequest": "(scope)",
    "event_stream": "(source, ping=15.0)",
    "methods": "(*names)",
    "set_cookie": f"(name, value, *, {COOKIE})",
}

# Of these the documentation gives the calls, not the names of all parameters.
CALLS: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "App._render_template": [(("page.html",), {}), (("page.html",), {"title": "a", "name": "b"})],
    "App._send_websocket_close": [((None, 1000, "why"), {})],
    "ConnectionClosed": [((), {}), ((1000, "why"), {})],
    "UploadedFile.save": [(("path",), {})],
    "WebSocket.send_bytes": [((b"",), {})],
    "WebSocket.send_json": [(({},), {})],
    "WebSocket.send_text": [(("",), {})],
    "delete_cookie": [(("name",), {}), (("name",), {"path": "/", "domain": "example.com"})],
}

COROUTINES = {
    "App.__call__",
    "App._asgi_app_http",
    "App._asgi_app_lifespan",
    "App._asgi_app_websocket",
    "App._parse_multipart",
    "App._render_template",
    "App._send_response",
    "App._send_websocket_close",
    "HttpMiddleware.after_request",
    "HttpMiddleware.before_request",
    "InMemorySessionBackend.load",
    "InMemorySessionBackend.save",
    "InMemorySessionBackend.touch",
    "Request.body",
    "SessionBackend.load",
    "SessionBackend.save",
    "UploadedFile.read",
    "UploadedFile.save",
    "WebSocket.accept",
    "WebSocket.close",
    "WebSocket.receive_bytes",
    "WebSocket.receive_json",
    "WebSocket.receive_text",
    "WebSocket.send_bytes",
    "WebSocket.send_json",
    "WebSocket.send_text",
    "WebSocketMiddleware.after_websocket",
    "WebSocketMiddleware.before_websocket",
}


def named(path: str) -> Any:
    """What stands under a name such as `App._redirect`."""
    found: Any = micropie
    for name in path.split("."):
        found = getattr(found, name)
    return found


def signature(path: str) -> inspect.Signature:
    """The signature as its callers see it: no annotations, no `self`, nothing private."""
    parameters = list(inspect.signature(named(path)).parameters.values())
    if "." in path:
        del parameters[0]
    public = [one for one in parameters if not one.name.startswith("_") or one.default is inspect.Parameter.empty]
    return inspect.Signature([parameter.replace(annotation=inspect.Parameter.empty) for parameter in public])


# --- Names ------------------------------------------------------------------------------------------------------------


def test_the_public_names_are_these_and_no_others() -> None:
    assert set(micropie.__all__) == PUBLIC
    assert len(micropie.__all__) == len(PUBLIC)
    for name in PUBLIC:
        assert hasattr(micropie, name), name


def test_the_app_takes_no_other_urls_from_its_users() -> None:
    assert {name for name in dir(App()) if not name.startswith("_")} == ATTRIBUTES


def test_private_attributes_that_are_documented() -> None:
    assert App()._started is False


@pytest.mark.parametrize("path", sorted(SIGNATURES))
def test_signature(path: str) -> None:
    assert str(signature(path)) == SIGNATURES[path]


@pytest.mark.parametrize("path", sorted(CALLS))
def test_calls(path: str) -> None:
    for arguments, keywords in CALLS[path]:
        signature(path).bind(*arguments, **keywords)


@pytest.mark.parametrize("path", sorted({*SIGNATURES, *CALLS}))
def test_what_is_awaited(path: str) -> None:
    assert inspect.iscoroutinefunction(named(path)) is (path in COROUTINES)


def test_stream_is_an_async_iterator() -> None:
    assert hasattr(micropie.Request({"type": "http"}).stream(), "__anext__")


@pytest.mark.parametrize("name", sorted(name for name in PUBLIC if inspect.isclass(getattr(micropie, name))))
def test_classes_are_documented_and_say_where_they_are_from(name: str) -> None:
    found = getattr(micropie, name)
    assert found.__module__ == "micropie"
    assert inspect.getdoc(found)


def test_what_kind_of_thing_each_name_is() -> None:
    assert issubclass(micropie.HTTPError, Exception)
    assert issubclass(micropie.ConnectionClosed, Exception)
    assert issubclass(micropie.WebSocketRequest, micropie.Request)
    assert issubclass(micropie.InMemorySessionBackend, micropie.SessionBackend)
    assert issubclass(micropie.UploadedFile, dict)
    assert isinstance(micropie.current_request, contextvars.ContextVar)
    assert typing.get_origin(micropie.FromSession) is typing.Annotated
    assert typing.get_args(micropie.FromSession)[0] is Any
    assert micropie.SESSION_TIMEOUT == 8 * 3600


def test_abstract_classes_ask_for_these_methods() -> None:
    for name, methods in {
        "HttpMiddleware": {"before_request", "after_request"},
        "WebSocketMiddleware": {"before_websocket", "after_websocket"},
        "SessionBackend": {"load", "save"},
    }.items():
        assert getattr(micropie, name).__abstractmethods__ == methods


def test_exceptions_carry_what_they_were_given() -> None:
    error = micropie.HTTPError(418, {"a": 1}, [("x-a", "b")])
    assert (error.status, error.body, error.headers) == (418, {"a": 1}, [("x-a", "b")])
    short = micropie.HTTPError(404)
    assert (short.status, short.body, short.headers) == (404, None, None)
    closed = micropie.ConnectionClosed(4000, "why")
    assert (closed.code, closed.reason) == (4000, "why")
    assert (micropie.ConnectionClosed().code, micropie.ConnectionClosed().reason) == (1005, "")


@pytest.mark.parametrize(
    "error, text",
    [
        (micropie.HTTPError(404), "404 Not Found"),
        (micropie.HTTPError(404, "no such page"), "no such page"),
        (micropie.HTTPError(404, {"a": 1}), "404 Not Found"),
        (micropie.HTTPError(599), "599"),
    ],
)
def test_an_http_error_says_in_a_log_what_it_is(error: micropie.HTTPError, text: str) -> None:
    assert str(error) == text


def test_the_version_stands_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab]\d+|rc\d+|\.dev\d+)?", micropie.__version__)
    project = Path(__file__).parent.parent / "pyproject.toml"
    assert 'dynamic = ["version"]' in project.read_text()
    try:
        installed = importlib.metadata.version("micropie")
    except importlib.metadata.PackageNotFoundError:
        return
    assert installed == micropie.__version__


# --- The surface for people who extend the App ------------------------------------------------------------------------


class Extended(App):
    """Overrides each of the entry points, and notes that it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.called: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.called.append("__call__")
        await super().__call__(scope, receive, send)

    async def _asgi_app_http(self, scope: Any, receive: Any, send: Any) -> None:
        self.called.append("http")
        await super()._asgi_app_http(scope, receive, send)

    async def _asgi_app_websocket(self, scope: Any, receive: Any, send: Any) -> None:
        self.called.append("websocket")
        await super()._asgi_app_websocket(scope, receive, send)

    async def _asgi_app_lifespan(self, receive: Any, send: Any) -> None:
        self.called.append("lifespan")
        await super()._asgi_app_lifespan(receive, send)

    async def index(self) -> str:
        return "index"

    async def ws_index(self, ws: micropie.WebSocket) -> None:
        await ws.accept()


def test_the_entry_points_may_be_overridden() -> None:
    async def main() -> None:
        app = Extended()
        async with lifespan(app):
            assert (await get(app)).body == b"index"
            async with websocket(app) as ws:
                assert ws.accepted
        assert app.called == ["__call__", "lifespan", "__call__", "http", "__call__", "websocket"]

    run(main())


@pytest.mark.parametrize(
    "header, cookies",
    [
        ("", {}),
        ("a=b", {"a": "b"}),
        ("a=b; c=d;e=f", {"a": "b", "c": "d", "e": "f"}),
        ("a=1; a=2", {"a": "1"}),
        ('a="b c"', {"a": "b c"}),
        ("a=b=c; d=", {"a": "b=c", "d": ""}),
        ("nonsense; =x; a=b;;", {"a": "b"}),
    ],
)
def test_parse_cookies(header: str, cookies: dict[str, str]) -> None:
    assert App()._parse_cookies(header) == cookies


def test_parse_multipart() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(
            encode_multipart(
                [
                    ("a", "1"),
                    ("a", "2"),
                    ("picture", "p.png", "image/png", b"\x89PNG" * 100_000),
                    ("picture", "second.png", "image/png", b"2"),
                    ("note", "n.txt", None, b""),
                    ("last", "é"),
                ]
            )
        )
        reader.feed_eof()
        fields, files = await App()._parse_multipart(reader, BOUNDARY.encode())
        assert fields == {"a": ["1", "2"], "last": ["é"]}
        assert list(files) == ["picture", "note"]
        picture = files["picture"]
        assert (picture["filename"], picture["content_type"]) == ("p.png", "image/png")
        assert isinstance(picture["content"], asyncio.Queue)
        content = b""
        while chunk := await picture["content"].get():
            content += chunk
        assert content == b"\x89PNG" * 100_000
        assert (files["note"]["filename"], await files["note"]["content"].get()) == ("n.txt", None)

    run(main())


@pytest.mark.parametrize("body, status", [(b"nonsense", 400), (b"", 400), (b"--" + BOUNDARY.encode() + b"\r\n", 400)])
def test_parse_multipart_refuses_what_is_malformed(body: bytes, status: int) -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(body)
        reader.feed_eof()
        with pytest.raises(micropie.HTTPError) as error:
            await App()._parse_multipart(reader, BOUNDARY.encode())
        assert error.value.status == status

    run(main())


class Answering(App):
    """Answers by itself, before the framework sees the request."""

    def __init__(self, *answer: Any) -> None:
        super().__init__()
        self.answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/own":
            await self._send_response(send, *self.answer)
        else:
            await super().__call__(scope, receive, send)

    async def index(self) -> str:
        return "index"


@pytest.mark.parametrize(
    "answer, status, kind, body",
    [
        ((200, "é"), 200, "text/html; charset=utf-8", "é".encode()),
        ((503, b"down"), 503, "text/html; charset=utf-8", b"down"),
        ((201, {"a": 1}), 201, "application/json", b'{"a":1}'),
        ((204, None), 204, None, b""),
        ((200, "x", [("content-type", "text/plain"), (b"x-a", b"b")]), 200, "text/plain", b"x"),
        ((200, "x", {"Content-Type": "text/plain", "x-a": "b"}), 200, "text/plain", b"x"),
    ],
)
def test_send_response(answer: tuple[Any, ...], status: int, kind: str | None, body: bytes) -> None:
    async def main() -> None:
        response = await get(Answering(*answer), "/own")
        assert (response.status, response.header("content-type"), response.body) == (status, kind, body)
        assert response.header("x-a") == ("b" if len(answer) == 3 else None)
        assert (await get(Answering(*answer), "/")).body == b"index"

    run(main())


def test_send_response_streams() -> None:
    ends: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            yield "b"
        finally:
            ends.append("end")

    response = run(get(Answering(200, source()), "/own"))
    assert (response.body, response.complete, ends) == (b"ab", True, ["end"])


def test_send_response_inside_a_request_knows_its_method() -> None:
    class Inside(App):
        async def _asgi_app_http(self, scope: Any, receive: Any, send: Any) -> None:
            micropie.current_request.set(micropie.Request(scope))
            await self._send_response(send, 200, "text")

    response = run(request(Inside(), "HEAD", "/"))
    assert (response.body, response.header("content-length")) == (b"", "4")


def test_send_response_does_not_change_what_it_was_given() -> None:
    async def main() -> None:
        headers = [("x-a", "b")]
        app = Answering(200, "x", headers)
        for _ in range(2):
            assert (await get(app, "/own")).headers_all("x-a") == ["b"]
        assert headers == [("x-a", "b")]

    run(main())


@pytest.mark.parametrize("code, reason, sent", [(1008, "no", "no"), (4000, "é" * 100, "é" * 61), (1000, "", "")])
def test_send_websocket_close(code: int, reason: str, sent: str) -> None:
    class Closing(App):
        async def _asgi_app_websocket(self, scope: Any, receive: Any, send: Any) -> None:
            await self._send_websocket_close(send, code, reason)

    async def main() -> None:
        async with websocket(Closing()) as ws:
            assert (ws.rejected, ws.close_reason) == (code, sent)

    run(main())


def test_redirect_returns_a_response() -> None:
    status, body, headers = App()._redirect("/there")
    assert (status, body) == (302, None)
    assert dict(headers) == {"location": "/there"}
