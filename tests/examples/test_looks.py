"""Pages of the examples as people see them: other pages are looked at in the tests of their examples."""

import pytest

from tests.examples import harness

PAGES = {
    "forms": ["/"],
    "headers_and_cookies": ["/"],
    "routing": ["/"],
    "sessions": ["/", "/login"],
    "static_files": ["/"],
    "streaming": ["/"],
    "templates": ["/", "/pie/apple"],
}


@pytest.mark.parametrize("name", [name for name in PAGES if name in harness.NAMES])
def test_pages_are_accessible_and_fit_a_phone(browsing, name):
    browsing.check_look(*PAGES[name])
