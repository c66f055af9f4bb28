"""Sessions: when they are loaded and saved, their ids and cookies, backends, and the sessions of WebSockets."""

from __future__ import annotations

import asyncio
import logging
import re
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from micropie import (
    SESSION_TIMEOUT,
    App,
    FromSession,
    HTTPError,
    HttpMiddleware,
    InMemorySessionBackend,
    Request,
    SessionBackend,
    WebSocket,
)
from tests.asgi import REMOVED, Browser, Response, exchange, get, post, websocket
from tests.clock import ManualClock

Act = Callable[[Request], Awaitable[Any]]


class Spy(InMemorySessionBackend):
    """Notes what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    async def load(self, session_id: str) -> dict[str, Any]:
        self.calls.append(("load", session_id))
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        self.calls.append(("save", session_id, dict(data), timeout))
        await super().save(session_id, data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        self.calls.append(("touch", session_id, timeout))
        await super().touch(session_id, timeout)

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def saved(self) -> list[dict[str, Any]]:
        return [call[2] for call in self.calls if call[0] == "save"]


class Plain(SessionBackend):
    """The least that a backend may be: without `touch`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.sessions: dict[str, dict[str, Any]] = {}

    async def load(self, session_id: str) -> dict[str, Any]:
        self.calls.append(("load", session_id))
        return dict(self.sessions.get(session_id, {}))

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        self.calls.append(("save", session_id, dict(data), timeout))
        if data:
            self.sessions[session_id] = dict(data)
        else:
            self.sessions.pop(session_id, None)


class Down(InMemorySessionBackend):
    """Fails in what `broken` names."""

    def __init__(self, *broken: str) -> None:
        super().__init__()
        self.broken = broken

    def _check(self, name: str) -> None:
        if name in self.broken:
            raise OSError(f"secret: {name} is down")

    async def load(self, session_id: str) -> dict[str, Any]:
        self._check("load")
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        self._check("save")
        await super().save(session_id, data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        self._check("touch")
        await super().touch(session_id, timeout)


async def nothing(request: Request) -> None:
    return None


class Root(App):
    """Handlers that do one thing to the session; `act` does what the test says."""

    def __init__(self, doing: Act = nothing, backend: SessionBackend | None = None, **options: Any) -> None:
        super().__init__(backend, **options)
        self.doing = doing

    async def act(self) -> Any:
        return await self.doing(self.request)

    async def look(self) -> dict[str, Any]:
        return dict(self.request.session)

    async def blind(self) -> str:
        return "did not look"

    async def put(self, **values: str) -> dict[str, Any]:
        self.request.session.update(values)
        return dict(self.request.session)

    async def drop(self, *names: str) -> dict[str, Any]:
        for name in names:
            del self.request.session[name]
        return dict(self.request.session)

    async def clear(self) -> str:
        self.request.session.clear()
        return "out"

    async def replace(self, **values: str) -> str:
        self.request.session = values
        return "replaced"

    async def renew(self, **values: str) -> str:
        self.request.session.update(values)
        self.request.regenerate_session()
        return "renewed"

    async def member(self, user: FromSession) -> str:
        return str(user)

    async def ws_act(self, ws: WebSocket) -> None:
        await self.doing(ws)  # type: ignore[arg-type]

    async def ws_look(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"session": self.request.session, "id": ws.session_id})


def session_cookie(response: Response) -> str:
    """The one `set-cookie` of the session."""
    cookies = [cookie for cookie in response.headers_all("set-cookie") if cookie.startswith("session_id=")]
    assert len(cookies) == 1, cookies
    return cookies[0]


def attributes(response: Response) -> set[str]:
    """What follows the value in the session's cookie."""
    return set(session_cookie(response).split("; ")[1:])


async def signed_in(app: App, **values: str) -> Browser:
    """A browser with a session."""
    browser = Browser(app)
    query = "&".join(f"{name}={value}" for name, value in (values or {"user": "ann"}).items())
    assert (await browser.get(f"/put?{query}")).status == 200
    return browser


async def session_of(browser: Browser) -> Any:
    return (await browser.get("/look")).json()


# --- Loading ----------------------------------------------------------------------------------------------------------


async def test_without_a_cookie_the_session_is_an_empty_dict() -> None:
    kinds: list[Any] = []

    async def act(request: Request) -> None:
        kinds.append((type(request.session), request.session))

    await get(Root(act), "/act")
    assert kinds == [(dict, {})]


@pytest.mark.parametrize(
    "headers",
    [
        [("cookie", "session_id={}")],
        [("cookie", "a=b; session_id={}; c=d")],
        [("cookie", "a=b;session_id={};c=d")],
        [("cookie", "a=b"), ("cookie", "session_id={}")],
        [("cookie", "session_id={}"), ("cookie", "a=b")],
    ],
)
async def test_the_cookie_names_the_session(headers: list[tuple[str, str]]) -> None:
    app = Root()
    session_id = (await signed_in(app)).cookies["session_id"]
    pairs = [(name, value.format(session_id)) for name, value in headers]
    assert (await get(app, "/look", headers=pairs)).json() == {"user": "ann"}


@pytest.mark.parametrize(
    "cookie", ["xsession_id={}", "session_idx={}", "SESSION_ID={}", "a=session_id={}", "session_id"]
)
async def test_a_cookie_of_another_name_does_not(cookie: str) -> None:
    app = Root()
    session_id = (await signed_in(app)).cookies["session_id"]
    assert (await get(app, "/look", headers={"cookie": cookie.format(session_id)})).json() == {}


@pytest.mark.parametrize("session_id", ["", "A" * 43, "é", "../../etc/passwd", "x" * 8000, '"', "%00"])
async def test_an_id_that_nobody_issued_is_an_empty_session(session_id: str) -> None:
    response = await get(Root(), "/look", headers={"cookie": f"session_id={session_id}"})
    assert (response.status, response.json()) == (200, {})
    assert "session_id" not in response.cookies


async def test_of_two_live_sessions_the_first_counts() -> None:
    """A browser sends the cookie with the longer path first (RFC 6265 section 5.4)."""


    spy = Spy()
    await spy.save("first", {"a": 1}, 60)
    await spy.save("second", {"b": 2}, 60)
    response = await get(Root(backend=spy), "/look", headers={"cookie": "session_id=first; session_id=second"})
    assert response.json() == {"a": 1}


async def test_an_empty_cookie_is_no_id() -> None:
    spy = Spy()
    app = Root(backend=spy)
    await get(app, "/look", headers={"cookie": "session_id="})
    assert spy.calls == []
    await spy.save("id", {"a": 1}, 60)
    assert (await get(app, "/look", headers={"cookie": "session_id=; session_id=id"})).json() == {"a": 1}


# --- Whether anybody looked -------------------------------------------------------------------------------------------


async def test_who_looks_varies_by_cookie() -> None:
    app = Root()
    browser = await signed_in(app)
    for target in ("/look", "/put?a=1", "/member", "/clear"):
        assert (await browser.get(target)).headers_all("vary") == ["Cookie"], target
    assert (await get(app, "/look")).header("vary") == "Cookie"
    assert (await get(app, "/blind")).header("vary") is None


async def test_vary_is_added_to_the_handlers_own_and_to_errors() -> None:
    async def vary(request: Request) -> Any:
        _ = request.session
        return 200, "x", [("vary", "Accept")]

    async def crash(request: Request) -> Any:
        _ = request.session
        raise RuntimeError

    assert ", ".join((await get(Root(vary), "/act")).headers_all("vary")) == "Accept, Cookie"
    failed = await get(Root(crash), "/act")
    assert (failed.status, failed.header("vary")) == (500, "Cookie")


async def test_a_session_that_nobody_looks_at_is_left_alone() -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy))
    spy.calls.clear()
    response = await browser.get("/blind")
    assert {"save", "touch"}.isdisjoint(spy.names)
    assert response.header("vary") is None and not response.cookies


async def test_a_visitor_without_a_session_costs_the_backend_nothing() -> None:
    spy = Spy()
    app = Root(backend=spy)
    for target in ("/look", "/blind", "/replace", "/clear"):
        response = await get(app, target)
        assert not response.cookies, target
    assert spy.calls == []


# --- The end of a request ---------------------------------------------------------------------------------------------


async def test_an_unchanged_session_is_touched() -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy))
    spy.calls.clear()
    response = await browser.get("/look")
    session_id = browser.cookies["session_id"]
    assert spy.calls == [("load", session_id), ("touch", session_id, SESSION_TIMEOUT)]
    assert not response.cookies and response.header("cache-control") is None


@pytest.mark.parametrize("target", ["/put?user=ann", "/replace?user=ann"])
async def test_the_same_value_again_is_no_change(target: str) -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy))
    spy.calls.clear()
    await browser.get(target)
    assert spy.names == ["load", "touch"]


async def test_without_touch_a_fresh_copy_is_saved() -> None:
    plain = Plain()

    async def act(request: Request) -> None:
        _ = request.session
        await other.get("/put?meanwhile=1")

    app = Root(act, plain)
    browser = await signed_in(app)
    other = Browser(app)
    other.jar = browser.jar
    plain.calls.clear()
    await browser.get("/act")
    session_id = browser.cookies["session_id"]
    assert plain.calls[-2:] == [
        ("load", session_id),
        ("save", session_id, {"user": "ann", "meanwhile": "1"}, SESSION_TIMEOUT),
    ]


async def test_a_changed_session_is_saved() -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy), a="1", b="2", c="3")
    spy.calls.clear()
    await browser.get("/put?b=4&d=5")
    session_id = browser.cookies["session_id"]
    assert spy.names == ["load", "load", "save"]
    assert spy.calls[-1] == ("save", session_id, {"a": "1", "b": "4", "c": "3", "d": "5"}, SESSION_TIMEOUT)
    await browser.get("/drop/a/c")
    assert await session_of(browser) == {"b": "4", "d": "5"}
    await browser.get("/replace?z=1")
    assert await session_of(browser) == {"z": "1"}


async def test_a_session_may_be_looked_at_and_then_replaced() -> None:
    async def act(request: Request) -> None:
        request.session = {**request.session, "more": 1}


    spy = Spy()
    browser = await signed_in(Root(act, spy))
    await browser.get("/act")
    assert await session_of(browser) == {"user": "ann", "more": 1}
    spy.calls.clear()
    await browser.get("/act")
    assert spy.names == ["load", "touch"]


async def test_a_change_deep_inside_is_seen() -> None:
    async def first(request: Request) -> None:
        request.session["cart"] = {"items": [1]}

    async def later(request: Request) -> None:
        request.session["cart"]["items"].append(2)


    app = Root(first)
    browser = Browser(app)
    await browser.get("/act")
    app.doing = later
    await browser.get("/act")
    assert await session_of(browser) == {"cart": {"items": [1, 2]}}


@pytest.mark.parametrize("backend", [Spy, Plain])
@pytest.mark.parametrize(
    "mine, theirs, result",
    [
        ("/put?a=2", "/put?b=2", {"a": "2", "b": "2", "c": "1"}),
        ("/put?new=1", "/drop/a", {"b": "1", "c": "1", "new": "1"}),
        ("/drop/a", "/put?new=1", {"b": "1", "c": "1", "new": "1"}),
        ("/drop/a", "/drop/b", {"c": "1"}),
        ("/drop/a", "/drop/a", {"b": "1", "c": "1"}),
        ("/put?a=mine", "/put?a=theirs", {"a": "mine", "b": "1", "c": "1"}),
        ("/look", "/put?b=2", {"a": "1", "b": "2", "c": "1"}),
        ("/replace?a=2&b=1&c=1", "/put?new=1", {"a": "2", "b": "1", "c": "1", "new": "1"}),
    ],
)
async def test_what_another_request_saved_meanwhile_stays(
    backend: type[Spy | Plain], mine: str, theirs: str, result: dict[str, str]
) -> None:
    app = Root(backend=backend())
    browser = await signed_in(app, a="1", b="1", c="1")
    app.middlewares.append(Meanwhile(lambda: browser.get(theirs)))
    await browser.get(mine)
    assert await session_of(browser) == result


class Meanwhile(HttpMiddleware):
    """Once, when the handler has changed the session and before it is saved, something else happens."""

    def __init__(self, action: Callable[[], Awaitable[Any]]) -> None:
        self.action: Callable[[], Awaitable[Any]] | None = action

    async def before_request(self, request: Request) -> None:
        return None

    async def after_request(self, request: Request, status_code: int, response_body: Any, extra_headers: Any) -> None:
        action, self.action = self.action, None
        if action is not None:
            await action()


@pytest.mark.parametrize("backend", [Spy, Plain])
@pytest.mark.parametrize("target", ["/look", "/put?user=eve", "/put?more=1", "/drop/user", "/replace?x=1"])
async def test_a_logout_elsewhere_is_final(backend: type[Spy | Plain], target: str) -> None:
    app = Root(backend=backend())
    browser = await signed_in(app, user="ann", more="0")
    elsewhere = Browser(app)
    elsewhere.jar = dict(browser.jar)
    kept = {"cookie": f"session_id={browser.cookies['session_id']}"}
    app.middlewares.append(Meanwhile(lambda: elsewhere.get("/clear")))
    response = await browser.get(target)
    assert response.status == 200
    assert response.cookies.get("session_id", "") == "", "no new session either"
    assert (await get(app, "/look", headers=kept)).json() == {}


async def test_a_logout_deletes_what_another_request_saved_meanwhile() -> None:
    app = Root()
    browser = await signed_in(app)
    elsewhere = Browser(app)
    elsewhere.jar = dict(browser.jar)
    app.middlewares.append(Meanwhile(lambda: elsewhere.get("/put?more=1")))
    assert (await browser.get("/clear")).cookies == {"session_id": ""}
    assert await session_of(elsewhere) == {}


@pytest.mark.parametrize("target", ["/clear", "/drop/user", "/replace"])
async def test_an_emptied_session_is_deleted_and_its_cookie_expires(target: str) -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy))
    session_id = browser.cookies["session_id"]
    response = await browser.get(target)
    assert "Max-Age=0" in attributes(response) and "Path=/" in attributes(response)
    assert response.cookies == {"session_id": ""}
    assert spy.calls[-1][:3] == ("save", session_id, {})
    assert await spy.load(session_id) == {}
    assert browser.cookies == {}


class Marks(HttpMiddleware):
    """Writes to the session in both places; `answer` short-circuits."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.answer = answer

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        request.session["before"] = "1"
        return self.answer

    async def after_request(self, request: Request, status_code: int, response_body: Any, extra_headers: Any) -> None:
        request.session["after"] = str(status_code)


async def test_what_middlewares_change_is_saved() -> None:
    spy = Spy()
    app = Root(backend=spy)
    app.middlewares.append(Marks())
    for target, status in (("/blind", 200), ("/no-such-page", 404)):
        spy.calls.clear()
        response = await get(app, target)
        assert (response.status, spy.saved()) == (status, [{"before": "1", "after": str(status)}])
        assert response.cookies["session_id"] == spy.calls[-1][1]


async def test_a_short_circuit_saves_too() -> None:
    spy = Spy()
    app = Root(backend=spy)
    app.middlewares.append(Marks({"status_code": 302, "headers": [("location", "/login")]}))
    response = await get(app, "/blind")
    assert (response.status, spy.saved()) == (302, [{"before": "1", "after": "302"}])


async def test_a_bad_body_saves_what_after_request_changed() -> None:
    spy = Spy()
    app = Root(backend=spy)
    app.middlewares.append(Marks())
    response = await post(app, "/blind", body=b"{", headers={"content-type": "application/json"})
    assert (response.status, spy.saved()) == (400, [{"after": "400"}])


@pytest.mark.parametrize("how", ["returned", "raised"])
@pytest.mark.parametrize("status, saved", [(400, True), (404, True), (499, True), (500, False), (503, False)])
async def test_saved_on_4xx_and_not_on_5xx(how: str, status: int, saved: bool) -> None:
    async def act(request: Request) -> Any:
        request.session["changed"] = "1"
        if how == "raised":
            raise HTTPError(status)
        return status, "x"


    spy = Spy()
    response = await get(Root(act, spy), "/act")
    assert response.status == status
    assert spy.saved() == ([{"changed": "1"}] if saved else [])
    assert ("session_id" in response.cookies) is saved


async def test_a_crash_saves_nothing() -> None:
    async def act(request: Request) -> Any:
        request.session["user"] = "eve"
        raise RuntimeError("boom")


    app = Root(act, Spy())
    browser = await signed_in(app)
    assert (await browser.get("/act")).status == 500
    assert await session_of(browser) == {"user": "ann"}


async def test_changes_inside_a_stream_are_not_saved() -> None:
    async def act(request: Request) -> Any:
        request.session["before"] = "1"

        async def stream() -> AsyncIterator[str]:
            request.session["inside"] = "1"
            yield "x"

        return stream()


    app = Root(act)
    browser = Browser(app)
    response = await browser.get("/act")
    assert (response.body, response.complete) == (b"x", True)
    assert await session_of(browser) == {"before": "1"}


async def test_no_two_visitors_share_a_session() -> None:
    app = Root()
    ann, bob = await signed_in(app, user="ann"), await signed_in(app, user="bob")
    both = await asyncio.gather(*(browser.get("/look") for browser in (ann, bob) * 5))
    assert [response.json()["user"] for response in both] == ["ann", "bob"] * 5


# --- Ids and renewal --------------------------------------------------------------------------------------------------


async def test_ids_are_256_random_bits() -> None:
    app = Root()
    ids = {(await signed_in(app)).cookies["session_id"] for _ in range(50)}
    assert len(ids) == 50
    # 256 bits are 43 characters of 6 bits each.
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", session_id) for session_id in ids)
    # Every position varies: nothing in an id is fixed, or counts.
    assert all(len(set(column)) > 5 for column in list(zip(*ids, strict=False))[:42])


@pytest.mark.parametrize("target", ["/put?user=ann", "/renew?user=ann"])
async def test_an_unknown_id_is_never_adopted(target: str) -> None:
    spy = Spy()
    fixed = "A" * 43
    response = await get(Root(backend=spy), target, headers={"cookie": f"session_id={fixed}"})
    issued = response.cookies["session_id"]
    assert issued != fixed
    assert await spy.load(issued) == {"user": "ann"}
    assert await spy.load(fixed) == {}


async def test_a_session_that_expired_gets_a_new_id() -> None:
    clock = ManualClock()
    app = Root(backend=InMemorySessionBackend(clock=clock), session_timeout=60)
    browser = await signed_in(app)
    old = browser.cookies["session_id"]
    clock.advance(60)
    response = await browser.get("/put?user=bob")
    assert response.json() == {"user": "bob"}
    assert browser.cookies["session_id"] != old


@pytest.mark.parametrize("target, expected", [("/renew", {"user": "ann"}), ("/renew?a=1", {"user": "ann", "a": "1"})])
async def test_regenerate_session_gives_a_new_id_and_deletes_the_old_one(target: str, expected: dict[str, str]) -> None:
    spy = Spy()
    browser = await signed_in(Root(backend=spy))
    old = browser.cookies["session_id"]
    response = await browser.get(target)
    assert browser.cookies["session_id"] != old
    assert await spy.load(old) == {}
    assert await session_of(browser) == expected
    assert response.header("cache-control") == "no-store"


async def test_regenerate_keeps_what_another_request_saved_meanwhile() -> None:
    app = Root()
    browser = await signed_in(app)
    meanwhile = Browser(app)
    meanwhile.jar = dict(browser.jar)
    app.middlewares.append(Meanwhile(lambda: meanwhile.get("/put?b=2")))
    await browser.get("/renew?a=1")
    assert await session_of(browser) == {"user": "ann", "a": "1", "b": "2"}


@pytest.mark.parametrize("backend", [Spy, Plain])
async def test_regenerate_alone_does_not_revive_a_session_that_ended_elsewhere(backend: type[Spy | Plain]) -> None:
    app = Root(backend=backend())
    browser = await signed_in(app)
    elsewhere = Browser(app)
    elsewhere.jar = dict(browser.jar)
    app.middlewares.append(Meanwhile(lambda: elsewhere.get("/clear")))
    await browser.get("/renew")
    assert await session_of(browser) == {}


async def test_a_login_counts_even_if_the_old_session_ended_meanwhile() -> None:
    app = Root()
    browser = await signed_in(app, cart="full")
    elsewhere = Browser(app)
    elsewhere.jar = dict(browser.jar)
    app.middlewares.append(Meanwhile(lambda: elsewhere.get("/clear")))
    await browser.get("/renew?user=ann")
    assert await session_of(browser) == {"user": "ann"}


async def test_regenerate_of_nothing_is_nothing_and_of_a_new_session_one_id() -> None:
    spy = Spy()
    app = Root(backend=spy)
    assert not (await get(app, "/renew")).cookies
    response = await get(app, "/renew?user=ann")
    assert await spy.load(response.cookies["session_id"]) == {"user": "ann"}
    assert len([data for data in spy.saved() if data]) == 1


async def test_regenerate_in_a_request_that_fails_changes_nothing() -> None:
    async def act(request: Request) -> Any:
        request.regenerate_session()
        raise RuntimeError


    browser = await signed_in(Root(act))
    response = await browser.get("/act")
    assert (response.status, response.cookies) == (500, {})
    assert await session_of(browser) == {"user": "ann"}


async def test_regenerate_of_an_emptied_session_is_a_logout() -> None:
    async def act(request: Request) -> None:
        request.session.clear()
        request.regenerate_session()


    spy = Spy()
    browser = await signed_in(Root(act, spy))
    old = browser.cookies["session_id"]
    assert (await browser.get("/act")).cookies == {"session_id": ""}
    assert await spy.load(old) == {}


# --- The cookie -------------------------------------------------------------------------------------------------------


async def test_the_cookie_ends_with_the_browser() -> None:
    response = await get(Root(), "/put?a=1")
    assert attributes(response) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


@pytest.mark.parametrize(
    "root_path, option, expected",
    [
        ("", None, "/"),
        (None, None, "/"),
        (REMOVED, None, "/"),
        ("/shop", None, "/shop"),
        ("/shop/", None, "/shop"),
        ("/a/b", None, "/a/b"),
        ("/a;b c\u00e9", None, "/a%3Bb%20c%C3%A9"),
        ("/shop", "/", "/"),
        ("", "/other", "/other"),
    ],
)
async def test_the_path_of_the_cookie(root_path: Any, option: str | None, expected: str) -> None:
    app = Root(session_cookie_path=option)
    path = (root_path.rstrip("/") if isinstance(root_path, str) else "") + "/put"
    response = await get(app, "/put?a=1", scope={"root_path": root_path, "path": path})
    assert f"Path={expected}" in attributes(response)
    headers = {"cookie": f"session_id={response.cookies['session_id']}"}
    expired = await get(app, "/clear", headers=headers, scope={"root_path": root_path})
    assert f"Path={expected}" in attributes(expired), "or the browser would keep it"


LOOPBACK = [
    "localhost",
    "localhost:8000",
    "LOCALHOST",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.8.9.1",
    "[::1]",
    "[::1]:8000",
]
ELSEWHERE = [
    "example.com",
    "example.com:8000",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "example.com:127.0.0.1",
    "notlocalhost",
    "10.0.0.1",
    "[::2]",
    "[::1].example.com",
    "[fe80::1]:1",
    "",
]


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
async def test_secure_but_for_plain_http_to_loopback(host: str, scheme: str) -> None:
    response = await get(Root(), "/put?a=1", headers={"host": host}, scope={"scheme": scheme})
    assert ("Secure" in attributes(response)) is (host in ELSEWHERE or scheme == "https")


@pytest.mark.parametrize(
    "server, secure",
    [
        (("127.0.0.1", 8000), False),
        (("localhost", 8000), False),
        (("::1", 8000), False),
        (("192.168.1.1", 80), True),
        (("::2", 80), True),
        (("/run/app.sock", None), True),
        ((None, None), True),
        (None, True),
        (REMOVED, True),
    ],
)
async def test_secure_goes_by_the_server_where_there_is_no_host(server: Any, secure: bool) -> None:
    response = await get(Root(), "/put?a=1", scope={"headers": [], "server": server})
    assert ("Secure" in attributes(response)) is secure


@pytest.mark.parametrize("option, debug, secure", [(True, True, True), (False, False, False), (None, True, False)])
@pytest.mark.parametrize("host", ["localhost", "example.com"])
async def test_secure_as_told(option: bool | None, debug: bool, secure: bool, host: str) -> None:
    app = Root(session_cookie_secure=option, debug=debug)
    response = await get(app, "/put?a=1", headers={"host": host})
    assert ("Secure" in attributes(response)) is secure


async def test_a_scope_without_a_scheme_is_plain_http() -> None:
    response = await get(Root(), "/put?a=1", headers={"host": "localhost"}, scope={"scheme": REMOVED})
    assert "Secure" not in attributes(response)


async def test_a_response_with_the_cookie_is_not_stored() -> None:
    async def cached(request: Request) -> Any:
        request.session["a"] = 1
        return 200, "x", {"Cache-Control": "private, max-age=5"}

    assert (await get(Root(), "/put?a=1")).headers_all("cache-control") == ["no-store"]
    assert (await get(Root(cached), "/act")).headers_all("cache-control") == ["private, max-age=5"]


# --- Backends ---------------------------------------------------------------------------------------------------------


async def test_the_timeout_is_eight_hours_or_as_told() -> None:
    assert SESSION_TIMEOUT == 8 * 3600
    for options, timeout in (({}, 8 * 3600), ({"session_timeout": 60}, 60)):
        spy = Spy()
        browser = await signed_in(Root(backend=spy, **options))
        await browser.get("/look")
        assert [call[-1] for call in spy.calls if call[0] in ("save", "touch")] == [timeout, timeout]


@pytest.mark.parametrize("target, alive", [("/look", True), ("/put?n={}", True), ("/blind", False)])
async def test_the_timeout_slides_with_every_request_that_looks(target: str, alive: bool) -> None:
    clock = ManualClock()
    browser = await signed_in(Root(backend=InMemorySessionBackend(clock=clock), session_timeout=80))
    for number in range(3):
        clock.advance(30)
        await browser.get(target.format(number))
    assert ((await session_of(browser)).get("user") == "ann") is alive


def test_a_backend_must_have_load_and_save() -> None:
    class Half(SessionBackend):
        async def load(self, session_id: str) -> dict[str, Any]:
            return {}

    for incomplete in (SessionBackend, Half):
        with pytest.raises(TypeError, match="abstract"):
            incomplete()


def test_the_default_backend_is_in_memory_and_each_apps_own() -> None:
    first, second = Root(), Root()
    assert type(first.session_backend) is InMemorySessionBackend
    assert first.session_backend is not second.session_backend
    spy = Spy()
    assert Root(backend=spy).session_backend is spy


async def test_the_backend_may_be_exchanged() -> None:
    app, spy = Root(), Spy()
    app.session_backend = spy
    await signed_in(app)
    assert spy.names == ["save"]


async def test_in_memory_keeps_loads_replaces_and_deletes() -> None:
    backend = InMemorySessionBackend()
    assert await backend.load("a") == {}
    await backend.save("a", {"n": 1, "deep": [1]}, 60)
    await backend.save("b", {"n": 2}, 30)
    assert await backend.load("a") == {"n": 1, "deep": [1]}
    await backend.save("a", {"n": 3}, 30)
    assert await backend.load("a") == {"n": 3}
    await backend.save("a", {}, 60)
    assert await backend.load("a") == {}
    await backend.save("a", {}, 60)
    assert await backend.load("b") == {"n": 2}


async def test_in_memory_hands_out_and_takes_in_copies() -> None:
    backend = InMemorySessionBackend()
    for data in ({"list": [1]}, {"text": "a"}):
        mine: dict[str, Any] = data
        await backend.save("a", mine, 60)
        wanted = await backend.load("a")
        for taken in (mine, await backend.load("a")):
            taken["more"] = 1
            taken.get("list", []).append(2)
            assert await backend.load("a") == wanted


async def test_no_request_sees_the_unfinished_changes_of_another() -> None:
    async def act(request: Request) -> Any:
        request.session["cart"].append(2)
        return (await other.get("/look")).json()

    app = Root(act)
    await app.session_backend.save("id", {"cart": [1]}, 60)
    other = Browser(app, {"cookie": "session_id=id"})
    assert (await other.get("/act")).json() == {"cart": [1]}
    assert (await other.get("/look")).json() == {"cart": [1, 2]}


async def test_in_memory_expires() -> None:
    clock = ManualClock()
    backend = InMemorySessionBackend(clock=clock)
    await backend.save("short", {"n": 1}, 30)
    await backend.save("long", {"n": 2}, 60)
    await backend.save("touched", {"n": 3}, 30)
    await backend.touch("touched", 60)
    await backend.touch("long", 30)
    clock.advance(29)
    assert [await backend.load(name) for name in ("short", "long", "touched")] == [{"n": 1}, {"n": 2}, {"n": 3}]
    clock.advance(1)
    assert [await backend.load(name) for name in ("short", "long", "touched")] == [{}, {}, {"n": 3}]


async def test_touch_does_not_revive() -> None:
    clock = ManualClock()
    backend = InMemorySessionBackend(clock=clock)
    await backend.touch("never", 60)
    await backend.save("gone", {"n": 1}, 60)
    await backend.save("gone", {}, 60)
    await backend.touch("gone", 60)
    # More that expire than one call removes: the last one is still there when it is touched.
    for number in range(1000):
        await backend.save(f"n{number}", {"n": 1}, 10)
    clock.advance(10)
    await backend.touch("n999", 60)
    assert [await backend.load(name) for name in ("never", "gone", "n999", "n998")] == [{}] * 4


class Timeout(float):
    """A time-out whose moment of expiry counts how often it is compared."""

    comparisons = 0

    def __radd__(self, other: float) -> Timeout:
        return Timeout(float(other) + float(self))

    def _count(self, other: float, compare: Callable[[float, float], bool]) -> bool:
        Timeout.comparisons += 1
        return compare(float(self), float(other))

    def __gt__(self, other: float) -> bool:
        return self._count(other, float.__gt__)

    def __lt__(self, other: float) -> bool:
        return self._count(other, float.__lt__)

    def __ge__(self, other: float) -> bool:
        return self._count(other, float.__ge__)

    def __le__(self, other: float) -> bool:
        return self._count(other, float.__le__)


async def test_in_memory_never_scans_everything() -> None:
    backend = InMemorySessionBackend()
    for number in range(2000):
        await backend.save(f"n{number}", {"n": number}, Timeout(60))
    Timeout.comparisons = 0
    for number in range(100):
        await backend.load(f"n{number}")
        await backend.touch(f"n{number}", Timeout(60))
        await backend.save(f"n{number}", {"n": 0}, Timeout(60))
    assert 0 < Timeout.comparisons < 100 * 3 * 5


class Weighty:
    """A value of which is known how many are alive."""

    alive: weakref.WeakSet[Weighty] = weakref.WeakSet()

    def __init__(self) -> None:
        self.alive.add(self)

    def __deepcopy__(self, memo: Any) -> Weighty:
        return Weighty()


@pytest.mark.parametrize("visit", ["load", "save", "touch"])
async def test_in_memory_frees_what_has_expired(visit: str) -> None:
    clock = ManualClock()
    backend = InMemorySessionBackend(clock=clock)
    visits: dict[str, Callable[[], Awaitable[Any]]] = {
        "load": lambda: backend.load("of somebody else"),
        "save": lambda: backend.save("of somebody else", {"n": 1}, 60),
        "touch": lambda: backend.touch("of somebody else", 60),
    }
    for number in range(500):
        await backend.save(f"n{number}", {"n": Weighty()}, 10 + number % 3)
    await backend.save("live", {"n": Weighty()}, 60)
    clock.advance(12)
    # What one call removes is bounded; a few visitors later it is all gone.
    for _ in range(50):
        await visits[visit]()
    assert len(Weighty.alive) == 1


# --- A backend that is down -------------------------------------------------------------------------------------------


async def test_a_session_that_cannot_be_loaded_is_a_logged_500(caplog: pytest.LogCaptureFixture) -> None:
    response = await get(Root(backend=Down("load")), "/look", headers={"cookie": "session_id=x"})
    assert (response.status, response.text) == (500, "500 Internal Server Error")
    assert "load is down" in caplog.text


class Counts(HttpMiddleware):
    def __init__(self) -> None:
        self.after: list[int] = []

    async def before_request(self, request: Request) -> None:
        return None

    async def after_request(self, request: Request, status_code: int, response_body: Any, extra_headers: Any) -> None:
        self.after.append(status_code)


@pytest.mark.parametrize("broken, target", [("save", "/put?a=1"), ("save", "/clear"), ("touch", "/look")])
async def test_a_session_that_cannot_be_saved_is_a_plain_500(
    broken: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    down = Down()
    app = Root(backend=down)
    browser = await signed_in(app)
    counts = Counts()
    app.middlewares.append(counts)
    down.broken = (broken,)
    response = await browser.get(target)
    assert (response.status, response.text, response.cookies) == (500, "500 Internal Server Error", {})
    assert counts.after == [200], "no middleware runs twice"
    assert f"{broken} is down" in caplog.text


async def test_the_stream_of_a_session_that_cannot_be_saved_is_closed() -> None:
    ends: list[str] = []

    class Stream:
        def __aiter__(self) -> Stream:
            return self

        async def __anext__(self) -> str:
            raise AssertionError("nobody asked for it")

        async def aclose(self) -> None:
            ends.append("closed")

    async def act(request: Request) -> Any:
        request.session["a"] = 1
        return Stream()

    assert (await get(Root(act, Down("save")), "/act")).status == 500
    assert ends == ["closed"]


async def test_what_cannot_be_copied_leaves_the_session_as_it_was() -> None:
    class Stubborn:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("not to be copied")


    backend = InMemorySessionBackend()
    await backend.save("a", {"n": 1}, 60)
    with pytest.raises(TypeError, match="not to be copied"):
        await backend.save("a", {"bad": Stubborn()}, 60)
    assert await backend.load("a") == {"n": 1}


async def test_a_session_that_cannot_be_copied_is_a_logged_500(caplog: pytest.LogCaptureFixture) -> None:
    class Uncopyable:
        def __deepcopy__(self, memo: Any) -> Any:
            raise TypeError("not to be copied")

    async def act(request: Request) -> None:
        request.session["a"] = Uncopyable()

    assert (await get(Root(act), "/act")).status == 500
    assert "not to be copied" in caplog.text


async def test_a_cancelled_save_passes_through() -> None:
    class Slow(InMemorySessionBackend):
        async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
            waiting.set()
            await asyncio.Event().wait()


    waiting = asyncio.Event()
    async with exchange(Root(backend=Slow()), path="/put", query="a=1") as ex:
        await waiting.wait()
        ex.cancel()
        assert await ex.next_message() is None


# --- WebSocket --------------------------------------------------------------------------------------------------------


def cookie(session_id: str) -> tuple[str, str]:
    return "cookie", f"session_id={session_id}"


class Sockets(App):
    """WebSockets whose handler is what the test says."""

    def __init__(
        self, talk: Callable[[App, WebSocket], Awaitable[Any]], backend: SessionBackend | None = None, **options: Any
    ) -> None:
        super().__init__(backend, **options)
        self.talk = talk

    async def ws_index(self, ws: WebSocket) -> None:
        await self.talk(self, ws)


async def talked(app: App, *headers: tuple[str, str], **options: Any) -> list[str]:
    """Run a WebSocket to its end, and return the cookies of its handshake."""
    async with websocket(app, headers=headers, **options) as ws:
        pass
    return [value.decode() for name, value in ws.accept_headers if name == b"set-cookie"]


async def test_a_websocket_sees_the_session() -> None:
    app = Root()
    session_id = (await signed_in(app)).cookies["session_id"]
    async with websocket(app, "/look", headers=[cookie(session_id)]) as ws:
        assert await ws.receive_json() == {"session": {"user": "ann"}, "id": session_id}
    for headers in ([], [cookie("A" * 43)]):
        async with websocket(app, "/look", headers=headers) as ws:
            assert await ws.receive_json() == {"session": {}, "id": None}


async def test_a_websocket_that_looks_moves_the_expiry_and_one_that_does_not_leaves_it() -> None:
    async def look(app: App, ws: WebSocket) -> None:
        await ws.accept()
        _ = app.request.session

    async def blind(app: App, ws: WebSocket) -> None:
        await ws.accept()


    for talk, last in ((look, "touch"), (blind, "load")):
        spy = Spy()
        await spy.save("id", {"a": 1}, 60)
        assert await talked(Sockets(talk, spy), cookie("id")) == []
        assert (spy.names[-1], len(spy.saved())) == (last, 1)


@pytest.mark.parametrize("error", [None, RuntimeError("boom"), HTTPError(400)])
@pytest.mark.parametrize("accepts", [True, False])
async def test_a_websocket_saves_when_its_handler_ends_on_error_too(error: Exception | None, accepts: bool) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        if accepts:
            await ws.accept()
        app.request.session["b"] = 2
        del app.request.session["a"]
        assert len(spy.saved()) == 1
        if error is not None:
            raise error

    spy = Spy()


    await spy.save("id", {"a": 1}, 60)
    assert await talked(Sockets(talk, spy), cookie("id")) == []
    assert spy.calls[-1] == ("save", "id", {"b": 2}, SESSION_TIMEOUT)


@pytest.mark.parametrize(
    "meanwhile, expected", [("/put?theirs=2", {"user": "ann", "mine": "1", "theirs": "2"}), ("/clear", {})]
)
async def test_a_websocket_keeps_what_requests_saved_meanwhile(meanwhile: str, expected: dict[str, str]) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await ws.accept()
        app.request.session["mine"] = "1"
        await browser.get(meanwhile)

    app = Root()
    browser = await signed_in(app)
    session_id = browser.cookies["session_id"]
    await talked(Sockets(talk, app.session_backend), cookie(session_id))
    assert await app.session_backend.load(session_id) == expected


async def test_an_emptied_session_of_a_websocket_is_deleted() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await ws.accept()
        app.request.session.clear()


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    await talked(Sockets(talk, spy), cookie("id"))
    assert await spy.load("id") == {}


@pytest.mark.parametrize("headers", [[], [("cookie", "session_id=" + "A" * 43)]])
async def test_a_session_that_begins_before_accept_gets_its_cookie_in_the_handshake(headers: list[tuple[str, str]]) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        await ws.accept()
        ids.append(ws.session_id)
        app.request.session["later"] = 1

    ids: list[str | None] = []
    spy = Spy()


    (sent,) = await talked(Sockets(talk, spy), *headers)
    pair, *options = sent.split("; ")
    session_id = pair.removeprefix("session_id=")
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", session_id) and session_id != "A" * 43
    assert ids == [session_id]
    assert set(options) == {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}
    assert await spy.load(session_id) == {"user": "ann", "later": 1}


async def test_the_cookie_of_a_handshake_is_live_at_once() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        await ws.accept()
        assert ws.session_id is not None
        found.append(await app.session_backend.load(ws.session_id))

    found: list[Any] = []
    await talked(Sockets(talk))
    assert found == [{"user": "ann"}]


@pytest.mark.parametrize(
    "host, scheme, secure", [("localhost:8000", "ws", False), ("localhost", "wss", True), ("example.com", "ws", True)]
)
async def test_the_handshake_follows_the_rules_of_the_cookie(host: str, scheme: str, secure: bool) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["a"] = 1
        await ws.accept()

    scope = {"scheme": scheme, "root_path": "/shop", "path": "/shop/"}
    (sent,) = await talked(Sockets(talk), ("host", host), scope=scope)
    assert ("; Secure" in sent) is secure
    assert "; Path=/shop;" in sent


async def test_an_unchanged_or_empty_session_sets_no_cookie_in_the_handshake() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["gone"] = 1
        del app.request.session["gone"]
        await ws.accept()


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    assert await talked(Sockets(talk, spy)) == []
    assert await talked(Sockets(talk, spy), cookie("id")) == []


async def test_regenerate_before_accept_sends_the_new_id() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        app.request.regenerate_session()
        await ws.accept()


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    (sent,) = await talked(Sockets(talk, spy), cookie("id"))
    session_id = sent.split(";")[0].removeprefix("session_id=")
    assert session_id != "id"
    assert await spy.load(session_id) == {"a": 1, "user": "ann"}
    assert await spy.load("id") == {}


@pytest.mark.parametrize("fills", [True, False])
async def test_accept_with_an_id_sets_that_one(fills: bool) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        if fills:
            app.request.session["user"] = "ann"
        await ws.accept(session_id="chosen")
        assert ws.session_id == "chosen"
        app.request.session["later"] = 1


    spy = Spy()
    (sent,) = await talked(Sockets(talk, spy))
    assert sent.startswith("session_id=chosen; ")
    assert await spy.load("chosen") == {**({"user": "ann"} if fills else {}), "later": 1}


async def test_a_session_with_a_given_id_stays_ended_when_it_was_ended_elsewhere() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        await ws.accept(session_id="chosen")
        await app.session_backend.save("chosen", {}, 60)
        app.request.session["later"] = 1


    spy = Spy()
    await talked(Sockets(talk, spy))
    assert await spy.load("chosen") == {}


async def test_what_happens_to_a_session_after_the_handshake_is_not_undone() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session.update(user="ann", cart="full")
        await ws.accept()
        assert ws.session_id is not None
        await app.session_backend.save(ws.session_id, {"user": "ann"}, 60)
        app.request.session["later"] = 1


    spy = Spy()
    await talked(Sockets(talk, spy))
    assert spy.saved()[-1] == {"user": "ann", "later": 1}


async def test_a_session_renewed_before_accept_goes_on_under_its_new_id(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.regenerate_session()
        await ws.accept()
        app.request.session["later"] = 1
        ids.append(ws.session_id)


    ids: list[str | None] = []
    spy = Spy()
    await spy.save("id", {"user": "ann"}, 60)
    await talked(Sockets(talk, spy), cookie("id"))
    assert ids[0] != "id"
    assert spy.calls[-1][:3] == ("save", ids[0], {"user": "ann", "later": 1})
    assert caplog.records == []


async def test_accept_with_an_id_takes_the_session_along() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["b"] = 2
        await ws.accept(session_id="chosen")


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    (sent,) = await talked(Sockets(talk, spy), cookie("id"))
    assert sent.startswith("session_id=chosen; ")
    assert await spy.load("chosen") == {"a": 1, "b": 2}


async def test_accept_with_an_id_that_the_handler_has_saved_itself() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await app.session_backend.save("chosen", {"user": "ann"}, 60)
        await ws.accept(session_id="chosen")
        app.request.session["later"] = 1


    spy = Spy()
    (sent,) = await talked(Sockets(talk, spy))
    assert sent.startswith("session_id=chosen; ")
    assert await spy.load("chosen") == {"user": "ann", "later": 1}


@pytest.mark.parametrize("looks", [True, False])
async def test_accept_with_an_id_saves_what_comes_later_under_it(looks: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        if looks:
            _ = app.request.session
        await ws.accept(session_id="chosen")
        app.request.session["later"] = 1


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    (sent,) = await talked(Sockets(talk, spy), cookie("id"))
    assert sent.startswith("session_id=chosen; ")
    # The client has this id now: under another one nobody would find it.
    assert (await spy.load("chosen")).get("later") == 1
    assert caplog.records == []


async def test_accept_with_the_id_that_the_client_has() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["b"] = 2
        await ws.accept(session_id="id")


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    (sent,) = await talked(Sockets(talk, spy), cookie("id"))
    assert sent.startswith("session_id=id; ")
    assert await spy.load("id") == {"a": 1, "b": 2}


@pytest.mark.parametrize("bad", ["a;b", "a b", "a\r\nset-cookie: x=y", "é"])
async def test_accept_refuses_an_id_that_no_cookie_carries(bad: str) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="cookie"):
            await ws.accept(session_id=bad)
        caught.append(bad)

    caught: list[str] = []
    await talked(Sockets(talk))
    assert caught == [bad]


async def test_a_session_filled_after_accept_is_lost_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await ws.accept()
        app.request.session["user"] = "ann"

    spy = Spy()
    assert (await talked(Sockets(talk, spy))) == []
    assert spy.calls == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "accept()" in caplog.text


async def test_an_id_renewed_after_accept_is_warned_about_and_the_old_one_stays(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await ws.accept()
        app.request.session["b"] = 2
        app.request.regenerate_session()


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    await talked(Sockets(talk, spy), cookie("id"))
    assert await spy.load("id") == {"a": 1, "b": 2}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


ALLOWED = ("https://friend.example", "http://Dev.Example:3000/")


@pytest.mark.parametrize(
    "origin, host, same",
    [
        (None, "example.com", True),
        ("https://example.com", "example.com", True),
        ("http://example.com", "example.com", True),
        ("https://EXAMPLE.com", "Example.COM", True),
        ("https://example.com", "example.com:443", True),
        ("http://example.com:80", "example.com", True),
        ("http://localhost:8000", "localhost:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("https://friend.example", "example.com", True),
        ("http://dev.example:3000", "example.com", True),
        ("https://evil.example", "example.com", False),
        ("https://example.com.evil.example", "example.com", False),
        ("https://evil-example.com", "example.com", False),
        ("http://localhost:8001", "localhost:8000", False),
        ("http://example.com:8080", "example.com", False),
        ("http://friend.example", "example.com", False),
        ("https://friend.example:444", "example.com", False),
        ("https://friend.example, https://evil.example", "example.com", False),
        ("null", "example.com", False),
        ("null", "null", False),
        ("", "example.com", False),
        ("example.com", "example.com", False),
        ("://example.com@evil.example", "example.com", False),
    ],
)
async def test_a_foreign_origin_gets_no_session(
    origin: str | None, host: str, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        seen.append(dict(app.request.session))
        app.request.session["changed"] = 1
        await ws.accept(session_id=None if same else "given")

    seen: list[Any] = []
    headers = [("host", host), cookie("id"), *([("origin", origin)] if origin is not None else [])]


    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    sent = await talked(Sockets(talk, spy, allowed_origins=ALLOWED), *headers)
    if same:
        assert seen == [{"a": 1}]
        assert spy.saved()[-1] == {"a": 1, "changed": 1}
    else:
        assert (seen, sent, spy.names) == ([{}], [], ["save"])
    assert [record.levelno for record in caplog.records] == ([] if same else [logging.WARNING])


@pytest.mark.parametrize(
    "origin, seen", [(None, {"a": 1}), ("http://testserver", {}), ("http://", {}), ("http://:80", {})]
)
async def test_a_handshake_without_a_host_has_no_origin_of_its_own(origin: str | None, seen: dict[str, int]) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        found.append(dict(app.request.session))
        await ws.accept()


    found: list[Any] = []
    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    headers = [(b"cookie", b"session_id=id"), *([(b"origin", origin.encode())] if origin else [])]
    await talked(Sockets(talk, spy), scope={"headers": headers})
    assert found == [seen]


async def test_null_is_no_origin_that_could_be_allowed() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        seen.append(dict(app.request.session))
        await ws.accept()


    seen: list[Any] = []
    spy = Spy()
    await spy.save("id", {"a": 1}, 60)
    await talked(Sockets(talk, spy, allowed_origins=["null"]), cookie("id"), ("origin", "null"))
    assert seen == [{}]


async def test_a_foreign_origin_without_a_cookie_is_not_worth_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await ws.accept()

    await talked(Sockets(talk), ("origin", "https://evil.example"), ("cookie", "a=b"))
    assert caplog.records == []


def test_allowed_origins_is_no_single_text() -> None:
    with pytest.raises(TypeError, match="allowed_origins"):
        Root(allowed_origins="https://example.com")


@pytest.mark.parametrize("broken, accepted", [("load", False), ("save", False), ("touch", True)])
async def test_a_websocket_whose_backend_is_down(broken: str, accepted: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        if broken == "save":
            app.request.session["user"] = "ann"
            app.request.regenerate_session()
        _ = app.request.session
        await ws.accept()


    down = Down()
    await down.save("id", {"a": 1}, 60)
    down.broken = (broken,)
    async with websocket(Sockets(talk, down), headers=[cookie("id")]) as ws:
        assert ws.accepted is accepted
    assert (ws.close_code, ws.close_reason) == (1011, "")
    assert f"{broken} is down" in caplog.text


async def test_from_session_binds_in_a_websocket_too() -> None:
    class Member(App):
        async def ws_index(self, ws: WebSocket, user: FromSession) -> None:
            await ws.accept()
            await ws.send_text(str(user))


    app = Member()
    await app.session_backend.save("id", {"user": "ann"}, 60)
    async with websocket(app, "/?user=eve", headers=[cookie("id")]) as ws:
        assert await ws.receive() == "ann"
    async with websocket(app, "/?user=eve") as ws:
        assert ws.rejected == 1008
