"""examples/sub_apps"""

import re

import pytest

from tests import asgi
from tests.examples import harness
from tests.examples.browsing import fill_in
from tests.examples.loading import load


def test_each_app_answers_below_its_prefix(client):
    assert client.get("/api/hello/World").json() == {"hello": "World", "url": "/api/hello/World"}
    assert client.get("/static/style.css").headers["content-type"].startswith("text/css")
    assert "<h1>Notes</h1>" in client.get("/notes").text
    for path in ("/notesbook", "/api/nothing", "/static/../app.py", "/static/nothing"):
        assert client.get(path).status_code == 404


def test_notes_have_a_session_of_their_own(client, csrf_token):
    page = client.get("/notes/")
    assert "Path=/notes;" in page.headers["set-cookie"]
    added = client.post("/notes/add", data={"text": "<b>one", "csrf_token": csrf_token(page.text)})
    assert (added.status_code, added.headers["location"]) == (303, "/notes/")
    assert "<li>&lt;b&gt;one</li>" in client.get("/notes/").text
    assert client.post("/notes/add", data={"text": "two"}).status_code == 403
    assert "set-cookie" not in client.get("/").headers


@pytest.mark.parametrize("path", ["/", "/notes/", "/api/hello/World", "/static/style.css"])
def test_other_hosts_are_refused_everywhere(client, path):
    assert client.get(path, headers={"host": "evil.example:80"}).status_code == 421


def test_everything_moves_with_the_root_path(tmp_path, measure):
    line, folder = f"{harness.SERVE} --root-path /site", harness.copied("sub_apps", tmp_path)
    with harness.running(line, folder, measure) as server, server.client() as client:
        home, notes = client.get("/").text, client.get("/notes/")
        hello = client.get("/api/hello/x").json()

    style = "/site/static/style.css"
    linked = re.findall(r'(?:href|action)="([^"]+)"', home + notes.text)
    assert linked == [
        style,
        "/site/notes/",
        "/site/api/hello/World",
        style,
        style,
        "/site/notes/add",
        "/site/",
    ]
    assert "Path=/site/notes;" in notes.headers["set-cookie"]
    assert hello["url"] == "/site/api/hello/x"


async def test_websocket_reaches_the_mounted_app(measured):
    async with asgi.websocket(load("sub_apps").Root(), "/api/shout") as ws:
        await ws.send_text("hello")
        assert await ws.receive() == "HELLO"


def test_note_is_added_in_the_browser(page, browsing):
    page.goto("/")
    page.get_by_role("link", name="Notes").click()
    fill_in(page, {"New note": "remember"}, "Add", "remember")
    browsing.check_look("/", "/notes/")
