"""examples/routing"""

import pytest


def test_links_on_the_page_lead_somewhere(page):
    page.goto("/")
    links = page.locator("table a")

    assert links.count() == 10
    for number in range(links.count()):
        with page.expect_navigation() as answer:
            links.nth(number).click()
        assert answer.value.status == 200
        page.go_back()


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_methods_are_told_apart(client, method):
    assert client.request(method, "/item/7").json() == {"method": method, "number": 7}


def test_options_and_head_are_answered(client):
    assert client.options("/item/7").headers["allow"] == "DELETE, GET, HEAD, PUT, OPTIONS"
    assert client.head("/hello/Alice").headers["content-length"] == "24"


def test_private_names_are_no_urls(client):
    assert client.get("/_page").status_code == client.get("/app").status_code == 404
