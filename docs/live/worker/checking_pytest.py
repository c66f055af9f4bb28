"""Runs the reader's tests with pytest, with the app as it is or with one that is broken on purpose.

pytest runs in the same interpreter as the app. Its plugin pytest-asyncio makes an event loop for
each test, and here it gets the loop of the checks, which needs neither sockets nor threads.
"""

import asyncio
import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from checking import Missing, Place, Program, forget_modules
from checking_loop import Loop

OPTIONS = [
    "-q",
    "--capture=sys",  # the worker's files can't be replaced
    *("-p", "no:cacheprovider"),
    *("-p", "no:faulthandler"),
    *("-p", "no:debugging"),  # the page has no pdb
    *("-p", "pytest_asyncio.plugin"),
]


@dataclass
class Report:
    """The findings of pytest."""

    passed: list[str] = field(default_factory=list)
    failed: list[tuple[str, Place, str]] = field(default_factory=list)
    """The name of each test that failed, the place, and what it says."""


class _Reporter:
    """A plugin that collects the results."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.report = Report()

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = report.nodeid.partition("::")[2]
        if report.failed:
            self.report.failed.append((name, *self._crash_of(report)))
        elif report.when == "call" and report.passed:
            self.report.passed.append(name)

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            self.report.failed.append((report.nodeid, *self._crash_of(report)))

    def _crash_of(self, report: Any) -> tuple[Place, str]:
        """Return the place in the test, and the first line of the message."""
        file, _, name = report.nodeid.partition("::")
        place = self.program.at(file, name.partition("[")[0])
        crash = getattr(report.longrepr, "reprcrash", None)
        message = crash.message if crash else str(report.longrepr)
        message = getattr(report.longrepr, "errorstring", message)  # of a missing fixture
        return place, message.partition("\n")[0]


def run_tests(program: Program, *, stop_early: bool = False) -> Report:
    """Run all tests in the program's folder.

    Args:
        program: The reader's files.
        stop_early: Stop at the first test that fails.
    """
    forget_modules(program.folder)
    reporter = _Reporter(program)
    options = [*OPTIONS, "--rootdir", str(program.folder), *(["-x"] if stop_early else [])]
    # No other plugins than the step's. The check puts the environment back.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)
    out = io.StringIO()
    with own_loops(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = pytest.main([*options, str(program.folder)], plugins=[reporter])
    if code in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR):
        lines = [line for line in out.getvalue().splitlines() if line.strip()]
        text = f"pytest did not run: {lines[-1] if lines else code}"
        raise Missing(Place("pytest.ini"), text)
    return reporter.report


@contextlib.contextmanager
def own_loops() -> Iterator[None]:
    """Let asyncio make the loop of the checks, where it would make another one."""
    before = asyncio.new_event_loop, asyncio.events.new_event_loop
    asyncio.new_event_loop = asyncio.events.new_event_loop = Loop
    try:
        yield
    finally:
        asyncio.new_event_loop, asyncio.events.new_event_loop = before
