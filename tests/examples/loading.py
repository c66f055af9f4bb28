"""Imports modules of the examples, which are folders, into the tests, each apart."""

import contextlib
import importlib
import sys
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import coverage

import micropie
from tests import asgi
from tests.examples.harness import EXAMPLES, concurrency

T = TypeVar("T")

_loaded: dict[str, dict[str, ModuleType]] = {}


def load(example: str, name: str = "app") -> Any:
    """Import a module as if its example's folder were the current one; once for each example."""
    folder = EXAMPLES / example
    own = _loaded.setdefault(example, {})
    sys.path.insert(0, str(folder))
    sys.modules.update(own)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        for known, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(folder):
                own[known] = sys.modules.pop(known)


def run(coroutine: Coroutine[Any, Any, T], timeout: float = 120.0, real_time: bool = True) -> T:
    """Run a coroutine as `asgi.run` does, in a thread, since Playwright has a loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asgi.run, coroutine, timeout, real_time=real_time).result()


@contextlib.contextmanager
def measuring(folder: Path, example: str) -> Iterator[None]:
    """Measure the coverage of an example while it runs in the process of the tests."""
    measure = coverage.Coverage(
        data_file=str(folder / "data"),
        data_suffix=True,
        include=[f"{EXAMPLES}/*"],
        concurrency=concurrency(example),
        config_file=False,
        messages=False,
    )
    # Of one test that was chosen, perhaps.
    measure.set_option("run:disable_warnings", ["no-data-collected"])
    micropie._pool.cache_clear()  # worker threads that are there already would not be measured
    measure.start()
    try:
        yield
    finally:
        measure.stop()
        micropie._pool.cache_clear()
        measure.save()
