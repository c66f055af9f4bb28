"""Tells the app that its process is about to end, before the server breaks off what is open."""

import asyncio
import signal
import threading

ending = asyncio.Event()


async def notice_the_end():
    """Wait for SIGTERM or Ctrl-C. Make this a startup handler."""
    loop = asyncio.get_running_loop()
    # A moment later, since Hypercorn sets its own handlers when the startup is over.
    loop.call_later(0.2, _take_signals, loop)


def _take_signals(loop):
    if threading.current_thread() is not threading.main_thread():
        return  # a test client's thread, which gets no signals
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        if callable(before):  # the server's own handler
            signal.signal(number, _handler(before, loop))


def _handler(before, loop):
    def handle(number, frame):
        loop.call_soon_threadsafe(ending.set)
        before(number, frame)

    return handle
