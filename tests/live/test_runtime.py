"""Python in a worker, and its server: what docs/live/worker and docs/live/service promise."""

from __future__ import annotations

import hashlib
import json

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.live.runtime import HELLO, Live, app_of, files_of
from tests.live.static_host import Host

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def live(context: BrowserContext, host: Host) -> Live:
    """One runtime for the tests of this module: each runs an app of its own."""
    live = Live(context.new_page(), host)
    assert live.boot("jinja2", "multipart")["t"] == "ready", live.text("err")
    return live


# --- Start, stop, switch --------------------------------------------------------------------------


def test_an_app_answers(live: Live) -> None:
    live.run(HELLO)
    answer = live.fetch("GET", "/")
    assert (answer["status"], answer["text"]) == (200, "Hello")
    live.wait_for("log", "GET / 200")
    assert live.errors == []


def test_a_stopped_app_answers_nothing_and_starts_again(live: Live) -> None:
    live.run(HELLO)
    assert live.ask("stop")["t"] == "stopped"
    assert live.fetch("GET", "/")["t"] == "down"
    live.run(HELLO)
    assert live.fetch("GET", "/")["text"] == "Hello"


def test_files_stay_on_run_again_and_go_with_a_fresh_start_or_another_app(live: Live) -> None:
    counting = app_of(
        """
def index(self):
    with open("count", "a") as file:
        file.write("x")
    return open("count").read()
"""
    )
    live.run(counting, id="counting")
    assert live.fetch("GET", "/")["text"] == "x"
    live.run(counting, id="counting", fresh=False)
    assert live.fetch("GET", "/")["text"] == "xx"
    live.run(counting, id="counting", fresh=True)
    assert live.fetch("GET", "/")["text"] == "x"
    live.run(counting, id="other", fresh=False)
    assert live.fetch("GET", "/")["text"] == "x"


def test_an_edited_module_is_read_again(live: Live) -> None:
    for text in ("one", "two"):
        app = app_of("async def index(self):\n    return word.WORD + word.__doc__", "import word\n")
        live.run({**app, "word.py": f'"""{text}"""\nWORD = "{text}"\n'}, fresh=False)
        assert live.fetch("GET", "/")["text"] == text * 2


def test_an_app_has_its_own_environment(live: Live) -> None:
    app = app_of("async def index(self):\n    return os.environ.get('KEY', '-')", "import os\n")
    live.run(app, environment={"KEY": "one"})
    assert live.fetch("GET", "/")["text"] == "one"
    live.run(app)
    assert live.fetch("GET", "/")["text"] == "-"


def test_httpx_reaches_the_app_itself_and_no_other_address(live: Live) -> None:
    app = app_of(
        """
async def index(self):
    async with httpx.AsyncClient() as client:
        own = await client.get("http://127.0.0.1:8000/pie")
        broken = await client.get("http://127.0.0.1:8000/broken")
        try:
            await client.get("http://127.0.0.1:8001/pie")
        except httpx.ConnectError as error:
            return f"{own.text}, {broken.status_code}, {error}"
async def pie(self):
    return "apple"
async def broken(self):
    raise ValueError
""",
        "import httpx\n",
    )
    live.run(app, packages=["httpx"])
    assert live.fetch("GET", "/")["text"] == "apple, 500, a page has no sockets"


def test_startup_and_shutdown_run(live: Live) -> None:
    app = app_of(
        """
async def index(self):
    return self.said
""",
        "import asyncio\n",
    )
    app["app.py"] += """
async def start():
    app.said = "started"

async def end():
    print("ended")

app.startup_handlers.append(start)
app.shutdown_handlers.append(end)
"""
    live.run(app)
    assert live.fetch("GET", "/")["text"] == "started"
    live.ask("stop")
    assert "ended" in live.text("out")


def test_tasks_that_an_app_leaves_end_with_it(live: Live) -> None:
    app = app_of(
        """
async def index(self):
    asyncio.create_task(self.tick())
    return "started"

async def tick(self):
    try:
        await asyncio.sleep(3600)
    finally:
        print("the task has ended")
""",
        "import asyncio\n",
    )
    live.run(app)
    live.fetch("GET", "/")
    live.ask("stop")
    assert "the task has ended" in live.text("out")


def test_five_apps_take_little_more_memory_than_one(live: Live) -> None:
    steps = ["03-templates", "05-database", "06-live-results", "07-chat", "08-pictures"]
    memory = []
    for step in [*steps, *steps]:
        files = files_of(f"tutorials/{step}")
        took = live.run(files, id=step, packages=["jinja2", "multipart"])["ms"]
        assert live.fetch("GET", "/")["status"] == 200, live.text("err")
        memory.append(live.ask("memory")["v"] / 2**20)
        print(f"{step}: {took} ms, {memory[-1]:.1f} MB")
    assert memory[-1] - memory[0] <= 20


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_traceback_begins_in_the_readers_file(live: Live) -> None:
    files = {"app.py": "import other\n", "other.py": "def f():\n    return 1 / 0\n\nf()\n"}
    answer = live.ask("run", files=files, fresh=True)
    assert answer["t"] == "failed"
    lines = answer["s"].splitlines()
    assert lines[1] == '  File "/app/app.py", line 1, in <module>'
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "driver" not in answer["s"] and "importlib" not in answer["s"]
    assert "return 1 / 0" in answer["s"]


def test_a_syntax_error_names_the_line(live: Live) -> None:
    answer = live.ask("run", files={"app.py": "x = (\n"}, fresh=True)
    assert 'File "/app/app.py", line 1' in answer["s"]
    assert "SyntaxError" in answer["s"] and "driver" not in answer["s"]


def test_a_missing_name_is_said(live: Live) -> None:
    answer = live.ask("run", files={"app.py": "y = 1\n"}, fresh=True)
    assert answer["s"].endswith('Attribute "app" not found in module "app".')


def test_an_error_in_a_handler_is_a_500_and_in_the_log(live: Live) -> None:
    live.run(app_of("async def index(self):\n    return [][1]"))
    assert live.fetch("GET", "/")["status"] == 500
    live.wait_for("log", "GET / 500")
    said = live.text("err")
    assert "IndexError: list index out of range" in said and "return [][1]" in said
    assert "driver.py" not in said


def test_an_app_that_raises_by_itself_fails_the_request(live: Live) -> None:
    source = "async def app(scope, receive, send):\n    raise ValueError('bare')\n"
    live.run({"app.py": source})
    assert live.fetch("GET", "/")["t"] == "fail"
    live.wait_for("err", "ValueError: bare")


@pytest.mark.parametrize(
    "name",
    ["pyodide.asm.wasm", "pyodide.asm.mjs", "stdlib.zip.gz", "stdlib-usual.zip.xz"],
)
@pytest.mark.parametrize("answer", ["404", "none"])
def test_a_file_that_cannot_be_loaded_is_said(
    browser: Browser, host: Host, name: str, answer: str
) -> None:
    context = browser.new_context()
    context.route(
        f"**/{name}",
        lambda route: route.fulfill(status=404) if answer == "404" else route.abort(),
    )
    told = Live(context.new_page(), host).boot()
    assert told["t"] == "failed"
    assert name in told["s"]
    context.close()


CRASHING = """
async def index(self):
    sys.setrecursionlimit(10**7)
    return Endless().anything

async def exit(self):
    os._exit(3)
"""
ENDLESS = """
import os, sys

class Endless:
    def __getattr__(self, name):
        return getattr(self, name + "x")
"""


@pytest.mark.parametrize(
    ("path", "words"), [("/", "Maximum call stack size exceeded"), ("/exit", "exit(3)")]
)
def test_a_crash_of_python_is_said(browser: Browser, host: Host, path: str, words: str) -> None:
    context = browser.new_context()
    live = Live(context.new_page(), host)
    live.boot()
    live.run(app_of(CRASHING, ENDLESS))
    live.page.evaluate("path => void runtime.fetch('GET', path)", path)
    live.wait_for("crashed", words)
    assert live.page.evaluate("runtime.said.filter(({t}) => t === 'crashed').length") == 1
    context.close()


# --- What an app can use --------------------------------------------------------------------------


def test_packages_come_when_an_app_wants_them(live: Live, host: Host) -> None:
    host.sent.clear()
    app = app_of(
        """
async def index(self, age: Age):
    return {"age": age.years, "core": pydantic_core.__version__}
""",
        "import pydantic, pydantic_core\n\nclass Age(pydantic.BaseModel):\n    years: int\n",
    )
    live.run(app, packages=["pydantic"])
    headers = [["content-type", "application/json"]]
    good = live.fetch("POST", "/", headers=headers, body=json.dumps({"years": "7"}))
    assert json.loads(good["text"])["age"] == 7
    bad = live.fetch("POST", "/", headers=headers, body=json.dumps({"years": "old"}))
    assert bad["status"] == 422 or bad["status"] == 400
    asked = {path for path, _, _ in host.sent}
    assert any("pydantic-core" in path for path in asked)
    assert not any("jinja2" in path for path in asked)  # it was there


def test_the_rest_of_the_library_comes_for_apps_that_import_it(live: Live) -> None:
    app = app_of(
        """
async def index(self):
    import difflib, http.server, xml.dom.minidom
    near = difflib.get_close_matches("mice", ["mouse", "mince"], 1)
    names = [tarfile.__name__, http.server.__name__, xml.dom.minidom.__name__]
    return [*near, *names, "\\u0430".encode("cp866")[0]]
""",
        "import tarfile\n",
    )
    live.run(app)
    names = ["tarfile", "http.server", "xml.dom.minidom"]
    assert json.loads(live.fetch("GET", "/")["text"]) == ["mince", *names, 160]


def test_some_packages_come_for_apps_that_import_them(browser: Browser, host: Host) -> None:
    """The page of an app without templates does not load Jinja2 before."""
    context = browser.new_context()
    live = Live(context.new_page(), host)
    live.boot("multipart", "pydantic")
    host.sent.clear()
    app = app_of(
        """
async def index(self, name: str):
    environment = jinja2.Environment(autoescape=True)
    return environment.from_string("{{ name }}").render(name=name)

async def old(self):
    from pydantic.v1 import BaseModel
    return BaseModel.__module__
""",
        "import jinja2\n",
    )
    live.run(app)
    assert live.fetch("GET", "/?name=<b>")["text"] == "&lt;b&gt;"
    assert live.fetch("GET", "/old")["text"] == "pydantic.v1.main"
    asked = {path.rpartition("/")[2] for path, _, _ in host.sent}
    assert asked == {"jinja2.zip.xz", "markupsafe.zip.xz", "pydantic-v1.zip.xz"}
    context.close()


def test_an_unknown_module_is_said(live: Live) -> None:
    answer = live.ask("run", files={"app.py": "import numpy\n"}, fresh=True)
    assert "ModuleNotFoundError: No module named 'numpy'" in answer["s"]


def test_what_would_run_in_threads_runs_in_place(live: Live) -> None:
    app = app_of(
        """
def index(self):
    return "plain"

async def threads(self):
    return await asyncio.to_thread(str.upper, "in a thread")

def steps(self):
    yield "one "
    yield "two"
""",
        "import asyncio\n",
    )
    live.run(app)
    assert live.fetch("GET", "/")["text"] == "plain"
    assert live.fetch("GET", "/threads")["text"] == "IN A THREAD"
    assert live.fetch("GET", "/steps")["text"] == "one two"


def test_passwords_are_hashed_as_by_openssl(live: Live) -> None:
    body = """
def index(self):
    made = hashlib.scrypt(b"pie", salt=b"salt", n=2**14, r=8, p=1)
    return [made.hex(), hashlib.pbkdf2_hmac("sha256", b"pie", b"salt", 1000).hex()]
"""
    live.run(app_of(body, "import hashlib\n"))
    expected = [
        hashlib.scrypt(b"pie", salt=b"salt", n=2**14, r=8, p=1).hex(),
        hashlib.pbkdf2_hmac("sha256", b"pie", b"salt", 1000).hex(),
    ]
    answer = live.fetch("GET", "/")
    assert json.loads(answer["text"]) == expected, live.text("err")


def test_a_thousand_connections_to_a_database_leave_no_memory_behind(live: Live) -> None:
    body = """
def index(self):
    for _ in range(1000):
        database = sqlite3.connect("data/pies.db")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE IF NOT EXISTS pies (name)")
        with database:
            database.execute("INSERT INTO pies VALUES ('Apple')")
        database.close()
    return str(sqlite3.connect("data/pies.db").execute("SELECT count(*) FROM pies").fetchone()[0])
"""
    app = app_of(body, "import os, sqlite3\nos.makedirs('data', exist_ok=True)\n")
    live.run(app)
    before = live.ask("memory")["v"]
    assert live.fetch("GET", "/")["text"] == "1000", live.text("err")
    assert live.ask("memory")["v"] - before < 20 * 2**20


@pytest.mark.parametrize("name", ["sqlite:///", "file:pies.db?mode=rwc"])
def test_other_ways_to_open_a_database_stay_as_they_are(live: Live, name: str) -> None:
    uri = name.startswith("file:")
    database = name if uri else ":memory:"
    body = f"""
def index(self):
    found = sqlite3.connect({database!r}, uri={uri}).execute("SELECT 7").fetchone()
    return str(found[0])
"""
    live.run(app_of(body, "import sqlite3\n"))
    assert live.fetch("GET", "/")["text"] == "7"


# --- Requests -------------------------------------------------------------------------------------


def test_a_large_upload_and_a_large_response_pass(live: Live) -> None:
    body = """
async def index(self, file: UploadedFile):
    return str(sum([len(piece) async for piece in file]))

async def big(self):
    return b"x" * 5_000_000
"""
    live.run(app_of(body, "from micropie import UploadedFile\n"), packages=["multipart"])
    assert len(live.fetch("GET", "/big")["text"]) == 5_000_000
    content = "x" * 3_000_000
    form = (
        '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        f"{content}\r\n--b--\r\n"
    )
    headers = [["content-type", "multipart/form-data; boundary=b"]]
    answer = live.fetch("POST", "/", headers=headers, body=form)
    assert (answer["status"], answer["text"]) == (200, "3000000"), live.text("err")


@pytest.mark.parametrize(
    ("path", "headers"), [("/?name=Zoë", []), ("/Zoë", []), ("/", [["x-name", "✓"]])]
)
def test_a_request_that_no_client_can_send_is_said(
    live: Live, path: str, headers: list[list[str]]
) -> None:
    live.run(HELLO)
    before = len(live.text("err"))
    assert live.fetch("GET", path, headers=headers)["t"] == "fail"
    said = live.text("err")[before:].strip()
    assert said.startswith("This is no valid request. UnicodeEncodeError: "), said
    assert "\n" not in said
    assert live.fetch("GET", "/")["text"] == "Hello"


# --- WebSockets -----------------------------------------------------------------------------------


SOCKETS = """
async def ws_flood(self, ws):
    await ws.accept()
    number = 0
    while True:
        await ws.send_text(str(number))
        number += 1

async def index(self):
    return "Hello"
"""
CONNECT = """(query) => {
    const { port1, port2 } = new MessageChannel();
    window.got = [];
    window.socket = port1;
    port1.onmessage = ({data}) => got.push(data);
    const message = {t: "ws", path: "/flood", query, root: "", protocols: [], visitor: "1"};
    runtime.port.postMessage(message, [port2]);
}"""


def test_an_app_waits_for_those_who_take_its_messages(live: Live) -> None:
    live.run(app_of(SOCKETS))
    assert live.fetch("GET", "/")["text"] == "Hello"
    live.page.evaluate(CONNECT, "")
    arrived = "count => got.filter(({t}) => t === 'message').length >= count"
    count = "got.filter(({t}) => t === 'message').length"
    live.page.wait_for_function(arrived, arg=8)
    for _ in range(5):  # the app has time to send more, if it would
        live.fetch("GET", "/")
    assert live.page.evaluate(count) == 8
    live.page.evaluate("for (let n = 0; n < 3; n++) socket.postMessage({t: 'taken'})")
    live.page.wait_for_function(arrived, arg=11)
    live.fetch("GET", "/")
    assert live.page.evaluate(count) == 11
    assert live.ask("stop")["t"] == "stopped"
    live.page.wait_for_function("() => got.at(-1).t === 'close'")


def test_a_socket_with_a_url_that_no_client_sends_is_refused(live: Live) -> None:
    live.run(app_of(SOCKETS))
    live.fetch("GET", "/")
    live.page.evaluate(CONNECT, "name=Zoë")
    live.page.wait_for_function("() => got.length")
    assert live.page.evaluate("got") == [
        {"t": "close", "accepted": False, "code": 1006, "reason": ""}
    ]


def test_each_visitor_has_a_jar_of_cookies(live: Live) -> None:
    app = {"app.py": COOKIES}
    live.run(app, id="cookies")
    live.fetch("GET", "/give?name=one", visitor="1")
    live.fetch("GET", "/give?name=two", visitor="2")
    live.fetch("GET", "/give?name=three", visitor="1", cookies={"send": True, "keep": False})
    assert live.fetch("GET", "/", visitor="1")["text"] == "name=one"
    assert live.fetch("GET", "/", visitor="2")["text"] == "name=two"
    assert live.fetch("GET", "/", visitor="2", cookies=False)["text"] == "-"
    jars = live.page.evaluate("runtime.said.findLast(m => m.t === 'cookies').jars")
    assert {visitor: jar[0]["value"] for visitor, jar in jars.items()} == {"1": "one", "2": "two"}
    live.run(app, id="cookies", jars=jars)
    assert live.fetch("GET", "/", visitor="2")["text"] == "name=two"
    live.run(app, id="others")
    assert live.fetch("GET", "/", visitor="2")["text"] == "-"


COOKIES = """
async def app(scope, receive, send):
    headers = dict(scope["headers"])
    body, extra = headers.get(b"cookie", b"-"), []
    if scope["path"] == "/give":
        extra = [(b"set-cookie", scope["query_string"] + b"; Path=/; HttpOnly")]
    await send({"type": "http.response.start", "status": 200, "headers": extra})
    await send({"type": "http.response.body", "body": body})
"""


# --- Checks of the tutorial's steps ---------------------------------------------------------------


def test_a_step_is_checked_beside_the_running_app(live: Live) -> None:
    live.run(HELLO)
    answer = live.ask("check", step=2, files=files_of("tutorials/02-routes"))
    assert answer["t"] == "checked", answer["s"]
    assert answer["results"] and all(result["ok"] for result in answer["results"])
    wrong = live.ask("check", step=2, files=files_of("tutorials/01-hello"))
    assert not all(result["ok"] for result in wrong["results"])
    assert live.fetch("GET", "/")["text"] == "Hello"


@pytest.mark.parametrize(
    ("example", "packages"),
    [
        ("api_jwt", ["pydantic", "pyjwt"]),
        ("blog_small", []),
        ("sessions", []),
        ("static_files", ["starlette"]),
    ],
)
def test_an_example_that_needs_what_pyodide_lacks_starts(
    live: Live, example: str, packages: list[str]
) -> None:
    live.run(files_of(f"examples/{example}"), packages=["jinja2", "multipart", *packages])
    assert live.fetch("GET", "/")["status"] < 500, live.text("err")


# --- What is printed ------------------------------------------------------------------------------


PRINTING = """
async def index(self):
    for number in range(2000):
        print(f"line {number}")
    print("error", file=sys.stderr)
    print("last")
    return "printed"

async def long(self):
    print("x" * 1_000_000)
    return "printed"

async def much(self):
    for number in range(300):
        print(f"{number} " + "y" * 200)
    return "printed"

async def forever(self):
    while True:
        print("again")
"""


def said(live: Live, *kinds: str) -> list[dict[str, str]]:
    return live.page.evaluate(
        "kinds => runtime.said.filter(({t}) => kinds.includes(t))", list(kinds)
    )


def test_lines_go_to_the_page_together(live: Live) -> None:
    live.run(app_of(PRINTING, "import sys\n"))
    before = len(said(live, "out", "err"))
    assert live.fetch("GET", "/")["text"] == "printed"
    live.wait_for("out", "last")
    messages = said(live, "out", "err")[before:]
    assert len(messages) < 100
    assert all(message["s"].count("\n") < 50 for message in messages)
    assert [message["t"] for message in messages[-3:]] == ["out", "err", "out"]
    assert messages[-1]["s"] == "last"
    lines = "\n".join(message["s"] for message in messages).splitlines()
    assert "line 1999" in lines and "line 0" not in lines
    left_out = [line for line in lines if line.endswith("lines were left out.")]
    count = sum(int(line.split()[1].replace(",", "")) for line in left_out)
    assert count + len(lines) - len(left_out) == 2002


def test_a_line_without_end_is_cut(live: Live) -> None:
    live.run(app_of(PRINTING, "import sys\n"))
    live.fetch("GET", "/long")
    live.wait_for("out", "characters were left out.")
    line = live.text("out").splitlines()[-1]
    assert line == "x" * 19_000 + " … 981,000 characters were left out."


def test_much_text_is_split(live: Live) -> None:
    live.run(app_of(PRINTING, "import sys\n"))
    before = len(said(live, "out"))
    live.fetch("GET", "/much")
    live.wait_for("out", "299 yyy")
    messages = [message["s"] for message in said(live, "out")[before:]]
    assert all(len(text) <= 20_000 for text in messages)
    numbers = [int(line.split()[0]) for line in "\n".join(messages).splitlines()]
    assert numbers == list(range(300))


def test_prints_without_end_do_not_flood_the_page(browser: Browser, host: Host) -> None:
    context = browser.new_context()
    live = Live(context.new_page(), host)
    live.boot()
    live.run(app_of(PRINTING, "import sys\n"))
    sent = live.page.evaluate(
        """async () => {
            runtime.fetch("GET", "/forever");
            const count = () => runtime.said.filter(({t}) => t === "out").length;
            while (!count()) await new Promise(requestAnimationFrame);
            const before = count();
            const begin = performance.now();
            // The time is the measure here: so many messages come in a second, or on a busy machine
            // in some seconds.
            const seconds = () => (performance.now() - begin) / 1000;
            while (seconds() < 1 || count() < before + 10) await new Promise(requestAnimationFrame);
            return (count() - before) / seconds();
        }"""
    )
    assert sent < 200
    live.page.evaluate("runtime.end()")
    context.close()
