"""examples/login, with a mail server, SQLite and PostgreSQL, and sessions in both and in Redis"""

import concurrent.futures
import contextlib
import itertools
import json
import re
import sqlite3
import time

import httpx
import pytest

from micropie import Request
from tests.examples.accounts import (
    CLIENTS,
    PASSWORD,
    opens_socket,
    session_ids,
    with_live_socket,
)
from tests.examples.accounts import sign_in_to_login as sign_in
from tests.examples.browsing import fill_in
from tests.examples.copied import check_redis_sessions, check_sql_sessions
from tests.examples.harness import copied, running
from tests.examples.loading import load
from tests.examples.smtp import MAILS, mails_to, token_for

numbers = itertools.count()
CLIENT = "127.0.0.1"


@pytest.fixture
def address():
    """An address that no other test has."""
    return f"user{next(numbers)}@example.org"


@pytest.fixture(params=["SQLite", "PostgreSQL", "Redis"])
def anew(request, tmp_path, services, measure):
    """Opens a visitor's client, of a server with its data in one of the places."""
    environment = services.environment("login")
    more = {
        "SQLite": {},
        "PostgreSQL": {"DATABASE_URL": environment["POSTGRESQL_URL"]},
        "Redis": {"SESSION_STORE": environment["REDIS_URL"]},
    }[request.param]
    settings = {**measure, **environment, **more, "PUBLIC_URL": "https://accounts.example/"}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(running("python app.py", copied("login", tmp_path), settings))
        yield lambda: stack.enter_context(server.client())


@pytest.fixture
def rows(server):
    """Executes a statement in the database of the example."""

    def execute(statement, *values):
        path = server.folder / "data" / "app.sqlite3"
        with contextlib.closing(sqlite3.connect(path, timeout=30)) as db, db:
            return db.execute(statement, values).fetchall()

    return execute


def asked(client, path, email):
    return client.post(path, data={"email": email})


def chosen(client, token, password=PASSWORD):
    return client.post(f"/reset/{token}", data={"new_password": password})


def logged_in(client, email, password=PASSWORD):
    return client.post("/login", data={"email": email, "password": password})


def test_account_from_sign_up_to_a_new_password(anew, address):
    client, other = anew(), anew()
    assert asked(client, "/sign_up", address.upper()).status_code == 200
    content = mails_to(address)[-1].get_payload(decode=True)
    assert isinstance(content, bytes)
    text = content.decode()
    assert "https://accounts.example/reset/" in text
    assert (mails_to(address)[-1], True) in MAILS, "the mail came without TLS or a login"
    assert client.get(f"/reset/{token_for(address)}").status_code == 200
    assert chosen(client, token_for(address)).headers["location"] == "/account"
    assert address in client.get("/account").text

    assert logged_in(other, address, "wrong").status_code == 400
    assert not session_ids(other)
    assert logged_in(other, address).status_code == 303
    change = {"password": PASSWORD, "new_password": "another password"}
    assert other.post("/account", data={**change, "password": "wrong"}).status_code == 400
    assert client.get("/account").status_code == 200
    before = session_ids(other)
    assert other.post("/account", data=change).status_code == 303
    assert not before & session_ids(other)
    assert [one.get("/account").status_code for one in (client, other)] == [401, 200]
    assert logged_in(client, address).status_code == 400

    asked(client, "/reset", address)
    assert chosen(client, token_for(address), "a third password").status_code == 303
    assert [one.get("/account").status_code for one in (client, other)] == [200, 401]
    kept = {"cookie": f"session_id={client.cookies['session_id']}"}
    client.post("/logout")
    assert client.get("/account", headers=kept).status_code == 401


def test_answers_do_not_tell_which_accounts_exist(client, address):
    known, unknown = address, f"no-{address}"
    sign_in(client, known)
    answers = []
    for email in (known, unknown):
        with httpx.Client(base_url=client.base_url, timeout=60) as visitor:
            found = [asked(visitor, path, email) for path in ("/sign_up", "/reset")]
            found.append(logged_in(visitor, email, "wrong password"))
            answers.append(
                [
                    (answer.status_code, answer.text.replace(email, "ADDRESS"), len(answer.headers))
                    for answer in found
                ]
            )
        assert len(mails_to(email)) == 2 + (email == known)
    assert answers[0] == answers[1]


def test_token_is_good_for_one_of_many_at_once(client, address, rows):
    asked(client, "/reset", address)
    token = token_for(address)
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        statuses = [*threads.map(lambda _: chosen(client, token).status_code, range(8))]

    assert sorted(statuses) == [303] + [400] * 7
    assert rows("SELECT count(*) FROM users WHERE email = ?", address) == [(1,)]


def test_token_has_an_end_and_is_kept_as_a_hash(client, address, rows, server):
    asked(client, "/reset", address)
    token = token_for(address)
    for path in (server.folder / "data").iterdir():
        assert token.encode() not in path.read_bytes()
    rows("UPDATE tokens SET expires = 0 WHERE email = ?", address)

    assert "older than an hour" in chosen(client, token).text
    assert "older than an hour" in chosen(client, "x").text


def test_new_password_ends_the_other_tokens(client, address):
    asked(client, "/reset", address)
    earlier = token_for(address)
    asked(client, "/reset", address)

    assert chosen(client, token_for(address), "too short").status_code == 400
    assert chosen(client, token_for(address)).status_code == 303
    assert chosen(client, earlier).status_code == 400


def test_inbox_is_not_filled(client, address):
    answers = {asked(client, "/reset", address).text for _ in range(5)}

    assert len(answers) == 1
    assert len(mails_to(address)) == 3


@pytest.mark.parametrize(
    "wrong",
    ["", "a", "a,b@c.d", "a@b.c,d@e.f", "a@b.c\nBcc: d@e.f", "é@b.c", "a\0@b.c", "a@" * 101],
)
def test_what_is_no_address_gets_no_mail(client, wrong):
    before = len(MAILS)

    assert asked(client, "/sign_up", wrong).status_code == 400
    assert logged_in(client, wrong).status_code == 400
    assert len(MAILS) == before


def test_host_is_not_believed(client, address):
    client.post("/reset", data={"email": address}, headers={"host": "evil.example"})

    assert "evil.example" not in mails_to(address)[-1].as_string()


def test_password_is_not_taken_from_the_url(client, address):
    sign_in(client, address)
    client.post("/logout")

    assert client.post(f"/login?email={address}&password={PASSWORD}").status_code == 400
    assert client.get("/account?user_id=1").status_code == 401


def test_tries_have_a_limit(tmp_path, measure, services, address):
    settings = {**measure, **services.environment("login"), "LOGIN_TRIES": "3"}
    folder = copied("login", tmp_path)
    with running("python app.py", folder, settings) as server, server.client() as client:
        for _ in range(5):  # what is right does not count
            sign_in(client, address)
        with sqlite3.connect(folder / "data" / "app.sqlite3", timeout=60) as db:
            db.execute("DELETE FROM tries")
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            answers = [*threads.map(lambda _: logged_in(client, address, "wrong"), range(8))]
        assert {answer.status_code for answer in answers} <= {400, 429}
        assert sum(answer.status_code == 400 for answer in answers) <= 3
        while (answer := logged_in(client, address, "wrong")).status_code != 429:
            pass
        assert answer.headers["retry-after"] == "900"
        for refused in (logged_in(client, address), asked(client, "/reset", address)):
            assert refused.status_code == 429
        with sqlite3.connect(folder / "data" / "app.sqlite3", timeout=60) as db:
            db.execute("UPDATE tries SET at = at - 901")
        assert logged_in(client, address).status_code == 303


def ticked(client, email, origin=None):
    """Log in with a tick at "Keep me logged in"; return the cookies that the response sets."""
    form = {"email": email, "password": PASSWORD, "keep": "on"}
    headers = {"origin": origin} if origin else {}
    return client.post("/login", data=form, headers=headers).headers.get_list("set-cookie")


def test_login_is_kept_if_the_user_wants_that(client, address, server):
    sign_in(client, address)
    assert "Max-Age" not in str(logged_in(client, address).headers)
    [cookie] = ticked(client, address, origin=server.url)
    name, _, attributes = cookie.partition("; ")
    assert re.fullmatch(r"Path=/; HttpOnly; SameSite=Lax; Max-Age=2(592000|591\d{3})", attributes)

    change = {"password": PASSWORD, "new_password": PASSWORD}
    [changed] = client.post("/account", data=change).headers.get_list("set-cookie")
    assert "Max-Age=2" in changed
    assert name not in changed
    [ended] = client.post("/logout").headers.get_list("set-cookie")
    assert "Max-Age=0" in ended


def test_page_of_another_site_logs_no_one_in_or_out(client, address):
    sign_in(client, address)
    ticked(client, address)
    before = session_ids(client)

    evil = {"origin": "https://evil.example"}
    assert ticked(client, address, **evil) == []
    assert "set-cookie" not in client.post("/logout", headers=evil).headers
    assert session_ids(client) == before
    assert client.get("/account").status_code == 200
    client.cookies.clear()
    assert ticked(client, address, **evil) == []
    assert client.get("/account").status_code == 401


@pytest.mark.parametrize("keep, lasts", [("", 12 * 3600), ("on", 30 * 24 * 3600)])
def test_login_ends(client, address, rows, keep, lasts):
    sign_in(client, address)
    rows("DELETE FROM sessions")
    client.post("/login", data={"email": address, "password": PASSWORD, "keep": keep})
    [(text,)] = rows("SELECT data FROM sessions")
    session = json.loads(text)
    assert session["ends"] == pytest.approx(time.time() + lasts, abs=60)
    assert client.get("/account").status_code == 200

    rows("UPDATE sessions SET data = ?", json.dumps({**session, "ends": time.time() - 1}))
    assert client.get("/account").status_code == 401


def test_session_that_has_ended_opens_no_websocket(tmp_path, measure, services, address):
    folder = copied("login", tmp_path)
    with_live_socket(folder / "app.py")
    settings = {**measure, **services.environment("login")}
    server = running("python app.py", folder, settings)
    with server as started, started.client() as client, started.client() as other:
        sign_in(client, address)
        sign_in(other, address)
        assert opens_socket(client)
        change = {"password": PASSWORD, "new_password": "another password"}
        assert other.post("/account", data=change).status_code == 303
        assert [opens_socket(one) for one in (client, other)] == [False, True]

        with (
            contextlib.closing(sqlite3.connect(folder / "data" / "app.sqlite3", timeout=60)) as db,
            db,
        ):
            [(text,)] = db.execute("SELECT data FROM sessions").fetchall()
            ended = json.dumps({**json.loads(text), "ends": time.time() - 1})
            db.execute("UPDATE sessions SET data = ?", (ended,))
        assert not opens_socket(other)


@pytest.mark.usefixtures("measured")
def test_clients_are_told_apart():
    app = load("login")
    for client, expected in CLIENTS:
        assert app.client_of(Request({"type": "http", "headers": [], "client": client})) == expected


@pytest.mark.usefixtures("measured")
def test_mail_to_a_server_without_a_login(services, monkeypatch, address):
    mail = load("login", "mail")
    environment = services.environment("login")
    monkeypatch.setattr(mail.settings, "SMTP_HOST", environment["SMTP_HOST"])
    monkeypatch.setattr(mail.settings, "SMTP_PORT", int(environment["SMTP_PORT"]))
    mail.send(address, "Größe", "für dich\n")

    assert (mails_to(address)[0], False) in MAILS


@pytest.mark.real_time
@pytest.mark.usefixtures("measured")
async def test_session_backends(tmp_path, services):
    await check_sql_sessions(load("login", "sql_sessions"), tmp_path)
    redis_url = services.environment("login")["REDIS_URL"]
    await check_redis_sessions(load("login", "redis_sessions"), redis_url)


def test_browser_signs_up_and_changes_the_password(page, browsing, address):
    page.goto("/")
    page.get_by_role("link", name="Sign up").click()
    fill_in(page, {"Email address": address}, "Sign up", "Look into your inbox")
    page.goto(f"/reset/{token_for(address)}")
    fill_in(page, {"New password": PASSWORD}, "Choose a password", f"logged in as {address}")
    browsing.check_accessible(page)
    changed = {"Password": PASSWORD, "New password, 10 characters or more": "analytical"}
    with page.expect_navigation():
        fill_in(page, changed, "Change password", exact=True)
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("link", name="Log in").click()
    fill_in(page, {"Email address": address, "Password": "analytical"}, "Log in", "logged in as")
