"""Shared by all targets: decisions made of bytes, the register of targets, and the log."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from tests.asgi import ASGIApp, Response, request, run

T = TypeVar("T")
Function = Callable[[bytes], None]


class Target(NamedTuple):
    """A function that must accept all bytes, and byte strings that its format is made of."""

    check: Function
    tokens: tuple[bytes, ...]


TARGETS: dict[str, Target] = {}
"""All targets by name, once `tests.fuzz.targets` is imported."""


def target(*tokens: bytes) -> Callable[[Function], Function]:
    """Register a target under the name of its function."""

    def register(function: Function) -> Function:
        TARGETS[function.__name__] = Target(function, tokens)
        return function

    return register


class Input:
    """Reads decisions from bytes. When they have run out, each decision is the first option.

    The decisions stand first, and `rest` is what is parsed, so that a mutation of the one leaves
    the other alone.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, below: int) -> int:
        """Return a number from 0 on."""
        found = self._data[self._at : self._at + 1]
        self._at += 1
        return found[0] % below if found else 0

    def pick(self, options: Sequence[T]) -> T:
        return options[self.number(len(options))]

    def some(self, most: int = 255) -> bytes:
        """Return some bytes, whose length stands before them."""
        length = self.number(most + 1)
        self._at += length
        return self._data[self._at - length : self._at]

    def text(self, most: int = 255) -> str:
        """Return a string as a server decodes it: without lone surrogates."""
        return self.some(most).decode("utf-8", "replace")

    def one_of(self, options: Sequence[bytes]) -> bytes:
        """Return one of the options, or else any bytes."""
        at = self.number(len(options) + 1)
        return options[at] if at < len(options) else self.some()

    def rest(self) -> bytes:
        return self._data[self._at :]

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def cut(self, body: bytes) -> list[bytes]:
        """Cut a body into up to five pieces, of which some can be empty."""
        places = sorted(self.number(256) * (len(body) + 1) // 256 for _ in range(self.number(5)))
        ends = [0, *places, len(body)]
        return [body[start:end] for start, end in zip(ends, ends[1:], strict=False)]


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)


@contextlib.contextmanager
def logged() -> Iterator[list[logging.LogRecord]]:
    """Collect what MicroPie logs, and keep it off the screen."""
    logger, records = logging.getLogger("micropie"), _Records()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(records)
    try:
        yield records.kept
    finally:
        logger.removeHandler(records)
        logger.propagate = before


@contextlib.contextmanager
def no_errors() -> Iterator[None]:
    """Fail if MicroPie logs an error: no handler of these apps raises one."""
    with logged() as records:
        yield
    found = [logging.Formatter().format(one) for one in records if one.levelno >= logging.ERROR]
    assert not found, "\n".join(found)


def ask(app: ASGIApp, method: str = "GET", path: str = "/", **options: Any) -> Response:
    """Send one request, under the protocol checks of `tests.asgi`."""
    with no_errors():
        return run(request(app, method, path, **options))
