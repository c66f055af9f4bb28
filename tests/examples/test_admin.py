"""examples/admin"""

import pytest

from tests.examples.accounts import ADMIN_PASSWORD, sign_in_to_admin
from tests.examples.browsing import fill_in
from tests.examples.harness import copied, running

BOOK = {"title": "Lodore", "author_id": "1", "copies": "2"}


@pytest.fixture
def staff(server):
    with server.client() as client:
        client.base_url = f"{server.url}/admin/"
        assert sign_in_to_admin(client).status_code == 303
        yield client


def add(staff, table="books", **fields):
    response = staff.post(f"row/{table}", data=fields or BOOK)
    assert (response.status_code, response.headers.get("location")) == (
        303,
        f"/admin/rows/{table}",
    )
    page = staff.get(f"rows/{table}").text
    return page.partition(f"/row/{table}/")[2].partition('"')[0]


def log(staff):
    return staff.get("rows/admin_log").text.replace("&#39;", "'")


@pytest.mark.parametrize("path", ["rows/books", "row/books", "row/books/1", "rows/admin_log"])
def test_strangers_are_refused(client, path):
    assert client.get(f"/admin/{path}").status_code == 401
    assert client.get(f"/admin/{path}?staff=admin").status_code == 401
    assert client.get("/admin/").headers["location"] == "/admin/login"


def test_login_needs_name_and_password(server, staff):
    with server.client() as client:
        for name, password in (("admin", ""), ("eve", ADMIN_PASSWORD), ("admin", "é")):
            form = {"name": name, "password": password}
            assert client.post("/admin/login", data=form).status_code == 400
    assert "Log out admin" in staff.get("rows/books").text
    staff.post("logout")
    assert staff.get("rows/books").status_code == 401


def test_first_start_that_broke_off_leaves_no_empty_password(tmp_path, measure):
    folder = copied("admin", tmp_path)
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "password").touch(0o600)
    with running("python app.py", folder, measure) as server, server.client() as client:
        assert (folder / "data" / "password").stat().st_mode & 0o077 == 0
        form = {"name": "admin", "password": (folder / "data" / "password").read_text()}
        assert len(form["password"]) == 16
        assert client.post("/admin/login", data=form).status_code == 303


def test_rows_are_added_changed_and_deleted(staff):
    key = add(staff)
    assert f"books/{key}" in log(staff)
    assert "{'id': [None, '" in log(staff)

    changed = BOOK | {"title": "Mathilda", "lent": "on"}
    assert staff.post(f"row/books/{key}", data=changed).status_code == 303
    form = staff.get(f"row/books/{key}").text
    assert 'value="Mathilda"' in form
    assert '<option value="1" selected>Mary Shelley</option>' in form
    assert 'type="checkbox" checked' in form
    assert "'title': ['Lodore', 'Mathilda']" in log(staff)
    assert "'copies'" not in log(staff).partition("</td></tr>")[0]

    assert staff.post(f"delete/books/{key}").status_code == 303
    assert staff.get(f"row/books/{key}").status_code == 404


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"title": "x" * 201}, "title"),
        ({"title": " "}, "title"),
        ({"author_id": ""}, "author_id"),
        ({"copies": "two"}, "copies"),
        ({"copies": "9" * 30}, "copies"),
        ({"author_id": "77"}, "the database refuses it"),
    ],
)
def test_values_that_do_not_fit_are_refused(staff, wrong, name):
    response = staff.post("row/books", data=BOOK | wrong)

    assert response.status_code == 400
    assert f"{name}.</p>" in response.text


def test_empty_values_are_null(staff):
    key = add(staff, "authors", name="Nobody", born="")
    assert 'name="born" value=""' in staff.get(f"row/authors/{key}").text
    staff.post(f"row/authors/{key}", data={"name": "Nobody", "born": "1801-02-03"})
    assert 'value="1801-02-03"' in staff.get(f"row/authors/{key}").text
    assert staff.post("row/authors", data={"name": "Nobody"}).status_code == 400


def test_row_that_others_need_stays(staff):
    response = staff.post("delete/authors/1")

    assert (response.status_code, response.text) == (409, "Other rows need this one.")


@pytest.mark.parametrize(
    "path",
    ["rows/users", "row/admin_log", "row/books/99999", "row/books/x", "row/books/" + 30 * "9"],
)
def test_what_is_not_there_is_not_found(staff, path):
    assert staff.get(path).status_code == 404


def test_lists_are_searched_and_paged(staff):
    for number in range(21):
        add(staff, title=f"100%_{number:02}", author_id="1", copies="1")

    first = staff.get("rows/books", params={"q": "0%_"}).text
    assert "100%_20" in first and "100%_00" not in first
    rest = staff.get("rows/books", params={"q": "0%_", "page": 2}).text
    assert "100%_00" in rest and "Frankenstein" not in rest
    for query in ("page=-1", "page=" + "9" * 40, "q=%00", "q=" + "x" * 50_001):
        assert staff.get(f"rows/books?{query}").status_code == 200


def test_browser_corrects_a_book(page, browsing):
    page.goto("/")
    fill_in(page, {"Name": "admin", "Password": ADMIN_PASSWORD}, "Log in", "Log out admin")
    page.get_by_role("link", name="books").click()
    page.get_by_role("link", name="Add a row").click()
    page.get_by_label("author_id").select_option(label="Mary Shelley")
    fill_in(page, {"title": "Valperga", "copies": "3", "lent": ""}, "Save", "Valperga")
    browsing.check_look(
        "/admin/", "/admin/rows/books", "/admin/row/books", "/admin/rows/admin_log", like=page
    )
    page.get_by_label("Search").fill("alper")
    fill_in(page, {}, "Search")
    page.wait_for_url("**q=alper*")
    page.locator("td a").click()
    fill_in(page, {}, "Delete this row", "Add a row")
    assert not page.get_by_text("Valperga").count()
