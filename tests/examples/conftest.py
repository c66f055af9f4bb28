"""Fixtures for the tests of the examples.

The fixture `server` is a running copy of an example (see `harness.SharedServers`): in a module
`test_<name>.py` of `examples/<name>`, and in a test with a parameter `name`, of the example of that
name. All tests of an example run one after the other, so that they share the server. The coverage
of the servers is measured (see test_coverage.py).

The synchronous interface of Playwright keeps an event loop running in the main thread, so that
`async` tests run in another thread.
"""

import inspect
import os
from pathlib import Path

import pytest

from tests.conftest import time_of
from tests.examples import accounts, harness
from tests.examples.browsing import Browsing, launched
from tests.examples.loading import measuring, run
from tests.examples.services import all_services

collect_ignore = [f"test_{name}.py" for name in harness.ALL_NAMES if name not in harness.NAMES]
#: Tests of an example that submit anything to it come after those that know what is there.
LATE = ["test_below_a_path.py", "test_safety.py"]
servers = pytest.StashKey[harness.SharedServers]()


def example_of(nodeid):
    """Return the name of the example that a test is about, or else of its module."""
    path, _, parameters = nodeid.partition("[")
    own = Path(path.partition("::")[0]).stem.removeprefix("test_")
    if own in {*harness.ALL_NAMES, "pictures"}:
        return own
    names = set(parameters.strip("]").split("-")) & set(harness.ALL_NAMES)
    return "gallery" if "gallery" in names else next(iter(names), own)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """With pytest-xdist, run all tests of an example in one process, whatever `--dist` says."""
    from xdist.scheduler import LoadScopeScheduling

    class ByExample(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return example_of(nodeid)

    return ByExample(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Sort the tests by example, and put the test of the coverage last, if all are chosen.

    With several processes, the coverage has a run of its own, after the one that leaves it in
    EXAMPLES_COVERAGE.
    """
    ours = [item for item in items if item.path.parent == harness.HERE]
    others = [item for item in items if item.path.parent != harness.HERE]
    ours.sort(key=lambda item: (example_of(item.nodeid), item.path.name in LATE, item.path.name))
    items[:] = others + ours
    if "EXAMPLES_COVERAGE" in os.environ:
        return
    left_out = set(collect_ignore)
    everything = {item.path.name for item in ours} >= {
        path.name for path in harness.HERE.glob("test_*.py")
    } - left_out
    chosen = config.getoption("keyword") or any("::" in argument for argument in config.args)
    coverage = [item for item in ours if item.path.name == "test_coverage.py"]
    rest = [item for item in items if item not in coverage]
    if everything and not chosen:
        items[:] = rest + coverage
    else:
        items[:] = rest
        config.hook.pytest_deselected(items=coverage)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run `async def` tests as tests/conftest.py does, but in another thread."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    run(pyfuncitem.obj(**arguments), **time_of(pyfuncitem))
    return True


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Stop an example's server after its last test, which fails if it has logged a traceback."""
    if (
        servers in item.config.stash
        and nextitem is not None
        and example_of(item.nodeid) != example_of(nextitem.nodeid)
    ):
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


@pytest.fixture(scope="module")
def measured(request, coverage_folder):
    """Measure the coverage of the example while the module's tests run it in this process."""
    with measuring(coverage_folder, example_of(request.node.nodeid)):
        yield


@pytest.fixture(scope="package")
def shared_servers(request, tmp_path_factory, services, coverage_folder):
    def settings(name):
        measure = harness.measured(coverage_folder, name)
        return {**measure, **services.environment(name), **accounts.SETTINGS.get(name, {})}

    started = request.config.stash[servers] = harness.SharedServers(
        tmp_path_factory.mktemp, settings
    )
    yield started
    started.stop()


@pytest.fixture
def server(request, shared_servers):
    """The example that the test is about, running."""
    return shared_servers(example_of(request.node.nodeid))


@pytest.fixture
def client(server):
    with server.client() as opened:
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
