"""Run them with ``pytest``."""

from starlette.testclient import TestClient

import app
import inside


def test_apps_inside_of_micropie() -> None:
    with TestClient(app.app, base_url="https://testserver") as client:
        client.post("/introduce", data={"name": "Ada"})
        client.post("/api/pies", json={"name": "plum"})
        answer = {"pies": ["apple", "plum"], "visitor": "Ada"}
        assert client.get("/api/pies").json() == answer
        assert client.get("/old/page").text == "/old and /page\n"
        assert client.get("/static/pie.txt").text == "A pie.\n"


def test_micropie_inside_of_fastapi() -> None:
    with TestClient(inside.app) as client:
        answer = {"hello": "Ada", "below": "/pages"}
        assert client.get("/pages/hello/Ada").json() == answer
