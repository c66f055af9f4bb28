"""Pages whose JavaScript talks to the server, each in an app that is mounted below a path, and in the gallery."""

import contextlib
import re

import pytest

from tests.examples import harness
from tests.examples.browsing import Browsing
from tests.examples.test_safety import PARENT, PREFIX, SERVE


@pytest.fixture(scope="module")
def gallery(tmp_path_factory, measure):
    folder = harness.copied("gallery", tmp_path_factory.mktemp("gallery"))
    with harness.running(SERVE.replace("parent:parent", "app:app"), folder, measure) as server:
        yield server


@pytest.fixture(params=["parent", "gallery"])
def below(request, browser, tmp_path, measure):
    """Open the page of an example, served below a path by an app that mounts it, or by the gallery."""
    with contextlib.ExitStack() as stack:

        def page_of(name):
            if request.param == "gallery":
                server, prefix = request.getfixturevalue("gallery"), f"/examples/{name}"
            else:
                folder, prefix = harness.copied(name, tmp_path), PREFIX
                (folder / "parent.py").write_text(PARENT)
                server = stack.enter_context(harness.running(SERVE, folder, measure))
            browsing = stack.enter_context(contextlib.closing(Browsing(browser, server.url)))
            page = browsing.page()
            page.goto(prefix + "/")
            return page, prefix

        yield page_of


@pytest.mark.parametrize("name", ["websockets", "socketio"])
def test_chat(below, name):
    page, _ = below(name)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("You are here.").wait_for()
    page.get_by_label("Say").fill("hello")
    page.get_by_label("Say").press("Enter")
    page.get_by_text("Ada: hello").wait_for()


def test_echo(below):
    page, _ = below("websockets")
    page.get_by_label("Send", exact=True).fill("hello")
    page.locator("#echo button").click()
    page.locator("#answer", has_text="hello").wait_for()


def test_job(below):
    page, prefix = below("background_jobs")
    page.get_by_label("Count the primes below").fill("30")
    page.get_by_role("button").click()
    page.get_by_text("10 primes").wait_for()
    assert page.url.startswith(page.url.partition(prefix)[0] + prefix + "/jobs/")


def test_policy_with_a_nonce(below):
    page, _ = below("middleware")
    page.get_by_text("The app took").wait_for()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button").click()
    page.get_by_text("Hello, Ada!").wait_for()


def test_login(below):
    page, prefix = below("sessions")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("analytical engine")
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url(f"**{prefix}/account")
    [cookie] = page.context.cookies()
    assert cookie["path"] == prefix


def test_chat_of_events(below):
    page, _ = below("server_sent_events")
    page.locator("#clock", has_text=re.compile(r"\d\d:\d\d")).wait_for()
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Message", exact=True).fill("hello")
    page.get_by_role("button").click()
    page.get_by_text("hello").wait_for()


def test_upload(below):
    page, prefix = below("file_uploads")
    page.locator("input[type=file]").set_input_files({"name": "pie.txt", "mimeType": "text/plain", "buffer": b"apple"})
    page.get_by_role("button", name="Upload").click()
    page.get_by_role("link", name="pie.txt").wait_for()
    assert page.get_by_role("link", name="pie.txt").get_attribute("href").startswith(f"{prefix}/files/")


def test_form(below):
    page, prefix = below("forms")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.org")
    page.get_by_label("pies").check()
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url(f"**{prefix}/thanks")
    page.get_by_role("heading", name="Thank you, Ada").wait_for()


def test_headers_of_files(below):
    page, _ = below("static_files")
    page.get_by_text("immutable").first.wait_for()


def test_paste(below):
    page, prefix = below("pastebin")
    page.get_by_label("Text").fill("import this\n")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url(f"**{prefix}/p/*")
    page.locator(".kn", has_text="import").wait_for()
    page.get_by_role("link", name="Yours").click()
    page.get_by_role("button", name="Delete").click()
    page.get_by_text("None yet.").wait_for()
    assert page.url.endswith(f"{prefix}/mine")


def test_short_link(below):
    page, prefix = below("url_shortener")
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


def test_editor_of_the_blog(below):
    page, prefix = below("blog")
    page.get_by_role("main").get_by_role("link", name="Log in").click()
    page.get_by_role("link", name="Make the first one").click()
    page.get_by_label("What stands under your posts").fill("Ada Lovelace")
    page.get_by_label("Name to log in with").fill("ada")
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
