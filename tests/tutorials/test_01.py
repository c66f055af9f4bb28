"""tutorials/01-hello"""


def test_page(client):
    assert "Which pie shall we bake on Friday?" in client.get("/").text
    assert client.get("/nothing").status_code == 404


def test_look(browsing, picture):
    browsing.check_look("/")
    page = browsing.page((800, 120))
    page.goto("/")
    picture(page)
