"""A plugin of pytest for Pyodide, which has no threads, no sockets and no processes.

`pyodide_tests.mjs` loads it. It lets ordinary event loops run in Pyodide, and it notes when a test
asks for something that Pyodide does not have. A test that asked, and then failed, is left out. If a
test fails and has asked for nothing, it has found a fault. So no list of tests has to be kept.

If it is `micropie.py` that asks, nothing is noted, since MicroPie has to work without threads.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import threading
import warnings
from asyncio import base_events, selector_events
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyodide import webloop  # type: ignore[import-not-found]

from tests.clock import VirtualLoop

TESTS = Path(__file__).resolve().parent.parent
MICROPIE = str(TESTS.with_name("micropie.py"))

asked: set[str] = set()
"""What the test that runs now has asked for."""


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


def refuses(what: str, error: Exception) -> Callable[..., Any]:
    """Return a function that raises the error, and notes that a test asks for something."""

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
        if name == MICROPIE or _is_test(name):
            return name
        frame = frame.f_back
    return None


def _is_test(name: str) -> bool:
    path = Path(name)
    return path.is_relative_to(TESTS) and name not in (
        __file__,
        sys.modules["tests.clock"].__file__,
    )


class Noted:
    """A function or a method; if the code of a test looks it up, it is noted what the test needs."""

    def __init__(self, what: str, function: Callable[..., Any]) -> None:
        self.what = what
        self.function = function

    def note(self) -> None:
        if _is_test(sys._getframe(2).f_code.co_filename):
            asked.add(self.what)

    def __get__(self, instance: Any, owner: Any) -> Any:
        self.note()
        return self.function.__get__(instance, owner)

    def __call__(self, *args: Any, **options: Any) -> Any:
        self.note()
        return self.function(*args, **options)


def note_what_is_missing() -> None:
    """Refuse threads, sockets and processes, and note who asks for them."""
    no_thread = refuses("threads", RuntimeError("can't start new thread"))
    no_process = refuses("processes", OSError("emscripten does not support processes"))
    places: dict[Any, Any] = {
        (threading.Thread, "start"): no_thread,
        # Events, barriers, queues and futures wait in it, and no other thread can end the wait.
        (threading.Condition, "wait"): no_thread,
        (subprocess.Popen, "__init__"): no_process,
        (os, "fork"): no_process,
        (socket.socket, "__init__"): refuses("sockets", OSError("no sockets in Pyodide")),
    }
    for owner, name in places:
        setattr(owner, name, places[owner, name])
    for owner, name in (
        (threading, "current_thread"),
        (threading, "get_ident"),
        (asyncio, "to_thread"),
        (base_events.BaseEventLoop, "call_soon_threadsafe"),
        (VirtualLoop, "run_in_executor"),
    ):
        setattr(owner, name, Noted("threads", getattr(owner, name)))


use_ordinary_loops()
note_what_is_missing()


# --- Which tests are left out ---------------------------------------------------------------------

DEEP = 10_000
EXCEPTIONS = {
    # Without orjson, the standard library's decoder takes it.
    r"""tests/test_websocket.py::test_text_that_is_not_json_is_a_value_error["\\ud800"]""": "orjson",
}
"""Tests that may fail, and what they need; a last resort."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[None]:
    """Begin with nothing asked; afterwards drop what a test left behind when it was cut short."""
    asked.clear()
    result = yield
    if asked:
        for name in ("last_exc", "last_type", "last_value", "last_traceback"):
            vars(sys).pop(name, None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # loops and coroutines that never ended
            gc.collect()
    return result


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out data that is nested more deeply than a stack is.

    Where Python raises RecursionError, the stack of JavaScript overflows first, and ends Python.
    """
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    if any(map(is_deep, parameters)):
        pytest.skip("Needs a deep stack")


def is_deep(value: Any) -> bool:
    """Whether this is JSON that is nested deeply, or the data of such JSON."""
    if isinstance(value, bytes | str):
        return repr(value).count("[") > DEEP or repr(value).count("{") > DEEP
    depth = 0
    while depth <= DEEP and isinstance(value, list) and len(value) == 1 and value[0] is not value:
        value = value[0]
        depth += 1
    return depth > DEEP


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """Leave out a test that failed and asked for what is missing."""
    report = yield
    needs = asked | {EXCEPTIONS[item.nodeid]} if item.nodeid in EXCEPTIONS else asked
    if report.failed and needs:
        leave_out(report, f"Needs {' and '.join(sorted(needs))}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Leave out a file that imports a module of the standard library that Pyodide lacks."""
    report = yield
    error = report.call.excinfo.value.__cause__ if report.failed else None
    if isinstance(error, ModuleNotFoundError) and error.name in sys.stdlib_module_names:
        leave_out(report, f"Needs the module {error.name}")
    return report


def leave_out(report: Any, reason: str) -> None:
    report.outcome = "skipped"
    report.longrepr = (report.nodeid.partition("::")[0], 0, reason)


# --- The results ----------------------------------------------------------------------------------


class Results:
    """Counts, and writes down what happened, for the test that started this one."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed: list[str] = []
        self.left_out: dict[str, list[str]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.pytest_collectreport(report)
        if report.passed and report.when == "call":
            self.passed += 1

    def pytest_collectreport(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.failed:
            self.failed.append(f"{report.nodeid}\n{report.longreprtext}")
        elif report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else "xfail"
            self.left_out.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)

    def pytest_sessionfinish(self) -> None:
        Path(os.environ["RESULTS"]).write_text(json.dumps(vars(self)), encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Results())
