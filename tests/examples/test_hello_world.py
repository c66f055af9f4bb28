"""examples/hello_world"""


def test_index_and_greeting(client):
    assert client.get("/").text == "Welcome to MicroPie."
    assert client.get("/greet/Alice").text == "Hello, Alice!"


def test_page_has_no_errors(page):
    page.goto("/greet/Alice")
    assert page.inner_text("body") == "Hello, Alice!"
