"""Virtual time: things happen in order and at once; no time is skipped under a thread."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from tests.asgi import run, thread_set
from tests.clock import ManualClock, VirtualLoop, elapse


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_timers_end_in_the_order_of_their_times_and_weeks_take_no_time() -> None:
    ended: list[tuple[str, float]] = []

    async def main() -> None:
        async def wait(name: str, seconds: float) -> None:
            await elapse(seconds)
            ended.append((name, loop.time()))

        loop = virtual_loop()
        loop.call_later(60, lambda: ended.append(("timer", loop.time())))
        await asyncio.gather(
            wait("weeks", 1e6), wait("tick", 0.001), wait("second", 1), wait("none", 0)
        )

    run(main(), timeout=1e7)
    assert ended == [("none", 0), ("tick", 0.001), ("second", 1), ("timer", 60), ("weeks", 1e6)]


async def test_timeout_ends_a_wait_for_what_never_comes_at_its_exact_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(20):
            await asyncio.Event().wait()
    assert virtual_loop().time() == 20


def test_run_gives_up_after_its_timeout_of_virtual_time() -> None:
    with pytest.raises(TimeoutError):
        run(elapse(1e6))


async def test_elapse_lets_everything_that_is_due_happen_first() -> None:
    done: list[str] = []
    for seconds in (1, 2, 3):
        virtual_loop().call_later(seconds, done.append, f"{seconds}")
    await elapse(2.5)
    assert (done, virtual_loop().time()) == (["1", "2"], 2.5)


def test_elapse_in_a_loop_of_real_time_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="VirtualLoop"):
        run(elapse(1), real_time=True)


async def test_time_that_a_test_sets_forward_makes_several_timers_due_in_one_turn() -> None:
    done: list[str] = []
    loop = virtual_loop()
    loop.call_later(1, done.append, "a")
    loop.call_later(2, done.append, "b")
    loop.now += 5
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (done, loop.time()) == (["a", "b"], 5)


def test_timer_of_an_hour_does_not_end_while_a_thread_is_at_work() -> None:
    async def main() -> None:
        sleeper = asyncio.ensure_future(elapse(3600))
        await asyncio.to_thread(time.sleep, 0.05)  # real work: the loop has to wait for it
        assert virtual_loop().time() < 3600 and not sleeper.done()
        await sleeper
        assert virtual_loop().time() >= 3600

    run(main(), timeout=4000)


def test_time_is_virtual_again_once_a_thread_is_done() -> None:
    async def main() -> None:
        for _ in range(200):  # the loop may go on before the thread has counted itself out
            await asyncio.to_thread(int)
            await elapse(3600)

    run(main(), timeout=1e6)


def test_thread_is_at_work_until_the_loop_has_its_result() -> None:
    async def main() -> None:
        loop, started, go = virtual_loop(), threading.Event(), threading.Event()

        def work() -> str:
            started.set()
            assert go.wait(20)
            return "result"

        call = loop.run_in_executor(None, work)
        await thread_set(started)
        sleeper = asyncio.ensure_future(elapse(3600))
        while loop.threads > 1:  # the thread that waited might not have counted itself out yet
            await asyncio.sleep(0)
        assert (loop.threads, sleeper.done()) == (1, False)
        go.set()
        assert (await call, sleeper.done()) == ("result", False)
        await sleeper  # not in real time
        assert loop.threads == 0

    run(main(), timeout=4000)


async def test_failure_in_a_thread_ends_its_work_too() -> None:
    loop = virtual_loop()
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(lambda: 1 / 0)
    await elapse(10)
    assert (loop.threads, loop.time() >= 10) == (0, True)


async def test_executor_that_is_shut_down_leaves_no_thread_at_work() -> None:
    loop = virtual_loop()
    await asyncio.to_thread(int)
    await loop.shutdown_default_executor()
    with pytest.raises(RuntimeError, match="shutdown"):
        loop.run_in_executor(None, int)
    await elapse(10)
    assert loop.threads == 0


def test_manual_clock_stands_still_until_it_is_set_forward() -> None:
    clock = ManualClock(10.0)
    assert (clock(), clock(), ManualClock()()) == (10.0, 10.0, 1000.0)
    clock.advance(2.5)
    assert clock() == 12.5


@pytest.mark.real_time
async def test_test_that_is_marked_real_time_runs_in_an_ordinary_loop() -> None:
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
