"""Fixtures for the tests of the examples.

The fixture `server` is a running copy of an example (see `harness.SharedServers`): in a module `test_<name>.py` of
`examples/<name>`, and in a test with a parameter `name`, of the example of that name. All tests of an example run
one after the other, so that they share the server, and with `--dist=loadgroup` of pytest-xdist in one process. What
runs in the servers and in the commands of the READMEs is measured: see test_coverage.py.

Tests here are plain functions: Playwright's synchronous interface keeps an event loop of its own running, so that
`async` tests and `asyncio.run` have none.
"""

import os
from pathlib import Path

import httpx
import pytest

from tests.examples import accounts, harness
from tests.examples.browsing import Browsing, launched
from tests.examples.services import all_services

collect_ignore = [f"test_{name}.py" for name in harness.ALL_NAMES if name not in harness.NAMES]
#: Tests of an example that submit anything to it come after those that know what is there.
LATE = ["test_below_a_path.py", "test_safety.py"]
servers = pytest.StashKey[harness.SharedServers]()


def example_of(item):
    """Return the name of the example that a test is about, or else of its module."""
    own = item.path.stem.removeprefix("test_")
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    if own in harness.ALL_NAMES:
        return own
    return "gallery" if parameters.get("place") == "gallery" else parameters.get("name", own)


def pytest_itemcollected(item):
    if item.path.parent == harness.HERE:
        item.add_marker(pytest.mark.xdist_group(example_of(item)))


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Sort the tests by example, and look at the coverage last, when all tests of the examples have been chosen.

    With several processes, the coverage has a run of its own, after the one that leaves it in EXAMPLES_COVERAGE.
    """
    ours = [item for item in items if item.path.parent == harness.HERE]
    others = [item for item in items if item.path.parent != harness.HERE]
    ours.sort(key=lambda item: (example_of(item), item.path.name in LATE, item.path.name))
    items[:] = others + ours
    if "EXAMPLES_COVERAGE" in os.environ:
        return
    left_out = {"test_alone.py", *collect_ignore}
    everything = {item.path.name for item in ours} >= {path.name for path in harness.HERE.glob("test_*.py")} - left_out
    chosen = config.getoption("keyword") or any("::" in argument for argument in config.args)
    coverage = [item for item in ours if item.path.name == "test_coverage.py"]
    rest = [item for item in items if item not in coverage]
    if everything and not chosen:
        items[:] = rest + coverage
    else:
        items[:] = rest
        config.hook.pytest_deselected(items=coverage)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop an example's server after the last of its tests, which fails if the server has logged a traceback."""
    if servers in item.config.stash and nextitem is not None and example_of(item) != example_of(nextitem):
        item.config.stash[servers].stop()


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


@pytest.fixture(scope="package")
def shared_servers(request, tmp_path_factory, services, measure):
    def settings(name):
        return {**measure, **services.environment(name), **accounts.SETTINGS.get(name, {})}

    started = request.config.stash[servers] = harness.SharedServers(tmp_path_factory.mktemp, settings)
    yield started
    started.stop()


@pytest.fixture
def server(request, shared_servers):
    """The example that the test is about, running."""
    return shared_servers(example_of(request.node))


@pytest.fixture
def client(server):
    """A client that keeps cookies and follows no redirects."""
    with httpx.Client(base_url=server.url, timeout=30, verify=harness.PLAIN) as opened:
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
    return accounts.csrf_token
