"""`routes(app)`: the URLs of an app; and `python -m micropie routes app:app`, which prints them."""

import functools
import inspect
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

import micropie
from micropie import App, FromSession, Route, UploadedFile, methods, routes

SHOP = """\
from __future__ import annotations

import functools
from uuid import UUID

import micropie
from micropie import App, FromSession, UploadedFile, methods


def checked(function):
    @functools.wraps(function)
    async def wrapper(self, *args, **kwargs):
        return await function(self, *args, **kwargs)

    return wrapper


class Mixin:
    async def ping(self):
        return "pong"


class Shop(App, Mixin):
    secret = "not a page"

    def __init__(self):
        super().__init__()

    async def index(self):
        return "shop"

    @methods("POST", "PUT")
    def buy(self, item: UUID, *, count: int = 1):
        return "bought"

    @methods("GET")
    async def search(self, text, /, page: int | None = None, *rest, **options):
        return "found"

    @staticmethod
    async def about_us():
        return "about"

    @classmethod
    async def kind(cls, name: str):
        return "kind"

    @checked
    async def decorated(self, number: float):
        return "decorated"

    async def account(
        self, user_id: FromSession, picture: UploadedFile, friend: FromSession | None = None
    ):
        return "account"

    async def _private(self):
        return "private"

    @property
    def computed(self):
        raise AssertionError("read")

    async def ws_index(self, ws):
        await ws.accept()

    async def ws_room(self, ws, name: str, *, old: bool = False):
        await ws.accept()

    async def ws__private(self, ws):
        await ws.accept()


app = other = Shop()
nothing = None


def factory():
    return Shop()
"""

EXPECTED = {
    ("HTTP", "/"): ("any", "()"),
    ("HTTP", "/about_us"): ("any", "()"),
    ("HTTP", "/buy"): ("POST, PUT", "(item: uuid.UUID, count: int = 1)"),
    ("HTTP", "/decorated"): ("any", "(number: float)"),
    ("HTTP", "/kind"): ("any", "(name: str)"),
    ("HTTP", "/ping"): ("any", "()"),
    ("HTTP", "/search"): ("GET, HEAD", "(text, page: int | None = None, *rest, **options)"),
    ("WebSocket", "/"): ("-", "()"),
    ("WebSocket", "/room"): ("-", "(name: str, old: bool = False)"),
}
ACCOUNT = ("HTTP", "/account")  # some of its annotations have no short spelling

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with an app the current one; forget afterwards what was imported from it."""
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *filter(None, sys.path)])  # as `-m` does
    monkeypatch.setitem(sys.modules, "shop", None)
    del sys.modules["shop"]
    return path


@pytest.fixture
def command(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return a function that runs `python -m micropie` here: exit status, output, errors."""

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["micropie", *arguments])
        with pytest.raises(SystemExit) as exit_status:
            runpy.run_module("micropie", run_name="__main__")
        captured = capsys.readouterr()
        code = exit_status.value.code
        if isinstance(code, str):  # sys.exit() with a message prints it and means 1
            return 1, captured.out, captured.err + code
        return code or 0, captured.out, captured.err

    return call


def table(output: str) -> dict[tuple[str, str], tuple[str, str, str]]:
    """Return the lines under the heading, by protocol and path: methods, parameters, file:line."""
    _, *lines = output.splitlines()
    rows = {}
    for line in lines:
        path, methods, parameters, protocol, source = re.split(r"\s{2,}", line)
        assert (protocol, path) not in rows
        rows[protocol, path] = (methods, parameters, source)
    return rows


def test_routes_prints_each_url_once_with_its_methods_and_parameters(command):
    code, out, err = command("routes", "shop:app")
    assert (code, err) == (0, "")
    rows = table(out)
    assert rows.keys() == EXPECTED.keys() | {ACCOUNT}
    for key, expected in EXPECTED.items():
        assert rows[key][:2] == expected
    methods, parameters, _ = rows[ACCOUNT]
    assert methods == "any"
    assert parameters.startswith("(user_id: FromSession, picture: UploadedFile, friend: ")
    assert parameters.endswith(" = None)")
    assert "object at 0x" not in parameters


def test_each_row_names_file_and_line_of_the_handler(command, shop):
    lines = shop.read_text().splitlines()
    for (protocol, path), (_, _, source) in table(command("routes", "shop:app")[1]).items():
        name = path.strip("/") or "index"
        file, _, number = source.rpartition(":")
        assert file == "shop.py"
        here = lines[int(number) - 1 : int(number) + 1]  # the first line may be the decorator's
        prefix = "ws_" if protocol == "WebSocket" else ""
        assert any(f"def {prefix}{name}(" in line for line in here), (source, name)


def test_annotations_that_are_not_strings_are_printed_alike(command, shop):
    shop.write_text(SHOP.replace("from __future__ import annotations\n", ""))
    rows = table(command("routes", "shop:app")[1])
    assert rows["HTTP", "/search"][1] == EXPECTED["HTTP", "/search"][1]
    assert rows["HTTP", "/buy"][1] == EXPECTED["HTTP", "/buy"][1]
    assert "object at 0x" not in rows[ACCOUNT][1]


def test_app_can_have_another_name_and_app_is_the_default(command):
    _, out, _ = command("routes", "shop:other")
    assert command("routes", "shop") == (0, out, "")


def test_app_without_handlers_prints_the_heading_alone(command, shop):
    shop.write_text("from micropie import App\napp = App()\n")
    code, out, _ = command("routes", "shop:app")
    assert code == 0
    assert table(out) == {}


def test_routes_below_a_mount_are_printed_with_its_prefix(command, shop):
    mounts = """
def files(scope, receive, send): ...

class Api(App):
    async def items(self, page: int = 1): ...
    async def ws_news(self, ws): ...

app.mounts["/api"] = Api()
app.mounts["/files"] = files
"""
    shop.write_text(SHOP + mounts)
    code, out, _ = command("routes", "shop:app")
    assert code == 0
    lines = {tuple(re.split(r"\s{2,}", line)[:4]) for line in out.splitlines()}
    assert ("/api/items", "any", "(page: int = 1)", "HTTP") in lines
    assert ("/api/news", "-", "()", "WebSocket") in lines
    assert ("/files/", "any", "()", "HTTP") in lines


USAGE = "python -m micropie routes"
WRONG = dict.fromkeys(["", "routes", "serve shop:app", "routes shop:app more"], USAGE)
NO_APPS = ["missing", "nothing", "Shop", "factory", "checked"]
WRONG |= {f"routes shop:{name}": f"shop:{name}" for name in NO_APPS}


@pytest.mark.parametrize(("arguments", "error"), WRONG.items())
def test_wrong_command_line_prints_usage_and_a_name_of_no_app_an_error(command, arguments, error):
    code, out, err = command(*arguments.split())
    assert code != 0
    assert out == ""
    assert error in err


def test_command_works_in_a_process_of_its_own(shop):
    env = {"PYTHONPATH": str(Path(micropie.__file__).parent)}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        python = [sys.executable, "-m", "micropie", *arguments]
        return subprocess.run(python, cwd=shop.parent, env=env, capture_output=True, text=True)

    done = call("routes", "shop:app")
    assert (done.returncode, done.stderr) == (0, "")
    assert table(done.stdout).keys() == EXPECTED.keys() | {ACCOUNT}

    missing = call("routes", "no_such_module:app")
    assert missing.returncode != 0
    assert "no_such_module" in missing.stderr


# --- routes(app) ----------------------------------------------------------------------------------

EMPTY = inspect.Parameter.empty


def passes_on(function):
    @functools.wraps(function)
    async def wrapper(self, *args, **kwargs):
        return await function(self, *args, **kwargs)

    return wrapper


class Mixin:
    async def ping(self): ...


class Site(App, Mixin):
    data = {"a": 1}

    async def index(self, page: int = 1, *, tags: "list[str] | None" = None): ...

    @methods("POST", "PUT")
    def buy(self, item: UUID, *rest: int, **options): ...

    @methods("GET")
    @passes_on
    async def show(
        self,
        ws: "Nowhere",  # type: ignore[name-defined]  # noqa: F821
        user_id: FromSession,
        file: UploadedFile,
    ): ...

    @staticmethod
    async def fixed(number: float): ...

    @classmethod
    async def of_class(cls, number, /): ...

    async def _private(self): ...

    async def ws_index(self, ws): ...

    async def ws_room(self, ws, name: str, old=False): ...

    async def ws__private(self, ws): ...


def listed(app: App) -> dict[tuple[str, str], Route]:
    """Return the routes by protocol and path, each of which is there once."""
    found = routes(app)
    by_path = {(route.protocol, route.path): route for route in found}
    assert len(found) == len(by_path)
    return by_path


def test_routes_are_sorted_by_path_http_before_websocket_and_index_is_there_once():
    assert [(route.protocol, route.path, route.handler) for route in routes(Site())] == [
        ("http", "/", "Site.index"),
        ("http", "/buy", "Site.buy"),
        ("http", "/fixed", "Site.fixed"),
        ("http", "/of_class", "Site.of_class"),
        ("http", "/ping", "Site.ping"),
        ("http", "/show", "Site.show"),
        ("websocket", "/", "Site.ws_index"),
        ("websocket", "/room", "Site.ws_room"),
    ]


@pytest.mark.parametrize(
    ("protocol", "path", "allowed", "parameters"),
    [
        ("http", "/", None, (("page", int, 1), ("tags", list[str] | None, None))),
        (
            "http",
            "/buy",
            ("POST", "PUT"),
            (("item", UUID, EMPTY), ("*rest", int, EMPTY), ("**options", EMPTY, EMPTY)),
        ),
        ("http", "/fixed", None, (("number", float, EMPTY),)),
        ("http", "/of_class", None, (("number", EMPTY, EMPTY),)),
        ("http", "/ping", None, ()),
        # An annotation that cannot be resolved stays a string.
        (
            "http",
            "/show",
            ("GET", "HEAD"),
            (
                ("ws", "Nowhere", EMPTY),
                ("user_id", FromSession, EMPTY),
                ("file", UploadedFile, EMPTY),
            ),
        ),
        ("websocket", "/", None, ()),
        ("websocket", "/room", None, (("name", str, EMPTY), ("old", EMPTY, False))),
    ],
)
def test_a_route_has_methods_and_parameters_with_annotations_and_defaults(
    protocol: str, path: str, allowed: tuple[str, ...] | None, parameters: tuple[Any, ...]
) -> None:
    route = listed(Site())[protocol, path]
    assert (route.methods, route.parameters) == (allowed, parameters)


def test_the_source_of_a_route_is_the_file_and_line_of_its_handler():
    lines = Path(__file__).read_text().splitlines()
    for route in routes(Site()):
        file, _, number = route.source.rpartition(":")
        assert Path(file).resolve() == Path(__file__).resolve()
        here = lines[int(number) - 1 : int(number) + 2]  # the first lines may be decorators
        assert any(f"def {route.handler.removeprefix('Site.')}(" in line for line in here)


def test_the_source_of_a_route_elsewhere_is_a_whole_path(tmp_path, monkeypatch):
    """Windows has no relative path from one drive to another."""
    monkeypatch.chdir(tmp_path)
    for route in routes(Site()):
        assert route.source.rpartition(":")[0] == __file__


def test_routes_of_mounts_come_last_with_their_prefixes_at_any_depth():
    def files(scope, receive, send): ...

    class Folder:
        async def __call__(self, scope, receive, send): ...

    class Api(App):
        async def items(self, page: int = 1): ...
        async def ws_news(self, ws): ...

    site, api = Site(), Api()
    api.mounts = {"/old": files}
    site.mounts = {"/api/": api, "/files": files, "/folder": Folder()}
    below = routes(site)[len(routes(Site())) :]
    name = "test_routes_of_mounts_come_last_with_their_prefixes_at_any_depth.<locals>"
    assert [(route.protocol, route.path, route.handler) for route in below] == [
        ("http", "/api/items", "Api.items"),
        ("websocket", "/api/news", "Api.ws_news"),
        ("http", "/api/old/", f"{name}.files"),
        ("http", "/files/", f"{name}.files"),
        ("http", "/folder/", "Folder"),
    ]
    assert below[0].parameters == (("page", int, 1),)
    assert below[3][2:] == (None, (), f"{name}.files", "")


def test_an_app_without_handlers_has_no_routes():
    assert routes(App()) == []


def test_a_handler_around_a_partial_has_no_source() -> None:
    def wrapped(function: Any) -> Any:
        partial = functools.partial(function)
        return functools.wraps(partial)(lambda self: partial(self))

    class Root(App):
        page = wrapped(lambda self: "page")

    assert [(route.path, route.source) for route in routes(Root())] == [("/page", "")]
