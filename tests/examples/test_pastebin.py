"""examples/pastebin: written, read, burnt once, expired, limited, and colored apart."""

import asyncio
import functools
import itertools
import re
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from micropie import Request
from tests import asgi
from tests.clock import ManualClock, elapse
from tests.examples import harness
from tests.examples.accounts import CLIENTS, assert_no_script, post
from tests.examples.browsing import contrast, fill_in, use_session_of
from tests.examples.copied import check_local, check_public_origin, check_sql_sessions
from tests.examples.loading import load
from tests.processes import until, wait_until

highlight = load("pastebin", "highlight")
site_base: Any = load("pastebin", "site_base")
local: Any = load("pastebin", "local")
sql_sessions: Any = load("pastebin", "sql_sessions")
LIMIT = 256 * 1024
HTML = {"accept": "text/html"}
EXPIRES = "UPDATE pastes SET expires = ? WHERE id = ?"

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def write(client):
    """Send the form; return the path of the page that it leads to."""

    def send(text, **values):
        answer = post(client, "/create", "/", text=text, **values)
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
        return httpx.URL(answer.headers["location"]).path

    return send


def raw(path):
    return path.replace("/p/", "/raw/")


def rows(server, statement, *values):
    with (
        closing(sqlite3.connect(server.folder / "pastes.sqlite3", timeout=60)) as connection,
        connection,
    ):
        return connection.execute(statement, values).fetchall()


def test_form_leads_to_the_paste(client, write):
    path = write("for x in y:\r\n    print(x)\r\n", title="loop", language="python", expires="10m")
    page = client.get(path).text

    assert '<span class="nb">print</span>' in page
    assert "<h1>loop</h1>" in page
    assert "Deleted in 10 minutes" in page
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
def test_form_keeps_what_was_wrong(client, problem, values):
    answer = post(client, "/create", "/", title="kept title", **values)

    assert answer.status_code in {413, 422}
    assert problem in re.search(r'role="alert">([^<]+)', answer.text)[1]
    assert 'value="kept title"' in answer.text
    assert values["text"].strip() in answer.text


def test_page_of_the_site_is_405_for_other_methods(client):
    for path, method in itertools.product(("/", "/mine"), ("POST", "DELETE", "TRACE")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


def test_form_takes_the_largest_text_of_any_letters(client, write):
    lines = ["ж" * 30] * (LIMIT // 61)  # 61 bytes each, and a browser sends 186
    path = write("\r\n".join(lines))

    assert client.get(raw(path)).text == "\n".join(lines)


def test_form_without_its_token_keeps_nothing(client, server):
    before = rows(server, "SELECT count(*) FROM pastes")

    assert client.post("/create", data={"text": "x"}).status_code == 403
    assert rows(server, "SELECT count(*) FROM pastes") == before


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
        assert client.get(raw(httpx.URL(answer.text.strip()).path)).content == body


@pytest.mark.parametrize("size", [LIMIT + 1, 3 * LIMIT + 4096, 8 * LIMIT])
def test_larger_body_is_413_with_a_sentence(client, size):
    for headers in ({}, HTML, {"content-type": "application/x-www-form-urlencoded"}):
        answer = client.post("/pastes", content=b"x" * size, headers=headers)
        assert answer.status_code == 413
        assert "A paste can have 256 KiB at most." in answer.text


def test_bodies_hosts_and_origins_that_are_refused(client):
    for status, content, params in (
        (415, b"\xff\xfe", {}),
        (422, b"", {}),
        (422, b"x", {"expires": "soon"}),
    ):
        assert client.post("/pastes", content=content, params=params).status_code == status
    for origin in ("https://evil.example", "null", "http://[half"):
        assert client.post("/pastes", content=b"x", headers={"origin": origin}).status_code == 403
    for site in ("cross-site", "same-site", "odd"):
        headers = {"sec-fetch-site": site}
        assert client.post("/pastes", content=b"x", headers=headers).status_code == 403


def test_own_pages_and_programs_are_not_refused(client, server):
    host = f"127.0.0.1:{server.port}"
    for headers in (
        {"origin": f"http://{host}"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"origin": "http://paste.example:80", "host": "Paste.Example"},
        {"origin": "https://paste.example", "host": "paste.example:443"},
    ):
        assert client.post("/pastes", content=b"x", headers=headers).status_code == 201, headers


@pytest.mark.parametrize("host", ["evil.example", "a'b", "127.0.0.1.evil.example", "x" * 3000, ""])
def test_host_of_a_stranger_is_in_no_link(client, host):
    answer = client.post("/pastes", content=b"x", headers={"host": host})
    page = client.get("/", headers={"host": host}).text

    assert answer.status_code == 201
    assert re.fullmatch(r"/p/[\w-]+", answer.headers["location"])
    assert answer.text == answer.headers["location"] + "\n"
    assert "@hello.py /pastes?" in page
    assert not host or host not in page


@pytest.mark.real_time
async def test_sessions_are_changed_in_one_step(tmp_path):
    await check_sql_sessions(sql_sessions, tmp_path)


def test_public_url_is_an_own_origin():
    check_public_origin(site_base)


def test_requests_from_this_machine():
    check_local(local)


def test_visits_store_nothing(client, server):
    def rows():
        with closing(sqlite3.connect(server.folder / "pastes.sqlite3")) as database:
            return database.execute("SELECT count(*) FROM sessions").fetchone()[0]

    before = rows()
    for path in ("/", "/mine", "/p/nothing", "/"):
        assert "session_id" not in httpx.get(server.url + path).cookies
    assert rows() == before
    post(client, "/create", "/", text="x")
    assert rows() == before + 1


def test_form_needs_the_token_of_its_browser(client, server):
    cookie = client.get("/").headers["set-cookie"].lower()
    assert "httponly; samesite=lax" in cookie
    assert "; secure" not in cookie
    elsewhere = httpx.get(server.url, headers={"host": "paste.example"}).headers["set-cookie"]
    assert "; secure" in elsewhere.lower()
    good = client.cookies["csrf"]
    for token, known in ((good, None), ("", ""), ("x", "x"), (good, good[::-1])):
        cookies = {} if known is None else {"csrf": known}
        with server.client(cookies=cookies) as other:
            sent = {"text": "x", "csrf_token": token}
            assert other.post("/create", data=sent).status_code == 403
    sent = {"text": "x", "csrf_token": good}
    assert client.post("/create", data=sent, headers={"origin": "null"}).status_code == 403
    assert client.post("/create", data=sent).status_code == 303
    assert client.cookies["csrf"] != good, "another may have known the token from before"


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
    ],
)
def test_language_is_guessed(name, text, language):
    assert highlight.guess(text, name) == language


@pytest.mark.parametrize("language", highlight.LANGUAGES)
def test_every_language_is_known_and_escapes(language):
    text = "<script>alert(1)</script> & \"'\n\n"
    chosen, markup = highlight.answer({"text": text, "language": language, "title": ""})

    assert chosen == language
    assert "<script" not in markup
    assert re.sub(r"<[^>]+>", "", markup).count("\n") >= text.count("\n")


@pytest.mark.parametrize(("style", "card"), [("xcode", "ffffff"), ("lightbulb", "1d2229")])
def test_colors_have_enough_contrast(style, card):
    from pygments.styles import get_style_by_name

    shades = {
        (look["color"], look["bgcolor"] or card)
        for _, look in get_style_by_name(style)
        if look["color"]
    }

    assert min(contrast(*pair) for pair in shades) >= 4.5
    assert f"#{card}" in (harness.EXAMPLES / "pastebin" / "static" / "style.css").read_text()


def test_markup_is_shown_and_not_obeyed(client, put):
    for name in ("a.html", "a.txt", "<script>alert(1)<script>"):  # a slash would end the name
        page = client.get(put(b"<script>alert(1)</script>", quote(name, safe=""))).text
        assert "<script>alert" not in page


def test_very_many_lines_are_shown_plainly(client, put):
    page = client.get(put(b"\n" * 20_000 + b"import os\n", "a.py")).text

    assert 'id="L-1"' not in page
    assert "Python" not in page


@pytest.mark.real_time
async def test_very_much_markup_is_left_out(monkeypatch):
    monkeypatch.setattr(highlight, "MOST_MARKUP", 100)
    highlighter = highlight.Highlighter(10)
    few, many = [await highlighter.highlight(text, "python", "") for text in ("1", "1 + 1 + 1")]
    await highlighter.close()
    assert 'class="mi"' in few[1]
    assert many == ("python", highlight.plain("1 + 1 + 1"))


def test_looking_at_the_page_does_not_burn_the_paste(client, put):
    path = put(b"the secret", "for you", expires="burn")

    for _ in range(2):
        page = client.get(path).text
        assert "for you" in page
        assert "the secret" not in page
        assert client.head(path).status_code == 200
        assert client.get(raw(path)).status_code == 403
        assert "the secret" not in client.get(raw(path)).text
    assert client.post(path).status_code == 403, "no token"
    assert client.post(raw(path), headers={"origin": "https://evil.example"}).status_code == 403
    assert client.post(raw(path)).text == "the secret"


def test_button_shows_the_paste_and_burns_it(client, put, server, csrf_token):
    path = put(b"the secret", expires="burn")
    token = csrf_token(client.get(path).text)
    page = client.post(path, data={"csrf_token": token}).text

    assert "the secret" in page
    assert "has been deleted now" in page
    assert (
        client.get(path).status_code
        == client.post(path, data={"csrf_token": token}).status_code
        == 404
    )
    assert rows(server, "SELECT 1 FROM pastes WHERE text = 'the secret'") == []


def test_one_of_many_readers_gets_a_paste_that_burns(client, put):
    path = put(b"only once", expires="burn")

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.post, [raw(path)] * 16))
    assert sorted(answer.status_code for answer in answers) == [200] + [404] * 15


def test_paste_that_can_be_read_again_does_not_burn(client, put):
    path = put(b"lasting", expires="never")

    assert client.post(raw(path)).status_code == 404
    assert "Deleted never" in client.get(path).text
    assert client.get(raw(path)).text == "lasting"


def test_author_lists_and_deletes(server, client, write):
    path, sealed = write("mine", title="my own"), write("mine too", expires="burn")
    listed, delete = client.get("/mine").text, path.replace("/p/", "/delete/")

    assert "my own" in listed
    assert sealed in listed
    assert "works once" in client.get(sealed).text
    with server.client() as other:
        assert "my own" not in other.get("/mine").text
        assert "Delete</button>" not in other.get(path).text
        assert post(other, delete, "/").status_code == 404
    assert client.post(delete).status_code == 403
    assert client.get(path).status_code == 200
    assert post(client, delete, "/mine").headers["location"] == "/mine"
    assert client.get(path).status_code == 404


def test_first_paste_renews_the_session(client, write):
    client.get("/")
    assert "session_id" not in client.cookies
    client.cookies.set("session_id", "x" * 43, domain="127.0.0.1")
    write("x")
    owner = client.cookies["session_id"]
    write("y")

    assert owner == client.cookies["session_id"] != "x" * 43


def test_paste_is_deleted_with_its_key(client):
    answer = client.put("/pastes/a.txt", content=b"x")
    name, key = answer.headers["location"].rpartition("/")[2], answer.headers["x-delete-key"]

    for authorization in ("", "Bearer wrong", f"Basic {key}", "Bearer"):
        assert (
            client.delete(f"/pastes/{name}", headers={"authorization": authorization}).status_code
            == 404
        )
    assert (
        client.delete(f"/pastes/{name}", headers={"authorization": f"Bearer {key}"}).status_code
        == 204
    )
    assert client.get(f"/p/{name}").status_code == 404


def test_expired_paste_is_invisible_at_once(server, client, write):
    path = write("gone soon", title="gone soon", expires="1d")
    for seconds, left in (
        (46_860, "13 hours"),
        (95, "2 minutes"),
        (65, "1 minute"),
        (40, "less than a minute"),
    ):
        rows(server, EXPIRES, time.time() + seconds, path.rpartition("/")[2])
        assert f"Deleted in {left}<" in client.get(path).text
    rows(server, EXPIRES, time.time() - 1, path.rpartition("/")[2])

    assert client.get(path).status_code == client.get(raw(path)).status_code == 404
    assert "gone soon" not in client.get("/mine").text


def test_ids_cannot_be_guessed(put):
    ids = {put(b"x").rpartition("/")[2] for _ in range(20)}

    assert len(ids) == 20
    assert {len(name) for name in ids} == {16}


def test_pages_run_no_script_of_theirs(client, write):
    path, sealed = write("x"), write("y", expires="burn")
    for page in ("/", "/mine", path, sealed, "/nowhere"):
        answer = client.get(page, headers=HTML)
        assert_no_script(answer)
        assert answer.headers["cache-control"] == "no-store"


def test_assets_are_kept_by_version(client):
    urls = re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/").text)

    assert len(urls) == 2
    for url in urls:
        assert "immutable" in client.get(url).headers["cache-control"]
        assert "immutable" not in client.get(url.partition("?")[0]).headers["cache-control"]
    assert client.get("/static/..%2Fapp.py").status_code == 404


@pytest.mark.parametrize(
    ("headers", "kind", "text"),
    [
        (HTML, "text/html; charset=utf-8", "<h1>Not Found</h1>"),
        ({"accept": "application/json"}, "application/json", '{"error":"There is no such paste'),
        ({"accept": "*/*"}, "text/plain; charset=utf-8", "There is no such paste: "),
    ],
)
def test_errors_are_html_json_or_text_as_the_client_accepts(client, headers, kind, text):
    answer = client.get("/p/nothing", headers=headers)

    assert answer.status_code == 404
    assert answer.headers["content-type"] == kind
    assert text in answer.text


@pytest.fixture(scope="module")
def strict(shared_servers, tmp_path_factory, measure):
    """Another process on the same database, with little patience."""
    server = shared_servers("pastebin")
    values = {
        "DATABASE": f"sqlite+aiosqlite:///{server.folder}/pastes.sqlite3",
        "RATE": "3",
        "CLEAN_UP_EVERY": "0.05",
        "HIGHLIGHT_SECONDS": "0.0001",
        "URL": "https://paste.example/x/",
    }
    more = {**measure, **{f"PASTEBIN_{name}": value for name, value in values.items()}}
    with harness.running(
        harness.SERVE, harness.copied("pastebin", tmp_path_factory.mktemp("strict")), more
    ) as started:
        yield started


def test_limits_and_cleaning(server, strict):
    def send(address):
        return httpx.put(
            strict.url + "/pastes/a.py", content=b"import os", headers={"x-forwarded-for": address}
        )

    answers = [send("203.0.113.7") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].text.startswith("That was too often.")
    assert send("203.0.113.8").status_code == 201

    url = answers[0].headers["location"]
    assert url.startswith("https://paste.example/x/p/")
    path = url.removeprefix("https://paste.example/x")
    page = httpx.get(strict.url + path).text
    assert '<span id="L-1">import os\n</span>' in page, "there was no time for colors"

    paste = path.rpartition("/")[2]
    rows(server, EXPIRES, 1, paste)
    wait_until(
        lambda: not rows(server, "SELECT 1 FROM pastes WHERE id = ?", paste), what="the clean-up"
    )
    assert rows(server, "SELECT 1 FROM pastes WHERE expires IS NULL OR expires > ?", time.time())


def test_processes_share_everything(strict, client, write):
    path = write("shared", title="shared by two")
    with strict.client(cookies={"session_id": client.cookies["session_id"]}) as other:
        assert "shared by two" in other.get("/mine").text
        assert post(other, path.replace("/p/", "/delete/"), "/mine").status_code == 303
    assert client.get(path).status_code == 404


@pytest.mark.real_time
async def test_slow_text_stays_plain_and_the_next_is_colored():
    highlighter = highlight.Highlighter(10)
    colored = await highlighter.highlight("import os\n", "guess", "")
    highlighter.seconds = 0
    slow = await highlighter.highlight("import os\n", "python", "")
    assert not highlighter._process
    highlighter.seconds = 10
    await highlighter.highlight("import os\n", "guess", "")
    process = highlighter._process
    highlighter.seconds = 0.05
    async with highlighter._lock:  # as the slow text of another visitor does
        waited = await highlighter.highlight("import os\n", "guess", "")
    assert highlighter._process is process, "it is busy with another text, and goes on"
    highlighter.seconds = 10
    process.kill()
    await process.wait()
    died = await highlighter.highlight("import os\n", "python", "")
    again = await highlighter.highlight("import os\n", "guess", "")
    await highlighter.close()

    assert colored == again
    assert colored[0] == "python"
    assert 'class="kn"' in colored[1]
    plain = '<div class="code"><pre><span id="L-1">import os\n</span></pre></div>'
    assert slow == died == ("python", plain)
    assert waited == ("text", plain)


def test_process_ends_by_itself_when_the_server_is_gone(server):
    endless = (
        "import threading, highlight; "
        "highlight.answer = lambda _: threading.Event().wait(); highlight.main()"
    )
    command = [sys.executable, "-c", endless, "0.2"]
    ended = subprocess.run(
        command, cwd=server.folder, input=b"{}\n", stderr=subprocess.PIPE, timeout=30
    )

    assert ended.returncode == 1
    assert b"Timeout" in ended.stderr


@pytest.mark.real_time
async def test_process_is_ended_when_its_time_is_over(monkeypatch, tmp_path):
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import threading\nprint('half an', end='', flush=True)\nthreading.Event().wait()\n"
    )
    monkeypatch.setattr(highlight, "__file__", str(slow))

    highlighter = highlight.Highlighter(0.5)
    asking = asyncio.create_task(highlighter.highlight("x", "python", ""))
    process = await until(lambda: highlighter._process)
    language, _ = await asking
    assert (language, process.returncode, highlighter._process) == ("python", -9, None)


async def test_jobs_go_on_after_a_failure(caplog):
    done = []

    async def job():
        done.append(1)
        if len(done) == 1:
            raise OSError("the disk is full")

    def has_run(times):
        return len(done) >= times

    app = site_base.Site(None, rate=1, public_url=None)
    app._repeat(job, 1)
    app.shutdown_handlers.append(app._stop_repeating)
    for count in (3, 5):  # the second time, it starts again
        async with asgi.lifespan(app):
            await until(functools.partial(has_run, count))
    assert len(done) == 5
    await elapse(10)
    assert len(done) == 5
    assert [record.exc_info[0] for record in caplog.records] == [OSError]


def test_limiter_gives_back_and_forgets(monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(site_base, "time", SimpleNamespace(monotonic=clock))
    limiter = site_base.MemoryLimiter(2, 0.2, clients=2)

    assert [limiter.wait("a") > 0 for _ in range(3)] == [False, False, True]
    clock.advance(0.25)
    assert limiter.wait("a") == 0
    limiter.wait("b")
    limiter.wait("c")
    assert list(limiter._free_at) == ["b", "c"]


@pytest.mark.parametrize(("client", "key"), CLIENTS)
def test_clients_are_told_apart(client, key):
    assert site_base.client_of(Request({"type": "http", "client": client})) == key


def test_copied_files_equal_their_originals():
    for name, original, *copies in (
        ("sql_sessions.py", "session_backends", "pastebin", "url_shortener"),
        ("site_base.py", "pastebin", "url_shortener"),
        ("local.py", "pastebin", "url_shortener", "blog"),
        ("conditions.py", "streaming", "headers_and_cookies", "blog"),
        ("static/copy.js", "pastebin", "url_shortener"),
    ):
        for copy in copies:
            found, expected = (harness.EXAMPLES / example / name for example in (copy, original))
            assert found.read_bytes() == expected.read_bytes(), found


def test_pages_look_good(browsing, page, client, write):
    paste = write(
        '"""A long line, so that there is something to scroll."""  # '
        + "x" * 200
        + "\n\nclass A:\n",
        title="app.py",
    )
    write("x", title="a rather long name " * 5)
    use_session_of(page, client)
    browsing.check_look(paste, "/", "/mine", like=page)


def test_browser_writes_copies_and_deletes(browsing, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto("/")
    fill_in(page, {"Text": "def f():\n    return 1\n", "Name": "f.py"}, "Create")
    page.get_by_role("heading", name="f.py").wait_for()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()") == "def f():\n    return 1\n"
    page.get_by_role("link", name="Yours").click()
    browsing.check_accessible(page)
    fill_in(page, {}, "Delete f.py", "None yet.")


def test_browser_burns(browsing, page):
    page.goto("/")
    page.get_by_label("Text").fill("the secret")
    page.get_by_label("It is deleted").select_option("burn")
    page.get_by_role("button", name="Create").click()
    link = page.locator("#link").inner_text()
    reader = browsing.page()
    reader.goto(link)
    fill_in(reader, {}, "Show it", "the secret")
    browsing.check_accessible(reader)
    browsing.expected = ["404"]
    page.reload()
    page.get_by_role("heading", name="Not Found").wait_for()
