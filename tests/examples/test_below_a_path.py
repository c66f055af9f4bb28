"""Pages whose JavaScript talks to the server, each in an app that is mounted below a path."""

import contextlib

import pytest

from tests.examples import harness
from tests.examples.browsing import Browsing
from tests.examples.test_safety import PARENT, PREFIX, SERVE


@pytest.fixture
def below(browser, tmp_path, measure):
    """Serve an example there, and open its page."""
    with contextlib.ExitStack() as stack:

        def page_of(name):
            folder = harness.copied(name, tmp_path)
            (folder / "parent.py").write_text(PARENT)
            server = stack.enter_context(harness.running(SERVE, folder, measure))
            browsing = stack.enter_context(contextlib.closing(Browsing(browser, server.url)))
            page = browsing.page()
            page.goto(PREFIX + "/")
            return page

        yield page_of


@pytest.mark.parametrize("name", ["websockets", "socketio"])
def test_chat(below, name):
    page = below(name)
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Enter").click()
    page.get_by_text("You are here.").wait_for()
    page.get_by_label("Say").fill("hello")
    page.get_by_label("Say").press("Enter")
    page.get_by_text("Ada: hello").wait_for()


def test_echo(below):
    page = below("websockets")
    page.get_by_label("Send", exact=True).fill("hello")
    page.locator("#echo button").click()
    page.locator("#answer", has_text="hello").wait_for()


def test_job(below):
    page = below("background_jobs")
    page.get_by_label("Count the primes below").fill("30")
    page.get_by_role("button").click()
    page.get_by_text("10 primes").wait_for()
    assert page.url.startswith(page.url.partition(PREFIX)[0] + PREFIX + "/jobs/")


def test_policy_with_a_nonce(below):
    page = below("middleware")
    page.get_by_text("The app took").wait_for()
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button").click()
    page.get_by_text("Hello, Ada!").wait_for()


def test_login(below):
    page = below("sessions")
    page.get_by_role("link", name="Log in").click()
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill("analytical engine")
    page.get_by_role("main").get_by_role("button").click()
    page.wait_for_url(f"**{PREFIX}/account")
    [cookie] = page.context.cookies()
    assert cookie["path"] == PREFIX
