"""The names and signatures that stay, and the underscore names for users who extend the App."""

import asyncio
import contextvars
import copy
import inspect
import time
import typing

import pytest

import micropie
from micropie import App
from tests.asgi import BOUNDARY, encode_multipart, get, lifespan, request, websocket

PUBLIC = {
    *("App", "ConnectionClosed", "FromSession", "HTTPError", "HttpMiddleware"),
    *("InMemorySessionBackend", "Request", "SESSION_TIMEOUT", "ServerSentEvent", "SessionBackend"),
    *("Route", "UploadedFile", "WebSocket", "WebSocketMiddleware", "WebSocketRequest"),
    *("__version__", "current_request", "delete_cookie", "event_stream", "methods", "routes"),
    "set_cookie",
}
ATTRIBUTES = {
    *("env", "middlewares", "mounts", "request", "session_backend", "shutdown_handlers"),
    *("startup_handlers", "ws_middlewares"),
}

COOKIE = "max_age=None, path='/', domain=None, secure=True, httponly=True, samesite='Lax'"

# As documented, without annotations and `self`. Calls of names that begin with "async" are awaited.
SIGNATURES = {
    "App": "(session_backend=None, *, debug=False, session_timeout=28800, "
    "session_cookie_name='session_id', session_cookie_secure=None, session_cookie_path=None, "
    "allowed_origins=(), max_body_size=16777216, max_upload_size=Ellipsis, "
    "max_json_size=1048576, max_form_field_size=1048576, body_timeout=30.0)",
    "async App.__call__": "(scope, receive, send)",
    "async App._asgi_app_http": "(scope, receive, send)",
    "async App._asgi_app_lifespan": "(receive, send)",
    "async App._asgi_app_websocket": "(scope, receive, send)",
    "App._parse_cookies": "(cookie_header)",
    "async App._parse_multipart": "(reader, boundary)",
    "App._redirect": "(location, status=302, headers=None)",
    "async App._send_response": "(send, status_code, body, extra_headers=None)",
    "HTTPError": "(status, body=None, headers=None)",
    "async HttpMiddleware.after_request": "(request, status_code, response_body, extra_headers)",
    "async HttpMiddleware.before_request": "(request)",
    "async InMemorySessionBackend.load": "(session_id)",
    "async InMemorySessionBackend.save": "(session_id, data, timeout)",
    "async InMemorySessionBackend.touch": "(session_id, timeout)",
    "Request": "(scope)",
    "async Request.body": "()",
    "Request.form": "(name, default=None)",
    "Request.json": "(name=None, default=None)",
    "Request.query": "(name, default=None)",
    "Request.regenerate_session": "()",
    "Request.stream": "()",
    "Route": "(protocol, path, methods, parameters, handler, source)",
    "ServerSentEvent": "(data, event=None, id=None, retry=None)",
    "async SessionBackend.load": "(session_id)",
    "async SessionBackend.save": "(session_id, data, timeout)",
    "async UploadedFile.read": "(limit=None)",
    "WebSocket": "(receive, send)",
    "async WebSocket.accept": "(subprotocol=None, session_id=None)",
    "async WebSocket.close": "(code=1000, reason=None)",
    "async WebSocket.receive_bytes": "()",
    "async WebSocket.receive_json": "()",
    "async WebSocket.receive_text": "()",
    "async WebSocketMiddleware.after_websocket": "(request)",
    "async WebSocketMiddleware.before_websocket": "(request)",
    "WebSocketRequest": "(scope)",
    "event_stream": "(source, ping=15.0)",
    "methods": "(*names)",
    "routes": "(app)",
    "set_cookie": f"(name, value, *, {COOKIE})",
}

# Of these the documentation gives calls, not the names of all parameters.
CALLS: dict[str, list[tuple[tuple, dict]]] = {
    "async App._render_template": [
        (("page.html",), {}),
        (("page.html",), {"title": "a", "name": "b"}),
    ],
    "async App._send_websocket_close": [((None, 1000, "why"), {})],
    "ConnectionClosed": [((), {}), ((1000, "why"), {})],
    "InMemorySessionBackend": [((), {}), ((), {"clock": time.monotonic})],
    "async UploadedFile.save": [(("path",), {})],
    "async WebSocket.send_bytes": [((b"",), {})],
    "async WebSocket.send_json": [(({},), {})],
    "async WebSocket.send_text": [(("",), {})],
    "delete_cookie": [(("name",), {}), (("name",), {"path": "/", "domain": "example.com"})],
}


# What people who extend the App can call, override or read.
UNDERSCORES = {name.partition("App.")[2] for name in (*SIGNATURES, *CALLS) if "App._" in name} - {
    "__call__"
}
UNDERSCORES |= {"_started"}


def named(path):
    """Return what stands under a name such as `async App._send_response`."""
    found = micropie
    for name in path.removeprefix("async ").split("."):
        found = getattr(found, name)
    return found


def signature(path):
    """Return the signature for a caller, without annotations, `self` and private parameters."""
    parameters = list(inspect.signature(named(path)).parameters.values())
    if "." in path:
        del parameters[0]
    public = [
        one
        for one in parameters
        if not one.name.startswith("_") or one.default is inspect.Parameter.empty
    ]
    return inspect.Signature(
        [parameter.replace(annotation=inspect.Parameter.empty) for parameter in public]
    )


# --- Names ----------------------------------------------------------------------------------------


def test_all_lists_the_public_names_and_no_others():
    assert sorted(micropie.__all__) == sorted(PUBLIC)
    assert [name for name in PUBLIC if not hasattr(micropie, name)] == []


def test_app_has_no_names_but_the_documented_ones_so_that_others_are_free():
    names = {name for name in dir(App()) if not name.startswith(("__", "_App__"))}

    assert {name for name in names if not name.startswith("_")} == ATTRIBUTES
    assert {name for name in names if name.startswith("_")} == UNDERSCORES


@pytest.mark.parametrize("path", sorted({*SIGNATURES, *CALLS}))
def test_signature_is_the_documented_one_of_a_function_or_coroutine_function(path):
    if path in SIGNATURES:
        assert str(signature(path)) == SIGNATURES[path]
    for arguments, keywords in CALLS.get(path, []):
        signature(path).bind(*arguments, **keywords)
    assert inspect.iscoroutinefunction(named(path)) is path.startswith("async ")


def test_public_names_have_their_documented_kinds():
    found = [getattr(micropie, name) for name in PUBLIC]
    assert {one.__module__ for one in found if inspect.isclass(one)} == {"micropie"}
    assert issubclass(micropie.HTTPError, Exception)
    assert issubclass(micropie.ConnectionClosed, Exception)
    assert issubclass(micropie.WebSocketRequest, micropie.Request)
    assert issubclass(micropie.InMemorySessionBackend, micropie.SessionBackend)
    assert issubclass(micropie.UploadedFile, dict)
    assert isinstance(micropie.current_request, contextvars.ContextVar)
    assert typing.get_origin(micropie.FromSession) is typing.Annotated
    assert typing.get_args(micropie.FromSession)[0] is typing.Any
    assert micropie.SESSION_TIMEOUT == 8 * 3600
    assert hasattr(micropie.Request({"type": "http"}).stream(), "__anext__")


def test_a_session_backend_is_abstract():
    assert micropie.SessionBackend.__abstractmethods__ == {"load", "save"}


async def test_methods_that_a_middleware_does_not_override_do_nothing():
    http, sockets = micropie.HttpMiddleware(), micropie.WebSocketMiddleware()
    assert await http.before_request(None) is None
    assert await http.after_request(None, 200, "", []) is None
    assert await sockets.before_websocket(None) is None
    assert await sockets.after_websocket(None) is None


def test_exceptions_have_their_arguments_as_attributes_and_a_text():
    error = micropie.HTTPError(404, {"a": 1}, [("x-a", "b")])
    assert (error.status, error.body, error.headers) == (404, {"a": 1}, [("x-a", "b")])
    short = micropie.HTTPError(404)
    assert (short.status, short.body, short.headers) == (404, None, None)
    assert str(error) == str(short) == "404 Not Found"
    assert str(micropie.HTTPError(599)) == "599"
    assert str(micropie.HTTPError(404, "no such page")) == "no such page"
    closed = micropie.ConnectionClosed(4000, "why")
    assert (closed.code, closed.reason) == (4000, "why")
    assert (micropie.ConnectionClosed().code, micropie.ConnectionClosed().reason) == (1005, "")


# --- Extending the App ----------------------------------------------------------------------------


class Overriding(App):
    """Overrides each of the entry points, and notes that it was called."""

    def __init__(self):
        super().__init__()
        self.called = []

    async def __call__(self, scope, receive, send):
        self.called.append("__call__")
        await super().__call__(scope, receive, send)

    async def _asgi_app_http(self, scope, receive, send):
        self.called.append("http")
        await super()._asgi_app_http(scope, receive, send)

    async def _asgi_app_websocket(self, scope, receive, send):
        self.called.append("websocket")
        await super()._asgi_app_websocket(scope, receive, send)

    async def _asgi_app_lifespan(self, receive, send):
        self.called.append("lifespan")
        await super()._asgi_app_lifespan(receive, send)

    async def index(self):
        return "index"

    async def ws_index(self, ws):
        await ws.accept()


async def test_overridden_entry_points_are_called():
    app = Overriding()
    async with lifespan(app):
        assert (await get(app)).body == b"index"
        async with websocket(app) as ws:
            assert ws.accepted

    assert app.called == ["__call__", "lifespan", "__call__", "http", "__call__", "websocket"]


async def test_app_works_if_its_helpers_have_any_other_underscore_names():
    class Root(App):
        def __init__(self):
            super().__init__()
            self._settings = self._routes = self._env = self._debug = "mine"
            self.startup_handlers.append(self._open)

        async def _open(self):
            self.opened = True

        async def _load(self):
            return "loaded"

        def _call(self, *_):
            return "called"

        async def index(self):
            return f"{self.opened} {await self._load()} {self._call()} {self._settings}"

        async def ws_index(self, ws):
            await ws.accept()
            await ws.send_text(await self._load())

    app = Root()
    async with lifespan(app):
        assert (await get(app, "/")).text == "True loaded called mine"
        async with websocket(app, "/") as ws:
            assert await ws.receive() == "loaded"


async def test_parse_multipart_returns_the_first_file_of_each_name():
    reader = asyncio.StreamReader()
    reader.feed_data(encode_multipart([("a", "b.txt", None, b"1"), ("a", "c.txt", None, b"2")]))
    reader.feed_eof()

    fields, files = await App()._parse_multipart(reader, BOUNDARY.encode())

    assert (fields, list(files), files["a"]["filename"]) == ({}, ["a"], "b.txt")
    assert (await files["a"]["content"].get(), await files["a"]["content"].get()) == (b"1", None)


class Answering(App):
    """Answers `/own` by itself, before the framework sees the request."""

    def __init__(self, *answer):
        super().__init__()
        self.answer = answer

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/own":
            await self._send_response(send, *self.answer)
        else:
            await super().__call__(scope, receive, send)

    async def index(self):
        return "index"


@pytest.mark.parametrize(
    ("answer", "status", "content_type", "body"),
    [
        ((200, "é"), 200, "text/html; charset=utf-8", "é".encode()),
        ((503, b"down"), 503, "text/html; charset=utf-8", b"down"),
        ((201, {"a": 1}), 201, "application/json", b'{"a":1}'),
        ((204, None), 204, None, b""),
        ((200, "x", [("content-type", "text/plain"), (b"x-a", b"b")]), 200, "text/plain", b"x"),
        ((200, "x", {"Content-Type": "text/plain", "x-a": "b"}), 200, "text/plain", b"x"),
    ],
)
async def test_send_response_sends_status_type_body_and_extra_headers(
    answer, status, content_type, body
):
    kept, app = copy.deepcopy(answer), Answering(*answer)
    for _ in range(2):  # the extra headers are not changed
        response = await get(app, "/own")
        assert (response.status, response.body) == (status, body)
        assert response.header("content-type") == content_type
        assert response.headers_all("x-a") == ["b"] * (len(answer) == 3)
        assert answer == kept
    assert (await get(app, "/")).body == b"index"


async def test_send_response_streams_an_async_generator_and_closes_it():
    ends = []

    async def source():
        try:
            yield "a"
            yield "b"
        finally:
            ends.append("end")

    response = await get(Answering(200, source()), "/own")

    assert (response.body, response.complete, ends) == (b"ab", True, ["end"])


async def test_send_response_sends_no_body_if_the_current_request_is_head():
    class Inside(App):
        async def _asgi_app_http(self, scope, receive, send):
            micropie.current_request.set(micropie.Request(scope))
            await self._send_response(send, 200, "text")

    response = await request(Inside(), "HEAD", "/")

    assert (response.body, response.header("content-length")) == (b"", "4")


@pytest.mark.parametrize(
    ("code", "reason", "sent"), [(1008, "no", "no"), (4000, "é" * 100, "é" * 61), (1000, "", "")]
)
async def test_send_websocket_close_sends_the_code_and_at_most_123_bytes_of_the_reason(
    code, reason, sent
):
    class Closing(App):
        async def _asgi_app_websocket(self, scope, receive, send):
            await self._send_websocket_close(send, code, reason)

    async with websocket(Closing()) as ws:
        assert (ws.rejected, ws.close_reason) == (code, sent)
