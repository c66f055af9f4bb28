"""A robot does steps 1 to 9 of the tutorial in the page, as a reader without a terminal would.

It types the changes that the page shows, and presses Check. Then it types wrong versions, and reads
what Check says.
"""

import difflib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.docs.site import built, served
from tests.examples.browsing import launched
from tests.live.wrong import changed, wrong_versions
from tests.tutorials.steps import SERVE, running

pytestmark = pytest.mark.slow
SECONDS = 120.0  # for Python to load, or a check to end, on a busy machine
STEPS = range(1, 10)
WRONG = 3  # versions that are typed for each step; test_checks.py has all of them


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = os.environ.get("BUILT_SITE")
    return Path(found) if found else built(tmp_path_factory.getbasetemp()).folder


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as opened:
        yield opened


@dataclass
class Reader:
    """A reader at the page of a step."""

    page: Page
    site: str
    folder: Path
    number: int

    @property
    def data(self) -> dict:
        """What the page knows of the step."""
        file = self.folder / "_static" / "live" / "steps" / f"{self.number:02}.json"
        return json.loads(file.read_text())

    @property
    def app(self) -> Locator:
        return self.page.locator(".live-app")

    def says(self, words: str | re.Pattern[str]) -> None:
        """Wait until the status line has these words."""
        expect(self.app.locator(".live-status")).to_contain_text(words)

    def press(self, name: str) -> None:
        self.app.locator(f".live-{name}").click()

    def come(self, number: int) -> None:
        """Open the page of a step, and begin it."""
        self.number = number
        name = next(self.folder.glob(f"tutorial/{number:02}-*.html")).name
        self.page.goto(f"{self.site}/tutorial/{name}")
        self.press("step")
        self.app.locator(".cm-content").wait_for()

    def open_file(self, name: str) -> None:
        """Open a file in the editor; make it if there is none."""
        tab = self.app.locator(".live-file-tab", has_text=re.compile(rf"^{re.escape(name)}\b"))
        if tab.count():
            tab.click()
        else:
            self.app.locator(".live-new-name").fill(name)
            self.press("add")
        expect(tab).to_have_attribute("aria-selected", "true")
        self.app.locator(".cm-content").focus()

    def type_change(self, name: str, before: str, after: str) -> None:
        """Change a file line by line, from its end to its start, so that the numbers stay right."""
        old, new = before.splitlines(), after.splitlines()
        self.open_file(name)
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        for kind, first, last, new_first, new_last in reversed(matcher.get_opcodes()):
            if kind != "equal":
                self.type_lines(first, last - first, new[new_first:new_last])

    def type_lines(self, first: int, count: int, lines: list[str]) -> None:
        """Select `count` lines from line `first` on, and type others over them."""
        keyboard = self.page.keyboard
        keyboard.press("ControlOrMeta+Home")
        for _ in range(first):
            keyboard.press("ArrowDown")
        for _ in range(count):
            keyboard.press("Shift+ArrowDown")
        if lines:
            keyboard.insert_text("\n".join(lines) + "\n")
        else:
            keyboard.press("Delete")

    def check(self) -> tuple[list[str], list[str]]:
        """Press Check, and return what is done and what is missing."""
        self.press("check")
        expect(self.app.locator(".live-check")).not_to_have_attribute("aria-disabled", "true")
        assert "result" not in self.app.locator(".live-status").inner_text()
        rows = self.app.locator(".live-results > li")
        done = rows.filter(has=self.page.locator("strong", has_text="Done")).all_inner_texts()
        missing = rows.filter(has=self.page.locator("strong", has_text="Missing"))
        return done, missing.all_inner_texts()


@pytest.fixture
def reader(browser: Browser, site: str, folder: Path) -> Iterator[Reader]:
    """A reader whose browser keeps nothing from before; errors in the console fail the test."""
    errors: list[str] = []
    with browser.new_context(accept_downloads=True) as context:
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        expect.set_options(timeout=SECONDS * 1000)
        yield Reader(page, site, folder, 1)
    expect.set_options(timeout=5000)
    assert errors == []


@pytest.mark.parametrize("number", STEPS)
def test_step_is_done_by_typing_what_the_page_shows(reader: Reader, number: int) -> None:
    reader.come(number)
    _, missing = reader.check()
    assert missing
    data = reader.data
    for name, text in data["end"].items():
        before = data["start"].get(name, "")
        if text != before:
            reader.type_change(name, before, text)
    reader.press("show")
    reader.says("Your files have all changes of this step.")
    done, missing = reader.check()
    assert missing == []
    assert len(done) >= 3
    reader.says("Everything of this step is done.")
    typed = [version for version in wrong_versions(number) if "old" in version][:WRONG]
    for version in typed:
        name, text = version["file"], data["end"][version["file"]]
        wrong = changed(data["end"], version)[name]
        reader.type_change(name, text, wrong)
        _, missing = reader.check()
        expected = version["place"], version["says"].replace("`", "")
        assert any(expected[0] in row and expected[1] in row for row in missing), missing
        reader.type_change(name, wrong, text)
    assert len(typed) == WRONG
