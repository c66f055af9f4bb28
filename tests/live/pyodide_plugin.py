"""A plugin of pytest for Pyodide, which has no threads, no sockets and no processes.

`pyodide_tests.mjs` loads it. It lets ordinary event loops run in Pyodide, and it notes when a test
asks for something that Pyodide does not have. A test that asked, and then failed, is left out. A
test that failed and did not ask has found a fault. So no list of tests has to be kept.

If it is `micropie.py` that asks, nothing is noted, since MicroPie has to work without threads.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
from asyncio import base_events, selector_events
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyodide import webloop  # type: ignore[import-not-found]

from tests.clock import VirtualLoop

TESTS = str(Path(__file__).resolve().parent.parent)
MICROPIE = str(Path(TESTS).with_name("micropie.py"))

asked: set[str] = set()
"""What the test that runs now has asked for."""
left_out: dict[str, list[str]] = {}
"""The tests that were left out, by what they asked for."""
counts: Counter[str] = Counter()
failed: list[str] = []


# --- Event loops ----------------------------------------------------------------------------------


def use_ordinary_loops() -> None:
    """Have asyncio make its own loops in place of Pyodide's, which cannot run until a task is done.

    A loop of asyncio has a pair of sockets, with which other threads wake it. Without threads it
    needs none. Functions for worker threads are called at once, as Pyodide's loop does.
    """
    loops: Any = selector_events.BaseSelectorEventLoop
    loops._make_self_pipe = loops._close_self_pipe = loops._write_to_self = lambda self: None
    for loop in (base_events.BaseEventLoop, VirtualLoop):
        loop.run_in_executor = webloop.WebLoop.run_in_executor  # type: ignore[method-assign]
    asyncio.events._set_event_loop_policy(None)  # type: ignore[attr-defined]
    asyncio._set_running_loop(None)
    asyncio.run = webloop._orig_run


# --- What Pyodide does not have -------------------------------------------------------------------


def asks(what: str, error: Exception) -> Callable[..., Any]:
    """Return a function that notes that a test asks for something, and raises the error."""

    def refuse(*args: Any, **options: Any) -> Any:
        if _asker() != MICROPIE:
            asked.add(what)
        raise error

    return refuse


def _asker() -> str | None:
    """Return the innermost file of the repository that is being executed."""
    frame: Any = sys._getframe(2)
    while frame is not None:
        name: str = frame.f_code.co_filename
        if name == MICROPIE or name.startswith(TESTS) and name != __file__:
            return name
        frame = frame.f_back
    return None


def noted(what: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, which notes as well that a test calls it."""

    def call(*args: Any, **options: Any) -> Any:
        if sys._getframe(1).f_code.co_filename.startswith(TESTS):
            asked.add(what)
        return function(*args, **options)

    return call


def note_what_is_missing() -> None:
    """Refuse threads, sockets and processes, and note who asks for them."""
    no_thread = asks("threads", RuntimeError("can't start new thread"))
    no_process = asks("processes", OSError("emscripten does not support processes"))
    threading.Thread.start = no_thread  # type: ignore[method-assign]
    # No other thread could end the wait. Events, barriers, queues and futures all wait here.
    threading.Condition.wait = no_thread  # type: ignore[method-assign]
    for name in ("current_thread", "get_ident"):
        setattr(threading, name, noted("threads", getattr(threading, name)))
    socket.socket.__init__ = asks("sockets", OSError("no sockets"))  # type: ignore[method-assign]
    subprocess.Popen.__init__ = no_process  # type: ignore[method-assign]
    os.fork = no_process


use_ordinary_loops()
note_what_is_missing()


# --- The results ----------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    asked.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Turn the failure of a test that asked for what is missing into a skip."""
    report = yield
    if report.failed and asked:
        report.outcome = "skipped"
        path, line, _ = item.location
        report.longrepr = (path, line, f"Needs {' and '.join(sorted(asked))}")
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed:
        failed.append(report.nodeid)
    elif report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "xfail"
        left_out.setdefault(reason, []).append(report.nodeid)
    elif report.when == "call":
        counts["passed"] += 1


def pytest_collectreport(report: pytest.CollectReport) -> None:
    if report.failed:
        failed.append(f"{report.nodeid} (collection)")
    elif report.skipped and isinstance(report.longrepr, tuple):
        left_out.setdefault(report.longrepr[2], []).append(report.nodeid)


def pytest_sessionfinish() -> None:
    """Write down what happened, for the test that started it."""
    results = {"passed": counts["passed"], "failed": failed, "left_out": left_out}
    Path(os.environ["RESULTS"]).write_text(json.dumps(results), encoding="utf-8")
