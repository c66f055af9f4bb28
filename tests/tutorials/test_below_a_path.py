"""The poll below a path of another app, as a part of a larger site."""

import pytest
from playwright.sync_api import expect

from tests.processes import wait_until
from tests.tutorials import steps

SITE = """
from micropie import App

from app import Poll


class Site(App):
    pass


site = Site()
site.mounts["/bakery/poll"] = Poll()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = steps.copied(steps.step("08"), tmp_path_factory.mktemp("site"))
    (folder / "site_app.py").write_text(SITE)
    with steps.running(steps.SERVE.replace("app:app", "site_app:site"), folder) as started:
        yield started


def test_vote_chat_and_picture_work_below_a_path(browsing):
    page = browsing.page()
    page.goto("/bakery/poll/")
    page.get_by_label("Cherry").check()
    page.get_by_role("button", name="Vote").click()
    expect(page.get_by_text("Votes so far: 1, counted live")).to_be_visible()
    assert page.url.endswith("/bakery/poll/")
    page.locator("#say input").fill("Hello from below")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.locator("#messages li")).to_contain_text("Hello from below")
    steps.send_picture(page, "A cherry pie", steps.pie("#a4161a"))
    shown = page.locator("#pictures li", has_text="A cherry pie").locator("img")
    expect(shown).to_be_visible()
    wait_until(lambda: shown.evaluate("image => image.naturalWidth") == 400)
