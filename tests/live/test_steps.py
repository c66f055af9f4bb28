"""A robot does steps 1 to 9 of the tutorial in the page, as a reader without a terminal would.

It pastes the files that the page shows, and presses Check. Then it pastes wrong versions, and reads
what Check says.
"""

import contextlib
import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.docs.looking import DRAWN
from tests.docs.site import served
from tests.examples.browsing import PATIENCE, noted_errors
from tests.live.versions import changed, wrong_versions
from tests.tutorials.steps import SERVE, running

pytestmark = pytest.mark.slow
SECONDS = 120.0  # for Python to load, or a check to end, on a busy machine
STEPS = range(1, 10)
WRONG = 3  # versions of each step; test_checks.py has all of them

# The page says to replace a file with the one that it shows. A reader copies and pastes it.
PASTE = """(element, text) => {
    const clipboardData = new DataTransfer();
    clipboardData.setData("text/plain", text);
    const options = { clipboardData, bubbles: true, cancelable: true };
    element.dispatchEvent(new ClipboardEvent("paste", options));
}"""


@pytest.fixture(scope="session")
def site(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


# Holds what asks the page's worker for a sign of life, while `isHeld`.
HOLD_PINGS = """
window.Worker = class extends Worker {
  postMessage(message, ...rest) {
    const send = () => super.postMessage(message, ...rest);
    if (window.isHeld && message.t === "ping") window.held = send;
    else send();
  }
};
"""


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
        if not tab.count():
            self.app.locator(".live-new-name").fill(name)
            self.press("add")
        else:
            tab.click()
            # Something that comes in above may move the tab away in the middle of a click.
            with contextlib.suppress(AssertionError):
                expect(tab).to_have_attribute("aria-selected", "true", timeout=10_000)
            if tab.get_attribute("aria-selected") != "true":
                tab.click()
        expect(tab).to_have_attribute("aria-selected", "true")
        self.app.locator(".cm-content").focus()

    def paste(self, name: str, text: str) -> None:
        """Replace a whole file, as the page says."""
        self.open_file(name)
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.press("Delete")
        self.app.locator(".cm-content").evaluate(PASTE, text)

    def check(self) -> tuple[list[str], list[str]]:
        """Press Check, and return what is done and what is missing."""
        self.press("check")
        expect(self.app.locator(".live-check")).not_to_have_attribute("aria-disabled", "true")
        assert "result" not in self.app.locator(".live-status").inner_text()
        rows = self.app.locator(".live-results > li")
        done = rows.filter(has=self.page.locator("strong", has_text="Done")).all_inner_texts()
        missing = self.app.locator(".live-results > :is(.live-missing, .live-error)")
        return done, missing.all_inner_texts()


@pytest.fixture
def reader(browser: Browser, site: str, folder: Path) -> Iterator[Reader]:
    """A reader whose browser keeps nothing from before; errors in the console fail the test."""
    with browser.new_context(accept_downloads=True) as context:
        context.set_default_timeout(SECONDS * 1000)
        page = context.new_page()
        errors = noted_errors(page)
        expect.set_options(timeout=SECONDS * 1000)
        yield Reader(page, site, folder, 1)
    expect.set_options(timeout=PATIENCE)  # as all other tests have it
    assert errors == []


@pytest.mark.parametrize("number", STEPS)
def test_step_is_done_with_what_the_page_shows(reader: Reader, number: int) -> None:
    reader.come(number)
    _, missing = reader.check()
    assert missing
    data = reader.data
    for name, text in data["end"].items():
        if text != data["start"].get(name, ""):
            reader.paste(name, text)
    reader.press("show")
    reader.says("Your files have all changes of this step.")
    done, missing = reader.check()
    assert missing == []
    assert len(done) >= 3
    reader.says("Everything of this step is done.")
    chosen = [version for version in wrong_versions(number) if "old" in version][:WRONG]
    for version in chosen:
        name = version["file"]
        reader.paste(name, changed(data["end"], version)[name])
        _, missing = reader.check()
        expected = version["place"], version["says"].replace("`", "")
        assert any(expected[0] in row and expected[1] in row for row in missing), missing
        reader.paste(name, data["end"][name])
    assert len(chosen) == WRONG


@pytest.mark.parametrize("number", [1, 3, 8])
def test_show_me_fills_in_one_change_at_a_time(reader: Reader, number: int) -> None:
    reader.come(number)
    changes = reader.data["changes"]
    status = reader.app.locator(".live-status")
    pressed = 0
    while True:
        reader.press("show")
        if "all changes" in status.inner_text():
            break
        pressed += 1
        assert pressed < 2 * len(changes)
        expect(status).to_contain_text(re.compile(r"^(In )?\S+\.(py|html|css|js|txt)"))
        assert reader.app.locator(".live-marked-error").count() == 0
        assert reader.app.locator(".live-marked-added").count() or "removed" in status.inner_text()
    assert len(changes) <= pressed <= len(changes) + 1
    assert reader.check()[1] == []


def test_text_survives_a_reload_and_goes_on_to_the_next_step(reader: Reader) -> None:
    reader.come(1)
    reader.says("You start with an empty file.")
    for name, text in reader.data["end"].items():
        reader.paste(name, text.replace("The pie poll", "My own poll"))
    assert reader.check()[1] == []
    following = reader.app.get_by_role("link", name="Next:")
    expect(following).to_have_attribute("href", re.compile(r"/tutorial/02-[\w-]+\.html$"))
    expect(following).to_have_text(re.compile(r"^Next: \w"))
    reader.come(1)
    reader.says("Your files of this step are back, as you left them.")
    expect(reader.app.locator(".cm-content")).to_contain_text("My own poll")
    assert reader.app.locator(".live-frame").count() == 0, "nothing runs without a press"
    reader.come(2)
    reader.says("You start with your own files of step 1.")
    expect(reader.app.locator(".cm-content")).to_contain_text("My own poll")
    reader.page.once("dialog", lambda dialog: dialog.accept())
    reader.press("over")
    reader.says("The step starts from the beginning.")
    expect(reader.app.locator(".cm-content")).to_contain_text("The pie poll")


def test_start_over_leaves_no_file_behind(reader: Reader) -> None:
    reader.come(3)
    start = reader.data["start"]["app.py"]
    reader.paste("extra.py", "NAME = 'extra'\n")
    reader.paste("app.py", f"import extra\n{start}")
    reader.press("run")
    expect(reader.app).to_have_attribute("data-state", "running")
    reader.page.once("dialog", lambda dialog: dialog.accept())
    reader.press("over")
    reader.says("The step starts from the beginning.")
    reader.paste("app.py", f"import extra\n{start}")
    reader.press("run")
    expect(reader.app).to_have_attribute("data-state", "failed")
    expect(reader.app.locator(".live-log")).to_contain_text("No module named 'extra'")


def test_changed_is_what_the_reader_has_changed(reader: Reader) -> None:
    reader.come(3)
    changed_tabs = reader.app.locator(".live-file-tab", has_text="(changed)")
    note = reader.app.locator(".live-editor-note")
    expect(changed_tabs).to_have_count(0)
    expect(note).to_be_empty()
    reader.paste("app.py", "# mine\n")
    expect(changed_tabs).to_have_count(1)
    expect(note).to_contain_text("You have changed the files.")
    reader.come(3)
    expect(changed_tabs).to_have_text(["app.py (changed)"])
    reader.page.once("dialog", lambda dialog: dialog.accept())
    reader.press("over")
    expect(changed_tabs).to_have_count(0)
    expect(note).to_be_empty()


def test_stop_ends_a_check_that_loads_python(reader: Reader) -> None:
    held: list[Route] = []
    reader.page.route("**/pyodide.asm.wasm", lambda route: held.append(route))
    reader.come(3)
    reader.press("check")
    expect(reader.app.locator(".live-stop")).to_be_enabled()
    reader.press("stop")
    reader.says("The check has ended without a result. Stopped.")
    expect(reader.app.locator(".live-stop")).to_be_disabled()
    reader.page.unroute("**/pyodide.asm.wasm")
    _, missing = reader.check()
    assert missing


def test_the_total_stays_and_an_exception_is_an_error_told_once(reader: Reader) -> None:
    reader.come(3)
    rows = reader.app.locator(".live-results > li")
    reader.check()
    total = rows.count()
    reader.paste("app.py", f"{reader.data['end']['app.py']}\nunknown\n")
    reader.check()
    expect(rows).to_have_count(total)
    expect(reader.app.locator(".live-error strong")).to_have_text(["Error"])
    expect(reader.app.locator(".live-open strong")).to_have_count(total - 1)
    expect(rows.last).to_contain_text("Not checked yet")
    reader.says(f"0 of {total} are done. See below.")


def test_what_is_missing_leads_to_its_place(reader: Reader) -> None:
    reader.come(2)
    reader.paste("app.py", reader.data["end"]["app.py"].replace('    @methods("POST")\n', ""))
    reader.check()
    place = reader.app.locator(".live-results .live-place", has_text="Poll.vote").first
    place.click()
    reader.page.wait_for_function(
        "line => getSelection().anchorNode?.parentElement.closest('.cm-line')"
        "?.textContent === line",
        arg="    async def vote(self, pie: Pie) -> dict[str, int]:",
    )


def test_download_starts_with_uvicorn(reader: Reader, tmp_path: Path) -> None:
    reader.come(3)
    for name, text in reader.data["end"].items():
        if text != reader.data["start"].get(name):
            reader.paste(name, text)
    with reader.page.expect_download() as download:
        reader.press("zip")
    assert download.value.suggested_filename == "poll-step-03.zip"
    with zipfile.ZipFile(download.value.path()) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    folder = tmp_path / "poll"
    assert (folder / "requirements.txt").is_file()
    with running(SERVE, folder) as server:
        assert "Rhubarb" in httpx.get(server.url, timeout=60).text


def test_endless_loop_is_told_with_its_line(reader: Reader) -> None:
    reader.come(2)
    text = reader.data["end"]["app.py"]
    reader.paste("app.py", text.replace("votes[pie] += 1", "while True: votes[pie] += 1"))
    _, missing = reader.check()
    assert any("Poll.vote" in row and "a loop without an end" in row for row in missing), missing


def test_what_check_has_said_comes_back_when_python_answers_again(reader: Reader) -> None:
    reader.page.add_init_script(HOLD_PINGS)
    reader.come(3)
    reader.check()
    status = reader.app.locator(".live-status")
    words = status.inner_text()
    assert words.endswith("are done. See below.")
    reader.page.evaluate("window.isHeld = true")
    expect(status).to_have_text("The app has not answered for 3 seconds. Press Stop to end it.")
    reader.page.evaluate("window.isHeld = false; held()")
    expect(status).to_have_text(words)


def test_the_bar_says_what_its_buttons_do_in_a_step(reader: Reader) -> None:
    reader.come(3)
    expect(reader.app.locator(".live-primary")).to_have_text(["Check"])
    expect(reader.app.locator(".live-step")).to_be_hidden()
    expect(reader.app.locator(".live-reset")).to_have_text("Forget data")


def test_more_tools_come_without_a_change_of_the_tab(reader: Reader) -> None:
    reader.come(3)
    more = reader.app.locator(".live-more")
    expect(more).to_have_text("More: Event stream, WebSocket")
    more.click()
    expect(more).to_have_count(0)
    expect(reader.app.get_by_role("tab", name="Event stream")).to_be_focused()
    expect(reader.app.get_by_role("tab", name="WebSocket")).to_be_visible()
    expect(reader.app.get_by_role("tab", name="Edit")).to_have_attribute("aria-selected", "true")


def test_step_is_accessible_and_fits_a_phone(reader: Reader) -> None:
    reader.page.set_viewport_size({"width": 390, "height": 800})
    reader.come(3)
    reader.check()
    first = reader.app.locator(".live-results > li").first.bounding_box()
    button = reader.app.locator(".live-check").bounding_box()
    assert first
    assert button
    assert 0 < first["y"] - button["y"] < 300, "what Check found is in sight"
    reader.page.evaluate(DRAWN)
    found = Axe().run(reader.page, context=".live-app")
    assert found.violations_count == 0, found.generate_report()
    reader.paste("templates/results.html", "<h1>Results</h1>")
    tops = "tabs => new Set(tabs.map(tab => tab.offsetTop)).size"
    assert reader.app.locator(".live-file-tab").evaluate_all(tops) == 1, "one row of files"
    expect(reader.app.locator(".live-file-tab").last).to_be_in_viewport(ratio=0.9)
    width = "element => element.scrollWidth - element.clientWidth"
    assert reader.app.evaluate(width) <= 0
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390
