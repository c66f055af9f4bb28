"""Fixtures for the tests of the examples.

A module `test_<name>.py` tests `examples/<name>`: its fixture `server` is a running copy of that example, started once
for the module with `python app.py`. It may define `ENVIRONMENT`, variables for that server, and `sign_in(client)`,
which test_safety.py calls with a client whose `base_url` is the example. What runs in the servers and in the commands
of the READMEs is measured: see test_coverage.py.

Tests here are plain functions: Playwright's synchronous interface keeps an event loop of its own running, so that
`async` tests and `asyncio.run` have none.
"""

import os
import re
from pathlib import Path

import httpx
import pytest

from tests.examples import harness
from tests.examples.browsing import Browsing, launched
from tests.examples.services import all_services

collect_ignore = [f"test_{name}.py" for name in harness.ALL_NAMES if name not in harness.NAMES]


def pytest_collection_modifyitems(config, items):
    """Look at the coverage last, and only when all tests of the examples have been chosen.

    With several processes, the coverage has a run of its own, after the one that leaves it in EXAMPLES_COVERAGE.
    """
    if "EXAMPLES_COVERAGE" in os.environ:
        return
    modules = {item.path.name for item in items if item.path.parent == harness.HERE}
    left_out = {"test_alone.py", *collect_ignore}
    everything = modules >= {path.name for path in harness.HERE.glob("test_*.py")} - left_out
    chosen = config.getoption("keyword") or any("::" in argument for argument in config.args)
    coverage = [item for item in items if item.path == harness.HERE / "test_coverage.py"]
    rest = [item for item in items if item not in coverage]
    if everything and not chosen:
        items[:] = rest + coverage
    else:
        items[:] = rest
        config.hook.pytest_deselected(items=coverage)


@pytest.fixture(scope="session")
def coverage_folder(tmp_path_factory):
    if "EXAMPLES_COVERAGE" not in os.environ:
        return tmp_path_factory.mktemp("coverage")
    folder = Path(os.environ["EXAMPLES_COVERAGE"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="package")
def services():
    with all_services() as started:
        yield started


@pytest.fixture(scope="session")
def measure(coverage_folder):
    return harness.measured(coverage_folder)


@pytest.fixture(scope="module")
def server(request, tmp_path_factory, services, measure):
    """The example that the test module is named after, running."""
    name = request.path.stem.removeprefix("test_")
    folder = harness.copied(name, tmp_path_factory.mktemp(name))
    environment = {**measure, **services.environment(name), **getattr(request.module, "ENVIRONMENT", {})}
    with harness.running("python app.py", folder, environment) as started:
        yield started


@pytest.fixture
def client(server):
    """A client that keeps cookies and follows no redirects."""
    with httpx.Client(base_url=server.url, timeout=10, verify=harness.PLAIN) as opened:
        yield opened


@pytest.fixture(scope="package")
def browser():
    with launched() as opened:
        yield opened


@pytest.fixture
def browsing(browser, server):
    """A browser with no history; whatever goes wrong in its pages fails the test at the end."""
    session = Browsing(browser, server.url)
    yield session
    session.close()


@pytest.fixture
def page(browsing):
    """A page of its own in Chromium, 1280 pixels wide."""
    return browsing.page()


@pytest.fixture
def csrf_token():
    """Find the token in a page."""

    def find(html: str) -> str:
        match = re.search(r'name="csrf_token" value="([^"]+)"', html)
        assert match, html
        return match[1]

    return find
