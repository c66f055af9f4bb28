"""HTTP middleware: who runs when, what each of them sees, and what it may make of a response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    WebSocketMiddleware,
    event_stream,
    methods,
)
from tests.asgi import (
    Browser,
    assert_logged_500,
    exchange,
    get,
    logged,
    post,
    request,
    scripted,
    shown,
    websocket,
)
from tests.clients import UnreadFile, UnreadStream, silence
from tests.clock import elapse
from tests.noting import Note

HTML = "text/html; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"


class Root(App):
    async def index(self) -> Any:
        return "hello"

    async def needs(self, name: str) -> str:
        return name

    async def number(self, n: int) -> int:
        return n

    async def json(self) -> Any:
        return {"a": 1}

    async def csv(self) -> Any:
        return 200, "a,b", [("Content-Type", "text/csv"), ("x-a", "1")]

    async def nothing(self) -> None:
        return None

    async def fails(self) -> str:
        raise RuntimeError("a secret")

    async def refuses(self) -> str:
        raise HTTPError(403, "no")

    async def moves(self) -> Any:
        return self._redirect("/")

    async def unsayable(self) -> Any:
        return object()

    @methods("PUT")
    async def puts(self) -> str:
        return "put"

    async def stream(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    def plain_stream(self) -> Iterator[str]:
        yield "a"
        yield "b"

    async def events(self) -> Any:
        return event_stream(iter(["a"]))


def wrapped(*middlewares: HttpMiddleware, kind: type[App] = Root, **options: Any) -> App:
    app = kind(**options)
    app.middlewares.extend(middlewares)
    return app


def returns(answer: Any, *middlewares: HttpMiddleware) -> App:
    class Returns(App):
        async def index(self) -> Any:
            return answer

    return wrapped(*middlewares, kind=Returns)


async def test_methods_that_are_not_overridden_do_nothing() -> None:
    class Nothing(HttpMiddleware, WebSocketMiddleware):
        pass

    app = wrapped(Nothing())
    app.ws_middlewares.append(Nothing())
    assert (await get(app)).text == "hello"
    async with websocket(app, "/nope") as ws:
        pass
    assert ws.rejected == 1008


# --- Which of them run, and when ------------------------------------------------------------------


async def test_before_runs_in_order_and_after_in_reverse() -> None:
    events: list[Any] = []
    response = await get(wrapped(*(Note(events, name) for name in "abc")))
    assert response.text == "hello"
    assert events == [
        "before a",
        "before b",
        "before c",
        "after c 200",
        "after b 200",
        "after a 200",
    ]


async def test_after_runs_for_the_middleware_that_answers_and_those_before_it() -> None:
    events: list[Any] = []
    app = wrapped(
        Note(events, "a"),
        Note(events, "b", before={"status_code": 418, "body": "tea"}),
        Note(events, "c"),
    )
    response = await get(app, "/fails")
    assert (response.status, response.text) == (418, "tea")
    assert events == ["before a", "before b", "after b 418", "after a 418"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError("x"), 500), (HTTPError(401), 401), (asyncio.CancelledError(), 500)],
)
async def test_middleware_whose_before_raises_has_no_after(
    error: BaseException, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a"), Note(events, "b", before=error), Note(events, "c"))
    response = await get(app)
    assert response.status == status
    assert events == ["before a", "before b", f"after a {status}"]
    assert len(logged(caplog)) == (status == 500)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/nothing", 204),
        ("GET", "/moves", 302),
        ("GET", "/needs", 400),
        ("GET", "/refuses", 403),
        ("GET", "/nope", 404),
        ("GET", "/__init__", 404),
        ("GET", "/puts", 405),
        ("OPTIONS", "/puts", 204),
        ("GET", "/fails", 500),
        ("GET", "/unsayable", 500),
        ("GET", "/stream", 200),
        ("GET", "/events", 200),
    ],
)
async def test_middlewares_run_on_every_response(method: str, path: str, status: int) -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a"), Note(events, "b"))
    assert (await request(app, method, path)).status == status
    assert events == ["before a", "before b", f"after b {status}", f"after a {status}"]


AS_JSON = {"content-type": "application/json"}
BAD_REQUESTS: list[tuple[int, dict[str, Any]]] = [
    (400, {"method": "POST", "headers": {"content-length": "x"}, "body": b""}),
    (413, {"method": "POST", "headers": AS_JSON, "body": b"[" + b" " * 100 + b"]"}),
    (408, {"method": "POST", "headers": {"content-length": "5", **AS_JSON}, "receive": silence}),
]


@pytest.mark.parametrize(("status", "options"), BAD_REQUESTS, ids=shown)
async def test_every_after_and_no_before_runs_on_a_bad_request(
    status: int, options: dict[str, Any]
) -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a"), Note(events, "b"), max_body_size=100, body_timeout=5)
    assert (await request(app, **options)).status == status
    assert events == [f"after b {status}", f"after a {status}"]


@pytest.mark.parametrize("kind", [HTML, JSON])
@pytest.mark.parametrize(
    ("path", "status"),
    [("/nope", 404), ("/fails", 500), ("/puts", 405), ("/needs", 400), ("/number?n=x", 400)],
)
async def test_a_middleware_makes_the_error_pages(path: str, status: int, kind: str) -> None:
    class Pages(Note):
        async def after_request(
            self, request: Any, status_code: int, response_body: Any, extra_headers: Any
        ) -> Any:
            if status_code < 400:
                return None
            assert response_body.startswith(str(status_code))
            if kind == JSON:
                return {"body": {"error": status_code}}
            return {"body": f"<h1>{status_code}</h1>", "headers": [("content-type", HTML)]}

    response = await get(wrapped(Pages([])), path)
    assert response.status == status
    assert response.text == (f'{{"error":{status}}}' if kind == JSON else f"<h1>{status}</h1>")
    assert (response.header("content-type"), response.header("content-length")) == (
        kind,
        str(len(response.body)),
    )
    assert (await get(wrapped(Pages([])))).text == "hello"


async def test_a_client_that_goes_away_mid_body_gets_no_response_and_no_after() -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a"))
    body, headers = [b"{", b"}"], {"content-type": "application/json"}
    response = await request(app, "POST", body=body, headers=headers, disconnect_after=1)
    assert (response.status, events) == (None, [])


async def test_a_request_that_the_server_cancels_gets_no_response_and_no_after() -> None:
    class Waits(Root):
        async def index(self) -> None:
            await asyncio.Event().wait()

    events: list[Any] = []
    async with exchange(wrapped(Note(events), kind=Waits)) as ex:
        await elapse(1)
        ex.cancel()
        response = await ex.wait()
    assert (response.status, events) == (None, ["before m"])


# --- before_request -------------------------------------------------------------------------------


async def letters() -> AsyncIterator[str]:
    for letter in "ab":
        yield letter


@pytest.mark.parametrize(
    ("result", "status", "body", "kind"),
    [
        ({"body": "x"}, 200, b"x", HTML),
        ({"status_code": 201, "body": b"\xff"}, 201, b"\xff", HTML),
        ({"status_code": 401, "body": {"error": "who?"}}, 401, b'{"error":"who?"}', JSON),
        ({"body": [1]}, 200, b"[1]", JSON),
        ({"status_code": 401}, 401, b"", None),
        ({"status_code": 204, "body": None}, 204, b"", None),
        ({"body": "x", "headers": {"Content-Type": "text/x"}}, 200, b"x", "text/x"),
        ({"body": "x", "headers": [("content-type", "text/x")]}, 200, b"x", "text/x"),
        ({"body": "x", "headers": None}, 200, b"x", HTML),
        (lambda request: {"body": letters()}, 200, b"ab", HTML),
        (
            lambda request: {"body": iter(["a", b"b"]), "headers": {"content-type": "text/x"}},
            200,
            b"ab",
            "text/x",
        ),
    ],
)
async def test_dict_that_before_returns_is_like_a_handlers_result(
    result: Any, status: int, body: bytes, kind: str | None
) -> None:
    response = await get(wrapped(Note([], before=result)), "/fails")
    assert (response.status, response.body, response.header("content-type")) == (status, body, kind)


async def test_dict_that_before_returns_is_never_changed() -> None:
    headers = [("X-A", "1")]
    answer = {"status_code": 200, "body": "x", "headers": headers}

    app = wrapped(Note([], before=answer, appends=[("x-b", "2")]))
    for _ in range(2):
        response = await get(app)
        assert (response.headers_all("x-a"), response.headers_all("x-b")) == (["1"], ["2"])
    assert (
        answer == {"status_code": 200, "body": "x", "headers": [("X-A", "1")]}
        and answer["headers"] is headers
    )


@pytest.mark.parametrize("result", [None, {}])
async def test_none_and_an_empty_dict_go_on(result: Any) -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a", result, result), Note(events, "b"))
    assert (await get(app)).text == "hello"
    assert events == ["before a", "before b", "after b 200", "after a 200"]


MALFORMED = [
    "x",
    "",
    5,
    0,
    True,
    False,
    [],
    (200, "x"),
    {"status": 200},
    {"status_code": "200"},
    {"status_code": 99},
    {"status_code": True},
    {"body": object()},
    {"body": "\ud800"},
    {"headers": 5},
    {"headers": "abc"},
    {"headers": [("a", "b", "c")]},
]


@pytest.mark.parametrize("result", MALFORMED, ids=shown)
async def test_a_malformed_result_of_before_is_a_logged_500(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    assert_logged_500(
        await get(wrapped(Note(events, "a"), Note(events, "b", before=result))), caplog
    )
    assert (
        events[:2] == ["before a", "before b"]
        and events[-1] == "after a 500"
        or result == {"body": "\ud800"}
    )


async def test_before_sees_a_form_and_json_and_may_set_attributes() -> None:
    class Checks(Note):
        async def before_request(self, request: Any) -> Any:
            request.user = request.form("user") or request.json("user")
            return None if request.user else {"status_code": 403}

    class Users(App):
        async def index(self) -> str:
            return str(self.request.user)

    app = wrapped(Checks([]), kind=Users)
    assert (await post(app, form={"user": "ann"})).text == "ann"
    assert (await post(app, json={"user": "bob"})).text == "bob"
    assert (await post(app, form={"who": "ann"})).status == 403


# --- after_request --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", (200, "hello", [("content-type", HTML)])),
        ("/json", (200, b'{"a":1}', [("content-type", JSON)])),
        ("/csv", (200, "a,b", [("content-type", "text/csv"), ("x-a", "1")])),
        ("/nope", (404, "404 Not Found", [("content-type", PLAIN)])),
        ("/fails", (500, "500 Internal Server Error", [("content-type", PLAIN)])),
    ],
)
async def test_after_is_given_status_body_and_headers(path: str, seen: Any) -> None:
    middleware = Note([])
    await get(wrapped(middleware), path)
    assert middleware.seen == seen


@pytest.mark.parametrize("source", [letters, lambda: iter("ab")])
async def test_after_is_given_iterators_as_they_were_returned(source: Any) -> None:
    body = source()
    middleware = Note([])
    assert (await get(returns(body, middleware))).body == b"ab"
    assert middleware.seen[1] is body


@pytest.mark.parametrize("path", ["/", "/json", "/csv", "/nope", "/nothing", "/stream", "/fails"])
async def test_headers_that_after_appends_are_sent_with_the_rest(path: str) -> None:
    appends = wrapped(Note([], appends=[("X-B", "2"), (b"x-c", b"3")]))
    bare, response = await get(wrapped(), path), await get(appends, path)
    assert (response.status, response.body) == (bare.status, bare.body)
    assert sorted(response.headers) == sorted([*bare.headers, (b"x-b", b"2"), (b"x-c", b"3")])


CHANGES = [
    ("/", {}, 200, b"hello", HTML),
    ("/", {"status_code": 201}, 201, b"hello", HTML),
    ("/", {"body": "new one"}, 200, b"new one", HTML),
    ("/", {"body": b"bytes"}, 200, b"bytes", HTML),
    ("/", {"status_code": 503, "body": "down"}, 503, b"down", HTML),
    ("/", {"headers": [("x-new", "1")]}, 200, b"hello", HTML),
    ("/", {"headers": {"Content-Type": "text/x"}}, 200, b"hello", "text/x"),
    ("/", {"headers": [(b"content-type", b"text/x")]}, 200, b"hello", "text/x"),
    ("/", {"body": {"b": 2}}, 200, b'{"b":2}', JSON),
    (
        "/nope",
        {"body": {"error": 404}, "headers": {"content-type": "application/problem+json"}},
        404,
        b'{"error":404}',
        "application/problem+json",
    ),
    ("/nope", {"status_code": 200, "body": {"b": 2}}, 200, b'{"b":2}', JSON),
    ("/json", {"headers": []}, 200, b'{"a":1}', JSON),
    ("/json", {"status_code": 500}, 500, b'{"a":1}', JSON),
    # Bytes say nothing of their type: as a compressed or signed body they are still what they were.
    ("/json", {"body": b'{"a": 1}'}, 200, b'{"a": 1}', JSON),
    ("/json", {"body": b"zipped", "headers": {"content-encoding": "gzip"}}, 200, b"zipped", JSON),
    ("/nope", {"body": b"zipped", "headers": {"content-encoding": "gzip"}}, 404, b"zipped", PLAIN),
    # A type that the middleware names is the one that is sent, even if it is the old body's
    # default. But JSON that has taken the place of a text keeps no default type of the text.
    ("/json", {"body": '{"a": 1}', "headers": {"content-type": JSON}}, 200, b'{"a": 1}', JSON),
    ("/nope", {"body": "not here", "headers": {"content-type": PLAIN}}, 404, b"not here", PLAIN),
    ("/", {"body": {"b": 2}, "headers": {"content-type": HTML}}, 200, b'{"b":2}', HTML),
    ("/csv", {"body": {"b": 2}, "headers": {"content-type": HTML}}, 200, b'{"b":2}', HTML),
    ("/csv", {"headers": [("x-new", "1")]}, 200, b"a,b", "text/csv"),
    ("/csv", {"body": "c,d"}, 200, b"c,d", "text/csv"),
    ("/csv", {"body": "c,d", "headers": []}, 200, b"c,d", "text/csv"),
    ("/nothing", {"status_code": 200, "body": "x"}, 200, b"x", HTML),
    ("/", {"status_code": 204}, 204, b"", None),
    ("/", {"status_code": 304, "headers": [("etag", "x")]}, 304, b"", None),
    ("/", {"body": None}, 200, b"", None),
    ("/stream", {"status_code": 202}, 202, b"ab", HTML),
    ("/stream", {"body": "short"}, 200, b"short", HTML),
    ("/plain_stream", {"body": "short"}, 200, b"short", HTML),
    ("/stream", {"status_code": 204}, 204, b"", None),
    ("/events", {"headers": [("x-new", "1")]}, 200, b"data: a\n\n", "text/event-stream"),
]


@pytest.mark.parametrize(
    ("path", "changes", "status", "body", "kind"), CHANGES, ids=[repr(row[:2]) for row in CHANGES]
)
async def test_dict_that_after_returns_replaces_parts_of_the_response(
    path: str, changes: Any, status: int, body: bytes, kind: str | None
) -> None:
    given = dict(changes)
    response = await get(wrapped(Note([], after=changes)), path)
    assert (response.status, response.body) == (status, body)
    assert kind is None or response.headers_all("content-type") == [kind]
    if path in ("/", "/json", "/csv", "/nope") and status not in (204, 304):
        assert response.header("content-length") == str(len(body))
    assert changes == given


async def test_after_may_make_a_stream_of_a_text() -> None:
    response = await get(wrapped(Note([], after=lambda request: {"body": letters()})))
    assert (response.body, response.header("content-length")) == (b"ab", None)


async def test_headers_that_after_returns_replace_the_handlers() -> None:
    both = Note([], after={"headers": {"x-new": "1"}}, appends=[("x-appended", "1")])
    response = await get(wrapped(both), "/csv")
    assert dict(response.headers) == {
        b"content-type": b"text/csv",
        b"x-new": b"1",
        b"content-length": b"3",
    }


@pytest.mark.parametrize("path", ["/", "/json", "/csv", "/nope"])
async def test_a_content_type_that_after_appends_or_puts_in_place_wins(path: str) -> None:
    class Types(Note):
        async def after_request(
            self, request: Any, status_code: int, response_body: Any, extra_headers: Any
        ) -> Any:
            if self.name == "append":
                extra_headers.append(("Content-Type", "text/x"))
            else:
                extra_headers[0] = ("content-type", "text/x")
            return {"body": "new"} if self.before is None and self.after else None

    for name in ("append", "replace"):
        for after in (False, True):
            response = await get(wrapped(Types([], name, after=after)), path)
            assert response.headers_all("content-type") == ["text/x"], (name, after)


async def test_the_outer_ones_see_what_the_inner_ones_made() -> None:
    class Adds(Note):
        async def after_request(
            self, request: Any, status_code: int, response_body: Any, extra_headers: Any
        ) -> Any:
            await super().after_request(request, status_code, response_body, extra_headers)
            extra_headers.append(("x-by", self.name))
            return {"status_code": status_code + 1, "body": response_body + self.name}

    outer, inner = Adds([], "o"), Adds([], "i")
    response = await get(wrapped(outer, inner))
    assert inner.seen == (200, "hello", [("content-type", HTML)])
    assert outer.seen == (201, "helloi", [("content-type", HTML), ("x-by", "i")])
    assert (response.status, response.text, response.headers_all("x-by")) == (
        202,
        "helloio",
        ["i", "o"],
    )


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RuntimeError("x"), 500, "500 Internal Server Error"),
        (asyncio.CancelledError(), 500, "500 Internal Server Error"),
        (HTTPError(402, "pay", {"x-a": "1"}), 402, "pay"),
        (HTTPError(402), 402, "402 Payment Required"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/nope", "/fails", "/stream"])
async def test_error_that_after_raises_replaces_the_response(
    error: BaseException, status: int, text: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[Any] = []
    app = wrapped(Note(events, "a"), Note(events, "b", after=error), Note(events, "c"))
    response = await get(app, path)
    assert (response.status, response.text) == (status, text)
    assert response.header("x-a") == ("1" if text == "pay" else None)
    first = {"/nope": 404, "/fails": 500}.get(path, 200)
    assert events[3:] == [f"after c {first}", f"after b {first}", f"after a {status}"]
    assert len(logged(caplog)) == (status == 500) + (path == "/fails")


@pytest.mark.parametrize("result", MALFORMED, ids=shown)
async def test_a_malformed_result_of_after_is_a_logged_500(
    result: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_logged_500(await get(wrapped(Note([], after=result))), caplog)


@pytest.mark.parametrize("entry", ["abc", ("a", "b", "c"), 5, ("a",)])
async def test_a_malformed_header_that_after_appends_is_a_logged_500(entry, caplog):
    assert_logged_500(await get(wrapped(Note([], appends=[entry]))), caplog)


SPLITS = ("x-bad", "1\r\nset-cookie: evil=1")
BAD_HEADERS = [SPLITS, ("x bad", "1"), (b"x-bad\n", b"1"), ("x-bad", "\u2603"), (b"x-bad", b"\0")]


@pytest.mark.parametrize("path", ["/", "/csv", "/nope", "/stream"])
@pytest.mark.parametrize("bad", BAD_HEADERS, ids=shown)
@pytest.mark.parametrize("way", ["appended", "returned", "returned with a body"])
async def test_a_bad_header_of_after_is_a_500_that_the_outer_ones_see_and_the_log_names(
    way: str, bad: Any, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    after: Any = {"headers": [bad], **({"body": "x"} if way == "returned with a body" else {})}
    inner = Note([], appends=[bad]) if way == "appended" else Note([], after=after)
    events: list[Any] = []
    outer = Note(events, "outer", appends=[("x-outer", "1")])
    response = await get(wrapped(outer, inner), path)
    assert_logged_500(response, caplog)
    assert (response.header("x-outer"), response.header("x-bad"), response.cookies) == (
        "1",
        None,
        {},
    )
    assert events == ["before outer", "after outer 500"]
    assert repr(as_text(bad[0])) in caplog.text


def as_text(name: str | bytes) -> str:
    return name.decode("latin-1") if isinstance(name, bytes) else name


@pytest.mark.parametrize("bad", BAD_HEADERS, ids=shown)
async def test_a_bad_header_of_before_is_a_500_and_the_handler_does_not_run(
    bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await get(wrapped(Note([], before={"body": "x", "headers": [bad]})), "/fails")
    assert_logged_500(response, caplog)
    assert "a secret" not in caplog.text and repr(as_text(bad[0])) in caplog.text


CHANGES_OF_THE_LIST: dict[str, Callable[[Root, list[Any]], Any]] = {
    "insert": lambda app, events: app.middlewares.insert(0, Note(events, "new")),
    "append": lambda app, events: app.middlewares.append(Note(events, "new")),
    "pop": lambda app, events: app.middlewares.pop(0),
    "clear": lambda app, events: app.middlewares.clear(),
}


async def test_an_iterator_of_middlewares_lets_no_request_through(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first request would use it up, and the second one would meet no guard."""
    app: Any = Root()
    app.middlewares = filter(None, [Note([], "a"), None])
    app.ws_middlewares = filter(None, [Note([], "b"), None])
    for _ in range(2):
        caplog.clear()
        assert_logged_500(await get(app), caplog)
        async with websocket(app, "/echo") as ws:
            pass
        assert ws.rejected == 1011


@pytest.mark.parametrize("change", CHANGES_OF_THE_LIST)
@pytest.mark.parametrize("where", ["before", "handler", "after", "after of a bad request"])
async def test_a_change_of_the_middlewares_is_for_the_next_request(where: str, change: str) -> None:
    events: list[Any] = []

    def changes(request: Any) -> None:
        CHANGES_OF_THE_LIST[change](app, events)

    class Changes(Root):
        async def index(self) -> str:
            if where == "handler":
                changes(self.request)
            return "hi"

    app = Changes()
    app.middlewares += [
        Note(events, "a"),
        Note(events, "b", changes if where == "before" else None),
        Note(events, "c", None, changes if where.startswith("after") else None),
    ]
    if where == "after of a bad request":
        response = await post(app, headers=[("content-length", "x")], body=None, receive=scripted())
        assert (response.status, events) == (400, ["after c 400", "after b 400", "after a 400"])
    else:
        assert (await get(app)).status == 200
        assert events == [
            "before a",
            "before b",
            "before c",
            "after c 200",
            "after b 200",
            "after a 200",
        ]


async def test_a_middleware_that_a_handler_appends_runs_on_the_next_request() -> None:
    class Installs(Root):
        async def index(self) -> str:
            self.middlewares.append(Note(events, "new"))
            return "hi"

    events: list[Any] = []
    app = Installs()
    assert ((await get(app)).status, events) == (200, [])
    assert (await get(app, "/json")).status == 200
    assert events == ["before new", "after new 200"]


async def test_debug_shows_the_traceback_of_a_middleware() -> None:
    response = await get(wrapped(Note([], after=RuntimeError("in after")), debug=True))
    assert response.status == 500 and "RuntimeError: in after" in response.text
    assert response.header("content-type") == PLAIN


# --- Streams --------------------------------------------------------------------------------------


class Wraps(Note):
    """Sends a stream on in capital letters, as a middleware that compresses or counts would."""

    async def after_request(
        self, request: Any, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        async def upper() -> AsyncIterator[str]:
            if hasattr(response_body, "__aiter__"):
                async for piece in response_body:
                    yield piece.upper()
            else:
                for piece in response_body:
                    yield piece.upper()

        return {"body": upper()}


@pytest.mark.parametrize("path", ["/stream", "/plain_stream"])
async def test_after_may_wrap_a_stream(path: str) -> None:
    response = await get(wrapped(Wraps([])), path)
    assert (response.body, response.complete) == (b"AB", True)


@pytest.mark.parametrize("kind", [UnreadFile, UnreadStream])
@pytest.mark.parametrize(
    "after", [{"body": "x"}, {"status_code": 204}, RuntimeError("x"), HTTPError(400)], ids=shown
)
async def test_a_stream_that_after_replaces_is_not_read(kind: Any, after: Any) -> None:
    replaced = kind()
    response = await get(returns(replaced, Note([], after=after)))
    # With another status, the body is still MicroPie's to close.
    is_closed = kind is UnreadStream and after == {"status_code": 204}
    assert (response.complete, replaced.closed) == (True, is_closed)


@pytest.mark.parametrize("fault", ["status", "session"])
async def test_a_stream_that_never_starts_is_closed(fault: str) -> None:
    class Broken(InMemorySessionBackend):
        async def update(self, *args: Any) -> None:
            raise OSError("the store is down")

    class Root(App):
        async def index(self) -> Any:
            if fault == "session":
                self.request.session["a"] = 1
            return 200 if fault == "session" else 304, stream

    stream = UnreadStream()
    response = await get(Root(Broken()))
    assert (response.status, stream.closed) == (500 if fault == "session" else 304, 1)


async def test_after_closes_the_stream_that_it_replaces() -> None:
    """MicroPie closes what it sends, and leaves the rest to the middleware that has it."""

    class Closes(Note):
        async def after_request(self, request: Any, *response: Any) -> Any:
            await response[1].aclose()
            return {"body": "short"}

    stream = UnreadStream()
    assert ((await get(returns(stream, Closes([])))).text, stream.closed) == ("short", 1)


# --- The exception that led to a response ---------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/", None),
        ("GET", "/moves", None),
        ("GET", "/stream", None),
        ("GET", "/fails", "RuntimeError: a secret"),
        ("GET", "/refuses", "HTTPError: no"),
        ("GET", "/nope", "HTTPError: 404 Not Found"),
        ("OPTIONS", "/puts", None),
        ("POST", "/puts", "HTTPError: 405 Method Not Allowed"),
        ("GET", "/needs", "HTTPError: 400 Bad Request: Missing required parameter 'name'"),
        ("GET", "/number/x", "HTTPError: 404 Not Found"),
        ("GET", "/unsayable", "TypeError: object is not JSON serializable"),
    ],
)
async def test_after_finds_the_exception_that_led_to_the_response(
    method: str, path: str, expected: str | None
) -> None:
    seen: list[Any] = []
    see = Note([], before=lambda r: seen.append(r.exception), after=lambda r: seen.append(told(r)))
    await request(wrapped(see), method, path)
    assert seen == [None, expected]


def told(request: Any) -> str | None:
    error = request.exception
    return error and f"{type(error).__name__}: {error}"


async def test_a_session_is_no_other_one_after_a_bad_content_length() -> None:
    """It is loaded all the same."""

    class Counts(Note):
        async def after_request(self, request: Any, *response: Any) -> None:
            request.session["errors"] = request.session.get("errors", 0) + 1

    app = wrapped(Counts([]))
    browser = Browser(app)
    await browser.get("/")
    session_id = browser.cookies["session_id"]
    refused = await browser.post(
        "/", headers=[("content-length", "x")], body=None, receive=scripted()
    )
    assert (refused.status, refused.headers_all("set-cookie")) == (400, [])
    assert await app.session_backend.load(session_id) == {"errors": 2}


async def test_a_body_is_dropped_before_the_500_of_a_session_backend() -> None:
    """Some clients look for the response only when they have sent the whole body."""

    class Broken(InMemorySessionBackend):
        async def load(self, session_id: str) -> Any:
            raise OSError("the store is down")

    received = 0

    async def receive() -> Any:
        nonlocal received
        received += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": received < 5}

    headers = [("content-length", "5000"), ("cookie", "session_id=known")]
    response = await post(Root(Broken()), headers=headers, body=None, receive=receive)
    assert (response.status, received) == (500, 5)


async def test_after_finds_the_exception_of_a_request_that_is_refused_before_it() -> None:
    seen: list[Any] = []
    app = wrapped(Note([], after=lambda r: seen.append(told(r))))
    await post(app, headers=[("content-length", "x")], body=None, receive=scripted())
    assert seen == ["HTTPError: 400 Bad Request: Invalid Content-Length"]


@pytest.mark.parametrize("path", ["/", "/fails"])
async def test_the_outer_ones_find_the_exception_of_the_inner_one(path: str) -> None:
    seen: list[Any] = []

    def look(request: Any) -> None:
        seen.append(told(request))

    raises = Note([], after=KeyError("inner"))
    sends = Note([], appends=[("x-bad", "\n")])
    app = wrapped(Note([], after=look), sends, Note([], after=look), raises)
    assert (await get(app, path)).status == 500
    assert seen[0] == "KeyError: 'inner'"
    assert seen[1].startswith("ValueError: 'x-bad'")


async def test_a_middleware_answers_by_the_type_of_the_exception() -> None:
    class Handlers(HttpMiddleware):
        async def after_request(self, request: Any, *response: Any) -> Any:
            if isinstance(request.exception, RuntimeError):
                return {"status_code": 503, "body": {"error": str(request.exception)}}
            return None

    response = await get(wrapped(Handlers()), "/fails")
    assert (response.status, response.json()) == (503, {"error": "a secret"})
    assert (await get(wrapped(Handlers()), "/nope")).text == "404 Not Found"
