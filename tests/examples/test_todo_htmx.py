"""examples/todo_htmx"""

import sqlite3

import pytest
from playwright.sync_api import expect

from tests.examples.browsing import fill_in
from tests.examples.harness import copied, running

PARTIAL = {"hx-request-type": "partial"}


def titles(client, show="all"):
    found = client.get("/", params={"show": show}).text.split("<span>")[1:]
    return [text.partition("</span>")[0] for text in found]


@pytest.fixture
def todo(client):
    """The number of a new todo, which is the only one."""
    client.post("/add", data={"title": "Only"})
    [found] = {text.partition("?")[0] for text in client.get("/").text.split('action="/check/')[1:]}
    yield found
    client.post(f"/delete/{found}")


def test_filters_show_what_is_done_and_open(client, todo):
    for done, shown, hidden in (("yes", "done", "open"), ("no", "open", "done")):
        answer = client.post(f"/check/{todo}", data={"done": done, "show": shown})
        assert answer.headers["location"] == f"/?show={shown}"
        assert (titles(client, shown), titles(client, hidden)) == (["Only"], [])
    assert client.get("/?show=1").status_code == 400


def test_redirect_of_a_change_leads_htmx_to_the_part(client, todo):
    answer = client.post(
        f"/check/{todo}", data={"done": "no"}, headers=PARTIAL, follow_redirects=True
    )

    assert answer.text.startswith("<section")
    assert answer.headers["vary"] == "HX-Request-Type"
    assert client.get("/").text.startswith("<!doctype")


@pytest.mark.parametrize("title", ["", "  ", "x" * 201])
def test_title_of_a_wrong_length_is_told_beside_the_form(client, title):
    for headers, begin in (({}, "<!doctype"), (PARTIAL, "<section")):
        answer = client.post("/add", data={"title": title}, headers=headers)
        assert (answer.status_code, titles(client)) == (400, [])
        assert answer.text.startswith(begin)
        assert "Write 1 to 200 characters" in answer.text


def test_change_of_a_todo_that_is_gone_leads_to_the_list(client, todo):
    for path, status in (("check/99", 303), ("delete/99", 303), ("check/x", 404)):
        assert client.post(f"/{path}", data={"done": "yes"}).status_code == status
    assert client.get(f"/delete/{todo}").status_code == 405
    assert titles(client) == ["Only"]


def test_only_htmx_is_sent_from_the_folder(client):
    assert client.get("/static/htmx.min.js").headers["content-type"].startswith("text/javascript")
    for path in ("LICENSE", "..%2fapp.py", "htmx.min.js/x", "../templates/base.html"):
        assert client.get(f"/static/{path}").status_code == 404
    assert client.get("/static?name=htmx.min.js").status_code == 400


def test_list_has_an_end(client, server):
    with sqlite3.connect(server.folder / "data" / "todos.sqlite3", timeout=60) as db:
        db.executemany("INSERT INTO todos (title) VALUES (?)", [("x",)] * 500)
    answer = client.post("/add", data={"title": "y"})
    with sqlite3.connect(server.folder / "data" / "todos.sqlite3", timeout=60) as db:
        db.execute("DELETE FROM todos")

    assert (answer.status_code, "500 todos fill the list" in answer.text) == (400, True)


#: The steps of "Make it yours": what they replace in each file.
STEPS = {
    "database.py": {"]\n\n\n@": '    "ALTER TABLE todos ADD COLUMN due TEXT",\n]\n\n\n@'},
    "app.py": {
        "from typing": "from datetime import date\nfrom typing",
        'title: str = "", show': 'title: str = "", due: date | None = None, show',
        '(title) VALUES (?)", (title,)': '(title, due) VALUES (?, ?)", '
        "(title, due and due.isoformat())",
        "title=title": "title=title, due=due",
        "ORDER BY id": "ORDER BY due",
    },
    "templates/todos.html": {
        "<button>Add": '<label for="due">Due</label>\n<input type="date" id="due" name="due"'
        " value=\"{{ due or '' }}\">\n<button>Add",
        "<span>{{ todo.title }}": '<span>{{ todo.title }} {{ todo.due or "" }}',
    },
}


def test_column_is_added_as_the_readme_says(tmp_path, measure):
    folder, file = copied("todo_htmx", tmp_path), tmp_path / "kept.sqlite3"
    variables = {**measure, "DATABASE": str(file)}
    with running("python app.py", folder, variables) as started, started.client() as client:
        client.post("/add", data={"title": "Old"})
    for name, replacements in STEPS.items():
        text = (folder / name).read_text()
        for old, new in replacements.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (folder / name).write_text(text)

    for title in ("Second", "Third"):
        with running("python app.py", folder, variables) as started, started.client() as client:
            date = {"due": "2030-12-24"}
            assert client.post("/add", data={"title": title, "due": ""}).status_code == 303
            assert 'value="2030-12-24"' in client.post("/add", data=date).text
            assert client.post("/add", data={"title": "x", "due": "soon"}).status_code == 400
            client.post("/add", data={"title": "Dated", **date})
            assert titles(client)[-1] == "Dated 2030-12-24"
    with sqlite3.connect(file, timeout=60) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_browser_replaces_the_list_alone(page, browsing):
    page.goto("/")
    page.evaluate("window.kept = true")
    for title in ("Plums", "<b>Pie</b>"):
        fill_in(page, {"New todo": title}, "Add", title)
    expect(page.get_by_label("New todo")).to_have_value("")
    page.get_by_role("button", name="Done: Plums").click()
    expect(page.get_by_role("button", name="Done: Plums", pressed=True)).to_be_focused()
    browsing.check_accessible(page)
    page.get_by_role("link", name="Open").click()
    expect(page.get_by_text("Plums")).to_have_count(0)
    page.wait_for_url("**/?show=open")
    page.get_by_role("button", name="Delete: <b>Pie").click()
    page.get_by_text("Nothing here.").wait_for()
    page.go_back()
    page.get_by_role("button", name="Delete: Plums").click()
    page.get_by_text("Nothing here.").wait_for()
    assert page.evaluate("window.kept")


def test_browser_without_javascript_does_the_same(browser, server):
    context = browser.new_context(java_script_enabled=False, base_url=server.url)
    page = context.new_page()
    page.goto("/")
    fill_in(page, {"New todo": "Plums"}, "Add", "Plums")
    page.get_by_role("button", name="Done: Plums").click()
    page.get_by_role("button", name="Done: Plums", pressed=True).wait_for()
    page.get_by_role("link", name="Done", exact=True).click()
    page.wait_for_url("**/?show=done")
    page.get_by_role("button", name="Delete: Plums").click()
    page.get_by_text("Nothing here.").wait_for()
    assert page.url.endswith("/?show=done")
    context.close()
