"""examples/sub_apps"""

import re
import socket

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.examples import harness
from tests.examples.browsing import fill_in


def test_each_app_answers_below_its_prefix(client):
    assert client.get("/api/v2/hello/World").json() == {"hello": "World", "below": "/api/v2"}
    assert "<h1>Notes</h1>" in client.get("/notes").text
    for path in ("/notesbook", "/api/nothing", "/api", "/api/v2x/hello/World"):
        assert client.get(path).status_code == 404


def test_notes_have_their_own_session(client):
    added = client.post("/notes/add", data={"text": "<b>one"})
    assert (added.status_code, added.headers["location"]) == (303, "/notes/")
    assert "Path=/notes;" in added.headers["set-cookie"]
    assert "<li>&lt;b&gt;one</li>" in client.get("/notes/").text
    assert "set-cookie" not in client.get("/").headers


@pytest.mark.parametrize("path", ["/", "/notes/", "/api/v2/hello/World"])
def test_other_hosts_are_refused_everywhere(client, path):
    assert client.get(path, headers={"host": "evil.example:80"}).status_code == 421


def test_websocket_for_another_host_is_refused(server):
    url = "ws://evil.example/api/v2/shout"
    here = socket.create_connection(("127.0.0.1", server.port), 30)
    with pytest.raises(InvalidStatus, match="421"), connect(url, sock=here):
        pass


def test_everything_moves_with_the_root_path(tmp_path, measure):
    line, folder = f"{harness.SERVE} --root-path /site", harness.copied("sub_apps", tmp_path)
    with harness.running(line, folder, measure) as server, server.client() as client:
        home, notes = client.get("/").text, client.get("/notes/").text
        added = client.post("/notes/add", data={"text": "x"})

    linked = re.findall(r'(?:href|action)="(/[^"]*)"', home + notes)
    assert linked == [
        "/site/",
        "/site/notes/",
        "/site/api/v2/hello/World",
        "/site/",
        "/site/notes/add",
    ]
    assert "Path=/site/notes;" in added.headers["set-cookie"]


def test_websocket_reaches_the_mounted_app(server):
    with connect(f"{server.ws_url}/api/v2/shout") as ws:
        ws.send("hello")
        assert ws.recv() == "HELLO"


def test_note_is_added_in_the_browser(page, browsing):
    page.goto("/")
    page.get_by_role("link", name="Notes").click()
    fill_in(page, {"New note": "remember"}, "Add", "remember")
    browsing.check_look("/", "/notes/")
