"""Pages of the examples as people see them. The tests of some examples look at their own pages."""

import pytest

from tests.examples import harness

PAGES = {
    "forms": ["/"],
    "headers_and_cookies": ["/"],
    "login": ["/", "/login", "/sign_up"],
    "routing": ["/"],
    "sessions": ["/", "/login"],
    "static_files": ["/"],
    "streaming": ["/"],
    "templates": ["/", "/pie/apple"],
    "todo_htmx": ["/"],
}


@pytest.mark.parametrize("name", [name for name in PAGES if name in harness.NAMES])
def test_pages_are_accessible_and_fit_a_phone(browsing, name):
    browsing.check_look(*PAGES[name])
