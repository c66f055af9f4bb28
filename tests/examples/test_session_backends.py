"""examples/session_backends, against the real servers."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
import time
from functools import partial

import pytest
from playwright.sync_api import expect

from micropie import App, InMemorySessionBackend
from tests import asgi
from tests.examples import harness, session_writer
from tests.examples.loading import load
from tests.processes import environment, until

sql_sessions = load("session_backends", "sql_sessions")
redis_sessions = load("session_backends", "redis_sessions")
guarded_sessions = load("session_backends", "guarded_sessions")
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
            await connection.execute(sql_sessions.sa.delete(sql_sessions.sessions))
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
                query = sql_sessions.sa.select(sql_sessions.sessions.c.id_hash)
                keys = list(await connection.scalars(query))
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


async def test_app_keeps_sessions_through_a_restart(url, monkeypatch):
    monkeypatch.setattr(guarded_sessions, "LIMIT", 60.0)
    module = load("session_backends")
    monkeypatch.setitem(sys.modules, "app", module)  # the templates are found beside it

    browser = asgi.Browser(None)
    for expected in ("1", "2"):
        browser.app = module.Root(url)
        async with asgi.lifespan(browser.app):
            assert (await browser.post("/visit")).status == 303
            text = (await browser.get("/")).text
            assert f'number">{expected}<' in text
    assert "Sessions in " + {"s": "SQLite", "p": "PostgreSQL", "r": "Redis"}[url[0]] in text
    async with asgi.lifespan(browser.app):
        assert (await browser.post("/forget")).header("location") == "/"
        assert 'number">0<' in (await browser.get("/")).text


def test_sessions_outlive_a_restart_of_the_server(tmp_path, measure):
    folder = harness.copied("session_backends", tmp_path)
    cookies = {}
    for expected, empty in (("1", {}), ("2", {"SESSION_STORE": ""})):
        with (
            harness.running(harness.SERVE, folder, {**measure, **empty}) as server,
            server.client(cookies=cookies) as client,
        ):
            client.post("/visit")
            assert f'"number">{expected}<' in client.get("/").text
            cookies = dict(client.cookies)
    database = sqlite3.connect(folder / "data" / "sessions.sqlite3", timeout=60)
    rows = database.execute("SELECT data FROM sessions").fetchall()
    assert '"visits": 2' in rows[0][0]


def test_page_counts_visits_and_forgets_them(page, browsing):
    page.goto("/")
    for visits in ("1", "2"):
        page.get_by_role("button", name="Visit again").click()
        expect(page.locator(".number")).to_have_text(visits)
    page.get_by_role("button", name="Forget me").click()
    expect(page.locator(".number")).to_have_text("0")
    browsing.check_look("/")


# --- Changes in one step -----------------------------------------------------------------------


def renamed(stored):
    return {**stored, "name": "Zoë"}


async def test_update_stores_what_the_change_returns(url):
    seen = []

    def changed(stored):
        seen.append(dict(stored))
        return {"a": [1], **stored, "b": "é"}

    async with opened(url) as backend:
        await backend.update("one", changed, 60)
        await backend.update("one", changed, 60)
        assert seen == [{}, {"a": [1], "b": "é"}]
        assert await backend.load("one") == {"a": [1], "b": "é"}
        await backend.update("one", lambda stored: {}, 60)
        assert await backend.load("one") == {}
        await backend.update("none", lambda stored: {}, 60)
        assert await backend.load("none") == {}


async def test_update_sees_no_session_that_has_ended(url):
    async with opened(url) as backend:
        await backend.save("old", {"a": 1}, 0.001)
        await until(partial(ended, backend, "old"), what="the end of a session")
        await backend.update("old", renamed, 60)
        assert await backend.load("old") == {"name": "Zoë"}


async def test_change_that_fails_leaves_the_session_as_it_was(url):
    def failing(stored):
        raise LookupError("no")

    async with opened(url) as backend:
        await backend.save("one", {"a": 1}, 60)
        for wrong, error in ((failing, LookupError), (lambda stored: {"a": {1}}, Exception)):
            for session_id in ("one", "new"):
                with pytest.raises(error):
                    await backend.update(session_id, wrong, 60)
        if url.startswith("redis"):  # where one that is left behind ends by itself
            assert await backend.client.keys("lock:*") == []
        await backend.update("one", renamed, 60)
        assert await backend.load("one") == {"a": 1, "name": "Zoë"}
        assert await backend.load("new") == {}


async def test_changes_of_many_requests_are_all_kept(url):
    def added(key):
        return lambda stored: {**stored, key: 1}

    async with opened(url) as backend:
        await asyncio.gather(
            *(backend.update("one", added(f"{key}"), 60) for key in range(50)),
            *(backend.touch("one", 60) for _ in range(10)),
        )
        assert await backend.load("one") == {f"{key}": 1 for key in range(50)}


async def test_backend_that_loses_each_race_raises(url, monkeypatch):
    tries = []
    async with opened(url) as backend:
        if url.startswith("redis"):
            # A program that takes no lock: it writes while the change is made.
            import redis

            other = redis.Redis.from_url(url)

            def outrun(stored):
                tries.append(stored)
                other.set(backend._key("one"), f'{{"n": {len(tries)}}}')
                return {**stored, "lost": True}

            with pytest.raises(RuntimeError, match="10 times"):
                await backend.update("one", outrun, 60)
            other.close()
            assert tries == [{}, *({"n": number} for number in range(1, 10))]
            assert await backend.load("one") == {"n": 10}
        else:

            async def gone(connection, key):
                tries.append(key)

            monkeypatch.setattr(backend, "_locked", gone)
            with pytest.raises(RuntimeError, match="10 times"):
                await backend.update("one", renamed, 60)
            assert len(tries) == 10


async def test_lock_of_a_process_that_has_died_ends(url, monkeypatch):
    if not url.startswith("redis"):
        return  # a database ends the transactions of its clients
    monkeypatch.setattr(redis_sessions, "LOCKED", 0.2)
    async with opened(url) as backend:
        key = backend._key("one")
        await backend._locked(key, f"lock:{{{key}}}", "of a process that has died")
        await backend.update("one", renamed, 60)
        assert await backend.load("one") == {"name": "Zoë"}


@contextlib.contextmanager
def writers(url, changes):
    """Start four processes that change one session at once."""
    program = [sys.executable, session_writer.__file__, harness.EXAMPLES / "session_backends", url]
    started = [
        subprocess.Popen(
            [*program, f"process {number}", str(changes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment({}),
        )
        for number in range(4)
    ]
    try:
        for one in started:
            assert one.stdout.readline() == "ready\n"
        for one in started:
            one.stdin.write("go\n")
            one.stdin.flush()
        yield started
    finally:
        for one in started:
            one.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                one.wait(60)
            one.kill()
            one.stdout.close()
            one.wait()


async def no_change_is_lost(url, changes):
    async with opened(url) as backend:
        await backend.save(session_writer.ONE, {"user": "ada"}, 3600)
        with writers(url, changes) as started:
            for one in started:
                assert await asyncio.to_thread(one.wait, 600) == 0
        counts = {f"process {number}": changes for number in range(4)}
        assert await backend.load(session_writer.ONE) == {"user": "ada", **counts}


async def no_logout_is_undone(url, times):
    async with opened(url) as backend:
        with writers(url, 0) as started:
            for number in range(times):
                await backend.update(session_writer.ONE, lambda stored: {"user": "ada"}, 3600)
                await until(partial(marked, backend), what="a change by another process")
                await backend.update(session_writer.ONE, lambda stored: {}, 3600)
                for _ in range(3):
                    assert await backend.load(session_writer.ONE) == {}, f"logout {number}"
            for one in started:
                one.stdin.close()
                done = await asyncio.to_thread(one.stdout.read)
                assert int(done) > 0


async def marked(backend):
    return len(await backend.load(session_writer.ONE)) > 1


async def test_processes_lose_no_change_of_a_session(url):
    await no_change_is_lost(url, 50)


async def test_processes_undo_no_logout(url):
    await no_logout_is_undone(url, 5)


@pytest.mark.slow
async def test_processes_lose_none_of_ten_thousand_changes(url):
    await no_change_is_lost(url, 2_500)


@pytest.mark.slow
async def test_processes_undo_none_of_200_logouts(url):
    await no_logout_is_undone(url, 200)


# --- A store that fails ------------------------------------------------------------------------


class Failing(InMemorySessionBackend):
    """A backend whose store fails, or takes its time, when the test says so."""

    error = None
    seconds = 0.0

    async def load(self, session_id):
        await asyncio.sleep(self.seconds)  # this is the slow store
        if self.error is not None:
            raise self.error
        return await super().load(session_id)

    async def update(self, session_id, change, timeout):
        await self.load(session_id)
        await super().update(session_id, change, timeout)


class Visits(App):
    async def about(self):
        return "about"

    async def count(self):
        self.request.session["n"] = self.request.session.get("n", 0) + 1
        return str(self.request.session["n"])


@pytest.fixture
def failing():
    return Failing()


@pytest.fixture
def browser_of_failing(failing):
    guarded = guarded_sessions.GuardedSessionBackend(failing, LookupError)
    return asgi.Browser(Visits(guarded))


def logged(caplog):
    found = [record.getMessage() for record in caplog.records if record.name == "sessions"]
    caplog.clear()
    return found


@pytest.mark.parametrize("error", [LookupError("no store\nat all"), ConnectionRefusedError("no")])
async def test_store_that_fails_is_a_503_and_one_line(failing, browser_of_failing, caplog, error):
    assert (await browser_of_failing.get("/count")).text == "1"
    failing.error = error
    for _ in range(3):
        assert (await browser_of_failing.get("/about")).text == "about"
        answer = await browser_of_failing.get("/count")
        assert (answer.status, answer.header("retry-after")) == (503, "60")
        assert answer.text.startswith("Sessions are not available right now.")
        new = await asgi.get(browser_of_failing.app, "/count")
        assert (new.status, new.header("set-cookie")) == (503, None)
    first_line = str(error).partition("\n")[0]
    assert logged(caplog) == [f"the session store fails: {type(error).__name__}: {first_line}"]
    failing.error = None
    assert (await browser_of_failing.get("/count")).text == "2"


async def test_failures_that_come_and_go_are_one_line(
    failing, browser_of_failing, caplog, monkeypatch
):
    await browser_of_failing.get("/count")
    for error in [OSError("no"), None] * 3:
        failing.error = error
        await browser_of_failing.get("/count")
    assert logged(caplog) == ["the session store fails: OSError: no"]
    monkeypatch.setattr(guarded_sessions, "CALM", 0)
    await browser_of_failing.get("/count")
    await browser_of_failing.get("/count")
    assert logged(caplog) == ["the session store works again"]


@pytest.mark.parametrize("path", ["/count", "/about"])
async def test_store_that_hangs_is_waited_for_once(failing, browser_of_failing, monkeypatch, path):
    await browser_of_failing.get("/count")
    monkeypatch.setattr(guarded_sessions, "LIMIT", 0.1)
    failing.seconds = 60.0
    begun = time.monotonic()
    answer = await browser_of_failing.get(path)
    assert answer.status == (503 if path == "/count" else 200)
    assert 0.1 <= time.monotonic() - begun < failing.seconds


async def test_wait_for_a_slow_answer_is_not_taken_from_the_next_step(failing, caplog, monkeypatch):
    monkeypatch.setattr(guarded_sessions, "LIMIT", 0.6)
    guarded = guarded_sessions.GuardedSessionBackend(failing)
    failing.seconds = 0.5
    assert await guarded.load("one") == {}
    await guarded.update("one", renamed, 60)
    assert await guarded.load("one") == {"name": "Zoë"}
    assert logged(caplog) == []


async def test_mistake_is_no_failing_store(failing, browser_of_failing, caplog):
    await browser_of_failing.get("/count")
    failing.error = ValueError("a mistake")
    assert (await browser_of_failing.get("/count")).status == 500
    assert logged(caplog) == []


async def test_guard_passes_everything_on(url):
    async with opened(url) as backend:
        guarded = guarded_sessions.GuardedSessionBackend(backend)
        await guarded.save("one", {"a": 1}, 60)
        await guarded.update("one", renamed, 60)
        await guarded.touch("one", 60)
        assert await guarded.load("one") == {"a": 1, "name": "Zoë"}
        assert await guarded.load("two") == {}
