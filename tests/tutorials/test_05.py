"""tutorials/05-database"""

from tests.tutorials import steps


def test_votes_survive_a_restart(client, server, vote):
    vote(client, "Apple")
    vote(client, "Rhubarb")
    with steps.running(steps.SERVE, server.folder) as again:
        assert client.get(f"{again.url}/results").json() == {
            "Apple": 0,
            "Cherry": 0,
            "Pumpkin": 0,
            "Rhubarb": 1,
        }


def test_text_is_no_sql(client, vote):
    before = client.get("/results").json()
    assert vote(client, "'; DROP TABLE votes; --").status_code == 400
    assert client.get("/results").json() == before


def test_page_looks_like_its_picture(browsing, picture, visitor, vote):
    for pie in ("Cherry", "Pumpkin"):
        vote(visitor(), pie)
    page = browsing.page((800, 490))
    page.goto("/")
    page.get_by_label("Cherry").check()
    page.get_by_role("button", name="Vote").click()
    page.get_by_label("Cherry 2").wait_for()
    picture(page)
