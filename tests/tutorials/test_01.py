"""tutorials/01-hello"""


def test_page_asks_its_question(client):
    assert "Which pie shall we bake on Friday?" in client.get("/").text
    assert client.get("/nothing").status_code == 404


def test_page_looks_like_its_picture(browsing, picture):
    browsing.check_look("/")
    page = browsing.page((800, 120))
    page.goto("/")
    picture(page)
