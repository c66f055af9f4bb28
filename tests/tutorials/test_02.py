"""tutorials/02-routes"""

import pytest


def test_votes_are_counted(client):
    assert client.get("/results").json() == {"Apple": 0, "Cherry": 0, "Pumpkin": 0, "Rhubarb": 0}
    for pie in ("Cherry", "Pumpkin", "Cherry"):
        client.post(f"/vote/{pie}").raise_for_status()
    assert (
        client.get("/results?at_least=2").json() == client.get("/results/2").json() == {"Cherry": 2}
    )
    assert "<li>Cherry: 2</li>" in client.get("/").text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/vote/Apple", 405),
        ("POST", "/vote/Cake", 404),
        ("POST", "/vote", 400),
        ("GET", "/results?at_least=many", 400),
        ("POST", "/results", 405),
    ],
)
def test_wrong_method_path_or_query_is_refused(client, method, path, status):
    assert client.request(method, path).status_code == status


def test_page_looks_like_its_picture(browsing, picture):
    browsing.check_look("/")
    page = browsing.page((800, 230))
    page.goto("/")
    picture(page)
    page.get_by_role("link", name="JSON").click()
    page.get_by_text("Rhubarb").wait_for()
