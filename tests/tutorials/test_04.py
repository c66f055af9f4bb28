"""tutorials/04-sessions"""

import pytest


def test_each_visitor_has_one_vote(client, visitor, vote):
    for pie in ("Apple", "Cherry"):
        assert vote(client, pie).status_code == 303
    assert vote(visitor(), "Cherry").status_code == 303
    assert client.get("/results").json() == {"Apple": 0, "Cherry": 2, "Pumpkin": 0, "Rhubarb": 0}


@pytest.mark.parametrize(
    "sent",
    [{"data": {"pie": "Apple", "voter": "Ada"}}, {"json": {"pie": "Apple", "voter": "Ada"}}],
    ids=["form", "JSON"],
)
def test_vote_without_a_session_is_asked_to_reload(visitor, sent):
    before = visitor().get("/results").json()
    answer = visitor().post("/vote?voter=Ada", **sent)
    assert answer.status_code == 403
    assert "This page is too old. Reload it, and vote again." in answer.text
    assert visitor().get("/results").json() == before


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_vote_from_another_site_does_not_count(client, vote, headers):
    vote(client, "Apple")
    answer = client.post("/vote", data={"pie": "Rhubarb"}, headers=headers)
    assert answer.status_code == 403
    assert client.get("/results").json()["Rhubarb"] == 0
    assert vote(client, "Cherry").status_code == 303


def test_page_that_is_older_than_the_server_leads_to_a_new_one(browsing):
    browsing.expected.append("403")
    page = browsing.page()
    page.goto("/")
    page.context.clear_cookies()  # as after a restart: the server knows no such session
    page.get_by_label("Apple").check()
    page.get_by_role("button", name="Vote").click()
    page.get_by_text("This page is too old.").wait_for()
    browsing.check_accessible(page)
    page.get_by_role("link", name="Reload the page").click()
    page.get_by_label("Apple").check()
    page.get_by_role("button", name="Vote").click()
    page.get_by_role("button", name="Change my vote").wait_for()


def test_page_looks_like_its_picture(browsing, picture, visitor, vote):
    for pie in ("Apple", "Apple", "Rhubarb"):
        vote(visitor(), pie)
    page = browsing.page((800, 490))
    page.goto("/")
    page.get_by_label("Pumpkin").check()
    page.get_by_role("button", name="Vote").click()
    page.get_by_role("button", name="Change my vote").wait_for()
    assert page.get_by_label("Pumpkin").is_checked()
    page.get_by_role("button").blur()
    picture(page)
