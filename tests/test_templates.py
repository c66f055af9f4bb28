"""Templates: where they are found, what is escaped, and what happens without jinja2."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import micropie
from micropie import App
from tests.asgi import assert_logged_500, get, logged

APP = """
from micropie import App

class Base(App):
    async def index(self, page="page.html"):
        return await self._render_template(page, name="<Ann>")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for a site, with the process working in another one."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "site").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "site"


def write(folder: Path, **pages: str) -> None:
    """Write `name__html="..."` as `folder/templates/name.html`."""
    (folder / "templates").mkdir(exist_ok=True)
    for name, text in pages.items():
        (folder / "templates" / name.replace("__", ".")).write_text(text, encoding="utf-8")


def imported(path: Path, source: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path.write_text(source, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def app(site: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return imported(site / "templates_app.py", APP, monkeypatch).Base()


async def test_a_template_beside_the_module_is_rendered(app: Any, site: Path) -> None:
    write(site, page__html="Hello {{ name }}, é!")
    response = await get(app)
    assert (response.status, response.text) == (200, "Hello &lt;Ann&gt;, é!")
    assert response.header("content-type") == "text/html; charset=utf-8"


async def test_templates_in_the_working_folder_come_second(app: Any, site: Path) -> None:
    write(Path.cwd(), page__html="working folder")
    assert (await get(app)).text == "working folder"
    # Beside the module goes first.
    write(site, page__html="beside")
    app = type(app)()
    assert (await get(app)).text == "beside"


async def test_templates_are_looked_up_beside_the_module_of_the_subclass(
    app: Any, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(site, page__html="the base's")
    (site / "inner").mkdir()
    write(site / "inner", page__html="the subclass's")
    source = "from templates_app import Base\n\nclass Root(Base):\n    pass\n"
    root = imported(site / "inner" / "templates_subclass.py", source, monkeypatch).Root()
    assert (await get(root)).text == "the subclass's"


async def test_a_template_may_extend_and_include_others(app: Any, site: Path) -> None:
    write(
        site,
        base__html="<{% block body %}{% endblock %}>",
        part__html="part of {{ name }}",
        page__html='{% extends "base.html" %}{% block body %}'
        '{% include "part.html" %}{% endblock %}',
    )
    assert (await get(app)).text == "<part of &lt;Ann&gt;>"


@pytest.mark.parametrize(
    "suffix", [".html", ".xml", ".svg", ".jinja", ".html.j2", "", ".txt.html", ".txt", ".html.txt"]
)
async def test_all_but_text_is_escaped(app: Any, site: Path, suffix: str) -> None:
    write(site, **{f"page{suffix}".replace(".", "__"): "{{ name }}"})
    expected = "<Ann>" if suffix.endswith(".txt") else "&lt;Ann&gt;"
    assert (await get(app, f"/index/page{suffix}")).text == expected


class Root(App):
    async def awaits(self) -> Any:
        async def fetch(what: str) -> str:
            return f"{what}!"

        async def rows() -> Any:
            for row in "ab":
                yield row

        template = self.env.from_string(
            "{{ fetch('x') }}{% for row in rows() %}{{ row }}{% endfor %}{{ '<' }}"
        )
        return await template.render_async(fetch=fetch, rows=rows)

    async def named(self) -> str:
        return await self._render_template("page.html", name="a", context="b", template="c")

    async def no_template(self) -> str:
        return "plain"


async def test_templates_may_await_and_those_from_text_are_escaped() -> None:
    assert (await get(Root(), "/awaits")).text == "x!ab&lt;"


async def test_any_name_may_be_a_variable_also_of_an_app_of_no_file(site: Path) -> None:
    """As one that was typed into an interactive interpreter."""
    write(Path.cwd(), page__html="{{ name }}{{ context }}{{ template }}")
    for app in (Root, type("Typed", (Root,), {"__module__": "nowhere"})):
        assert (await get(app(), "/named")).text == "abc"


def test_env_is_the_jinja2_environment_made_once() -> None:
    import jinja2

    app = Root()
    assert isinstance(app.env, jinja2.Environment) and app.env is app.env and app.env.is_async
    assert Root().env is not app.env


async def test_env_may_be_extended_or_replaced(app: Any, site: Path) -> None:
    import jinja2

    write(site, page__html="{{ name | shout }}")
    app.env.filters["shout"] = str.upper
    assert (await get(app)).text == "&lt;ANN&gt;"
    app.env = jinja2.Environment(
        loader=jinja2.DictLoader({"page.html": "replaced"}), enable_async=True
    )
    assert (await get(app)).text == "replaced"


@pytest.mark.parametrize("page", ["{% if %}", "{{ 1 / 0 }}", "{{ name.a.b }}"])
async def test_a_template_that_fails_is_a_logged_500(
    app: Any, site: Path, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(site, page__html=page)
    assert_logged_500(await get(app), caplog)


@pytest.mark.parametrize("page", ["nope.html", "../templates_app.py", "/etc/passwd"])
async def test_no_template_is_found_outside_of_the_folders(
    app: Any, site: Path, page: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(site, page__html="x")
    assert (await get(app, "/index/page.html")).text == "x"
    assert_logged_500(await get(app, f"/?page={page}"), caplog)


# --- Without jinja2 -------------------------------------------------------------------------------


async def test_without_jinja2_the_log_says_what_to_install(
    app: Any, site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write(site, page__html="x")
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert_logged_500(await get(app), caplog)
    text = logging.Formatter().format(logged(caplog)[0])
    assert "jinja2" in text and "pip install" in text
    # It is looked for again: what was installed meanwhile is found.
    monkeypatch.delitem(sys.modules, "jinja2")
    assert (await get(app)).text == "x"


async def test_without_jinja2_everything_else_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert (await get(Root(), "/no_template")).text == "plain"


def test_jinja2_is_not_imported_before_its_first_use() -> None:
    code = """
import sys
from micropie import App
from tests.asgi import get, run

app = type("Root", (App,), {"index": lambda self: "x"})()
assert run(get(app)).text == "x"
assert "jinja2" not in sys.modules
assert app.env and "jinja2" in sys.modules
"""
    folder = Path(micropie.__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
