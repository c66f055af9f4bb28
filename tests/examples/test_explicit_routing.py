"""The decorator router that people copy: patterns, converters, methods, WebSockets."""

import re
import time
import uuid
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings, strategies

from micropie import App, HttpMiddleware
from tests import asgi
from tests.examples.loading import load, run

example: Any = load("explicit_routing")
routing: Any = load("explicit_routing", "routing")
USER = uuid.UUID(int=7)
FORM = "application/x-www-form-urlencoded"

pytestmark = pytest.mark.usefixtures("measured")


def answer(app, target, method="GET", **options):
    return run(asgi.request(app, method, target, **options))


@pytest.fixture
def app():
    return example.Root()


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/notes", [{"id": 1, "text": "Buy milk"}]),
        ("/notes/", [{"id": 1, "text": "Buy milk"}]),
        ("/notes/1", {"id": 1, "text": "Buy milk"}),
        ("/notes/0001", {"id": 1, "text": "Buy milk"}),
        ("/users/me", {"user": "that is you"}),
        (f"/users/{USER}", {"user": str(USER)}),
        (f"/users/{str(USER).upper()}", {"user": str(USER)}),
        ("/users/Zoë", {"name": "Zoë"}),
        ("/files/a", {"path": "a"}),
        ("/files/a/b//c.txt", {"path": "a/b//c.txt"}),
        ("/report-2026.csv", {"year": 2026, "kind": "csv"}),
    ],
)
def test_path_finds_its_method_and_arguments(app, target, expected):
    response = answer(app, target)

    assert (response.status, response.json()) == (200, expected)


@pytest.mark.parametrize(("place", "seen"), [(0, None), (1, "_show_note")])
def test_guard_after_the_router_sees_the_handler(app, place, seen):
    names = []

    class Guard(HttpMiddleware):
        async def before_request(self, request):
            names.append(request.route_handler)

    app.middlewares.insert(place, Guard())

    assert answer(app, "/notes/1").status == 200
    assert names == [seen]


def test_encoded_slash_stays_in_its_segment(app):
    for raw, name in (
        (b"/users/a%2Fb", "a/b"),
        (b"/users/a%0Ab", "a\nb"),
        (b"/users/a%252Fb", "a%2Fb"),
    ):
        assert answer(app, unquote(raw), raw_path=raw).json() == {"name": name}
    assert answer(app, "/files/a/b/c", raw_path=b"/files/a%2Fb/c").json() == {"path": "a/b/c"}


NO_ROUTE = """
    /nothing /notes/one /notes/1.5 /notes/1/2 /notes//1 /notes/9 /notes/\u0661
    /users/a/b /files /files/ /report-x.csv /rooms/lobby/1 /_user/7 /_me
"""


@pytest.mark.parametrize("target", [*NO_ROUTE.split(), "/notes/" + "9" * 5000])
def test_path_without_a_route_is_404(app, target):
    assert answer(app, target).status == 404


def test_each_route_has_methods_of_its_own(app):
    added = answer(
        app, "/notes", "POST", body=b'{"text":"Sow"}', headers={"content-type": "application/json"}
    )
    assert (added.status, added.header("location")) == (201, "/notes/2")
    changed = answer(
        app,
        "/notes/2",
        "PUT",
        body=b"text=Reap",
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert changed.json() == {"id": 2, "text": "Reap"}
    assert answer(app, "/notes/2", "DELETE").status == 204
    assert answer(app, "/notes/2").status == 404
    assert answer(app, "/report-7.csv", "POST").json()["year"] == 7


def test_wrong_method_is_405_and_names_the_right_ones(app):
    refused = answer(app, "/notes/1", "PATCH")
    assert (refused.status, refused.header("allow")) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")
    asked = answer(app, "/notes", "OPTIONS")
    assert (asked.status, asked.header("allow"), asked.body) == (
        204,
        "GET, HEAD, OPTIONS, POST",
        b"",
    )


def test_get_includes_head(app):
    response = answer(app, "/notes", "HEAD")

    assert (response.status, response.body) == (200, b"")
    assert response.header("content-length") == str(len(answer(app, "/notes").body))


@pytest.mark.parametrize("path", ["", "/", "/shop", "/shop/"])
def test_home_lists_the_routes(app, path):
    routes = answer(app, path, scope={"root_path": "/shop"}).json()["routes"]

    assert routes[0] == "GET/HEAD /"
    assert "DELETE /notes/{note_id:int}" in routes
    assert "WS /rooms/{room}/{seat:int}" in routes


def test_url_of_a_route_is_below_the_root_path(app):
    json = {"body": b'{"text":"x"}', "headers": {"content-type": "application/json"}}
    added = answer(app, "/notes", "POST", scope={"root_path": "/sh\u00f6p"}, **json)

    assert added.header("location") == "/sh%C3%B6p/notes/2"


@pytest.mark.parametrize("path", ["/shop/notes/1", "/notes/1"])
def test_path_is_found_with_or_without_the_root_path_before_it(app, path):
    assert answer(app, path, scope={"root_path": "/shop"}).json()["id"] == 1


async def test_websocket_gets_its_parameters(app):
    async with asgi.websocket(app, "/rooms/lobby/3") as ws:
        await ws.send_text("hello")
        assert await ws.receive() == '{"room":"lobby","seat":3,"message":"hello"}'


@pytest.mark.parametrize("path", ["/rooms/lobby/x", "/rooms/lobby", "/notes", "/_room/lobby/1"])
async def test_websocket_without_a_route_is_refused(app, path):
    async with asgi.websocket(app, path) as ws:
        assert ws.rejected


def test_names_and_routes_live_side_by_side():
    class Mixed(routing.RoutedApp):
        async def plain(self, word="none"):
            return word

        @routing.patch("/{anything:path}/end")
        @routing.post("/other")
        async def _other(self, anything="nothing"):
            return anything

    with pytest.raises(TypeError, match="_other must take anything first"):

        class Wrong(routing.RoutedApp):
            @routing.patch("/{anything:path}")
            async def _other(self, something):
                return something

    app = Mixed()
    assert answer(app, "/plain/x").text == "x"
    assert answer(app, "/other", "POST").text == "nothing"
    assert answer(app, "/a/b/end", "PATCH").text == "a/b"
    assert answer(app, "/end", "PATCH").status == 404


def test_more_exact_route_is_used_in_any_order_of_declaration():
    class Ordered(routing.RoutedApp):
        @routing.get("/{rest:path}")
        async def _rest(self, rest):
            return "path"

        @routing.get("/{name}")
        async def _name(self, name):
            return "name"

        @routing.get("/{number:int}")
        async def _number(self, number):
            return "int"

        @routing.get("/7")
        async def _seven(self):
            return "literal"

    found = [answer(Ordered(), target).text for target in ("/7", "/8", "/x", "/x/y")]

    assert found == ["literal", "int", "name", "path"]


MATCHES = {
    ("/{first}-{last}.csv", "/a-b-c.csv"): ["a", "b-c"],
    ("/{first}-{last}.csv", "/a--.csv"): ["a", "-"],
    ("/{first}-{last}.csv", "/-b.csv"): None,
    ("/{first}-{last}.csv", "/a-b.csv.txt"): None,
    ("/{a}-{b}-{c}", "/1-2-3-4"): ["1", "2", "3-4"],
    ("/{a}aa{b}", "/baab"): ["b", "b"],
    ("/{a}aa{b}", "/bab"): None,
    ("/x{a}", "/x"): None,
    ("/{a}x", "/x"): None,
    ("/{name}-{year:int}.csv", "/a-2026.csv"): ["a", 2026],
    ("/{name}-{year:int}.csv", "/a--5.csv"): ["a", -5],
    ("/{name}-{year:int}.csv", "/a-b.csv"): None,
    ("/{number:int}-{name}", "/7-a-b"): [7, "a-b"],
    ("/{number:int}-{id:uuid}", f"/-7-{USER}"): [-7, USER],
    ("/{id:uuid}.{kind}", f"/{USER}.tar.gz"): [USER, "tar.gz"],
    ("/{north:float},{east:float}", "/52.5,-13.25"): [52.5, -13.25],
    ("/{north:float},{east:float}", "/52.5,-"): None,
    ("/{a}.{b}/{rest:path}/{c:int}-{d}", "/x.y.z/1/2//3/4-5-6"): ["x", "y.z", "1/2//3", 4, "5-6"],
    ("/{a}\n{b}", "/x\n\ny"): ["x", "\ny"],
}


@pytest.mark.parametrize(("pattern", "path"), MATCHES)
def test_parameters_that_are_parts_of_a_segment(pattern, path):
    names = re.findall(r"\{(\w+)", pattern)
    space: dict[str, Any] = {}
    exec(f"async def _show(self, {', '.join(names)}): ...", space)
    made = routing._make_route(pattern, ["GET"], space["_show"])

    assert made.match(path) == MATCHES[pattern, path]


@settings(deadline=None)
@given(data=strategies.data())
def test_segments_match_what_a_plain_expression_does(data):
    between = strategies.sampled_from(["-", "--", ".", "a", "-a"])
    texts = data.draw(strategies.lists(between, min_size=1, max_size=4))
    kinds = [data.draw(strategies.sampled_from(["str", "int"])) for _ in texts[1:]]
    pattern, plain = texts[0], re.escape(texts[0])
    for number, (kind, text) in enumerate(zip(kinds, texts[1:], strict=True)):
        pattern += f"{{p{number}:{kind}}}{text}"
        expression = routing.CONVERTERS["int"][0]
        other = f"[^/{re.escape(text[0])}]+"
        plain += f"(?P<p{number}>(?>{expression}))" if kind == "int" else f"(?P<p{number}>{other})"
        plain += re.escape(text)
    path = data.draw(strategies.text("-.a01", max_size=12))
    expected = re.fullmatch("/" + plain, "/" + path)
    found = routing._expression("/" + pattern).fullmatch("/" + path)

    assert (found and found.groupdict()) == (expected and expected.groupdict())


@pytest.mark.parametrize(
    "pattern",
    [
        "/{a}-{b}.csv",
        "/{a}-{b}-{c}-{d}x",
        "/{a}-{b:int}-{c}x",
        "/{a}1{b:int}x",
        "/{a:float},{b:float}x",
        "/{a:path}/{b}-{c}x",
    ],
)
@pytest.mark.parametrize("unit", ["-", "1", "-1", "1-", "-1-", "/", "/-", ","])
def test_matching_is_linear_in_the_length_of_the_path(pattern, unit):
    names = re.findall(r"\{(\w+)", pattern)
    space: dict[str, Any] = {}
    exec(f"async def _show(self, {', '.join(names)}): ...", space)
    made = routing._make_route(pattern, ["GET"], space["_show"])

    def least(length):
        took = []
        for _ in range(5):
            began = time.process_time()
            made.match("/" + unit * (length // len(unit)))
            took.append(time.process_time() - began)
        return min(took)

    # Eight times the length takes eight times as long; quadratic work would take 64 times.
    assert least(32_000) <= 24 * max(least(4000), 0.0005)


def test_mounted_app_keeps_its_paths():
    class Child(App):
        async def index(self):
            return "child"

    class Parent(routing.RoutedApp):
        @routing.get("/{rest:path}")
        async def _rest(self, rest):
            return rest

    app = Parent()
    app.mounts["/child"] = Child()
    assert answer(app, "/child", "POST").text == "child"
    assert answer(app, "/children").text == "children"


def test_routes_are_inherited_and_overridden():
    class Custom(example.Root):
        @routing.get("/users/me")
        async def _me(self):
            return "overridden"

        @routing.get("/more")
        async def _more(self):
            return [self._url_for("_user", user_id=USER), self._url_for("_file", path="a/b c")]

    assert answer(Custom(), "/users/me").text == "overridden"
    assert answer(Custom(), "/notes/1").status == 200
    assert answer(Custom(), "/more").json() == [f"/users/{USER}", "/files/a/b%20c"]


def test_url_for_without_a_route_raises_lookup_error(app):
    with pytest.raises(LookupError, match="no route leads to _user with \\['name'\\]"):
        app._url_for("_user", name="x")


def test_converter_of_your_own():
    routing.CONVERTERS["hex"] = ("[0-9a-f]+", lambda text: int(text, 16))
    try:

        class Hex(routing.RoutedApp):
            @routing.get("/{number:hex}")
            async def _number(self, number):
                return number

        assert answer(Hex(), "/ff").json() == 255
        assert answer(Hex(), "/fg").status == 404
        # Not all that fits the pattern has a value.
        routing.CONVERTERS["hex"] = ("[0-9a-f]+", lambda text: int(text, 10))
        assert answer(Hex(), "/ff").status == 404
    finally:
        del routing.CONVERTERS["hex"]


async def _handler(self, a, b=None):
    return a, b


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("notes", "starts with a slash"),
        ("/{a:number}", "a kind is one of ['float', 'int', 'path', 'str', 'uuid']"),
        ("/{a}-{a}", "a name stands twice"),
        ("/{a}/{a}", "a name stands twice"),
        ("/{a:path}/{b:path}", "{name:path} stands twice"),
        ("/x{a:path}", "a segment of its own"),
        ("/{a b}", "a parameter is {name}"),
        ("/{a}/{", "a parameter is {name}"),
        ("/{a}{b}", "text between two parameters: '/{a}{b}'"),
        ("/{a:int}{b:int}", "text between two parameters"),
        ("/{a:int}0", "takes the digit after it too"),
        ("/{a:float}5-{b}", "takes the digit after it too"),
        ("/search?q={a}", "a path alone"),
        ("/{a}#top", "a path alone"),
    ],
)
def test_malformed_pattern_is_refused_when_it_is_declared(pattern, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        routing.get(pattern)(_handler)


def test_public_method_and_methods_as_a_string_are_refused():
    async def show(self):
        return ""

    with pytest.raises(TypeError, match="must be called _show"):
        routing.get("/show")(show)
    with pytest.raises(TypeError, match=r"\['GET'\]"):
        routing.route("/", methods="GET")
    for wrong in ([], [""], ["GET, POST"], ["GÉT"]):
        with pytest.raises(ValueError, match="name one HTTP method or more"):
            routing.route("/", methods=wrong)


def test_two_methods_with_one_route_are_refused():
    with pytest.raises(ValueError, match="_second have the same route"):

        class Twice(routing.RoutedApp):
            @routing.get("/users/{a}")
            async def _first(self, a):
                return a

            @routing.route("/users/{b}", methods=["POST", "GET"])
            async def _second(self, b):
                return b
