"""examples/templates"""

from datetime import UTC, datetime, timedelta

import pytest

from tests.examples.browsing import fill_in
from tests.examples.loading import load


def test_order_is_confirmed_once(page):
    page.goto("/")
    page.get_by_role("link", name="Käsekuchen").click()
    page.wait_for_url("**/pie/*")
    assert page.title() == "Käsekuchen – Pie shop"
    assert "1,234.50 €, baked 2 days ago, the large one." in page.inner_text("main")
    fill_in(page, {"How many?": "2"}, "Into the basket")
    page.get_by_role("status").wait_for()

    assert page.get_by_role("status").all_inner_texts() == ["2 × Käsekuchen in your basket."]
    assert page.inner_text("#basket") == "2"
    page.reload()
    assert page.get_by_role("status").count() == 0
    assert page.inner_text("#basket") == "2"


@pytest.mark.parametrize("fields", [{"name": "<b>mud</b>"}, {"name": "apple", "count": "21"}])
def test_unknown_pie_cannot_be_ordered(client, fields):
    assert client.post("/order", data=fields).status_code == 303

    shown = client.get("/").text
    assert "we do not have that." in shown
    assert "<b>mud" not in shown
    assert '<strong id="basket">0' in shown


def test_messages_of_two_posts_are_both_shown(client):
    for name in ("apple", "cherry"):
        client.post("/order", data={"name": name})

    assert client.get("/").text.count("in your basket.") == 2


def test_age_is_told_in_the_largest_unit(client, measured):
    assert "baked 3 hours ago" in client.get("/pie/cherry").text
    example, now = load("templates"), datetime.now(UTC)
    for words, age in (
        ("just now", timedelta(0)),
        ("1 minute ago", timedelta(seconds=60)),
        ("20 minutes ago", timedelta(minutes=20)),
        ("2 days ago", timedelta(days=2, hours=5)),
    ):
        assert example.ago(now - age) == words


def test_unknown_pie_is_a_page_of_the_shop(client):
    missing = client.get("/pie/mud")

    assert missing.status_code == 404
    assert "All pies" in missing.text
