"""Time that tests set: an event loop that never waits, and a clock for other code."""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

__all__ = ["ManualClock", "VirtualLoop", "elapse"]


class ManualClock:
    """A clock that stands still until a test sets it forward.

    For example for `InMemorySessionBackend(clock=...)`.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class _SkippingSelector(selectors.DefaultSelector):
    """A selector that sets its loop's time forward where another one would wait."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is not None and not self.loop.threads:
            self.loop.now += timeout
            return ready
        began = time.monotonic()
        ready = super().select(timeout)
        self.loop.now += time.monotonic() - began
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on only when nothing else is left to do, and then at once.

    So `asyncio.sleep(3600)`, a time-out and `loop.call_later` take no time, and the order in which
    they end depends on their numbers alone, never on the speed of the machine. While a worker
    thread is at work (`run_in_executor`, `asyncio.to_thread`), the time of the loop is real time,
    since no loop can know when the thread will be done.
    """

    def __init__(self) -> None:
        selector = _SkippingSelector()
        super().__init__(selector)
        selector.loop = self
        self.now = 0.0
        self.threads = 0
        """How many calls are under way in worker threads."""
        self._default: ThreadPoolExecutor | None = None

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> Any:
        if executor is None:
            executor = self._default = self._default or ThreadPoolExecutor()
            self.set_default_executor(self._default)
        call = executor.submit(func, *args)
        self.threads += 1
        future = asyncio.wrap_future(call, loop=self)
        # After wrap_future's own callback, which hands over the result.
        call.add_done_callback(self._tell_done)
        return future

    async def shutdown_default_executor(self, *timeout: float | None) -> None:
        """Let time be real here, too.

        asyncio waits for the threads in one more thread, with a time-out since 3.12.
        """
        self.threads += 1
        try:
            await super().shutdown_default_executor(*timeout)
        finally:
            self.threads -= 1

    def _tell_done(self, call: Future[Any]) -> None:
        """Wake the loop, which may wait in real time by now, so that it counts one thread less."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self.call_soon_threadsafe(self._count_done)

    def _count_done(self) -> None:
        self.threads -= 1


async def elapse(seconds: float) -> None:
    """Let `seconds` of virtual time pass. All that is due before then happens first."""
    if not isinstance(asyncio.get_running_loop(), VirtualLoop):
        raise RuntimeError(
            "elapse() is for tests under tests.clock.VirtualLoop; wait for a condition instead"
        )
    await asyncio.sleep(seconds)  # the one sleep of the framework's tests: it takes no time
