"""examples/pastebin: written, read, burnt once, expired, limited, and colored apart."""

import itertools
import re
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from micropie import HTTPError, Request
from tests.examples import harness
from tests.examples.accounts import CLIENTS
from tests.examples.browsing import contrast, fill_in, use_session_of
from tests.examples.loading import load

languages: Any = load("pastebin", "languages")
database: Any = load("pastebin", "database")
web: Any = load("pastebin", "web")
LIMIT = 256 * 1024
EXPIRES = "UPDATE pastes SET expires = ? WHERE id = ?"

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def write(client):
    """Send the form; return the path of the page that it leads to."""

    def send(text, **values):
        answer = client.post("/create", data={"text": text, **values})
        assert answer.status_code == 303, answer.text
        return answer.headers["location"]

    return send


@pytest.fixture
def put(client):
    """Send a body as curl does; return the path of its page."""

    def send(body, path="", **query):
        answer = client.put(f"/pastes/{path}", content=body, params=query)
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"] + "\n" == answer.text
        return answer.headers["location"]

    return send


def raw(path):
    return path.replace("/p/", "/raw/")


def rows(server, statement, *values):
    path = server.folder / "data" / "pastes.sqlite3"
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def test_form_leads_to_the_paste(client, write):
    path = write("for x in y:\r\n    print(x)\r\n", title="loop", language="python", expires="10m")
    page = client.get(path).text

    assert '<span class="nb">print</span>' in page
    assert "<h1>loop</h1>" in page
    assert re.search(r"Python, kept until \d\d \w+, \d\d:\d\d UTC<", page)
    answer = client.get(raw(path))
    assert answer.text == "for x in y:\n    print(x)\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("problem", "values"),
    [
        ("no text", {"text": " \r\n "}),
        ("language is one of", {"text": "x", "language": "klingon"}),
        ("expires in one of", {"text": "x", "expires": "soon"}),
        ("256 KiB at most", {"text": "x" * (LIMIT + 1)}),
    ],
)
def test_form_keeps_what_was_wrong(client, server, problem, values):
    before = rows(server, "SELECT count(*) FROM sessions")
    answer = client.post("/create", data={"title": "kept title", **values})

    assert answer.status_code in {413, 422}
    assert problem in re.search(r'role="alert">([^<]+)', answer.text)[1]
    assert 'value="kept title"' in answer.text
    assert values["text"].strip() in answer.text
    assert rows(server, "SELECT count(*) FROM sessions") == before


def test_page_of_the_site_is_405_for_other_methods(client):
    for path, method in itertools.product(("/", "/mine"), ("POST", "DELETE", "TRACE")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("letter", ["ж" * 30, "\r\n", "%"])
def test_form_takes_the_largest_text_of_any_letters(client, write, letter):
    kept = letter.replace("\r\n", "\n")
    times = (LIMIT - 1) // len(kept.encode())
    path = write("x" + letter * times)

    assert client.get(raw(path)).text == "x" + kept * times


@pytest.mark.parametrize(
    "body",
    [
        b"a=1&" * 2000,
        b"\r\nCRLF\r\n",
        "Größe €\n".encode(),
        b"nul \x00 byte",
        b"x" * LIMIT,
        b'{"no": "json',
    ],
    ids=["a form of 2000 fields", "line ends", "unicode", "nul", "the largest", "half of JSON"],
)
def test_bodies_are_kept_to_the_byte(client, body):
    for kind in ("application/x-www-form-urlencoded", "application/json", "text/plain"):
        answer = client.post("/pastes", content=body, headers={"content-type": kind})
        assert client.get(raw(answer.text.strip())).content == body


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT + 4096, 8 * LIMIT])
def test_larger_body_is_413(client, size):
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        answer = client.post("/pastes", content=b"x" * size, headers=headers)
        assert answer.status_code == 413
        assert "A paste can have 256 KiB at most." in answer.text or size > 6 * LIMIT


def test_bodies_that_are_refused(client):
    for status, content, params in (
        (415, b"\xff\xfe", {}),
        (422, b"", {}),
        (422, b"x", {"expires": "soon"}),
    ):
        assert client.post("/pastes", content=content, params=params).status_code == status
    assert client.post("/pastes", files={"text": ("a.txt", b"x")}).status_code == 415


@pytest.mark.parametrize("headers", [{"origin": "https://evil.example"}, {"origin": "null"}])
def test_form_of_another_site_makes_no_owner_and_deletes_nothing(client, write, headers):
    path = write("mine", title="mine alone")
    delete = path.replace("/p/", "/delete/")

    assert client.post(delete, headers=headers).status_code == 404
    answer = client.post("/create", data={"text": "x", "title": "from afar"}, headers=headers)
    assert "set-cookie" not in answer.headers
    assert "from afar" not in client.get("/mine").text
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "a'b", "127.0.0.1.evil.example", "x" * 3000, ""])
def test_host_of_a_stranger_is_in_no_link(client, host):
    answer = client.post("/pastes", content=b"x", headers={"host": host})
    page = client.get("/", headers={"host": host}).text

    assert answer.status_code == 201
    assert re.fullmatch(r"/p/[\w-]+", answer.headers["location"])
    assert answer.text == answer.headers["location"] + "\n"
    assert not host or host not in page


def test_visits_store_nothing(client, server):
    def count():
        return rows(server, "SELECT count(*) FROM sessions")[0][0]

    before = count()
    for path in ("/", "/mine", "/p/nothing", "/?text=x", "/create"):
        assert "set-cookie" not in httpx.get(server.url + path, timeout=60).headers
    assert count() == before
    client.post("/create", data={"text": "x"})
    assert count() == before + 1


async def change_sessions(backend):
    await backend.save("saved", {"user": "ann"}, 60)
    assert await backend.load("saved") == {"user": "ann"}
    await backend.update("one", lambda stored: {**stored, "a": 1}, 60)
    await backend.update("one", lambda stored: {**stored, "b": 2}, 60)
    assert await backend.load("one") == {"a": 1, "b": 2}
    await backend.update("one", lambda stored: {}, 60)
    assert await backend.load("one") == {}
    await backend.save("over", {"user": "ann"}, 0)
    assert await backend.load("over") == {}


@pytest.mark.real_time
async def test_sessions_are_changed_in_one_step(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "DATABASE", tmp_path / "sessions.sqlite3")
    for _ in range(2):  # the second time, all tables are there
        database.migrate()

    await change_sessions(database.SQLiteSessions())


def test_error_undoes_a_transaction(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "DATABASE", tmp_path / "undone.sqlite3")
    database.migrate()
    with pytest.raises(ZeroDivisionError), database.connected(write=True) as connection:
        connection.execute("INSERT INTO sessions VALUES ('x', '{}', 0)")
        raise ZeroDivisionError

    with database.connected() as connection:
        assert connection.execute("SELECT * FROM sessions").fetchall() == []


@pytest.mark.parametrize(
    ("name", "text", "language"),
    [
        ("hello.rs", "fn main() {}", "rust"),
        ("Makefile", "all:\n", "make"),
        ("notes.unknown", "#!/usr/bin/env python3\n", "python"),
        ("", '{"a": [1, 2]}', "json"),
        ("", "import os\n", "python"),
        ("", "<!DOCTYPE html><html></html>", "html"),
        ("", "Dear Ada, 17 is prime.", "text"),
        ("", "17", "text"),
        ("", "", "text"),
        ("", "<?php\n$pie = 'plum';\necho $pie;\n", "php"),
        ("", "#include <iostream>\nint main() { std::cout << 1; }\n", "cpp"),
        ("", "interface Pie {\n  name: string;\n}\n", "typescript"),
        ("", "def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\n", "python"),
        ("", "function add(a, b) {\n  return a + b;\n}\n", "javascript"),
        ("", "void swap(int *a, int *b)\n{\n    int t = *a;\n    *a = *b;\n}\n", "c"),
        ("", "CREATE TABLE pies (\n  id INTEGER PRIMARY KEY,\n  name TEXT NOT NULL\n);\n", "sql"),
        ("", "select * from pies where id = 1;\n", "sql"),
        ("", "body {\n  margin: 0;\n}\n", "css"),
        ("", "- name: install nginx\n  apt:\n    name: nginx\n", "yaml"),
        ("", 'cd /tmp && rm -rf "$1"\n', "bash"),
        ("", 'fn main() {\n    println!("Hello");\n}\n', "rust"),
        ("", 'package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println(1)\n}\n', "go"),
        ("", "class Box<T> {\n    private List<T> items = new ArrayList<>();\n}\n", "java"),
        ("", "Title\n=====\n\nThis is **bold**.\n\n> a quotation\n", "markdown"),
        ("", '<form action="/in">\n  <input name="user">\n</form>\n', "html"),
        ("", '[tool.ruff]\nline-length = 100\nselect = [\n  "E",\n]\n', "toml"),
        ("", "[Unit]\nDescription=My service\nAfter=network.target\n", "ini"),
    ],
)
def test_language_is_guessed(name, text, language):
    assert languages.guess(text, name) == language


@pytest.mark.parametrize("unit", ["a ", "static ", "[", "<a ", "x = ", "**a", "a: ", "\t", "-> a "])
def test_no_text_keeps_the_guess_busy(unit):
    start = time.process_time()
    languages.guess((unit * 1000 + "\n") * 300)
    languages.guess(unit * LIMIT)

    assert time.process_time() - start < 2


@pytest.mark.parametrize("language", ["python", "html", "text", "json", "diff"])
def test_markup_escapes(language):
    text = "<script>alert(1)</script> & \"'\n\n"
    markup = languages.colored(text, language)

    assert "<script" not in markup
    assert re.sub(r"<[^>]+>", "", markup).count("\n") == text.count("\n")


def test_every_language_is_one_of_pygments():
    from pygments.lexers import find_lexer_class_by_name

    assert len(languages.LANGUAGES) == 29
    for name, label in languages.LANGUAGES.items():
        assert find_lexer_class_by_name(name).name == label


@pytest.mark.parametrize(("style", "card"), [("xcode", "ffffff"), ("lightbulb", "1d2229")])
def test_colors_have_enough_contrast(style, card):
    from pygments.styles import get_style_by_name

    shades = {
        (look["color"], look["bgcolor"] or card)
        for _, look in get_style_by_name(style)
        if look["color"]
    }

    assert min(contrast(*pair) for pair in shades) >= 4.5
    assert "--card: light-dark(#fff, #1d2229)" in web.STYLE


def test_program_that_takes_too_long_is_killed(monkeypatch, tmp_path):
    running, seconds = tmp_path / "running", 1
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho 'half of it'; echo $$ > {running}; exec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(languages, "sys", SimpleNamespace(executable=str(program)))
    start = time.monotonic()

    while not running.exists():  # again, if it was killed before it had begun
        seconds *= 2
        monkeypatch.setattr(languages, "SECONDS", seconds)
        assert languages.colored("import os\n", "python") == '<span id="L-1">import os\n</span>'
    assert time.monotonic() - start < 600
    assert not (harness.Path("/proc") / running.read_text().strip()).exists()


def test_text_stays_plain_if_too_many_programs_run(monkeypatch):
    monkeypatch.setattr(languages, "_SLOTS", threading.BoundedSemaphore(1))
    monkeypatch.setattr(languages, "SECONDS", 60)
    colored = languages.colored("import os\n", "python")
    assert 'class="kn"' in colored
    with languages._SLOTS:
        plain = languages.colored("import os\n", "python")

    assert plain == '<span id="L-1">import os\n</span>'
    assert languages.colored("import os\n", "python") == colored


@pytest.mark.parametrize("program", ["/nowhere", "/bin/false"])
def test_text_stays_plain_if_the_program_fails(monkeypatch, program):
    monkeypatch.setattr(languages, "sys", SimpleNamespace(executable=program))

    assert languages.colored("import os\n", "python") == '<span id="L-1">import os\n</span>'
    assert sys.executable != program


def test_markup_is_shown_and_not_obeyed(client, put):
    for name in ("a.html", "a.txt", "<script>alert(1)<script>"):  # a slash would end the name
        page = client.get(put(b"<script>alert(1)</script>", quote(name, safe=""))).text
        assert "<script>alert" not in page


def test_long_texts_are_shown_plainly(client, put):
    page = client.get(put(b"\n" * 20_000 + b"import os\n", "a.py")).text
    assert 'id="L-1"' not in page
    page = client.get(put(b"import os\n" * 7000, "a.py")).text
    assert '<span id="L-1">import os\n</span>' in page


def test_looking_at_the_page_does_not_burn_the_paste(client, put):
    path = put(b"the secret", "for you", expires="burn")

    for _ in range(2):
        page = client.get(path).text
        assert "for you" in page
        assert "the secret" not in page
        assert client.head(path).status_code == 200
        assert client.get(raw(path)).status_code == 403
        assert "the secret" not in client.get(raw(path)).text
    assert client.post(raw(path)).text == "the secret"


def test_button_shows_the_paste_and_burns_it(client, put, server):
    path = put(b"the secret", expires="burn")
    page = client.post(path).text

    assert "the secret" in page
    assert "This is deleted now." in page
    assert client.get(path).status_code == client.post(path).status_code == 404
    assert rows(server, "SELECT 1 FROM pastes WHERE text = 'the secret'") == []


def test_one_of_many_readers_gets_a_paste_that_burns(client, put):
    path = put(b"only once", expires="burn")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.post, [raw(path)] * 16))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 15


def test_paste_that_can_be_read_again_does_not_burn(client, put):
    path = put(b"lasting", expires="never")

    assert client.post(raw(path)).status_code == 404
    assert "kept forever" in client.get(path).text
    assert client.get(raw(path)).text == "lasting"


def test_author_lists_and_deletes(server, client, write):
    path, sealed = write("mine", title="my own"), write("mine too", expires="burn")
    listed, delete = client.get("/mine").text, path.replace("/p/", "/delete/")

    assert "my own" in listed
    assert sealed in listed
    assert "Send the address" in client.get(sealed).text
    with server.client() as other:
        assert "my own" not in other.get("/mine").text
        assert "Delete</button>" not in other.get(path).text
        assert "Send the address" not in other.get(sealed).text
        assert other.post(delete).status_code == 404
        other.post("/create", data={"text": "another's"})
        assert other.post(delete).status_code == 404
    assert client.get(path).status_code == 200
    assert client.post(delete).headers["location"] == "/mine"
    assert client.get(path).status_code == 404


def test_pastes_without_an_owner_belong_to_no_visitor(client, put):
    path = put(b"x")

    assert "Delete</button>" not in client.get(path).text
    assert client.post(path.replace("/p/", "/delete/")).status_code == 404
    assert client.get(path).status_code == 200


def test_session_of_the_client_is_never_adopted(client, write):
    client.cookies.set("session_id", "x" * 43, domain="127.0.0.1")
    write("x")
    owner = client.cookies["session_id"]
    write("y")

    assert owner == client.cookies["session_id"] != "x" * 43


def test_expired_paste_is_invisible_at_once_and_deleted_with_the_next(server, client, write):
    path = write("gone soon", title="gone soon", expires="1d")
    paste = path.rpartition("/")[2]
    rows(server, EXPIRES, time.time() - 1, paste)

    assert client.get(path).status_code == client.get(raw(path)).status_code == 404
    assert "gone soon" not in client.get("/mine").text
    lasting = write("another", expires="never")
    assert not rows(server, "SELECT 1 FROM pastes WHERE id = ?", paste)
    assert client.get(lasting).status_code == 200


def test_ids_cannot_be_guessed(put):
    ids = {put(b"x").rpartition("/")[2] for _ in range(20)}

    assert len(ids) == 20
    assert {len(name) for name in ids} == {16}


def test_pages_run_no_script_and_are_not_kept(client, write):
    path, sealed = write("x"), write("y", expires="burn")
    for page in ("/", "/mine", path, sealed, "/nowhere"):
        answer = client.get(page)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "unsafe" not in policy
        assert "script-src" not in policy
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", answer.text)
        assert answer.headers["cache-control"] == "no-store"
    style = client.get("/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert style.headers["cache-control"] == "max-age=3600"


@pytest.fixture(scope="module")
def strict(shared_servers, tmp_path_factory, measure):
    """Another process on the same database."""
    server = shared_servers("pastebin")
    url = f"sqlite+aiosqlite:///{server.folder}/data/pastes.sqlite3"
    public = "https://paste.example/x/"
    more = {"PASTEBIN_DATABASE": url, "PASTEBIN_RATE": "3", "PASTEBIN_URL": public}
    with harness.running(
        harness.SERVE,
        harness.copied("pastebin", tmp_path_factory.mktemp("strict")),
        {**measure, **more},
    ) as started:
        yield started


def test_limits_and_the_public_url(server, strict):
    def send(address):
        return httpx.put(
            strict.url + "/pastes/a.py",
            content=b"import os",
            headers={"x-forwarded-for": address},
            timeout=60,
        )

    answers = [send("203.0.113.7") for _ in range(6)]
    # Another minute can begin meanwhile.
    assert [answer.status_code for answer in answers].count(201) in {3, 4, 5, 6}
    assert send("203.0.113.8").status_code == 201
    url = answers[0].headers["location"]
    assert url.startswith("https://paste.example/x/p/")
    assert (
        httpx.get(server.url + url.removeprefix("https://paste.example/x"), timeout=60).status_code
        == 200
    )


def test_processes_share_everything(strict, client, write):
    path = write("shared", title="shared by two")
    with strict.client(cookies={"session_id": client.cookies["session_id"]}) as other:
        assert "shared by two" in other.get("/mine").text
        # A proxy can hide the host from which the site's own forms come.
        own = {"origin": "https://paste.example"}
        assert other.post(path.replace("/p/", "/delete/"), headers=own).status_code == 303
    assert client.get(path).status_code == 404


def test_limiter_refuses_and_forgets(monkeypatch):
    now = [120.0]
    monkeypatch.setattr(web, "monotonic", lambda: now[0])
    limiter = web.Limiter(2)
    ann, bob = [Request({"type": "http", "client": (name, 1)}) for name in ("ann", "bob")]

    for who in (ann, ann, bob):
        limiter.check(who)
    with pytest.raises(HTTPError) as refused:
        limiter.check(ann)
    assert (refused.value.status, refused.value.headers) == (429, {"retry-after": "60"})
    now[0] += 60
    limiter.check(ann)
    assert list(limiter._counts) == ["ann"]


@pytest.mark.parametrize(("client", "key"), CLIENTS)
def test_clients_are_told_apart(client, key):
    assert web.client_of(Request({"type": "http", "client": client})) == key


def test_pages_look_good(browsing, page, client, write):
    paste = write(
        '"""A long line, so that there is something to scroll."""  # '
        + "x" * 200
        + "\n\nclass A:\n",
        title="app.py",
    )
    write("x", title="a rather long name " * 5)
    use_session_of(page, client)
    browsing.check_look(paste, write("y", expires="burn"), "/", "/mine", like=page)


def test_browser_writes_and_deletes(browsing, page):
    page.goto("/")
    fill_in(page, {"Text": "def f():\n    return 1\n", "Name": "f.py"}, "Create")
    page.get_by_role("heading", name="f.py").wait_for()
    page.wait_for_load_state()
    assert page.locator("pre").inner_text().rstrip() == "def f():\n    return 1"
    page.get_by_role("link", name="Yours").click()
    page.wait_for_url("**/mine")
    browsing.check_accessible(page)
    fill_in(page, {}, "Delete f.py", "None yet.")


def test_browser_burns(browsing, page):
    page.goto("/")
    page.get_by_label("Text").fill("the secret")
    page.get_by_label("It is deleted").select_option("burn")
    page.get_by_role("button", name="Create").click()
    page.get_by_text("Send the address").wait_for()
    reader = browsing.page()
    reader.goto(page.url)
    fill_in(reader, {}, "Show it", "the secret")
    browsing.check_accessible(reader)
    browsing.expected = ["404"]
    page.reload()
    page.get_by_text("There is no such paste.").wait_for()
