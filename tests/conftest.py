"""What all tests share: with CI set, nothing may be left out."""

import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# All of them here: a folder's own conftest.py may come after another folder's imports.
pytest.register_assert_rewrite(
    "tests.asgi",
    "tests.processes",
    "tests.blocks",
    "tests.docs.running",
    "tests.faults.harness",
    "tests.examples.browsing",
    "tests.examples.crawler",
    "tests.tutorials.steps",
)

NOTHING_MAY_BE_SKIPPED = os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def time_of(item: pytest.Function) -> dict[str, Any]:
    """Return how long an `async def` test may take, and in which time, for `tests.asgi.run`.

    The limits end a test that hangs. On a busy machine, those in real time take several times as
    long as on an idle one.
    """
    real_time = item.get_closest_marker("real_time") is not None
    timeout = 850 if item.get_closest_marker("slow") else 120 if real_time else 30
    return {"timeout": timeout, "real_time": real_time}


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run `async def` tests in virtual time, or in real time if they are marked `real_time`."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    from tests.asgi import run  # not before its assertions are rewritten

    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run(pyfuncitem.obj(**arguments), **time_of(pyfuncitem))
    return True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Put the tests of the examples last: they measure another coverage, and need all runs."""
    items.sort(key=lambda item: "examples" in item.path.parts)


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure, so that a missing program or package cannot pass unnoticed."""
    if NOTHING_MAY_BE_SKIPPED and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, and with CI set nothing may be left out: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    _refuse_skip(report)
    # A log record of a test may hold lone surrogates, which no worker of pytest-xdist
    # can hand over.
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    _refuse_skip(report)
    return report


@pytest.fixture(params=["orjson", "json"])
def module(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The framework with orjson, and a fresh copy of it that finds none."""
    import micropie

    if request.param == "orjson":
        pytest.importorskip("orjson")
        yield micropie
        return
    monkeypatch.setitem(sys.modules, "orjson", None)
    spec = importlib.util.spec_from_file_location("micropie_without_orjson", micropie.__file__)
    assert spec is not None and spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, copy)
    spec.loader.exec_module(copy)
    yield copy
