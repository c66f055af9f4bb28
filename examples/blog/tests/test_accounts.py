"""Accounts, logins and sessions."""

import asyncio
import itertools
import re
import time
from dataclasses import replace
from typing import Any

import httpx
import pytest
from micropie import HTTPError
from sqlalchemy import delete, func, select

from accounts import AccountError, add_user
from app import Blog
from models import LoginAttempt, User
from passwords import Passwords, password_problem
from settings import Settings
from sql_sessions import sessions
from tests.helpers import PASSWORD, Start, Visitor, add, started
from throttle import WINDOW


async def test_login_renews_the_session(visitor: Visitor) -> None:
    """An id from before the login is worth nothing."""
    response = await visitor.log_in()
    assert (response.status_code, response.headers["location"]) == (303, "/my_posts")
    first = visitor.client.cookies["session_id"]
    await visitor.log_in()
    assert visitor.client.cookies["session_id"] != first
    assert (await visitor.get("/my_posts")).headers["cache-control"] == "no-store"


async def test_visit_alone_stores_nothing(blog: Blog) -> None:
    """Robots keep no cookies, and each visit of one would be another row."""
    for path in ("/", "/login", "/feed.xml", "/login"):
        response = await Visitor(blog).get(path)
        assert "session_id" not in response.cookies
    async with blog._database.session() as db:
        assert await db.scalar(select(func.count()).select_from(sessions)) == 0


async def test_login_leads_back(visitor: Visitor) -> None:
    """The page before the login comes again, but never another site."""
    response = await visitor.get("/edit/7")
    assert response.headers["location"] == "/login?next=edit%2F7"
    assert 'name="next" value="edit/7"' in await visitor.text(
        response.headers["location"]
    )
    assert (await visitor.log_in(next="edit/7")).headers["location"] == "/edit/7"
    for elsewhere in (
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "a/b/c",
        "javascript:x",
    ):
        assert (await visitor.log_in(next=elsewhere)).headers["location"] == "/my_posts"


async def test_wrong_ones_are_told_the_same(visitor: Visitor) -> None:
    """A name that does not exist looks like a wrong password."""
    for name, password in (
        ("ada", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("<b>", "x" * 9999),
    ):
        response = await visitor.log_in(name, password)
        assert response.status_code == 403
        assert "Wrong name or password." in response.text
        assert "<b>" not in response.text
    assert (await visitor.get("/my_posts")).status_code == 303


async def test_unknown_names_take_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is verified for them too, with the same cost."""
    passwords = Passwords(1024, 2)
    kept = await passwords.hash(PASSWORD)
    seen: list[str] = []
    verify = passwords._verify

    def noted(password: str, hashed: str) -> bool:
        seen.append(hashed)
        return verify(password, hashed)

    monkeypatch.setattr(passwords, "_verify", noted)

    assert await passwords.verify(PASSWORD, kept)
    assert not await passwords.verify(PASSWORD, None)
    known, unknown = (text.rsplit("$", 2)[0] for text in seen)
    assert known == unknown == "$argon2id$v=19$m=1024,t=2,p=4"
    assert not await passwords.verify(PASSWORD, "not a hash")


async def test_too_many_failed_logins(start: Start) -> None:
    """From one address, or for one name from many, until enough time has passed."""
    async with start(login_tries=2) as blog:
        await add(blog, "ada")
        visitor = Visitor(blog)
        codes = [(await visitor.log_in(password="wrong")).status_code for _ in range(3)]
        assert codes == [403, 403, 429]
        refused = await visitor.log_in()
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= WINDOW
        assert (await Visitor(blog, "192.0.2.1").log_in()).status_code == 303

        for number in range(4):
            assert (
                await Visitor(blog, f"2001:db8:{number}::1").log_in("ada ", "wrong")
            ).status_code < 500
            assert (
                await Visitor(blog, f"2001:db8:{number}::2").log_in("ada", "wrong")
            ).status_code < 500
        assert (await Visitor(blog, "2001:db8:99::1").log_in()).status_code == 429
        # A socket for both kinds of addresses shows those of the older kind like this.
        for at in range(3):
            await Visitor(blog, "::ffff:192.0.2.7").log_in("grace", f"wrong {at}")
        assert (
            await Visitor(blog, "::ffff:192.0.2.8").log_in("grace")
        ).status_code == 403
        assert (await Visitor(blog, "192.0.2.7").log_in("grace")).status_code == 429

        async with blog._database.session.begin() as db:
            for attempt in await db.scalars(select(LoginAttempt)):
                attempt.at -= WINDOW
        assert (await visitor.log_in()).status_code == 303
        await blog._throttle.delete_old()
        async with blog._database.session() as db:
            assert await db.scalar(select(func.count()).select_from(LoginAttempt)) == 0


async def test_many_guesses_at_once_count(start: Start) -> None:
    """Each is noted before it is tried."""
    async with start(login_tries=3) as blog:
        await add(blog, "ada")
        visitor = Visitor(blog)
        fields = {"name": "ada", "password": "wrong"}
        answers = await asyncio.gather(
            *(visitor.client.post("/login", data=fields) for _ in range(12))
        )

    assert sum(answer.status_code == 403 for answer in answers) <= 3


async def test_right_passwords_do_not_count(start: Start) -> None:
    """A user can log in any number of times."""
    async with start(login_tries=2) as blog:
        await add(blog, "ada")
        for _ in range(4):
            assert (await Visitor(blog, "localhost").log_in()).status_code == 303


async def test_logout_deletes_the_session(ada: Visitor, blog: Blog) -> None:
    """A stolen cookie is worth nothing afterwards."""
    stolen = dict(ada.client.cookies)
    response = await ada.post("/logout")

    assert response.headers["location"] == "/"
    assert "Max-Age=0" in response.headers["set-cookie"]
    thief = Visitor(blog)
    thief.client.cookies.update(stolen)
    assert (await thief.get("/my_posts")).status_code == 303


async def test_new_password_ends_other_sessions(ada: Visitor, visitor: Visitor) -> None:
    """Other devices have to log in with it."""
    await visitor.log_in()
    new = "a better one than before"
    wrong = await ada.post("/account", old_password="wrong", password=new)
    weak = await ada.post("/account", old_password=PASSWORD, password="short")
    assert (wrong.status_code, weak.status_code) == (422, 422)
    assert "old password is wrong" in wrong.text and "12 to 200" in weak.text
    assert (await visitor.get("/my_posts")).status_code == 200

    response = await ada.post("/account", old_password=PASSWORD, password=new)
    assert response.headers["location"] == "/account"
    assert "has been changed" in await ada.text("/account")
    assert (await visitor.get("/my_posts")).status_code == 303
    assert (await visitor.log_in()).status_code == 403
    assert (await visitor.log_in(password=new)).status_code == 303


async def test_login_brings_an_old_hash_up_to_date(
    visitor: Visitor, blog: Blog
) -> None:
    """When the settings have become stricter."""
    blog._passwords = Passwords(16, 2)
    assert (await visitor.log_in()).status_code == 303
    async with blog._database.session() as db:
        user = await db.scalar(select(User).where(User.name == "ada"))
    assert user is not None and "m=16,t=2" in user.password_hash
    assert (await visitor.log_in()).status_code == 303


async def test_session_of_an_account_that_is_gone(ada: Visitor, blog: Blog) -> None:
    """The next request deletes it."""
    async with blog._database.session.begin() as db:
        await db.execute(delete(User).where(User.name == "ada"))
    response = await ada.get("/")
    assert "Log in" in response.text
    assert "Max-Age=0" in response.headers["set-cookie"]


# Sign up ------------------------------------------------------------------------------


def fields(**changed: str) -> dict[str, str]:
    """Return the fields of a sign-up."""
    return {
        "name": "Alan",
        "full_name": " Alan  Turing ",
        "password": PASSWORD,
        **changed,
    }


def code_of(settings: Settings) -> str:
    """Return the code of the first account."""
    return (settings.data / "first_account_code").read_text()


async def test_first_account(start: Start) -> None:
    """On the machine itself, with the code, and once."""
    async with start() as blog:
        visitor = Visitor(blog)
        assert "Make the first one" in await visitor.text("/login")
        assert 'name="code" value=""' in await visitor.text("/sign_up")
        assert (await visitor.post("/sign_up", **fields())).status_code == 422
        code = code_of(blog._settings)
        response = await visitor.post("/sign_up", **fields(code=f" {code}\n"))
        assert response.headers["location"] == "/write"
        assert "Welcome, Alan Turing." in await visitor.text("/write")
        other = Visitor(blog)
        assert (await other.get(f"/sign_up?code={code}")).status_code == 403
        eve = fields(name="eve", code=code)
        refused = await other.post("/sign_up", **eve)
        assert refused.status_code == 403
        assert "python manage.py add-user" in refused.text
        assert "Make the first one" not in await other.text("/login")


async def number_of_users(blog: Blog) -> int | None:
    """Count the accounts."""
    async with blog._database.session() as db:
        return await db.scalar(select(func.count()).select_from(User))


@pytest.mark.parametrize("wrong", ["", "ü", "0" * 64, "{code}0", "{code:.63}"])
async def test_first_account_needs_the_code(start: Start, wrong: str) -> None:
    """A request that looks as if it came from this machine is not enough."""
    async with start() as blog:
        await Visitor(blog).post("/sign_up", **fields())  # the code is there now
        code = wrong.format(code=code_of(blog._settings))
        # An address can't bring it along, for example by a link on another site.
        path = f"/sign_up?code={code_of(blog._settings)}"
        for given in ({"code": code}, {}):
            response = await Visitor(blog).post(path, **fields(**given))
            assert response.status_code == 422
            assert "The code is wrong." in response.text
            assert 'value=" Alan  Turing "' in response.text
            assert f'value="{code_of(blog._settings)}"' not in response.text
        assert await number_of_users(blog) == 0


async def test_codes_that_are_tried_count(start: Start) -> None:
    """Then the right one is refused, too."""
    async with start(login_tries=2) as blog:
        tried = [await Visitor(blog).post("/sign_up", **fields()) for _ in range(2)]
        assert [response.status_code for response in tried] == [422, 422]
        right = fields(code=code_of(blog._settings))
        assert (await Visitor(blog).post("/sign_up", **right)).status_code == 429
        assert await number_of_users(blog) == 0


async def test_code_is_in_the_log_of_each_worker(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    """The line has a link, which fills the code in; a mistake keeps it."""
    async with start() as blog:
        caplog.clear()
        async with started(Blog(blog._settings)), started(Blog(blog._settings)):
            lines = re.findall(r"There is no account yet\..* (\S+)", caplog.text)
        assert len(lines) == 2 and len({*lines}) == 1
        assert re.fullmatch(r"/sign_up\?code=[0-9a-f]{64}", lines[0])
        code = lines[0].partition("=")[2]
        visitor = Visitor(blog)
        assert f'name="code" value="{code}"' in await visitor.text(lines[0])
        mistake = await visitor.post("/sign_up", **fields(code=code, password="x"))
        assert mistake.status_code == 422
        assert f'name="code" value="{code}"' in mistake.text
        response = await visitor.post("/sign_up", **fields(code=code))
        assert response.status_code == 303
        caplog.clear()
        async with started(Blog(blog._settings)):
            assert "account" not in caplog.text
        assert list(blog._settings.data.glob("*code*")) == []


async def test_code_makes_one_account(start: Start) -> None:
    """Also if several requests use it at once, in two workers."""
    async with start() as blog, started(Blog(blog._settings)) as other:
        code = code_of(blog._settings)
        answers = await asyncio.gather(
            *(
                Visitor(worker).post("/sign_up", **fields(name=f"{at}", code=code))
                for at, worker in enumerate([blog, other] * 4, 10)
            )
        )
        made = [answer.status_code for answer in answers].count(303)
        assert made == await number_of_users(blog) <= 1


async def test_start_without_a_database_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It might come later, if BLOG_MIGRATE is 0."""

    async def fail(self: Blog) -> bool:
        raise ConnectionRefusedError("as asyncpg says it")

    async with start() as blog:
        monkeypatch.setattr(Blog, "_has_users", fail)
        async with started(Blog(blog._settings)):
            assert "not known whether there is an account" in caplog.text


def changed(blog: Blog, more: dict[str, Any]) -> Any:
    """Return the blog as behind a server that says something else of each request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await blog({**scope, **more}, receive, send)

    return app


async def test_first_account_is_not_for_others(start: Start) -> None:
    """A stranger on the network can't take over a new blog."""
    async with start() as blog:
        for address in ("192.0.2.1", "::ffff", "unix"):
            assert (await Visitor(blog, address).get("/sign_up")).status_code == 403
        for name, value in (
            ("X-Forwarded-For", "127.0.0.1"),
            ("X-Forwarded-Proto", "http"),
            ("Forwarded", "for=127.0.0.1"),
            ("X-Real-IP", "127.0.0.1"),
            ("Via", "1.1 proxy"),
            ("Origin", "https://blog.example"),
            ("Origin", "null"),
            ("Referer", "https://localhost/"),
            ("Referer", "http://localhost@evil.example/"),
            ("Referer", "http://[half/"),
        ):
            assert (
                await Visitor(blog).get("/sign_up", headers={name: value})
            ).status_code == 403, (name, value)
        # As nginx passes it on, with the name of its upstream as Host, or over TLS.
        for more in ({"http_version": "1.0"}, {"scheme": "https"}, {"client": None}):
            through = Visitor(changed(blog, more))
            assert (await through.get("/sign_up")).status_code == 403, more
        # By DNS, a name can be led to this machine.
        for host in ("evil.example", "evil.example:80", "192.0.2.1", ""):
            assert (
                await Visitor(blog).get("/sign_up", headers={"host": host})
            ).status_code == 403
        for host in ("127.0.0.1:8000", "[::1]:8000", "[::1]", "LOCALHOST"):
            for address in ("::1", "::ffff:127.0.0.1", "127.9.9.9"):
                headers = {"host": host, "origin": f"http://{host}"}
                visitor = Visitor(blog, address)
                response = await visitor.get("/sign_up", headers=headers)
                assert response.status_code == 200, (host, address)


def assert_taken(response: httpx.Response) -> None:
    """See that a page says that there is an account of this name."""
    assert response.status_code == 422
    assert "This name is taken." in response.text


async def test_sign_up_by_setting(start: Start) -> None:
    """Open to all, or to none."""
    async with start(sign_up="open") as blog:
        await add(blog, "ada")
        visitor = Visitor(blog, "192.0.2.1")
        assert "Sign up" in await visitor.text("/login")
        assert "code" not in await visitor.text("/sign_up")
        response = await visitor.post("/sign_up", **fields())
        assert response.headers["location"] == "/write"
        assert "Welcome, Alan Turing." in await visitor.text("/write")
        other = Visitor(blog, "192.0.2.2")
        assert_taken(await other.post("/sign_up", **fields(name="alan")))
    async with start(sign_up="open", login_tries=1) as blog:
        assert (
            await Visitor(blog).post("/sign_up", **fields(name="x"))
        ).status_code == 422
        assert (await Visitor(blog).post("/sign_up", **fields())).status_code == 429
    async with start(sign_up="closed") as blog:
        assert (await Visitor(blog).get("/sign_up")).status_code == 403
        assert "sign_up" not in await Visitor(blog).text("/login")


UNUSABLE = (
    {"name": "a"},
    {"name": "a b"},
    {"name": "ü"},
    {"name": "x" * 31},
    {"full_name": " "},
    {"full_name": "x" * 101},
    {"password": "short"},
)


async def test_account_with_mistakes(blog: Blog) -> None:
    """The page says why."""
    for changed in UNUSABLE:
        with pytest.raises(AccountError):
            await add_user(blog._database, blog._passwords, **fields(**changed))


@pytest.mark.parametrize(
    "password",
    ["x" * 11, "x" * 201, "abababababab", "ada.lovelace", "Ada.LovelaceAda.Lovelace"],
)
def test_weak_passwords(password: str) -> None:
    """Length counts, and that it is neither the name nor one sign again and again."""
    assert password_problem(password, "ada.lovelace")
    assert not password_problem("correct horse battery", "ada.lovelace")


# Forged requests, sessions ------------------------------------------------------------


FOREIGN: tuple[dict[str, str], ...] = (
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost", "sec-fetch-site": "cross-site"},
)
FORMS: tuple[dict[str, Any], ...] = (
    {"data": {"title": "Forged", "body": "x", "action": "publish", "version": "1"}},
    {"json": {}},
    {"files": {"picture": ("x", b"x")}},
)
PATHS = {
    **dict.fromkeys(("/account", "/write", "/preview", "/upload"), 401),
    **dict.fromkeys(("/edit/1", "/delete/1", "/delete_picture/1"), 401),
    "/login": 403,
    "/logout": 303,
    "/sign_up": 403,
    "/nowhere": 404,
}


async def test_forms_of_other_sites_do_nothing(ada: Visitor) -> None:
    """MicroPie gives them no session, for each kind of form."""
    address = await ada.write("Mine")
    for path, form, foreign in itertools.product(PATHS, FORMS, FOREIGN):
        if (path, "files" in form) == ("/upload", False):
            continue  # without a file, it is 400
        response = await ada.client.post(path, **form, headers=foreign)
        assert response.status_code == PATHS[path], (path, form, foreign)
        assert "set-cookie" not in response.headers
    assert "Mine" in await ada.text("/my_posts")
    assert "Forged" not in await ada.text("/my_posts") + await ada.text(address)


async def test_other_sites_cannot_log_a_visitor_in(start: Start) -> None:
    """A proxy may hide the name of the blog's own site, which BLOG_URL has."""
    async with start(url="https://example.org/blog", login_tries=9) as blog:
        await add(blog, "ada")
        for foreign in FOREIGN:
            visitor = Visitor(blog)
            sent = await visitor.log_in(headers=foreign)
            assert "set-cookie" not in sent.headers
        own = {"origin": "https://example.org", "sec-fetch-site": "cross-site"}
        sent = await Visitor(blog).log_in(headers=own)
        assert sent.status_code == 303 and "session_id=" in sent.headers["set-cookie"]


async def test_strangers_get_no_session(visitor: Visitor) -> None:
    """Reading leaves no row behind."""
    for path in ("/", "/tags", "/feed.xml", "/health"):
        assert "set-cookie" not in (await visitor.get(path)).headers


async def test_sessions_are_kept_in_the_database(blog: Blog, ada: Visitor) -> None:
    """As hashes; old ones are deleted."""
    async with blog._database.session() as db:
        kept = list(await db.scalars(select(sessions.c.id_hash)))
    assert kept and ada.client.cookies["session_id"] not in kept
    await blog._backend.save("old", {"a": 1}, -1)
    await blog._backend.delete_expired()
    async with blog._database.session() as db:
        assert list(await db.scalars(select(sessions.c.id_hash))) == kept


async def test_two_workers_share_a_login(blog: Blog, ada: Visitor) -> None:
    """After a restart, users are still logged in."""
    other = Blog(replace(blog._settings))
    elsewhere = Visitor(other)
    elsewhere.client.cookies.update(ada.client.cookies)
    assert (await elsewhere.get("/my_posts")).status_code == 200
    await other._close()


async def test_throttle_stores_no_names(blog: Blog) -> None:
    """Its table holds hashes."""
    await blog._throttle.begin({"name ada": 1})
    with pytest.raises(HTTPError) as refused:
        await blog._throttle.begin({"name ada": 1})
    assert refused.value.status == 429
    async with blog._database.session() as db:
        [attempt] = await db.scalars(select(LoginAttempt))
    assert len(attempt.key) == 32 and abs(attempt.at - time.time()) < 60
