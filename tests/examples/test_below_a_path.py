"""Pages whose JavaScript talks to the server, each in an app that is mounted below a path, and in the gallery."""

import contextlib
import re

import pytest

from tests.examples.browsing import Browsing
from tests.examples.harness import PREFIX


def of(*names):
    """Run a test with examples, each below a path of an app that mounts it, and in the gallery."""
    return pytest.mark.parametrize(("name", "place"), [(name, at) for name in names for at in ("parent", "gallery")])


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
    page.get_by_label("Your name").fill("Bea")
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("You are here.").wait_for()
    page.get_by_label("Say").fill("hello")
    page.get_by_label("Say").press("Enter")
    page.get_by_text("Bea: hello").wait_for()


@of("websockets")
def test_echo_answers(below):
    page, _ = below
    page.get_by_label("Send", exact=True).fill("hello")
    page.locator("#echo button").click()
    page.locator("#answer", has_text="hello").wait_for()


@of("background_jobs")
def test_job_shows_its_result(below):
    page, prefix = below
    page.get_by_label("Count the primes below").fill("30")
    page.get_by_role("button").click()
    page.get_by_text("10 primes").wait_for()
    assert page.url.startswith(page.url.partition(prefix)[0] + prefix + "/jobs/")


@of("middleware")
def test_scripts_with_a_nonce_run(below):
    page, _ = below
    page.get_by_text("The app took").wait_for()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button").click()
    page.get_by_text("Hello, Ada!").wait_for()


@of("sessions")
def test_login_leads_to_the_account_and_sets_its_cookie_path(below):
    page, prefix = below
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("analytical engine")
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url(f"**{prefix}/account")
    [cookie] = page.context.cookies()
    assert cookie["path"] == prefix


@of("server_sent_events")
def test_message_of_the_event_chat_appears(below):
    page, _ = below
    page.locator("#clock", has_text=re.compile(r"\d\d:\d\d")).wait_for()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Message", exact=True).fill("good morning from below")
    page.get_by_role("button").click()
    page.get_by_text("good morning from below").wait_for()


@of("file_uploads")
def test_uploaded_file_is_listed(below):
    page, prefix = below
    page.locator("input[type=file]").set_input_files({"name": "pie.txt", "mimeType": "text/plain", "buffer": b"apple"})
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="pie.txt").wait_for()
    assert page.get_by_role("link", name="pie.txt").get_attribute("href").startswith(f"{prefix}/files/")


@of("forms")
def test_filled_in_form_leads_to_thanks(below):
    page, prefix = below
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("pies").check()
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url(f"**{prefix}/thanks")
    page.get_by_role("heading", name="Thank you, Ada").wait_for()


@of("static_files")
def test_page_shows_the_headers_of_its_files(below):
    page, _ = below
    page.get_by_text("immutable").first.wait_for()


@of("pastebin")
def test_paste_is_made_colored_and_deleted(below):
    page, prefix = below
    page.get_by_label("Text").fill("import this\n")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url(f"**{prefix}/p/*")
    page.locator(".kn", has_text="import").wait_for()
    page.get_by_role("link", name="Yours").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("None yet.").wait_for()
    assert page.url.endswith(f"{prefix}/mine")


@of("url_shortener")
def test_short_link_is_made_redirects_and_is_deleted(below):
    page, prefix = below
    page.get_by_label("Long URL").fill("https://example.com/there")
    page.get_by_label("Name").fill("here")
    page.get_by_role("button", name="Shorten").click()
    page.wait_for_url(f"**{prefix}/links/here")
    short = page.locator("#short").inner_text()
    assert short.endswith(f"{prefix}/here")
    assert page.request.get(short, max_redirects=0).headers["location"] == "https://example.com/there"
    assert page.locator("img").evaluate("image => image.complete && image.naturalWidth > 0")
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("None yet.").wait_for()


@of("blog")
def test_blog_account_and_post_are_made(below):
    page, prefix = below
    page.get_by_role("link", name="Log in").first.click()
    page.get_by_role("link", name=re.compile("Make the first one|Sign up")).last.click()
    page.get_by_label("What stands under your posts").fill("Bea Baker")
    page.get_by_label("Name to log in with").fill("bea")
    page.get_by_label("Password").fill("analytical engine")
    page.get_by_role("button", name="Sign up").click()
    page.get_by_label("Title").fill("Below a path")
    page.get_by_label("Text", exact=True).fill("A link [to this](/post/below-a-path).")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("link", name="to this").wait_for()
    page.get_by_role("button", name="Publish").click()
    page.get_by_text("Your post is published.").wait_for()
    page.get_by_role("link", name="to this").click()
    page.get_by_role("heading", name="Below a path").wait_for()
    assert page.url.endswith(prefix + "/post/below-a-path")
