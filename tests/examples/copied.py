"""Checks of the files that several examples have a copy of, for each copy."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

import micropie
from micropie import Request
from tests.processes import environment, until

TAG = '"a"'
CHANGED = datetime(2026, 3, 14, 15, 9, 26, 500_000, tzinfo=UTC)
DATE = "Sat, 14 Mar 2026 15:09:26 GMT"
BEFORE = "Sat, 14 Mar 2026 15:09:25 GMT"
SAME = (DATE, "Saturday, 14-Mar-26 15:09:26 GMT", "Sat Mar 14 15:09:26 2026")
NO_DATES = ("", "garbage", "Mon, 01 Jan 2099 00:00:00 +0000", "Mon, 99 Jan 2099 00:00:00 GMT")
STATUSES: list[tuple[int | None, dict[str, str]]] = [
    (None, {}),
    *((304, {"if-none-match": tags}) for tags in (TAG, f"W/{TAG}", f'"b,c", {TAG}', " * ")),
    *((304, {"if-modified-since": date}) for date in SAME),
    *((None, {"if-modified-since": date}) for date in (BEFORE, *NO_DATES)),
    (None, {"if-none-match": '"b"', "if-modified-since": DATE}),
    *((412, {"if-match": tags}) for tags in ('"b"', f"W/{TAG}", "")),
    *((None, {"if-match": tags}) for tags in (TAG, "*", f'"b", {TAG}')),
    (412, {"if-unmodified-since": BEFORE}),
    (None, {"if-unmodified-since": DATE}),
    (None, {"if-unmodified-since": "garbage"}),
    (None, {"if-match": TAG, "if-unmodified-since": BEFORE}),
    (304, {"if-match": TAG, "if-none-match": TAG}),
]
RANGES = [
    (True, {}),
    (True, {"if-range": TAG}),
    (True, {"if-range": DATE}),
    (False, {"if-range": f"W/{TAG}"}),
    (False, {"if-range": '"b"'}),
    (False, {"if-range": BEFORE}),
    (False, {"if-range": ""}),
]


def requested(method: str = "GET", headers: dict[str, str] | None = None, **more: Any) -> Request:
    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": method, "headers": raw, **more})


def check_conditions(conditions: Any) -> None:
    """See that a copy of conditions.py goes by RFC 9110."""
    assert conditions.http_date(CHANGED) == DATE
    for status, headers in STATUSES:
        found = conditions.precondition(requested(headers=headers), TAG, CHANGED)
        assert found == status, headers
    for headers in ({"if-none-match": TAG}, {"if-modified-since": DATE}):
        assert conditions.precondition(requested(headers=headers)) is None
    weak = {"if-none-match": TAG}
    assert conditions.precondition(requested(headers=weak), f"W/{TAG}") == 304
    assert conditions.precondition(requested(headers={"if-match": TAG}), f"W/{TAG}") == 412
    for applies, headers in RANGES:
        wanted = {"range": "bytes=0-1", **headers}
        assert conditions.range_applies(requested(headers=wanted), TAG, CHANGED) == applies
        assert not conditions.range_applies(requested("HEAD", wanted), TAG, CHANGED)
        assert not conditions.range_applies(requested(headers=headers), TAG, CHANGED)

    def date_applies(seconds: int) -> Any:
        changed = datetime.now(UTC) - timedelta(seconds=seconds)
        dated = {"range": "bytes=0-1", "if-range": conditions.http_date(changed)}
        assert not conditions.range_applies(requested(headers=dated))
        return conditions.range_applies(requested(headers=dated), TAG, changed)

    assert date_applies(5)
    # It does after a second, which passes meanwhile if the machine is busy, but not each time.
    assert not all(date_applies(0) for _ in range(5))


HERE: dict[str, Any] = {
    "http_version": "1.1",
    "client": ("127.0.0.1", 1),
    "server": ("192.0.2.7", 80),
    "headers": {"host": "localhost:8000"},
}
LOCAL: list[dict[str, Any]] = [
    {},
    {"client": ("::1", 1)},
    {"client": ("::ffff:127.0.0.1", 1)},
    *(
        {"headers": {"host": host}}
        for host in ("127.9.9.9", "[::1]:80", "LocalHost", "127.0.0.1:1")
    ),
    {"headers": {}, "server": ("127.0.0.1", 80)},
    {"headers": {**HERE["headers"], "origin": "http://localhost:8000"}},
    {"headers": {**HERE["headers"], "referer": "http://[::1]:8000/page?q"}},
    {"headers": {**HERE["headers"], "sec-fetch-site": "none", "connection": "keep-alive"}},
]
NOT_LOCAL: list[dict[str, Any]] = [
    *({"http_version": version} for version in ("1.0", "2", "3")),
    {"scheme": "https"},
    {"scheme": "wss"},
    *({"client": client} for client in (None, ("", 0), ("192.0.2.9", 1), ("socket", 0))),
    *(
        {"headers": {"host": host}}
        for host in ("", "blog.example", "127.0.0.1.blog.example", "192.0.2.7", "[half", "a:b:c")
    ),
    {"headers": {}},
    {"headers": {}, "server": None},
    *(
        {"headers": {**HERE["headers"], name: value}}
        for name, value in (
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-anything", ""),
            ("x-real-ip", "127.0.0.1"),
            ("forwarded", "for=127.0.0.1"),
            ("via", "1.1 proxy"),
            ("sec-fetch-site", "none"),
            ("origin", ""),
            ("origin", "null"),
            ("origin", "https://localhost"),
            ("origin", "http://blog.example"),
            ("referer", "http://localhost@blog.example/"),
            ("referer", "http://[half/"),
        )
    ),
]


def check_local(local: Any) -> None:
    """See that a copy of local.py knows a request that comes straight from this machine."""
    for expected, cases in ((True, LOCAL), (False, NOT_LOCAL)):
        for more in cases:
            request = requested(**{**HERE, **more})
            assert local.is_local(request) == expected, more
            assert micropie._is_from_here(request) == expected, more
            if "host" in {**HERE, **more}["headers"] and expected:
                assert local.is_own_host(requested(**{**HERE, **more}))
    for host, believed in (
        ("192.0.2.7:80", True),
        ("192.0.2.8", False),
        ("blog.example", False),
        ("localhost", False),
    ):
        more = {"client": ("192.0.2.9", 1), "headers": {"host": host}}
        assert local.is_own_host(requested(**{**HERE, **more})) == believed, host
    here = {"client": ("192.0.2.9", 1), "server": ("127.0.0.1", 80)}
    assert not local.is_own_host(requested(**{**HERE, **here}))
    assert not local.is_own_host(requested(**{**HERE, "headers": {}}))


def check_kept_secret(kept_secret: Callable[[Path], str], folder: Path) -> None:
    """See that a copy of kept_secret makes one secret, whole, and that it takes no other file."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for number in range(30):
                path = folder / f"{number}.secret"
                together = threading.Barrier(8)

                def start(_: int, path: Path = path, at: threading.Barrier = together) -> str:
                    at.wait(60)
                    return kept_secret(path)

                assert {*threads.map(start, range(8))} == {path.read_text()}
                assert path.stat().st_mode & 0o077 == 0
    finally:
        sys.setswitchinterval(interval)
    assert {path.suffix for path in folder.glob("*secret*")} == {".secret"}

    with pytest.MonkeyPatch.context() as patch:  # a file system without hard links
        patch.setattr(Path, "hardlink_to", lambda *_: os.close(-1))
        alone = folder / "alone.secret"
        assert kept_secret(alone) == kept_secret(alone) == alone.read_text()

    edited, broken = folder / "edited.secret", folder / "broken.secret"
    edited.write_text(f"{'x' * 32}\n")
    assert kept_secret(edited) == "x" * 32
    for text in ("", "x" * 31, "\n"):
        broken.write_text(text)
        with pytest.raises(ValueError, match="32 characters"):
            kept_secret(broken)


async def check_sql_sessions(sql_sessions: Any, folder: Path) -> None:
    """See that a copy of sql_sessions.py saves a session, and changes one in one step."""
    engine = sql_sessions.make_engine(f"sqlite+aiosqlite:///{folder}/sessions.sqlite3")
    backend = sql_sessions.SQLSessionBackend(engine)
    await backend.create_table()
    await backend.save("saved", {"user": "ann"}, 60)
    assert await backend.load("saved") == {"user": "ann"}
    await backend.update("one", lambda stored: {**stored, "a": 1}, 60)
    await backend.update("one", lambda stored: {**stored, "b": 2}, 60)
    assert await backend.load("one") == {"a": 1, "b": 2}
    await backend.update("one", lambda stored: {}, 60)
    assert await backend.load("one") == {}

    async def gone(connection: Any, key: str) -> None:
        """As if another had deleted the row each time."""

    backend._locked = gone
    with pytest.raises(RuntimeError, match="10 times"):
        await backend.update("one", lambda stored: {"a": 1}, 60)
    await engine.dispose()

    first = folder / "first.sqlite3"  # a new one, which another worker writes to
    with contextlib.closing(sqlite3.connect(first, isolation_level=None)) as other:
        other.execute("CREATE TABLE other (id)")
        other.execute("BEGIN IMMEDIATE")
        engine = sql_sessions.make_engine(f"sqlite+aiosqlite:///{first}")
        for mode in ("delete", "wal"):
            async with engine.connect() as connection:
                [row] = await connection.exec_driver_sql("PRAGMA journal_mode")
                assert row == (mode,)
            await engine.dispose()
            if other.in_transaction:
                other.execute("COMMIT")


def check_first_starts(folders: list[Path], mode: str) -> None:
    """See that workers that start together in each folder all start; in the last one, while another
    connection writes. All databases have a journal mode in the end."""
    starts = subprocess.run(
        [sys.executable, Path(__file__).with_name("first_starts.py"), *folders],
        check=False,
        capture_output=True,
        text=True,
        env=environment({}),
        timeout=300,
    )
    assert starts.returncode == 0, starts.stderr
    assert starts.stdout.split() == [mode] * len(folders)


async def check_redis_sessions(redis_sessions: Any, url: str) -> None:
    """See that a copy of redis_sessions.py saves a session, and changes one in one step."""
    backend = redis_sessions.RedisSessionBackend(redis_sessions.Redis.from_url(url), "copy:")
    await backend.save("saved", {"user": "ann"}, 60)
    await backend.touch("saved", 60)
    assert await backend.load("saved") == {"user": "ann"}
    await backend.save("saved", {}, 60)
    assert await backend.load("saved") == {}
    with pytest.raises(ZeroDivisionError):
        await backend.update("one", lambda stored: {"a": 1 // 0}, 60)
    at_once = [
        backend.update("one", lambda stored: {"a": stored.get("a", 0) + 1}, 60) for _ in range(20)
    ]
    await asyncio.gather(*at_once)
    assert await backend.load("one") == {"a": 20}
    await backend.update("one", lambda stored: {}, 60)
    assert await backend.load("one") == {}

    async def other(key: str, lock: str, token: str) -> bytes:
        """As if another had changed it each time."""
        return b'{"b": 1}'

    backend._locked = other
    with pytest.raises(RuntimeError, match="10 times"):
        await backend.update("one", lambda stored: {"a": 1}, 60)
    await backend.client.aclose()


async def check_lifespan(lifespan: Any) -> None:
    """See that a copy of lifespan.py starts and stops apps, and hands over what they set."""
    tasks: list[Any] = []
    seen: list[Any] = []
    failing: dict[str, dict[str, str]] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            seen.append(scope["state"])
            return
        for _ in range(2):
            tasks.append(asyncio.current_task())
            kind = (await receive())["type"]
            scope["state"]["oven"] = "hot"
            if kind in failing:
                await send({"type": f"{kind}.failed", **failing[kind]})
                raise ValueError(kind)  # as Starlette does
            await send({"type": f"{kind}.complete"})

    async def start_and_stop(app: Any) -> Any:
        one = lifespan.Lifespan(app)
        await one.start()
        await one({"type": "http", "state": {"from": "server"}}, None, None)
        await one.stop()
        await one.stop()
        return one

    one = await start_and_stop(app)
    assert (len(tasks), len(set(tasks))) == (2, 1)
    assert seen == [{"from": "server", "oven": "hot"}]
    await one.start()
    await one.stop()
    assert len(set(tasks)) == 2, "it cannot be started again"
    failing["lifespan.shutdown"] = {}
    with pytest.raises(RuntimeError, match="shutdown failed"):
        await start_and_stop(app)
    failing["lifespan.startup"] = {"message": "no oven"}
    with pytest.raises(RuntimeError, match="no oven"):
        await start_and_stop(app)

    async def returns(scope: Any, receive: Any, send: Any) -> None:
        return

    async def raises(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"

    await lifespan.Lifespan(returns).stop()
    for other in (returns, raises):
        await start_and_stop(other)
    await check_app_that_breaks_off(lifespan, asyncio.CancelledError())
    await check_app_that_breaks_off(lifespan, BaseExceptionGroup("", [asyncio.CancelledError()]))
    await check_app_that_hangs(lifespan, ["startup"])
    await check_app_that_hangs(lifespan, ["startup", "shutdown"])


async def check_app_that_breaks_off(lifespan: Any, error: BaseException) -> None:
    """See that an app whose lifespan ends with no `Exception` lets the server start."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise error

    broken = lifespan.Lifespan(app)
    async with asyncio.timeout(60):
        await broken.start()
    with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
        await broken._task
    await broken.stop()


async def check_app_that_hangs(lifespan: Any, answers: list[str]) -> None:
    """See that the shutdown of an app takes ten seconds at most, and that it is cancelled then."""
    closed: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            for kind in answers:
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    one = lifespan.Lifespan(app)
    await one.start()
    async with asyncio.timeout(60):
        with pytest.raises(TimeoutError):
            await one.stop()
        await until(lambda: closed == [True])


async def check_job_queue(job_queue: Any, url: str, caplog: Any) -> None:
    """See that a copy of job_queue.py gives out a job, and says so if it cannot take one."""
    queue = job_queue.JobQueue(url, "jobs of a test")
    async with Redis(connection_pool=queue.connection_pool) as redis:
        await redis.lpush(queue.queue_name, b"one")
    jobs = queue.listen()
    assert await anext(jobs) == b"one"
    await jobs.aclose()
    await queue.shutdown()

    lost = job_queue.JobQueue("redis://127.0.0.1:1/0", "jobs")
    waiting = asyncio.create_task(anext(lost.listen()))
    await until(lambda: "no job can be taken: Error" in caplog.text)
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await lost.shutdown()
