"""examples/forms"""

import time

import pytest

from tests.examples.browsing import fill_in
from tests.timing import shortest


@pytest.fixture
def send(client):
    good = {"name": "Zoë", "email": "zoe@example.org", "topic": "pies"}
    return lambda **fields: client.post("/sign_up", data={**good, **fields})


def test_form_is_filled_in_and_sent(page):
    page.goto("/")
    fields = {
        "Name": "Zoë <b>",
        "E-mail": "zoe@example.org",
        "pies": "",
        "Send me the newsletter": "",
    }
    fill_in(page, fields, "Sign up")
    page.wait_for_url("**/thanks")

    assert page.get_by_role("heading").inner_text() == "Thank you, Zoë <b>"
    assert page.locator("td").all_inner_texts() == [
        "zoe@example.org",
        "not told",
        "pies",
        "yes",
        "none",
    ]
    page.reload()
    assert page.url.endswith("/thanks")


def test_mistakes_are_shown_and_nothing_is_lost(browsing, page):
    browsing.expected = ["422"]
    page.goto("/")
    fill_in(page, {"Name": "Alice", "Age": "7", "Anything else?": "\nfirst line blank"}, "Sign up")
    page.wait_for_url("**/sign_up")

    email, age = "That is no e-mail address.", "The course is for people from 16 to 120."
    assert page.locator(".error").all_inner_texts() == [
        email,
        age,
        "Choose at least one of the topics.",
    ]
    for label, kept in (("Name", "Alice"), ("Age", "7"), ("Anything else?", "first line blank")):
        assert page.get_by_label(label).input_value() == kept
    browsing.check_accessible(page)


WRONG: dict[str, list[str | list[str]]] = {
    "name": ["", "  ", "x" * 101],
    "email": ["a@b", ""],
    "age": ["15", "-1"],
    "topic": ["", ["pies", "poison"]],
    "message": ["x" * 1001],
}


@pytest.mark.parametrize(
    ("field", "value"), [(field, value) for field in WRONG for value in WRONG[field]]
)
def test_wrong_field_is_422(send, field, value):
    assert send(**{field: value}).status_code == 422


@pytest.mark.parametrize(
    "right", [{}, {"age": ""}, {"age": "16"}, {"message": "", "newsletter": "on"}]
)
def test_right_fields_are_303(send, right):
    assert send(**right).status_code == 303


def test_thanks_without_an_entry_leads_back(client):
    response = client.get("/thanks")

    assert (response.status_code, response.headers["location"]) == (302, "/")


def test_odd_address_takes_no_longer_than_another(send):
    def seconds():
        began = time.monotonic()
        for email in ("a@" + "." * 200_000 + "@", "a@" + ".b" * 100_000 + " "):
            assert send(email=email).status_code == 422
        return time.monotonic() - began

    assert shortest(seconds, 10) < 10, "each dot was tried with each other one"
