"""Operates the pane of a live app as its readers do: with keys, a mouse, and mistakes."""

import base64
import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, FrameLocator, Locator, Page, Route, expect
from playwright.sync_api import Error as PlaywrightError

from tests.docs.looking import AXE, DRAWN, RUN_AXE
from tests.live.static_host import Host
from tests.processes import wait_until

pytestmark = pytest.mark.slow
HERE = Path(__file__).with_name("pane")
CURL = [["host", "127.0.0.1:8000"], ["user-agent", "curl/8.0"], ["accept", "*/*"]]
PLAIN = {"body": None, "head": False, "quiet": False, "follow": False, "jar": None}
DOT = bytes(range(256))
PYTHON = "**/pyodide.asm.wasm"
NOT_RUNNING = "The app is not running. Press Run first."


def command(path: str, expected: str | None, **more: object) -> dict[str, object]:
    """Return a prepared request as the extension writes it."""
    line = f"curl http://127.0.0.1:8000{path}"
    own = {"line": line, "method": "GET", "path": path, "headers": CURL, "expected": expected}
    return {**PLAIN, **own, **more}


JAR = {"name": "jar", "send": True, "keep": True}
REQUESTS = [
    command("/other", "...<h1>The other page</h1>\n"),
    command("/crash", "HTTP/1.1 500 Internal Server Error\n...\n500 Internal ...\n", head=True),
    command("/visits", '{"visits":7}\n'),
    command("/", "HTTP/1.1 200 OK\n...\nset-cookie: session_id=...\n...\n", head=True, jar=JAR),
    command("/visits", '{"visits":1}\n', jar=JAR),
    command("/other", "HTTP/1.1 200 OK\n", head=True, filters=[{"head": 1}]),
    command("/other", "<!doctyp", filters=[{"characters": 8}]),
    command("/other", "Other\nThe other\n", filters=[{"grep": "The o[a-z]*|Other", "o": True}]),
    command("/other", "200\n", quiet=True, write="%{http_code}\\n"),
    command("/other", "0... s\n", quiet=True, write="%{time_total} s\\n"),
    command("/jump", "303 http://127.0.0.1:8000/other\n", write="%{http_code} %{redirect_url}\\n"),
    command("/jump", "...<h1>The other page</h1>\n", follow=True),
    command("/echo", '...,"body":"a=\\u0001",...', method="POST", body={"base64": "YT0B"}),
    command("/count", "1\n2\n", filters=[{"head": 2}]),
    command("/count", "1\n2\n3\n...\n", seconds=0.5),
    command("/late", "data: one\n"),
    command("/late?last=more", "data: one\n"),
    command("/late?last=raise", "data: one\n"),
    command("/gap", "above\n\nbelow\n"),
    command("/rude", "HTTP/1.1 200 OK\ncontent-type: text/plain\n", method="HEAD", head=True),
    command("/other", None),
]
RESULTS = ["same"] * len(REQUESTS)
RESULTS[2], RESULTS[-1] = "different", "done"
RESULTS[-5:-2] = "different", "error", "different"


@pytest.fixture(scope="module")
def address(runtime_folder: Path, host: Host) -> str:
    """Put the page and its app beside the runtime."""
    (runtime_folder / "_static/live/apps").mkdir(exist_ok=True)
    app: dict[str, object] = {
        "name": "pane",
        "target": "app:app",
        "url": "/",
        "packages": ["multipart"],
        "visitors": 1,
        "height": "20rem",
        "environment": {},
        "requests": REQUESTS,
        "files": {
            "app.py": (HERE / "app.py").read_text(),
            "notes.txt": "Nothing yet.\n",
            "pictures/dot.bin": {"base64": base64.b64encode(DOT).decode()},
        },
    }
    (runtime_folder / "_static/live/apps/pane.json").write_text(json.dumps(app))
    shutil.copytree(HERE, runtime_folder / "pane", dirs_exist_ok=True)
    return f"{host.url}/docs/pane/"


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """A page in which an error of its own fails the test."""
    errors: list[str] = []
    with browser.new_context() as context:
        opened = context.new_page()
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.goto(address)
        yield opened
    assert errors == []


@pytest.fixture
def app(page: Page) -> Locator:
    return page.locator(".live-app").first


@pytest.fixture
def running(app: Locator) -> Locator:
    run(app)
    return app


@pytest.fixture
def release(page: Page) -> Callable[[], None]:
    """Hold Python back, and return a function that lets it load."""
    held: list[Route] = []
    page.route(PYTHON, lambda route: held.append(route))

    def let_go() -> None:
        page.unroute(PYTHON)
        for route in held:
            with contextlib.suppress(PlaywrightError):  # Stop has ended the worker that asked
                route.continue_()

    return let_go


def run(app: Locator) -> None:
    app.locator(".live-run").click()
    expect(status(app)).to_have_text("The app is running.")


def status(app: Locator) -> Locator:
    return app.locator(".live-bar .live-status")


def frame(app: Locator, number: int = 1) -> FrameLocator:
    return app.frame_locator(f".live-frame >> nth={number - 1}")


def tab(app: Locator, name: str) -> Locator:
    return app.get_by_role("tab", name=name, exact=True)


def replace(app: Locator, old: str, new: str) -> None:
    """Edit app.py as a reader does who replaces all of its text."""
    tab(app, "Edit").click()
    text = (HERE / "app.py").read_text()
    assert old in text
    app.locator(".cm-content").fill(text.replace(old, new))


def at(app: Locator, path: str) -> None:
    """Open an address in the first browser."""
    tab(app, "Browser").click()
    app.locator(".live-address").first.fill(path)
    app.locator(".live-address").first.press("Enter")


def form(app: Locator, path: str, method: str = "GET") -> Locator:
    """Send a request with the form; return the place of its response."""
    tab(app, "Requests").click()
    app.locator(".live-method").select_option(method)
    app.locator(".live-path").fill(path)
    app.locator(".live-submit").click()
    return app.locator(".live-response")


def count_draws(app: Locator, name: str) -> None:
    """Count from now on how often an element of the app is changed, and the frames of the page."""
    app.evaluate(
        "(app, name) => { app.draws = app.frames = 0;"
        " const seen = new MutationObserver(() => app.draws++);"
        " seen.observe(app.querySelector(name), { childList: true, subtree: true });"
        " const next = () => { app.frames++; requestAnimationFrame(next); };"
        " requestAnimationFrame(next); }",
        name,
    )


def draws(app: Locator) -> tuple[int, int]:
    """Return how often the element was changed, and the frames in which that could be."""
    drawn, frames = app.evaluate("app => [app.draws, app.frames]")
    return drawn, frames + 1


def one_worker(page: Page) -> None:
    """Wait until one worker is left. The page hears later that another one has ended."""

    def is_left() -> bool:
        page.evaluate("0")  # Playwright hears of a worker's end only while it is called
        return len(page.workers) == 1

    wait_until(is_left, what="the end of all workers but one")


# --- Before the press --------------------------------------------------------------------------


def test_nothing_but_the_bar_is_loaded_before_the_press(page, app, host) -> None:
    expect(status(app)).to_have_text(re.compile(r"not loaded yet.*\(6\.3 MB\)"))
    loaded = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    names = {url.rsplit("/", 1)[1] for url in loaded if "/_static/" in url}
    assert names == {"start.js", "start.css"}


def test_an_app_cannot_run_below_a_file_address(browser, runtime_folder, address) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.goto((runtime_folder / "pane/index.html").as_uri())
        expect(page.locator(".live-status").first).to_contain_text("opened from a file")
        expect(page.locator(".live-run")).to_have_count(0)


@pytest.mark.parametrize(
    ("script", "missing"),
    [
        ("delete window.WebAssembly", "WebAssembly"),
        ("window.Worker = class { constructor() { throw new TypeError() } }", "module workers"),
    ],
)
def test_the_bar_says_what_a_browser_has_not(browser, address, script, missing) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        page.add_init_script(script)
        page.goto(address)
        expect(page.locator(".live-status").first).to_contain_text(f"has no {missing}")
        expect(page.locator(".live-run")).to_have_count(0)


def test_a_press_says_what_could_not_be_loaded_and_the_next_one_tries_again(app, page) -> None:
    page.route("**/pane.mjs", lambda route: route.abort())
    app.locator(".live-run").click()
    expect(status(app)).to_contain_text("could not be loaded. Check your connection")
    page.unroute("**/pane.mjs")
    page.route("**/editor.mjs", lambda route: route.abort())
    run(app)
    tab(app, "Edit").click()
    expect(app.get_by_role("tabpanel", name="Edit")).to_have_text("The editor could not be loaded.")
    page.unroute("**/editor.mjs")
    tab(app, "Edit").click()
    expect(app.locator(".cm-content")).to_be_visible()


def test_a_press_loads_the_style_again_if_it_could_not_be_loaded(app, page) -> None:
    page.route("**/pane.css", lambda route: route.abort())
    app.locator(".live-run").click()
    expect(status(app)).to_contain_text("could not be loaded. Check your connection")
    page.unroute("**/pane.css")
    run(app)
    assert page.evaluate(
        "[...document.styleSheets].some(({ href, cssRules }) =>"
        " href?.endsWith('pane.css') && cssRules.length > 0)"
    )


# --- Keys, labels, live regions ----------------------------------------------------------------


def test_all_of_it_can_be_done_with_keys(page, app) -> None:
    app.locator(".live-run").focus()
    page.keyboard.press("Enter")
    expect(status(app)).to_have_text("The app is running.")
    expect(app.locator(".live-run")).to_be_focused()
    for name in ("Stop", "Reset", "Browser"):
        page.keyboard.press("Tab")
        expect(app.locator(":focus")).to_have_text(name)
    page.keyboard.press("ArrowRight")
    expect(tab(app, "Edit")).to_have_attribute("aria-selected", "true")
    expect(app.locator(".cm-content")).to_be_visible()
    page.keyboard.press("End")
    expect(tab(app, "WebSocket")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(tab(app, "Browser")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(status(app)).to_have_text("Stopped.")
    expect(app.locator(".live-run")).to_be_focused()


def test_tab_leaves_the_editor_until_the_reader_says_otherwise(page, app) -> None:
    app.locator(".live-edit").click()
    content = app.locator(".cm-content")
    expect(content).to_be_focused()
    page.keyboard.press("Tab")
    expect(app.locator(".live-tab-key")).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Shift+Tab")
    expect(content).to_be_focused()
    page.keyboard.press("Tab")
    expect(content).to_be_focused()
    expect(app.locator(".cm-line").first).to_have_text(re.compile(r"^ {4}\"\"\"An app"))
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(app.locator(".live-tab-key")).to_be_focused()


@pytest.mark.parametrize("name", ["Browser", "Edit", "Requests", "Event stream", "WebSocket"])
def test_controls_have_labels(running, page, name) -> None:
    if name == "Browser":
        running.locator(".live-second").click()
    tab(running, name).click()
    if name == "Edit":
        expect(running.get_by_role("textbox", name="Text of app.py")).to_be_visible()
    panel = running.get_by_role("tabpanel", name=name, exact=True)
    expect(panel).to_be_visible()
    page.evaluate(AXE)
    page.evaluate(DRAWN)
    assert page.evaluate(RUN_AXE) == []


def test_changes_of_the_state_are_announced(app) -> None:
    expect(app.get_by_role("status").first).to_contain_text("not loaded yet")
    run(app)
    expect(app.get_by_role("status").first).to_have_text("The app is running.")
    expect(app.get_by_role("log", name="Log of the app")).to_contain_text("GET / 200")


def test_the_pane_fits_on_a_phone(running, page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    running.locator(".live-second").click()
    for name in ("Browser", "Edit", "Requests", "Event stream", "WebSocket"):
        tab(running, name).click()
        expect(running.get_by_role("tabpanel", name=name, exact=True)).to_be_visible()
        if name == "Edit":
            expect(running.locator(".cm-content")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


# --- The browsers ------------------------------------------------------------------------------


def test_the_browser_has_address_back_and_reload(running) -> None:
    view = frame(running)
    expect(view.locator("h1")).to_have_text("Hello, reader")
    expect(running.locator(".live-back")).to_be_disabled()
    view.get_by_role("link").click()
    expect(view.locator("h1")).to_have_text("The other page")
    expect(running.locator(".live-address")).to_have_value("/other")
    at(running, "http://127.0.0.1:8000/?name=Ada")
    expect(view.locator("h1")).to_have_text("Hello, Ada")
    expect(running.locator(".live-address")).to_have_value("/?name=Ada")
    running.locator(".live-back").click()
    expect(view.locator("h1")).to_have_text("The other page")
    running.locator(".live-back").click()
    expect(view.locator("b")).to_have_text("3")
    expect(running.locator(".live-back")).to_be_disabled()
    running.locator(".live-reload").click()
    expect(view.locator("b")).to_have_text("4")


def test_a_page_that_arrives_late_leaves_what_the_reader_types(running) -> None:
    view, address = frame(running), running.locator(".live-address")
    expect(view.locator("h1")).to_have_text("Hello, reader")
    address.fill("/?name=Ada")
    view.get_by_role("link").evaluate("link => link.click()")  # the address keeps the focus
    expect(view.locator("h1")).to_have_text("The other page")
    expect(address).to_have_value("/?name=Ada")
    address.press("Enter")
    expect(view.locator("h1")).to_have_text("Hello, Ada")
    # It follows again, also while it has the focus.
    view.get_by_role("link").evaluate("link => link.click()")
    expect(address).to_have_value("/other")


def test_the_app_opens_in_a_tab(running, page) -> None:
    expect(frame(running).locator("b")).to_have_text("1")
    with page.context.expect_page() as opened:
        running.get_by_role("link", name="Open in a tab").click()
    expect(opened.value.locator("b")).to_have_text("2")


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("link", ""),
        ("submit", "?submitted=1"),
        ("location", "?set"),
        ("push", "?pushed"),
        ("replace", "?put"),
    ],
)
def test_a_path_of_the_app_stays_in_the_app(running, name, query) -> None:
    at(running, "/ways")
    view = frame(running)
    expect(view.frame_locator("iframe").locator("h1")).to_have_text("The other page")
    view.get_by_text(name, exact=True).click()
    expect(running.locator(".live-address")).to_have_value(f"/other{query}")
    if name in ("push", "replace"):
        running.locator(".live-reload").click()
    expect(view.locator("h1")).to_have_text("The other page")
    expect(running.locator(".live-address")).to_have_value(f"/other{query}")


def test_a_second_visitor_has_other_cookies(running) -> None:
    expect(frame(running).locator("b")).to_have_text("1")
    running.locator(".live-reload").click()
    expect(frame(running).locator("b")).to_have_text("2")
    running.locator(".live-second").click()
    expect(frame(running, 2).locator("b")).to_have_text("1")
    running.get_by_role("button", name="Close the second visitor").click()
    expect(running.locator(".live-frame")).to_have_count(1)


# --- Editing, and what goes wrong --------------------------------------------------------------


def test_an_edit_changes_what_runs(running) -> None:
    expect(frame(running).locator("b")).to_have_text("1")
    replace(running, 'GREETING = "Hello"', 'GREETING = "Good morning"')
    expect(running.locator(".live-file-tab").first).to_have_text("app.py (changed)")
    expect(running.locator(".live-editor-note")).to_contain_text("You have changed the files.")
    running.get_by_role("button", name="Run again").click()
    expect(frame(running).locator("h1")).to_have_text("Good morning, reader")
    expect(running.locator(".live-file-tab").first).to_have_text("app.py")
    running.locator(".live-reset").click()
    expect(frame(running).locator("h1")).to_have_text("Hello, reader")
    expect(frame(running).locator("b")).to_have_text("1")
    tab(running, "Edit").click()
    running.locator(".cm-content").press("Control+Home")  # it holds the lines that are seen
    expect(running.locator(".cm-content")).to_contain_text('GREETING = "Hello"')


def test_ctrl_enter_runs_the_app_from_the_editor(app, page) -> None:
    app.locator(".live-edit").click()
    expect(app.locator(".cm-content")).to_be_focused()
    page.keyboard.press("Control+Enter")
    expect(status(app)).to_have_text("The app is running.")


def test_a_syntax_error_is_shown_at_its_line(running) -> None:
    replace(running, 'GREETING = "Hello"', 'GREETING = = "Hello"')
    running.locator(".live-run").click()
    expect(status(running)).to_have_text("The app did not start. The log says why.")
    expect(running.locator(".live-log")).to_contain_text("SyntaxError")
    expect(running.locator(".live-log-box summary")).to_have_text("Log (1 error)")
    expect(running.locator(".live-marked")).to_have_text('GREETING = = "Hello"')
    note = running.locator(".live-editor-note")
    expect(note).to_have_text(
        re.compile(r"^The app did not start\. See line \d+ of app\.py\. SyntaxError: ")
    )
    replace(running, "Hello", "Mended")
    expect(note).to_have_text("You have changed the files. Press Run to start the app with them.")
    run(running)
    expect(running.locator(".live-marked")).to_have_count(0)
    expect(frame(running).locator("h1")).to_have_text("Mended, reader")


def test_an_exception_is_logged_without_the_frames_of_the_driver(running) -> None:
    at(running, "/crash")
    log = running.locator(".live-log")
    expect(log).to_contain_text("ValueError: on purpose")
    expect(log).to_contain_text("about to crash")
    assert "driver" not in log.inner_text()
    lines = (HERE / "app.py").read_text().splitlines()
    number = 1 + next(at for at, line in enumerate(lines) if "on purpose" in line)
    running.get_by_role("button", name=f'File "app.py", line {number}').click()
    expect(running.locator(".cm-content")).to_be_focused()
    running.page.wait_for_function(
        "() => { let node = getSelection().anchorNode;"
        " while (node && !node.classList?.contains('cm-line')) node = node.parentNode;"
        " return node?.textContent.includes('on purpose'); }"
    )


def test_an_endless_loop_is_noticed_and_ended(running) -> None:
    expect(frame(running).locator("h1")).to_be_visible()
    at(running, "/loop")
    expect(status(running)).to_have_text(
        "The app has not answered for 3 seconds. Press Stop to end it."
    )
    running.locator(".live-stop").click()
    expect(status(running)).to_have_text("Stopped.")
    run(running)
    expect(frame(running).locator("h1")).to_have_text("Hello, reader")


def test_a_request_waits_for_the_app_that_starts(app, release) -> None:
    app.locator(".live-run").click()
    tab(app, "Requests").click()
    row = app.locator(".live-requests > li").first
    row.locator(".live-send").click()
    expect(row.locator(".live-word")).to_have_text("Waiting for the app to start …")
    release()
    expect(row).to_have_attribute("data-result", "same")


def test_a_request_that_waits_can_be_given_up(app, release) -> None:
    app.locator(".live-run").click()
    tab(app, "Requests").click()
    row = app.locator(".live-requests > li").first
    row.locator(".live-send").click()
    row.get_by_text("Stop waiting").click()
    expect(row.locator(".live-answer")).to_have_text("Stopped.")
    release()
    expect(status(app)).to_have_text("The app is running.")
    expect(row.locator(".live-answer")).to_have_text("Stopped.")


def test_python_can_be_stopped_while_it_loads(app, release) -> None:
    app.locator(".live-run").click()
    app.locator(".live-stop").click()
    expect(status(app)).to_have_text("Stopped.")
    release()
    run(app)


@pytest.mark.parametrize("presses", [[".live-reset"], [".live-stop", ".live-run"]])
def test_the_app_can_be_started_again_while_python_loads(app, page, presses, release) -> None:
    app.locator(".live-run").click()
    expect(status(app)).to_contain_text("Loading Python")
    app.evaluate(
        "(app, presses) => { for (const name of presses) app.querySelector(name).click(); }",
        presses,
    )
    release()
    expect(status(app)).to_have_text("The app is running.")
    expect(frame(app).locator("h1")).to_have_text("Hello, reader")
    expect(app.locator(".live-log")).not_to_contain_text("Stopped.")
    one_worker(page)


def test_many_lines_are_drawn_together_and_the_last_stay(app, page) -> None:
    page.evaluate(
        "() => { window.Worker = class extends Worker {"
        " constructor(...given) { super(...given); window.worker = this; } }; }"
    )
    run(app)
    log = app.locator(".live-log")
    expect(log).to_contain_text("GET / 200")
    count_draws(app, ".live-log")
    page.evaluate(
        "() => { const say = (s) => worker.dispatchEvent("
        "new MessageEvent('message', { data: { t: 'out', s } }));"
        " say('x'.repeat(1e6)); for (let n = 0; n < 3000; n++) say(`line ${n}`);"
        " say(Array.from({ length: 600 }, (_, n) => `more ${n}`).join('\\n')); say('the end'); }"
    )
    expect(log).to_contain_text("the end")
    text = log.inner_text()
    assert "101 lines are left out" in text and "more 101" in text and "more 100" not in text
    assert "line 2999" not in text
    assert draws(app)[0] == 1
    tab(app, "Requests").click()
    expect(form(app, "/lines?count=20000").locator("pre")).to_have_text("printed")
    expect(log).to_contain_text("line 19999")
    assert len(log.inner_text().splitlines()) <= 1000


def test_nothing_is_sent_while_the_app_does_not_run(running) -> None:
    running.locator(".live-stop").click()
    tab(running, "Requests").click()
    running.locator(".live-send").first.click()
    row = running.locator(".live-requests > li").first
    expect(row).to_have_attribute("data-result", "error")
    expect(row.locator(".live-answer")).to_have_text(NOT_RUNNING)
    running.locator(".live-submit").click()
    expect(running.locator(".live-response")).to_contain_text(NOT_RUNNING)


def test_a_second_app_takes_the_place_of_the_first(running, page) -> None:
    expect(frame(running).locator("b")).to_have_text("1")
    second = page.locator(".live-app").nth(1)
    run(second)
    expect(frame(second).locator("b")).to_have_text("1")
    expect(status(running)).to_contain_text("another app of this page was started")
    expect(running.locator(".live-frame")).to_have_count(0)
    run(running)
    expect(frame(running).locator("h1")).to_have_text("Hello, reader")
    one_worker(page)


# --- Requests ----------------------------------------------------------------------------------


def test_prepared_requests_are_sent_in_order_and_compared(running) -> None:
    tab(running, "Requests").click()
    running.locator(".live-send-all").click()
    rows = running.locator(".live-requests > li")
    expect(rows.last).to_have_attribute("data-result", "done")
    results = rows.evaluate_all("rows => rows.map(row => row.dataset.result)")
    assert results == RESULTS, rows.all_inner_texts()
    expect(rows.nth(1).locator(".live-answer")).to_contain_text("500 Internal Server Error")
    expect(rows.nth(2)).to_contain_text("Not the same as on this page.")
    expect(rows.nth(2).locator(".live-answer")).to_have_text('{"visits":0}')
    rows.nth(2).get_by_text("What this page shows").click()
    expect(rows.nth(2).locator("details pre")).to_have_text('{"visits":7}')


def test_a_command_that_reads_two_lines_lets_go_of_the_response(running) -> None:
    tab(running, "Requests").click()
    row = running.locator(".live-requests > li").filter(has_text="/count").first
    row.locator(".live-send").click()
    expect(row.locator(".live-answer")).to_have_text("1\n2")
    expect(running.locator(".live-log")).to_contain_text("GET /count 200, the client left")


def test_the_reader_can_stop_waiting_for_a_response(running) -> None:
    replace(
        running, "return \"<!doctype html><html lang='en'><title>Other", 'return self.count()  # "'
    )
    run(running)
    tab(running, "Requests").click()
    row = running.locator(".live-requests > li").last
    row.locator(".live-send").click()
    expect(row.locator(".live-answer")).to_contain_text("3")
    row.get_by_text("Stop waiting").click()
    expect(row.locator(".live-send")).to_have_text("Send again")
    expect(row).to_have_attribute("data-result", "done")
    expect(running.locator(".live-log")).to_contain_text("GET /other 200, the client left")


def test_the_form_sends_what_the_reader_writes(running) -> None:
    tab(running, "Requests").click()
    running.get_by_label("Method").select_option("PUT")
    running.get_by_label("Path").fill("/echo")
    running.get_by_label("Headers, one on each line").fill("x-mine: 1, 2")
    running.get_by_label(re.compile("^Body")).fill('{"a": 1}')
    running.locator(".live-submit").click()
    response = running.get_by_role("region", name="Response")
    expect(response).to_contain_text("HTTP/1.1 201 Created")
    expect(response).to_contain_text(re.compile(r"\d ms, body of \d+ bytes"))
    expect(response.locator("dl")).to_contain_text("x-answer")
    said = json.loads(response.locator("pre").inner_text())
    assert said == {
        "method": "PUT",
        "body": '{"a": 1}',
        "type": "application/json",
        "mine": "1, 2",
    }
    running.get_by_label("Headers, one on each line").fill("no colon")
    running.locator(".live-submit").click()
    expect(response).to_contain_text("A header needs a name, a colon and a value")


def test_the_form_sends_what_is_not_ascii(running) -> None:
    response = form(running, "/?name=Zoë ✓")
    expect(response.locator("pre")).to_contain_text("Hello, Zoë ✓")
    running.locator(".live-headers").fill("x-mine: Zoë")
    expect(form(running, "/echo").locator("pre")).to_contain_text('"mine":"Zoë"')
    for headers, problem in {
        "x-mine: ✓": "The header x-mine has a character that is not in Latin-1: ✓",
        "x mine: 1": "A header cannot have this name: x mine",
    }.items():
        running.locator(".live-headers").fill(headers)
        expect(form(running, "/echo")).to_have_text(f"No response: {problem}")


@pytest.mark.parametrize(("method", "path"), [("HEAD", "/rude"), ("GET", "/rude?204")])
def test_the_form_shows_no_body_that_a_client_would_drop(running, method, path) -> None:
    response = form(running, path, method)
    expect(response.locator(".live-figures")).to_contain_text("body of 0 bytes")
    expect(response).not_to_contain_text("a body")


def test_the_form_says_what_it_does_not_show(running, page) -> None:
    response = form(running, "/text?length=300000")
    expect(response).to_contain_text("The first 200,000 characters are shown.")
    assert len(response.locator("pre").inner_text()) == 200_000
    with page.expect_download() as download:
        running.get_by_role("link", name="Save it as a file").click()
    saved = download.value.path().read_text()
    assert len(saved) == 300_000 and saved.endswith("end")


def test_a_body_that_is_no_text_can_be_saved(running, page) -> None:
    tab(running, "Requests").click()
    running.get_by_label("Path").fill("/picture")
    running.locator(".live-submit").click()
    expect(running.locator(".live-response")).to_contain_text("The body is no text (image/x-dot).")
    with page.expect_download() as download:
        running.get_by_role("link", name="Save it as a file").click()
    assert download.value.path().read_bytes() == DOT


def test_the_form_shares_the_cookies_of_a_visitor(running) -> None:
    expect(frame(running).locator("b")).to_have_text("1")
    tab(running, "Requests").click()
    running.get_by_label("Path").fill("/visits")
    body = running.locator(".live-response pre")
    for visitor, visits in (("visitor 1", 1), ("no cookies", 0), ("visitor 2", 0)):
        running.get_by_label("Cookies of").select_option(visitor)
        running.locator(".live-submit").click()
        expect(running.locator(".live-figures")).to_contain_text("body of")
        expect(body).to_have_text(f'{{"visits":{visits}}}')


def test_the_form_uploads_a_file(running) -> None:
    tab(running, "Requests").click()
    running.get_by_label("Path").fill("/upload")
    running.get_by_label(re.compile("^Body")).fill("note=A red pie")
    picture = {"name": "pie.png", "mimeType": "image/png", "buffer": bytes(700_000)}
    running.locator(".live-file").set_input_files(picture)
    running.get_by_label(re.compile("^Name of the file's field")).fill("picture")
    running.locator(".live-submit").click()
    expect(running.locator(".live-response pre")).to_have_text(
        '{"note":"A red pie","name":"pie.png","size":700000}'
    )


# --- Event streams and WebSockets --------------------------------------------------------------


def test_an_event_stream_is_shown_event_by_event(running) -> None:
    tab(running, "Event stream").click()
    expect(running.get_by_label("URL of the stream")).to_have_value("/ticks")
    running.locator(".live-open").click()
    events = running.locator(".live-events li")
    expect(running.locator(".live-events .live-state")).to_have_text("The app ended the stream.")
    expect(events).to_have_count(3)
    expect(events.first).to_contain_text("tick id 1")
    expect(events.first.locator("pre")).to_have_text("tick\nnumber 1")
    expect(running.get_by_label("Last-Event-ID")).to_have_value("3")
    running.locator(".live-open").click()
    expect(events).to_have_count(6)
    expect(events.last.locator("pre")).to_have_text("tick\nnumber 6")
    # The end of a stream comes after its last event. Until then the button closes it.
    expect(running.locator(".live-open")).to_have_text("Open")
    running.get_by_label("URL of the stream").fill("/other")
    running.locator(".live-open").click()
    expect(running.locator(".live-events .live-state")).to_contain_text("This is no event stream")


def test_the_console_talks_over_a_websocket(running, page) -> None:
    tab(running, "WebSocket").click()
    expect(running.get_by_label("URL of the WebSocket")).to_have_value("/echo")
    running.locator(".live-connect").click()
    state = running.locator(".live-socket .live-state")
    expect(state).to_have_text("Connected.")
    expect(running.locator(".live-text")).to_be_focused()
    page.keyboard.type("hello")
    page.keyboard.press("Enter")
    expect(running.locator(".live-socket li")).to_have_text(["You: hello", "App: HELLO"])
    page.keyboard.type("bye")
    page.keyboard.press("Enter")
    expect(state).to_have_text('The app closed it: code 4000, reason "as you said".')
    running.get_by_label("URL of the WebSocket").fill("/nothing")
    running.locator(".live-connect").click()
    expect(state).to_have_text("The app refused the connection.")


def test_a_flood_of_messages_is_drawn_together_and_each_is_taken(running, page) -> None:
    page.evaluate(
        "() => { window.taken = 0; const { postMessage } = MessagePort.prototype;"
        " MessagePort.prototype.postMessage = function (message, ...rest) {"
        " if (message.t === 'taken') window.taken += 1;"
        " return postMessage.call(this, message, ...rest); }; }"
    )
    tab(running, "WebSocket").click()
    running.get_by_label("URL of the WebSocket").fill("/flood?count=3000&name=Zoë")
    count_draws(running, ".live-socket ol")
    running.locator(".live-connect").click()
    state = running.locator(".live-socket .live-state")
    expect(state).to_contain_text("The app closed it: code 1000")
    expect(running.locator(".live-socket li").last).to_have_text("App: Zoë 2999")
    expect(running.locator(".live-socket li")).to_have_count(200)
    drawn, frames = draws(running)
    assert 0 < drawn <= frames
    assert drawn < 3000
    assert page.evaluate("taken") == 3000


def test_without_a_service_worker_requests_still_work(browser, address) -> None:
    with browser.new_context(service_workers="block") as context:
        page = context.new_page()
        page.goto(address)
        app = page.locator(".live-app").first
        run(app)
        expect(tab(app, "Requests")).to_have_attribute("aria-selected", "true")
        app.locator(".live-send").first.click()
        expect(app.locator(".live-requests > li").first).to_have_attribute("data-result", "same")
