"""The reference says neither less nor more than the module: names, settings, statuses, close codes, log messages."""

from __future__ import annotations

import ast
import asyncio
import datetime
import decimal
import importlib.util
import inspect
import json
import re
import sys
import tomllib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import micropie
from micropie import App, FromSession, HTTPError, UploadedFile, WebSocket, event_stream, methods
from tests import asgi
from tests.servers.harness import KINDS

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
SOURCE = (ROOT / "micropie.py").read_text()


def load(path: Path) -> ModuleType:
    """Import a file that stands in no package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (REFERENCE / f"{name}.md").read_text()


def table(name: str, first: str) -> list[list[str]]:
    """Return the rows of the table on a page whose heading begins with that cell."""
    lines = page(name).split("\n")
    start = lines.index(next(line for line in lines if line.startswith(f"| {first} |")))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return rows


def spans(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


# --- names -----------------------------------------------------------------------------------------


def declared(directive: str) -> list[str]:
    text = "\n".join(path.read_text() for path in REFERENCE.glob("*.md"))
    return re.findall(rf"^\.\. {directive}:: micropie\.([\w.]+)(?:\(scope\))?$", text, flags=re.M)


def test_reference_documents_every_public_name_once():
    assert sorted(declared("auto(?:class|exception|function|data)")) == sorted(micropie.__all__)


def test_reference_documents_the_underscore_names_that_stay():
    stay = {name for name in {*dir(App), *vars(App())} if re.match(r"_(?!_|App__)", name)}
    shown = {name.removeprefix("App.") for name in declared("automethod") + declared("py:attribute")}

    assert shown == stay | {"__call__"}


def test_every_public_method_has_a_docstring():
    for name in micropie.__all__:
        value = getattr(micropie, name)
        for attribute, member in vars(value).items() if isinstance(value, type) else ():
            if not attribute.startswith("_") and (callable(member) or isinstance(member, property)):
                assert member.__doc__, f"{name}.{attribute}"


def types_of(value: Any) -> Iterator[str]:
    """Yield the annotations of a function or a class, and of those members that are not private."""
    value = getattr(value, "fget", None) or getattr(value, "func", value)
    for name, annotation in getattr(value, "__annotations__", {}).items():
        if not name.startswith("_"):
            yield str(annotation)
    for name, member in vars(value).items() if isinstance(value, type) else ():
        if not re.match("_App__" if value is App else "_(?!_)", name):
            yield from types_of(member)


def test_aliases_of_signatures_are_explained():
    used: set[str] = set()
    pending = [text for name in micropie.__all__ for text in types_of(getattr(micropie, name))]
    pending += re.findall(r"self\.[a-z]\w*: (.+) =", inspect.getsource(App))  # what __init__ sets
    while pending:
        for alias in set(re.findall(r"(?<![\w.])_[A-Z]\w+", pending.pop())) - used:
            used.add(alias)
            pending += re.findall(rf"^{alias} = (.+)$", SOURCE, flags=re.M)
    shown = {span for row in table("typing", "alias") for span in spans(row[0])}

    assert used - shown == {"_Pair"}  # the row of _Headers says what it is
    assert shown <= used


# --- settings and limits ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    pytest.importorskip("sphinx")
    return load(ROOT / "docs" / "_ext" / "micropie_reference.py")


def test_every_setting_is_in_the_table_with_its_default(tables):
    shown = "\n".join(tables.settings_lines())

    assert set(tables.SETTINGS) == set(tables.settings()) == set(tables.argument_texts(App.__doc__))
    assert "`max_body_size`\n: `int | None`, default `16 MiB`\n\n  The most bytes of a body" in shown
    assert "`session_timeout`\n: `float`, default `28800 seconds (8 hours)`" in shown
    assert "`allowed_origins`\n: `Iterable[str]`, default `()`" in shown
    assert shown.count(", default `") == len(tables.settings())


def test_a_setting_that_nobody_explains_ends_the_build(tables, monkeypatch):
    monkeypatch.delitem(tables.SETTINGS, "debug")

    with pytest.raises(ValueError, match="debug"):
        list(tables.settings_lines())


def test_every_fixed_limit_is_in_the_table(tables):
    constants = set(re.findall(r"^(_[A-Z_]+): Final = [0-9]", SOURCE, flags=re.M))
    # sizes of steps, which nobody can exceed
    steps = {"_CHUNK_SIZE", "_EXPIRE_STEP", "_ORJSON_OPTIONS", "_SLICE", "_THREAD_PARSE_SIZE"}

    assert set(tables.LIMITS) == constants - steps
    assert "| 1,000 | fields in a query string" in "\n".join(tables.limit_lines())
    assert "| 4 KiB | one header of a part" in "\n".join(tables.limit_lines())


# --- log messages ----------------------------------------------------------------------------------


def test_every_log_message_is_explained(tables):
    calls = tables.log_calls(SOURCE)
    names = [node.id for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Name) and node.id == "_log"]

    assert {call.message for call in calls} == set(tables.LOG)
    assert len(names) - 1 == len(calls)  # nothing else is done with the logger
    shown = list(tables.log_lines())
    for call in calls:
        assert f"`{call.message}`" in shown
        assert shown[shown.index(f"`{call.message}`") + 1].startswith(f": **{call.level.upper()}**")


# --- statuses --------------------------------------------------------------------------------------


class Statuses(App):
    """Has a handler for every status that the framework sends."""

    async def page(self) -> str:
        return "Welcome."

    async def nothing(self) -> None:
        return None

    @methods("POST")
    async def limited(self, name: str) -> str:
        return name

    async def count(self, name: int) -> str:
        return str(name)

    async def upload(self, text: str, file: UploadedFile | None = None) -> str:
        return text

    async def account(self, user_id: FromSession) -> Any:
        return user_id

    async def moved(self) -> Any:
        return self._redirect("/page")

    async def broken(self) -> None:
        raise RuntimeError("broken on purpose")


FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}
FIELD = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n%s\r\n--x--\r\n'

SENT: dict[tuple[str, str], tuple[str, str, dict[str, Any]]] = {
    ("200", ""): ("GET", "/page", {}),
    ("204", "a handler returned `None`"): ("GET", "/nothing", {}),
    ("204", "`OPTIONS` for a handler with `@methods`; `allow` lists them"): ("OPTIONS", "/limited", {}),
    ("302", ""): ("GET", "/moved", {}),
    ("400", "Missing required parameter 'name'"): ("POST", "/limited", {}),
    ("400", "Parameter 'name' must be int"): ("GET", "/count", {"query": "name=two"}),
    ("400", "The path is not UTF-8"): ("GET", "/p\ufffdge", {"raw_path": b"/p%FFge"}),
    ("400", "Invalid JSON"): ("POST", "/limited", {"body": b"{", "headers": JSON}),
    ("400", "Invalid Content-Length"): ("POST", "/limited", {"headers": {"content-length": "ten"}}),
    ("400", "Missing boundary"): (
        "POST",
        "/upload",
        {"body": b"x", "headers": {"content-type": "multipart/form-data"}},
    ),
    ("400", "Malformed multipart body"): ("POST", "/upload", {"body": b"--x\r\n", "headers": FORM}),
    ("400", "A form field is not UTF-8"): ("POST", "/upload", {"body": FIELD % b"\xff", "headers": FORM}),
    ("401", ""): ("GET", "/account", {"query": "user_id=1"}),
    ("404", ""): ("GET", "/nowhere", {}),
    ("405", ""): ("GET", "/limited", {}),
    ("408", ""): ("POST", "/limited", {"headers": {**JSON, "content-length": "5"}}),
    ("413", ""): ("POST", "/limited", {"body": b"x" * 2000, "headers": JSON}),
    ("500", ""): ("GET", "/broken", {}),
}


def status_rows() -> Iterator[Any]:
    rows = table("statuses", "status")
    texts = [text for text, _, _ in rows]
    for text, detail, when in rows:
        name = spans(detail)[0] if detail else when if texts.count(text) > 1 else ""
        body = f"{text}: {name}" if detail else text
        yield pytest.param(text[:3], body if text[0] in "45" else "", name, id=f"{text[:3]}-{name or 'alone'}")


@pytest.mark.parametrize("status, text, detail", list(status_rows()))
def test_status_is_really_sent(status, text, detail):
    app = Statuses(max_body_size=1000, body_timeout=0.05)
    method, target, options = SENT[status, detail]
    if status == "408":

        async def silence() -> dict[str, Any]:
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

        options = {**options, "receive": silence}

    response = asgi.run(asgi.request(app, method, target, **options))

    assert response.status == int(status)
    if text:
        assert response.text == text
        assert response.header("content-type") == "text/plain; charset=utf-8"
    if status == "405" or "OPTIONS" in detail:
        assert response.header("allow") == "POST, OPTIONS"


def test_every_status_of_the_table_is_tried():
    assert {(parameter.values[0], parameter.values[2]) for parameter in status_rows()} == set(SENT)


def errors_of_the_module() -> Iterator[tuple[int, str]]:
    """Yield the status and the detail of every error that the framework makes itself."""
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"_error", "HTTPError"}:
            statuses = [child.value for child in ast.walk(node.args[0]) if isinstance(child, ast.Constant)]
            details = [ast.unparse(argument).strip("f\"'") for argument in node.args[1:]]
            for status in statuses:
                if isinstance(status, int) and status >= 400:
                    yield status, details[0] if details else ""


def test_every_error_of_the_module_is_in_the_table():
    rows = table("statuses", "status")
    shown = [(int(text[:3]), spans(detail)[0] if detail else "") for text, detail, _ in rows]

    for status, detail in errors_of_the_module():
        if "a stream has begun" in detail:  # raised in the middle of a stream: nobody gets it as a status
            continue
        pattern = re.sub(r"\\\{.+?\\\}", ".+", re.escape(detail))
        assert any(status == one and re.fullmatch(pattern, text) for one, text in shown), (status, detail)
    assert {status for status, _ in errors_of_the_module()} >= {400, 404, 405, 413}


# --- close codes -----------------------------------------------------------------------------------


class Sockets(App):
    async def ws_echo(self, ws: WebSocket) -> None:
        await ws.accept()

    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(403)

    async def ws_needs(self, ws: WebSocket, number: int) -> None:
        await ws.accept()

    async def ws_broken(self, ws: WebSocket) -> None:
        await ws.accept()
        raise RuntimeError("broken on purpose")

    async def ws_late(self, ws: WebSocket) -> None:
        await ws.accept()
        raise HTTPError(403)


CLOSED = {"/echo": 1000, "/nowhere": 1008, "/refuses": 1008, "/needs": 1008, "/needs/x": 1008}
CLOSED |= {"/broken": 1011, "/late": 1011}


@pytest.mark.parametrize("path", CLOSED)
def test_close_code_is_really_sent(path):
    async def code() -> tuple[int | None, int | None]:
        async with asgi.websocket(Sockets(), path) as ws:
            if ws.rejected is None:
                with pytest.raises(asgi.WebSocketClosed):
                    await ws.receive()
            return ws.rejected, ws.close_code

    rejected, closed = asgi.run(code())

    assert (rejected or closed) == CLOSED[path]
    assert (rejected is not None) == (CLOSED[path] == 1008)


def test_every_close_code_is_in_the_table():
    shown = {int(re.match(r"\d+", code)[0]) for code, _ in table("statuses", "code")}
    tree = next(node for node in ast.parse(SOURCE).body if isinstance(node, ast.ClassDef) and node.name == "App")
    own = {
        node.value
        for method in tree.body
        if "socket" in getattr(method, "name", "")
        for node in ast.walk(method)
        if isinstance(node, ast.Constant) and isinstance(node.value, int) and 1000 <= node.value <= 4999
    }

    assert shown == own == set(CLOSED.values())


# --- conversions and return values -----------------------------------------------------------------

TYPES = {
    "str": str,
    "int": int,
    "float": float,
    "bool": bool,
    "Decimal": decimal.Decimal,
    "UUID": uuid.UUID,
    "date": datetime.date,
    "datetime": datetime.datetime,
}


def accepts(annotation: Any, *, text: str | None = None, data: Any = None) -> bool:
    """Say whether a handler with that parameter is called."""

    async def take(self: App, value: Any) -> str:
        return "taken"

    take.__annotations__["value"] = annotation
    app = type("Taker", (App,), {"take": take})()
    sent = asgi.post(app, "/take", form={"value": text}) if text is not None else asgi.post(
        app, "/take", body=json.dumps({"value": data}).encode(), headers=JSON
    )  # fmt: skip
    response = asgi.run(sent)
    assert response.status in (200, 400), response
    return response.status == 200


@pytest.mark.parametrize(
    "row", [row for row in table("routing", "annotation") if spans(row[0])[:1]], ids=lambda row: row[0]
)
def test_conversions_are_as_in_the_table(row):
    name = spans(row[0])[0]
    if name not in TYPES:
        assert name in {"Enum", r"X \| None", "list[X]", "UploadedFile", "list[UploadedFile]", "FromSession"}
        return
    _, texts, values, refused = row

    for text in spans(texts):
        assert accepts(TYPES[name], text=text), text
    for value in spans(values):
        assert accepts(TYPES[name], data=json.loads(value)), value
    for part in refused.split(","):
        for span in spans(part):
            if "in JSON" in part:
                assert not accepts(TYPES[name], data=json.loads(span)), span
            else:
                assert not accepts(TYPES[name], text=span), span
    assert spans(texts) or name == "str"


def test_conversions_know_every_type_that_converts():
    shown = {spans(row[0])[0] for row in table("routing", "annotation") if spans(row[0])}

    assert {key.rpartition(".")[2] for key in micropie._SCALARS} <= shown


async def two() -> AsyncIterator[str]:
    yield "a"
    yield "b"


RETURNED: dict[str, tuple[Callable[[App], Any], int, str]] = {
    "`str`": (lambda app: "a", 200, "a"),
    "`bytes`, `bytearray`, `memoryview`": (lambda app: memoryview(b"a"), 200, "a"),
    "`dict`, `list`": (lambda app: {"at": datetime.date(2026, 11, 21)}, 200, '{"at":"2026-11-21"}'),
    "`None`": (lambda app: None, 204, ""),
    "`(status, body)`, `(status, body, headers)`": (lambda app: (201, "a", {"x-a": "1"}), 201, "a"),
    "an iterator or generator, async or plain": (lambda app: two(), 200, "ab"),
    "`event_stream(...)`": (lambda app: event_stream(two()), 200, "data: a\n\ndata: b\n\n"),
    "`self._redirect(location)`": (lambda app: app._redirect("/a"), 302, ""),
}


@pytest.mark.parametrize("start", RETURNED)
def test_return_values_are_as_in_the_table(start):
    [[_, _, kind]] = [row for row in table("responses", "value") if row[0].startswith(start)]
    make, status, body = RETURNED[start]

    class Root(App):
        async def index(self) -> Any:
            return make(self)

    response = asgi.run(asgi.get(Root(), "/"))

    assert (response.status, response.text) == (status, body)
    if spans(kind):
        assert response.header("content-type") == spans(kind)[0]
    elif kind == "none":
        assert response.header("content-type") is None


# --- servers and packages --------------------------------------------------------------------------

FACTS: dict[str, Callable[[Any], bool]] = {
    "{term}`lifespan`": lambda kind: kind.lifespan,
    "bodies are streamed": lambda kind: not kind.buffers_bodies,
    "`100 Continue`": lambda kind: not kind.continues_at_once,
    "the client sees at once that a stream broke off": lambda kind: not kind.leaves_broken_streams_open,
    "an open stream runs its `finally`": lambda kind: kind.ends_streams,
    "a malformed form": lambda kind: not kind.checks_forms,
    "WebSocket: headers": lambda kind: kind.accept_headers,
    "WebSocket: empty messages": lambda kind: kind.empty_messages,
    "WebSocket: {term}`close codes": lambda kind: kind.protocol_codes,
    "WebSocket: the reason of": lambda kind: kind.close_reasons,
    "WebSocket: the client's close code": lambda kind: kind.client_codes,
    "WebSocket: the client's close reason": lambda kind: kind.client_reasons,
}


def test_servers_are_as_the_tests_with_servers_know_them():
    """What the table says is what tests/servers relies on, and finds true, with the servers running."""
    rows = [row for row in map(str.strip, page("servers").split("\n")) if re.search(r"\| (?:yes|no) \|$", row)]

    assert len(rows) == len(FACTS)
    for start, fact in FACTS.items():
        [row] = [row for row in rows if row.startswith(f"| {start}")]
        cells = [cell.strip() == "yes" for cell in row.split("|")[2:-1]]
        assert cells == [fact(KINDS[name]) for name in ("uvicorn-h11", "hypercorn", "daphne", "granian")], start


def test_versions_of_servers_are_those_that_are_tested():
    pins = dict(re.findall(r"^(\w+)==(\d+\.\d+)", (ROOT / "requirements" / "test.txt").read_text(), flags=re.M))

    for server in ("uvicorn", "Hypercorn", "Daphne", "Granian"):
        assert re.search(rf"{server}\s{re.escape(pins[server.lower()])}[ ,.]", page("servers")), server


def test_optional_packages_are_those_of_the_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = dict(re.findall(r"^\| `(\w+)` ([\d.]+) or newer", page("environment"), flags=re.M))
    wanted = dict(re.findall(r"'(\w+)>=([\d.]+)'", str(extras["standard"] + extras["all"])))

    assert named == {name: version for name, version in wanted.items() if name != "uvicorn"}


# --- the glossary ----------------------------------------------------------------------------------


def entries() -> dict[str, str]:
    body = page("glossary").partition("```{glossary}\n")[2].partition("```")[0]
    found = re.findall(r"^(\S.*)\n((?:  .*\n)+)", body, flags=re.M)
    return {term: " ".join(text.split()) for term, text in found}


def test_glossary_is_in_order_and_each_entry_is_short():
    terms = list(entries())

    assert terms == sorted(terms, key=str.lower)
    assert len(terms) >= 36
    for term, text in entries().items():
        sentences = re.findall(r"[.)](?= |$)", re.sub(r"`[^`]*`", "", text))
        assert 2 <= len(sentences) <= 5, term


def test_terms_that_pages_use_are_in_the_glossary():
    text = "\n".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    used = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", text)

    assert {" ".join(term.lower().split()) for term in used} <= {term.lower() for term in entries()}
    assert len(set(used)) > 20
