"""examples/session_backends, against the real servers."""

import asyncio
import contextlib
import re
import sqlite3
import time
from functools import partial

import pytest

from tests import asgi
from tests.examples import harness
from tests.examples.loading import load
from tests.processes import until

sql_sessions = load("session_backends", "sql_sessions")
redis_sessions = load("session_backends", "redis_sessions")
STORES = ("sqlite", "postgresql", "redis")

pytestmark = [pytest.mark.usefixtures("measured"), pytest.mark.real_time]


@pytest.fixture(params=STORES)
def url(request, services, tmp_path):
    variables = services.environment("session_backends")
    return {
        "sqlite": f"sqlite+aiosqlite:///{tmp_path}/sessions.sqlite3",
        "postgresql": variables["POSTGRESQL_URL"],
        "redis": variables["REDIS_URL"],
    }[request.param]


@contextlib.asynccontextmanager
async def opened(url):
    if url.startswith("redis"):
        client = redis_sessions.Redis.from_url(url)
        await client.flushdb()
        yield redis_sessions.RedisSessionBackend(client)
        await client.aclose()
    else:
        engine = sql_sessions.make_engine(url)
        backend = sql_sessions.SQLSessionBackend(engine)
        await backend.create_table()
        await backend.create_table()
        async with engine.begin() as connection:
            await connection.execute(sql_sessions.delete(sql_sessions.sessions))
        yield backend
        await engine.dispose()


async def test_what_is_saved_is_loaded(url):
    data = {"text": "Zoë 🥧", "number": 1.5, "list": [1, None, True], "dict": {"a": {"b": "c"}}}
    async with opened(url) as backend:
        assert await backend.load("one") == {}
        await backend.save("one", data, 60)
        assert await backend.load("one") == data
        await backend.save("one", {"new": 1}, 60)
        assert await backend.load("one") == {"new": 1}
        assert await backend.load("two") == {}
        await backend.save("one", {}, 60)
        assert await backend.load("one") == {}
        await backend.save("one", {}, 60)


async def test_session_ends_unless_it_is_touched(url):
    async with opened(url) as backend:
        seconds, taken = 0.25, 1.0
        # Again, if the machine was so slow that both had ended before the touch.
        while taken >= seconds:
            began, seconds = time.monotonic(), 2 * seconds
            await backend.save("kept", {"a": 1}, seconds)
            await backend.save("left", {"a": 1}, seconds)
            await backend.touch("kept", 60)
            taken = time.monotonic() - began
        await backend.touch("unknown", 60)
        await until(partial(ended, backend, "left"), what="the end of a session")
        assert time.monotonic() - began >= seconds
        assert await backend.load("kept") == {"a": 1}
        await backend.touch("left", 60)
        assert await backend.load("left") == {}
        assert await backend.load("unknown") == {}


async def ended(backend, session_id):
    return await backend.load(session_id) == {}


async def test_touch_leaves_alone_what_others_save(url):
    async with opened(url) as backend:
        await backend.save("one", {"a": 0}, 60)
        await asyncio.gather(
            *(backend.save("one", {"a": number}, 60) for number in range(1, 10)),
            *(backend.touch("one", 60) for _ in range(10)),
        )
        assert (await backend.load("one"))["a"] > 0


async def test_ids_are_kept_as_hashes(url):
    long = "x" * 10_000
    async with opened(url) as backend:
        await backend.save("secret id", {"a": 1}, 60)
        await backend.save(long, {"a": 1}, 60)
        assert await backend.load(long) == {"a": 1}
        if url.startswith("redis"):
            keys = [key.decode().removeprefix("session:") for key in await backend.client.keys()]
        else:
            async with backend.engine.connect() as connection:
                keys = list(
                    await connection.scalars(sql_sessions.select(sql_sessions.sessions.c.id_hash))
                )
        assert [len(key) for key in keys] == [64, 64]


async def test_expired_rows_are_deleted(url):
    if url.startswith("redis"):
        return  # it does so by itself
    async with opened(url) as backend:
        await backend.save("old", {"a": 1}, -1)
        await backend.save("new", {"a": 1}, 60)
        assert await backend.delete_expired() == 1
        assert await backend.delete_expired() == 0
        assert await backend.load("new") == {"a": 1}


async def test_app_keeps_sessions_through_a_restart(url):
    module = load("session_backends")

    async def visits(browser):
        page = await browser.get("/")
        return (
            re.search(r"number.>(\d+)<", page.text)[1],
            re.search(r'value="([^"]+)"', page.text)[1],
            page.text,
        )

    browser = asgi.Browser(None)
    for expected in ("1", "2"):
        browser.app = module.Root(url)
        async with asgi.lifespan(browser.app):
            found, token, text = await visits(browser)
            assert found == expected
    assert "Sessions in " + {"s": "SQLite", "p": "PostgreSQL", "r": "Redis"}[url[0]] in text
    async with asgi.lifespan(browser.app):
        assert (await browser.post("/forget", form={"csrf_token": "wrong"})).status == 403
        assert (await browser.post("/forget", form={"csrf_token": token})).header("location") == "/"
        assert (await visits(browser))[0] == "1"


def test_sessions_outlive_a_restart_of_the_server(tmp_path, measure):
    folder = harness.copied("session_backends", tmp_path)
    cookies = {}
    for expected in ("1", "2"):
        with (
            harness.running(harness.SERVE, folder, measure) as server,
            server.client(cookies=cookies) as client,
        ):
            assert f'"number">{expected}<' in client.get("/").text
            cookies = dict(client.cookies)
    rows = (
        sqlite3.connect(folder / "sessions.sqlite3").execute("SELECT data FROM sessions").fetchall()
    )
    assert '"visits": 2' in rows[0][0]


def test_page_counts_visits_and_forgets_them(page, browsing):
    page.goto("/")
    page.reload()
    assert page.locator(".number").inner_text() == "2"
    page.get_by_role("button", name="Forget me").click()
    assert page.locator(".number").inner_text() == "1"
    browsing.check_look("/")
