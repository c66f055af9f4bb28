"""Models of pydantic, msgspec and attrs: whole bodies that come in, and JSON that goes out.

The tests of JSON that goes out use the framework with orjson, and a copy of it that finds none.
"""

import dataclasses
import datetime
import json
import sys
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType

import attrs
import msgspec
import pydantic
import pytest

import micropie
from micropie import App
from tests.asgi import Part, assert_logged_500, encode_multipart, get, post, websocket
from tests.noting import Note

MISSING = "400 Bad Request: Missing required parameter 'item'"
FORM = {"content-type": "application/x-www-form-urlencoded"}
SECRET = "value-of-the-client"


# --- In -------------------------------------------------------------------------------------------


class Item(pydantic.BaseModel):
    name: str
    price: float = 1.0
    tags: list[str] = []


Posted = NewType("Posted", Item)


class Code(pydantic.BaseModel):
    code: str

    @pydantic.field_validator("code")
    @classmethod
    def check(cls, value):
        raise ValueError(f"{value} is\nno code")


class Mixed(pydantic.BaseModel):
    data: int | float | bool


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


class Pet(pydantic.BaseModel):
    pet: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]


class Numbers(pydantic.RootModel[list[int]]):
    pass


class Plain:
    """Offers `model_validate` alone, and raises an error without `errors`."""

    def __init__(self, data):
        self.data = data

    @classmethod
    def model_validate(cls, data):
        if "name" not in data:
            raise ValueError("a name, please")
        return cls(data)


class Shop(App):
    async def create(self, item: Item):
        return item

    async def maybe(self, item: Item | None):
        return [item]

    async def default(self, item: Item | None = None, note="-"):
        return [item, note]

    def plain(self, item: Annotated[Plain, "any"]):
        return item.data

    async def renamed(self, item: Posted):
        return item

    async def code(self, item: Code):
        return item

    async def pet(self, item: Pet):
        return item

    async def mixed(self, item: Mixed):
        return item

    async def numbers(self, item: Numbers):
        return item

    async def both(self, number: int, item: Item, plain: Plain, *, name: str = "-", **rest):
        return [number, item, plain.data, name, sorted(rest)]


@pytest.mark.parametrize("path", ["create", "renamed"])
async def test_a_model_takes_the_whole_json_body(path):
    response = await post(Shop(), f"/{path}", json={"name": "pie", "price": 2})
    assert response.json() == {"name": "pie", "price": 2.0, "tags": []}
    headers = {"content-type": "application/problem+json"}
    response = await post(Shop(), f"/{path}", body=b'{"name": "pie"}', headers=headers)
    assert response.status == 200


async def test_a_model_takes_no_path_segment_query_or_session_value():
    assert (await get(Shop(), "/create/pie")).status == 404
    assert (await get(Shop(), "/create?item=pie&name=pie")).text == MISSING
    response = await post(Shop(), "/create", json={"item": {"name": "pie"}})
    assert "name: Field required" in response.text


async def test_a_model_comes_beside_other_parameters_and_each_gets_the_whole_body():
    data = {"name": "pie", "price": 2}
    response = await post(Shop(), "/both/7?page=2", json=data)
    item = {"name": "pie", "price": 2.0, "tags": []}
    assert response.json() == [7, item, data, "pie", ["page", "price"]]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"body": b"", "headers": {"content-type": "application/json"}},
        {"body": b"", "headers": FORM},
        {"body": b'{"name": "pie"}', "headers": {"content-type": "text/plain"}},
    ],
)
async def test_a_model_without_a_body_is_missing(options):
    for path in ("/create", "/maybe", "/plain"):
        assert (await post(Shop(), path, **options)).text == MISSING
    assert (await post(Shop(), "/default", **options)).json() == [None, "-"]


async def test_null_is_a_model_or_none():
    assert (await post(Shop(), "/maybe", json=None)).json() == [None]
    assert (await post(Shop(), "/create", json=None)).status == 400


@pytest.mark.parametrize("body", [b"{", b'{"name": "pie", "price": NaN}', b'{"name": "\xff"}'])
async def test_bad_json_is_400_before_a_model_sees_it(body):
    headers = {"content-type": "application/json"}
    response = await post(Shop(), "/create", body=body, headers=headers)
    assert (response.status, response.text) == (400, "400 Bad Request: Invalid JSON")


async def test_of_a_form_a_model_gets_strings_and_lists_and_no_files():
    text = "name=pie&tags=a&tags=b&price=1.5"
    response = await post(Shop(), "/create", body=text.encode(), headers=FORM)
    assert response.json() == {"name": "pie", "price": 1.5, "tags": ["a", "b"]}
    fields: list[Part] = [
        ("name", "pie"),
        ("file", "a.txt", "text/plain", b"a"),
        ("x", ""),
        ("x", "1"),
    ]
    response = await post(Shop(), "/plain", multipart=fields)
    assert response.json() == {"name": "pie", "x": ["", "1"]}
    response = await post(Shop(), "/plain", multipart=[("file", "a.txt", "text/plain", b"a")])
    assert response.text == "400 Bad Request: Parameter 'item' is not valid"
    assert encode_multipart(fields)


async def test_a_file_does_not_reach_a_handler_before_the_model_is_there():
    class Upload(App):
        async def add(self, item: Item, file: micropie.UploadedFile):
            return [item.name, (await file.read()).decode()]

    name: Part = ("name", "pie")
    file: Part = ("file", "a.txt", "text/plain", b"content")
    for parts in ([file, name], [name, file]):
        assert (await post(Upload(), "/add", multipart=parts)).json() == ["pie", "content"]


async def test_the_400_of_a_model_has_a_line_for_each_error_and_no_value_that_was_sent():
    response = await post(Shop(), "/create", json={"price": SECRET, "tags": [1]})
    head, *lines = response.text.split("\n")
    assert (response.status, head) == (400, "400 Bad Request: Parameter 'item' is not valid")
    assert [line.partition(":")[0] for line in lines] == ["name", "price", "tags.0"]
    assert "valid number" in lines[1]
    for path, data in (
        ("/code", {"code": SECRET}),
        ("/pet", {"pet": {"kind": SECRET}}),
        ("/numbers", [SECRET]),
        ("/numbers", SECRET),
    ):
        response = await post(Shop(), path, json=data)
        assert (response.status, SECRET in response.text) == (400, False)
        assert response.text.count("\n") == 1
    assert response.text.split("\n")[1].startswith("item: ")


async def test_the_400_of_a_model_is_short():
    response = await post(Shop(), "/numbers", json=["x"] * 25)
    lines = response.text.split("\n")
    assert (len(lines), lines[-1]) == (22, "5 more")
    response = await post(Shop(), "/numbers", json=["x"] * 20)
    assert len(response.text.split("\n")) == 21
    # To list so many errors, or to compare messages with so large a value, would hold up all other
    # requests.
    response = await post(Shop(), "/numbers", json=["x"] * 5000)
    assert response.text.split("\n")[1:] == ["5000 more"]
    for size, last in ((10_000, "data.bool: "), (1_000_000, "3 more")):
        response = await post(Shop(), "/mixed", json={"data": ["1" * size]})
        assert response.text.split("\n")[-1].startswith(last)

    class Exact(Item):
        model_config = pydantic.ConfigDict(extra="forbid")

    class Root(App):
        async def index(self, item: Exact):
            return item

    response = await post(Root(), "/", json={"name": "a", "x\r\ny\x00" + "z" * 500: 1})
    assert response.text.split("\n")[1] == "x  y " + "z" * 195


@pytest.mark.parametrize("errors", [["a list"], lambda: [1], lambda: [{"msg": "no place"}], None])
async def test_errors_of_another_form_are_left_out(errors):
    class Odd(Plain):
        @classmethod
        def model_validate(cls, data):
            error = ValueError(SECRET)
            error.errors = errors  # type: ignore[attr-defined]
            raise error

    class Root(App):
        async def index(self, item: Odd):
            return item

    response = await post(Root(), "/", json={"name": "pie"})
    text = "400 Bad Request: Parameter 'item' is not valid"
    assert (response.status, response.text) == (400, text)


async def test_another_error_of_a_model_is_a_logged_500(caplog):
    class Broken(Plain):
        @classmethod
        def model_validate(cls, data):
            raise TypeError("broken")

    class Root(App):
        async def index(self, item: Broken):
            return item

    assert_logged_500(await post(Root(), "/", json={"name": "pie"}), caplog)


def listed(self, item: list[Item]): ...
def one_of(self, item: Item | Plain): ...
def or_text(self, item: Item | str): ...
def by_name(self, item: dict[str, Item]): ...
def path_only(self, item: Item, /): ...
def star(self, *item: Item): ...
def rest(self, **item: Item): ...


@pytest.mark.parametrize("function", [listed, one_of, or_text, by_name, path_only, star, rest])
async def test_a_model_elsewhere_is_a_logged_500(function, caplog):
    app = type("Root", (App,), {"handler": function, "__module__": __name__})()
    assert_logged_500(await post(app, "/handler", json={"name": "pie"}), caplog)
    assert f"TypeError: {function.__name__}: parameter 'item'" in caplog.text


async def test_a_model_in_a_websocket_handler_is_a_logged_refusal(caplog):
    class Root(App):
        async def ws_index(self, ws, item: Item | None = None):
            await ws.accept()

    async with websocket(Root(), "/") as ws:
        assert ws.rejected == 1011
    assert "parameter 'item'" in caplog.text


# --- Out ------------------------------------------------------------------------------------------


async def answered(module: Any, answer):
    class Root(module.App):
        async def index(self):
            return answer

    return await get(Root())


DAY = datetime.date(2024, 2, 29)


class Model(pydantic.BaseModel):
    day: datetime.date = DAY
    inner: Any = None
    password: pydantic.SecretStr = pydantic.SecretStr(SECRET)


class Struct(msgspec.Struct, rename="camel", tag="struct"):
    the_day: datetime.date = DAY
    inner: Any = None
    unset: Any = msgspec.UNSET


@attrs.define
class Attrs:
    day: datetime.date = DAY
    inner: Any = None
    price: Decimal = Decimal("1.10")


@attrs.frozen
class Empty:
    pass


@dataclasses.dataclass
class Data:
    day: datetime.date = DAY
    inner: Any = None


DUMPED = {"day": "2024-02-29", "inner": None, "password": "**********"}
STRUCT = {"type": "struct", "theDay": "2024-02-29", "inner": None}
ATTRS = {"day": "2024-02-29", "inner": None, "price": "1.10"}
DATA = {"day": "2024-02-29", "inner": None}
KINDS: list[tuple[Any, dict[str, Any]]] = [
    (Model, DUMPED),
    (Struct, STRUCT),
    (Attrs, ATTRS),
    (Data, DATA),
]


@pytest.mark.parametrize(("kind", "expected"), KINDS)
async def test_a_model_becomes_json_at_any_depth(module, kind, expected):
    assert (await answered(module, kind())).json() == expected
    response = await answered(module, (201, {"all": [(kind(), Empty())]}))
    assert (response.status, response.header("content-type")) == (201, "application/json")
    assert response.json() == {"all": [[expected, {}]]}
    for outer, dumped in KINDS:
        response = await answered(module, outer(inner=[{"a": kind()}]))
        assert response.json() == {**dumped, "inner": [{"a": expected}]}


async def test_a_model_becomes_json_in_events_messages_and_errors(module: Any):
    class Root(module.App):
        async def events(self):
            return module.event_stream(iter([Model(), module.ServerSentEvent(Struct()), [Attrs()]]))

        async def error(self):
            raise module.HTTPError(409, Struct(inner=Model()))

        async def ws_index(self, ws):
            await ws.accept()
            await ws.send_json([Model(inner=Attrs())])

    events = (await get(Root(), "/events")).text.split("\n\n")
    found = [json.loads(event.removeprefix("data: ")) for event in events if event]
    assert found == [DUMPED, STRUCT, [ATTRS]]
    response = await get(Root(), "/error")
    assert (response.status, response.json()) == (409, {**STRUCT, "inner": DUMPED})
    async with websocket(Root(), "/") as ws:
        assert await ws.receive_json() == [{**DUMPED, "inner": ATTRS}]


async def test_a_middleware_can_answer_with_a_model():
    class Root(App):
        async def index(self):
            return "never"

    app = Root()
    app.middlewares.append(Note([], before=lambda request: {"status_code": 403, "body": Model()}))
    response = await get(app)
    assert (response.status, response.json()) == (403, DUMPED)


@pytest.mark.parametrize(
    "value",
    [Model, [Struct], {"a": Attrs}, Data, Model(inner=object()), Struct(inner=object())],
)
async def test_a_class_and_what_a_model_cannot_say_are_a_logged_500(module, value, caplog):
    assert_logged_500(await answered(module, value), caplog)


async def test_a_model_without_a_fallback_is_dumped_too():
    class Old:
        def model_dump(self, mode="python"):
            return {"mode": mode}

    class Root(App):
        async def index(self):
            return Old()

    assert (await get(Root())).json() == {"mode": "json"}


def test_the_module_imports_no_package_of_models():
    code = (
        "import sys, micropie; print({'pydantic', 'msgspec', 'attr', 'attrs'} & set(sys.modules))"
    )
    import subprocess

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
