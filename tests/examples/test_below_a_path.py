"""Pages whose JavaScript talks to the server, in apps below a path, and in the gallery."""

import contextlib
import re

import pytest

from tests.examples.accounts import account
from tests.examples.browsing import Browsing, file_named, fill_in
from tests.examples.harness import PREFIX


def of(*names):
    """Run a test with examples, each below a path of an app that mounts it, and in the gallery."""
    return pytest.mark.parametrize(
        ("name", "place"), [(name, at) for name in names for at in ("parent", "gallery")]
    )


@pytest.fixture
def below(name, place, browser, shared_servers):
    """Return the page of an example that is served below a path, and the path."""
    prefix = PREFIX if place == "parent" else f"/examples/{name}"
    server = shared_servers(name if place == "parent" else "gallery")
    with contextlib.closing(Browsing(browser, server.url)) as browsing:
        page = browsing.page()
        page.goto(prefix + "/")
        yield page, prefix


@of("websockets", "socketio")
def test_chat_hears_its_own_message(below):
    page, _ = below
    fill_in(page, {"Your name": "Bea"}, "Enter", "You are here.")
    page.get_by_label("Say").fill("hello")
    page.get_by_label("Say").press("Enter")
    page.get_by_text("Bea: hello").wait_for()


@of("background_jobs")
def test_job_shows_its_result(below):
    page, prefix = below
    fill_in(page, {"Count the primes below": "30"}, "Start", "10 primes")
    assert page.url.startswith(page.url.partition(prefix)[0] + prefix + "/jobs/")


@of("sessions")
def test_login_leads_to_the_account_and_sets_its_cookie_path(below):
    page, prefix = below
    page.get_by_role("link", name="Log in").click()
    fill_in(page, {"Name": "ada", "Password": "analytical engine"}, "Log in")
    page.wait_for_url(f"**{prefix}/account")
    [cookie] = page.context.cookies()
    assert cookie["path"] == prefix


@of("server_sent_events")
def test_message_of_the_event_chat_appears(below):
    page, _ = below
    page.locator("#clock", has_text=re.compile(r"\d\d:\d\d")).wait_for()
    text = "good morning from below"
    fill_in(page, {"Name": "Ada", "Message": text}, "Send", text, exact=True)


@of("file_uploads")
def test_uploaded_file_is_listed(below):
    page, prefix = below
    page.set_input_files("input[type=file]", file_named("pie.txt", b"apple"))
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="pie.txt").wait_for()
    assert (
        page.get_by_role("link", name="pie.txt")
        .get_attribute("href")
        .startswith(f"{prefix}/files/")
    )


@of("forms")
def test_filled_in_form_leads_to_thanks(below):
    page, prefix = below
    fill_in(page, {"Name": "Ada", "E-mail": "ada@example.org", "pies": ""}, "Sign up")
    page.wait_for_url(f"**{prefix}/thanks")
    page.get_by_role("heading", name="Thank you, Ada").wait_for()


@of("static_files")
def test_page_shows_the_headers_of_its_files(below):
    page, _ = below
    page.get_by_text("immutable").first.wait_for()


@of("pastebin")
def test_paste_is_made_colored_and_deleted(below):
    page, prefix = below
    fill_in(page, {"Text": "import this\n"}, "Create")
    page.wait_for_url(f"**{prefix}/p/*")
    page.locator(".kn", has_text="import").wait_for()
    page.get_by_role("link", name="Yours").click()
    fill_in(page, {}, "Delete", "None yet.")
    assert page.url.endswith(f"{prefix}/mine")


@of("url_shortener")
def test_short_link_is_made_redirects_and_is_deleted(below):
    page, prefix = below
    fill_in(page, {"Long URL": "https://example.com/there", "Name": "here"}, "Shorten")
    page.wait_for_url(f"**{prefix}/links/here")
    short = page.locator("#short").inner_text()
    assert short.endswith(f"{prefix}/here")
    assert (
        page.request.get(short, max_redirects=0).headers["location"] == "https://example.com/there"
    )
    assert page.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    fill_in(page, {}, "Delete", "None yet.")


@of("blog")
def test_blog_account_and_post_are_made(below):
    page, prefix = below
    page.get_by_role("link", name="Log in").first.click()
    page.get_by_role("link", name="Sign up").click()
    fill_in(page, account("bea", "Bea Baker"), "Sign up", "Welcome, Bea Baker.")
    text = "A link [to this](/post/below-a-path)."
    fill_in(page, {"Title": "Below a path", "Text": text}, "Preview", exact=True)
    page.get_by_role("link", name="to this").wait_for()
    fill_in(page, {}, "Publish", "Your post is published.")
    page.get_by_role("link", name="to this").click()
    page.get_by_role("heading", name="Below a path").wait_for()
    assert page.url.endswith(prefix + "/post/below-a-path")
