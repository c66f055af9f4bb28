"""examples/notes_spa"""

import sqlite3

import pytest
from playwright.sync_api import expect

from tests.examples.browsing import fill_in
from tests.examples.harness import PREFIX

NOTE = {"title": "Pie", "text": "Plums"}


@pytest.fixture
def added(client):
    return client.post("/api/notes", json=NOTE)


@pytest.fixture
def url(added):
    return f"/api/notes/{added.json()['id']}"


def test_note_is_created_shown_listed_and_deleted(client, added, url):
    assert (added.status_code, added.headers["etag"]) == (201, '"1"')
    assert client.get(url).json() == added.json()
    assert client.get(url).headers["etag"] == '"1"'
    assert {"id": added.json()["id"], "title": "Pie"} in client.get("/api/notes").json()
    assert [client.delete(url).status_code for _ in range(2)] == [204, 404]


def test_update_needs_the_version_that_was_seen(client, url):
    assert client.put(url, json=NOTE).status_code == 428
    for tag in ('"2"', '"x"', '"' + "9" * 50 + '"', "*"):
        assert client.put(url, json=NOTE, headers={"if-match": tag}).status_code == 412
    changed = client.put(url, json=NOTE | {"text": "Pears"}, headers={"if-match": '"1"'})
    assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
    gone = client.put("/api/notes/999999", json=NOTE, headers={"if-match": '"1"'})
    assert gone.status_code == 404


@pytest.mark.parametrize(
    "path", ["notes/999999", "notes/0", "notes/-1", "notes/x", "notes/" + "9" * 30, "nowhere", "_x"]
)
def test_unknown_paths_of_the_api_are_404_in_json(client, path):
    answer = client.get(f"/api/{path}")

    assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [None, {}, {"title": "", "text": ""}, {"title": "x" * 101}])
def test_unfit_notes_are_refused(client, url, body):
    for method, path in (("POST", "/api/notes"), ("PUT", url)):
        answer = client.request(method, path, json=body, headers={"if-match": '"1"'})
        assert answer.status_code == 400, answer.text


def test_wrong_methods_are_refused(client, url):
    assert client.delete("/api/notes").headers["allow"] == "GET, POST"
    assert client.post(url, json=NOTE).headers["allow"] == "GET, PUT, DELETE"
    assert client.patch(url).status_code == 405
    assert client.head(url).headers["etag"] == '"1"'


def test_notes_are_bounded(client, server):
    path = server.folder / "data" / "notes.sqlite3"
    database = sqlite3.connect(path, timeout=60)
    with database:
        database.executemany("INSERT INTO notes (title, text) VALUES ('full', '')", [()] * 1000)
    assert client.post("/api/notes", json=NOTE).status_code == 409
    with database:
        database.execute("DELETE FROM notes WHERE title = 'full'")
    database.close()


@pytest.mark.parametrize("path", ["/", "/new", "/notes/1", "/any/thing/else"])
def test_paths_of_the_client_get_the_page(client, path):
    page = client.get(path)

    assert 'data-root="/"' in page.text
    policy = page.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert client.post(path).status_code == 405


def test_static_files_are_asked_for_again(client):
    first = client.get("/static/vendor/preact.min.js")
    assert first.headers["content-type"].startswith("text/javascript")
    again = client.get("/static/app.js", headers={"if-none-match": '"x"'})
    assert again.status_code == 200
    tag = again.headers["etag"]
    assert client.get("/static/app.js", headers={"if-none-match": tag}).status_code == 304
    for path in ("%2e%2e/app.py", "vendor", "x"):
        assert client.get(f"/static/{path}").status_code == 404


@pytest.mark.parametrize("root", ["", PREFIX])
def test_browser_writes_changes_and_deletes(page, browsing, root):
    page.goto(f"{root}/")
    page.get_by_role("link", name="New note").click()
    page.wait_for_url(f"**{root}/new")
    fill_in(page, {"Title": "<b>Flour", "Text": "Two pounds"}, "Save")
    page.wait_for_url(f"**{root}/notes/*")
    page.reload()
    fill_in(page, {"Text": "Three pounds"}, "Save", "Saved.")
    page.go_back()
    page.get_by_role("link", name="Notes").click()
    page.get_by_role("link", name="<b>Flour").click()
    expect(page.get_by_label("Text")).to_have_value("Three pounds")
    browsing.check_accessible(page)
    page.get_by_role("button", name="Delete").click()
    page.get_by_role("heading", name="Notes").wait_for()
    expect(page.get_by_role("status")).not_to_have_text("Loading the notes.")
    assert page.get_by_role("link", name="<b>Flour").count() == 0


def test_browser_tells_of_a_change_elsewhere(page, browsing, client, added, url):
    browsing.expected = ["412"]
    page.goto(url.removeprefix("/api"))
    page.get_by_label("Title").wait_for()
    client.put(url, json=NOTE | {"text": "Pears"}, headers={"if-match": '"1"'})
    fill_in(page, {"Text": "Apples"}, "Save", "This note was changed elsewhere")
    assert page.get_by_label("Text").input_value() == "Apples"
    page.get_by_role("button", name="Load again").click()
    expect(page.get_by_label("Text")).to_have_value("Pears")
    fill_in(page, {"Text": "Apples"}, "Save", "Saved.")
    assert client.get(url).json()["text"] == "Apples"


def test_browser_tells_of_unknown_pages_and_notes(page, browsing):
    browsing.expected = ["404"]
    page.goto("/no/such/page")
    page.get_by_role("heading", name="There is no such page").wait_for()
    page.goto("/notes/999999")
    page.get_by_text("There is no such note").wait_for()


def test_pages_fit(browsing, added):
    browsing.check_look("/", "/new", f"/notes/{added.json()['id']}")
