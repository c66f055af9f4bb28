"""Fixtures for the tests of the documentation."""

import pytest

from tests.docs.site import Site, built
from tests.examples.browsing import launched
from tests.examples.services import all_services


@pytest.fixture(scope="package")
def services():
    with all_services() as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    """A browser until the module's end. While it runs, no test can run another event loop."""
    with launched() as opened:
        yield opened


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Site:
    """The site, built once for all processes of pytest-xdist."""
    return built(tmp_path_factory.getbasetemp())
