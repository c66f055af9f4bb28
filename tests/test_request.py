"""A handler's view of its request, also where the server or the client left things out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping
from typing import Any

import pytest

from micropie import App, HttpMiddleware, Request, WebSocket, WebSocketRequest, current_request
from tests.asgi import REMOVED, call, get, post, run, websocket
from tests.timing import shortest

Look = Callable[[Request], Any]


class Root(App):
    """Answers with what `look` finds in the request."""

    def __init__(self, look: Look = lambda request: None) -> None:
        super().__init__()
        self.look = look
        self.seen: Any = None

    async def index(self) -> str:
        self.seen = self.look(self.request)
        return "index"

    async def item(self, *args: str) -> str:
        self.seen = self.look(self.request)
        return "item"

    async def ws_index(self, ws: WebSocket) -> None:
        self.seen = self.look(self.request)
        await ws.accept()


async def seen(look: Look, target: str = "/", **options: Any) -> Any:
    """What `look` finds in a request with these options."""
    app = Root(look)
    response = await (post if options.get("method") else get)(app, target, **options)
    assert response.status == 200, response
    return app.seen


async def seen_in_post(look: Look, target: str = "/", **options: Any) -> Any:
    return await seen(look, target, method="POST", **options)


# --- The table ------------------------------------------------------------------------------------


async def test_scope_is_the_scope_of_the_server() -> None:
    assert await seen(lambda r: r.scope["client"]) == ("127.0.0.1", 50000)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"]
)
async def test_method_is_the_method_of_the_request(method: str) -> None:
    assert await seen(lambda r: r.method, method=method) == method


@pytest.mark.parametrize(
    ("target", "handler", "segments"),
    [
        ("/", "index", []),
        ("/item", "item", []),
        ("/item/a/b", "item", ["a", "b"]),
        ("/item/a%20b/%C3%A9", "item", ["a b", "é"]),
    ],
)
async def test_route_handler_names_the_handler_and_path_params_are_the_segments_after_it(
    target: str, handler: str, segments: list[str]
) -> None:
    assert await seen(lambda r: (r.route_handler, r.path_params), target) == (handler, segments)


@pytest.mark.parametrize("kind", [Request, WebSocketRequest])
@pytest.mark.parametrize("name", ["_route_handler", "_ws_route_handler"])
def test_names_of_another_package_are_the_route_handler(kind: type[Request], name: str) -> None:
    request = kind({"type": "http"})
    assert getattr(request, name) is None
    setattr(request, name, "_login")
    assert request.route_handler == "_login"
    request.route_handler = "page"
    assert getattr(request, name) == "page"


@pytest.mark.parametrize("kind", [Request, WebSocketRequest])
def test_setting_the_subapp_of_another_package_points_to_the_mounts(kind: type[Request]) -> None:
    request = kind({"type": "http"})
    with pytest.raises(AttributeError, match=r"app\.mounts"):
        request._subapp = object()
    assert not hasattr(request, "_subapp")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", {}),
        ("a=1&b=2&a=3", {"a": ["1", "3"], "b": ["2"]}),
        ("a=&b", {"a": [""], "b": [""]}),
        ("a=x+y%2B%26%3D&%C3%A9=%E2%82%AC", {"a": ["x y+&="], "é": ["€"]}),
        ("a=x+y", {"a": ["x y"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("a=1;b=2", {"a": ["1;b=2"]}),
        ("&&a=1&", {"a": ["1"]}),
        # Bytes that are no UTF-8 become U+FFFD, percent-encoded or not.
        ("a=%FF%61", {"a": ["\ufffda"]}),
        (b"a=\xff", {"a": ["\ufffd"]}),
        ("%FF=1", {"\ufffd": ["1"]}),
        # What is no percent-encoding stays as it is.
        ("a=100%&b=%zz", {"a": ["100%"], "b": ["%zz"]}),
        ("a=%zz&&a=%C3%AB+b=", {"a": ["%zz", "\u00eb b="]}),
        ("a&b=c==&a=%3D&a=%26", {"a": ["", "=", "&"], "b": ["c=="]}),
        ("a=%01&a=\x02&a=%02", {"a": ["\x01", "\x02", "\x02"]}),
        ("a=\n%\r&a=%\n&a=%0D%0A", {"a": ["\n%\r", "%\n", "\r\n"]}),
    ],
)
async def test_query_params_are_decoded(query: str | bytes, expected: dict[str, list[str]]) -> None:
    assert await seen(lambda r: r.query_params, query=query) == expected


async def test_query_gives_the_first_value_or_the_default() -> None:
    values = await seen(
        lambda r: (r.query("a"), r.query("b"), r.query("c"), r.query("c", "d")), "/?a=1&a=2&b="
    )
    assert values == ("1", "", None, "d")


async def test_form_gives_the_first_value_or_the_default() -> None:
    values = await seen_in_post(
        lambda r: (r.form("a"), r.form("b"), r.form("c"), r.form("c", "d"), r.body_params),
        form=[("a", "1"), ("a", "2"), ("b", "")],
    )
    assert values == ("1", "", None, "d", {"a": ["1", "2"], "b": [""]})


async def test_query_and_form_do_not_mix() -> None:
    look = await seen_in_post(lambda r: (r.query("b"), r.form("a")), "/?a=1", form={"b": "2"})
    assert look == (None, None)


async def test_body_params_of_a_json_object_are_its_members_as_text() -> None:
    body: Any = {"a": "x", "n": 1, "f": 1.5, "t": True, "z": None, "o": {"k": "é"}}
    body["many"] = ["x", 1, True]
    assert await seen_in_post(lambda r: r.body_params, json=body) == {
        "a": ["x"],
        "n": ["1"],
        "f": ["1.5"],
        "t": ["true"],
        "z": ["null"],
        "o": ['{"k":"é"}'],
        "many": ["x", "1", "true"],
    }


async def test_json_gives_one_member_of_an_object() -> None:
    values = await seen_in_post(
        lambda r: (r.json("a"), r.json("n"), r.json("n", "d"), r.json("b"), r.json("b", "d")),
        json={"a": [1], "n": None},
    )
    assert values == ([1], None, None, None, "d")


@pytest.mark.parametrize("body", [[1], ["a"], "text", "a", 5, None, True])
async def test_json_that_is_no_object_has_no_members(body: Any) -> None:
    def look(request: Request) -> Any:
        return (
            request.body_params,
            request.form("a", "d"),
            request.json("a"),
            request.json("a", "d"),
        )

    assert await seen_in_post(look, json=body) == ({}, "d", None, "d")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"form": {"a": "1"}},
        {"body": b'{"a":1}'},
        {"body": b'{"a":1}', "headers": {"content-type": "text/plain"}},
    ],
)
async def test_get_json_is_an_empty_object_without_a_json_body(options: dict[str, Any]) -> None:
    look = await seen_in_post(
        lambda r: (r.get_json, r.json(), r.json("a"), r.json("a", 1)), **options
    )
    assert look == ({}, {}, None, 1)


async def test_files_of_a_request_without_files_are_empty() -> None:
    assert await seen_in_post(lambda r: r.files, form={"a": "1"}) == {}


# --- Headers and cookies --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x-one", "X-One", "X-ONE"])
async def test_headers_have_lower_case_names_and_are_found_in_any_letter_case(name: str) -> None:
    headers = await seen(lambda r: r.headers, headers=[("X-One", "1")])
    assert {name: headers[name] for name in headers} == {"host": "testserver", "x-one": "1"}
    assert (headers[name], name in headers, headers.get(name, "d")) == ("1", True, "1")


async def test_header_that_was_not_sent_is_absent() -> None:
    def look(request: Request) -> Any:
        headers = request.headers
        return "X-Two" in headers, headers.get("X-Two"), headers.get("X-Two", "d"), 1 in headers

    assert await seen(look) == (False, None, "d", False)
    with pytest.raises(KeyError):
        Request({"type": "http"}).headers["x-two"]


@pytest.mark.parametrize("name", ["x-one", "content-type"])
async def test_repeated_headers_are_joined(name: str) -> None:
    headers = [(name.title(), "text/plain"), ("x-two", "b"), (name, "text/html")]
    assert await seen(lambda r: r.headers[name], headers=headers) == "text/plain, text/html"


async def test_headers_cannot_be_changed() -> None:
    """A header that a middleware sets would be looked for under another name, and not be found."""
    headers: Any = Request({"type": "http", "headers": [(b"x-user", b"client")]}).headers
    with pytest.raises(TypeError):
        headers["X-User"] = "ada"
    with pytest.raises(TypeError):
        del headers["x-user"]
    for change in ("setdefault", "update", "pop", "clear"):
        assert not hasattr(headers, change)
    assert isinstance(headers, Mapping) and not isinstance(headers, dict | MutableMapping)
    assert {**headers} == dict(headers.items()) == {"x-user": "client"}


@pytest.mark.parametrize("line", [(b"cookie", b"a=1"), (b"x-one", b"1")])
async def test_many_lines_of_one_header_take_linear_time(line: tuple[bytes, bytes]) -> None:
    def seconds(count: int) -> float:
        request = Request({"type": "http", "headers": [line] * count})
        began = time.process_time()
        assert len(request.headers) == 1
        assert request.cookies == ({"a": "1"} if line[0] == b"cookie" else {})
        return time.process_time() - began

    assert shortest(lambda: seconds(200_000), 1.0) < 1.0


@pytest.mark.parametrize(
    "line", [(b"cookie", b"a=1"), (b"content-type", b"text/plain"), (b"content-length", b"0")]
)
def test_many_lines_that_an_app_notes_take_linear_time(line: tuple[bytes, bytes]) -> None:
    class Root(App):
        async def index(self) -> str:
            return "index"

    def seconds(count: int) -> float:
        began = time.process_time()
        sent = run(call(Root(), headers=[line] * count))
        assert sent[-1]["body"] == b"index"
        return time.process_time() - began

    assert shortest(lambda: seconds(200_000), 1.0) < 1.0


async def test_header_values_are_latin_1() -> None:
    assert await seen(lambda r: r.headers["x-one"], headers=[(b"x-one", b"caf\xe9")]) == "café"


COOKIES: list[tuple[str, dict[str, str]]] = [
    ("", {}),
    ("a=1; b=2", {"a": "1", "b": "2"}),
    ("a=1; a=2", {"a": "1"}),
    ("a=; b", {"a": ""}),
    ("a=1;b=2;\t c=3 ", {"a": "1", "b": "2", "c": "3"}),
    ("a=b=c==", {"a": "b=c=="}),
    ('a="quoted value"', {"a": '"quoted value"'}),
    ("a =\t1 ; b= 2\t", {"a": "1", "b": "2"}),
    (" =1; b", {}),
    ('a="', {"a": '"'}),
    ("a=%20", {"a": "%20"}),
    ("=1; ;; =; b=2", {"b": "2"}),
    ("A=1; a=2", {"A": "1", "a": "2"}),
    ("a=caf\xe9", {"a": "café"}),
]


@pytest.mark.parametrize(("header", "expected"), COOKIES)
async def test_cookies_are_the_pairs_of_the_cookie_header(
    header: str, expected: dict[str, str]
) -> None:
    assert await seen(lambda r: r.cookies, headers=[("cookie", header)]) == expected
    assert App()._parse_cookies(header) == expected


async def test_first_cookie_of_a_name_is_used_across_several_cookie_headers() -> None:
    headers = [("cookie", "a=1; b=2"), ("x-one", "x"), ("cookie", "a=3"), ("cookie", "c=4")]
    assert await seen(lambda r: r.cookies, headers=headers) == {"a": "1", "b": "2", "c": "4"}


# --- Which request --------------------------------------------------------------------------------


async def test_middlewares_and_streams_share_the_request_and_its_attributes() -> None:
    class Login(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            assert current_request.get() is request
            request.user = "ada"

        async def after_request(
            self, request: Request, status: int, body: Any, headers: Any
        ) -> None:
            assert current_request.get() is request
            headers.append(("x-user", request.user))

    class Streams(App):
        async def index(self) -> AsyncIterator[str]:
            yield self.request.user
            await asyncio.sleep(0)
            yield self.request.query("a")

    app = Streams()
    app.middlewares.append(Login())
    response = await get(app, "/?a=1")
    assert (response.text, response.header("x-user")) == ("ada1", "ada")


# --- WebSocket requests ---------------------------------------------------------------------------


async def socket_seen(look: Look, path: str = "/", **options: Any) -> Any:
    app = Root(look)

    async with websocket(app, path, **options) as ws:
        assert ws.accepted
    return app.seen


async def test_websocket_handler_has_a_websocket_request() -> None:
    kinds = await socket_seen(
        lambda r: (type(r), isinstance(r, Request), current_request.get() is r)
    )
    assert kinds == (WebSocketRequest, True, True)


async def test_websocket_request_describes_the_handshake() -> None:
    look = await socket_seen(
        lambda r: (
            r.query("a"),
            r.headers["X-One"],
            r.cookies,
            r.session,
            r.path_params,
            r.route_handler,
        ),
        "/?a=1",
        headers=[("x-one", "1"), ("cookie", "c=d")],
    )
    assert look == ("1", "1", {"c": "d"}, {}, [], "ws_index")


async def test_websocket_request_has_no_body() -> None:
    look = await socket_seen(
        lambda r: (r.get_json, r.json("a", 1), r.body_params, r.form("a"), r.files)
    )
    assert look == ({}, 1, {}, None, {})

    class Asks(App):
        async def ws_index(self, ws: WebSocket) -> None:
            body = await self.request.body()
            chunks = [chunk async for chunk in self.request.stream()]
            await ws.accept()
            await ws.send_json([body.decode(), len(chunks)])

    async with websocket(Asks()) as ws:
        assert await ws.receive_json() == ["", 0]


# --- Minimal scopes -------------------------------------------------------------------------------


async def test_headers_may_be_taken_out_of_the_scope() -> None:
    request = Request({"type": "http"})
    del request.scope["headers"]
    assert dict(request.headers) == {}


async def test_a_request_can_be_built_from_a_minimal_scope() -> None:
    request = Request({"type": "http"})
    assert request.scope == {"type": "http", "headers": []}
    assert request.method == "GET"
    assert (request.path_params, request.route_handler) == ([], None)
    assert (request.query_params, request.body_params, request.get_json) == ({}, {}, {})
    assert (request.headers, request.cookies, request.files, request.session) == ({}, {}, {}, {})
    assert (request.query("a", 1), request.form("a", 2), request.json("a", 3), request.json()) == (
        1,
        2,
        3,
        {},
    )
    request.session["user"] = "ada"
    assert request.session == {"user": "ada"}
    request.regenerate_session()
    assert [chunk async for chunk in request.stream()] == []
    assert await request.body() == b""
    assert [chunk async for chunk in request.stream()] == []


def test_a_request_built_by_hand_knows_its_scope() -> None:
    request = Request(
        {
            "type": "http",
            "method": "POST",
            "query_string": b"a=1",
            "headers": [(b"Cookie", b"c=1"), (b"X-One", b"1"), (b"cookie", b"d=2")],
        }
    )
    assert (request.method, request.query("a"), request.headers["x-one"]) == ("POST", "1", "1")
    assert request.cookies == {"c": "1", "d": "2"}


async def test_a_handler_can_be_unit_tested_with_current_request() -> None:
    class Shop(App):
        async def greet(self, name: str) -> str:
            return f"{self.request.query('greeting')} {name} {self.request.session['title']}"

    request = Request({"type": "http", "query_string": b"greeting=Hello"})
    request.session["title"] = "Countess"
    token = current_request.set(request)
    try:
        assert await Shop().greet("Ada") == "Hello Ada Countess"
    finally:
        current_request.reset(token)


OPTIONAL_KEYS = [
    "query_string",
    "raw_path",
    "root_path",
    "client",
    "server",
    "scheme",
    "http_version",
    "headers",
    "asgi",
]


@pytest.mark.parametrize("value", [REMOVED, None], ids=["left out", "None"])
@pytest.mark.parametrize("key", [*OPTIONAL_KEYS, "subprotocols"])
async def test_scope_can_leave_out_optional_keys_or_send_none(key: str, value: Any) -> None:
    def look(request: Request) -> Any:
        return request.query_params, request.cookies, request.session.setdefault("seen", True)

    for found in (
        await seen(look, scope={key: value}),
        await socket_seen(look, scope={key: value}),
    ):
        assert found == ({}, {}, True)


async def test_scope_without_any_optional_key_is_enough() -> None:
    scope = dict.fromkeys(OPTIONAL_KEYS, REMOVED)
    assert await seen(lambda r: (r.method, r.query_params, r.headers), scope=scope) == (
        "GET",
        {},
        {},
    )
