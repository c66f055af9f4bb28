"""How a path finds its handler: by name, by method, and in which thread the handler then runs."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import os
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NewType, Optional

import pytest

import micropie
from micropie import App, HTTPError, UploadedFile, current_request, methods
from tests.asgi import REMOVED, assert_logged_500, call, get, post, request, thread_set, websocket
from tests.clock import elapse
from tests.noting import Note

MODULE = Path(micropie.__file__)


async def answer(app: App, target: str, **options: Any) -> tuple[int | None, str]:
    """The status and the text of a GET."""
    response = await get(app, target, **options)
    return response.status, response.text


async def handshake(app: App, path: str, **options: Any) -> str | int | None:
    """The first text that a WebSocket at `path` sends, or the close code of a refused handshake."""
    async with websocket(app, path, **options) as ws:
        outcome: str | int | None = await ws.receive() if ws.accepted else ws.rejected
    return outcome


def python(code: str, *arguments: str, cwd: Path | None = None) -> str:
    """The output of a fresh interpreter that runs `code`, beside micropie.py or in its `cwd`."""
    env = {**os.environ, "PYTHONPATH": str(MODULE.parent) if cwd is None else ""}
    command = [sys.executable, *arguments, "-c", code]
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- The module by itself -------------------------------------------------------------------------


def test_import_loads_no_optional_package_and_nothing_that_is_not_needed_yet():
    unwanted = [
        "jinja2",
        "markupsafe",
        "multipart",
        "orjson",
        "uvicorn",
        "decimal",
        "uuid",
        "sqlite3",
    ]
    loaded = python(
        f"import sys, micropie; print([name for name in {unwanted} if name in sys.modules])"
    )
    assert loaded == "[]"


SERVE = """
import asyncio, sys
from micropie import App

class Root(App):
    async def index(self):
        self.request.session["seen"] = True
        return "Welcome to MicroPie."
    def data(self, n: int = 1):
        return {"n": n}
    def lines(self):
        yield "a"
        yield "b"

async def ask(path):
    sent, body = [], [{"type": "http.request"}]
    async def receive():
        return body.pop() if body else await asyncio.sleep(60)
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message["body"] for message in sent[1:])

async def main():
    print([await ask(path) for path in ("/", "/data/2", "/lines", "/nothing")])

app = Root()
"""
SERVED = (
    "[(200, b'Welcome to MicroPie.'), (200, b'{\"n\":2}'), (200, b'ab'), (404, b'404 Not Found')]"
)


def test_the_single_file_works_where_it_is_copied_to_with_the_standard_library_alone(tmp_path):
    shutil.copy(MODULE, tmp_path)
    assert python(SERVE + "asyncio.run(main())", "-S", cwd=tmp_path) == SERVED


async def test_without_threads_plain_handlers_and_generators_run_inline(monkeypatch):
    def no_threads(thread):
        raise RuntimeError("can't start new thread")

    class Inline(App):
        def plain(self):
            return str(threading.current_thread() is threading.main_thread())

        def steps(self):
            yield "a"
            yield "b"

    monkeypatch.setattr(sys, "platform", "emscripten")
    monkeypatch.setattr(threading.Thread, "start", no_threads)
    assert await answer(Inline(), "/plain") == (200, "True")
    assert await answer(Inline(), "/steps") == (200, "ab")


# --- Names ----------------------------------------------------------------------------------------


class Pages(App):
    async def index(self):
        return "index"

    async def greet(self, name="World"):
        return f"greet {name}"

    async def about_us(self):
        return "about us"

    async def robots_txt(self):
        return "robots"

    async def a_b_c(self):
        return "a_b_c"

    async def collect(self, *parts):
        return list(parts)

    async def pair(self, first, second):
        return [first, second]

    async def trailing__(self):
        return "trailing"

    async def größe(self):
        return "größe"

    async def params(self, *parts):
        return self.request.path_params

    async def _private(self):
        return "private"

    async def ws_room(self, ws):
        await ws.accept()

    async def ws_talk(self, ws, name, topic="-"):
        await ws.accept()
        await ws.send_text(f"{name} on {topic}")


pages = Pages()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/", "index"),
        ("/index", "index"),
        ("/greet/Alice", "greet Alice"),
        ("/greet", "greet World"),
        ("/greet/a-b.c", "greet a-b.c"),
        ("/%67reet/Alice", "greet Alice"),
        ("/greet/Bj%C3%B6rk", "greet Björk"),
        ("/greet/%25", "greet %"),
        ("/greet/a+b", "greet a+b"),
        ("/pair/a/b", '["a","b"]'),
        ("/params/a/b", '["a","b"]'),
        ("/gr%C3%B6%C3%9Fe", "größe"),
        ("/trailing__", "trailing"),
        # - and . are tried as _
        ("/about_us", "about us"),
        ("/about-us", "about us"),
        ("/about.us", "about us"),
        ("/robots.txt", "robots"),
        ("/a-b.c", "a_b_c"),
        ("/a_b-c", "a_b_c"),
    ],
)
async def test_the_first_segment_names_the_handler_and_the_others_are_its_arguments(target, text):
    assert await answer(pages, target) == (200, text)


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/Greet",
        "/greet%20",
        "/_private",
        "/%5Fprivate",
        "/-private",
        "/.private",
        "/ws_room",
        "/ws-room",
        "/ws.room",
        "/room",
        "/__init__",
        "/--init--",
        "/__class__",
        "/..",
        "/.",
        "/-",
        "/%00",
        "/greet%00",
        "/greet%0A",
        "/greet%E2%80%8B",
    ],
)
async def test_names_that_do_not_exist_or_are_private_are_404(target):
    assert await answer(pages, target) == (404, "404 Not Found")


@pytest.mark.parametrize("name", sorted({*dir(App()), *vars(App()), "_routes", "state"}))
async def test_nothing_that_app_itself_defines_is_reached(name):
    assert (await answer(pages, f"/{name}"))[0] == 404
    assert (await answer(pages, f"/{name.replace('_', '-')}"))[0] == 404
    assert await handshake(pages, f"/{name}") == 1008


async def test_an_app_without_handlers_has_no_pages():
    assert await answer(App(), "/") == (404, "404 Not Found")
    assert await handshake(App(), "/") == 1008


class Callable:
    def __call__(self, *args):
        return "called"


class Guarded(App):
    data = {"a": 1}
    nothing = None
    callable_data = Callable()
    partial = functools.partial(print)
    method = functools.partialmethod(print)

    class Nested:
        pass

    def __init__(self):
        super().__init__()
        self.secret = "secret"
        self.hook = lambda: "hook"
        self.connection = Callable()

    @property
    def computed(self):
        raise AssertionError("a property is not read for a request")

    @functools.cached_property
    def cached(self):
        raise AssertionError("a property is not read for a request")


@pytest.mark.parametrize(
    "name",
    [
        "data",
        "nothing",
        "callable_data",
        "partial",
        "method",
        "Nested",
        "secret",
        "hook",
        "connection",
        "computed",
        "cached",
    ],
)
async def test_attributes_properties_classes_and_data_are_not_reached(name):
    assert (await answer(Guarded(), f"/{name}"))[0] == 404
    assert await handshake(Guarded(), f"/{name}") == 1008


async def test_an_attribute_that_is_no_handler_is_treated_like_a_name_that_does_not_exist():
    class Fallback(Guarded):
        async def index(self, *parts):
            return list(parts)

    assert await answer(Fallback(), "/secret/1") == (200, '["secret","1"]')
    assert await answer(Fallback(), "/computed") == (200, '["computed"]')
    assert await answer(Fallback(), "/middlewares") == (200, '["middlewares"]')


class Timed:
    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


class Report:
    @Timed
    async def mixed(self):
        return "mixin"

    @Timed
    async def _private(self):
        return "private"


def test_a_callable_that_is_no_handler_is_warned_about_when_its_class_is_made(caplog):
    class Root(Report, App):
        @functools.lru_cache  # noqa: B019
        def cached(self):
            return "x"

        @classmethod
        @functools.lru_cache
        def whole(cls):
            return "x"

        @functools.singledispatchmethod
        def by_type(self, value):
            return value

        async def _show(self, kind):
            return kind

        ws_tea = functools.partialmethod(_show, "tea")
        mug = functools.partial(print, "mug")
        digest = sha256

    names = ["cached", "whole", "by_type", "ws_tea", "mug", "digest", "mixed"]
    messages = [entry.getMessage() for entry in caplog.records]
    found = [message.split()[0] for message in messages]
    assert sorted(found) == sorted(f"Root.{name}" for name in names)
    assert all("def" in message for message in messages)
    assert {entry.levelname for entry in caplog.records} == {"WARNING"}

    caplog.clear()
    type("Child", (Root,), {})  # its bases were looked at
    assert not caplog.records


def test_what_a_handler_overrides_in_a_mixin_is_not_warned_about(caplog):
    class Mixin:
        page: Any = functools.partial(print, "page")
        ws_page: Any = functools.partialmethod(print)

    class Handlers(App):
        async def page(self):
            return "x"

    class Own(Mixin, App):
        async def page(self):
            return "x"

        ws_page = None

    class Inherited(Handlers, Mixin):
        async def ws_page(self, ws):
            await ws.accept()

    assert not caplog.records

    class Hidden(Mixin, Handlers):
        """Here the mixin comes first, and hides the handler."""

    found = [entry.getMessage().split()[0] for entry in caplog.records]
    assert found == ["Hidden.page", "Hidden.ws_page"]


def test_handlers_types_and_data_in_a_class_body_are_not_warned_about(caplog):
    class Root(App):
        kind = Timed
        Numbers = list[int]
        Either = int | str
        Old = Optional[int]  # noqa: UP045
        Names = Literal["a", "b"]
        Id = NewType("Id", int)
        Any = Any
        name, data = "x", [1, 2]
        env: str | None = None
        plain = lambda self: "x"  # noqa: E731
        _hidden = Timed(print)
        computed = property(lambda self: 1)
        kept = functools.cached_property(lambda self: 1)

        @staticmethod
        async def static():
            return "x"

        @classmethod
        async def of_class(cls):
            return "x"

    assert not caplog.records


async def test_functions_given_to_a_class_or_an_instance_later_are_not_handlers():
    class Late(App):
        async def fixed(self):
            return "class"

    app: Any = Late()
    app.fixed = lambda: "instance"
    app.late = lambda: "instance"
    assert await answer(app, "/fixed") == (200, "class")
    assert (await answer(app, "/late"))[0] == 404


class Mixin:
    async def mixed(self):
        return f"mixin of {type(self).__name__}"

    async def greet(self, name):
        return f"mixin greets {name}"


class Base(App):
    async def inherited(self):
        return "base"

    async def greet(self, name):
        return f"base greets {name}"

    async def removed(self):
        return "base"

    @classmethod
    async def who(cls):
        return cls.__name__

    @classmethod
    def plain_who(cls, suffix):
        return cls.__name__ + suffix

    @staticmethod
    async def add(a, b):
        return a + b

    @staticmethod
    def plain_add(a, b):
        return a + b


class Child(Base, Mixin):
    removed = None

    async def greet(self, name):
        return "child, then " + await super().greet(name)


@pytest.mark.parametrize(
    ("app", "target", "text"),
    [
        (Child(), "/inherited", "base"),
        (Child(), "/mixed", "mixin of Child"),
        (type("Mixed", (App, Mixin), {})(), "/mixed", "mixin of Mixed"),
        (Child(), "/greet/Al", "child, then base greets Al"),
        (Base(), "/greet/Al", "base greets Al"),
        (Base(), "/removed", "base"),
        (Base(), "/add/a/b", "ab"),
        (Base(), "/plain_add/a/b", "ab"),
        (Base(), "/who", "Base"),
        (Child(), "/who", "Child"),
        (Child(), "/plain_who/!", "Child!"),
    ],
)
async def test_bases_mixins_static_and_class_methods_give_handlers(app, target, text):
    assert await answer(app, target) == (200, text)


async def test_a_name_is_404_if_a_subclass_sets_it_to_none_or_only_another_class_has_it():
    assert (await answer(Child(), "/removed"))[0] == (await answer(Base(), "/mixed"))[0] == 404


async def test_ws_index_is_at_the_root_and_takes_paths_that_no_other_handler_takes():
    class Sockets(App):
        async def ws_index(self, ws, *parts):
            await ws.accept()
            await ws.send_text("/".join(["index", *parts]))

        async def ws_room(self, ws):
            await ws.accept()
            await ws.send_text("room")

    assert await handshake(Sockets(), "/") == "index"
    assert await handshake(Sockets(), "/room") == "room"
    assert await handshake(Sockets(), "/other/1") == "index/other/1"
    assert await handshake(Sockets(), "/_other") == 1008


# --- A miss, too many segments, slashes -----------------------------------------------------------


class Catcher(App):
    async def index(self, first, second="-"):
        return [first, second]

    async def greet(self):
        return "greet"

    async def _private(self):
        return "private"

    async def ws_room(self, ws):
        await ws.accept()


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/x", '["x","-"]'),
        ("/x/y", '["x","y"]'),
        ("/about-me", '["about-me","-"]'),
        ("/-private", '["-private","-"]'),
        ("/ws-room", '["ws-room","-"]'),
        ("/index/x", '["x","-"]'),
        ("/greet", "greet"),
        ("//x", '["","x"]'),
    ],
)
async def test_on_a_miss_index_gets_all_segments_when_it_takes_path_parameters(target, text):
    assert await answer(Catcher(), target) == (200, text)


@pytest.mark.parametrize(
    "target", ["/x/y/z", "/greet/x", "/_private", "/_x", "/__init__/x", "/%5Fx"]
)
async def test_index_gets_no_private_name_and_no_segment_too_many(target):
    assert (await answer(Catcher(), target))[0] == 404


async def test_an_index_without_path_parameters_gets_no_unknown_names():
    class KeywordOnly(App):
        async def index(self, *, page="1", **rest):
            return page

    assert await answer(KeywordOnly(), "/?page=2") == (200, "2")
    assert (await answer(KeywordOnly(), "/2"))[0] == 404
    assert (await answer(Pages(), "/x"))[0] == 404


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/greet/a", 200),
        ("/greet/a/b", 404),
        ("/pair/a/b/c", 404),
        ("/index/x", 404),
        ("/about-us/x", 404),
    ],
)
async def test_more_segments_than_the_handler_takes_is_404(target, status):
    assert (await answer(pages, target))[0] == status


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/collect", "[]"),
        ("/collect/", "[]"),
        ("/collect//", '[""]'),
        ("/collect/a/", '["a"]'),
        ("/collect/a//", '["a",""]'),
        ("/collect/a//b", '["a","","b"]'),
        ("/collect//a", '["","a"]'),
        ("/greet/Alice/", "greet Alice"),
        ("/greet/", "greet World"),
        ("/greet//", "greet "),
        ("/collect" + "/x" * 300, "[" + ",".join(['"x"'] * 300) + "]"),
    ],
)
async def test_one_trailing_slash_is_ignored_and_empty_inner_segments_count(target, text):
    assert await answer(pages, target) == (200, text)


@pytest.mark.parametrize("target", ["//greet", "/greet/Alice//", "///", "/about-us//"])
async def test_empty_segments_are_no_way_around_the_names(target):
    assert (await answer(pages, target))[0] == 404


async def test_keys_that_a_server_may_leave_out_of_the_scope_are_not_needed():
    optional = [
        "raw_path",
        "query_string",
        "root_path",
        "headers",
        "client",
        "server",
        "scheme",
        "http_version",
    ]
    for value in (None, REMOVED):
        response = await request(pages, path="/greet/Bob", scope=dict.fromkeys(optional, value))
        assert (response.status, response.text) == (200, "greet Bob")


@pytest.mark.parametrize("path", ["*", "index", "example.com:80"])
async def test_a_target_that_is_no_path_is_404(path):
    """`OPTIONS *` asks for the server, and CONNECT for another: RFC 9112 section 3.2."""
    assert (await request(pages, "OPTIONS", path)).status == 404
    assert (await request(verbs, "POST", path)).status == 404


async def test_an_empty_path_is_index():
    assert (await request(pages, path="")).text == "index"


# --- path, raw_path, root_path --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "raw_path", "parts"),
    [
        ("/collect/a/b", b"/collect/a%2Fb", ["a", "b"]),
        ("/collect/a/b", b"/collect/a%2fb", ["a", "b"]),
        ("/collect/a/b/", b"/collect/a%2Fb/", ["a", "b"]),
        ("/collect//", b"/collect/%2F", [""]),
        ("/collect/ä/b c", b"/collect/%C3%A4%2Fb%20c", ["ä", "b c"]),
        ("/collect/a%2Fb", b"/collect/a%252Fb", ["a%2Fb"]),
        ("/collect/a/b", b"/collect/a/b", ["a", "b"]),
        ("/collect/a b", b"/elsewhere", ["a b"]),  # rewritten by a middleware: only path counts
        ("/collect/a/b", b"/elsewhere%2F", ["a", "b"]),
        ("/collect/a/b", b"", ["a", "b"]),
        ("/collect/a/b", None, ["a", "b"]),
        ("/collect/a/b", REMOVED, ["a", "b"]),
        ("/collect/ä", None, ["ä"]),
        ("/collect/ä", REMOVED, ["ä"]),
        ("/collect/\ufffd", b"/collect/%FF", ["\ufffd"]),
        ("/collect/\ufffd", b"/collect/\xff", ["\ufffd"]),
        ("/collect/\ufffd", b"/collect/%EF%BF%BD", ["\ufffd"]),
    ],
)
async def test_segments_are_those_of_the_decoded_path(path, raw_path, parts):
    response = await request(pages, path=path, scope={"raw_path": raw_path})
    assert response.json() == parts


async def test_an_encoded_slash_is_a_slash():
    assert await answer(pages, "/greet%2FAlice") == (200, "greet Alice")
    assert (await answer(pages, "/%2Fgreet"))[0] == 404
    for hidden in ("/%2F_private", "/_private%2F"):
        assert (await answer(pages, hidden))[0] == 404
    assert await answer(pages, "/pair/a%2Fb") == (200, '["a","b"]')
    assert (await answer(pages, "/greet/a%2Fb"))[0] == 404


async def test_websocket_segments_are_those_of_the_decoded_path():
    assert await handshake(pages, "/talk/a/b", raw_path=b"/talk/a%2Fb") == "a on b"
    assert await handshake(pages, "/talk/\ufffd", raw_path=b"/talk/%FF") == "\ufffd on -"


@pytest.mark.parametrize(
    ("root_path", "path", "raw_path", "status", "text"),
    [
        ("/api", "/api/greet/Bob", b"/api/greet/Bob", 200, "greet Bob"),  # uvicorn, Hypercorn
        ("/api", "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),  # others leave it out
        ("/api", "/api", b"/api", 200, "index"),
        ("/api", "/api/", b"/api/", 200, "index"),
        ("/api", "/", b"/", 200, "index"),
        ("/api/", "/api/greet/Bob", b"/api/greet/Bob", 200, "greet Bob"),
        ("/a/b", "/a/b/greet/Bob", b"/a/b/greet/Bob", 200, "greet Bob"),
        ("/a/b", "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),
        ("/gre", "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),  # whole segments only
        ("/api", "/api/_private", b"/api/_private", 404, "404 Not Found"),
        ("/api", "/api/nothing", b"/api/nothing", 404, "404 Not Found"),
        ("/api", "/api/pair/a/b", b"/api/pair/a%2Fb", 200, '["a","b"]'),
        ("/api", "/pair/a/b", b"/pair/a%2Fb", 200, '["a","b"]'),
        ("/ä", "/ä/greet/ö", b"/%C3%A4/greet/%C3%B6", 200, "greet ö"),
        ("/", "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),
        (None, "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),
        (REMOVED, "/greet/Bob", b"/greet/Bob", 200, "greet Bob"),
        ("/api", "/api/greet/Bob", None, 200, "greet Bob"),
    ],
)
async def test_root_path_is_honored_whether_or_not_path_repeats_it(
    root_path, path, raw_path, status, text
):
    response = await request(pages, path=path, raw_path=raw_path, scope={"root_path": root_path})
    assert (response.status, response.text) == (status, text)


@pytest.mark.parametrize("path", ["/api/talk/Ann", "/talk/Ann"])
async def test_root_path_is_honored_for_websockets(path):
    assert await handshake(pages, path, scope={"root_path": "/api"}) == "Ann on -"


# --- Methods --------------------------------------------------------------------------------------


def loud(function):
    @functools.wraps(function)
    async def wrapper(self):
        return (await function(self)).upper()

    return wrapper


class Verbs(App):
    async def any(self):
        return self.request.method

    @methods("POST", "PUT")
    async def write(self):
        return self.request.method

    @methods("GET")
    async def read(self):
        return "read"

    @methods("get", "delete")
    def plain(self):
        return "plain"

    @methods("OPTIONS")
    async def own_options(self):
        return "own"

    @methods("POST")
    async def index(self, *parts):
        return "index"

    @staticmethod
    @methods("POST")
    async def inner():
        return "inner"

    @methods("POST")
    @staticmethod
    async def outer():
        return "outer"

    @loud
    @methods("POST")
    async def decorated(self):
        return "decorated"


verbs = Verbs()


class FreeVerbs(Verbs):
    async def write(self):
        return f"free {self.request.method}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
async def test_a_handler_takes_any_method_and_can_look_at_it(method):
    assert await answer(verbs, "/any", method=method) == (200, method)


@pytest.mark.parametrize(
    ("target", "method", "status", "allowed"),
    [
        ("/write", "POST", 200, None),
        ("/write", "PUT", 200, None),
        ("/write", "GET", 405, {"POST", "PUT"}),
        ("/write", "HEAD", 405, {"POST", "PUT"}),
        (
            "/write",
            "post",
            405,
            {"POST", "PUT"},
        ),  # methods are case-sensitive (RFC 9110 section 9.1)
        ("/read", "GET", 200, None),
        ("/read", "HEAD", 200, None),
        ("/read", "POST", 405, {"GET", "HEAD"}),
        ("/plain", "GET", 200, None),
        ("/plain", "HEAD", 200, None),
        ("/plain", "DELETE", 200, None),
        ("/plain", "PATCH", 405, {"GET", "HEAD", "DELETE"}),
        ("/", "GET", 405, {"POST"}),
        ("/some/page", "GET", 405, {"POST"}),
        ("/inner", "GET", 405, {"POST"}),
        ("/inner", "POST", 200, None),
        ("/outer", "GET", 405, {"POST"}),
        ("/outer", "POST", 200, None),
        ("/decorated", "GET", 405, {"POST"}),
        ("/decorated", "POST", 200, None),
    ],
)
async def test_methods_limits_a_handler_and_405_says_what_is_allowed(
    target, method, status, allowed
):
    response = await get(verbs, target, method=method)
    assert response.status == status
    allow = response.header("allow")
    if allowed is None:
        assert allow is None
    else:
        assert {name.strip() for name in (allow or "").split(",")} - {"OPTIONS"} == allowed
        assert response.text == ("" if method == "HEAD" else "405 Method Not Allowed")


async def test_a_limited_handler_stays_limited_once_it_was_called():
    class Limited(App):
        @methods("POST")
        async def index(self):
            return "index"

        @methods("POST")
        async def item(self, name):
            return name

    app = Limited()
    for _ in range(3):
        assert await answer(app, "/", method="POST") == (200, "index")
        assert await answer(app, "/item/x", method="POST") == (200, "x")
        assert (await answer(app, "/"))[0] == (await answer(app, "/item/x"))[0] == 405


async def test_options_is_answered_by_the_framework_for_a_limited_handler():
    response = await get(verbs, "/write", method="OPTIONS")
    assert (response.status, response.body) == (204, b"")
    assert {"POST", "PUT"} <= {name.strip() for name in (response.header("allow") or "").split(",")}


async def test_an_override_has_methods_of_its_own():
    assert await answer(FreeVerbs(), "/write") == (200, "free GET")
    assert (await answer(FreeVerbs(), "/inner"))[0] == 405


async def test_a_handler_may_take_options_itself():
    assert await answer(verbs, "/own_options", method="OPTIONS") == (200, "own")


@pytest.mark.parametrize("names", [(), ("GET", 1), (b"GET",), (lambda self: "",)])
def test_methods_without_names_is_an_error_where_it_is_written(names):
    with pytest.raises(TypeError):
        methods(*names)


@pytest.mark.parametrize("target", ["/read", "/nowhere/at/all"])
async def test_head_of_a_limited_handler_and_of_a_404_has_the_headers_of_get_and_no_body(target):
    got, headed = await get(verbs, target), await get(verbs, target, method="HEAD")
    assert (headed.status, headed.headers, headed.body) == (got.status, got.headers, b"")


async def test_head_runs_the_handler_which_sees_the_method():
    headed = await get(verbs, "/any", method="HEAD")  # it returns the method
    assert (headed.header("content-length"), headed.body) == ("4", b"")


async def test_a_method_puts_no_line_and_no_escape_into_the_log(caplog):
    class Root(App):
        async def index(self):
            raise ValueError("no")

    assert_logged_500(await request(Root(), "GET\x1b[2J\nFORGED", "/"), caplog)
    assert all(
        character.isprintable() for record in caplog.records for character in record.getMessage()
    )


# --- Threads and contexts -------------------------------------------------------------------------

mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="unset")


class Mark(Note):
    async def before_request(self, request):
        mark.set("from middleware")

    async def after_request(self, request, status_code, response_body, extra_headers):
        extra_headers.append(("x-mark", mark.get()))


class Threads(App):
    async def loop_thread(self):
        return threading.current_thread() is threading.main_thread()

    def worker_thread(self):
        return threading.current_thread() is threading.main_thread()

    def generator_threads(self):
        for _ in range(3):
            yield "main " if threading.current_thread() is threading.main_thread() else "worker "

    def context(self):
        seen = mark.get()
        mark.set("from handler")
        return f"{seen}, {current_request.get().query('q')}, {self.request.query('q')}"

    def generator_context(self):
        yield mark.get() + ", "
        mark.set("from generator")
        yield mark.get() + ", "
        yield f"{mark.get()}, {self.request.query('q')}"

    begun, loop_has_turned = threading.Event(), threading.Event()

    def block(self):
        self.begun.set()
        return "done" if self.loop_has_turned.wait(20) else "stalled"

    def block_generator(self):
        yield self.block()

    def refuse(self):
        raise HTTPError(418, "teapot")

    def fail(self):
        raise ValueError("secret")

    def stop(self):
        raise StopIteration("a generator's exception")


threads = Threads()
threads.middlewares.append(Mark([]))


async def test_async_handlers_run_on_the_loop_and_plain_ones_in_a_worker_thread():
    assert await answer(threads, "/loop_thread") == (200, "true")
    assert await answer(threads, "/worker_thread") == (200, "false")


async def test_each_step_of_a_plain_generator_runs_in_a_worker_thread():
    assert await answer(threads, "/generator_threads") == (200, "worker worker worker ")


async def test_a_plain_handler_runs_in_a_copy_of_the_requests_context():
    response = await get(threads, "/context?q=1")
    assert response.text == "from middleware, 1, 1"
    assert response.header("x-mark") == "from middleware"


async def test_a_plain_generator_has_one_copy_of_the_context_for_all_its_steps():
    assert await answer(threads, "/generator_context?q=1") == (
        200,
        "from middleware, from generator, from generator, 1",
    )


@pytest.mark.parametrize("target", ["/block", "/block_generator"])
async def test_blocking_code_does_not_stall_the_event_loop(target):
    threads.begun.clear()
    threads.loop_has_turned.clear()
    task = asyncio.create_task(get(threads, target))
    await thread_set(threads.begun)
    assert not task.done()
    threads.loop_has_turned.set()
    assert (await task).text == "done"


async def test_forty_plain_handlers_run_at_once_and_no_more():
    barrier = threading.Barrier(40)
    lock = threading.Lock()
    running, most = 0, 0

    class Crowd(App):
        def index(self):
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            barrier.wait(20)
            with lock:
                running -= 1
            return "ok"

    app = Crowd()
    responses = await asyncio.gather(*[get(app, timeout=25) for _ in range(80)])
    assert [response.text for response in responses] == ["ok"] * 80
    assert most == 40


def test_worker_threads_are_made_at_first_use():
    code = """
import threading
async def count():
    await ask("/")
    print(threading.active_count(), end=" ")
    await ask("/data")
    print(threading.active_count())
asyncio.run(count())
"""
    assert python(SERVE + code) == "1 2"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_plain_handlers_work_in_a_child_that_was_forked_after_the_first_use():
    code = """
import os, warnings
warnings.simplefilter("ignore")
async def once():
    print(await asyncio.wait_for(ask("/data"), 10), flush=True)
asyncio.run(once())
child = os.fork()
if not child:
    asyncio.run(once())
    os._exit(0)
os.waitpid(child, 0)
"""
    assert python(SERVE + code).splitlines() == ["(200, b'{\"n\":1}')"] * 2


async def test_an_http_error_of_a_plain_handler_is_the_response(caplog):
    assert await answer(threads, "/refuse") == (418, "teapot")
    assert not caplog.records


@pytest.mark.parametrize(
    ("target", "error"), [("/fail", "ValueError: secret"), ("/stop", "StopIteration: ")]
)
async def test_any_other_error_of_a_plain_handler_is_a_logged_500(target, error, caplog):
    """A worker thread cannot give the loop a StopIteration: the request would wait forever."""
    assert_logged_500(await get(threads, target), caplog)
    assert error in caplog.text


# --- Routing in middleware ------------------------------------------------------------------------


class Router(Note):
    """Chooses the handler that a test wants, and keeps the choice it found."""

    def __init__(self, name: str | None, path_params: list[Any] | None = None) -> None:
        super().__init__([], before=self.choose)
        self.handler = name
        self.path_params = path_params
        self.found: list[Any] = []

    def choose(self, request):
        self.found.append((request.route_handler, list(request.path_params)))
        request.route_handler = self.handler
        if self.path_params is not None:
            request.path_params = self.path_params


class Routed(App):
    def __init__(self, *routers: Note) -> None:
        super().__init__()
        self.middlewares += routers
        self.ws_middlewares += routers

    async def greet(self, name="World"):
        return f"greet {name}"

    @methods("POST")
    async def write(self):
        return "written"

    async def _item(self, number: int, *, q="-"):
        return {"number": number, "q": q}

    def _plain(self, name):
        return f"plain {name}"

    async def ws_room(self, ws, name="-"):
        await ws.accept()
        await ws.send_text(f"room {name}")

    async def ws__private(self, ws, *names):
        await ws.accept()
        await ws.send_text("private " + "/".join(names))

    async def _socket(self, ws, number: int):
        await ws.accept()
        await ws.send_text(f"socket {number!r}")


@pytest.mark.parametrize(
    ("name", "path_params", "status", "text"),
    [
        ("greet", ["Bob"], 200, "greet Bob"),
        ("greet", [], 200, "greet World"),
        ("_item", ["7"], 200, '{"number":7,"q":"here"}'),
        ("_item", [7], 200, '{"number":7,"q":"here"}'),  # converted by the router
        ("_item", ["x"], 404, "404 Not Found"),
        ("_item", [], 400, "400 Bad Request: Missing required parameter 'number'"),
        ("_item", ["1", "2"], 404, "404 Not Found"),
        ("_plain", ["Bob"], 200, "plain Bob"),
        ("write", [], 405, "405 Method Not Allowed"),
        ("nothing", [], 404, "404 Not Found"),
        (None, [], 404, "404 Not Found"),
        # Neither the framework's own methods, nor constructors, nor WebSocket handlers.
        ("_redirect", ["/"], 404, "404 Not Found"),
        ("_asgi_app_lifespan", [], 404, "404 Not Found"),
        ("__init__", [], 404, "404 Not Found"),
        ("ws_room", [], 404, "404 Not Found"),
        ("middlewares", [], 404, "404 Not Found"),
    ],
)
async def test_before_request_chooses_the_handler(name, path_params, status, text):
    assert await answer(Routed(Router(name, path_params)), "/any/path?q=here") == (status, text)


async def test_the_handler_that_the_path_names_is_there_before_request():
    router = Router("greet")
    app = Routed(router)
    assert await answer(app, "/greet/Bob") == (200, "greet Bob")
    for target in ("/nothing/x", "/_item/1"):  # they name none: the chosen one gets no segments
        assert await answer(app, target) == (200, "greet World")
    assert router.found == [("greet", ["Bob"]), (None, []), (None, [])]


async def test_before_request_sees_index_for_a_path_that_no_other_handler_takes():
    seen: list[Any] = []
    app = Catcher()
    app.middlewares.append(
        Note([], before=lambda request: seen.append((request.route_handler, request.path_params)))
    )
    assert await answer(app, "/x/y") == (200, '["x","y"]')
    assert seen == [("index", ["x", "y"])]


async def test_a_guard_of_another_package_chooses_the_handler(caplog):
    def guard(request):
        request._route_handler = "_item"
        request.path_params = ["1"]

    def guard_socket(request):
        request._ws_route_handler = "ws__private"

    app = Routed(Note([], before=guard))
    app.ws_middlewares[:] = [Note([], before=guard_socket)]
    assert await answer(app, "/greet") == (200, '{"number":1,"q":"-"}')
    async with websocket(app, "/room/a") as ws:
        assert await ws.receive() == "private a"
    assert caplog.records == []


def members_only(owner):
    """Put a guard around each handler of a class, and let one of them take POST alone."""

    def guarded(handler):
        @functools.wraps(handler)
        async def guard(self, *arguments):
            if "user" not in self.request.session:
                raise HTTPError(401)
            return await handler(self, *arguments)

        return guard

    for name in ("secret", "ws_secret"):
        setattr(owner, name, guarded(vars(owner)[name]))
    owner.save = methods("POST")(owner.save)
    return owner


async def test_a_class_decorator_guards_the_handlers():
    class Open(App):
        async def secret(self):
            return "the secret"

        async def ws_secret(self, ws):
            await ws.accept()

        async def save(self):
            return "saved"

    @members_only
    class Closed(Open):
        secret, ws_secret = Open.secret, Open.ws_secret

    for app, status in ((Open(), 200), (Closed(), 401)):  # an app of the base was there before
        assert (await get(app, "/secret")).status == status
    async with websocket(Closed(), "/secret") as ws:
        pass
    assert ws.rejected
    assert (await get(Closed(), "/save")).status == 405


async def test_a_subapp_of_another_package_is_a_logged_500_and_a_refusal(caplog):
    def switch(request):
        request._subapp = App()

    app = Routed(Note([], before=switch))
    assert (await answer(app, "/greet"))[0] == 500
    async with websocket(app, "/room") as ws:
        pass
    assert ws.rejected == 1011
    assert caplog.text.count("AttributeError: request._subapp does nothing here") == 2


async def test_a_middleware_may_change_the_path_parameters_alone():
    def upper(request):
        request.path_params = [text.upper() for text in request.path_params]

    assert await answer(Routed(Note([], before=upper)), "/greet/bob") == (200, "greet BOB")


async def test_of_two_routers_the_last_one_decides():
    assert await answer(Routed(Router("greet", ["a"]), Router("_plain", ["b"])), "/") == (
        200,
        "plain b",
    )


@pytest.mark.parametrize(
    ("name", "path_params", "outcome"),
    [
        ("ws_room", ["x"], "room x"),
        ("_socket", [7], "socket 7"),
        ("_socket", ["7"], "socket 7"),
        ("_socket", ["x"], 1008),
        ("ws__private", ["x"], "private x"),
        # The full method name of a WebSocket handler is wanted.
        *[(name, [], 1008) for name in ("room", "ws_nothing", "nothing", "__init__", "", None)],
        ("_asgi_app_lifespan", [], 1008),
        ("write", [], 1011),  # a handler of HTTP requests, which takes no WebSocket
    ],
)
async def test_before_websocket_chooses_the_handler(name, path_params, outcome):
    assert await handshake(Routed(Router(name, path_params)), "/any/path") == outcome


async def test_the_handler_that_the_path_names_is_there_before_websocket():
    router = Router("ws_room", [])
    assert await handshake(Routed(router), "/room/x") == "room -"
    assert router.found == [("ws_room", ["x"])]


async def test_a_chosen_handler_gets_the_body_too():
    class Form(App):
        async def _form(self, name):
            return name

    app = Form()
    app.middlewares.append(Router("_form", []))
    assert (await post(app, "/x", form={"name": "Ann"})).text == "Ann"
    assert (await post(app, "/x", multipart=[("name", "Ann")])).text == "Ann"


# --- Worker threads -------------------------------------------------------------------------------


class Held(App):
    """Calls that hold their threads until the test lets them go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.started, self.ran = threading.Event(), list[str](), list[str]()

    def slow(self) -> str:
        self.started.append("slow")
        self.gate.wait(20)
        return "slow"

    def pay(self) -> str:
        self.ran.append("paid")
        return "paid"

    def slow_rows(self):
        yield "row"
        self.started.append("row")
        self.gate.wait(20)

    def rows(self):
        self.ran.append("row")
        yield "row"

    async def save(self, file: UploadedFile, text: str = "") -> int:
        return len(await file.read())


@contextlib.asynccontextmanager
async def busy(app: Held, path: str):
    """Forty requests that hold all threads of a pool, and what they have answered at the end."""
    tasks = [asyncio.create_task(get(app, path)) for _ in range(40)]
    while len(app.started) < 40:
        await elapse(0.01)
    try:
        yield
    finally:
        app.gate.set()
        await asyncio.gather(*tasks)


@pytest.mark.parametrize("path", ["/slow", "/slow_rows"])
async def test_each_kind_of_work_has_threads_of_its_own(path):
    app = Held()
    async with busy(app, path):
        other = "/rows" if path == "/slow" else "/pay"
        assert (await get(app, other)).status == 200
        large = ("file", "a", None, bytes(3 * 2**20))
        assert (await post(app, "/save", multipart=[large])).text == str(3 * 2**20)


@pytest.mark.parametrize("path, pool", [("/pay", "/slow"), ("/rows", "/slow_rows")])
async def test_a_queued_call_of_a_cancelled_request_never_runs(path, pool):
    app = Held()
    async with busy(app, pool):
        task = asyncio.create_task(call(app, path=path))
        await elapse(0.05)
        task.cancel()
        await asyncio.wait([task], timeout=15)  # less than the calls hold their threads
        assert task.cancelled()
    assert (await get(app, path)).status == 200
    assert len(app.ran) == 1


async def test_clean_up_runs_also_if_its_request_is_cancelled_while_it_is_queued():
    app = Held()
    async with busy(app, "/slow_rows"):
        task = asyncio.create_task(micropie._in_thread(app.ran.append, "closed", work="steps"))
        await elapse(0.05)
        task.cancel()
        await elapse(0.05)
        assert not task.done()
    await asyncio.wait([task])
    assert (app.ran, task.cancelled()) == (["closed"], True)


async def test_a_guard_that_is_put_on_the_class_works_for_the_apps_that_are_made_then() -> None:
    class Root(App):
        async def index(self) -> str:
            return "secret"

    async def guarded(self: Any) -> str:
        raise HTTPError(403)

    before = Root()
    Root.index = guarded  # type: ignore[method-assign]
    assert [(await get(app)).status for app in (before, Root())] == [200, 403]


async def test_methods_that_a_later_decorator_allows_hold_for_the_apps_that_are_made_then() -> None:
    class Root(App):
        async def save(self) -> str:
            return "saved"

    assert (await get(Root(), "/save")).status == 200
    Root.save = methods("POST")(Root.save)  # type: ignore[method-assign]
    assert (await get(Root(), "/save")).status == 405
