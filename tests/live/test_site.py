"""Presses Run on every live app of the built site, and sends its requests in their order.

Each answer must be what the page shows.
"""

import contextlib
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, Request, expect

from tests.docs.site import served
from tests.examples.browsing import noted_errors
from tests.processes import ROOT

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"
SECONDS = 30.0  # for Python to load on a busy machine
APPS = sorted(
    page.relative_to(DOCS).with_suffix("").as_posix()
    for page in DOCS.rglob("*.md")
    if "{live-" in page.read_text() and not {"_build", "live", "examples"} & set(page.parts)
)


def examples() -> list[str]:
    """Return the pages of the examples that are live; the build of the site writes them."""
    live = importlib.import_module("micropie_examples").LIVE
    return [f"examples/{name}" for name in live]


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()


def run(app: Locator) -> None:
    """Press Run, and wait until the app answers."""
    app.locator(".live-run").click()
    expect(app).to_have_attribute("data-state", re.compile("running|failed"))
    assert app.get_attribute("data-state") == "running", app.inner_text()


def noted_parts(page: Page) -> set[str]:
    """Return a set that gets the packages and the parts of Python's library that a page loads."""
    loaded: set[str] = set()

    def note(request: Request) -> None:
        if request.url.endswith(".xz"):
            loaded.add(request.url.partition("/_static/live/")[2])

    page.context.on("request", note)
    return loaded


def answers(app: Locator) -> list[str]:
    """Send the prepared requests one by one, and return what is not as the page shows it."""
    wrong = []
    for row in app.locator(".live-requests > li").all():
        row.locator(".live-send").click()
        expect(row).to_have_attribute("data-result", re.compile("."))
        if row.get_attribute("data-result") != "same":
            wrong.append(row.inner_text())
    return wrong


def test_most_apps_have_requests(folder: Path) -> None:
    """Commands of pages that are no longer found would go unnoticed."""
    files = list((folder / "_static/live/apps").glob("*.json"))
    counts = [len(json.loads(file.read_text())["requests"]) for file in files]
    assert len(files) >= 80
    assert sum(counts) >= 240


@pytest.mark.parametrize("name", [*APPS, *examples()])
def test_app_answers_as_its_page_shows(name: str, page: Page, site: str, folder: Path) -> None:
    errors = noted_errors(page)
    loaded = noted_parts(page)
    runtime = json.loads((folder / "_static/live/runtime.json").read_text())
    announced = set(runtime["first"])  # with its size, beside the button
    page.goto(f"{site}/{name}.html")
    apps = page.locator(".live-app").all()
    assert apps
    for app in apps:
        run(app)
        path = (folder / name).parent / app.get_attribute("data-live")
        known = json.loads(path.read_text())
        for package in known["packages"]:
            announced.update(runtime["packages"][package])
        if known["requests"]:
            app.get_by_role("tab", name="Requests").click()
            assert app.locator(".live-requests > li").count() == len(known["requests"])
            assert answers(app) == []
    assert errors == []
    assert "stdlib-usual.zip.xz" in loaded
    assert loaded - announced == set()


def panes(app: Locator) -> list[FrameLocator]:
    """Return what the visitors of a running app see."""
    app.get_by_role("tab", name="Browser", exact=True).click()
    frames = app.locator(".live-frame")
    return [frames.nth(number).content_frame for number in range(frames.count())]


@contextlib.contextmanager
def live(page: Page, url: str) -> Iterator[Locator]:
    """Run the app of a page; an error in the browser's console fails the test."""
    errors = noted_errors(page)
    page.goto(url)
    app = page.locator(".live-app")
    run(app)
    yield app
    assert errors == []


def test_socketio_talks_from_one_visitor_to_the_other(page: Page, site: str) -> None:
    with live(page, f"{site}/howto/socketio.html") as app:
        first, second = panes(app)
        for pane in (first, second):
            expect(pane.locator("#state")).to_have_text("You are in the lobby.")
        second.locator("#text").fill("Good morning!")
        second.get_by_role("button", name="Send").click()
        expect(first.locator("#log")).to_have_text("Good morning!")
        expect(app.locator(".live-log")).to_contain_text("WebSocket /socket.io/")


def test_oauth_login_goes_to_the_provider_and_back(page: Page, site: str) -> None:
    with live(page, f"{site}/howto/oauth-login.html") as app:
        [pane] = panes(app)
        pane.get_by_role("button", name="Log in").click()
        pane.get_by_role("button", name="Continue as ada").click()
        expect(pane.locator("body")).to_have_text("You are ada.")


def test_graphql_answers_the_query_of_its_page(page: Page, site: str) -> None:
    with live(page, f"{site}/examples/graphql.html") as app:
        [pane] = panes(app)
        pane.get_by_label("Your name").fill("Ada")
        pane.get_by_role("button", name="Log in").click()
        expect(pane.locator("main")).to_contain_text("You are Ada.")
        pane.get_by_role("button", name="Send").click()
        expect(pane.get_by_role("status")).to_contain_text(
            '{"text":"Good morning!","author":"Ada"}'
        )
