"""A robot follows the built pages and the README as a newcomer does.

robot.py says how, and readme.py what is different for the README.
`UPDATE_FOLLOWED=1` records in docs/followed.json when each page was followed, and how long it took.
"""

import datetime
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.docs.site import built, served
from tests.examples import harness
from tests.examples.browsing import launched
from tests.examples.services import Services, all_services
from tests.newcomer.readme import ReadmeReader, rendered
from tests.newcomer.robot import Newcomer
from tests.processes import ROOT

pytestmark = pytest.mark.slow
DOCS = ROOT / "docs"
RECORD = DOCS / "followed.json"
GUIDES = [f"howto/{path.stem}" for path in sorted(DOCS.glob("howto/*.md")) if path.stem != "index"]
# Of the explanations, those that show something to try.
OTHERS = [
    f"explanation/{path.stem}"
    for path in sorted(DOCS.glob("explanation/*.md"))
    if "```{needs}" in path.read_text()
]
EXAMPLES = [f"examples/{name}" for name in ["index", *harness.NAMES]]
STEPS = [f"tutorial/{path.stem}" for path in sorted(DOCS.glob("tutorial/[0-9]*.md"))]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = os.environ.get("BUILT_SITE")
    found = Path(folder) if folder else built(tmp_path_factory.getbasetemp()).folder
    with served(found) as address:
        yield f"{address}/"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    with all_services() as started:
        yield started


def record(pages: list[str], seconds: list[float], done: list[int], left_out: list[str]) -> None:
    """Write down that pages were followed; processes of pytest-xdist take turns."""
    if not os.environ.get("UPDATE_FOLLOWED"):
        return
    with (ROOT / "build" / "followed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        today = datetime.date.today().isoformat()
        for page, took, count in zip(pages, seconds, done, strict=True):
            known[page] = {"date": today, "seconds": max(1, round(took)), "steps": count}
            if left_out:
                known[page]["left_out"] = left_out
        RECORD.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


def follow(pages: list[str], newcomer: Newcomer) -> None:
    seconds, done = [], []
    for page in pages:
        begun, before = time.monotonic(), newcomer.done
        newcomer.follow(f"{page}.html")
        seconds.append(time.monotonic() - begun)
        done.append(newcomer.done - before)
        assert done[-1], f"{page}: a page with nothing to do"
    record(pages, seconds, done, newcomer.left_out)


@pytest.mark.parametrize("page", ["install", *GUIDES, *OTHERS])
def test_page_can_be_followed(page: str, browser: Browser, site: str, tmp_path: Path) -> None:
    with Newcomer(browser, site, tmp_path, {}) as newcomer:
        follow([page], newcomer)


@pytest.mark.parametrize("page", EXAMPLES)
def test_page_of_an_example_can_be_followed(
    page: str, browser: Browser, site: str, tmp_path: Path, services: Services
) -> None:
    variables = services.environment(page.removeprefix("examples/"))
    with Newcomer(browser, site, tmp_path, variables) as newcomer:
        follow([page], newcomer)


def test_tutorial_can_be_followed(browser: Browser, site: str, tmp_path: Path) -> None:
    with Newcomer(browser, site, tmp_path, {}) as newcomer:
        follow(STEPS, newcomer)


def test_readme_can_be_followed(browser: Browser, tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout to clone")
    shown = tmp_path / "shown"
    shown.mkdir()
    (shown / "README.html").write_text(rendered((ROOT / "README.md").read_text()))
    with (
        served(shown) as address,
        ReadmeReader(browser, f"{address}/", tmp_path, {}, ROOT) as newcomer,
    ):
        follow(["README"], newcomer)
