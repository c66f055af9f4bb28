"""tutorials/04-sessions"""


def test_each_visitor_has_one_vote(client, visitor, vote):
    for pie in ("Apple", "Cherry"):
        assert vote(client, pie).status_code == 303
    assert vote(visitor(), "Cherry").status_code == 303
    assert client.get("/results").json() == {"Apple": 0, "Cherry": 2, "Pumpkin": 0, "Rhubarb": 0}


def test_vote_needs_the_session_and_its_token(client, visitor, token):
    other = token(visitor())
    assert client.post("/vote", data={"pie": "Apple", "csrf_token": other}).status_code == 401
    token(client)
    for sent in ({}, {"csrf_token": ""}, {"csrf_token": other}):
        assert client.post("/vote", data={"pie": "Apple", **sent}).status_code == 403
    assert client.post("/vote?voter=1", json={"pie": "Apple", "voter": 1}).status_code == 403


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
