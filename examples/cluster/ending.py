"""Tells the app that its process ends, before the server breaks off what is open."""

import asyncio
import signal
import threading
from collections.abc import Callable
from typing import Any


class Ending:
    """An event that SIGTERM and Ctrl-C set. Make `notice` a startup handler."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: Any = None
        self._handlers: set[Any] = set()

    async def notice(self) -> None:
        """Begin."""
        self._event = asyncio.Event()  # of this event loop: each test may have its own
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():  # no test client's
            self._take_signals()

    def is_set(self) -> bool:
        """Tell whether the process ends."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Wait until the process ends."""
        await self._event.wait()

    def _take_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            before = signal.getsignal(number)
            if callable(before) and before not in self._handlers:  # the server's own
                handler = self._handler(before)
                self._handlers.add(handler)
                signal.signal(number, handler)
        # Again and again, since some servers set theirs when the startup is over.
        self._loop.call_later(0.2, self._take_signals)

    def _handler(self, before: Callable[[int, Any], Any]) -> Callable[[int, Any], None]:
        def handle(number: int, frame: Any) -> None:
            if self.is_set() or self._loop.is_closed():
                before(number, frame)  # the second signal counts at once
            else:
                self._loop.call_soon_threadsafe(self._begin, before, number)

        return handle

    def _begin(self, before: Callable[[int, Any], Any], number: int) -> None:
        self._event.set()
        # Granian does not wait for WebSockets, so they end first.
        self._loop.call_later(0.5, before, number, None)


ending = Ending()
