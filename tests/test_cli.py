"""`python -m micropie routes app:app`: the URLs of an app, printed."""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import micropie

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

    async def account(self, user_id: FromSession, picture: UploadedFile, friend: FromSession | None = None):
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
    ("HTTP", "/buy"): ("POST, PUT", "(item: UUID, *, count: int = 1)"),
    ("HTTP", "/decorated"): ("any", "(number: float)"),
    ("HTTP", "/kind"): ("any", "(name: str)"),
    ("HTTP", "/ping"): ("any", "()"),
    ("HTTP", "/search"): ("GET, HEAD", "(text, /, page: int | None = None, *rest, **options)"),
    ("WebSocket", "/"): ("-", "()"),
    ("WebSocket", "/room"): ("-", "(name: str, *, old: bool = False)"),
}
ACCOUNT = ("HTTP", "/account")  # its annotations have no short spelling

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with an app the current one; forget afterwards what was imported from it."""
    path = tmp_path / "shop.py"
    path.write_text(SHOP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.setitem(sys.modules, "shop", None)
    del sys.modules["shop"]
    return path


@pytest.fixture
def command(shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs `python -m micropie` in this process: exit status, standard output, errors."""

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
    assert "user_id" in parameters
    assert "picture: UploadedFile" in parameters
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
    assert rows["HTTP", "/buy"][1].endswith("*, count: int = 1)")
    assert "object at 0x" not in rows[ACCOUNT][1]


def test_app_can_have_another_name_and_app_is_the_default(command):
    _, out, _ = command("routes", "shop:other")
    assert command("routes", "shop") == (0, out, "")


def test_app_without_handlers_prints_the_heading_alone(command, shop):
    shop.write_text("from micropie import App\napp = App()\n")
    code, out, _ = command("routes", "shop:app")
    assert code == 0
    assert table(out) == {}


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
