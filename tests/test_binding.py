"""How the arguments of a handler are found, converted and refused."""

import asyncio
import functools
import inspect
import json
import re
import sys
import time
from datetime import UTC, date, datetime, timedelta, timezone
from datetime import time as clock
from decimal import Context, Decimal
from enum import Enum, IntEnum, IntFlag
from types import GenericAlias, SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, List, Literal, NewType, Optional, Union  # noqa: UP035
from urllib.parse import quote
from uuid import UUID

import pytest

from micropie import App, FromSession, InMemorySessionBackend, UploadedFile, routes
from tests.asgi import (
    BOUNDARY,
    REMOVED,
    assert_logged_500,
    encode_multipart,
    exchange,
    get,
    post,
    websocket,
)
from tests.clock import elapse
from tests.noting import Note

if TYPE_CHECKING:
    from somewhere import Elsewhere  # type: ignore[import-not-found]

SESSION_ID = "a-session-of-the-tests"
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Sessions(InMemorySessionBackend):
    """Knows one session, that of `SESSION_ID`."""

    def __init__(self, **data: Any) -> None:
        super().__init__()
        self.data = data

    async def load(self, session_id: str) -> dict[str, Any]:
        return dict(self.data) if session_id == SESSION_ID else {}


SIGNED_IN = {"cookie": f"session_id={SESSION_ID}", "origin": "http://testserver"}


async def ask(app: App, target: str, **options: Any) -> tuple[int | None, str]:
    """The status and the text of a GET, or of a POST if there is a body.

    It asks twice: the first request to a handler works out its binder, and the next ones only use
    it.
    """
    verb = post if {"form", "json", "multipart", "body"} & options.keys() else get
    first, second = await verb(app, target, **options), await verb(app, target, **options)
    assert (first.status, first.body) == (second.status, second.body)
    return second.status, second.text


async def bound(
    function: Any,
    target: str = "/handler",
    *,
    session: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return the value of `function` as an app's `handler`, or status and text without a call."""
    returned: list[Any] = []

    async def handler(self, *args, **kwargs):
        result = function(self, *args, **kwargs)
        returned.append(await result if inspect.isawaitable(result) else result)

    functools.update_wrapper(handler, function)
    handler.__name__ = "handler"
    kind = type("Bound", (App,), {"handler": handler, "__module__": __name__})
    if session is not None:
        options["headers"] = {**SIGNED_IN, **options.get("headers", {})}
    status, text = await ask(kind(Sessions(**session or {})), target, **options)
    if not returned:
        return status, text
    first, second = returned
    assert first == second
    return second


def missing(name: str) -> tuple[int, str]:
    return 400, f"400 Bad Request: Missing required parameter '{name}'"


NOT_FOUND = (404, "404 Not Found")


# --- Where a value comes from ---------------------------------------------------------------------


def one(self, x="default"):
    return x.filename if isinstance(x, UploadedFile) else x


UPLOAD = [("x", "file.txt", "text/plain", b"content")]


@pytest.mark.parametrize(
    ("target", "options", "value"),
    [
        ("/handler/path?x=query", {"json": {"x": "json"}, "session": {"x": "session"}}, "path"),
        ("/handler/path?x=query", {"form": {"x": "form"}, "session": {"x": "session"}}, "path"),
        ("/handler?x=query", {"json": {"x": "json"}, "session": {"x": "session"}}, "query"),
        ("/handler?x=query", {"form": {"x": "form"}, "session": {"x": "session"}}, "query"),
        ("/handler?x=query", {"multipart": UPLOAD, "session": {"x": "session"}}, "query"),
        ("/handler", {"json": {"x": "json"}, "session": {"x": "session"}}, "json"),
        ("/handler", {"form": {"x": "form"}, "session": {"x": "session"}}, "form"),
        ("/handler", {"multipart": [("x", "form"), *UPLOAD], "session": {"x": "session"}}, "form"),
        ("/handler", {"multipart": UPLOAD, "session": {"x": "session"}}, "file.txt"),
        ("/handler", {"session": {"x": "session"}}, "session"),
        ("/handler", {"json": {"y": 1}, "session": {"x": "session"}}, "session"),
        ("/handler", {"form": {"y": 1}, "session": {"x": "session"}}, "session"),
        ("/handler", {"session": {"y": 1}}, "default"),
        ("/handler", {"json": [1], "session": {}}, "default"),
        ("/handler", {}, "default"),
    ],
)
async def test_path_query_body_file_session_and_default_come_in_this_order(target, options, value):
    assert await bound(one, target, **options) == value


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"json": {"y": 1}},
        {"json": [{"name": 1}]},
        {"json": "name"},
        {"json": None},
        {"form": {"y": 1}},
        {"multipart": [("y", "1")]},
        {"body": b"name=1", "headers": {"content-type": "text/plain"}},
        {"body": b""},
    ],
)
async def test_a_required_parameter_without_a_value_is_400(options):
    async def handler(self, name):
        raise AssertionError("not to be called")

    assert await bound(handler, **options) == missing("name")


async def test_a_path_with_fewer_segments_leaves_the_rest_to_the_other_sources():
    def handler(self, a, b, c="c"):
        return [a, b, c]

    assert await bound(handler, "/handler/1?b=2") == ["1", "2", "c"]
    assert await bound(handler, "/handler?a=1&b=2&c=3") == ["1", "2", "3"]
    assert await bound(handler, "/handler/1?a=other&b=2") == ["1", "2", "c"]
    assert await bound(handler, "/handler/1") == missing("b")


async def test_keyword_only_parameters_never_take_path_segments():
    def handler(self, a, *, b="b"):
        return [a, b]

    assert await bound(handler, "/handler/1?b=2") == ["1", "2"]
    assert await bound(handler, "/handler/1") == ["1", "b"]
    assert await bound(handler, "/handler/1/2") == NOT_FOUND

    def required(self, *, b):
        return b

    assert await bound(required, "/handler") == missing("b")
    assert await bound(required, "/handler/1?b=1") == NOT_FOUND


async def test_star_args_takes_the_remaining_segments_and_nothing_else():
    def handler(self, a, *args, b="b"):
        return [a, args, b]

    assert await bound(handler, "/handler/1") == ["1", (), "b"]
    assert await bound(handler, "/handler/1/2/3?b=4&args=5") == ["1", ("2", "3"), "4"]
    assert await bound(handler, "/handler?a=1&args=2") == ["1", (), "b"]
    assert await bound(handler, "/handler") == missing("a")


async def test_an_annotation_of_star_args_converts_each_segment():
    def handler(self, *numbers: int):
        return numbers

    assert await bound(handler, "/handler/1/2") == (1, 2)
    assert await bound(handler, "/handler/1/x") == NOT_FOUND


async def test_double_star_takes_the_remaining_names_of_query_and_body():
    def handler(self, a="a", *, b="b", **rest):
        return a, b, rest

    assert await bound(handler, "/handler?a=1&b=2&c=3&d=&c=4") == ("1", "2", {"c": "3", "d": ""})
    assert await bound(handler, "/handler?c=1", form={"b": "2", "d": "3"}) == (
        "a",
        "2",
        {"c": "1", "d": "3"},
    )
    assert await bound(handler, json={"a": 1, "c": [1], "d": None}) == (
        1,
        "b",
        {"c": [1], "d": None},
    )
    assert await bound(handler, multipart=[("a", "1"), ("c", "2")]) == ("1", "b", {"c": "2"})
    assert await bound(handler, session={"a": "1", "c": "2"}) == ("1", "b", {})
    assert await bound(handler, "/handler/1?a=2&c=3") == ("1", "b", {"c": "3"})
    assert await bound(handler, "/handler/1/2") == NOT_FOUND


async def test_in_double_star_the_query_comes_before_the_body_too():
    def handler(self, **rest):
        return rest

    assert await bound(handler, "/handler?c=query", form={"c": "form"}) == {"c": "query"}
    assert await bound(handler, "/handler?c=query", json={"c": "json"}) == {"c": "query"}


async def test_uploaded_files_arrive_in_double_star():
    def handler(self, **rest):
        return {name: getattr(value, "filename", value) for name, value in rest.items()}

    assert await bound(handler, multipart=[("y", "1"), *UPLOAD]) == {"y": "1", "x": "file.txt"}


HOSTILE_NAMES = [
    "self",
    "cls",
    "app",
    "a",
    "ws",
    "request",
    "function",
    "handler",
    "args",
    "kwargs",
    "call",
    "context",
]


def passes_on(function):
    @functools.wraps(function)
    async def wrapper(this, *arguments, **keywords):
        return await function(this, *arguments, **keywords)

    return wrapper


class Hostile(App):
    async def plain(self, a="", /, **rest):
        return "ok"

    def threaded(self, **rest):
        return "ok"

    @staticmethod
    async def static(**rest):
        return "ok"

    @classmethod
    def of_class(cls, **rest):
        return "ok"

    @passes_on
    async def decorated(self, **rest):
        return "ok"

    def steps(self, **rest):
        yield "ok"

    async def ws_socket(self, ws, /, **rest):
        await ws.accept()

    @staticmethod
    async def ws_static(ws, **rest):
        await ws.accept()


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "arguments", "keywords", "__class__", "", "a b", "é", "*"]
)
@pytest.mark.parametrize(
    "handler", ["plain", "threaded", "static", "of_class", "decorated", "steps"]
)
async def test_no_name_that_a_client_sends_makes_a_handler_fail(handler, name):
    assert (await post(Hostile(), f"/{handler}", form={name: "evil"})).text == "ok"
    assert (await post(Hostile(), f"/{handler}", json={name: "evil"})).text == "ok"


async def test_a_name_that_collides_with_a_parameter_of_a_decorator_is_a_logged_500(caplog):
    assert_logged_500(await post(Hostile(), "/decorated", form={"this": "evil"}), caplog)
    caplog.clear()
    assert_logged_500(await get(Signatures(), "/injected?number=1&database=evil"), caplog)


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("handler", ["socket", "static"])
async def test_no_name_that_a_client_sends_makes_a_websocket_handler_fail(handler, name):
    async with websocket(Hostile(), f"/{handler}?{name}=evil") as ws:
        assert ws.accepted


async def test_empty_values_are_values_and_the_first_of_repeated_ones_is_taken():
    assert await bound(one, "/handler?x=") == ""
    assert await bound(one, "/handler?x") == ""
    assert await bound(one, "/handler?x=1&x=2") == "1"
    assert await bound(one, "/handler?x=&x=2") == ""
    assert await bound(one, "/handler//") == ""
    assert await bound(one, form={"x": ""}) == ""
    assert await bound(one, form=[("x", "1"), ("x", "2")]) == "1"
    assert await bound(one, multipart=[("x", ""), ("x", "2")]) == ""


async def test_names_and_values_are_percent_decoded():
    def handler(self, größe="", b=""):
        return größe, b

    assert await bound(handler, "/handler?gr%C3%B6%C3%9Fe=a%26b+c&b=%3D%2B") == ("a&b c", "=+")


@pytest.mark.parametrize("before", [0, 1, 2, 3])
async def test_an_escape_at_the_end_of_a_slice_of_a_long_value_is_decoded_whole(before):
    """A value with something like an escape, but none, is decoded in slices of 16 KiB."""
    start = "%zz".ljust(2**14 - before, "a")
    assert await bound(one, f"/handler?x={start}%41%42") == start + "AB"
    assert await bound(one, body=f"x={start}%41%42".encode(), headers=FORM) == start + "AB"


@pytest.mark.parametrize("query_string", [None, REMOVED, b"", b"&", b"&&=&"])
async def test_a_scope_without_a_query_leaves_the_default(query_string):
    assert await bound(one, scope={"query_string": query_string}) == "default"


# --- At most 1,000 fields -------------------------------------------------------------------------


class Fields(App):
    async def index(self, other="ok"):
        return other

    async def last(self, n999):
        return n999

    async def looks(self):
        return str(len(self.request.query_params) + len(self.request.body_params))

    async def blind(self):
        return "ok"

    async def ws_index(self, ws, other=""):
        await ws.accept()


def pairs(count: int) -> str:
    return "&".join(f"n{number}=v" for number in range(count))


@pytest.mark.parametrize(("count", "status"), [(1000, 200), (1001, 413)])
async def test_a_query_or_form_has_at_most_1000_fields(count, status):
    assert (await ask(Fields(), "/?" + pairs(count)))[0] == status
    assert (await ask(Fields(), "/last?" + pairs(count)))[0] == status
    assert (await ask(Fields(), "/", body=pairs(count).encode(), headers=FORM))[0] == status
    assert (await ask(Fields(), "/last", body=pairs(count).encode(), headers=FORM))[0] == status
    assert (await ask(Fields(), "/looks?" + pairs(count)))[0] == status
    assert (await ask(Fields(), "/looks", body=pairs(count).encode(), headers=FORM))[0] == status


async def test_a_query_that_the_app_does_not_look_at_may_have_more_fields():
    assert await ask(Fields(), "/blind?" + pairs(1001)) == (200, "ok")


@pytest.mark.parametrize("empty", ["&" * 1000, "a=&" * 1000, "=&" * 1000, "&&a" * 501])
async def test_empty_pairs_count_as_fields(empty):
    assert (await ask(Fields(), "/?" + empty))[0] == 413
    assert (await ask(Fields(), "/", body=empty.encode(), headers=FORM))[0] == 413


async def test_a_websocket_with_too_many_query_fields_is_refused():
    opened = []
    for count in (1000, 1001):
        async with websocket(Fields(), "/?" + pairs(count)) as ws:
            opened.append(ws.accepted)
    assert opened == [True, False]


# --- Signatures -----------------------------------------------------------------------------------


def injects(function):
    """Pass a database as the first argument, and say so in the signature."""

    @functools.wraps(function)
    async def wrapper(self, *args, **kwargs):
        return await function(self, "database", *args, **kwargs)

    signature = inspect.signature(function)
    first, _, *others = signature.parameters.values()
    wrapper.__signature__ = signature.replace(parameters=[first, *others])  # type: ignore[attr-defined]
    return wrapper


def in_thread(function):
    """A plain function that returns the awaitable of an asynchronous one."""

    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return function(*args, **kwargs)

    return wrapper


def wraps_an_object(function):
    """As decorators of libraries do that keep the function in an object of theirs."""
    inner = functools.partial(function)

    @functools.wraps(inner)
    async def wrapper(self, *args, **kwargs):
        return await inner(self, *args, **kwargs)

    return wrapper


class Awaitable:
    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return "awaited"


class Signatures(App):
    async def positional_only(self, a, b="b", /, c="c"):
        return [a, b, c]

    async def keyword_only(self, *, a, b="b"):
        return [a, b]

    async def everything(self, a, /, b, *args, c, d="d", **kwargs):
        return [a, b, args, c, d, kwargs]

    @passes_on
    async def wrapped(self, number: int, *, q="q"):
        return [number, q]

    @passes_on
    @passes_on
    async def wrapped_twice(self, number: int):
        return number

    @injects
    async def injected(self, database, number: int, **rest):
        return [database, number, rest]

    @in_thread
    async def returns_a_coroutine(self, number: int):
        return number

    @in_thread
    async def returns_an_async_generator(self, number: int):
        for step in range(number):
            yield str(step)

    @in_thread
    def returns_a_generator(self, number: int):
        for step in range(number):
            yield str(step)

    @wraps_an_object
    async def in_an_object(self, number: int, **rest):
        return [number, rest]

    def returns_an_awaitable(self):
        return Awaitable()

    async def no_self_name(this, x):  # noqa: N805
        return x

    async def star_self(*args):
        return list(args[1:])


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/positional_only/1", '["1","b","c"]'),
        ("/positional_only/1/2/3", '["1","2","3"]'),
        ("/positional_only/1?a=4&b=2&c=3", '["1","b","3"]'),
        ("/keyword_only?a=1", '["1","b"]'),
        ("/everything/1/2/3/4?c=5&d=6&e=7", '["1","2",["3","4"],"5","6",{"e":"7"}]'),
        ("/everything/1?b=2&c=5&a=9", '["1","2",[],"5","d",{}]'),
        ("/wrapped/1?q=2", '[1,"2"]'),
        ("/wrapped?number=1", '[1,"q"]'),
        ("/wrapped_twice/1", "1"),
        ("/injected/1", '["database",1,{}]'),
        ("/injected?number=1&x=2", '["database",1,{"x":"2"}]'),
        ("/returns_a_coroutine/1", "1"),
        ("/returns_an_async_generator/3", "012"),
        ("/returns_a_generator/3", "012"),
        ("/in_an_object/1?a=2", '[1,{"a":"2"}]'),
        ("/returns_an_awaitable", "awaited"),
        ("/no_self_name/1", "1"),
        ("/no_self_name?x=1&this=2", "1"),
        ("/star_self/1/2", '["1","2"]'),
    ],
)
async def test_any_ordinary_signature_works(target, text):
    assert await ask(Signatures(), target) == (200, text)


@pytest.mark.parametrize(
    "target",
    [
        "/wrapped/x",
        "/wrapped/1/2",
        "/wrapped_twice/x",
        "/injected/x",
        "/injected/1/2",
        "/returns_a_coroutine/x",
    ],
)
async def test_path_segments_that_do_not_fit_the_wrapped_signature_are_404(target):
    assert await ask(Signatures(), target) == NOT_FOUND


async def test_a_missing_parameter_of_a_wrapped_handler_is_400():
    assert await ask(Signatures(), "/wrapped") == missing("number")
    assert await ask(Signatures(), "/injected") == missing("number")


def helper(a):
    return a


class Broken(App):
    async def too_few(self, a):
        return helper()  # type: ignore[call-arg]

    def in_a_thread(self, a):
        return helper(a, b=1)  # type: ignore[call-arg]

    async def raised(self, a):
        raise TypeError("raised() missing 1 required positional argument: 'a'")

    async def generator(self, a):
        raise TypeError("generator() got an unexpected keyword argument 'a'")
        yield

    def without_self():  # type: ignore[misc]
        return "never"


@pytest.mark.parametrize("name", ["too_few", "in_a_thread", "raised", "without_self"])
async def test_a_type_error_of_a_handler_or_its_call_is_a_logged_500(name, caplog):
    assert_logged_500(await get(Broken(), f"/{name}" + "/1" * (name != "without_self")), caplog)
    assert "TypeError" in caplog.text
    if name != "without_self":
        assert await ask(Broken(), f"/{name}") == missing("a")


# --- Without an annotation ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", ["text", "", 1, 1.5, True, None, [1, "2"], {"a": {"b": None}}, "1"]
)
async def test_a_parameter_without_annotation_gets_the_json_value_as_it_is(value):
    result = await bound(one, json={"x": value})
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize("text", ["1", "true", "null", "[1]", '{"a":1}', " ä "])
async def test_a_parameter_without_annotation_gets_the_text_of_path_query_and_form(text):
    assert await bound(one, form={"x": text}) == text
    assert await bound(one, multipart=[("x", text)]) == text


# --- Conversions ----------------------------------------------------------------------------------


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    ONE = 1
    TRUE = True  # the same value: an alias
    HALF = 0.5
    NONE = None


class Lenient(Enum):
    YES = "yes"

    @classmethod
    def _missing_(cls, value):
        return cls.YES if str(value).lower() == "yes" else None


class Picky(Enum):
    YES = "yes"

    @classmethod
    def _missing_(cls, value):
        return {"y": cls.YES}.get(value.lower())  # a number has no lower()


class Day(Enum):
    LAST = date(2026, 1, 31)
    TWO = (1, 2)
    MANY = [1]  # noqa: RUF012


class Alias:
    """As `type Alias = ...` makes it in Python 3.12."""

    def __init__(self, value):
        self.__value__ = value


ID = "12345678-1234-5678-1234-56781234567a"
MOMENT = datetime(2026, 1, 31, 10, 20, 30)

GOOD_TEXTS: list[tuple[Any, dict[str, Any]]] = [
    (str, {"text": "text", "1": "1"}),
    (int, {"0": 0, "42": 42, "-7": -7, "007": 7, "1234567890123456789012": 1234567890123456789012}),
    (int, {"1_000": 1000, " 1": 1, "1 ": 1, "１２": 12, "٣": 3}),
    (float, {"1.5": 1.5, "-2": -2.0, "1e3": 1000.0, ".5": 0.5}),
    (float, {"1_0.5": 10.5, " 1.5": 1.5, "１.５": 1.5, "٣": 3.0}),
    (bool, {"true": True, "1": True, "yes": True, "on": True}),
    (bool, {"false": False, "0": False, "no": False, "off": False}),
    (Decimal, {"1.10": Decimal("1.10"), "-5": Decimal(-5)}),
    (Decimal, {"1_0": Decimal(10), " 1": Decimal(1), "٣": Decimal(3)}),
    (UUID, dict.fromkeys([ID, ID.upper(), ID.replace("-", "")], UUID(ID))),
    (date, {"2026-01-31": date(2026, 1, 31)}),
    (datetime, {"2026-01-31T10:20:30": MOMENT, "2026-01-31 10:20:30": MOMENT}),
    (datetime, {"2026-01-31T10:20": MOMENT.replace(second=0)}),
    (datetime, {"2026-01-31T10:20:30Z": MOMENT.replace(tzinfo=UTC)}),
    (datetime, {"2026-01-31T10:20:30+02:00": MOMENT.replace(tzinfo=timezone(timedelta(hours=2)))}),
    (clock, {"10:20": clock(10, 20), "10:20:30.5+01:00": clock.fromisoformat("10:20:30.5+01:00")}),
    (Decimal, {"1e1000": Decimal("1e1000"), "1E-1000": Decimal("1E-1000")}),
    (Decimal, {"9" * 1000: Decimal("9" * 1000), "0" * 2000 + "1": Decimal(1)}),
    (Literal["name", "price"], {"name": "name"}),
    (Literal[1, "x", True], {"1": 1, "x": "x", "yes": True}),
    (Literal["red", Color.BLUE], {"red": "red", "blue": Color.BLUE}),
    (Literal["a"] | None, {"a": "a"}),
    (Day, {"2026-01-31": Day.LAST}),
    (NewType("Number", int), {"7": 7}),
    (NewType("Text", str), {"7": "7"}),
    (NewType("Inner", NewType("Number", int)), {"7": 7}),
    (Annotated[NewType("Number", int) | None, "n"], {"7": 7}),
    (Alias(Literal["a"]), {"a": "a"}),
    ("list['int'] | None", {"1": [1]}),
    (list["int"], {"1": [1]}),
    (Color, {"red": Color.RED}),
    (Level, {"2": Level.HIGH}),
    (Mixed, {"0.5": Mixed.HALF}),
    (Lenient, {"YES": Lenient.YES}),
    (Picky, {"Y": Picky.YES}),
    *[(optional, {"1": 1}) for optional in (int | None, None | int, Optional[int])],  # noqa: UP045
    (str | None, {"text": "text"}),
    (Color | None, {"blue": Color.BLUE}),
    ("int", {"1": 1}),
    ("Color | None", {"red": Color.RED}),
    (Annotated[int, "how many"], {"1": 1}),
]


def rows(annotation: Any, type_name: str, *values: Any) -> list[tuple[Any, Any, str]]:
    return [(annotation, value, type_name) for value in values]


BAD_TEXTS: list[tuple[Any, str, str]] = [
    *rows(int, "int", "x", "1.0", "1e3", "0x10", "1_", "1 0", "--1", "+", "true", "²", "9" * 5000),
    *rows(float, "float", "x", "nan", "NaN", "inf", "-inf", "Infinity", " nan", "1e999", "1_"),
    *rows(float, "float", "1,5", ".", "e5", "1e", "0x1p3"),
    *rows(bool, "bool", "x", "2", "y", "tru", "wahr", " true", "１", "falſe"),
    *rows(Decimal, "Decimal", "x", "NaN", "sNaN", "NaN123", "-sNaN", "Infinity", "-inf", " inf"),
    *rows(Decimal, "Decimal", "1e99999999999999999999"),
    *rows(UUID, "UUID", "x", ID[:-1], ID + "0", "g" + ID[1:], " " + ID),
    *rows(date, "date", "x", "2026-02-30", "31.01.2026", "2026-1-1", "2026-01-31T10:00"),
    (date, "２０２６-01-31", "date"),
    *rows(datetime, "datetime", "x", "2026-02-30T10:00:00", "2026-01-31T25:00", "10:00", "0"),
    *rows(datetime, "datetime", "２０２６-01-31T10:00"),
    *rows(Color, "Color", "RED", "green", "Red", "Color.RED", " red"),
    *rows(Level, "Level", "3", "x", "LOW", "1.0", "True"),
    *rows(Decimal, "Decimal", "1e1001", "1e9999999", "1E-1001", "0e5000", "9" * 1001),
    *rows(clock, "time", "x", "25:00", "2026-01-31"),
    *rows(Literal["name", "price"], "Literal['name', 'price']", "DROP TABLE", "Name", " name"),
    *rows(Literal[1, True], "Literal[1, True]", "2", "off", "1.0"),
    (Literal[b"x"], "x", "Literal"),
    *rows(Day, "Day", "2026-01-30", "(1, 2)", "[1]"),
    *rows(dict, "dict", "abc", "{}", "a=1"),
    (NewType("Number", int), "x", "int"),
    (int | None, "x", "int"),
    (Optional[int], "None", "int"),  # noqa: UP045
    (Color | None, "x", "Color"),
    ("int", "x", "int"),
]


def annotated(annotation: Any) -> Any:
    """A handler with one parameter, of that type."""

    def handler(self, x):
        return [x]

    handler.__annotations__["x"] = annotation
    return handler


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [(annotation, *pair) for annotation, values in GOOD_TEXTS for pair in values.items()],
)
async def test_an_annotation_converts_a_text(annotation, text, value):
    handler = annotated(annotation)
    (result,) = await bound(handler, form={"x": text})
    assert result == value
    assert type(result) is type(value)
    assert await bound(handler, "/handler?x=" + quote(text)) == [value]
    assert await bound(handler, "/handler/" + quote(text)) == [value]
    assert await bound(handler, multipart=[("x", text)]) == [value]


@pytest.mark.parametrize(("annotation", "text", "type_name"), BAD_TEXTS)
async def test_a_text_that_does_not_convert_is_400_and_in_the_path_404(annotation, text, type_name):
    handler = annotated(annotation)
    status, body = await bound(handler, form={"x": text})
    assert status == 400
    assert body.startswith("400 Bad Request: ")
    assert "'x'" in body
    assert type_name in body
    assert await bound(handler, "/handler/" + text.replace("\n", "%0A")) == NOT_FOUND


@pytest.mark.parametrize(
    "text",
    ["1" * 200_000 + "z", "1" * 100_000 + "." + "1" * 100_000 + "z", "1." + "1" * 200_000 + "e"],
)
@pytest.mark.parametrize("annotation", [float, Decimal])
async def test_a_long_text_that_is_no_number_is_refused_without_backtracking(annotation, text):
    begun = time.process_time()
    for options in ({"target": f"/handler?x={text}"}, {"form": {"x": text}}):
        assert (await bound(annotated(annotation), **options))[0] == 400
    assert time.process_time() - begun < 20, (
        "milliseconds in one pass, and minutes if each digit is tried again"
    )


@pytest.mark.parametrize("annotation", [int, float, bool, UUID, date, Color, int | None])
async def test_a_blank_path_segment_does_not_convert(annotation):
    assert await bound(annotated(annotation), "/handler//") == NOT_FOUND


def same(annotation: Any, *values: Any) -> list[tuple[Any, Any, Any]]:
    return [(annotation, value, value) for value in values]


GOOD_JSON: list[tuple[Any, Any, Any]] = [
    *same(str, "text", ""),
    *same(int, 42, -1),
    *same(float, 1.5),
    (float, 2, 2.0),
    *same(bool, True, False),
    (Decimal, "1.10", Decimal("1.10")),
    (Decimal, 5, Decimal(5)),
    (Decimal, 1.1, Decimal("1.1")),
    (UUID, ID, UUID(ID)),
    (date, "2026-01-31", date(2026, 1, 31)),
    (datetime, "2026-01-31T10:20:30", MOMENT),
    (clock, "10:20", clock(10, 20)),
    *same(Literal["name", 1, None], "name", 1, None),
    *same(Literal[1, True], 1, True),
    (Literal[Color.RED], "red", Color.RED),
    *same(dict, {}),
    *same(dict | None, None),
    *same(list[dict], [{"a": 1}]),
    (Color, "red", Color.RED),
    (Level, 2, Level.HIGH),
    (Mixed, 1, Mixed.ONE),
    (Mixed, 0.5, Mixed.HALF),
    (Mixed, None, Mixed.NONE),
    *same(int | None, None),
    *same(str | None, None, "x"),
    *same(Color | None, None),
    *same(Optional[list[int]], None),  # noqa: UP045
    *same(list[int], [1, 2], []),
    *same(list[str], ["a", ""]),
    (list[float], [1, 0.5], [1.0, 0.5]),
    *same(list[int | None], [1, None]),
    (list[Color], ["red"], [Color.RED]),
    *same(list, [1, "a", None]),
    *same(dict, {"a": 1}),
    *same(Any, None),
]


BAD_JSON: list[tuple[Any, Any, str]] = [
    *rows(str, "str", 1, 1.5, True, None, [], ["a"], {}, {"$ne": None}, {"$ne": ""}),
    *rows(int, "int", "1", 1.5, True, False, None, [1], {"a": 1}),
    *rows(float, "float", "1.5", True, None, [1.5], 10**400),
    *rows(bool, "bool", "true", "1", 0, 1, 1.0, None, [True]),
    *rows(Decimal, "Decimal", "NaN", "x", True, None, [1], {"a": 1}),
    *rows(UUID, "UUID", "x", 1, None, [ID]),
    *rows(date, "date", "x", 20260131, None, True),
    *rows(datetime, "datetime", "x", 0, None, ["2026-01-31"]),
    *rows(Color, "Color", "green", 1, None, ["red"], {"red": 1}),
    *rows(Level, "Level", "1", True, 1.0, 3, None),
    *rows(Mixed, "Mixed", True, 1.0, "1"),
    *rows(Picky, "Picky", "no", 5, None, ["yes"]),
    *rows(int | None, "int", "1", True, {}),
    *rows(list[int], "int", 1, "1", None, [1, "2"], [None], [True], [[1]], {"0": 1}),
    *rows(clock, "time", "x", 10, None),
    *rows(Decimal, "Decimal", "1e1001", "9" * 1001),
    *rows(Literal["name", 1], "Literal['name', 1]", "1", True, 1.0, None, ["name"], {"name": 1}),
    *rows(Literal[True], "Literal[True]", 1, "true"),
    *rows(Day, "Day", "2026-01-31", [1, 2], None),
    *rows(dict, "dict", 5, "abc", [], None, True),
    (list[str], "a", "str"),
    (list[str], [{"$ne": None}], "str"),
    (list, "a", "list"),
    (list, {"a": 1}, "list"),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), GOOD_JSON)
async def test_an_annotation_takes_a_json_value_of_its_kind(annotation, value, expected):
    (result,) = await bound(annotated(annotation), json={"x": value})
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(("annotation", "value", "type_name"), BAD_JSON)
async def test_a_json_value_of_another_kind_is_400(annotation, value, type_name):
    status, body = await bound(annotated(annotation), json={"x": value})
    assert status == 400
    if value != 10**400:  # beyond what JSON parsers take
        assert "'x'" in body
        assert type_name in body


async def test_a_json_value_keeps_its_type_when_a_middleware_has_looked_at_the_form():
    def looks(request):
        """Look for a field in every body, as a middleware against cross-site forms does."""
        request.form("csrf_token")

    class Login(App):
        async def index(self, x):
            return [x]

        async def login(self, password: str):
            return password

    value: Any
    app = Login()
    app.middlewares.append(Note([], before=looks))
    for value in ("text", 1, None, ["a", "b"], {"a": [1]}):
        assert json.loads((await ask(app, "/", json={"x": value, "csrf_token": "t"}))[1]) == [value]
    for value in (1, None, ["a"], {"$ne": None}):
        assert (await ask(app, "/login", json={"password": value}))[0] == 400


BLANK_IS_ABSENT = [
    int,
    float,
    bool,
    Decimal,
    UUID,
    date,
    datetime,
    clock,
    dict,
    Color,
    Literal["", "a"],
    NewType("Number", int),
    int | None,
    Optional[date],  # noqa: UP045
    list[int],
]


@pytest.mark.parametrize("annotation", BLANK_IS_ABSENT)
async def test_a_blank_text_is_absent_for_anything_but_str(annotation):
    handler = annotated(annotation)
    assert await bound(handler, "/handler?x=") == missing("x")
    assert await bound(handler, form={"x": ""}) == missing("x")
    assert await bound(handler, multipart=[("x", "")]) == missing("x")

    def optional(self, x="default"):
        return x

    optional.__annotations__["x"] = annotation
    assert await bound(optional, "/handler?x=") == "default"
    assert await bound(optional, form={"x": ""}) == "default"
    assert await bound(optional, "/handler?x=", session={"x": "session"}) == "session"


TEXTS = [str, str | None, "str", NewType("Text", str), Annotated[str | None, "t"], dict | str]


@pytest.mark.parametrize("annotation", [*TEXTS, inspect.Parameter.empty])
async def test_a_blank_text_is_a_value_for_str(annotation):
    handler = annotated(annotation)
    assert await bound(handler, "/handler?x=") == [""]
    assert await bound(handler, form={"x": ""}) == [""]
    assert await bound(handler, multipart=[("x", "")]) == [""]


async def test_a_blank_query_value_leaves_a_number_to_the_body():
    def handler(self, x: int):
        return x

    assert await bound(handler, "/handler?x=", form={"x": "5"}) == 5


@pytest.mark.parametrize(
    ("annotation", "query", "value"),
    [
        (list[str], "x=a", ["a"]),
        (list[str], "x=a&x=b&y=c&x=", ["a", "b", ""]),
        (list[int], "x=1&x=2", [1, 2]),
        (list[int], "x=1&x=&x=2", [1, 2]),
        (list[Color], "x=red&x=blue", [Color.RED, Color.BLUE]),
        (List[int], "x=1&x=2", [1, 2]),  # noqa: UP006
        (list, "x=1&x=2", ["1", "2"]),
        (list[int] | None, "x=1&x=2", [1, 2]),
        (list[int | None], "x=1&x=2", [1, 2]),
        ("list[int]", "x=1&x=2", [1, 2]),
    ],
)
async def test_a_list_gets_all_repeated_values(annotation, query, value):
    handler = annotated(annotation)
    assert await bound(handler, f"/handler?{query}") == [value]
    assert await bound(handler, body=query.encode(), headers=FORM) == [value]
    parts = [(name, text) for name, _, text in (pair.partition("=") for pair in query.split("&"))]
    assert await bound(handler, multipart=parts) == [value]


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(list[int], [1]), (list[str], ["1"]), (list, ["1"]), (list[int] | None, [1])],
)
async def test_a_list_gets_a_path_segment_as_its_only_item(annotation, value):
    assert await bound(annotated(annotation), "/handler/1?x=2") == [value]


async def test_a_list_with_a_wrong_item_is_400_and_one_without_items_is_missing():
    handler = annotated(list[int])
    status, body = await bound(handler, "/handler?x=1&x=b")
    assert status == 400
    assert "'x'" in body
    assert "list[int]" in body
    assert await bound(handler) == missing("x")

    def optional(self, x: list[int] = []):  # noqa: B006
        return x

    assert await bound(optional) == []


async def test_optional_is_no_default():
    assert await bound(annotated(int | None)) == missing("x")


class Anything:
    """A type that the framework does not know."""


class Incomparable:
    __hash__ = None

    def __eq__(self, other):
        raise TypeError("not comparable")


class UnresolvableAlias:
    """As `type Alias = Elsewhere` makes it in Python 3.12: it looks for the name when asked."""

    @property
    def __value__(self):
        raise NameError("name 'Elsewhere' is not defined")


UNKNOWN = [
    *[Anything, complex, bytes, Context, tuple, type(None), None, set[int], Annotated[Anything, 1]],
    *[dict[str, int], list[set[int]], NewType("Anything", Anything), Alias(bytes)],
    *[int | Anything, Anything | int | None, int | set[int], "set[int]"],
    *[5, ["a"], Incomparable()],
]


def unheard(caplog: Any) -> list[str]:
    return [entry.getMessage() for entry in caplog.records if "cannot convert" in entry.message]


@pytest.mark.parametrize("annotation", UNKNOWN)
async def test_an_unknown_annotation_leaves_the_value_alone_and_is_warned_about_once(
    annotation, caplog
):
    class Root(App):
        async def show(self, x):
            return [x]

        show.__annotations__["x"] = annotation

    app = Root()
    first = ["1"] if str(annotation) == "list[set[int]]" else "1"
    for target in ("/show?x=1", "/show/1"):
        assert (await get(app, target)).json() == [first]
    for value in ({"a": [1]}, None):
        assert (await post(app, "/show", json={"x": value})).json() == [value]
    (warning,) = unheard(caplog)
    assert "Root.show" in warning
    assert "'x'" in warning
    assert caplog.records[0].levelname == "WARNING"


@pytest.mark.parametrize("annotation", [Any, object, inspect.Parameter.empty, "Any", Any | None])
async def test_an_annotation_that_means_any_value_is_not_warned_about(annotation, caplog):
    handler = annotated(annotation)
    assert await bound(handler, "/handler?x=1") == ["1"]
    assert await bound(handler, json={"x": {"a": [1]}}) == [{"a": [1]}]
    assert not caplog.records


UNRESOLVED = [
    *["Elsewhere", "Elsewhere | None", "1 / 0", "not an expression", "", "list[Elsewhere]"],
    *[
        list["Elsewhere"],
        Optional["Elsewhere"],
        UnresolvableAlias(),
        GenericAlias(list, UnresolvableAlias()),
    ],
    # Not even these, although nothing but the session would have the value.
    *["Elsewhere.FromSession", "FromSession | Elsewhere"],
]


@pytest.mark.parametrize("annotation", UNRESOLVED)
async def test_an_annotation_that_cannot_be_resolved_is_a_logged_500_for_each_request(
    annotation, caplog
):
    def plain(self, *, token="x"):
        return token

    class Root(App):
        async def star(self, *args):
            return "star"

        async def rest(self, **rest):
            return "rest"

        async def ws_socket(self, ws, token):
            await ws.accept()

        async def fine(self, n: "int"):
            return n

    Root.plain = plain  # type: ignore[attr-defined]  # too late to be a handler
    for function, name in ((Root.star, "args"), (Root.rest, "rest"), (Root.ws_socket, "token")):
        function.__annotations__[name] = annotation
    plain.__annotations__["token"] = annotation
    app = type("Child", (Root,), {"plain": plain, "__module__": __name__})()
    for target, name in (("/plain", "token"), ("/star/1", "args"), ("/rest?a=1", "rest")) * 2:
        caplog.clear()
        assert_logged_500(await get(app, target), caplog)
        assert f"'{name}'" in caplog.text
    async with websocket(app, "/socket?token=1") as ws:
        assert ws.rejected == 1011
    assert "'token'" in caplog.text
    assert (await get(app, "/fine/5")).json() == 5


async def test_the_annotation_of_a_websocket_handlers_socket_does_not_matter():
    class Root(App):
        async def ws_index(self, ws: "Elsewhere", room: "str"):
            await ws.accept()
            await ws.send_text(room)

        @staticmethod
        async def ws_static(ws: "Elsewhere", room: str):
            await ws.accept()
            await ws.send_text(room)

    for path in ("/?room=pie", "/static/pie"):
        async with websocket(Root(), path) as ws:
            assert await ws.receive() == "pie"


async def test_the_annotation_of_double_star_converts_each_value():
    def handler(self, first="-", **rest: int | list[str]):
        return rest

    assert await bound(handler, "/handler?first=x&a=1&b=", form={"c": "2"}) == {
        "a": 1,
        "b": [""],
        "c": 2,
    }
    assert await bound(handler, json={"a": ["x"], "b": 2}) == {"a": ["x"], "b": 2}
    refused = (400, "400 Bad Request: Parameter 'a' must be int | list[str]")
    assert await bound(handler, json={"a": None}) == refused

    def numbers(self, **rest: int):
        return rest

    assert await bound(numbers, "/handler?a=1&b=") == {"a": 1}  # a blank is no number
    # The name that is wrong is the client's, so it is escaped and cut.
    for name, shown in (("b", "'b'"), ("\r\nx", r"'\r\nx'"), ("\x7f", r"'\x7f'")):
        refused = (400, f"400 Bad Request: Parameter {shown} must be int")
        assert await bound(numbers, json={"a": 1, name: "x"}) == refused
    assert await bound(numbers, "/handler?a=1&b=x") == (
        400,
        "400 Bad Request: Parameter 'b' must be int",
    )
    assert await bound(numbers, f"/handler?{'n' * 2000}=x") == (
        400,
        f"400 Bad Request: Parameter '{'n' * 100}' must be int",
    )

    async def files(self, **files: UploadedFile):
        return [file.filename for file in files.values()]

    assert await bound(files, multipart=[a_file("x", "a.bin"), a_file("y", "b.bin")]) == [
        "a.bin",
        "b.bin",
    ]
    assert (await bound(files, "/handler?x=text"))[0] == 400


@pytest.mark.parametrize("kind", [int | None, str, list[int], Any])
async def test_positional_only_parameters_take_nothing_but_path_segments(kind):
    def handler(self, note="absent", /, text=""):
        return note, text

    handler.__annotations__["note"] = kind
    default = ("absent", "t")
    assert await bound(handler, "/handler?note=1&text=t") == default
    assert await bound(handler, form={"note": "1", "text": "t"}) == default
    assert await bound(handler, json={"note": 1, "text": "t"}) == default
    assert await bound(handler, multipart=[("note", "1"), ("text", "t")]) == default
    assert await bound(handler, multipart=[a_file("note", "a"), ("text", "t")]) == default
    assert await bound(handler, session={"note": 1, "text": "t"}) == default
    assert (await bound(handler, "/handler/1/t"))[1] == "t"

    def required(self, note, /, **rest):
        return rest

    assert await bound(required, "/handler?note=1") == missing("note")
    assert await bound(required, "/handler/1?note=2&a=3") == {"a": "3"}


def path_only_user(self, x: FromSession, /): ...
def path_only_file(self, x: UploadedFile, /): ...
def path_only_files(self, x: list[UploadedFile], /): ...
def star_files(self, *x: UploadedFile): ...
def rest_user(self, **x: FromSession): ...
def file_or_text(self, x: UploadedFile | str): ...
def text_or_file(self, x: str | UploadedFile): ...
def file_or_text_items(self, x: list[UploadedFile | str]): ...
def lists_of_files(self, x: list[list[UploadedFile]]): ...
def user_as_default(self, x=FromSession): ...
def named_user_as_default(self, *, x: str = FromSession): ...
def optional_user_as_default(self, x=FromSession | None): ...
def annotated_user_as_default(self, x=Annotated[str, FromSession]): ...


MISPLACED = [
    *[path_only_user, path_only_file, path_only_files, star_files, rest_user],
    *[file_or_text, text_or_file, file_or_text_items, lists_of_files],
    *[user_as_default, named_user_as_default],
    *[optional_user_as_default, annotated_user_as_default],
]


@pytest.mark.parametrize("function", MISPLACED)
async def test_a_file_or_from_session_in_a_wrong_place_is_a_logged_500(function, caplog):
    app = type("Root", (App,), {"handler": function, "__module__": __name__})()
    for _ in range(2):
        caplog.clear()
        assert_logged_500(await get(app, "/handler?x=1"), caplog)
        assert "TypeError" in caplog.text
        assert f"{function.__name__}: parameter 'x'" in caplog.text


async def test_a_default_need_not_be_comparable() -> None:
    default = Incomparable()

    class Root(App):
        async def index(self, x: Any = default) -> bool:
            return x is default

    assert (await get(Root())).json() is True


UNION_TEXTS: list[tuple[Any, dict[str, Any]]] = [
    (int | str, {"1": 1, "a": "a", "": ""}),
    (Union[int, str], {"1": 1, "1.5": "1.5"}),  # noqa: UP007
    (str | int, {"1": "1", "": ""}),
    (int | str | None, {"1": 1, "a": "a"}),
    (int | float, {"1": 1, "1.5": 1.5}),
    (float | int, {"1": 1.0}),
    (bool | int, {"1": True, "yes": True, "2": 2}),
    (date | int | None, {"2026-01-31": date(2026, 1, 31), "7": 7}),
    (UUID | int, {ID: UUID(ID), "7": 7}),
    (Color | Level, {"red": Color.RED, "2": Level.HIGH}),
    (Color | int | str, {"blue": Color.BLUE, "3": 3, "green": "green"}),
    (Annotated[int | str, "either"], {"1": 1, "a": "a"}),
    (Annotated[int, "n"] | Color, {"1": 1, "red": Color.RED}),
    ("int | Color", {"1": 1, "red": Color.RED}),
    (NewType("Number", int) | str, {"1": 1, "a": "a"}),
    (Literal["all"] | int, {"all": "all", "3": 3}),
    (dict | str, {"a": "a", "": ""}),
    (Annotated[int | None, "n"] | Color, {"1": 1, "red": Color.RED}),
    (int | list[str], {"1": 1, "a": ["a"]}),
    (list[int] | str, {"1": [1], "a": "a"}),
]


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [(annotation, *pair) for annotation, values in UNION_TEXTS for pair in values.items()],
)
async def test_of_a_union_the_first_member_that_accepts_a_text_wins(annotation, text, value):
    handler = annotated(annotation)
    for result in (
        await bound(handler, form={"x": text}),
        await bound(handler, f"/handler?x={text}"),
        await bound(handler, f"/handler/{text or '/'}"),
    ):
        assert result == [value]
        assert type(result[0]) is type(value)


UNION_JSON: list[tuple[Any, Any, Any]] = [
    *same(int | str, 1, "1", "a", ""),
    *same(int | str | None, None, 1, "a"),
    *same(int | float, 1, 1.5),
    (float | int, 1, 1.0),
    *same(bool | int, True, 1),
    *same(int | bool, True, 1),
    (Color | int, "red", Color.RED),
    (date | int, "2026-01-31", date(2026, 1, 31)),
    *same(list[int | str], [1, "a"], []),
    *same(list[int | None], [1, None]),
    *same(list[int | str] | None, [1, "a"], None),
    *same(dict | list[int], {"a": 1}, [1]),
    *same(Any | int, {"a": 1}, None),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), UNION_JSON)
async def test_of_a_union_the_first_member_that_accepts_a_json_value_wins(
    annotation, value, expected
):
    (result,) = await bound(annotated(annotation), json={"x": value})
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    "annotation", [int | float, date | int | None, Color | Level, "int | Color"]
)
async def test_a_text_that_no_member_of_a_union_accepts_is_400_and_in_the_path_404(annotation):
    handler = annotated(annotation)
    for options in ({"target": "/handler?x=nope"}, {"form": {"x": "nope"}}):
        status, body = await bound(handler, **options)
        assert status == 400
        assert body.startswith("400 Bad Request: Parameter 'x' must be ")
        assert "nope" not in body
    assert await bound(handler, "/handler/nope") == NOT_FOUND
    assert await bound(handler, "/handler?x=") == missing("x")


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        *[(int | str, value) for value in (True, 1.5, None, [1], {"$ne": None})],
        *[(int | float | None, value) for value in (True, "1", [])],
        *[(Color | int, value) for value in ("green", "1", None, True)],
        *[(list[int | str], value) for value in (1, "a", [None], [1.5], [["a"]])],
    ],
)
async def test_a_json_value_that_no_member_of_a_union_accepts_is_400(annotation, value):
    status, body = await bound(annotated(annotation), json={"x": value})
    assert status == 400
    assert "'x'" in body


async def test_a_list_of_lists_comes_from_json_alone():
    handler = annotated(list[list[int]])
    assert await bound(handler, json={"x": [[1], []]}) == [[[1], []]]
    refused = (400, "400 Bad Request: Parameter 'x' must be list[list[int]]")
    assert await bound(handler, "/handler?x=1&x=2") == refused
    for value in ("a", [[1], "a"], [[1], None], [["a"]]):
        assert await bound(handler, json={"x": value}) == refused


ELSEWHERE = """
def decorate(function):
    async def wrapper(self, *args):
        return await function(self, *args)
    return wrapper
"""


async def test_annotations_as_text_are_resolved_where_the_wrapped_function_is_defined():
    other_module: dict[str, Any] = {}
    exec(ELSEWHERE, other_module)

    async def index(self, color: "Color"):
        return color.name

    wrapped = functools.wraps(index)(other_module["decorate"](index))
    assert await ask(type("Textual", (App,), {"index": wrapped})(), "/blue") == (200, "BLUE")


resolved: list[str] = []


def counted(kind: type) -> type:
    resolved.append(kind.__name__)
    return kind


async def test_the_binder_is_worked_out_once_per_handler():
    class Counting(App):
        async def index(self, number: "counted(int)"):  # type: ignore[valid-type]  # noqa: F821
            return number

        async def ws_socket(self, ws, number: "counted(float)"):  # type: ignore[valid-type]  # noqa: F821
            await ws.accept()
            await ws.send_text(repr(number))

    resolved.clear()
    app = Counting()
    for number in (1, 2, 3):
        assert (await get(app, f"/?number={number}")).json() == number
        assert (await get(Counting(), f"/{number}")).json() == number
        async with websocket(app, f"/socket/{number}") as ws:
            assert await ws.receive() == f"{number}.0"
    assert resolved == ["int", "float"]


class Rights(IntFlag):
    READ = 1
    WRITE = 2


async def test_flag_takes_its_members_and_keeps_no_number_of_a_client() -> None:
    class Root(App):
        async def index(self, rights: Rights) -> str:
            return str(int(rights))

    app = Root()
    assert [(await get(app, f"/?rights={n}")).status for n in (1, 3, 8, 1 << 40)] == [
        200,
        200,
        400,
        400,
    ]
    for number in range(5, 50):
        await get(app, f"/?rights={number << 40}")
    assert len(Rights._value2member_map_) <= 4


async def test_recursive_alias_leaves_the_value_alone_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alias: Any = SimpleNamespace()  # as `type Json = int | list[Json]` of Python 3.12
    alias.__value__ = int | GenericAlias(list, alias)

    class Root(App):
        async def index(self, x: Any) -> str:
            return str(x)

    Root.index.__annotations__["x"] = alias
    assert [(await get(Root(), "/?x=1")).text for _ in range(2)] == ["['1']"] * 2
    assert len(caplog.records) == 1


# --- Files ----------------------------------------------------------------------------------------


async def names_of(files: Any) -> Any:
    if isinstance(files, UploadedFile):
        return files.filename, await files.read()
    return [(file.filename, await file.read()) for file in files]


def a_file(name: str, filename: str, content: bytes = b"content") -> tuple[str, str, str, bytes]:
    return name, filename, "application/octet-stream", content


async def test_an_uploaded_file_binds_by_name():
    async def handler(self, x: UploadedFile, title: str = "-"):
        return await names_of(x), title

    assert await bound(handler, multipart=[a_file("x", "a.bin"), ("title", "T")]) == (
        ("a.bin", b"content"),
        "T",
    )
    assert await bound(handler, multipart=[a_file("y", "b.bin"), a_file("x", "a.bin")]) == (
        ("a.bin", b"content"),
        "-",
    )


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"multipart": []},
        {"multipart": [a_file("y", "a.bin")]},
        {"multipart": [("x", "", "application/octet-stream", b"")]},
        {"multipart": [("x", "")]},
        {"form": {"x": ""}},
    ],
)
@pytest.mark.parametrize("annotation", [UploadedFile, list[UploadedFile], UploadedFile | None])
async def test_a_file_parameter_without_a_file_is_missing(annotation, options):
    handler = annotated(annotation)
    assert await bound(handler, "/handler?x=", **options) == missing("x")
    assert await bound(handler, "/handler", session={"x": "text"}, **options) == missing("x")
    assert await bound(handler, "/handler/text", **options) == NOT_FOUND


@pytest.mark.parametrize(
    "options",
    [
        {"target": "/handler?x=text"},
        {"multipart": [("x", "text")]},
        {"form": {"x": "text"}},
        {"json": {"x": "text"}},
        {"json": {"x": {"filename": "a", "content_type": "b", "content": "c"}}},
    ],
)
@pytest.mark.parametrize("annotation", [UploadedFile, list[UploadedFile], UploadedFile | None])
async def test_anything_but_a_file_for_a_file_parameter_is_400(annotation, options):
    status, text = await bound(annotated(annotation), **options)
    assert (status, text) == (400, "400 Bad Request: Parameter 'x' must be a file")


@pytest.mark.parametrize("annotation", [UploadedFile | None, list[UploadedFile]])
async def test_an_optional_file_that_is_absent_leaves_the_default(annotation):
    async def handler(self, x=None):
        return None if x is None else await names_of(x)

    handler.__annotations__["x"] = annotation
    assert await bound(handler, multipart=[("y", "1")]) is None
    found = await bound(handler, multipart=[("y", "1"), a_file("x", "a.bin")])
    assert found == (
        ("a.bin", b"content") if annotation == UploadedFile | None else [("a.bin", b"content")]
    )


async def test_a_list_of_files_gets_all_of_that_name():
    async def handler(self, x: list[UploadedFile]):
        return await names_of(x)

    parts = [a_file("x", "a", b"1"), a_file("y", "b", b"2"), a_file("x", "c", b"3")]
    assert await bound(handler, multipart=parts) == [("a", b"1"), ("c", b"3")]


async def test_a_parameter_without_annotation_gets_the_first_file_of_its_name():
    async def handler(self, x):
        return await names_of(x)

    assert await bound(handler, multipart=[a_file("x", "a", b"1"), a_file("x", "b", b"2")]) == (
        "a",
        b"1",
    )


@pytest.mark.parametrize("annotation", [str, int, list[str], Color, str | None])
async def test_a_file_never_becomes_a_text(annotation):
    assert await bound(annotated(annotation), multipart=[a_file("x", "1")]) == missing("x")


async def test_a_plain_handler_reads_the_file_object():
    class Plain(App):
        def upload(self, x: UploadedFile, y: int):
            return [x.file.read().decode(), y]

    assert await ask(Plain(), "/upload", multipart=[a_file("x", "a"), ("y", "2")]) == (
        200,
        '["content",2]',
    )


async def starts_early(function: Any, parts: list[Any], target: str = "/upload") -> bool:
    """Whether a handler with the signature of `function` starts early.

    The last of `parts`, a file, has only begun by then.
    """
    started = asyncio.Event()

    async def upload(self, *args, **kwargs):
        started.set()

    app = type("Streaming", (App,), {"upload": functools.update_wrapper(upload, function)})(
        Sessions(user_id=7)
    )
    app.upload.__func__.__name__ = "upload"
    body = encode_multipart(parts)
    head = body[: body.rindex(b"content") + 3]
    headers = {
        **SIGNED_IN,
        "content-type": f"multipart/form-data; boundary={BOUNDARY}",
        "content-length": str(len(body)),
    }
    path, _, query = target.partition("?")
    async with exchange(app, "POST", path, query=query, headers=headers) as ex:
        await ex.send_body(head)
        await elapse(0.001)
        early = started.is_set()
        await ex.send_body(body[len(head) :], more=False)
        await ex.wait()
        return early


def file_alone(self, file: UploadedFile): ...
def untyped(self, file): ...
def any_name(self, file: UploadedFile | None = None): ...
def with_title(self, title: str, file: UploadedFile): ...
def with_number(self, file: UploadedFile, *, number: int): ...
def with_optional(self, file: UploadedFile, title="-"): ...
def with_list(self, file: UploadedFile, tags: list[str]): ...
def with_rest(self, file: UploadedFile, **rest): ...
def with_user(self, user_id: FromSession, file: UploadedFile): ...
def with_two(self, first: UploadedFile, file: UploadedFile): ...
def of_files(self, file: list[UploadedFile]): ...
def of_text(self, file: str): ...


FILE = a_file("file", "a.bin")


@pytest.mark.parametrize(
    ("function", "parts", "target", "early"),
    [
        (file_alone, [FILE], "/upload", True),
        (untyped, [FILE], "/upload", True),
        (any_name, [FILE], "/upload", True),
        (file_alone, [a_file("other", "a.bin")], "/upload", False),
        (with_title, [("title", "T"), FILE], "/upload", True),
        (with_title, [FILE], "/upload/T", True),
        (with_title, [FILE], "/upload?title=T", True),
        (with_title, [FILE], "/upload", False),
        (with_number, [("number", "1"), FILE], "/upload", True),
        (with_number, [("number", ""), FILE], "/upload", False),  # blank is absent
        (with_number, [FILE], "/upload?number=", False),
        (with_number, [FILE], "/upload", False),
        (with_optional, [("title", "T"), FILE], "/upload", True),
        (with_optional, [FILE], "/upload", False),
        (with_list, [("tags", "a"), FILE], "/upload", False),  # more of them may come
        (with_rest, [FILE], "/upload", False),
        (with_user, [FILE], "/upload", True),
        (with_two, [a_file("first", "b.bin", b"1"), FILE], "/upload", True),
        (with_two, [FILE], "/upload", False),
        (of_files, [FILE], "/upload", False),
        (of_text, [FILE], "/upload", False),
    ],
)
async def test_a_handler_starts_before_the_end_of_a_form_only_if_a_file_is_the_last_it_misses(
    function, parts, target, early
):
    assert await starts_early(function, parts, target) is early


Marked = Annotated[UploadedFile, "picture"]


async def test_list_of_annotated_files_takes_files() -> None:
    class Root(App):
        async def index(self, files: list[Marked]) -> Any:
            return [file.filename for file in files]

    parts = [("files", "a.txt", None, b"1"), ("files", "b.txt", None, b"2")]
    assert (await post(Root(), multipart=parts)).json() == ["a.txt", "b.txt"]


# --- The session alone ----------------------------------------------------------------------------

EVIL = [
    {"target": "/handler?user_id=evil"},
    {"form": {"user_id": "evil"}},
    {"json": {"user_id": "evil"}},
    {"multipart": [("user_id", "evil")]},
    {"multipart": [a_file("user_id", "evil")]},
]


@pytest.mark.parametrize("options", EVIL)
async def test_from_session_binds_from_the_session_alone(options):
    def required(self, user_id: FromSession):
        return user_id

    def optional(self, *, user_id: FromSession = "absent"):
        return user_id

    assert await bound(required, session={"user_id": "ann"}, **options) == "ann"
    assert await bound(required, session={"other": 1}, **options) == (401, "401 Unauthorized")
    assert await bound(required, session={"user_id": None}, **options) == (401, "401 Unauthorized")
    assert await bound(required, **options) == (401, "401 Unauthorized")
    assert await bound(optional, session={"user_id": "ann"}, **options) == "ann"
    assert await bound(optional, **options) == "absent"


INSIDE = [
    "FromSession",
    "FromSession | None",
    "list[FromSession]",
    "list['FromSession']",
    "Optional['FromSession']",
    FromSession | None,
    FromSession | int,
    Optional[FromSession],  # noqa: UP045
    Optional["FromSession"],
    Annotated[FromSession, "doc"],
    Annotated["FromSession", "doc"],
    list[FromSession],
    NewType("UserId", FromSession),
    Alias(FromSession),
]


@pytest.mark.parametrize("annotation", INSIDE)
async def test_from_session_inside_another_annotation_still_takes_nothing_from_the_url(annotation):
    handler = annotated(annotation)
    assert await bound(handler, "/handler?x=evil", session={"x": 7}) == [7]
    assert await bound(handler, "/handler?x=evil") == (401, "401 Unauthorized")
    assert (await bound(handler, "/handler/evil"))[0] in (401, 404)

    def optional(self, x: Any = None):
        return [x]

    optional.__annotations__["x"] = annotation
    assert await bound(optional, "/handler?x=evil") == [None]
    assert await bound(optional, "/handler/evil") == NOT_FOUND


async def test_from_session_takes_no_path_segment():
    def handler(self, user_id: FromSession, page="1"):
        return user_id, page

    assert await bound(handler, "/handler/2", session={"user_id": "ann"}) == ("ann", "2")
    assert await bound(handler, "/handler/evil/2", session={"user_id": "ann"}) == NOT_FOUND
    assert await bound(handler, "/handler/evil") == (401, "401 Unauthorized")


async def test_path_segments_that_are_annotated_as_from_session_are_a_logged_500(caplog):
    class Root(App):
        async def index(self, *ids: FromSession):
            return str(ids)

    assert_logged_500(await get(Root(), "/1/2"), caplog)
    assert "Root.index: parameter 'ids': FromSession, a model or UploadedFile" in caplog.text


async def test_the_name_of_a_from_session_parameter_is_not_in_double_star():
    def handler(self, user_id: FromSession, **rest):
        return user_id, rest

    assert await bound(handler, "/handler?user_id=evil&a=1", session={"user_id": 7}) == (
        7,
        {"a": "1"},
    )


@pytest.mark.parametrize("value", [0, False, "", [], {"name": "Ann"}])
async def test_a_session_value_is_taken_as_it_is(value):
    def handler(self, user_id: FromSession):
        return [user_id]

    assert await bound(handler, session={"user_id": value}) == [value]


async def test_an_ordinary_parameter_takes_a_session_value_too():
    def handler(self, user_id, count: int = 0):
        return user_id, count

    assert await bound(handler, session={"user_id": "ann", "count": 5}) == ("ann", 5)
    assert await bound(handler, session={"user_id": "ann", "count": None}) == ("ann", 0)


# --- WebSocket ------------------------------------------------------------------------------------


class Sockets(App):
    async def ws_path(self, ws, number: int, name="-", *, q: bool = False):
        await self.tell(ws, number, name, q)

    async def ws_rest(self, ws, *args, **kwargs):
        await self.tell(ws, args, kwargs)

    async def ws_user(self, ws, user_id: FromSession):
        await self.tell(ws, user_id)

    async def ws_optional(self, ws, user_id: FromSession = None):
        await self.tell(ws, user_id)

    async def ws_session(self, ws, user_id):
        await self.tell(ws, user_id)

    async def ws_colors(self, ws, colors: list[Color]):
        await self.tell(ws, *[color.name for color in colors])

    async def ws_upload(self, ws, file: UploadedFile):
        await self.tell(ws, file)

    @passes_on
    async def ws_wrapped(self, ws, number: int):
        await self.tell(ws, number)

    @staticmethod
    async def tell(ws, *values):
        await ws.accept()
        await ws.send_json(list(values))


@pytest.mark.parametrize(
    ("path", "values"),
    [
        ("/path/5", [5, "-", False]),
        ("/path/5/Ann?q=on", [5, "Ann", True]),
        ("/path?number=5&name=Ann", [5, "Ann", False]),
        ("/path?number=5&q=", [5, "-", False]),
        ("/rest/a/b?c=1&d=2&ws=3&self=4", [["a", "b"], {"c": "1", "d": "2"}]),
        ("/colors?colors=red&colors=blue", ["RED", "BLUE"]),
        ("/wrapped/5", [5]),
        ("/optional?user_id=evil", [None]),
        ("/session?user_id=query", ["query"]),
    ],
)
async def test_the_same_binder_serves_websocket_handlers(path, values):
    async with websocket(Sockets(), path) as ws:
        assert await ws.receive_json() == values


@pytest.mark.parametrize(
    "path",
    [
        "/path/x",
        "/path",
        "/path?number=x",
        "/path/1/2/3",
        "/path/1?q=maybe",
        "/colors?colors=green",
        "/upload?file=x",
        "/user?user_id=evil",
        "/user/evil",
        "/session",
        "/wrapped/x",
    ],
)
async def test_a_websocket_whose_arguments_do_not_bind_is_refused_before_the_handshake(path):
    async with websocket(Sockets(), path) as ws:
        assert not ws.accepted
        assert ws.rejected == 1008


@pytest.mark.parametrize("path", ["/user?user_id=evil", "/optional?user_id=evil", "/session"])
async def test_a_websocket_handler_gets_session_values(path):
    async with websocket(Sockets(Sessions(user_id=7)), path, headers=SIGNED_IN) as ws:
        assert await ws.receive_json() == [7]


@pytest.mark.parametrize("path", ["/user", "/session"])
async def test_a_websocket_from_a_foreign_page_gets_no_session_value(path):
    headers = {**SIGNED_IN, "origin": "https://evil.example"}
    async with websocket(Sockets(Sessions(user_id=7)), path, headers=headers) as ws:
        assert ws.rejected == 1008


async def test_a_name_that_is_missing_where_nothing_binds_does_not_matter():
    """Python 3.14 looks names up late, and then in all annotations of a function at once."""
    missing = "Missing" if sys.version_info >= (3, 14) else "'Missing'"
    names = {"App": App}
    exec(
        f"class Root(App):\n"
        f"    async def index(self: {missing}, number: int) -> {missing}: return number + 1\n"
        f"    async def other(self, number: {missing}): return number\n",
        names,
    )
    app = names["Root"]()
    assert (await get(app, "/?number=1")).json() == 2
    assert (await get(app, "/other?number=1")).status == 500
    assert [route.path for route in routes(app)] == ["/", "/other"]


async def test_a_decorator_without_wraps_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    """It hides that the user comes from the session alone."""

    def careless(function: Any) -> Any:
        async def inner(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await function(self, *args, **kwargs)

        return inner

    class Root(App):
        @careless
        async def orders(self, user_id: FromSession) -> str:
            return f"of {user_id}"

        @careless
        async def inner(self) -> str:
            return "its own name"

        async def any(self, *args: Any, **kwargs: Any) -> str:
            return "not decorated"

    app = Root()
    for path in ("/orders?user_id=1", "/orders?user_id=1", "/inner", "/any"):
        assert (await get(app, path)).status == 200
    (warning,) = caplog.messages
    assert re.search(r"careless.<locals>.inner hides parameters: use functools.wraps", warning)
