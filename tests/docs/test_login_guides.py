"""The promises of the guides about logins that the output on their pages does not show."""

import contextlib
import re
import shutil
import sqlite3

import httpx
import pytest

from docs._ext.blocks import blocks
from tests.docs.looking import found_on_page
from tests.docs.site import served
from tests.examples.accounts import opens_socket, with_live_socket
from tests.examples.browsing import Browsing
from tests.examples.harness import PLAIN
from tests.processes import ROOT, free_port, serving

HOWTO = ROOT / "docs" / "howto"
KEEP_ME = ["keep me signed in", "keep me logged in", "persistent login", "remember me"]
EVIL = {"origin": "https://evil.example"}


def page(name):
    return (HOWTO / name).read_text()


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes some files of a guide, in their first version or the last.

    The last is looked for above a heading, if one is given.
    """

    def write(name, *files, last=False, above=""):
        found = blocks(page(name).partition(f"\n## {above}\n")[0])
        for block in found if last else reversed(found):
            kind, _, file = block.comment.partition(": ")
            if kind == "file" and (file in files or not files):
                path = tmp_path / file
                path.parent.mkdir(exist_ok=True)
                if block.file:
                    shutil.copy(HOWTO / block.file, path)
                else:
                    path.write_text(block.text)
        return tmp_path

    return write


@contextlib.contextmanager
def visitor(folder, app="app"):
    port = free_port()
    with serving(f"uvicorn {app}:app", folder, port, {}):
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=60, verify=PLAIN) as client:
            yield client


def test_login_has_a_limit_with_the_two_lines_of_the_guide(folder):
    path = folder("authentication.md")
    folder("authentication.md", "rate_limit.py")
    lines = re.findall(r"^> (.*RateLimit.*)$", page("authentication.md"), re.M)
    assert len(lines) == 2
    with (path / "app.py").open("a") as file:
        print(*lines, sep="\n", file=file)

    with visitor(path) as client:
        form = {"name": "ada", "password": "wrong"}
        assert {client.get("/login").status_code for _ in range(21)} == {200}
        statuses = [client.post("/login", data=form).status_code for _ in range(21)]
        assert statuses == [400] * 20 + [429]
        assert client.post("/register", data=form).status_code == 429
        assert client.get("/register").status_code == 200


def kept_hash(path):
    with contextlib.closing(sqlite3.connect(path / "accounts.sqlite3")) as database:
        [[kept]] = database.execute("SELECT password FROM users WHERE name = 'Ada'")
    return kept


def test_argon2_takes_over_old_accounts(folder):
    form = {"name": "Ada", "password": "analytical engine"}
    path = folder("authentication.md")
    with visitor(path) as client:
        client.post("/register", data=form)
    old = kept_hash(path)
    assert not old.startswith("$argon2")

    shutil.move(path / "passwords.py", path / "scrypt_passwords.py")
    folder("authentication.md", "passwords.py", "accounts.py", last=True)
    with visitor(path) as client:
        for wrong in ({**form, "password": "difference engine"}, {"name": "Eve", "password": ""}):
            assert client.post("/login", data=wrong).status_code == 400
        assert kept_hash(path) == old
        for _ in range(2):
            assert client.post("/login", data=form).headers["location"] == "/account"
            assert kept_hash(path).startswith("$argon2id$")
        assert "The account of Ada" in client.get("/account").text
        assert client.post("/login", data={**form, "password": old}).status_code == 400


def test_form_of_a_visitor_without_a_session_leads_to_the_plain_login(folder):
    browser = {"accept": "text/html"}
    with visitor(folder("authentication.md")) as client:
        for method, location in [("GET", "/login?next=%2Faccount%3Fq%3D%2525"), ("POST", "/login")]:
            answer = client.request(method, "/account?q=%25", headers=browser)
            assert (answer.status_code, answer.headers["location"]) == (303, location)
        account = {"name": "Ada", "password": "analytical engine"}
        found = client.post("/register", data=account)
        assert found.headers["location"] == "/account"
        assert "Hello, Ada!" in client.get("/").text
        again = client.post("/login", data=account, params={"next": "/account?q=%25"})
        assert again.headers["location"] == "/account?q=%25"


def test_link_to_the_registration_passes_the_page_on(folder):
    with visitor(folder("authentication.md")) as client:
        plain, evil = (client.get(f"/login{query}").text for query in ("", "?next=//evil.example"))
        assert '<a href="/register">' in plain
        (link,) = re.findall('href="(/register.*?)"', client.get("/login?next=/recipes?a=1").text)
        form = {"name": "Ada", "password": "analytical engine"}
        assert client.post(link, data=form).headers["location"] == "/recipes?a=1"
        (link,) = re.findall('href="(/register.*?)"', evil)
        form["name"] = "Bob"
        assert client.post(link, data=form).headers["location"] == "/account"


def end_at_once(folder):
    """Let a login that isn't kept end before the next request."""
    text = (folder / "keeping.py").read_text()
    assert text.count("12 * HOUR, 30") == 1
    (folder / "keeping.py").write_text(text.replace("12 * HOUR, 30", "-1, 30"))


def test_no_middleware_sees_the_user_of_a_login_that_is_over(folder):
    folder("authentication.md")
    files = ("app.py", "templates/login.html", "keeping.py")
    path = folder("authentication.md", *files, last=True, above="Put the login into Redis")
    end_at_once(path)

    form = {"name": "Ada", "password": "analytical engine"}
    with visitor(path) as client:
        client.post("/register", data=form)
        assert "Hello, Ada!" not in client.get("/").text
        client.post("/login", data={**form, "keep": "on"})
        assert "Hello, Ada!" in client.get("/").text


@pytest.mark.parametrize("name", ["authentication.md", "sessions.md"])
def test_middleware_that_ends_sessions_is_the_first(name):
    ending = re.findall(r"class (End\w+)\(HttpMiddleware, WebSocketMiddleware\)", page(name))

    assert ending
    for middleware in ending:
        for middlewares in ("middlewares", "ws_middlewares"):
            assert f"app.{middlewares}.insert(0, {middleware}())" in page(name)


def test_login_of_a_deleted_account_opens_no_websocket(folder):
    path = folder("authentication.md")
    with_live_socket(path / "app.py")
    with visitor(path) as client:
        client.post("/register", data={"name": "Ada", "password": "analytical engine"})
        assert opens_socket(client)
        with contextlib.closing(sqlite3.connect(path / "accounts.sqlite3")) as database, database:
            database.execute("DELETE FROM users")
        assert not opens_socket(client)


def test_logout_on_all_devices_reaches_websockets(folder):
    path = folder("authentication.md", "devices.py")
    with_live_socket(path / "devices.py")
    with visitor(path, "devices") as client:
        client.post("/login")
        phone = httpx.Client(base_url=client.base_url, cookies=client.cookies)
        client.cookies.clear()
        client.post("/login")
        assert opens_socket(phone)
        client.post("/end-other-sessions")
        assert [opens_socket(one) for one in (phone, client)] == [False, True]


@pytest.mark.parametrize(
    "module, file, ends",
    [("kept", "keeping.py", "12 * HOUR, 30"), ("timeouts", "timeouts.py", "12 * 60 * 60")],
)
def test_login_that_is_over_opens_no_websocket(folder, module, file, ends):
    path = folder("sessions.md", "keeping.py", "kept.py", "timeouts.py")
    with_live_socket(path / f"{module}.py")
    with visitor(path, module) as client:
        client.post("/login")
        assert opens_socket(client)
    text = (path / file).read_text()
    assert text.count(ends) == 1
    (path / file).write_text(text.replace(ends, f"-{ends}"))
    with visitor(path, module) as client:
        client.post("/login")
        assert not opens_socket(client)


def test_cookie_of_another_name_is_kept(folder):
    path = folder("sessions.md", "keeping.py", "kept.py")
    app = (path / "kept.py").read_text()
    assert app.count("Root()") == 1
    named = app.replace("Root()", 'Root(session_cookie_name="shop", session_timeout=9)')
    (path / "kept.py").write_text(named)

    with visitor(path, "kept") as client:
        kept = client.post("/login", data={"keep": "on"}).headers["set-cookie"]
        assert kept.startswith("shop=")
        assert "; Max-Age=259" in kept


def test_login_that_is_not_kept_ends_and_the_other_lasts(folder):
    path = folder("sessions.md", "keeping.py", "kept.py")
    end_at_once(path)

    with visitor(path, "kept") as client:
        assert client.post("/login", data={}).status_code == 303
        assert client.get("/account").status_code == 401
        kept = client.post("/login", data={"keep": "on"}).headers["set-cookie"]
        assert "; Max-Age=259" in kept
        assert client.get("/account").status_code == 200
        for form in ("/login", "/logout"):
            answer = client.post(form, data={"keep": "on"}, headers=EVIL)
            assert "set-cookie" not in answer.headers
        assert client.get("/account").status_code == 200
        assert "Max-Age=0" in client.post("/logout").headers["set-cookie"]


def test_search_finds_the_kept_login(browser, site):
    with served(site.folder) as url, contextlib.closing(Browsing(browser, url)) as browsing:
        opened = browsing.page()
        opened.goto("/search.html")
        for typed in KEEP_ME:
            found = found_on_page(opened, f"{browsing.url}/", typed)[:3]
            pages = {address.partition("#")[0] for address in found}
            assert pages & {"howto/sessions", "examples/login"}, (typed, found)
