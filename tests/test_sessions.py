"""Sessions: loading and saving, ids and cookies, backends, and sessions of WebSockets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import weakref
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
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
    event_stream,
)
from tests.asgi import (
    REMOVED,
    Browser,
    Response,
    call,
    exchange,
    get,
    post,
    scripted,
    shown,
    websocket,
)
from tests.asgi import request as request_
from tests.clock import ManualClock
from tests.noting import Note

Act = Callable[[Request], Awaitable[Any]]
Talk = Callable[[App, WebSocket], Awaitable[Any]]
Change = Callable[[dict[str, Any]], dict[str, Any]]


class Noting:
    """The part that is common to backends that note their calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    @property
    def names(self) -> list[str]:
        return [call[0] for call in self.calls]

    def saved(self) -> list[dict[str, Any]]:
        return [call[2] for call in self.calls if call[0] in ("save", "update")]


class Spy(Noting, InMemorySessionBackend):
    """Notes its calls."""

    async def load(self, session_id: str) -> dict[str, Any]:
        self.calls.append(("load", session_id))
        return await super().load(session_id)

    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None:
        self.calls.append(("save", session_id, dict(data), timeout))
        await super().save(session_id, data, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        self.calls.append(("touch", session_id, timeout))
        await super().touch(session_id, timeout)

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
        def noted(data: dict[str, Any]) -> dict[str, Any]:
            result = change(data)
            self.calls.append(("update", session_id, dict(result), timeout))
            return result

        await super().update(session_id, noted, timeout)


class Plain(Noting, SessionBackend):
    """The least that a backend may be: without `touch` and `update`."""

    def __init__(self) -> None:
        super().__init__()
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


class Atomic(Plain):
    """A backend that has `update`, which calls the change twice, but no `touch`."""

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
        change(dict(self.sessions.get(session_id, {"lost": "race"})))
        data = change(dict(self.sessions.get(session_id, {})))
        self.calls.append(("update", session_id, dict(data), timeout))
        self.sessions.pop(session_id, None)
        if data:
            self.sessions[session_id] = data


class Down(InMemorySessionBackend):
    """Fails in `broken`: "load", "update", "touch", or "fill" (an update that leaves data)."""

    def __init__(self, broken: str = "") -> None:
        super().__init__()
        self.broken = broken

    def _check(self, name: str) -> None:
        if name == self.broken:
            raise OSError(f"secret: {name} is down")

    async def load(self, session_id: str) -> dict[str, Any]:
        self._check("load")
        return await super().load(session_id)

    async def update(self, session_id: str, change: Change, timeout: float) -> None:
        def checked(data: dict[str, Any]) -> dict[str, Any]:
            result = change(data)
            if result:
                self._check("fill")
            return result

        self._check("update")
        await super().update(session_id, checked, timeout)

    async def touch(self, session_id: str, timeout: float) -> None:
        self._check("touch")
        await super().touch(session_id, timeout)


async def nothing(request: Request) -> None:
    return None


class Root(App):
    """Handlers that do one thing to the session; `act` does what the test says."""

    def __init__(
        self, doing: Act = nothing, backend: SessionBackend | None = None, **options: Any
    ) -> None:
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

    async def ws_look(self, ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_json({"session": self.request.session, "id": ws.session_id})


def attributes(response: Response) -> set[str]:
    """The attributes of the one cookie of the session."""
    (cookie,) = [
        cookie for cookie in response.headers_all("set-cookie") if cookie.startswith("session_id=")
    ]
    return set(cookie.split("; ")[1:])


async def signed_in(app: App, **values: str) -> Browser:
    """A browser with a session."""
    browser = Browser(app)
    query = "&".join(f"{name}={value}" for name, value in (values or {"user": "ann"}).items())
    assert (await browser.get(f"/put?{query}")).status == 200
    return browser


async def watched(doing: Act = nothing, **values: str) -> tuple[Browser, Spy, str]:
    """A browser with a session, its backend, with no call noted yet, and the id."""
    spy = Spy()
    browser = await signed_in(Root(doing, spy), **values)
    spy.calls.clear()
    return browser, spy, browser.cookies["session_id"]


async def holding(session_id: str = "id", **data: Any) -> Spy:
    """A backend that has one session, with no call noted yet."""
    spy = Spy()
    await spy.save(session_id, data, 60)
    spy.calls.clear()
    return spy


def second_tab(browser: Browser) -> Browser:
    """A browser with the same cookies now, and a jar for those that come later."""
    other = Browser(browser.app)
    other.jar = dict(browser.jar)
    return other


async def session_of(browser: Browser) -> Any:
    return (await browser.get("/look")).json()


def levels(caplog: pytest.LogCaptureFixture) -> list[int]:
    return [record.levelno for record in caplog.records]


# --- Loading --------------------------------------------------------------------------------------


async def test_without_a_cookie_the_session_is_an_empty_dict() -> None:
    kinds: list[Any] = []

    async def act(request: Request) -> None:
        kinds.append((type(request.session), request.session))

    await get(Root(act), "/act")
    assert kinds == [(dict, {})]


@pytest.mark.parametrize(
    ("cookies", "found"),
    [
        (["session_id={}"], True),
        (["a=b; session_id={}; c=d"], True),
        (["a=b;session_id={};c=d"], True),
        (["a=b", "session_id={}"], True),
        (["session_id={}", "a=b"], True),
        (["xsession_id={}"], False),
        (["session_idx={}"], False),
        (["SESSION_ID={}"], False),
        (["a=session_id={}"], False),
        (["session_id"], False),
    ],
)
async def test_the_session_is_found_by_the_cookie_of_exactly_its_name(
    cookies: list[str], found: bool
) -> None:
    app = Root()
    session_id = (await signed_in(app)).cookies["session_id"]
    response = await get(
        app, "/look", headers=[("cookie", cookie.format(session_id)) for cookie in cookies]
    )
    assert response.json() == ({"user": "ann"} if found else {})


async def test_an_id_that_was_never_issued_is_an_empty_session() -> None:
    response = await get(Root(), "/look", headers={"cookie": f"session_id={'A' * 43}"})
    assert (response.status, response.json()) == (200, {})
    assert "session_id" not in response.cookies


ODD_IDS = ["", "é", "../../etc/passwd", "x" * 129, "x" * 8000, '"', '"good"', "%00", "a.b", "a b"]


@pytest.mark.parametrize("session_id", ODD_IDS)
async def test_an_id_that_micropie_would_not_issue_never_reaches_the_backend(
    session_id: str,
) -> None:
    spy = Spy()
    pair = ("cookie", f"session_id={session_id}".encode())
    assert (await get(Root(backend=spy), "/look", headers=[pair])).json() == {}
    async with websocket(Root(backend=spy), "/look", headers=[pair]) as ws:
        assert await ws.receive_json() == {"session": {}, "id": None}
    assert spy.calls == []


@pytest.mark.parametrize("session_id", ["x", "x" * 128, "-_09AZ"])
async def test_an_id_of_another_length_than_micropies_own_is_loaded(session_id: str) -> None:
    spy = await holding(session_id, a=1)
    headers = {"cookie": f"session_id = \t{session_id} "}
    assert (await get(Root(backend=spy), "/look", headers=headers)).json() == {"a": 1}


@pytest.mark.parametrize(
    ("cookie", "found"),
    [
        # A browser sends the cookie with the longer path first (RFC 6265 section 5.4).
        ("session_id=first; session_id=second", {"a": 1}),
        ("session_id=; session_id=second", {"b": 2}),
        ("session_id=", {}),
    ],
)
async def test_the_first_id_that_is_not_empty_is_loaded(cookie: str, found: dict[str, int]) -> None:
    spy = await holding("first", a=1)
    await spy.save("second", {"b": 2}, 60)
    spy.calls.clear()
    assert (await get(Root(backend=spy), "/look", headers={"cookie": cookie})).json() == found
    assert found or spy.calls == []


# --- Whether the handler looks at the session -----------------------------------------------------


async def test_a_handler_that_looks_at_the_session_adds_vary_cookie() -> None:
    app = Root()
    browser = await signed_in(app)
    for target in ("/look", "/put?a=1", "/clear"):
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


@pytest.mark.parametrize(
    ("sent", "vary"),
    [("session_id=id", "Cookie"), ("session_id=dead", "Cookie"), ("a=b", None), ("", None)],
)
async def test_a_stream_varies_if_the_request_brought_a_session_cookie(
    sent: str, vary: str | None
) -> None:
    async def act(request: Request) -> Any:
        async def stream() -> AsyncIterator[str]:
            yield str(request.session)

        return stream()

    def plain(request: Request) -> Any:
        return (str(request.session) for _ in range(1))

    async def events(request: Request) -> Any:
        return event_stream(await act(request))

    async def from_plain(request: Request) -> Any:
        return plain(request)

    for doing in (act, from_plain, events):
        app = Root(doing, await holding(a=1))
        for method in ("GET", "HEAD"):
            response = await request_(app, method, "/act", headers={"cookie": sent})
            assert response.header("vary") == vary


async def test_a_session_that_no_handler_looks_at_is_left_alone() -> None:
    browser, spy, _ = await watched()
    response = await browser.get("/blind")
    assert spy.names == ["load"]
    assert response.header("vary") is None and not response.cookies


async def test_a_visitor_without_a_session_costs_the_backend_nothing() -> None:
    spy = Spy()
    app = Root(backend=spy)
    for target in ("/look", "/blind", "/replace", "/clear", "/renew"):
        response = await get(app, target)
        assert (response.status, response.cookies) == (200, {}), target
    assert spy.calls == []
    assert (await get(app, "/replace?a=1")).status == 200
    assert spy.saved() == [{"a": "1"}]


# --- The end of a request -------------------------------------------------------------------------


async def replaces_by_the_same(request: Request) -> None:
    request.session = {**request.session}


@pytest.mark.parametrize("target", ["/look", "/put?user=ann", "/replace?user=ann", "/act"])
async def test_an_unchanged_session_is_touched(target: str) -> None:
    browser, spy, session_id = await watched(replaces_by_the_same)
    response = await browser.get(target)
    assert spy.calls == [("load", session_id), ("touch", session_id, SESSION_TIMEOUT)]
    assert not response.cookies and response.header("cache-control") is None


async def test_without_touch_a_fresh_copy_is_saved() -> None:
    plain = Plain()

    async def act(request: Request) -> None:
        _ = request.session
        await second_tab(browser).get("/put?meanwhile=1")

    browser = await signed_in(Root(act, plain))
    await browser.get("/act")
    session_id = browser.cookies["session_id"]
    assert plain.calls[-2:] == [
        ("load", session_id),
        ("save", session_id, {"user": "ann", "meanwhile": "1"}, SESSION_TIMEOUT),
    ]


async def test_with_update_nothing_is_ever_saved_otherwise() -> None:
    atomic = Atomic()
    browser = await signed_in(Root(backend=atomic))
    for target in ("/look", "/put?a=1", "/put?a=1", "/renew?b=2", "/drop/b", "/clear", "/look"):
        await browser.get(target)
    assert set(atomic.names) == {"load", "update"} and atomic.sessions == {}


async def test_a_look_never_undoes_a_logout_that_comes_between() -> None:
    """The backend is slow: the logout comes while the expiry is on its way."""

    class Slow(Atomic):
        async def update(self, session_id: str, change: Change, timeout: float) -> None:
            self.sessions.clear()
            await super().update(session_id, change, timeout)

    for target in ("/look", "/put?user=ann", "/put?new=1", "/drop/more"):
        slow = Slow()
        slow.sessions["id"] = {"user": "ann", "more": "1"}
        browser = Browser(Root(backend=slow), {"cookie": "session_id=id"})
        assert (await browser.get(target)).status == 200
        assert slow.sessions == {}


async def test_a_changed_session_is_saved() -> None:
    browser, spy, session_id = await watched(a="1", b="2", c="3")
    await browser.get("/put?b=4&d=5")
    assert spy.names == ["load", "update"]
    assert spy.calls[-1] == (
        "update",
        session_id,
        {"a": "1", "b": "4", "c": "3", "d": "5"},
        SESSION_TIMEOUT,
    )
    await browser.get("/drop/a/c")
    assert await session_of(browser) == {"b": "4", "d": "5"}
    await browser.get("/replace?z=1")
    assert await session_of(browser) == {"z": "1"}


async def test_a_session_may_be_looked_at_and_then_replaced_or_changed_deep_inside() -> None:
    async def replace(request: Request) -> None:
        request.session = {**request.session, "cart": {"items": [1]}}

    async def append(request: Request) -> None:
        request.session["cart"]["items"].append(2)

    app = Root(replace)
    browser = await signed_in(app)
    await browser.get("/act")
    assert await session_of(browser) == {"user": "ann", "cart": {"items": [1]}}
    app.doing = append
    await browser.get("/act")
    assert await session_of(browser) == {"user": "ann", "cart": {"items": [1, 2]}}


class Cart(list[Any]):
    """A list with more than its items, and an `==` that sees it."""

    coupon = ""

    def __eq__(self, other: object) -> bool:
        return list.__eq__(self, other) and self.coupon == getattr(other, "coupon", None)


def cart(coupon: str) -> Cart:
    made = Cart([1])
    made.coupon = coupon
    return made


class Array:
    """As an array of numbers: `==` compares item by item, and gives no truth value."""

    def __eq__(self, other: object) -> Any:
        return Array()

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")


def ring() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


class Opaque:
    """Equal to itself alone, and each request has a copy of its own."""


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (1, True, True),
        (0, False, True),
        (1, 1.0, True),
        ([1], [True], True),
        ([{"a": ({"b": 0},)}], [{"a": ({"b": False},)}], True),
        ((1, 2), [1, 2], True),
        ({1: "a"}, {True: "a"}, True),
        ({1, 2}, {True, 2}, True),
        ({(1,)}, {(True,)}, True),
        (frozenset([1]), {1}, True),
        (defaultdict(list, a=[1]), defaultdict(list, a=[True]), True),
        (cart("a"), cart("b"), True),
        (Array(), Array(), True),
        ([Array()], [Array()], True),
        (Opaque(), Opaque(), True),
        (ring(), ring(), True),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, False),
        ([1, (2, {"c": {3, 4}})], [1, (2, {"c": {4, 3}})], False),
        (cart("a"), cart("a"), False),
        (float("nan"), None, False),  # None: the value that is there
    ],
    ids=shown,
)
async def test_values_are_compared_with_their_types_at_every_depth(
    before: Any, after: Any, changes: bool
) -> None:
    async def act(request: Request) -> None:
        request.session["value"] = request.session["value"] if after is None else after

    spy = await holding(value=before, other="kept")
    browser = Browser(Root(act, spy), {"cookie": "session_id=id"})
    assert (await browser.get("/act")).status == 204
    assert spy.names == ["load", "update" if changes else "touch"]
    assert list(await spy.load("id")) == ["value", "other"]
    await browser.get("/clear")
    assert await spy.load("id") == {}


class Meanwhile(Note):
    """Once, after the handler has changed the session and before the save, it does a thing."""

    def __init__(self, action: Callable[[], Awaitable[Any]]) -> None:
        super().__init__([])
        self.action: Callable[[], Awaitable[Any]] | None = action

    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: Any
    ) -> None:
        action, self.action = self.action, None
        if action is not None:
            await action()


@pytest.mark.parametrize("backend", [Spy, Plain, Atomic])
@pytest.mark.parametrize(
    ("mine", "theirs", "result"),
    [
        ("/put?a=2", "/put?b=2", {"a": "2", "b": "2", "c": "1"}),
        ("/put?new=1", "/drop/a", {"b": "1", "c": "1", "new": "1"}),
        ("/drop/a", "/put?new=1", {"b": "1", "c": "1", "new": "1"}),
        ("/drop/a", "/drop/b", {"c": "1"}),
        ("/drop/a", "/drop/a", {"b": "1", "c": "1"}),
        ("/drop/a/b", "/drop/c", {}),
        ("/put?a=mine", "/put?a=theirs", {"a": "mine", "b": "1", "c": "1"}),
        ("/look", "/put?b=2", {"a": "1", "b": "2", "c": "1"}),
        ("/replace?a=2&b=1&c=1", "/put?new=1", {"a": "2", "b": "1", "c": "1", "new": "1"}),
        ("/renew?a=2", "/put?b=2", {"a": "2", "b": "2", "c": "1"}),
        # A logout deletes what the other request saved; a login is valid even if the old session
        # has ended.
        ("/clear", "/put?new=1", {}),
        ("/renew", "/clear", {}),
        ("/renew", "/drop/a", {"b": "1", "c": "1"}),
        ("/renew?user=ann", "/clear", {"user": "ann"}),
    ],
)
async def test_changes_are_merged_with_what_another_request_saved_meanwhile(
    backend: type[Spy | Plain | Atomic], mine: str, theirs: str, result: dict[str, str]
) -> None:
    app = Root(backend=backend())
    browser = await signed_in(app, a="1", b="1", c="1")
    other = second_tab(browser)
    app.middlewares.append(Meanwhile(lambda: other.get(theirs)))
    response = await browser.get(mine)
    assert await session_of(browser) == result
    if mine == "/clear":
        assert response.cookies == {"session_id": ""}
        assert await session_of(other) == {}


@pytest.mark.parametrize("backend", [Spy, Plain, Atomic])
@pytest.mark.parametrize(
    "target", ["/look", "/put?user=eve", "/put?more=1", "/drop/user", "/replace?x=1"]
)
async def test_a_logout_in_another_request_is_final(
    backend: type[Spy | Plain | Atomic], target: str
) -> None:
    app = Root(backend=backend())
    browser = await signed_in(app, user="ann", more="0")
    other = second_tab(browser)
    kept = {"cookie": f"session_id={browser.cookies['session_id']}"}
    app.middlewares.append(Meanwhile(lambda: other.get("/clear")))
    response = await browser.get(target)
    assert response.status == 200
    assert response.cookies.get("session_id", "") == "", "no new session either"
    assert (await get(app, "/look", headers=kept)).json() == {}


async def test_a_request_that_began_before_the_login_does_not_end_the_new_session() -> None:
    app = Root()
    browser = await signed_in(app, cart="1")
    app.middlewares.append(Meanwhile(lambda: browser.get("/renew?user=ann")))
    await browser.get("/put?seen=1")
    assert await session_of(browser) == {"cart": "1", "user": "ann"}


@pytest.mark.parametrize("query", ["", "?user=ann"])
async def test_of_two_renewals_at_once_the_second_leaves_the_cookie_of_the_first(
    query: str,
) -> None:
    """It has nothing to save under an id of its own, and would log the user out."""
    app = Root()
    browser = await signed_in(app)
    old = browser.cookies["session_id"]
    app.middlewares.append(Meanwhile(lambda: browser.get(f"/renew{query}")))
    second = await get(app, f"/renew{query}", headers=[cookie(old)])
    assert second.headers_all("set-cookie") == []
    assert (await browser.get("/look")).json() == {"user": "ann"}


async def clears_and_renews(request: Request) -> None:
    request.session.clear()
    request.regenerate_session()


@pytest.mark.parametrize("target", ["/clear", "/drop/user", "/replace", "/act"])
async def test_an_emptied_session_is_deleted_and_its_cookie_expires(target: str) -> None:
    browser, spy, session_id = await watched(clears_and_renews)
    response = await browser.get(target)
    assert {"Max-Age=0", "Path=/"} <= attributes(response)
    assert response.cookies == {"session_id": ""}
    assert spy.calls[-1][:3] == ("update", session_id, {})
    assert await spy.load(session_id) == {}
    assert browser.cookies == {}


class Marks(HttpMiddleware):
    """Writes to the session in both places; `answer` short-circuits."""

    def __init__(self, answer: dict[str, Any] | None = None) -> None:
        self.answer = answer

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        request.session["before"] = "1"
        return self.answer

    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: Any
    ) -> None:
        request.session["after"] = str(status_code)


LOGIN = {"status_code": 302, "headers": [("location", "/login")]}


@pytest.mark.parametrize(
    ("target", "answer", "body", "status", "saved"),
    [
        ("/blind", None, b"", 200, {"before": "1", "after": "200"}),
        ("/no-such-page", None, b"", 404, {"before": "1", "after": "404"}),
        ("/blind", LOGIN, b"", 302, {"before": "1", "after": "302"}),
        ("/blind", None, b"{", 400, {"after": "400"}),
    ],
    ids=["handler", "404", "short circuit", "bad length"],
)
async def test_changes_by_middlewares_are_saved(
    target: str, answer: Any, body: bytes, status: int, saved: dict[str, str]
) -> None:
    spy = Spy()
    app = Root(backend=spy)
    app.middlewares.append(Marks(answer))
    response = await post(app, target, body=body, headers={"content-length": "x"} if body else {})
    assert (response.status, spy.saved()) == (status, [saved])
    assert response.cookies["session_id"] == spy.calls[-1][1]


@pytest.mark.parametrize("how", ["returned", "raised"])
@pytest.mark.parametrize(
    ("status", "saved"), [(400, True), (404, True), (499, True), (500, False), (503, False)]
)
async def test_a_4xx_saves_the_session_and_a_5xx_does_not(
    how: str, status: int, saved: bool
) -> None:
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


@pytest.mark.parametrize("renews", [True, False])
async def test_a_crash_saves_nothing_and_keeps_the_id(renews: bool) -> None:
    async def act(request: Request) -> Any:
        if renews:
            request.regenerate_session()
        else:
            request.session["user"] = "eve"
        raise RuntimeError("boom")

    browser = await signed_in(Root(act))
    response = await browser.get("/act")
    assert (response.status, response.cookies) == (500, {})
    assert await session_of(browser) == {"user": "ann"}


async def test_changes_inside_a_stream_are_not_saved() -> None:
    async def act(request: Request) -> Any:
        request.session["before"] = "1"

        async def stream() -> AsyncIterator[str]:
            request.session["inside"] = "1"
            yield "x"

        return stream()

    browser = Browser(Root(act))
    response = await browser.get("/act")
    assert (response.body, response.complete) == (b"x", True)
    assert await session_of(browser) == {"before": "1"}


async def test_no_two_visitors_share_a_session() -> None:
    app = Root()
    ann, bob = await signed_in(app, user="ann"), await signed_in(app, user="bob")
    both = await asyncio.gather(*(browser.get("/look") for browser in (ann, bob) * 5))
    assert [response.json()["user"] for response in both] == ["ann", "bob"] * 5


# --- Ids and renewal ------------------------------------------------------------------------------


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
    assert len([data for data in spy.saved() if data]) == 1


async def test_a_session_that_expired_gets_a_new_id() -> None:
    clock = ManualClock()
    browser = await signed_in(Root(backend=InMemorySessionBackend(clock=clock), session_timeout=60))
    old = browser.cookies["session_id"]
    clock.advance(60)
    assert (await browser.get("/put?user=bob")).json() == {"user": "bob"}
    assert browser.cookies["session_id"] != old


@pytest.mark.parametrize(
    ("target", "expected"), [("/renew", {"user": "ann"}), ("/renew?a=1", {"user": "ann", "a": "1"})]
)
async def test_regenerate_session_gives_a_new_id_and_deletes_the_old_one(
    target: str, expected: dict[str, str]
) -> None:
    browser, spy, old = await watched()
    response = await browser.get(target)
    assert browser.cookies["session_id"] != old
    assert await spy.load(old) == {}
    assert await session_of(browser) == expected
    assert response.header("cache-control") == "no-store"


async def test_a_login_that_cannot_be_saved_is_a_500_and_leaves_no_session() -> None:
    """The data is taken out of the old id first, so that it is never under both."""
    down = Down()
    browser = await signed_in(Root(backend=down), cart="1")
    down.broken = "fill"
    assert (await browser.get("/renew?user=ann")).status == 500
    down.broken = ""
    assert await session_of(browser) == {}


# --- The cookie -----------------------------------------------------------------------------------

DEFAULTS = {"Path=/", "HttpOnly", "SameSite=Lax", "Secure"}


async def test_the_cookie_ends_with_the_browser() -> None:
    assert attributes(await get(Root(), "/put?a=1")) == DEFAULTS


@pytest.mark.parametrize(
    ("root_path", "option", "expected"),
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
    *[
        "localhost",
        "localhost:8000",
        "LOCALHOST",
        "127.0.0.1",
        "127.0.0.1:8000",
        "127.8.9.1",
        "[::1]",
        "[::1]:8000",
        "[::ffff:127.0.0.1]:8000",
        "[::FFFF:7f00:1]",
    ],
]
ELSEWHERE = [
    *[
        "example.com",
        "example.com:8000",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "example.com:127.0.0.1",
    ],
    *["notlocalhost", "10.0.0.1", "[::2]", "[::1].example.com", "[fe80::1]:1", ""],
    *["app.localhost", "[::ffff:10.0.0.1]", "[::ffff:8f00:1]", "::1:8000", "127.1", "127.0.0.1."],
]


# A scope without a scheme is plain HTTP.
@pytest.mark.parametrize("scheme", ["http", "https", REMOVED])
@pytest.mark.parametrize("host", LOOPBACK + ELSEWHERE)
async def test_the_cookie_is_secure_but_for_plain_http_to_loopback(host: str, scheme: Any) -> None:
    response = await get(Root(), "/put?a=1", headers={"host": host}, scope={"scheme": scheme})
    assert ("Secure" in attributes(response)) is (host in ELSEWHERE or scheme == "https")


def coming(*headers: tuple[str, str], host: str = "127.0.0.1:8000", **scope: Any) -> dict[str, Any]:
    return {"headers": [("host", host), *headers], "scope": scope}


@pytest.mark.parametrize(
    ("options", "secure"),
    [
        (coming(), False),
        (coming(client=("127.8.0.1", 5)), False),
        (coming(client=("::1", 5)), False),
        (coming(client=("::ffff:127.0.0.1", 5)), False),
        (coming(http_version=REMOVED), False),  # of a WebSocket, for which it may be left out
        (coming(("origin", "http://localhost:8000")), False),
        (coming(("referer", "http://[::1]/page?q#f")), False),
        (coming(("x-request-id", "1"), ("x-forward", "1")), False),
        (coming(("sec-fetch-site", "none"), ("connection", "keep-alive")), False),  # a browser
        (coming(("sec-fetch-site", "none")), True),  # through nginx from 1.29.7 on
        (coming(("a", "1"), ("via", "1.1 proxy"), ("b", "1")), True),
        (coming(client=("203.0.113.9", 5)), True),
        (coming(client=("::1:8000", 5)), True),
        (coming(client=None), True),  # a Unix socket
        (coming(client=REMOVED), True),
        (coming(http_version="1.0"), True),  # nginx
        (coming(http_version="2"), True),
        (coming(("forwarded", "for=203.0.113.9")), True),
        (coming(("x-forwarded-for", "203.0.113.9")), True),
        (coming(("X-Forwarded-Whatever", "")), True),
        (coming(("x-real-ip", "127.0.0.1")), True),
        (coming(("via", "1.1 proxy")), True),
        (coming(("origin", "https://localhost:8000")), True),
        (coming(("origin", "http://shop.example")), True),
        (coming(("origin", "null")), True),
        (coming(("referer", "https://shop.example/")), True),
        (coming(("referer", "http://localhost@shop.example/")), True),
        (coming(("referer", "http://localhost.shop.example/")), True),
        (coming(("referer", "")), True),
        (coming(("origin", "http://localhost"), ("referer", "https://shop.example/")), True),
        (coming(("host", "shop.example")), True),  # two hosts
    ],
    ids=shown,
)
async def test_the_cookie_is_secure_unless_the_request_comes_straight_from_this_machine(
    options: dict[str, Any], secure: bool
) -> None:
    response = await get(Root(), "/put?a=1", **options)
    assert ("Secure" in attributes(response)) is secure
    if "origin" not in dict(options["headers"]):  # most of those have no session in a handshake
        talk = Sockets(doing("a=1 accept"))
        (sent,) = await talked(talk, *options["headers"], scope=options["scope"])
        assert ("; Secure" in sent) is secure


@pytest.mark.parametrize("kind", [list, iter, tuple])
async def test_headers_may_be_any_iterable(kind: Any) -> None:
    """ASGI allows it. An iterator that is empty at the second look would hide the origin."""
    app = Root()
    await app.session_backend.save("id", {"user": "ann"}, 60)
    own = [(b"host", b"testserver"), (b"cookie", b"session_id=id")]
    foreign = [*own, (b"origin", b"https://elsewhere.example")]
    for headers, session in ((own, {"user": "ann"}), (foreign, {})):
        sent = await call(app, path="/look", method="POST", headers=kind(headers))
        assert json.loads(sent[-1]["body"]) == session
        sockets = Sockets(origin_and_session, app.session_backend)
        scope = {"type": "websocket", "path": "/", "headers": kind(headers)}
        receive = scripted({"type": "websocket.connect"})
        sent = await call(sockets, receive, **scope)
        origin = dict(headers).get(b"origin", b"").decode()
        assert json.loads(sent[1]["text"]) == [origin, session]


async def origin_and_session(app: App, ws: WebSocket) -> None:
    await ws.accept()
    await ws.send_json([app.request.headers.get("Origin", ""), app.request.session])


@pytest.mark.parametrize("name", ["__Host-id", "__Secure-id", "__host-id", "__SECURE-id"])
async def test_names_with_a_prefix_are_always_secure(name: str) -> None:
    app = Root(session_cookie_name=name, debug=True)
    response = await get(app, "/put?a=1", headers=[("host", "localhost")])
    assert response.cookies.keys() == {name}
    assert "; Secure;" in response.headers_all("set-cookie")[0]


async def test_a_host_cookie_has_the_path_that_browsers_ask_for_below_a_mount_too() -> None:
    scope = {"root_path": "/shop", "path": "/shop/put"}
    response = await get(Root(session_cookie_name="__Host-id"), "/put?a=1", scope=scope)
    assert "; Path=/;" in response.headers_all("set-cookie")[0]


@pytest.mark.parametrize(
    "options",
    [
        *({"session_cookie_name": name} for name in ("", "a b", "a;b", "a=b", "é", "a\n")),
        {"session_cookie_name": "__Host-id", "session_cookie_secure": False},
        {"session_cookie_name": "__secure-id", "session_cookie_secure": False},
        {"session_cookie_name": "__Host-id", "session_cookie_path": "/shop"},
        {"session_cookie_path": "shop"},
        {"session_cookie_path": "/a;b"},
        {"session_cookie_path": "/é"},
        *({"session_timeout": timeout} for timeout in (0, -1, float("nan"))),
    ],
)
def test_the_settings_of_sessions_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="cookie|session_timeout"):
        Root(**options)


async def test_the_cookie_may_have_another_name() -> None:
    app, other = Root(session_cookie_name="pie"), Root(session_cookie_name="p.e")
    session_id = (await get(app, "/put?a=1")).cookies["pie"]
    headers = {"cookie": f"session_id=x; p.e=y; pie={session_id}"}
    assert (await get(app, "/look", headers=headers)).json() == {"a": "1"}
    assert (await get(other, "/look", headers={"cookie": f"pie={session_id}"})).json() == {}
    assert (await get(app, "/clear", headers=headers)).cookies == {"pie": ""}
    async with websocket(app, "/look", headers=headers) as ws:
        assert ws.accepted
    (cookie,) = await talked(
        Sockets(doing("accept:chosen"), session_cookie_name="pie"), ("host", "localhost")
    )
    assert cookie.startswith("pie=chosen;")


@pytest.mark.parametrize(
    ("server", "secure"),
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
async def test_without_a_host_header_secure_goes_by_the_server(server: Any, secure: bool) -> None:
    response = await get(Root(), "/put?a=1", scope={"headers": [], "server": server})
    assert ("Secure" in attributes(response)) is secure


@pytest.mark.parametrize(
    ("option", "debug", "secure"), [(True, True, True), (False, False, False), (None, True, False)]
)
@pytest.mark.parametrize("host", ["localhost", "example.com"])
async def test_session_cookie_secure_and_debug_decide_before_the_host(
    option: bool | None, debug: bool, secure: bool, host: str
) -> None:
    app = Root(session_cookie_secure=option, debug=debug)
    response = await get(app, "/put?a=1", headers={"host": host})
    assert ("Secure" in attributes(response)) is secure


async def test_a_response_with_the_cookie_is_not_stored() -> None:
    async def cached(request: Request) -> Any:
        request.session["a"] = 1
        return 200, "x", {"Cache-Control": "private, max-age=5"}

    assert (await get(Root(), "/put?a=1")).headers_all("cache-control") == ["no-store"]
    assert (await get(Root(cached), "/act")).headers_all("cache-control") == ["private, max-age=5"]


# --- Backends -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("options", "timeout"), [({}, 8 * 3600), ({"session_timeout": 60}, 60)])
async def test_the_timeout_is_eight_hours_or_as_told(options: dict[str, Any], timeout: int) -> None:
    assert SESSION_TIMEOUT == 8 * 3600
    spy = Spy()
    browser = await signed_in(Root(backend=spy, **options))
    await browser.get("/look")
    assert [call[-1] for call in spy.calls if call[0] in ("update", "touch")] == [timeout, timeout]


@pytest.mark.parametrize(
    ("target", "alive"), [("/look", True), ("/put?n={}", True), ("/blind", False)]
)
async def test_the_timeout_slides_with_every_request_that_looks(target: str, alive: bool) -> None:
    clock = ManualClock()
    browser = await signed_in(Root(backend=InMemorySessionBackend(clock=clock), session_timeout=80))
    for number in range(3):
        clock.advance(30)
        await browser.get(target.format(number))
    assert ((await session_of(browser)).get("user") == "ann") is alive


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
    assert spy.names == ["update"]


async def test_in_memory_keeps_loads_replaces_and_deletes() -> None:
    backend = InMemorySessionBackend()
    assert await backend.load("a") == {}
    await backend.save("b", {"n": 2}, 30)
    for data in ({"n": 1, "deep": [1]}, {"n": 3}, {}, {}):
        await backend.save("a", data, 60)
        assert await backend.load("a") == data
    assert await backend.load("b") == {"n": 2}


async def test_in_memory_update_gives_and_keeps_copies_and_deletes() -> None:
    def append(data: dict[str, Any]) -> dict[str, Any]:
        seen.append(dict(data))
        data["list"] = mine = [*data.get("list", []), len(seen)]
        given.append(mine)
        return data

    seen: list[Any] = []
    given: list[list[int]] = []
    clock = ManualClock()
    backend = InMemorySessionBackend(clock=clock)
    for _ in range(2):
        await backend.update("a", append, 60)
        given[-1].append(99)
    assert seen == [{}, {"list": [1]}]
    assert await backend.load("a") == {"list": [1, 2]}
    clock.advance(60)
    await backend.update("a", append, 60)
    assert seen[-1] == {}, "it had expired"
    await backend.update("a", lambda data: {}, 60)
    await backend.update("none", dict, 60)
    assert [await backend.load(name) for name in ("a", "none")] == [{}, {}]


def test_in_memory_may_be_used_by_several_threads() -> None:
    backend = InMemorySessionBackend()

    def work(number: int) -> None:
        async def count() -> None:
            for _ in range(300):
                await backend.update("a", lambda data: {"n": data.get("n", 0) + 1}, 60)
                await backend.save(f"own{number}", {"n": 1}, -1)  # which others remove at once
                await backend.touch(f"own{number}", 60)
                await backend.load("a")

        asyncio.run(count())

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(interval)
    assert asyncio.run(backend.load("a")) == {"n": 1200}


@pytest.mark.parametrize("backend", [Spy, Atomic])
async def test_no_change_of_requests_at_once_is_lost_and_a_logout_is_final(
    backend: type[Spy | Atomic],
) -> None:
    async def act(request: Request) -> None:
        name = request.query("name")
        request.session[name] = request.session.get(name, 0) + 1
        await asyncio.sleep(0)

    async def work(name: str) -> None:
        for _ in range(25):
            assert (await get(app, f"/act?name={name}", headers=headers)).status == 204

    kept = backend()
    app = Root(act, kept)
    headers = {"cookie": "session_id=id"}
    await kept.save("id", {"user": "ann"}, 60)
    await asyncio.gather(*map(work, "abcd"))
    assert await kept.load("id") == {"user": "ann", **dict.fromkeys("abcd", 25)}
    await asyncio.gather(*map(work, "abcd"), get(app, "/clear", headers=headers))
    assert await kept.load("id") == {}


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

    other = Browser(Root(act, await holding(cart=[1])), {"cookie": "session_id=id"})
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
    assert [await backend.load(name) for name in ("short", "long", "touched")] == [
        {"n": 1},
        {"n": 2},
        {"n": 3},
    ]
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


def _counted(compare: Callable[[float, float], bool]) -> Callable[[float, float], bool]:
    def counted(one: float, other: float) -> bool:
        Timeout.comparisons += 1
        return compare(float(one), float(other))

    return counted


for _name in ("__lt__", "__le__", "__gt__", "__ge__"):
    setattr(Timeout, _name, _counted(getattr(float, _name)))


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
        "load": lambda: backend.load("another"),
        "save": lambda: backend.save("another", {"n": 1}, 60),
        "touch": lambda: backend.touch("another", 60),
    }
    for number in range(500):
        await backend.save(f"n{number}", {"n": Weighty()}, 10 + number % 3)
    await backend.save("live", {"n": Weighty()}, 60)
    clock.advance(12)
    # What one call removes is bounded; a few visitors later it is all gone.
    for _ in range(50):
        await visits[visit]()
    assert len(Weighty.alive) == 1


# --- A backend that is down -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("broken", "target", "ran"),
    [
        ("load", "/look", ["after m 500"]),
        ("update", "/put?a=1", ["before m", "after m 200"]),
        ("update", "/clear", ["before m", "after m 200"]),
        ("update", "/act", ["before m", "after m 200"]),
        ("touch", "/look", ["before m", "after m 200"]),
    ],
)
async def test_a_backend_that_is_down_is_a_plain_logged_500(broken, target, ran, caplog):
    async def act(request: Request) -> Any:
        request.session["a"] = 1
        return 200, "x", [("x-a", "1")]

    down = Down()
    app = Root(act, down)
    browser = await signed_in(app)
    notes: list[str] = []
    app.middlewares.append(Note(notes))
    down.broken = broken
    response = await browser.get(target)
    assert (response.status, response.text, response.cookies) == (
        500,
        "500 Internal Server Error",
        {},
    )
    assert response.header("x-a") is None
    assert notes == ran, "no middleware runs twice, and none before a session that cannot be loaded"
    (record,) = caplog.records
    assert record.levelno == logging.ERROR and f"{broken} is down" in caplog.text


class Uncopyable:
    def __deepcopy__(self, memo: Any) -> Any:
        raise TypeError("not to be copied")


async def test_saving_what_cannot_be_copied_raises_and_leaves_the_session_as_it_was() -> None:
    backend = InMemorySessionBackend()
    await backend.save("a", {"n": 1}, 60)
    with pytest.raises(TypeError, match="not to be copied"):
        await backend.save("a", {"bad": Uncopyable()}, 60)
    assert await backend.load("a") == {"n": 1}


async def test_a_session_that_cannot_be_copied_is_a_logged_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def act(request: Request) -> None:
        request.session["a"] = Uncopyable()

    assert (await get(Root(act), "/act")).status == 500
    assert "not to be copied" in caplog.text


async def test_a_cancelled_save_passes_through() -> None:
    class Slow(InMemorySessionBackend):
        async def update(self, session_id: str, change: Change, timeout: float) -> None:
            waiting.set()
            await asyncio.Event().wait()

    waiting = asyncio.Event()
    async with exchange(Root(backend=Slow()), path="/put", query="a=1") as ex:
        await waiting.wait()
        ex.cancel()
        assert await ex.next_message() is None


# --- WebSocket ------------------------------------------------------------------------------------


def cookie(session_id: str) -> tuple[str, str]:
    return "cookie", f"session_id={session_id}"


class Sockets(App):
    """WebSockets whose handler is what the test says."""

    def __init__(self, talk: Talk, backend: SessionBackend | None = None, **options: Any) -> None:
        super().__init__(backend, **options)
        self.talk = talk

    async def ws_index(self, ws: WebSocket) -> None:
        await self.talk(self, ws)


async def talked(app: App, *headers: tuple[str, str], **options: Any) -> list[str]:
    """Run a WebSocket to its end, and return the cookies of its handshake."""
    async with websocket(app, headers=headers, **options) as ws:
        pass
    return [value.decode() for name, value in ws.accept_headers if name == b"set-cookie"]


def doing(steps: str, notes: list[Any] | None = None) -> Talk:
    """A handler of these steps: accept, accept:ID, look, clear, renew, NAME=VALUE, del:NAME.

    For the backend there is store:ID:NAME=VALUE. Without ID it means that of the WebSocket, and no
    NAME=VALUE ends the session. It adds the id that the WebSocket has after each `accept` to
    `notes`, and the session that is stored then.
    """

    async def step(app: App, ws: WebSocket, verb: str, argument: str) -> None:
        if verb == "accept":
            await ws.accept(session_id=argument or None)
            if notes is not None:
                notes.extend(
                    [ws.session_id, await app.session_backend.load(ws.session_id or "none")]
                )
        elif verb == "renew":
            app.request.regenerate_session()
        elif verb == "store":
            session_id, _, pair = argument.partition(":")
            await app.session_backend.save(session_id or str(ws.session_id), dict_of(pair), 60)
        elif verb == "clear":
            app.request.session.clear()
        elif verb == "del":
            del app.request.session[argument]
        else:  # NAME=VALUE, or "look", which changes nothing
            app.request.session.update(dict_of(verb))

    async def talk(app: App, ws: WebSocket) -> None:
        for text in steps.split():
            verb, _, argument = text.partition(":")
            await step(app, ws, verb, argument)

    return talk


def dict_of(pairs: str) -> dict[str, str]:
    """The dictionary that "a=1,b=2" says."""
    return dict(pair.split("=") for pair in pairs.split(",") if "=" in pair)


async def test_a_second_accept_has_the_cookie_that_the_server_has_refused() -> None:
    """A server may refuse the first message, for example for its subprotocol."""

    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        with pytest.raises(ValueError, match="not offered"):
            await ws.accept(subprotocol="bad")
        await ws.accept()

    def refuse(message: Any) -> Exception | None:
        return ValueError("not offered") if message.get("subprotocol") else None

    app = Sockets(talk)
    receive = scripted({"type": "websocket.connect"})
    sent = await call(app, receive, refuse, type="websocket", path="/")
    accepted, _ = sent
    (session_id,) = re.findall(rb"session_id=([^;]+)", dict(accepted["headers"])[b"set-cookie"])
    assert await app.session_backend.load(session_id.decode()) == {"user": "ann"}


async def test_a_websocket_sees_the_session() -> None:
    app = Root()
    session_id = (await signed_in(app)).cookies["session_id"]
    async with websocket(app, "/look", headers=[cookie(session_id)]) as ws:
        assert await ws.receive_json() == {"session": {"user": "ann"}, "id": session_id}
    for headers in ([], [cookie("A" * 43)]):
        async with websocket(app, "/look", headers=headers) as ws:
            assert await ws.receive_json() == {"session": {}, "id": None}


@pytest.mark.parametrize(("steps", "last"), [("accept look", "touch"), ("accept", "load")])
async def test_a_websocket_moves_the_expiry_if_it_looks_at_the_session(
    steps: str, last: str
) -> None:
    spy = await holding(a="1")
    assert await talked(Sockets(doing(steps), spy), cookie("id")) == []
    assert (spy.names[-1], spy.saved()) == (last, [])


@pytest.mark.parametrize("error", [None, RuntimeError("boom"), HTTPError(400)])
@pytest.mark.parametrize("steps", ["accept b=2 del:a", "b=2 del:a"])
async def test_a_websocket_saves_when_its_handler_ends_on_error_too(
    error: Exception | None, steps: str
) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await doing(steps)(app, ws)
        assert spy.saved() == []
        if error is not None:
            raise error

    spy = await holding(a="1")
    assert await talked(Sockets(talk, spy), cookie("id")) == []
    assert spy.calls[-1] == ("update", "id", {"b": "2"}, SESSION_TIMEOUT)


@pytest.mark.parametrize(
    ("meanwhile", "expected"),
    [("/put?theirs=2", {"user": "ann", "mine": "1", "theirs": "2"}), ("/clear", {})],
)
async def test_a_websocket_keeps_what_requests_saved_meanwhile(
    meanwhile: str, expected: dict[str, str]
) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        await doing("accept mine=1")(app, ws)
        await browser.get(meanwhile)

    browser, spy, session_id = await watched()
    await talked(Sockets(talk, spy), cookie(session_id))
    assert await spy.load(session_id) == expected


@pytest.mark.parametrize(
    ("before", "steps", "sent", "after"),
    [
        # Without an id of the handler's own.
        ("id a=1", "accept clear", None, "id"),
        ("", "gone=1 del:gone accept", None, ""),
        ("id a=1", "gone=1 del:gone accept", None, "id a=1"),
        ("", "user=ann accept later=1", "new", "new user=ann,later=1"),
        ("unknown", "user=ann accept later=1", "new", "new user=ann,later=1"),
        ("id a=1", "user=ann renew accept", "new", "new a=1,user=ann"),
        ("id a=1", "renew accept later=1", "new", "new a=1,later=1"),
        ("", "user=ann,cart=full accept store::user=ann later=1", "new", "new user=ann,later=1"),
    ],
)
async def test_the_handshake_sends_the_id_of_the_session_and_later_changes_go_there(
    before: str, steps: str, sent: str | None, after: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`before` is the client's id and session, `sent` the id in the handshake, `after` both."""
    client, _, stored = before.partition(" ")
    notes: list[Any] = []
    spy = await holding(client, **dict_of(stored))
    cookies = await talked(Sockets(doing(steps, notes), spy), *([cookie(client)] if client else []))
    pair, *options = cookies[0].split("; ") if cookies else [""]
    session_id = pair.removeprefix("session_id=")
    assert (len(cookies), set(options)) == ((1, DEFAULTS) if sent else (0, set()))
    if sent == "new":
        assert re.fullmatch(r"[A-Za-z0-9_-]{43}", session_id)
        assert await spy.load(client) == {}
    elif sent:
        assert session_id == sent
    name, _, data = after.partition(" ")
    assert await spy.load(session_id if name == "new" else name) == dict_of(data)
    assert notes[0] == (session_id or (client if stored else None))
    assert caplog.records == []


LOST = "a session that is new after accept() has no cookie"


@pytest.mark.parametrize(
    ("before", "steps", "kept", "warned"),
    [
        ("", "accept:chosen", "", False),
        ("", "store:chosen:user=ann accept:chosen", "chosen user=ann", False),
        ("id a=1", "accept:chosen later=1", "id a=1,later=1", False),
        ("id a=1", "look accept:chosen later=1", "id a=1,later=1", False),
        ("id a=1", "b=2 accept:chosen", "id a=1,b=2", False),
        ("id a=1", "accept:chosen clear", "", False),
        ("id a=1", "b=2 accept:id", "id a=1,b=2", False),
        ("", "accept:chosen later=1", "", True),
        ("", "user=ann accept:chosen later=1", "", True),
        ("", "store:chosen:user=ann accept:chosen later=1", "chosen user=ann", True),
        ("id a=1", "renew accept:chosen later=1", "id a=1,later=1", True),
    ],
)
async def test_an_id_given_to_accept_is_sent_and_the_session_stays_where_it_was(
    before: str, steps: str, kept: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """`before` is the client's id and its session; `kept` all that is stored in the end."""
    client, _, stored = before.partition(" ")
    notes: list[Any] = []
    spy = await holding(client, **dict_of(stored))
    (sent,) = await talked(Sockets(doing(steps, notes), spy), *([cookie(client)] if client else []))
    given = steps.partition("accept:")[2].split()[0]
    pair, *options = sent.split("; ")
    assert (pair, set(options), notes[0]) == (f"session_id={given}", DEFAULTS, given)
    owner, _, data = kept.partition(" ")
    found = {name: await spy.load(name) for name in ("id", "chosen")}
    assert {name: session for name, session in found.items() if session} == (
        {owner: dict_of(data)} if kept else {}
    )
    assert spy.saved() == [] or client or "store" in steps, (
        "no session gets an id that no client has"
    )
    assert [LOST in record.message for record in caplog.records] == [True] * warned


async def test_the_cookie_of_a_handshake_is_live_at_once() -> None:
    notes: list[Any] = []
    await talked(Sockets(doing("user=ann accept", notes)))
    assert notes[1] == {"user": "ann"}


async def test_a_session_that_changes_while_accept_saves_it_is_saved_at_the_end() -> None:
    class Meddling(InMemorySessionBackend):
        async def update(self, session_id: str, change: Change, timeout: float) -> None:
            await super().update(session_id, change, timeout)
            saved.append(await self.load(session_id))
            app.request.session["b"] = "2"

    saved: list[dict[str, Any]] = []
    app = Sockets(doing("a=1 accept"), Meddling())
    await talked(app)
    assert saved == [{"a": "1"}, {"a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("host", "scheme", "secure"),
    [("localhost:8000", "ws", False), ("localhost", "wss", True), ("example.com", "ws", True)],
)
async def test_the_handshake_follows_the_rules_of_the_cookie(
    host: str, scheme: str, secure: bool
) -> None:
    scope = {"scheme": scheme, "root_path": "/shop", "path": "/shop/"}
    (sent,) = await talked(Sockets(doing("a=1 accept")), ("host", host), scope=scope)
    assert ("; Secure" in sent) is secure
    assert "; Path=/shop;" in sent


@pytest.mark.parametrize("bad", ["a;b", "a\r\nset-cookie: x=y", *ODD_IDS])
async def test_accept_refuses_an_id_that_would_never_be_loaded(bad: str) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        with pytest.raises(ValueError, match="cookie"):
            await ws.accept(session_id=bad)
        caught.append(bad)

    caught: list[str] = []
    await talked(Sockets(talk))
    assert caught == [bad]


async def test_a_session_filled_after_accept_is_lost_with_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spy = Spy()
    assert await talked(Sockets(doing("accept user=ann"), spy)) == []
    assert spy.calls == []
    assert levels(caplog) == [logging.WARNING]
    assert "accept()" in caplog.text


async def test_accept_may_be_called_again_if_its_session_could_not_be_saved() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["user"] = "ann"
        with pytest.raises(OSError, match="update is down"):
            await ws.accept()
        down.broken = ""
        await ws.accept()

    down = Down("update")
    (sent,) = await talked(Sockets(talk, down))
    session_id = sent.partition("=")[2].partition(";")[0]
    assert await down.load(session_id) == {"user": "ann"}


async def test_an_id_renewed_after_accept_is_warned_about_and_the_old_one_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    spy = await holding(a="1")
    await talked(Sockets(doing("accept b=2 renew"), spy), cookie("id"))
    assert await spy.load("id") == {"a": "1", "b": "2"}
    assert levels(caplog) == [logging.WARNING]


ORIGINS = pytest.mark.parametrize(
    ("origin", "host", "same"),
    [
        (None, "example.com", True),
        (None, None, True),
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
        ("null", "example.com", False),  # although it is allowed by name
        ("null", "null", False),
        ("", "example.com", False),
        ("example.com", "example.com", False),
        ("://example.com@evil.example", "example.com", False),
        ("http://testserver", None, False),  # a handshake without a host has no origin of its own
        ("http://", None, False),
        ("http://:80", None, False),
        # The browser's word on the page decides before its origin, but after the allowed ones.
        ("https://evil.example", "example.com same-origin", True),
        (None, "example.com none", True),
        (None, "example.com cross-site", False),
        (None, "example.com same-site", False),
        (None, "example.com other", False),
        ("https://example.com", "example.com same-site", False),
        ("https://friend.example", "example.com cross-site", True),
        ("null", "example.com cross-site", False),
    ],
)


def headers_of(origin: str | None, host: str | None) -> list[tuple[str, str]]:
    """The headers of a request with a session; behind the host, what Sec-Fetch-Site says."""
    name, _, site = (host or "").partition(" ")
    pairs = {"host": name or None, "origin": origin, "sec-fetch-site": site or None}
    return [cookie("id"), *((key, value) for key, value in pairs.items() if value is not None)]


ALLOWED = ("https://friend.example", "http://Dev.Example:3000/", "null", "/")


@ORIGINS
@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_request_that_another_origin_caused_has_no_session(
    method: str, origin: str | None, host: str | None, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def act(request: Request) -> str:
        seen = dict(request.session)
        request.session["changed"] = 1
        request.regenerate_session()
        return repr(seen)

    spy = await holding(a=1)
    app = Root(act, spy, allowed_origins=ALLOWED)
    pairs = [(name.encode(), value.encode()) for name, value in headers_of(origin, host)]
    response = await request_(app, method, "/act", scope={"headers": pairs})
    assert (response.text, response.header("vary")) == (repr({"a": 1} if same else {}), "Cookie")
    assert spy.names == (["load", "update", "update"] if same else [])
    assert ("session_id" in response.cookies) is same
    assert levels(caplog) == ([] if same else [logging.WARNING])
    # Nor does a request without a session get one, since a stranger's login would be the visitor's.
    spy.calls.clear()
    response = await request_(app, method, "/act", scope={"headers": pairs[1:]})
    assert ("session_id" in response.cookies) is same
    assert bool(spy.calls) is same


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_a_request_that_changes_nothing_has_its_session_from_anywhere(method: str) -> None:
    headers = headers_of("https://evil.example", "example.com cross-site")
    spy = await holding(a=1)
    response = await request_(Root(backend=spy), method, "/put", query="b=2", headers=headers)
    assert (response.status, spy.saved()) == (200, [{"a": 1, "b": "2"}])


async def test_a_middleware_that_takes_the_method_from_a_form_changes_none_of_this() -> None:
    class Override(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            request.method = "GET"

        async def after_request(self, *args: Any) -> None:
            pass

    spy = Spy()
    app = Root(backend=spy)
    app.middlewares.append(Override())
    await post(app, "/put?a=1", headers={"origin": "https://evil.example"})
    assert spy.calls == []


async def test_from_session_is_401_in_a_request_that_another_origin_caused() -> None:
    class Whose(App):
        async def who(self, a: FromSession) -> Any:
            return a

    app = Whose(await holding(a=1))
    for site, status in (("same-origin", 200), ("cross-site", 401)):
        headers = [cookie("id"), ("sec-fetch-site", site)]
        assert (await post(app, "/who", headers=headers)).status == status


@ORIGINS
async def test_a_foreign_origin_gets_no_session(
    origin: str | None, host: str | None, same: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        seen.append(dict(app.request.session))
        app.request.session["changed"] = 1
        await ws.accept(session_id=None if same else "given")

    seen: list[Any] = []
    headers = [(name.encode(), value.encode()) for name, value in headers_of(origin, host)]
    spy = await holding(a=1)
    sent = await talked(Sockets(talk, spy, allowed_origins=ALLOWED), scope={"headers": headers})
    if same:
        assert seen == [{"a": 1}]
        assert spy.saved() == [{"a": 1, "changed": 1}]
    else:
        assert (seen, sent, spy.names) == ([{}], [], [])
    assert levels(caplog) == ([] if same else [logging.WARNING])


async def test_a_foreign_origin_begins_no_session_in_the_handshake() -> None:
    async def talk(app: App, ws: WebSocket) -> None:
        app.request.session["planted"] = 1
        await ws.accept()

    spy = await holding(a=1)
    origin = [(b"origin", b"https://evil.example")]
    sent = await talked(Sockets(talk, spy), scope={"headers": origin})
    assert (sent, spy.names) == ([], [])


async def test_a_foreign_origin_without_a_session_is_not_worth_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await talked(Sockets(doing("accept")), ("origin", "https://evil.example"), ("cookie", "a=b"))
    assert caplog.records == []


async def test_another_origin_puts_no_line_and_no_escape_into_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    headers = [(b"cookie", b"session_id=id"), (b"origin", b"http://x\x1b[2J\nFORGED\x85")]
    await request_(Root(), "POST", "/act\r\nFORGED", headers=headers)

    assert levels(caplog) == [logging.WARNING]
    assert caplog.records[0].getMessage().isprintable()


def test_allowed_origins_is_no_single_string() -> None:
    with pytest.raises(TypeError, match="allowed_origins"):
        Root(allowed_origins="https://example.com")


@pytest.mark.parametrize(
    ("broken", "steps", "accepted"),
    [
        ("load", "look accept", False),
        ("update", "user=ann renew look accept", False),
        ("touch", "look accept", True),
    ],
)
async def test_a_websocket_whose_backend_is_down_is_refused_or_closed_with_1011(
    broken: str, steps: str, accepted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    down = Down()
    await down.save("id", {"a": 1}, 60)
    down.broken = broken
    async with websocket(Sockets(doing(steps), down), headers=[cookie("id")]) as ws:
        assert ws.accepted is accepted
    assert (ws.close_code, ws.close_reason) == (1011, "")
    assert f"{broken} is down" in caplog.text


async def test_a_session_that_could_not_be_loaded_is_not_replaced() -> None:
    """A middleware may make another response of the 500, and write to the session there."""

    class Down(Spy):
        is_down = True

        async def load(self, session_id: str) -> dict[str, Any]:
            if self.is_down:
                raise OSError("down")
            return await super().load(session_id)

    class Flash(HttpMiddleware):
        async def after_request(self, request: Any, status: int, *_: Any) -> Any:
            if status == 500:
                request.session["flash"] = "try again"
                return {"status_code": 303, "headers": [("location", "/")]}
            return None

    app = Root(backend=Down())
    app.middlewares.append(Flash())
    response = await get(app, "/look", headers={"cookie": "session_id=id"})
    assert (response.status, response.header("set-cookie")) == (303, None)
