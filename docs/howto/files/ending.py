"""Tells the app that its process ends, before the server breaks off what is open."""

import asyncio
import signal
import threading

ending = asyncio.Event()
_ours = set()


async def notice_the_end():
    """Wait for SIGTERM or Ctrl-C. Make this a startup handler."""
    if threading.current_thread() is threading.main_thread():  # no test client's
        _take_signals(asyncio.get_running_loop())


def _take_signals(loop):
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before) and before not in _ours:  # the server's own handler
            handler = _handler(before, loop)
            _ours.add(handler)
            signal.signal(number, handler)
    # Again and again, since some servers set theirs when the startup is over.
    loop.call_later(0.2, _take_signals, loop)


def _handler(before, loop):
    def handle(number, frame):
        loop.call_soon_threadsafe(ending.set)
        before(number, frame)

    return handle
