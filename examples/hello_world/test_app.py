"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

client = TestClient(app)


def test_index() -> None:
    assert client.get("/").text == "Welcome to MicroPie."


def test_greet_escapes_the_name() -> None:
    assert client.get("/greet/<b>").text == "Hello, &lt;b&gt;!"
