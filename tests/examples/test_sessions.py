"""examples/sessions"""

from playwright.sync_api import expect

from tests.examples.accounts import PASSWORD_OF_SESSIONS as PASSWORD
from tests.examples.accounts import session_ids
from tests.examples.accounts import sign_in_to_sessions as sign_in
from tests.examples.browsing import fill_in


def visits(client):
    return client.get("/").text.partition('"number">')[2].partition("<")[0]


def test_visits_are_counted_for_each_browser(client):
    assert visits(client) == "0"
    assert not session_ids(client)
    for _ in range(2):
        assert client.post("/visit").status_code == 303
    assert visits(client) == "2"
    client.cookies.clear()
    assert visits(client) == "0"


def test_login_changes_the_session_id_and_keeps_the_session(client):
    client.post("/visit")
    before = session_ids(client)

    assert sign_in(client).headers["location"] == "/account"

    assert not before & session_ids(client)
    assert "have 1 visit." in client.get("/account").text


def test_wrong_name_and_wrong_password_are_told_the_same(client):
    for username, password in (("ada", "x"), ("<b>", PASSWORD), ("", "")):
        response = sign_in(client, password, username)
        assert response.status_code == 400
        assert "Wrong name or password." in response.text
        assert "<b>" not in response.text.split("There is one account")[0]
    assert client.get("/account").status_code == 401


def test_logout_deletes_the_session(client):
    sign_in(client)
    kept = f"session_id={client.cookies['session_id']}"
    response = client.post("/logout")

    assert response.headers["location"] == "/"
    assert "Max-Age=0" in response.headers["set-cookie"]
    assert client.get("/account", headers={"cookie": kept}).status_code == 401
    assert client.get("/logout").status_code == 405


def test_browser_logs_in_and_out(page, browsing):
    page.goto("/")
    page.get_by_role("button", name="Visit again").click()
    expect(page.locator(".number")).to_have_text("1")
    page.get_by_role("link", name="Log in").click()
    fill_in(page, {"Name": "ada", "Password": PASSWORD}, "Log in")
    page.wait_for_url("**/account")
    browsing.check_accessible(page)
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading")).to_have_text("Hello, stranger")
    expect(page.locator(".number")).to_have_text("0")
