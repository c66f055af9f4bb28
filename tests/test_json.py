"""JSON with and without orjson.

Everyday data has the same bytes with both. Rich data is equal when it is parsed.
"""

from __future__ import annotations

import ast
import asyncio
import collections
import dataclasses
import datetime
import enum
import json
import math
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import micropie
from tests.asgi import Response, assert_logged_500, get, logged, post, shown

JSON = {"content-type": "application/json"}


async def answered(module: Any, answer: Any) -> Response:
    class Root(module.App):
        async def index(self) -> Any:
            return answer

    return await get(Root())


class Color(enum.Enum):
    RED = "red"
    POINT = (1, 2)


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    YES = "yes"


class Pair(NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Point:
    x: float
    _hidden: str = "seen"
    when: datetime.date | None = None
    inner: Any = dataclasses.field(default=None, repr=False, compare=False)


@dataclasses.dataclass(frozen=True, slots=True)
class Slotted:
    a: int
    b: list[Any]


EVERYDAY = [
    ({"a": [1, True, False, None, "x", 1.5]}, '{"a":[1,true,false,null,"x",1.5]}'),
    ({"é": "☃🥧", "": ""}, '{"é":"☃🥧","":""}'),
    (['"\\/</script>'], r'["\"\\/</script>"]'),
    (["\x00\b\t\n\f\r\x1f\x7f\u2028"], '["\\u0000\\b\\t\\n\\f\\r\\u001f\x7f\u2028"]'),
    (
        [0, -1, -(2**63), 2**63 - 1, 2**64 - 1],
        "[0,-1,-9223372036854775808,9223372036854775807,18446744073709551615]",
    ),
    (
        [0.1, -2.5, 100.0, 0.0, -0.0, 1e15, 123456.789, 0.0001],
        "[0.1,-2.5,100.0,0.0,-0.0,1000000000000000.0,123456.789,0.0001]",
    ),
    ([(1, (2,)), [], {}, ()], "[[1,[2]],[],{},[]]"),
    ({"b": {"z": 1, "a": 2}, "a": 0}, '{"b":{"z":1,"a":2},"a":0}'),
    (collections.OrderedDict(b=1, a=2), '{"b":1,"a":2}'),
    (collections.defaultdict(list, a=[1]), '{"a":[1]}'),
    (7, "7"),
    (0.5, "0.5"),
    (True, "true"),
    ([], "[]"),
]


@pytest.mark.parametrize(("value", "text"), EVERYDAY, ids=[text for _, text in EVERYDAY])
async def test_everyday_data_is_compact_utf8_byte_for_byte(
    module: Any, value: Any, text: str
) -> None:
    response = await answered(module, value)
    assert (response.status, response.body) == (200, text.encode())
    assert response.header("content-type") == "application/json"


NOON = datetime.datetime(2024, 2, 29, 12, 0, 0)
KEY = uuid.UUID("12345678-1234-5678-1234-567812345678")
PLUS_TWO = datetime.timezone(datetime.timedelta(hours=2))

RICH = [
    (NOON, "2024-02-29T12:00:00"),
    (NOON.replace(microsecond=120), "2024-02-29T12:00:00.000120"),
    (NOON.replace(tzinfo=datetime.UTC), "2024-02-29T12:00:00+00:00"),
    (NOON.replace(tzinfo=PLUS_TWO), "2024-02-29T12:00:00+02:00"),
    (datetime.datetime(33, 1, 2, 3, 4, 5), "0033-01-02T03:04:05"),
    (NOON.date(), "2024-02-29"),
    (KEY, str(KEY)),
    (Color.RED, "red"),
    (Color.POINT, [1, 2]),
    ([Number.ONE, Word.YES], [1, "yes"]),
    (Decimal("1.10"), "1.10"),
    ([Decimal("1E+3"), Decimal("-0.000")], ["1E+3", "-0.000"]),
    (Point(1), {"x": 1, "_hidden": "seen", "when": None, "inner": None}),
    (
        Point(2, "", NOON.date(), Slotted(3, [Color.RED, KEY])),
        {"x": 2, "_hidden": "", "when": "2024-02-29", "inner": {"a": 3, "b": ["red", str(KEY)]}},
    ),
    ({"p": [Point(1)]}, {"p": [{"x": 1, "_hidden": "seen", "when": None, "inner": None}]}),
    ([Pair(1, 2)], [[1, 2]]),
    ([2**64, -(2**63) - 1, 10**40], [2**64, -(2**63) - 1, 10**40]),
    (2**80, 2**80),
    ({1: "a", -5: "b", "c": 3}, {"1": "a", "-5": "b", "c": 3}),
    ({2**70: 2**70}, {str(2**70): 2**70}),
    ({Word.YES: Number.ONE, Number.ONE: 2}, {"yes": 1, "1": 2}),
    (datetime.time(12, 30), "12:30:00"),
    (
        NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(minutes=-19, seconds=-32))),
        "2024-02-29T12:00:00-00:19:32",
    ),
    (
        NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=5, minutes=30), "IST")),
        "2024-02-29T12:00:00+05:30",
    ),
    ([1e300, 5e-324, 1e-7, 1e16, -1.5e22], [1e300, 5e-324, 1e-7, 1e16, -1.5e22]),
    # Several of them at once: what one encoder hands on must not lose the rest.
    (
        {1: None, 2: [2**70, Decimal("0.1"), Point(0.5), NOON], "s": {"red": KEY}},
        {
            "1": None,
            "2": [
                *[2**70, "0.1", {"x": 0.5, "_hidden": "seen", "when": None, "inner": None}],
                "2024-02-29T12:00:00",
            ],
            "s": {"red": str(KEY)},
        },
    ),
]


@pytest.mark.parametrize(("value", "parsed"), RICH, ids=[repr(value)[:60] for value, _ in RICH])
async def test_rich_data_is_equal_when_parsed(module: Any, value: Any, parsed: Any) -> None:
    response = await answered(module, value)
    assert (response.status, response.json()) == (200, parsed)
    # Equal numbers are not enough: 1 == 1.0 == True.
    assert repr(response.json()) == repr(parsed)


@pytest.mark.parametrize(
    "value", [math.nan, [math.inf, -math.inf], {"a": Point(math.nan)}], ids=repr
)
async def test_nan_and_infinities_are_null_with_orjson_and_a_logged_500_without(
    module: Any, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    response = await answered(module, value)
    if module is micropie:
        assert response.status == 200 and "null" in response.text
    else:
        assert_logged_500(response, caplog)


async def test_deep_data_that_json_can_say_is_sent(module: Any) -> None:
    value: Any = "x"
    for _ in range(300):
        value = [value]
    assert (await answered(module, value)).json() == value


def circle() -> Any:
    items: list[Any] = []
    items.append(items)
    return items


def tower() -> Any:
    value: Any = "x"
    for _ in range(100_000):
        value = [value]
    return value


class Odd:
    """Looks like a dataclass and is none."""

    __dataclass_fields__ = 5


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        {"a": object()},
        [b"bytes"],
        {"a": [1j]},
        Point,
        [Point],
        len,
        range(3),
        {(1, 2): 3},
        {b"a": 1},
        {object(): 1},
        {KEY: 1},
        {NOON.date(): 1},
        {Color.RED: 1},
        "[\ud800]",
        ["\ud800"],
        {"\udfff": 1},
        [2**70, "\ud800"],
        Point(1, inner=object()),
        [Odd()],
        circle(),
        tower(),
    ],
    ids=lambda value: shown(value)[:30] if not isinstance(value, list) else "list",
)
async def test_a_value_that_json_cannot_say_is_a_logged_500(
    module: Any, value: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert_logged_500(await answered(module, value), caplog)


async def test_a_value_that_is_encoded_is_not_changed(module: Any) -> None:
    value = {"a": [math.nan, {1: Decimal(1)}], "b": (1, 2)}
    await answered(module, value)
    assert list(value) == ["a", "b"] and math.isnan(value["a"][0])  # type: ignore[arg-type]
    assert value["a"][1] == {1: Decimal(1)} and value["b"] == (1, 2)


BAD = [
    b"{",
    b'{"a":1}}',
    b'{"a":1,}',
    b"{'a':1}",
    b"'a'",
    b"[1,]",
    b"[01]",
    b"[+1]",
    b"[.5]",
    b"[1.]",
    b"nope",
    b"nul",
    b"{} {}",
    b" ",
    b"\xc2\xa0{}",
    b'"\n"',
    b'"\\x41"',
    b"NaN",
    b"[NaN]",
    b"Infinity",
    b"[Infinity]",
    b"-Infinity",
    b"[-Infinity]",
    b'"\xff"',
    b"\xef\xbb\xbf{}",
    b'"\xed\xa0\x80"',
    '"é"'.encode("utf-16"),
    '{"a":1}'.encode("utf-16"),
    '{"a":1}'.encode("utf-16-le"),
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 100_000 + b"]" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
]
EXTREME = [
    b"1e400",
    b"[1e999]",
    b'{"a":-1e999}',
    b"[" + b"9" * 400 + b".0]",
    b"18446744073709551616",
    b"9" * 5000,
    b"[-9223372036854775809]",
    b'"\\ud800"',
    b'{"\\uDC00":1}',
    b'"\\ude00\\ud83d"',
    *[b"[" * depth + b"]" * depth for depth in (255, 700, 1000, 1020, 1024, 5000)],
    b'{"a":' * 300 + b"1" + b"}" * 300,
]
"""The JSON library in use decides whether it takes or refuses these."""
GOOD: list[Any] = [
    {"a": [1, -2, 0.5, 1e300, True, False, None, "é€\U0001f600", ""]},
    {"a": [{"b": None}]},
    ["\\ud800", "\u2028", "\x7f", "a/b", 1e-7],
    {"": {"": []}},
    {},
    [1, 2],
    [],
    "text",
    "é☃🥧",
    "",
    [2**53, 2**63 - 1, -(2**63), 2**64 - 1],
    5,
    0,
    1.5,
    -1.5,
    True,
    False,
    None,
]


def taking(module: Any) -> Any:
    """An application that answers with its JSON body, and keeps what it saw of each."""

    class Root(module.App):
        seen: list[Any] = []

        async def index(self) -> Any:
            self.seen.append((self.request.get_json, self.request.json()))
            return [self.request.get_json, self.request.body_params]

        async def text(self) -> Any:
            return self.request.form("a")

    return Root()


@pytest.mark.parametrize("body", BAD, ids=[repr(body[:20]) for body in BAD])
async def test_bad_json_is_400_with_and_without_orjson(
    module: Any, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    response = await post(app := taking(module), body=body, headers=JSON)
    assert response.status == 400 and response.text.startswith("400 Bad Request")
    assert (app.seen, caplog.records) == ([], [])


@pytest.mark.parametrize("body", EXTREME, ids=[repr(body[:20]) for body in EXTREME])
async def test_json_at_the_extremes_is_parsed_or_400(
    module: Any, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    class Root(module.App):
        async def index(self) -> str:
            return type(self.request.get_json).__name__

    response = await post(Root(), body=body, headers=JSON)
    assert response.status == 400 or response.text in ("dict", "list", "str", "int", "float")
    assert caplog.records == []


@pytest.mark.parametrize("depth", [100, 199])
@pytest.mark.parametrize("path", ["/", "/text"])
async def test_a_nested_body_can_be_answered(module: Any, path: str, depth: int) -> None:
    body = b'{"a":' + b"[" * depth + b"]" * depth + b"}"
    response = await post(taking(module), path, body=body, headers=JSON)
    assert response.text.startswith("[[[" if path == "/text" else '[{"a":[[[')


@pytest.mark.parametrize("value", ["[" * 1000 + "]" * 1000, "1e999", r'{"b":"\ud800"}', "[1]"])
@pytest.mark.parametrize("path", ["/", "/rest"])
async def test_a_member_that_has_no_text_is_a_400(
    module: Any, path: str, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A middleware that looks for a field may ask for it, whatever the handler takes."""

    class Root(module.App):
        async def index(self) -> None:
            self.request.form("a")

        async def rest(self, **rest: Any) -> None: ...

    response = await post(Root(), path, body=f'{{"a":{value}}}'.encode(), headers=JSON)
    assert response.status == 204 or response.text == "400 Bad Request: Invalid JSON"
    assert caplog.records == []


async def test_a_member_that_has_no_text_reads_as_empty_after_the_request(module: Any) -> None:
    """As a body does that cannot be parsed."""

    class After(module.HttpMiddleware):
        async def after_request(self, request: Any, *response: Any) -> None:
            seen.append(request.body_params)

    class Root(module.App):
        async def index(self) -> None: ...

    seen: list[Any] = []
    app = Root()
    app.middlewares.append(After())
    body = rb'{"a":{"b":"\ud800"}}'  # orjson refuses the whole of it
    assert (await post(app, body=body, headers=JSON)).status == 204
    assert seen == [{}]


@pytest.mark.parametrize("value", GOOD, ids=repr)
async def test_json_of_any_kind_is_parsed_with_and_without_orjson(module: Any, value: Any) -> None:
    text = json.dumps(value)
    for body in (text, json.dumps(value, ensure_ascii=False), f"\r\n\t {text} \n"):
        response = await post(app := taking(module), body=body.encode(), headers=JSON, chunk_size=7)
        assert (response.status, response.json()[0]) == (200, value)
        # Equal numbers are not enough: 1 == 1.0 == True.
        assert repr(app.seen) == repr([(value, value)])


@pytest.mark.parametrize("body", [b"", [b""], [b"", b""]])
@pytest.mark.parametrize("more", [{}, {"transfer-encoding": "chunked"}], ids=["length", "chunked"])
async def test_empty_json_body_is_an_empty_object(
    module: Any, body: Any, more: dict[str, str]
) -> None:
    assert (await post(taking(module), headers={**JSON, **more}, body=body)).json() == [{}, {}]


async def test_the_log_names_a_forgotten_await(caplog: pytest.LogCaptureFixture) -> None:
    class Root(micropie.App):
        async def index(self) -> Any:
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            return {"page": future}

    assert_logged_500(await get(Root()), caplog)
    error = (logged(caplog)[0].exc_info or (None, None, None))[1]
    assert error is not None and error.__context__ is None
    assert str(error) == "Future is not JSON serializable: is an await missing?"


def test_the_module_has_no_way_to_make_code_or_objects_of_what_a_client_sends():
    nodes = list(ast.walk(ast.parse(Path(micropie.__file__).read_text("utf-8"))))
    imported = {
        name.partition(".")[0]
        for node in nodes
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(one.name for one in node.names)]
    }
    called = {
        node.func.id
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }

    assert "json" in imported and not imported & {"pickle", "marshal", "shelve", "yaml", "xml"}
    assert "getattr" in called and not called & {"eval", "exec", "compile", "__import__"}
