"""Fixtures for the tests of the documentation."""

import pytest

from tests.examples.services import all_services


@pytest.fixture(scope="package")
def services():
    with all_services() as started:
        yield started
