"""tutorials/06-live-results"""

import json
from urllib.parse import urlsplit

from tests.examples.browsing import Browsing
from tests.examples.relay import relay_to


def test_vote_is_sent_to_open_streams(client, visitor, vote):
    with client.stream("GET", "/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        data = (
            json.loads(line.removeprefix("data: "))
            for line in response.iter_lines()
            if line.startswith("data: ")
        )
        before = next(data)["votes"]
        vote(visitor(), "Pumpkin")
        assert next(data)["votes"] == {**before, "Pumpkin": before["Pumpkin"] + 1}


def test_page_shows_the_votes_of_others(browsing, picture, visitor, vote):
    for pie in ("Cherry", "Pumpkin", "Cherry"):
        vote(visitor(), pie)
    page = browsing.page((800, 540))
    page.goto("/")
    page.locator("#state", has_text="counted live").wait_for()
    count = page.locator("[data-pie=Apple] .votes")
    before = int(count.text_content())
    for _ in range(3):
        vote(visitor(), "Apple")
    page.locator("[data-pie=Apple] .votes", has_text=str(before + 3)).wait_for()
    picture(page)
    browsing.check_accessible(page)


def test_page_comes_back_if_a_proxy_answers_for_a_server_that_is_down(
    browser, server, visitor, vote
):
    with relay_to(urlsplit(server.url).port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "502"]
        page = browsing.page()
        page.goto("/")
        page.locator("#state", has_text="counted live").wait_for()
        count = page.locator("[data-pie=Apple] .votes")
        before = int(count.text_content())
        with page.expect_response(lambda response: response.status == 502):
            line.cut(bad_gateway=True)
        page.locator("#state", has_text="The connection is lost.").wait_for()
        vote(visitor(), "Apple")
        line.mend()

        page.locator("[data-pie=Apple] .votes", has_text=str(before + 1)).wait_for()
        browsing.close()
