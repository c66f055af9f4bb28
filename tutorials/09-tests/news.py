"""Wakes all who wait for something new."""

import asyncio


class News:
    """An alarm clock: many may wait for it, and each time it rings once for all of them."""

    def __init__(self) -> None:
        self._next = asyncio.Event()

    def coming(self) -> asyncio.Event:
        """Return what the next `tell` will set: ask for it before you look at what there is."""
        return self._next

    def tell(self) -> None:
        """Wake all who wait."""
        self._next.set()
        self._next = asyncio.Event()
