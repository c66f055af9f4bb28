"""Values of queries, paths, forms and JSON that become what a handler's annotation says."""

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal, NamedTuple, NewType
from urllib.parse import quote, quote_plus
from uuid import UUID

import pydantic

from micropie import App
from tests.fuzz.inputs import Input, ask, target


class Color(enum.Enum):
    RED = "red"
    SEVEN = 7
    TRUE = True


class Weekday(enum.IntFlag):
    MONDAY = 1
    TUESDAY = 2


Key = NewType("Key", int)
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


class Kind(NamedTuple):
    """An annotation, what a string becomes, and which JSON values pass."""

    annotation: Any
    of_text: Callable[[str], Any]
    of_json: Callable[[Any], bool]


def _finite(value: Any) -> Any:
    if value - value != 0:
        raise ValueError
    return value


def _decimal(text: str) -> Decimal:
    value = _finite(Decimal(text))
    if len(value.as_tuple().digits) > 1000 or abs(value.adjusted()) > 1000:
        raise ValueError
    return value


def _first(*makers: Callable[[str], Any]) -> Callable[[str], Any]:
    def make(text: str) -> Any:
        for one in makers:
            try:
                return one(text)
            except Exception:
                pass
        raise ValueError

    return make


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: type(value) in kinds


def _parses(make: Callable[[str], Any], *kinds: type) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            make(str(value))
        except Exception:
            return False
        return type(value) in (kinds or (str,))

    return fits


def _exactly(*values: Any) -> Callable[[str], Any]:
    """Return a function that finds the string of one of these values."""

    def make(text: str) -> Any:
        for value in values:
            if value == text or (type(value) is int and _first(int)(text) == value):
                return value
        raise ValueError

    return make


def _bool(text: str) -> bool:
    return {**dict.fromkeys(TRUE, True), **dict.fromkeys(FALSE, False)}[text.lower()]


def _one_of(*values: Any) -> Callable[[Any], bool]:
    return lambda value: any(type(one) is type(value) and one == value for one in values)


KINDS = {
    "str": Kind(str, str, _is(str)),
    "int": Kind(int, int, _is(int)),
    "float": Kind(float, lambda text: _finite(float(text)), _is(int, float)),
    "bool": Kind(bool, _bool, _is(bool)),
    "decimal": Kind(Decimal, _decimal, _parses(_decimal, str, int, float)),
    "uuid": Kind(UUID, UUID, _parses(UUID)),
    "date": Kind(datetime.date, datetime.date.fromisoformat, _parses(datetime.date.fromisoformat)),
    "time": Kind(datetime.time, datetime.time.fromisoformat, _parses(datetime.time.fromisoformat)),
    "datetime": Kind(
        datetime.datetime,
        datetime.datetime.fromisoformat,
        _parses(datetime.datetime.fromisoformat),
    ),
    "literal": Kind(Literal["a", 7], _exactly("a", 7), _one_of("a", 7)),
    "optional": Kind(int | None, int, _is(int, type(None))),
    "union": Kind(
        int | UUID | str, _first(int, UUID, str), lambda value: type(value) in (int, str)
    ),
    "new_type": Kind(Key, int, _is(int)),
    "dict": Kind(dict, _exactly(), _is(dict)),
    "color": Kind(
        Color, lambda text: Color(_first(_exactly("red", 7), _bool)(text)), _one_of("red", 7, True)
    ),
}


def _make_app() -> type[App]:
    def handler(annotation: Any) -> Any:
        async def handle(self: Any, value: Any) -> None:
            self.seen = [value]

        handle.__annotations__["value"] = annotation
        return handle

    async def numbers(self: Any, value: list[int]) -> None:
        self.seen = [value]

    async def flags(self: Any, value: Weekday) -> None:
        self.seen = [value]

    numbers.__annotations__["value"] = list[int]
    flags.__annotations__["value"] = Weekday
    body = {name: handler(kind.annotation) for name, kind in KINDS.items()}
    return type("Bound", (App,), {"seen": None, **body, "numbers": numbers, "flags": flags})


Bound: Any = _make_app()
NUMBERS = (b"1", b"-1", b"1e999", b"nan", b"0x1", b"1_0", b" 7 ", b"\xd9\xa3", b"9" * 400, b"1.5")
DATES = (b"2024-02-30", b"2024-01-01T00:00", b"24:00", b"+00:00", b"red", b"a", b"on", b"{")


@target(*NUMBERS, *DATES, b"12345678123456781234567812345678")
def text_value(data: bytes) -> None:
    """A string becomes what Python makes of it, or is a 400, and in a path a 404."""
    given = Input(data)
    name, way = given.pick(sorted(KINDS)), given.number(3)
    text = given.rest().decode("utf-8", "replace")
    app, convert = Bound(), KINDS[name].of_text
    if way == 0:
        response = ask(app, path=f"/{name}", query=b"value=" + quote_plus(text).encode())
    elif way == 1:
        body = b"value=" + quote_plus(text).encode()
        form = {"content-type": "application/x-www-form-urlencoded"}
        response = ask(app, "POST", f"/{name}", headers=form, body=body)
    elif text.strip("/") != text or "/" in text or not text:
        return  # it is no single segment
    else:
        response = ask(app, path=f"/{name}/{text}", raw_path=quote(f"/{name}/{text}").encode())
    refused = 404 if way == 2 else 400
    try:
        expected = convert(text)
    except Exception:
        assert response.status == refused, (response, name, text, app.seen)
        return
    assert response.status == 204, (response, name, text)
    [seen] = app.seen
    assert (seen, type(seen)) == (expected, type(expected)), (seen, expected)


@target(b'"', b"[", b"]", b"{", b"}", b":", b"null", b"true", b"1", b"1.0", b'{"$ne":null}', *DATES)
def json_value(data: bytes) -> None:
    """A JSON value of another type never passes for the one that is annotated."""
    given = Input(data)
    name, value = given.pick(sorted(KINDS)), given.rest()
    try:
        sent = json.loads(value.decode())
        body = json.dumps({"value": sent}, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return
    app = Bound()
    response = ask(app, "POST", f"/{name}", headers=JSON, body=body)
    if _is_extreme(sent):
        assert response.status in (204, 400), response
        return
    fits = KINDS[name].of_json(sent)
    assert response.status == (204 if fits else 400), (response, name, sent, app.seen)
    if fits and name in ("str", "int", "bool", "dict", "literal", "new_type", "optional"):
        assert app.seen == [sent] and type(app.seen[0]) is type(sent)


JSON = {"content-type": "application/json"}


def _is_extreme(value: Any) -> bool:
    """Whether the JSON library decides: large integers, lone surrogates, deep nesting."""
    text = json.dumps(value, ensure_ascii=False)
    large = any(len(run) > 18 for run in "".join(c if c.isdigit() else " " for c in text).split())
    return large or len(text) > 2000 or any("\ud800" <= char <= "\udfff" for char in text)


@target(b"1", b",", b"value=", b"&value=", b"[1,2]", b"[]", b"[true]", b"[1.0]", b"-", b"4")
def list_value(data: bytes) -> None:
    """`list[int]` holds integers alone, and a flag knows its own bits alone."""
    given = Input(data)
    name, way, rest = given.pick(["numbers", "flags"]), given.number(2), given.rest()
    app = Bound()
    if way == 0:
        response = ask(app, path=f"/{name}", query=b"value=" + rest)
    else:
        response = ask(app, "POST", f"/{name}", headers=JSON, body=b'{"value":' + rest + b"}")
    assert response.status in (204, 400, 413), response
    if response.status == 204 and name == "numbers":
        assert all(type(one) is int for one in app.seen[0])
    elif response.status == 204:
        assert 0 <= app.seen[0].value < 4


class Order(pydantic.BaseModel):
    pie: str
    pieces: int = pydantic.Field(ge=1, le=9)
    note: str | None = None

    @pydantic.field_validator("note")
    @classmethod
    def _is_time(cls, note: str | None) -> str | None:
        if note not in ("now", "later", None):
            raise ValueError(f"{note} is no time, nor is {note!r}")
        return note


class Orders(App):
    seen: Any = None

    async def index(self, order: Order) -> None:
        self.seen = order


@target(b'{"pie":"apple","pieces":2}', b"pie=", b"&pieces=", b"note", b":", b"null", b'"', b"{")
def model(data: bytes) -> None:
    """A model is what pydantic makes of the body, and a 400 repeats no value that was sent."""
    given = Input(data)
    is_form, secret = given.number(2), "Geheim!" + given.pick(["", "\r\nset-cookie: a=b"])
    rest = given.rest()
    app = Orders()
    if is_form:
        body = rest + b"&note=" + quote_plus(secret).encode()
        form = {"content-type": "application/x-www-form-urlencoded"}
        response = ask(app, "POST", headers=form, body=body)
    else:
        body = rest.replace(b"@", json.dumps(secret).encode())
        response = ask(app, "POST", headers=JSON, body=body)
        try:
            expected = Order.model_validate_json(body)
        except ValueError:
            expected = None
        assert app.seen == expected
    assert response.status in (204, 400, 413), response
    assert "Geheim!" not in response.text, response.text
    assert response.status != 204 or isinstance(app.seen, Order)
    assert len(response.body) < 6000
