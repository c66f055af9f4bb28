"""examples/forms"""

import pytest


@pytest.fixture
def send(client, csrf_token):
    token = csrf_token(client.get("/").text)
    good = {"csrf_token": token, "name": "Zoë", "email": "zoe@example.org", "topic": "pies"}
    return lambda **fields: client.post("/sign_up", data={**good, **fields})


def test_form_is_filled_in_and_sent(page):
    page.goto("/")
    page.get_by_label("Name").fill("Zoë <b>")
    page.get_by_label("E-mail").fill("zoe@example.org")
    page.get_by_label("pies").check()
    page.get_by_label("Send me the newsletter").check()
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/thanks")

    assert page.get_by_role("heading").inner_text() == "Thank you, Zoë <b>"
    assert page.locator("td").all_inner_texts() == ["zoe@example.org", "not told", "pies", "yes", "none"]
    page.reload()
    assert page.url.endswith("/thanks")


def test_mistakes_are_shown_and_nothing_is_lost(browsing, page):
    browsing.expected = ["422"]
    page.goto("/")
    page.get_by_label("Name").fill("Alice")
    page.get_by_label("Age").fill("7")
    page.get_by_label("Anything else?").fill("\nfirst line blank")
    page.get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/sign_up")

    assert page.locator(".problem").all_inner_texts() == [
        "That is no e-mail address.",
        "The course is for people from 16 to 120.",
        "Choose at least one of the topics.",
    ]
    assert page.get_by_label("Name").input_value() == "Alice"
    assert page.get_by_label("Age").input_value() == "7"
    assert page.get_by_label("Anything else?").input_value() == "first line blank"
    browsing.check_accessible(page)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "  "},
        {"name": "x" * 101},
        {"email": "a@b"},
        {"email": ""},
        {"age": "15"},
        {"age": "-1"},
        {"topic": ""},
        {"topic": ["pies", "poison"]},
        {"message": "x" * 1001},
    ],
)
def test_wrong_field_is_422(send, wrong):
    assert send(**wrong).status_code == 422


@pytest.mark.parametrize("right", [{}, {"age": ""}, {"age": "16"}, {"message": "", "newsletter": "on"}])
def test_right_fields_are_303(send, right):
    assert send(**right).status_code == 303


def test_thanks_without_an_entry_leads_back(client):
    response = client.get("/thanks")

    assert (response.status_code, response.headers["location"]) == (302, "/")


def test_token_of_another_session_is_403(client, send):
    client.cookies.clear()
    client.get("/")

    assert send().status_code == 403


def test_page_looks_good(browsing):
    browsing.check_look("/")
