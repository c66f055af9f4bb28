"""examples/url_shortener: races for a name, clicks, charts, owners, several workers, browsers."""

import itertools
import re
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from micropie import HTTPError, Request
from tests.examples import harness
from tests.examples.accounts import CLIENTS, assert_no_script
from tests.examples.browsing import fill_in, use_session_of
from tests.examples.copied import check_local
from tests.examples.loading import load
from tests.processes import environment, wait_until

app: Any = load("url_shortener", "app")
checks: Any = load("url_shortener", "checks")
database: Any = load("url_shortener", "database")
store: Any = load("url_shortener", "store")
web: Any = load("url_shortener", "web")
TARGET = "https://example.com/a/long/way?x=1&y=2#there"
TODAY = "SELECT count FROM clicks JOIN links ON id = link_id WHERE alias = ?"

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def shorten(client):
    """Send the form; return what is answered."""

    return lambda url=TARGET, **values: client.post("/shorten", data={"url": url, **values})


@pytest.fixture
def today():
    """The date. It does not end during the test, since clicks are counted by day."""

    def found():
        now = datetime.now(UTC)
        return (now + timedelta(minutes=2)).date() == now.date() and now.date()

    return wait_until(found, 180, "the next day")


def rows(server, statement, *values):
    path = server.folder / "data" / "links.sqlite3"
    with closing(sqlite3.connect(path, timeout=60)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def test_form_makes_a_link(client, shorten):
    answer = shorten(alias="Form-Made")
    page = client.get(answer.headers["location"]).text

    assert (answer.status_code, answer.headers["location"]) == (303, "/links/form-made")
    assert f'id="short">{client.base_url}/form-made<' in page
    for written in ("/form-made", "/Form-Made"):
        followed = client.get(written)
        assert followed.status_code == 302
        assert followed.headers["location"] == TARGET
        assert followed.headers["cache-control"] == "no-store"


def test_link_without_a_name_gets_a_random_one(shorten):
    names = {shorten().headers["location"].rpartition("/")[2] for _ in range(5)}

    assert len(names) == 5
    assert all(re.fullmatch(f"[{app.ALPHABET}]{{8}}", name) for name in names)


@pytest.mark.parametrize(
    ("problem", "status", "values"),
    [
        ("must start with http", 422, {"url": "ftp://example.com/"}),
        ("no URL", 422, {"url": ""}),
        ("3 to 40 letters", 422, {"alias": "no blanks"}),
        ("is taken", 409, {"alias": "taken-by-form"}),
        ("expires in one of", 422, {"expires": "soon"}),
    ],
)
def test_form_says_what_is_wrong(shorten, server, problem, status, values):
    shorten(alias="taken-by-form")
    before = rows(server, "SELECT count(*) FROM links")
    answer = shorten(**values)

    assert answer.status_code == status
    assert problem in re.search(r'role="alert">([^<]+)', answer.text)[1]
    assert values.get("alias", "") in answer.text
    assert rows(server, "SELECT count(*) FROM links") == before


def test_page_of_the_site_is_405_for_other_methods(client):
    for path, method in itertools.product(("/", "/links", "/way"), ("POST", "DELETE", "TRACE")):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


AS_WRITTEN = """
    http://example.com:8080/ http://xn--bcher-kva.example.com/ http://8.8.8.8/ https://_dmarc.example.com/
    http://[2606:4700::1111]:8080/ https://example.com/%20?q=a%26b http://printer/ http://localhost:9000/
"""


@pytest.mark.parametrize("url", AS_WRITTEN.split())
def test_targets_are_kept_as_written(url):
    assert checks.target(url) == url


REFUSED = """
    file:///etc/passwd http://user@example.com/ http://@example.com/ http://017700000001/
    http://1.2.3.4.5/ http://[fe80::1%25eth0]/ http://１２７.0.0.1/ http://exa%6dple.com/
    http://-example.com/ http://example..com/ http://<script>.com/ http://./ https://?x https://:80/
"""
ODD = [
    "http://good.example.com\\@evil.example.com/",
    "http://example.com/\r\nSet-Cookie: x=1",
    "http://example.com/\u2028x",
    "java\tscript:alert(1)",
    "http://" + "a" * 64 + ".com/",
    "http://ä" + "ä" * 64 + ".com/",
    "https://example.com/" + "x" * 2000,
    "https://example.com/" + "🥧" * 170,  # 2060 characters when it is sent
]


@pytest.mark.parametrize("url", [*REFUSED.split(), *ODD])
def test_targets_that_are_refused(url):
    with pytest.raises(ValueError, match="URL") as refused:
        checks.target(url)

    assert str(refused.value)[0].isupper()


@pytest.mark.parametrize(
    "alias", ["ab", "a" * 41, "-abc", "abc-", "a--b", "a_b", "a.b", "a/b", "käse", "a b", "abc\n-"]
)
def test_odd_names_are_refused(alias):
    with pytest.raises(ValueError, match="A name has"):
        checks.alias(alias, set())


def test_names_of_pages_are_reserved(server, shorten):
    source = (server.folder / "app.py").read_text()
    names = re.findall(r"    (?:async )?def ([a-z]\w*)\(self", source)

    assert {"index", "links", "delete", "shorten", "static"} == set(names)
    for name in [*names, "admin", "LOGIN"]:
        answer = shorten(alias=name)
        assert answer.status_code == 422, name
        assert "is reserved" in answer.text


def test_one_of_many_gets_a_name(client, shorten):
    urls = [f"https://example.com/{at}" for at in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda url: shorten(url, alias="wanted-by-all"), urls))

    assert sorted(answer.status_code for answer in answers) == [303] + [409] * 15
    [winner] = [url for url, answer in zip(urls, answers, strict=True) if answer.is_redirect]
    assert client.get("/wanted-by-all").headers["location"] == winner


def test_clicks_are_counted(server, client, shorten, today):
    shorten(alias="counted")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.get("/counted"), range(40)))
    client.head("/counted")
    client.get("/counted", headers={"sec-purpose": "prefetch;prerender"})
    page = client.get("/links/counted").text

    assert rows(server, TODAY, "counted") == [(40,)]
    assert "Clicks: 40." in page
    assert "Clicks in the last 30 days: 40,\nand at most 40 on one day." in page
    assert f"<title>{today}: 40</title>" in page
    assert "clicks: 40" in client.get("/links").text


def test_chart_has_a_bar_for_each_day(server, client, shorten, today):
    shorten(alias="charted")
    for ago, count in ((0, 3), (7, 6), (29, 1), (30, 90)):
        values = (str(today - timedelta(days=ago)), count)
        statement = "INSERT INTO clicks SELECT id, ?, ? FROM links WHERE alias = 'charted'"
        rows(server, statement, *values)
    page = client.get("/links/charted").text
    bars = re.findall(r'<rect x="(\d+)" y="(\d+)" width=".9" height="(\d+)">', page)

    assert 'viewBox="0 0 30 6"' in page
    assert len(bars) == 30
    assert [bar for bar in bars if bar[2] != "0"] == [
        ("0", "5", "1"),
        ("22", "0", "6"),
        ("29", "3", "3"),
    ]
    assert "Clicks: 100." in page
    assert "Clicks in the last 30 days: 10,\nand at most 6 on one day." in page


def test_broken_database_stops_no_visitor(server, client, shorten):
    """If the clicks can't be written, as on a full disk, all links work."""
    shorten(alias="uncounted")
    trigger = "CREATE TRIGGER full BEFORE INSERT ON clicks BEGIN SELECT missing(); END"
    rows(server, trigger)
    try:
        assert client.get("/uncounted").headers["location"] == TARGET
    finally:
        rows(server, "DROP TRIGGER full")
    assert rows(server, TODAY, "uncounted") == []
    client.get("/uncounted")
    assert rows(server, TODAY, "uncounted") == [(1,)]


def test_new_link_has_no_clicks_of_a_deleted_one(server, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "DATABASE", tmp_path / "links.sqlite3")
    database.migrate()
    assert store.add("name", TARGET, "owner", None)
    gone = store.find("name")["id"]
    store.count(gone)
    store.delete("name", "owner")
    store.count(gone)
    assert store.add("name", TARGET, "owner", None)
    again = store.find("name")["id"]

    assert again != gone
    assert store.per_day(again, 1)[0] == store.per_day(gone, 1)[0] == 0


def test_links_belong_to_one_visitor(server, client, shorten):
    shorten(alias="my-own")
    with server.client() as other:
        assert "my-own" not in other.get("/links").text
        assert other.get("/links/my-own").status_code == 404
        assert other.post("/delete/my-own").status_code == 404
        made = other.post("/shorten", data={"url": TARGET, "alias": "their-own"})
        assert made.status_code == 303
        assert other.get("/links/my-own").status_code == 404
        assert other.post("/delete/my-own").status_code == 404
    assert client.get("/my-own").status_code == 302
    assert client.post("/delete/my-own").headers["location"] == "/links"
    assert client.get("/my-own").status_code == client.get("/links/my-own").status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://[half"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site"},
    ],
)
def test_form_of_another_site_has_no_owner_and_deletes_nothing(client, shorten, headers):
    shorten(alias="kept")
    answer = client.post("/shorten", data={"url": TARGET, "alias": "from-afar"}, headers=headers)

    assert "set-cookie" not in answer.headers
    assert "from-afar" not in client.get("/links").text
    assert client.post("/delete/kept", headers=headers).status_code == 404
    assert client.get("/kept").status_code == 302
    own = {"origin": str(client.base_url), "sec-fetch-site": "same-origin"}
    assert client.post("/delete/kept", headers=own).status_code == 303


def test_session_of_the_client_is_never_adopted(client, shorten):
    client.cookies.set("session_id", "x" * 43, domain="127.0.0.1")
    shorten()
    owner = client.cookies["session_id"]
    shorten()

    assert owner == client.cookies["session_id"] != "x" * 43


def test_qr_code_is_an_svg_of_the_short_link(client, shorten):
    import segno

    shorten(alias="scanned")
    code = segno.make(f"{client.base_url}/scanned", error="m", micro=False)

    assert code.svg_data_uri(scale=4, light="#fff") in client.get("/links/scanned").text


def test_host_of_a_stranger_is_in_no_link(client, shorten):
    alias = shorten().headers["location"].rpartition("/")[2]
    for host in ("x" * 3000, "a'b", "", "evil.example", "[half", "127.0.0.1.evil.example"):
        page = client.get(f"/links/{alias}", headers={"host": host}).text
        assert f'id="short">/{alias}<' in page
        assert "<img" not in page
        assert not host or host not in page


def test_own_host_is_refused(client, shorten):
    for host, url, status in (
        ("short.example.net:443", "https://short.example.net/x", 422),
        ("short.example.net:443", "http://SHORT.example.net:8000/", 422),
        ("short.example.net:8000", "http://short.example.net:8000/", 422),
        ("short.example.net:8000", "http://short.example.net/", 303),
        ("", TARGET, 303),
    ):
        answer = client.post("/shorten", data={"url": url}, headers={"host": host})
        assert answer.status_code == status, (host, url)
        assert ("This link is short already." in answer.text) == (status == 422)


def test_link_that_leads_to_itself_by_another_name_leads_nowhere(client, shorten):
    shorten("https://two.example/circle", alias="circle")

    assert client.get("/circle").status_code == 302
    assert client.get("/circle", headers={"host": "two.example"}).status_code == 404


def test_visits_store_nothing(client, server, shorten):
    tables = ("sessions", "links", "clicks")

    def counts():
        return [rows(server, f"SELECT count(*) FROM {table}") for table in tables]

    before = counts()
    for path in ("/", "/links", "/links/x", "/nothing", "/?alias=x", "/shorten", "/static/x"):
        assert "set-cookie" not in httpx.get(server.url + path, timeout=60).headers
    assert counts() == before
    shorten()
    assert rows(server, "SELECT count(*) FROM sessions") == [(before[0][0][0] + 1,)]


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


def test_older_program_leaves_a_newer_file_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "DATABASE", tmp_path / "links.sqlite3")
    newer = [*database.MIGRATIONS, "ALTER TABLE links ADD COLUMN note TEXT"]
    for migrations in (newer, newer[:-1], newer):
        monkeypatch.setattr(database, "MIGRATIONS", migrations)
        database.migrate()

    with database.connected() as connection:
        assert tuple(connection.execute("PRAGMA user_version").fetchone()) == (len(newer),)


def test_workers_that_start_together_make_each_table_once(server, tmp_path):
    for turn in range(3):
        variables = {**environment(server.environment), "DATABASE": f"{tmp_path}/new/{turn}"}
        command = [sys.executable, "-c", "import database; database.migrate()"]
        started = [
            subprocess.Popen(command, cwd=server.folder, env=variables, stderr=subprocess.PIPE)
            for _ in range(6)
        ]
        assert [(one.communicate()[1], one.returncode) for one in started] == [(b"", 0)] * 6


@pytest.fixture(scope="module")
def strict(shared_servers, tmp_path_factory, measure):
    """Another process on the same database."""
    path = shared_servers("url_shortener").folder / "data" / "links.sqlite3"
    public = {"PUBLIC_URL": "https://Short.example/x/", "SHORTENER_RATE": "3"}
    folder = harness.copied("url_shortener", tmp_path_factory.mktemp("strict"))
    more = {**measure, **public, "DATABASE": str(path)}
    with harness.running(harness.SERVE, folder, more) as started:
        yield started


def test_processes_share_everything(strict, client, shorten):
    shorten(alias="shared")
    cookies = {"session_id": client.cookies["session_id"]}
    with strict.client(cookies=cookies) as other:
        assert "shared" in other.get("/links").text
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda at: (client, other)[at % 2].get("/shared"), range(40)))
        page = other.get("/links/shared").text
        assert "Clicks: 40." in page
        assert 'id="short">https://Short.example/x/shared<' in page
        # A proxy can hide the host from which the site's own forms come.
        for origin, status in (
            ("http://short.example", 404),
            ("https://short.example.evil.example", 404),
            ("https://short.example", 303),
        ):
            assert other.post("/delete/shared", headers={"origin": origin}).status_code == status
    assert client.get("/shared").status_code == 404


def test_limit_and_the_public_url(strict):
    def send(address, url=TARGET):
        headers = {"x-forwarded-for": address}
        return httpx.post(
            strict.url + "/shorten", data={"url": url}, headers=headers, timeout=60
        ).status_code

    statuses = [send("203.0.113.7") for _ in range(7)]
    # Another minute can begin meanwhile.
    assert statuses[:3] == [303] * 3
    assert set(statuses) == {303, 429}
    assert send("203.0.113.8", "https://short.example/x/shared") == 422
    assert send("203.0.113.8") == 303


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


def test_requests_from_this_machine():
    check_local(load("url_shortener", "local"))


def test_pages_run_no_script_of_theirs(client, shorten):
    odd = 'https://example.com/"><script>alert(1)</script>'
    made = shorten(odd, alias="odd-target").headers["location"]
    client.get("/odd-target")

    for path in ("/", "/links", made, "/nothing"):
        answer = client.get(path)
        assert_no_script(answer)
        assert answer.headers["cache-control"] == "no-store"
    style = client.get("/static/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert style.headers["cache-control"] == "max-age=3600"


@pytest.mark.usefixtures("today")
def test_pages_look_good(browsing, page, client, shorten):
    made = shorten("https://example.com/" + "long/" * 60, alias="good-looking").headers["location"]
    for _ in range(3):
        client.get("/good-looking")
    browsing.check_look("/")
    use_session_of(page, client)
    browsing.check_look(made, "/links", like=page)
    page.goto(made)
    assert page.locator("svg.chart rect:not([height='0'])").count() == 1
    assert page.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")


def test_browser_shortens_and_copies(browsing, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browsing.expected = ["422"]
    page.goto("/")
    fill_in(
        page,
        {"Long URL": "http://10.0.1/", "Name": "from-browser"},
        "Shorten",
        "no URL with a host",
    )
    browsing.check_accessible(page)
    fill_in(page, {"Long URL": TARGET}, "Shorten")
    page.get_by_role("heading", name="from-browser").wait_for()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()") == f"{browsing.url}/from-browser"
    fill_in(page, {}, "Delete", "None yet.")
