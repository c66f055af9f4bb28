"""Wakes all tasks that wait for something new."""

import asyncio


class News:
    """An alarm clock for many waiting tasks. Each ring wakes all of them."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def coming(self) -> asyncio.Event:
        """Return the event that the next `tell` sets; ask for it before you look."""
        return self._next

    def tell(self) -> None:
        """Wake all tasks that wait."""
        self._next.set()
        self._next = asyncio.Event()
