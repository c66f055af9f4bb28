"""Fixtures for the tests of the documentation."""

import pytest

pytest.register_assert_rewrite("tests.docs.running", "tests.examples.browsing")

from tests.examples.services import all_services  # noqa: E402 - after its assertions are to be rewritten


@pytest.fixture(scope="package")
def services():
    with all_services() as started:
        yield started
