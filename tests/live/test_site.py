"""Presses Run on every live app of the built site, and sends its requests in their order.

Each answer must be what the page shows.
"""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

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
    page.goto(f"{site}/{name}.html")
    apps = page.locator(".live-app").all()
    assert apps
    for app in apps:
        run(app)
        path = (folder / name).parent / app.get_attribute("data-live")
        known = json.loads(path.read_text())
        if known["requests"]:
            app.get_by_role("tab", name="Requests").click()
            assert app.locator(".live-requests > li").count() == len(known["requests"])
            assert answers(app) == []
    assert errors == []
