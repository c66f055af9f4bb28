"""Mounts: which app gets a request, its scope, the parent's part, lifespans and sessions."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    WebSocket,
    WebSocketRequest,
    routes,
)
from tests.asgi import (
    REMOVED,
    Browser,
    LifespanFailed,
    assert_logged_500,
    call,
    exchange,
    get,
    lifespan,
    post,
    request,
    scripted,
    websocket,
)
from tests.noting import Note


class Other:
    """An ASGI app of another kind: it answers with its name, and notes scope and messages."""

    def __init__(self, name: str = "other") -> None:
        self.name = name
        self.scopes: list[Any] = []
        self.received: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] != "lifespan", "its lifespan is its own"
        self.scopes.append(scope)
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": self.name})
            await send({"type": "websocket.close"})
            return
        while True:
            message = await receive()
            self.received.append(message)
            if not message.get("more_body"):
                break
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"x-by", self.name.encode())],
            }
        )
        await send({"type": "http.response.body", "body": self.name.encode()})


class Root(App):
    """The parent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.called: list[str] = []

    async def index(self) -> str:
        return "root index"

    async def static(self, *rest: str) -> str:
        return "the parent's own static"

    async def page(self) -> str:
        return "root page"

    async def put(self, **values: str) -> dict[str, Any]:
        self.request.session.update(values)
        return dict(self.request.session)

    async def look(self) -> dict[str, Any]:
        return dict(self.request.session)

    async def clear(self) -> None:
        self.request.session.clear()

    async def ws_index(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text("root")


class Child(Root):
    """A mounted MicroPie app."""

    async def where(self, *rest: str) -> dict[str, Any]:
        scope = self.request.scope
        return {"root_path": scope["root_path"], "path": scope["path"], "rest": list(rest)}

    async def echo(self) -> bytes:
        return await self.request.body()

    async def crashes(self) -> None:
        raise RuntimeError("in the child")

    async def index(self, *rest: str) -> str:
        return "child index " + "|".join(rest)

    async def ws_where(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(self.request.scope["root_path"])

    async def ws_look(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json(self.request.session)


def mounted(prefix: str = "/static", child: Any = None, **options: Any) -> tuple[Root, Any]:
    root = Root(**options)
    child = Other() if child is None else child
    root.mounts[prefix] = child
    return root, child


# --- Which requests go where ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "path, goes",
    [
        ("/static", True),
        ("/static/", True),
        ("/static/a.css", True),
        ("/static/a/b/c", True),
        ("/static//a", True),
        ("/static/../page", True),
        ("/static?a=1", True),
        ("/%73tatic/a", True),
        ("/staticx", False),
        ("/static-x/a", False),
        ("/static%2Fa", True),
        ("/x/static/a", False),
        ("//static/a", False),
        ("/Static/a", False),
        ("/", False),
        ("/page", False),
        ("/stati", False),
    ],
)
async def test_a_prefix_of_whole_segments(path: str, goes: bool) -> None:
    root, other = mounted()
    response = await get(root, path)
    assert (response.body == b"other") is goes
    assert bool(other.scopes) is goes


@pytest.mark.parametrize(
    "prefix, paths",
    [
        ("/static", ["/static", "/static/", "/static/a"]),
        ("/static/", ["/static", "/static/", "/static/a"]),
        ("", ["/", "/a"]),
        ("/_assets", ["/_assets/a"]),
    ],
)
async def test_a_prefix_may_be_empty_or_private_to_an_app_or_end_in_a_slash(
    prefix: str, paths: list[str]
) -> None:
    root, other = mounted(prefix)
    for path in paths:
        assert (await get(root, path)).body == b"other"
    assert {scope["root_path"] for scope in other.scopes} == {prefix.rstrip("/")}


async def test_a_prefix_may_lack_its_slash() -> None:
    root, other = mounted("static")
    assert (await get(root, "/static/a")).body == b"other"
    assert [scope["root_path"] for scope in other.scopes] == ["/static"]


@pytest.mark.parametrize(
    "path, name",
    [
        ("/a", "a"),
        ("/a/x", "a"),
        ("/a/b", "ab"),
        ("/a/b/x", "ab"),
        ("/a/bx", "a"),
        ("/a/b/c/d", "abc"),
        ("/b", "rest"),
        ("/", "rest"),
    ],
)
async def test_the_longest_prefix_wins(path: str, name: str) -> None:
    root = Root()
    root.mounts |= {
        "/a": Other("a"),
        "/a/b/c": Other("abc"),
        "/a/b": Other("ab"),
        "/": Other("rest"),
    }
    assert (await get(root, path)).text == name
    async with websocket(root, path) as ws:
        assert await ws.receive() == name


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PURGE"])
async def test_every_method_goes_through(method: str) -> None:
    async def quiet(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["method"])
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    seen: list[str] = []
    root, _ = mounted(child=quiet)
    assert (await request(root, method, "/static/a")).status == 204
    assert seen == [method]


async def test_a_mount_may_come_and_go() -> None:
    root, _ = mounted()
    assert (await get(root, "/static/a")).body == b"other"
    del root.mounts["/static"]
    assert (await get(root, "/static/a")).text == "the parent's own static"


# --- The scope ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "root_path, path, raw_path, expected",
    [
        ("", "/static/a", b"/static/a", ("/static", "/static/a", b"/static/a")),
        (REMOVED, "/static", b"/static", ("/static", "/static", b"/static")),
        (None, "/static/", None, ("/static", "/static/", None)),
        (
            "/api",
            "/api/static/a",
            b"/api/static/a",
            ("/api/static", "/api/static/a", b"/api/static/a"),
        ),
        (
            "/api/",
            "/api/static/a",
            b"/api/static/a",
            ("/api/static", "/api/static/a", b"/api/static/a"),
        ),
        # A server that does not repeat the root path: the path of a scope includes it (ASGI HTTP
        # 2.1).
        ("/api", "/static/a", b"/static/a", ("/api/static", "/api/static/a", None)),
        ("/api", "/static/a", None, ("/api/static", "/api/static/a", None)),
        ("", "/static/a b", b"/static/a%20b", ("/static", "/static/a b", b"/static/a%20b")),
        ("", "/static/a/b", b"/static/a%2Fb", ("/static", "/static/a/b", b"/static/a%2Fb")),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_root_path_is_extended(
    kind: str,
    root_path: Any,
    path: str,
    raw_path: bytes | None,
    expected: tuple[str, str, bytes | None],
) -> None:
    root, other = mounted()
    if kind == "http":
        await request(root, "GET", path, raw_path=raw_path, scope={"root_path": root_path})
    else:
        async with websocket(root, path, raw_path=raw_path, scope={"root_path": root_path}):
            pass
    (scope,) = other.scopes
    assert (scope["root_path"], scope["path"], scope.get("raw_path")) == expected
    assert scope["type"] == kind


async def test_the_rest_of_the_scope_is_handed_over_and_the_servers_own_is_not_changed() -> None:
    class Server:
        """Keeps the scope, as a server does that logs the request afterwards."""

        def __init__(self, app: App) -> None:
            self.app = app

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            before = dict(scope)
            await self.app(scope, receive, send)
            assert scope == before

    root, other = mounted()
    await get(
        Server(root),
        "/static/a?b=c",
        headers={"x-a": "1"},
        scope={"state": {"db": 1}, "extensions": {"x": {}}},
    )
    (scope,) = other.scopes
    assert (scope["query_string"], scope["state"], scope["extensions"]) == (
        b"b=c",
        {"db": 1},
        {"x": {}},
    )
    assert (b"x-a", b"1") in scope["headers"]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_the_scope_is_handed_over_as_the_middlewares_have_left_it(kind: str) -> None:
    def changes(request: Request) -> None:
        scope = request.scope
        scope["user"] = "ann"
        scope["state"] = {"request": 7}
        scope["headers"] = [pair for pair in scope["headers"] if pair[0] != b"x-user"]
        scope["root_path"], scope["path"] = "/v1", "/v1/static/new"

    root, other = mounted()
    note = Note([], "a", changes)
    root.middlewares.append(note)
    root.ws_middlewares.append(note)
    if kind == "http":
        await get(root, "/static/old", headers={"x-user": "root"})
    else:
        async with websocket(root, "/static/old", headers=[("x-user", "root")]):
            pass
    (scope,) = other.scopes
    assert (scope["user"], scope["state"]) == ("ann", {"request": 7})
    assert b"x-user" not in dict(scope["headers"])
    assert (scope["root_path"], scope["path"]) == ("/v1/static", "/v1/static/new")


@pytest.mark.parametrize(
    "root_path, path",
    [("", "/a/b/where/x"), ("/api", "/api/a/b/where/x"), ("/api", "/a/b/where/x")],
)
async def test_mounts_in_mounts(root_path: str, path: str) -> None:
    middle, _ = mounted("/b", Child())
    root, _ = mounted("/a", middle)
    response = await get(root, path, scope={"root_path": root_path})
    assert response.json() == {
        "root_path": f"{root_path}/a/b",
        "path": f"{root_path}/a/b/where/x",
        "rest": ["x"],
    }


@pytest.mark.parametrize(
    "path, text",
    [
        ("/shop", "child index "),
        ("/shop/", "child index "),
        ("/shop/page", "root page"),
        ("/shop/nope/x", "child index nope|x"),
        ("/shop/a%2Fb", "child index a|b"),
        ("/shop/shop", "child index shop"),
        ("/shop//x", "child index |x"),
        ("/page", "root page"),
    ],
)
async def test_a_mounted_app_routes_what_is_left(path: str, text: str) -> None:
    root, _ = mounted("/shop", Child())
    assert (await get(root, path)).text == text


async def test_a_mounted_app_answers_websockets() -> None:
    root, _ = mounted("/shop", Child())
    for path, text in (("/shop", "root"), ("/shop/where", "/shop"), ("/", "root")):
        async with websocket(root, path) as ws:
            assert await ws.receive() == text
    async with websocket(root, "/shop/nope") as ws:
        assert ws.rejected == 1008


# --- What of the parent runs ----------------------------------------------------------------------


async def test_before_request_runs_and_nothing_else_of_the_parent() -> None:
    notes: list[Any] = []
    root, other = mounted()
    root.middlewares += [Note(notes, name, appends=[("x-after", name)]) for name in "ab"]
    response = await get(root, "/static/a")
    assert notes == ["before a", "before b"]
    assert response.header("x-after") is None
    assert response.header("x-by") == "other"


async def test_the_middlewares_of_both_apps() -> None:
    notes: list[Any] = []
    root, child = mounted("/shop", Child())
    for app, name in ((root, "parent"), (child, "child")):
        app.middlewares.append(Note(notes, name, appends=[("x-after", name)]))
    response = await get(root, "/shop/page")
    assert notes == ["before parent", "before child", "after child 200"]
    assert response.headers_all("x-after") == ["child"]


@pytest.mark.parametrize(
    "answer, status, body",
    [
        ({"status_code": 401, "body": "log in first"}, 401, b"log in first"),
        (RuntimeError("boom"), 500, b"500 Internal Server Error"),
    ],
)
async def test_before_request_may_answer_instead(answer: Any, status: int, body: bytes) -> None:
    notes: list[Any] = []
    root, other = mounted()
    root.middlewares += [Note(notes, "a"), Note(notes, "b", answer), Note(notes, "c")]
    response = await get(root, "/static/a")
    assert (response.status, response.body) == (status, body)
    assert other.scopes == []
    assert notes[:2] == ["before a", "before b"] and notes[-1] == f"after a {status}"


async def test_before_websocket_runs_and_may_refuse() -> None:
    notes: list[Any] = []
    root, other = mounted()
    root.ws_middlewares.append(Note(notes, "a"))
    async with websocket(root, "/static/a") as ws:
        assert await ws.receive() == "other"
    assert notes == ["before a"]
    root.ws_middlewares.append(Note(notes, "b", {"code": 4001, "reason": "no"}))
    notes.clear()
    async with websocket(root, "/static/a") as ws:
        assert (ws.rejected, ws.close_reason) == (4001, "no")
    assert notes == ["before a", "before b", "after b", "after a"]
    assert len(other.scopes) == 1


@pytest.mark.parametrize(
    "content_type, body",
    [
        ("application/json", b'{"a": 1}'),
        ("application/json", b"{"),
        ("application/x-www-form-urlencoded", b"a=1&b=2"),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data", b"no boundary"),
        ("text/plain", b"text"),
    ],
)
async def test_the_body_is_left_untouched(content_type: str, body: bytes) -> None:
    root, other = mounted()
    root.middlewares.append(Note([], "a"))
    response = await post(
        root, "/static/a", body=body, headers={"content-type": content_type}, chunk_size=3
    )
    assert response.body == b"other"
    assert b"".join(message["body"] for message in other.received) == body
    assert [len(message["body"]) for message in other.received][:-1] == [3] * (
        len(other.received) - 1
    )


async def test_a_mounted_app_gets_the_body_that_a_middleware_has_read() -> None:
    class Signed(Note):
        async def before_request(self, request: Request) -> None:
            await request.body()

    root, _ = mounted("/shop", Child(body_timeout=0.5))
    root.middlewares.append(Signed([], "a"))
    response = await post(root, "/shop/echo", body=b"hello")
    assert (response.status, response.text) == (200, "hello")


async def test_a_mounted_app_has_the_limits_of_its_own() -> None:
    root, _ = mounted("/shop", Child(max_body_size=100), max_body_size=10)
    assert (await post(root, "/shop/echo", body=b"x" * 50)).body == b"x" * 50
    assert (await post(root, "/shop/echo", body=b"x" * 200)).status == 413


async def test_an_error_of_a_mounted_app_is_its_own_matter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    root, child = mounted("/shop", Child(), debug=True)
    response = await get(root, "/shop/crashes")
    assert (response.status, response.text) == (500, "500 Internal Server Error")
    assert len(caplog.records) == 1


async def test_a_mounted_app_streams_and_its_client_may_leave() -> None:
    async def streams(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        ends.append("left")

    ends: list[str] = []
    root, _ = mounted(child=streams)
    async with exchange(root, path="/static/a") as ex:
        assert await ex.next_chunk() == b"a"
    assert ends == ["left"]


async def test_the_request_of_the_parent_is_back_afterwards() -> None:
    root, child = mounted("/shop", Child())
    assert (await get(root, "/shop/where")).json()["root_path"] == "/shop"
    with pytest.raises(RuntimeError):
        _ = child.request


async def test_handler_that_a_middleware_chooses_comes_before_the_mount() -> None:
    """Or a guard that sends visitors to the login would let every one into the mounted app."""

    def route(request: Request) -> None:
        request.route_handler = "page"
        request.path_params = []

    root, _ = mounted()
    root.middlewares.append(Note([], "a", route))
    assert (await get(root, "/static/a")).body == b"root page"
    assert (await post(root, "/static/a", json={"a": 1})).body == b"root page"
    in_pieces = await post(root, "/static/a", json={"a": 1}, chunk_size=2)
    assert in_pieces.body == b"root page"


class Asks(HttpMiddleware):
    """Looks at the request in the parent before the hand-over."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    async def before_request(self, request: Request) -> None:
        if self.kind == "is_disconnected":
            await request.is_disconnected()
        elif self.kind == "half":
            async for _ in request.stream():
                break
        elif self.kind == "too large":
            with contextlib.suppress(HTTPError):
                await request.body()


async def read_all(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body or b"empty"})


async def test_mounted_app_gets_the_body_after_a_look_at_the_client() -> None:
    app = App()
    app.middlewares.append(Asks("is_disconnected"))
    app.mounts["/m"] = read_all
    assert (await get(app, "/m/x")).text == "empty"
    assert (await post(app, "/m/x", body=[b"a", b"b"])).text == "ab"


async def test_mounted_app_never_gets_the_rest_of_a_body_for_the_whole(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    app.middlewares.append(Asks("half"))
    app.mounts["/m"] = read_all
    assert_logged_500(await post(app, "/m/x", body=[b"a", b"b"]), caplog)


async def test_mounted_app_never_gets_the_rest_of_a_body_that_failed() -> None:
    """The 413 that a middleware has swallowed is raised again."""
    app = App(max_body_size=3)
    app.middlewares.append(Asks("too large"))
    app.mounts["/m"] = read_all
    chunked = [("transfer-encoding", "chunked")]
    response = await post(app, "/m/x", body=[b"ab", b"cd", b"ef"], headers=chunked)
    assert response.status == 413
    assert response.text == "413 Content Too Large: max_body_size is 3 bytes"


@pytest.mark.parametrize("error", [FileNotFoundError, TimeoutError, ConnectionResetError])
async def test_exception_of_a_mounted_app_reaches_the_server(error: type[OSError]) -> None:
    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise error

    app = App()
    app.mounts["/m"] = fails
    with pytest.raises(error):
        await call(app, path="/m/x")


# --- Lifespan -------------------------------------------------------------------------------------


def hooked(app: App, name: str, done: list[str]) -> App:
    async def start() -> None:
        done.append(f"start {name}")

    app.startup_handlers.append(start)
    app.shutdown_handlers.append(lambda: done.append(f"stop {name}"))
    return app


async def test_a_mounted_apps_handlers_run_with_the_parents() -> None:
    done: list[str] = []
    inner = hooked(Child(), "inner", done)
    child = hooked(Child(), "child", done)
    child.mounts["/inner"] = inner
    root = hooked(Root(), "root", done)
    root.mounts |= {"/child": child, "/again": child, "/other": Other()}
    async with lifespan(root):
        assert sorted(done) == ["start child", "start inner", "start root"]
        assert [app._started for app in (root, child, inner)] == [True] * 3
        done.clear()
    assert sorted(done) == ["stop child", "stop inner", "stop root"]
    assert [app._started for app in (root, child, inner)] == [False] * 3


async def test_an_app_that_a_startup_handler_mounts_starts_too() -> None:
    done: list[str] = []
    root, child = hooked(Root(), "root", done), hooked(Child(), "child", done)
    root.startup_handlers.append(lambda: root.mounts.update({"/child": child}))
    async with lifespan(root):
        assert done == ["start root", "start child"]
        assert child._started
    assert done[2:] == ["stop child", "stop root"]


async def test_apps_that_mount_each_other_start_once() -> None:
    done: list[str] = []
    first, second = hooked(Root(), "first", done), hooked(Root(), "second", done)
    first.mounts["/second"], second.mounts["/first"] = second, first
    async with lifespan(first):
        assert sorted(done) == ["start first", "start second"]


async def test_apps_that_are_equal_are_told_apart() -> None:
    class Equal(Root):
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

        __hash__ = None

    done: list[str] = []
    root, child = hooked(Equal(), "root", done), hooked(Equal(), "child", done)
    root.mounts["/child"] = child
    async with lifespan(root):
        assert sorted(done) == ["start child", "start root"]
    assert "/child/page" in [route.path for route in routes(root)]


async def test_a_mounted_app_that_fails_to_start_or_stop_is_reported() -> None:
    def fails() -> None:
        raise OSError("the child's database")

    for handlers in ("startup_handlers", "shutdown_handlers"):
        done: list[str] = []
        root, child = mounted("/child", Child())
        hooked(root, "root", done)
        getattr(child, handlers).append(fails)
        with pytest.raises(LifespanFailed, match="the child's database"):
            async with lifespan(root):
                pass
    assert "stop root" in done


# --- Sessions -------------------------------------------------------------------------------------


async def test_the_parent_loads_its_session_for_its_middlewares() -> None:
    def look(request: Request) -> None:
        seen.append(dict(request.session))

    def refuse(request: Request) -> Any:
        return None if request.session.get("user") else {"status_code": 401, "body": "log in first"}

    seen: list[Any] = []
    root, other = mounted()
    root.middlewares += [Note([], "a", look), Note([], "b", refuse)]
    browser = Browser(root)
    assert (await browser.get("/static/a")).status == 401
    root.middlewares.pop()
    await browser.get("/put?user=ann")
    root.middlewares.append(Note([], "b", refuse))
    response = await browser.get("/static/a")
    assert response.body == b"other"
    assert seen == [{}, {}, {"user": "ann"}]
    assert response.header("vary") == "Cookie" and not response.cookies


def counts(request: Request) -> None:
    request.session["visits"] = request.session.get("visits", 0) + 1


@pytest.mark.parametrize("child", [Other, Child, App])
async def test_the_parents_session_is_saved_and_its_headers_are_in_the_mounted_apps_response(
    child: Any,
) -> None:
    root, _ = mounted(child=child())
    note = Note([], "a", counts)
    root.middlewares.append(note)
    browser = Browser(root)
    first, second = await browser.get("/static/a"), await browser.get("/static/a")
    assert (first.header("vary"), first.header("cache-control")) == ("Cookie", "no-store")
    assert first.headers_all("set-cookie")[0].startswith("session_id=")
    assert (second.header("vary"), second.header("cache-control")) == ("Cookie", None)
    assert second.headers_all("set-cookie") == []
    session_id = browser.cookies["session_id"]
    assert await root.session_backend.load(session_id) == {"visits": 2}
    assert note.notes == ["before a"] * 2


async def test_a_mounted_apps_own_headers_stay() -> None:
    async def cached(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"Cache-Control", b"max-age=5"), (b"vary", b"accept")]
        await send({"type": "http.response.start", "status": 200, "headers": iter(headers)})
        await send({"type": "http.response.body", "body": b"x"})

    root, _ = mounted(child=cached)
    for before, names in (
        (counts, ["cache-control", "vary", "vary", "set-cookie"]),
        (None, ["cache-control", "vary"]),
    ):
        root.middlewares[:] = [Note([], "a", before)]
        messages = await call(root, path="/static", headers=[(b"host", b"localhost")])
        sent = [(name.decode().lower(), value) for name, value in messages[0]["headers"]]
        assert [name for name, _ in sent] == names
        assert dict(sent)["cache-control"] == b"max-age=5"


async def test_the_session_of_the_parent_and_the_one_of_the_child_are_both_saved() -> None:
    root, child = mounted("/shop", Child())
    root.middlewares.append(Note([], "a", counts))
    browser = Browser(root)
    for number in range(3):
        await browser.get(f"/shop/put?n{number}=1")
    (mine,) = (value for (_, path), value in browser.jar.items() if path == "/")
    (shops,) = (value for (_, path), value in browser.jar.items() if path == "/shop")
    assert await root.session_backend.load(mine) == {"visits": 3}
    assert sorted(await child.session_backend.load(shops)) == ["n0", "n1", "n2"]


class Down(InMemorySessionBackend):
    async def update(self, *args: Any) -> None:
        raise OSError("down")


async def test_a_parents_session_that_cannot_be_saved_is_a_500_and_nothing_is_handed_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    notes: list[Any] = []
    root, other = mounted(session_backend=Down())
    root.middlewares.append(Note(notes, "a", counts))
    response = await get(root, "/static/a")
    assert_logged_500(response, caplog)
    assert (notes, other.scopes) == (["before a", "after a 500"], [])
    root.ws_middlewares.append(Note(notes, "a", counts))
    async with websocket(root, "/static/a") as ws:
        assert not ws.accepted
    assert other.scopes == []


async def test_the_parents_session_headers_are_in_a_mounted_apps_handshake() -> None:
    root, _ = mounted()
    root.ws_middlewares.append(Note([], "a", counts))
    async with websocket(root, "/static/a") as ws:
        assert await ws.receive() == "other"
    names = [name for name, _ in ws.accept_headers]
    assert names == [b"vary", b"set-cookie", b"cache-control"]
    session_id = dict(ws.accept_headers)[b"set-cookie"].decode().split(";")[0].partition("=")[2]
    assert await root.session_backend.load(session_id) == {"visits": 1}


async def test_the_parents_session_headers_are_in_a_mounted_apps_refusal() -> None:
    async def refuses(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    root, _ = mounted(child=refuses)
    root.ws_middlewares.append(Note([], "a", counts))
    connect = scripted({"type": "websocket.connect"})
    start, _ = await call(root, connect, type="websocket", path="/static", method=None)
    names = [name for name, _ in start["headers"]]
    assert names == [b"vary", b"set-cookie", b"cache-control"]


async def test_another_origins_page_has_no_session_of_the_parent_either() -> None:
    root, other = mounted()
    root.middlewares.append(Note([], "a", counts))
    await root.session_backend.save("id", {"user": "ann"}, 60)
    headers = {"cookie": "session_id=id", "origin": "http://evil.example"}
    response = await post(root, "/static/a", headers=headers)
    assert (response.body, response.cookies) == (b"other", {})
    assert await root.session_backend.load("id") == {"user": "ann"}


async def test_the_parent_loads_its_session_for_its_websocket_middlewares() -> None:
    def look(request: WebSocketRequest) -> None:
        seen.append(dict(request.session))

    seen: list[Any] = []
    root, other = mounted()
    root.ws_middlewares.append(Note([], "a", look))
    await root.session_backend.save("id", {"user": "ann"}, 60)
    for origin in ("http://testserver", "http://evil.example"):
        async with websocket(
            root, "/static/a", headers=[("cookie", "session_id=id"), ("origin", origin)]
        ) as ws:
            assert await ws.receive() == "other"
    assert seen == [{"user": "ann"}, {}]


async def test_sessions_of_parent_and_child_do_not_disturb_each_other() -> None:
    root, child = mounted("/shop", Child())
    second = Child()
    root.mounts["/blog"] = second
    browser = Browser(root)
    await browser.get("/put?who=root")
    await browser.get("/shop/put?who=shop")
    await browser.get("/blog/put?who=blog")
    assert sorted(path for _, path in browser.jar) == ["/", "/blog", "/shop"]
    for _ in range(2):
        for prefix, who in (("", "root"), ("/shop", "shop"), ("/blog", "blog")):
            assert (await browser.get(f"{prefix}/look")).json() == {"who": who}
    await browser.get("/shop/clear")
    assert (await browser.get("/shop/look")).json() == {}
    assert (await browser.get("/look")).json() == {"who": "root"}
    await browser.get("/shop/put?who=again")
    await browser.get("/clear")
    assert (await browser.get("/look")).json() == {}
    assert (await browser.get("/shop/look")).json() == {"who": "again"}
    assert (await browser.get("/blog/look")).json() == {"who": "blog"}


async def test_the_session_of_the_parent_is_there_behind_the_cookie_of_the_child() -> None:
    """The browser sends both cookies below the mount, the child's first (RFC 6265 section 5.4)."""

    def look(request: Request) -> None:
        seen.append(dict(request.session))

    seen: list[Any] = []
    root, child = mounted("/shop", Child())
    browser = Browser(root)
    await browser.get("/put?who=root")
    await browser.get("/shop/put?who=shop")
    root.middlewares.append(Note([], "a", look))
    assert (await browser.get("/shop/look")).json() == {"who": "shop"}
    assert seen == [{"who": "root"}]


async def test_a_websocket_of_the_child_has_the_childs_session() -> None:
    root, child = mounted("/shop", Child())
    browser = Browser(root)
    await browser.get("/put?who=root")
    await browser.get("/shop/put?who=shop")
    async with websocket(root, "/shop/look", headers=browser.with_cookies("/shop/look")) as ws:
        assert await ws.receive_json() == {"who": "shop"}


async def test_a_session_is_shared_by_the_same_backend_and_path() -> None:
    backend = InMemorySessionBackend()
    shared: dict[str, Any] = {"session_backend": backend, "session_cookie_path": "/"}
    root, child = mounted("/shop", Child(**shared), **shared)
    browser = Browser(root)
    await browser.get("/shop/put?a=1")
    await browser.get("/put?b=2")
    assert (await browser.get("/shop/look")).json() == {"a": "1", "b": "2"}
    assert list(browser.jar) == [("session_id", "/")]
    await browser.get("/shop/clear")
    assert (await browser.get("/look")).json() == {}


async def test_many_cookies_of_the_same_name_do_not_ask_the_backend_for_ever() -> None:
    class Counts(InMemorySessionBackend):
        loads = 0

        async def load(self, session_id: str) -> dict[str, Any]:
            self.loads += 1
            return await super().load(session_id)

    backend = Counts()
    header = "; ".join(f"session_id={number}" for number in range(1000))
    response = await get(Root(session_backend=backend), "/look", headers={"cookie": header})
    assert (response.status, response.json()) == (200, {})
    assert backend.loads < 10


async def test_requests_below_a_mount_run_side_by_side() -> None:
    root, _ = mounted("/shop", Child())
    responses = await asyncio.gather(*(get(root, f"/shop/where/{number}") for number in range(20)))
    assert [response.json()["rest"] for response in responses] == [
        [str(number)] for number in range(20)
    ]
