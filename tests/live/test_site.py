"""Presses Run on every live app of the built site, and sends its requests in their order.

Each answer must be what the page shows.
"""

import importlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page

from tests.docs.site import built, served
from tests.examples.browsing import launched
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
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = os.environ.get("BUILT_SITE")
    return Path(found) if found else built(tmp_path_factory.getbasetemp()).folder


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with browser.new_context() as context:
        context.set_default_timeout(SECONDS * 1000)
        yield context.new_page()


def errors_of(message: ConsoleMessage) -> list[str]:
    return [message.text] if message.type == "error" else []


def run(app: Locator) -> None:
    """Press Run, and wait until the app answers."""
    app.locator(".live-run").click()
    status = app.locator(".live-status")
    status.filter(has_text=re.compile(r"^The app (is running|did not)")).wait_for()
    assert status.inner_text() == "The app is running.", app.inner_text()


def answers(app: Locator) -> list[str]:
    """Send the prepared requests one by one, and return what is not as the page shows it."""
    wrong = []
    for row in app.locator(".live-requests > li").all():
        row.locator(".live-send").click()
        result = row.locator("[data-result]") if row.get_attribute("data-result") is None else row
        result.wait_for()
        if result.get_attribute("data-result") != "same":
            wrong.append(row.inner_text())
    return wrong


@pytest.mark.parametrize("name", [*APPS, *examples()])
def test_app_answers_as_its_page_shows(name: str, page: Page, site: str, folder: Path) -> None:
    errors: list[str] = []
    page.on("console", lambda message: errors.extend(errors_of(message)))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{site}/{name}.html")
    apps = page.locator(".live-app").all()
    assert apps
    for app in apps:
        run(app)
        path = (folder / name).parent / app.get_attribute("data-live")
        known = json.loads(path.read_text())
        if known["requests"]:
            assert app.locator(".live-requests > li").count() == len(known["requests"])
        assert answers(app) == []
    assert errors == []
