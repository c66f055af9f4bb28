"""examples/url_shortener: targets, names, races for a name, clicks, charts, tokens."""

import asyncio
import contextlib
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, date, datetime, timedelta

import httpx
import pytest

from micropie import Request, current_request
from tests import asgi
from tests.examples import harness
from tests.examples.accounts import assert_no_script, csrf_token, post
from tests.examples.browsing import fill_in, use_session_of
from tests.examples.copied import check_local, check_public_origin, check_sql_sessions
from tests.examples.loading import load
from tests.processes import until, wait_until

aliases = load("url_shortener", "aliases")
chart = load("url_shortener", "chart")
site_base = load("url_shortener", "site_base")
sql_sessions = load("url_shortener", "sql_sessions")
store = load("url_shortener", "store")
targets = load("url_shortener", "targets")
TARGET = "https://example.com/a/long/way?x=1&y=2#there"

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def shorten(client):
    """Send the form; return what is answered."""

    return lambda url=TARGET, **values: post(client, "/shorten", "/", url=url, **values)


@pytest.fixture
def token(client):
    """An API token of the client's own visitor."""
    page = post(client, "/tokens")
    assert page.status_code == 201
    return re.search(r'<code id="token">([^<]+)', page.text)[1]


@pytest.fixture
def api(server, token):
    """A program with that token, and no cookies."""
    with server.client(headers={"authorization": f"Bearer {token}"}) as opened:
        yield opened


def rows(server, statement, *values):
    with (
        closing(sqlite3.connect(server.folder / "links.sqlite3", timeout=60)) as connection,
        connection,
    ):
        return connection.execute(statement, values).fetchall()


def test_form_makes_a_link(client, shorten):
    answer = shorten(alias="Form-Made")
    page = client.get(answer.headers["location"]).text

    assert (answer.status_code, answer.headers["location"]) == (303, "/links/form-made")
    assert f"{client.base_url}/form-made" in page
    for written in ("/form-made", "/Form-Made"):
        followed = client.get(written)
        assert followed.status_code == 302
        assert followed.headers["location"] == TARGET
        assert followed.headers["cache-control"] == "no-store"


def test_link_without_a_name_gets_a_random_one(shorten):
    names = {shorten().headers["location"].rpartition("/")[2] for _ in range(5)}

    assert len(names) == 5
    assert all(re.fullmatch(f"[{aliases.ALPHABET}]{{8}}", name) for name in names)


@pytest.mark.parametrize(
    ("field", "status", "values"),
    [
        ("url", 422, {"url": "ftp://example.com/"}),
        ("url", 422, {"url": ""}),
        ("alias", 422, {"alias": "no blanks"}),
        ("alias", 409, {"alias": "taken-by-form"}),
        ("expires", 422, {"expires": "soon"}),
    ],
)
def test_form_says_what_is_wrong(shorten, field, status, values):
    shorten(alias="taken-by-form")
    answer = shorten(**values)

    assert answer.status_code == status
    assert answer.text.count('role="alert"') == answer.text.count('aria-invalid="true"') == 1
    assert f'id="{field}-problem"' in answer.text
    assert values.get("alias", "") in answer.text


AS_WRITTEN = """
    http://example.com:8080/ http://xn--bcher-kva.example.com/ http://8.8.8.8/ https://_dmarc.example.com/
    http://[2606:4700::1111]:8080/ https://example.com/%20?q=a%26b
"""


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com", "https://example.com/"),
        ("  HTTPS://Example.COM:443/A?b#c  ", "https://example.com/A?b#c"),
        ("http://example.com.:80/", "http://example.com/"),
        (
            "http://bücher.example.com/straße?ü=€#ä",
            "http://xn--bcher-kva.example.com/stra%C3%9Fe?%C3%BC=%E2%82%AC#%C3%A4",
        ),
        ('https://example.com/"><script>', "https://example.com/%22%3E%3Cscript%3E"),
        *((url, url) for url in AS_WRITTEN.split()),
    ],
)
def test_targets_are_kept_as_browsers_see_them(url, kept):
    assert targets.checked(url, {"short.test", ""}) == kept
    assert targets.checked(kept, set()) == kept


REFUSED = """
    example.com //example.com/ javascript:alert(1) data:text/html,x file:///etc/passwd http:///path
    http://user@example.com/ http://user:password@example.com/ http://@example.com/
    http://example.com:99999/ http://[::1/ http://localhost/ http://printer/ http://router.local/
    http://db.internal/ http://x.localhost./ http://127.0.0.1/ http://127.1/ http://2130706433/
    http://0x7f.1/ http://0x7f000001/ http://017700000001/ http://10.1.2.3/ http://172.16.0.1/
    http://192.168.1.1/ http://169.254.169.254/latest/meta-data http://100.64.0.1/ http://0.0.0.0/
    http://224.0.0.1/ http://255.255.255.255/ http://1.2.3.4.5/ http://[::]/ http://[::1]/
    http://[fe80::1]/ http://[fe80::1%25eth0]/ http://[fd00::1]/ http://[ff02::1]/
    http://[::ffff:127.0.0.1]/ http://[2002:7f00:1::]/ http://１２７.0.0.1/ http://straße.de/
    http://exa%6dple.com/ http://-example.com/ http://example..com/ http://<script>.com/
    https://short.example.net/abc https://SHORT.example.net:8443/abc http://own.example.net:8000/
"""
ODD = [
    "",
    "http://good.example.com\\@evil.example.com/",
    "http://exa mple.com/",
    "http://example.com/\r\nSet-Cookie: x=1",
    "http://example.com/\u2028x",
    "java\tscript:alert(1)",
    "http://" + "a" * 64 + ".com/",
    "http://ä" + "ä" * 64 + ".com/",
    "http://" + "a." * 200 + "com/",
    "https://example.com/" + "x" * 2048,
    "https://example.com/" + "🥧" * 200,  # 2420 characters when it is sent
]


@pytest.mark.parametrize("url", [*REFUSED.split(), *ODD])
def test_targets_that_are_refused(url):
    with pytest.raises(targets.TargetError) as refused:
        targets.checked(url, {"short.example.net:443", "own.example.net:8000", ""})

    assert str(refused.value)[0].isupper()


def test_own_host_is_refused(api):
    for url in ("https://short.example.net/x", "http://short.example.net:8000/"):
        answer = api.post(
            "/api/links", json={"url": url}, headers={"host": "short.example.net:443"}
        )
        assert (answer.status_code, answer.json()["error"]) == (422, "This link is short already.")
    assert api.post("/api/links", json={"url": "https://short.example.net/x"}).status_code == 201


@pytest.mark.parametrize(
    "alias", ["ab", "a" * 41, "-abc", "abc-", "a--b", "a_b", "a.b", "a/b", "käse", "a b", "abc\n-"]
)
def test_odd_names_are_refused(alias):
    with pytest.raises(aliases.AliasError):
        aliases.checked(alias, frozenset())


def test_names_of_pages_are_reserved(server, shorten):
    shown = httpx.get(server.url + "/nothing-of-that-name")
    assert shown.status_code == 404
    names = re.findall(r"async def ([a-z]\w*)\(self", (server.folder / "app.py").read_text())
    names += re.findall(
        r"async def ([a-z]\w*)\(self, name", (server.folder / "site_base.py").read_text()
    )

    assert {"index", "links", "delete_token", "static", "api"} <= set(names)
    for name in [*names, "admin", "LOGIN"]:
        for alias in (name, name.replace("_", "-")):
            if re.fullmatch(r"[A-Za-z-]{3,}", alias):
                answer = shorten(alias=alias)
                assert answer.status_code == 422, alias
                assert "is reserved" in answer.text


def test_one_of_many_gets_a_name(api):
    bodies = [{"url": f"https://example.com/{at}", "alias": "wanted-by-all"} for at in range(16)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: api.post("/api/links", json=body), bodies))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15
    [winner] = [answer.json()["url"] for answer in answers if answer.status_code == 201]
    assert api.get("/wanted-by-all").headers["location"] == winner


@pytest.mark.real_time
async def test_taken_random_name_is_drawn_again(monkeypatch, tmp_path):
    app = load("url_shortener", "app")
    names = iter(["same-one", "same-one", "another"])
    monkeypatch.setattr(app.aliases, "drawn", lambda: next(names))
    monkeypatch.setattr(app, "DATABASE", f"sqlite+aiosqlite:///{tmp_path}/links.sqlite3")

    shortener = app.Shortener()
    async with asgi.lifespan(shortener):
        current_request.set(Request({"type": "http", "headers": []}))
        for name in ("same-one", "another"):
            assert (await shortener._new(TARGET, "", "never", "owner")).alias == name


def test_clicks_are_counted(client, shorten):
    shorten(alias="counted")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: client.get("/counted"), range(40)))
    client.head("/counted")
    client.get("/counted", headers={"sec-purpose": "prefetch;prerender"})
    page = client.get("/links/counted").text

    assert "<span>40 clicks</span>" in page
    assert re.search(r"40 clicks in the last 30 days, at most 40, on \d+ \w+ 20\d\d", page)
    assert re.search(rf"<tr><td>{datetime.now(UTC).date()}</td><td[^>]*>40</td>", page)
    assert "<span>40 clicks</span>" in client.get("/links").text


def test_clicks_reach_the_database_by_themselves(server, client, shorten):
    shorten(alias="by-itself")
    client.get("/by-itself")
    query = "SELECT count FROM clicks JOIN links ON links.id = link_id WHERE alias = 'by-itself'"
    wait_until(lambda: rows(server, query) == [(1,)], what="the click in the database")


def test_shutdown_writes_the_last_clicks(tmp_path, measure):
    folder = harness.copied("url_shortener", tmp_path)
    more = {
        **measure,
        "SHORTENER_WRITE_EVERY": "60",
        "SHORTENER_RATE": "2",
        "SHORTENER_URL": "https://s.example.net/",
    }
    with harness.running(harness.SERVE, folder, more) as server, server.client() as client:
        made = post(client, "/shorten", "/", url=TARGET, alias="last")
        assert client.get("/last").status_code == 302
        page = client.get(made.headers["location"]).text
        assert "https://s.example.net/last" in page
        assert client.get("/last").status_code == 302
        assert rows(server, "SELECT sum(count) FROM clicks") == [(1,)]
        for url, status in (("https://s.example.net/last", 422), (TARGET, 303), (TARGET, 429)):
            assert post(client, "/shorten", "/", url=url).status_code == status

    assert rows(server, "SELECT sum(count) FROM clicks") == [(2,)]


@contextlib.asynccontextmanager
async def own_store(tmp_path):
    engine = sql_sessions.make_engine(f"sqlite+aiosqlite:///{tmp_path}/links.sqlite3")
    links = store.LinkStore(engine)
    await links.create_tables()
    try:
        yield links
    finally:
        await engine.dispose()


@pytest.mark.real_time
async def test_clicks_that_cannot_be_written_count_later(tmp_path):
    async with own_store(tmp_path) as links:
        link = await links.add("name", TARGET, "owner", None)
        gone = await links.add("gone", TARGET, "owner", None)
        for _ in range(3):
            links.click(link)
        links.click(gone)
        engine, links.engine = links.engine, None
        with pytest.raises(AttributeError):
            await links.write_clicks()
        links.engine = engine
        links.click(link)
        await links.delete("gone", "owner")
        again = await links.add("gone", TARGET, "owner", None)
        assert gone.id != again.id
        assert [await links.total(one) for one in (link, again, gone)] == [4, 0, 0]


@pytest.mark.real_time
async def test_clicks_that_are_being_written_are_counted(tmp_path):
    async with own_store(tmp_path) as links:
        link = await links.add("name", TARGET, "owner", None)
        links.click(link)
        write = asyncio.create_task(links.write_clicks())
        # One turn of the loop: the task has started and waits for the database.
        await asyncio.sleep(0)
        assert not links._unwritten
        assert not write.done()
        assert await links.total(link) == sum((await links.per_day(link, 1)).values()) == 1
        assert (await links.owned("owner"))[0].total == 1
        await write


async def test_counting_survives_a_broken_database(caplog):
    failures = []

    async def write_clicks():
        failures.append(1)
        raise OSError("the disk is full")

    site = site_base.Site(None, rate=1, public_url=None)
    site._repeat(write_clicks, 1)
    site.shutdown_handlers.append(site._stop_repeating)
    async with asgi.lifespan(site):
        await until(lambda: len(failures) >= 3)
    assert {record.exc_info[0] for record in caplog.records} == {OSError}
    assert "write_clicks failed" in caplog.text


def test_limiter_remembers_so_many_clients():
    limiter = site_base.MemoryLimiter(1, 60, clients=2)

    assert [limiter.wait(key) > 0 for key in "aabbcca"] == [
        False,
        True,
        False,
        True,
        False,
        True,
        False,
    ]


@pytest.mark.real_time
async def test_expired_names_are_kept_for_a_while(tmp_path):
    async with own_store(tmp_path) as links:
        now = time.time()
        for name, expires in (
            ("long-ago", now - 100),
            ("lately", now - 10),
            ("later", now + 10),
            ("never", None),
        ):
            links.click(await links.add(name, TARGET, "owner", expires))
        await links.write_clicks()
        await links.delete_expired(60)
        left = sorted((link.alias, link.expired, link.total) for link in await links.owned("owner"))
    assert left == [("lately", True, 1), ("later", False, 1), ("never", False, 1)]


def test_expired_link_leads_nowhere(server, client, shorten):
    shorten(alias="expired", expires="1d")
    assert "Expires on" in client.get("/links/expired").text
    assert client.get("/expired").status_code == 302
    rows(server, "UPDATE links SET expires = ? WHERE alias = 'expired'", time.time() - 1)

    assert client.get("/expired").status_code == 410
    assert "This link has expired." in client.get("/expired", headers={"accept": "text/html"}).text
    assert "Expired on" in client.get("/links/expired").text
    assert "<span>expired</span>" in client.get("/links").text
    assert shorten(alias="expired").status_code == 409


def test_links_belong_to_one_visitor(server, client, shorten):
    shorten(alias="my-own")
    with server.client() as other:
        assert "my-own" not in other.get("/links").text
        assert other.get("/links/my-own").status_code == 404
        assert post(other, "/delete/my-own", "/").status_code == 404
        assert post(other, "/shorten", "/", url=TARGET, alias="their-own").status_code == 303
        assert other.get("/links/my-own").status_code == 404
    assert client.post("/delete/my-own").status_code == 403
    assert client.get("/my-own").status_code == 302
    assert post(client, "/delete/my-own", "/links/my-own").headers["location"] == "/links"
    assert client.get("/my-own").status_code == client.get("/links/my-own").status_code == 404


def test_qr_code_is_an_svg_of_the_short_link(client, shorten):
    import segno

    shorten(alias="scanned")
    answer = client.get("/qr/scanned")

    assert answer.headers["content-type"] == "image/svg+xml"
    modules = (
        segno.make(f"{client.base_url}/scanned", error="m", micro=False)
        .svg_inline()
        .split(' d="')[1]
    )
    assert modules.split('"')[0] in answer.text
    assert client.get("/qr/nothing").status_code == 404


def test_api_creates_shows_and_deletes_a_link(api, client):
    made = api.post("/api/links", json={"url": TARGET, "alias": "by-api", "expires": "30d"})
    link = made.json()

    assert (made.status_code, made.headers["location"]) == (201, "/api/links/by-api")
    assert link["short"] == f"{api.base_url}/by-api"
    until = datetime.fromisoformat(link.pop("expires"))
    assert abs((until - datetime.now(UTC)) - timedelta(days=30)) < timedelta(minutes=1)
    assert {**link, "short": ""} == {"short": "", "url": TARGET, "alias": "by-api", "clicks": 0}
    api.get("/by-api")
    shown = api.get("/api/links/by-api").json()
    assert shown["clicks"] == sum(shown["per_day"].values()) == 1
    assert len(shown["per_day"]) == 30
    assert [link["alias"] for link in api.get("/api/links").json()["links"]] == ["by-api"]
    assert "by-api" in client.get("/links").text, "the owner of the token sees it"
    assert api.delete("/api/links/by-api").status_code == 204
    assert api.get("/api/links/by-api").status_code == api.get("/by-api").status_code == 404


def test_api_says_what_is_wrong(api):
    for field, bodies in (
        ("url", [{}, {"url": None}, {"url": ["https://example.com/"]}, ["https://example.com/"]]),
        ("alias", [{"url": TARGET, "alias": 5}, {"url": TARGET, "alias": "api"}]),
        ("expires", [{"url": TARGET, "expires": ""}]),
    ):
        for body in bodies:
            answer = api.post("/api/links", json=body)
            assert (answer.status_code, answer.json()["field"]) == (422, field), body
            assert answer.json()["error"]


def test_api_errors_are_json(api):
    answers = [
        api.post("/api/links", content="{", headers={"content-type": "application/json"}),
        api.put("/api/links", json={}),
        api.post("/api/links/name", json={}),
        api.delete("/api/links", headers={"accept": "application/json"}),
        api.get("/api", headers={"accept": "application/json"}),
        api.get("/api/links/a/b", headers={"accept": "application/json"}),
        api.delete("/api/links/not-mine"),
    ]

    assert [answer.status_code for answer in answers] == [400, 405, 405, 405, 404, 404, 404]
    assert all(answer.json()["error"] for answer in answers)
    assert answers[3].headers["allow"] == "GET, HEAD, POST"


def test_api_asks_for_a_token(server, token):
    for authorization in ("", "Bearer", "Bearer wrong", f"Basic {token}", token):
        answer = httpx.get(f"{server.url}/api/links", headers={"authorization": authorization})
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert (
        httpx.get(
            f"{server.url}/api/links", headers={"authorization": f"bearer {token}"}
        ).status_code
        == 200
    )


def test_tokens_are_kept_as_hashes_and_deleted(server, client, token):
    page = client.get("/tokens").text
    [digest] = re.findall(r'action="/delete-token/([0-9a-f]{64})"', page)
    headers = {"authorization": f"Bearer {token}"}

    assert token not in page
    assert token[:6] in page
    assert rows(server, "SELECT count(*) FROM tokens WHERE token = ?", token) == [(0,)]
    with server.client() as other:
        post(other, f"/delete-token/{digest}", "/")
    assert httpx.get(f"{server.url}/api/links", headers=headers).status_code == 200
    post(client, f"/delete-token/{digest}", "/tokens")
    assert httpx.get(f"{server.url}/api/links", headers=headers).status_code == 401


def test_tokens_are_limited(client):
    assert [post(client, "/tokens").status_code for _ in range(11)] == [201] * 10 + [409]


@pytest.mark.parametrize(
    ("counts", "top", "summary"),
    [
        ([0, 0], 1, "No clicks in the last 2 days."),
        ([0, 1], 1, "1 click in the last 2 days, at most 1, on 2 March 2026."),
        ([7, 2], 8, "9 clicks in the last 2 days, at most 7, on 1 March 2026."),
        ([1234, 2], 2000, "1236 clicks in the last 2 days, at most 1234, on 1 March 2026."),
    ],
)
def test_chart_has_a_bar_for_each_day(counts, top, summary):
    drawn = chart.chart({date(2026, 3, at): count for at, count in enumerate(counts, 1)})

    assert (drawn.top, drawn.summary) == (top, summary)
    for bar, count in zip(drawn.bars, counts, strict=True):
        assert bar.height == pytest.approx(drawn.height * count / top, abs=0.01)
        assert bar.y + bar.height == pytest.approx(drawn.height)
        assert 0 <= bar.x < bar.x + bar.width <= drawn.width


def test_pages_run_no_script_of_theirs(client, shorten):
    made = shorten('https://example.com/"><script>alert(1)</script>', alias="odd-target").headers[
        "location"
    ]
    client.get("/odd-target")

    for path in ("/", "/links", "/tokens", made):
        assert_no_script(client.get(path))


def test_pages_look_good(browsing, page, client, shorten):
    made = shorten("https://example.com/" + "long/" * 60, alias="good-looking").headers["location"]
    for _ in range(3):
        client.get("/good-looking")
    browsing.check_look("/")
    use_session_of(page, client)
    browsing.check_look(made, "/links", "/tokens", like=page)
    page.goto(made)
    assert page.locator("svg.chart rect").count() == 1
    assert page.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")


def test_browser_shortens_and_copies(browsing, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    browsing.expected = ["422"]
    page.goto("/")
    fill_in(
        page,
        {"Long URL": "http://10.0.0.1/", "Name": "from-browser"},
        "Shorten",
        "not on the public web",
    )
    browsing.check_accessible(page)
    fill_in(page, {"Long URL": TARGET}, "Shorten")
    page.get_by_role("heading", name="from-browser").wait_for()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()

    assert page.evaluate("navigator.clipboard.readText()") == f"{browsing.url}/from-browser"
    fill_in(page, {}, "Delete", "None yet.")


def test_host_of_a_stranger_is_in_no_link(client, shorten):
    alias = shorten().headers["location"].rpartition("/")[2]
    for host in ("x" * 3000, "a'b", "", "evil.example"):
        assert client.get(f"/qr/{alias}", headers={"host": host}).status_code == 400
        page = client.get(f"/links/{alias}", headers={"host": host}).text
        assert f'id="short">/{alias}<' in page
        assert not host or host not in page


@pytest.mark.real_time
async def test_sessions_are_changed_in_one_step(tmp_path):
    await check_sql_sessions(sql_sessions, tmp_path)


def test_requests_from_this_machine():
    check_local(load("url_shortener", "local"))


def test_forms_of_other_sites_are_refused(client, server):
    token = csrf_token(client.get("/").text)
    sent = {"csrf_token": token, "url": TARGET}
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://[half"},
        {"origin": ""},
        {"sec-fetch-site": "cross-site", "origin": server.url},
    ):
        assert client.post("/shorten", data=sent, headers=headers).status_code == 403, headers
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert client.post("/shorten", data=sent, headers=own).status_code == 303


def test_public_url_is_an_own_origin():
    check_public_origin(site_base)


def test_visits_store_nothing(server, shorten):
    def rows():
        with closing(sqlite3.connect(server.folder / "links.sqlite3")) as database:
            return database.execute("SELECT count(*) FROM sessions").fetchone()[0]

    before = rows()
    for path in ("/", "/links", "/tokens", "/nothing", "/"):
        assert "session_id" not in httpx.get(server.url + path).cookies
    assert rows() == before
    shorten()
    assert rows() == before + 1


@pytest.mark.real_time
async def test_workers_that_start_together_make_each_table_once(tmp_path):
    engines = [
        sql_sessions.make_engine(f"sqlite+aiosqlite:///{tmp_path}/links.sqlite3") for _ in range(8)
    ]
    async with engines[0].connect():  # so that the file is there before the others
        pass
    await asyncio.gather(*(store.LinkStore(engine).create_tables() for engine in engines))
    for engine in engines:
        await engine.dispose()
