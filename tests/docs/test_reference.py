"""The reference says what the module does: names, settings, statuses, close codes, logs."""

from __future__ import annotations

import ast
import datetime
import decimal
import importlib.util
import inspect
import json
import re
import tomllib
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypercorn
import pytest
import uvicorn

import micropie
from micropie import App, FromSession, HTTPError, UploadedFile, WebSocket, event_stream, methods
from tests import asgi
from tests.clients import silence
from tests.processes import ROOT
from tests.servers.harness import KINDS

REFERENCE = ROOT / "docs" / "reference"
SOURCE = (ROOT / "micropie.py").read_text()


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


# --- names ----------------------------------------------------------------------------------------


def declared(directive: str) -> list[str]:
    text = "\n".join(path.read_text() for path in REFERENCE.glob("*.md"))
    return re.findall(rf"^\.\. {directive}:: micropie\.([\w.]+)(?:\(scope\))?$", text, flags=re.M)


def test_reference_documents_every_public_name_once():
    assert sorted(declared("auto(?:class|exception|function|data)")) == sorted(micropie.__all__)


def test_reference_documents_the_underscore_names_that_stay():
    stay = {name for name in {*dir(App), *vars(App())} if re.match(r"_(?!_|App__)", name)}
    shown = {
        name.removeprefix("App.") for name in declared("automethod") + declared("py:attribute")
    }

    assert shown == stay | {"__call__"}


def types_of(value: Any) -> Iterator[str]:
    """Yield the annotations of a function or a class, and of those members that are not private."""
    value = getattr(value, "fget", None) or getattr(value, "func", value)
    for name, annotation in getattr(value, "__annotations__", {}).items():
        if not name.startswith("_"):
            yield str(annotation)
    for name, member in vars(value).items() if isinstance(value, type) else ():
        if not re.match("_App__" if value is App else "_(?!_)", name):
            yield from types_of(member)


def test_every_alias_in_a_signature_is_explained():
    used: set[str] = set()
    pending = [text for name in micropie.__all__ for text in types_of(getattr(micropie, name))]
    pending += re.findall(r"self\.[a-z]\w*: (.+) =", inspect.getsource(App))  # what __init__ sets
    while pending:
        for alias in set(re.findall(r"(?<![\w.])_[A-Z]\w+", pending.pop())) - used:
            used.add(alias)
            pending += re.findall(rf"^{alias} = (.+)$", SOURCE, flags=re.M)
    shown = {span for row in table("typing", "alias") for span in spans(row[0])}

    assert used - shown == set()
    assert shown <= used


# --- settings and limits --------------------------------------------------------------------------


def definitions(name: str) -> dict[str, str]:
    """Return what a page says of each name of its definition lists, each in one line."""
    found = re.findall(r"^`(.+)`\n: ((?:.+\n|\n+(?=  ))+)", page(name) + "\n", flags=re.M)
    assert len(found) == len(dict(found))
    return {term: " ".join(text.split()) for term, text in found}


def settings() -> dict[str, str]:
    """Return what the docstring of App says of each of its arguments."""
    section = inspect.cleandoc(App.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = [
        entry.partition(": ") for entry in re.split(r"^    (?=\w+: )", section, flags=re.M)[1:]
    ]
    return {name: " ".join(text.split()).replace("``", "`") for name, _, text in entries}


def test_every_setting_is_on_the_page_as_in_the_docstring():
    parameters = inspect.signature(App.__init__).parameters
    shown = definitions("settings")

    assert shown.keys() == settings().keys() == parameters.keys() - {"self"}
    for name, text in settings().items():
        assert text in shown[name]
        annotation, default = re.match(r"`([^`]+)`, default `([^`]+)`", shown[name]).groups()
        # The default of one setting is another setting, which `...` stands for.
        wanted = parameters[name].annotation.removesuffix(" | types.EllipsisType")
        assert annotation == wanted, name
        assert measure(default) == parameters[name].default, name
        assert len(shown[name].rpartition(text)[2]) > 10, f"what happens past {name}?"


def measure(text: str) -> Any:
    """Return the value of a setting or a limit as a page writes it."""
    number, _, unit = text.partition(" (")[0].partition(" ")
    if not number[0].isdigit():
        return ast.literal_eval(text)
    return float(number.replace(",", "")) * {"": 1, "seconds": 1, "KiB": 2**10, "MiB": 2**20}[unit]


# The row of each fixed limit. The other constants are sizes of steps, which no client can exceed.
LIMITS = {
    "_MAX_FIELDS": "fields in a query string",
    "_MAX_PART_HEADERS": "headers of one part",
    "_MAX_PART_HEADER_SIZE": "one header of a part",
    "_SPOOL_SIZE": "an uploaded file in memory",
    "_DRAIN_SIZE": "what is read and dropped",
    "_THREADS": "worker threads",
    "_FILE_THREADS": "threads for MicroPie's own work",
    "_MESSAGES_AHEAD": "messages that a WebSocket keeps",
    "_UNREAD_SECONDS": "the time after the headers",
    "_IDLE_SECONDS": "between two looks at a stream",
    "_MAX_DECIMAL": "digits of a `Decimal`",
    "_MAX_ERRORS": "errors of a model",
}
STEPS = {"_CHUNK_SIZE", "_EXPIRE_STEP", "_LOOKS", "_LOOK_SECONDS", "_ORJSON_OPTIONS"}


def test_every_fixed_limit_is_in_the_table_with_its_number():
    constants = set(
        re.findall(r"^(_[A-Z_]+)(?:: (?:Final|int))? = (?:\(\s+)?[0-9]", SOURCE, flags=re.M)
    )
    rows = table("settings", "limit")

    assert constants == LIMITS.keys() | STEPS
    assert len(rows) == len(LIMITS)
    for name, what in LIMITS.items():
        [number] = [row[0] for row in rows if row[1].startswith(what)]
        assert measure(number) == getattr(micropie, name), name


# --- log messages ---------------------------------------------------------------------------------


def test_every_log_message_is_explained_with_its_level():
    calls = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Call)]
    logs = [call for call in calls if ast.unparse(call.func).startswith("_log.")]
    shown = definitions("logging")

    # Nothing else is done with the logger.
    assert len(re.findall(r"\b_log\b", SOURCE)) - 1 == len(logs)
    assert shown.keys() == {ast.literal_eval(call.args[0]) for call in logs}
    for call in logs:
        level = ast.unparse(call.func).removeprefix("_log.").upper()
        traceback = any(keyword.arg == "exc_info" for keyword in call.keywords)
        begin = f"**{level}**{', with the traceback' if traceback else ''}. "
        text = shown[ast.literal_eval(call.args[0])]
        assert text.startswith(begin)
        assert len(text) - len(begin) > 20


# --- statuses -------------------------------------------------------------------------------------


class Model:
    """Fits no body."""

    @classmethod
    def model_validate(cls, value: Any) -> Model:
        raise ValueError("does not fit")


class Statuses(App):
    """Has a handler for every status that the framework sends, and for every return value."""

    returned: Callable[[App], Any]

    async def page(self) -> str:
        return "Welcome."

    async def anything(self) -> Any:
        return self.returned(self)

    async def nothing(self) -> None:
        return None

    @methods("POST")
    async def limited(self, name: str) -> str:
        return name

    async def order(self, name: Model) -> None:
        return None

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


URLENCODED = {"content-type": "application/x-www-form-urlencoded"}
NO_BOUNDARY = {"content-type": "multipart/form-data"}
FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}
UNSENT = {**JSON, "content-length": "5"}
FIELD = b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n%s\r\n--x--\r\n'

SENT: dict[tuple[str, str], tuple[str, str, dict[str, Any]]] = {
    ("200", ""): ("GET", "/page", {}),
    ("204", "a handler returned `None`"): ("GET", "/nothing", {}),
    ("204", "`OPTIONS` for a handler with `@methods`; `allow` lists them"): (
        "OPTIONS",
        "/limited",
        {},
    ),
    ("302", ""): ("GET", "/moved", {}),
    ("400", "Missing required parameter 'name'"): ("POST", "/limited", {}),
    ("400", "Parameter 'name' must be int"): ("GET", "/count", {"query": "name=two"}),
    ("400", "Parameter 'name' is not valid"): (
        "POST",
        "/order",
        {"body": b"a=1", "headers": URLENCODED},
    ),
    ("400", "Invalid JSON"): ("POST", "/limited", {"body": b"{", "headers": JSON}),
    ("400", "Invalid Content-Length"): ("POST", "/limited", {"headers": {"content-length": "ten"}}),
    ("400", "Missing boundary"): ("POST", "/upload", {"body": b"x", "headers": NO_BOUNDARY}),
    ("400", "Malformed multipart body"): ("POST", "/upload", {"body": b"--x\r\n", "headers": FORM}),
    ("400", "A form field is not in its charset"): (
        "POST",
        "/upload",
        {"body": FIELD % b"\xff", "headers": FORM},
    ),
    ("401", ""): ("GET", "/account", {"query": "user_id=1"}),
    ("404", ""): ("GET", "/nowhere", {}),
    ("405", ""): ("GET", "/limited", {}),
    ("408", ""): ("POST", "/limited", {"headers": UNSENT, "receive": silence}),
    ("413", "max_body_size is 1000 bytes"): (
        "POST",
        "/limited",
        {"body": b"x" * 2000, "headers": JSON},
    ),
    ("413", "more than 1000 fields"): ("GET", "/count", {"query": "&" * 1000}),
    ("500", ""): ("GET", "/broken", {}),
}


def status_rows() -> Iterator[Any]:
    rows = table("statuses", "status")
    texts = [text for text, _, _ in rows]
    for text, detail, when in rows:
        name = spans(detail)[0] if detail else when if texts.count(text) > 1 else ""
        body = f"{text}: {name}" if detail else text
        yield pytest.param(
            text[:3], body if text[0] in "45" else "", name, id=f"{text[:3]}-{name or 'alone'}"
        )


@pytest.mark.parametrize("status, text, detail", list(status_rows()))
async def test_status_of_the_table_is_sent_with_its_text(status, text, detail):
    app = Statuses(max_body_size=1000, body_timeout=0.05)
    method, target, options = SENT[status, detail]
    response = await asgi.request(app, method, target, **options)

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
    found = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Assign)]
    texts = {
        ast.unparse(node.targets[0]): node.value
        for node in found
        if isinstance(node.value, ast.JoinedStr)
    }
    for node in ast.walk(ast.parse(SOURCE)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"_error", "HTTPError"}:
            statuses = [
                child.value for child in ast.walk(node.args[0]) if isinstance(child, ast.Constant)
            ]
            shown = [texts.get(ast.unparse(one), one) for one in node.args[1:]]
            details = [ast.unparse(one).strip("f\"'") for one in shown]
            for status in statuses:
                if isinstance(status, int) and status >= 400:
                    yield status, details[0] if details else ""


def test_every_error_of_the_module_is_in_the_table():
    rows = table("statuses", "status")
    shown = [(int(text[:3]), spans(detail)[0] if detail else "") for text, detail, _ in rows]

    for status, detail in errors_of_the_module():
        # Raised in the middle of a stream: no client gets it as a status.
        if "a stream has begun" in detail:
            continue
        pattern = re.sub(r"\\\{.+?\\\}", ".*", re.escape(detail))
        assert any(status == one and re.fullmatch(pattern, text) for one, text in shown), (
            status,
            detail,
        )
    assert {status for status, _ in errors_of_the_module()} >= {400, 404, 405, 413}


# --- close codes ----------------------------------------------------------------------------------


class Sockets(App):
    async def ws_refuses(self, ws: WebSocket) -> None:
        raise HTTPError(403)

    async def ws_echo(self, ws: WebSocket, number: int) -> None:
        await ws.accept()

    async def ws_fails(self, ws: WebSocket, status: int = 0) -> None:
        await ws.accept()
        raise HTTPError(status) if status else RuntimeError("broken on purpose")


CLOSED = {"/echo/1": 1000, "/nowhere": 1008, "/refuses": 1008, "/echo": 1008, "/echo/x": 1008}
CLOSED |= {"/fails": 1011, "/fails/403": 1011}


@pytest.mark.parametrize("path", CLOSED)
async def test_websocket_closes_with_the_code_of_the_table(path):
    async with asgi.websocket(Sockets(), path) as ws:
        assert (ws.rejected is not None) == (CLOSED[path] == 1008)
        if ws.rejected is None:
            with pytest.raises(asgi.WebSocketClosed):
                await ws.receive()
        assert (ws.rejected or ws.close_code) == CLOSED[path]


def test_every_close_code_is_in_the_table():
    shown = {int(re.match(r"\d+", code)[0]) for code, _ in table("statuses", "code")}
    tree = next(
        node
        for node in ast.parse(SOURCE).body
        if isinstance(node, ast.ClassDef) and node.name == "App"
    )
    own = {
        node.value
        for method in tree.body
        if "socket" in getattr(method, "name", "")
        for node in ast.walk(method)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, int)
        and 1000 <= node.value <= 4999
    }

    assert shown == own == set(CLOSED.values())


# --- conversions and return values ----------------------------------------------------------------

TYPES = {
    **{"str": str, "int": int, "float": float, "bool": bool, "Decimal": decimal.Decimal},
    **{"UUID": uuid.UUID, "date": datetime.date, "datetime": datetime.datetime},
    **{"time": datetime.time},
}
# Rows without a value to try: tests/test_binding.py has them.
SHAPES = {"Enum", 'Literal["s", 1]', "dict", r"X \| None", r"X \| Y", "list[X]", "FromSession"}
SHAPES |= {"UploadedFile", "list[UploadedFile]", "model_validate"}


def accepts(annotation: Any, **sent: Any) -> bool:
    """Say whether a handler with that parameter is called for a `form` or `json`."""

    async def take(self: App, value: Any) -> str:
        return "taken"

    take.__annotations__["value"] = annotation
    response = asgi.run(asgi.post(type("Taker", (App,), {"take": take})(), "/take", **sent))
    assert response.status in (200, 400), response
    return response.status == 200


@pytest.mark.parametrize(
    "row",
    [row for row in table("routing", "annotation") if spans(row[0])[:1]],
    ids=lambda row: row[0],
)
def test_values_of_the_table_convert_or_are_refused_as_it_says(row):
    name = spans(row[0])[0]
    if name not in TYPES:
        assert name in SHAPES
        return
    _, texts, values, refused = row

    for text in spans(texts):
        assert accepts(TYPES[name], form={"value": text}), text
    for value in spans(values):
        assert accepts(TYPES[name], json={"value": json.loads(value)}), value
    for part in refused.split(","):
        for span in spans(part):
            kind, value = ("json", json.loads(span)) if "in JSON" in part else ("form", span)
            assert not accepts(TYPES[name], **{kind: {"value": value}}), span
    assert spans(texts) or name == "str"


def test_every_type_that_converts_has_a_row():
    shown = {spans(row[0])[0] for row in table("routing", "annotation") if spans(row[0])}

    assert {key.rpartition(".")[2] for key in micropie._JSON_TYPES} <= shown


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
async def test_returned_value_is_sent_as_the_table_says(start):
    [[_, _, kind]] = [row for row in table("responses", "value") if row[0].startswith(start)]
    app = Statuses()
    app.returned, status, body = RETURNED[start]
    response = await asgi.get(app, "/anything")

    assert (response.status, response.text) == (status, body)
    if spans(kind):
        assert response.header("content-type") == spans(kind)[0]
    elif kind == "none":
        assert response.header("content-type") is None


# --- servers and packages -------------------------------------------------------------------------

FACTS: dict[str, Callable[[Any], bool]] = {
    "{term}`lifespan`": lambda kind: kind.lifespan,
    "bodies are streamed": lambda kind: not kind.buffers_bodies,
    "`100 Continue`": lambda kind: not kind.continues_at_once,
    "a stream waits for a client": lambda kind: kind.holds_streams_back,
    "the client sees at once that a stream broke off": lambda kind: (
        not kind.leaves_broken_streams_open
    ),
    "an open stream runs its `finally`": lambda kind: kind.ends_streams,
    "no client can choose the {term}`root path`": lambda kind: not kind.believes_root_path,
    "a malformed form": lambda kind: not kind.checks_forms,
    "WebSocket: headers": lambda kind: kind.accept_headers,
    "WebSocket: empty messages": lambda kind: kind.empty_messages,
    "WebSocket: {term}`close codes": lambda kind: kind.protocol_codes,
    # tests/faults/test_clients.py floods each server with messages.
    "WebSocket: the server stops reading": lambda kind: kind.name != "daphne",
    "WebSocket: `send_*()` waits": lambda kind: kind.holds_streams_back,
    "WebSocket: the reason of": lambda kind: kind.close_reasons,
    "WebSocket: the client's close code": lambda kind: kind.client_codes,
    "WebSocket: the client's close reason": lambda kind: kind.client_reasons,
}


def test_table_of_servers_agrees_with_the_tests_with_servers():
    """The table agrees with tests/servers, which finds its facts with servers running."""
    rows = [
        row
        for row in map(str.strip, page("servers").split("\n"))
        if re.search(r"\| (?:yes|no) \|$", row)
    ]

    assert len(rows) == len(FACTS)
    for start, fact in FACTS.items():
        [row] = [row for row in rows if row.startswith(f"| {start}")]
        cells = [cell.strip() == "yes" for cell in row.split("|")[2:-1]]
        assert cells == [
            fact(KINDS[name]) for name in ("uvicorn-h11", "hypercorn", "daphne", "granian")
        ], start


def test_page_says_which_servers_hold_streams_back_over_http2():
    facts = {name: kind.holds_streams_back_over_http2 for name, kind in KINDS.items()}

    assert {name for name, held_back in facts.items() if held_back is not None} == {
        "hypercorn",
        "granian",
    }
    assert facts["granian"]
    assert not facts["hypercorn"]
    assert "Over HTTP/2 Granian holds a stream back" in page("servers")
    assert "Hypercorn does not" in page("servers")


def test_page_names_the_largest_message_of_each_server():
    guide = (ROOT / "docs/howto/websockets.md").read_text()
    daphne = importlib.util.find_spec("daphne")  # an import of its server starts Twisted
    assert daphne is not None
    source = (Path(daphne.origin or "").parent / "server.py").read_text()
    [of_daphne] = re.findall(r"websocket_max_message_size=(\d+) \* 1024,", source)
    defaults = {
        "uvicorn": inspect.signature(uvicorn.Config).parameters["ws_max_size"].default,
        "Hypercorn": hypercorn.Config.websocket_max_message_size,
        "Daphne": int(of_daphne) * 1024,
    }

    for server, size in defaults.items():
        assert f"| {server} | {size // 2**20} MiB |" in guide
    assert "is 16 MiB on uvicorn and Hypercorn, 1 MiB on Daphne" in page("servers")


def test_page_names_the_pinned_versions_of_the_servers():
    pins = dict(
        re.findall(
            r"^(\w+)==(\d+\.\d+)", (ROOT / "requirements" / "test.txt").read_text(), flags=re.M
        )
    )

    for server in ("uvicorn", "Hypercorn", "Daphne", "Granian"):
        assert re.search(rf"{server}\s{re.escape(pins[server.lower()])}[ ,.]", page("servers")), (
            server
        )


def test_page_names_the_optional_packages_of_the_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named = dict(re.findall(r"^\| `(\w+)` ([\d.]+) or newer", page("environment"), flags=re.M))
    wanted = dict(re.findall(r"'(\w+)>=([\d.]+)'", str(extras["standard"] + extras["all"])))

    assert named == {name: version for name, version in wanted.items() if name != "uvicorn"}


# --- the glossary ---------------------------------------------------------------------------------


def entries() -> dict[str, str]:
    body = page("glossary").partition("```{glossary}\n")[2].partition("```")[0]
    found = re.findall(r"^(\S.*)\n((?:  .*\n)+)", body, flags=re.M)
    return {term: " ".join(text.split()) for term, text in found}


def test_glossary_is_sorted_and_each_entry_has_two_to_five_sentences():
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
