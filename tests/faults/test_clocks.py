"""A wall clock that jumps by hours changes nothing, and an hour of sessions keeps none too long."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from micropie import App, InMemorySessionBackend, event_stream
from tests.asgi import Browser, call, elapse, exchange, piece, post, scripted
from tests.clients import CHUNKED
from tests.clock import ManualClock
from tests.faults.app import Root

HOUR = 3600.0


class WallClock:
    """`time.time` and what else tells the time of day, set forward or back by a test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.offset = 0.0
        real, real_ns = time.time, time.time_ns
        monkeypatch.setattr(time, "time", lambda: real() + self.offset)
        monkeypatch.setattr(time, "time_ns", lambda: real_ns() + int(self.offset * 1e9))

    def jump(self, seconds: float) -> None:
        self.offset += seconds


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    return WallClock(monkeypatch)


JUMPS = [HOUR, -2 * HOUR, 365 * 24 * HOUR, -366 * 24 * HOUR]


async def test_session_outlives_each_jump(wall: WallClock) -> None:
    browser = Browser(Root(session_timeout=60))  # with the clock of every app
    counts = [(await browser.get("/count")).json()["count"]]
    for seconds in JUMPS:
        wall.jump(seconds)
        counts.append((await browser.get("/count")).json()["count"])
    assert counts == [1, 2, 3, 4, 5]


async def test_session_expires_by_its_own_clock_alone(wall: WallClock) -> None:
    clock = ManualClock()
    browser = Browser(Root(InMemorySessionBackend(clock=clock), session_timeout=60))
    await browser.get("/count")
    wall.jump(-HOUR)  # would keep it an hour longer
    clock.advance(59)
    assert (await browser.get("/count")).json() == {"count": 2}
    clock.advance(61)
    assert (await browser.get("/count")).json() == {"count": 1}


async def test_session_cookie_names_no_time_of_day(wall: WallClock) -> None:
    wall.jump(-HOUR)
    response = await Browser(Root()).get("/count")
    [cookie] = response.headers_all("set-cookie")
    # The clock of a browser is not the server's.
    assert "expires" not in cookie.lower() and "max-age" not in cookie.lower()


# Loop time is virtual here, and takes none.


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_body_that_comes_slowly_is_taken_while_the_clock_jumps(
    wall: WallClock, jump: float
) -> None:
    async with exchange(Root(body_timeout=3), "POST", "/body", headers=CHUNKED, body=None) as ex:
        for _ in range(3):
            await elapse(2)
            wall.jump(jump)
            await ex.send_body(b"x")
        await ex.send_body(b"x", more=False)
        assert (await ex.wait()).json() == {"size": 4}


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
async def test_body_that_stops_is_a_408_after_its_time(wall: WallClock, jump: float) -> None:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    loop.call_later(1, wall.jump, jump)
    silent = scripted(piece(b"x", more=True))
    response = await post(Root(body_timeout=3), "/body", headers=CHUNKED, receive=silent)
    assert (response.status, loop.time() - begun) == (408, 3)


async def test_pings_go_on_at_their_pace(wall: WallClock) -> None:
    class Events(App):
        async def index(self) -> Any:
            async def source() -> AsyncIterator[str]:
                await asyncio.Event().wait()
                yield ""

            return event_stream(source(), ping=3)

    loop = asyncio.get_running_loop()
    async with exchange(Events(), "GET", "/") as ex:
        times = []
        for jump in (HOUR, -2 * HOUR, HOUR):
            assert await ex.next_chunk()
            times.append(loop.time())
            wall.jump(jump)
        await ex.disconnect()
    assert [later - sooner for sooner, later in zip(times, times[1:], strict=False)] == [3, 3]


# --- an hour of sessions ----------------------------------------------------------------------


async def churn(app: Root, clock: ManualClock, seconds: int, rate: int) -> int:
    """Let new visitors come for some time, a number of them each second; return the memory."""
    for _ in range(seconds):
        clock.advance(1)
        for _ in range(rate):
            sent = await call(app, path="/mine", query_string=b"secret=a")
            assert sent[0]["status"] == 200
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize(("minutes", "rate"), [(6, 2), pytest.param(60, 3, marks=pytest.mark.slow)])
async def test_sessions_of_an_hour_leave_no_more_than_those_that_live(
    minutes: int, rate: int
) -> None:
    clock = ManualClock()
    backend = InMemorySessionBackend(clock=clock)
    app = Root(backend, session_timeout=60)
    tracemalloc.start()
    try:
        await churn(app, clock, 150, rate)
        first = tracemalloc.get_traced_memory()[0]
        last = await churn(app, clock, 60 * minutes - 150, rate)
    finally:
        tracemalloc.stop()
    # Those of the last 60 seconds live, and a step of the next call takes those of one more.
    assert len(backend._sessions) <= 61 * rate
    assert last - first < 20_000
