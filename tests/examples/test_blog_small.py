"""examples/blog_small"""

import asyncio
import contextlib
import sqlite3

import pytest

from tests.examples.accounts import PASSWORD, session_ids, sign_in_by_name
from tests.examples.browsing import fill_in
from tests.examples.harness import copied, running
from tests.examples.loading import load


@pytest.fixture
def bea(client):
    sign_in_by_name(client, "bea")
    return client


def write(client, title="Pie", text="Apple"):
    return client.post("/write", data={"title": title, "text": text}).headers["location"]


@pytest.mark.parametrize(
    ("name", "password", "error"),
    [
        ("a", PASSWORD, "A name has"),
        ("<b>", PASSWORD, "A name has"),
        ("näme", PASSWORD, "A name has"),
        ("carl", "short", "A name has"),
        ("BEA", PASSWORD, "This name is taken."),
    ],
)
def test_account_that_cannot_be_is_refused(bea, name, password, error):
    response = bea.post("/sign_up", data={"name": name, "password": password})

    assert response.status_code == 400
    assert error in response.text
    assert "<b>" not in response.text


def test_wrong_login_says_not_what_is_wrong(bea):
    for name, password in (("bea", "x"), ("nemo", PASSWORD), ("", "")):
        response = bea.post("/login", data={"name": name, "password": password})
        assert response.status_code == 400
        assert "Wrong name or password." in response.text
    assert bea.post(f"/login?name=bea&password={PASSWORD}").status_code == 400


def test_login_renews_the_session_and_logout_ends_it(bea):
    before = session_ids(bea)
    bea.post("/login", data={"name": "Bea", "password": PASSWORD})
    kept = bea.cookies["session_id"]
    assert before != {kept}
    assert "Log out bea" in bea.get("/").text
    bea.post("/logout")
    stolen = {"cookie": f"session_id={kept}"}
    assert bea.get("/write", headers=stolen).status_code == 401


def test_posts_are_shown_in_pages(bea):
    titles = [f"Post {number}" for number in range(6)]
    for title in titles:
        write(bea, title)

    first, second = bea.get("/").text, bea.get("/?page=2").text

    assert [title in first for title in titles] == [False] + 5 * [True]
    assert titles[0] in second
    assert "Newer posts" not in first and "Newer posts" in second
    for page in ("0", "-1", "9" * 40):
        assert bea.get(f"/?page={page}").status_code == 200
    assert bea.get("/?page=x").status_code == 400


def test_text_is_kept_without_control_characters(bea):
    post = bea.get(write(bea, "A\0\x1b", " two\r\nlines\t ")).text

    assert "<h1>A</h1>" in post
    assert ">two\nlines</p>" in post


@pytest.mark.parametrize(("title", "text"), [(" ", "x"), ("x" * 201, ""), ("x", "x" * 20_001)])
def test_post_out_of_range_is_refused(bea, title, text):
    url = write(bea)
    for path in ("/write", url.replace("post", "write")):
        response = bea.post(path, data={"title": title, "text": text})
        assert response.status_code == 400
        assert 'role="alert"' in response.text
    assert "<h1>Pie</h1>" in bea.get(url).text


def test_only_the_author_changes_a_post(bea, server):
    number = write(bea).removeprefix("/post/")
    with server.client() as eve:
        sign_in_by_name(eve, "eve")
        for path in (f"/write/{number}", f"/delete/{number}"):
            assert eve.post(path, data={"title": "Mine"}).status_code == 403
            assert eve.post(path, params={"user_id": 1}).status_code == 403
        assert "Edit" not in eve.get(f"/post/{number}").text
    assert bea.post(f"/delete?post_id={number}").status_code == 400
    assert bea.post(f"/delete/{number}").status_code == 303
    assert write(bea) != f"/post/{number}"


def test_session_of_a_deleted_account_fits_no_other(client, server):
    sign_in_by_name(client, "newest")
    database = sqlite3.connect(server.folder / "data" / "blog.sqlite3", isolation_level=None)
    newest = "DELETE FROM users WHERE name = ? AND id = (SELECT max(id) FROM users)"
    with contextlib.closing(database):
        assert database.execute(newest, ("newest",)).rowcount == 1
    with server.client() as other:
        sign_in_by_name(other, "later")
        number = write(other).rpartition("/")[2]

    assert client.post(f"/write/{number}", data={"title": "Mine"}).status_code == 403
    assert client.post(f"/delete/{number}").status_code == 403


@pytest.mark.parametrize("path", ["/post/999999", "/post/" + "9" * 40, "/post/x", "/nowhere"])
def test_no_page_is_not_found(client, path):
    assert client.get(path).status_code == 404


def test_new_version_migrates_and_keeps_everything(bea, server, tmp_path):
    url = write(bea, "Kept")
    folder = copied("blog_small", tmp_path)
    (folder / "migrations" / "002_more.sql").write_text(
        "CREATE TABLE more (id);\nCREATE TRIGGER a AFTER DELETE ON more BEGIN\n"
        "  DELETE FROM more;\nEND;\n"
    )
    data = {"DATABASE": str(server.folder / "data" / "blog.sqlite3")}
    with (
        running("python app.py", folder, {**server.environment, **data}) as again,
        again.client(cookies=bea.cookies) as client,
    ):
        assert "Log out bea" in client.get(url).text


@pytest.mark.usefixtures("measured")
@pytest.mark.real_time
async def test_session_backend_loses_no_change(tmp_path, monkeypatch):
    monkeypatch.setattr(load("blog_small", "database"), "DATABASE", tmp_path / "new" / "file")
    load("blog_small", "database").migrate()
    backend = load("blog_small", "sqlite_sessions").SQLiteSessions()
    await backend.save("id", {"count": 0}, 60)
    await asyncio.gather(
        *(backend.update("id", lambda old: {"count": old["count"] + 1}, 60) for _ in range(20))
    )
    assert await backend.load("id") == {"count": 20}
    await backend.update("id", lambda old: old, -1)
    assert await backend.load("id") == {}
    await backend.update("id", lambda old: old | {"new": not old}, 60)
    assert await backend.load("id") == {"new": True}
    await backend.save("id", {}, 60)
    assert await backend.load("id") == {}


def test_browser_signs_up_writes_and_deletes(page, browsing):
    page.goto("/")
    page.get_by_role("link", name="Log in").click()
    page.get_by_role("navigation").get_by_role("link", name="Sign up").first.click()
    fill_in(page, {"Name": "dora", "Password": PASSWORD}, "Sign up", "Log out dora")
    page.get_by_role("link", name="New post").click()
    fill_in(page, {"Title": "A <b>pie</b>", "Text": "Apple\nPlum"}, "Publish", "Edit or delete")
    browsing.check_look(page.url, page.url.replace("post", "write"), "/", "/write", like=page)
    page.get_by_role("link", name="Edit or delete").click()
    fill_in(page, {}, "Delete this post")
    page.get_by_role("heading", name="Posts").wait_for()
