"""The pages of the how-to guides in a browser, with JavaScript and forms."""

import contextlib
import json
import re
import shutil
from typing import Any

import pytest

from docs._ext.blocks import blocks
from tests.examples.browsing import Browsing
from tests.examples.empty_room import MESSAGES, shown_after_a_break
from tests.examples.harness import SERVE
from tests.processes import ROOT, free_port, redis, serving, wait_until


def code(page, number=0, **wanted):
    """Return a block of a guide: the first, or another one, of those with these attributes."""
    found = blocks((ROOT / "docs/howto" / page).read_text())
    return [
        one for one in found if all(getattr(one, name) == value for name, value in wanted.items())
    ][number].text


def with_page(app, html):
    """Return the source of an app that has a page as well."""
    page = f"class WithPage(Root):\n    async def index(self):\n        return {html!r}\n"
    return f"{app}\n{page}\napp = WithPage()\n"


@pytest.fixture
def open_site(browser, tmp_path):
    """Serve an app from a page, and open the site in a browser in which every error counts."""
    with contextlib.ExitStack() as stack:

        def start(app, expected=()):
            (tmp_path / "app.py").write_text(app)
            port = free_port()
            stack.enter_context(serving(SERVE, tmp_path, port, {}))
            session = Browsing(browser, f"http://127.0.0.1:{port}")
            session.expected = list(expected)
            stack.callback(session.close)
            page = session.page()
            # The apps have no icon.
            page.context.route("**/favicon.ico", lambda route: route.fulfill(status=204))
            return page

        yield start


def test_clock_of_the_guide_ticks_in_a_browser(open_site):
    page = open_site(code("server-sent-events.md", comment="file: app.py"))
    page.goto("/")
    page.wait_for_function("/^[0-9]{2}:[0-9]{2}:[0-9]{2} UTC$/.test(time.textContent)")
    first = page.locator("#time").inner_text()

    page.wait_for_function("before => time.textContent !== before", arg=first)


def test_page_of_the_guide_receives_events_by_name(open_site):
    page = open_site(code("server-sent-events.md", comment="file: bake.py"))
    page.goto("/")
    page.get_by_role("button", name="Bake").click()

    page.get_by_text("Minute 2 of 5").wait_for()
    page.get_by_text("The pie is ready.").wait_for()


@pytest.fixture
def chat_with(tmp_path):
    """Return a function that writes the chat of the guide into a folder, with one of its rooms."""

    def write(page, number=0):
        (tmp_path / "room.py").write_text(code(page, number, comment="file: room.py"))
        (tmp_path / "chat.py").write_text(code(page, comment="file: chat.py"))
        shutil.copytree(ROOT / "docs/howto/files/templates", tmp_path / "templates")
        return SERVE.replace("app:app", "chat:app"), tmp_path

    return write


@pytest.mark.parametrize("bad_gateway", [False, True], ids=["no answer", "502"])
@pytest.mark.parametrize("room", [0, 1], ids=["in memory", "in a file"])
def test_page_without_any_message_yet_misses_nothing(browser, chat_with, room, bad_gateway):
    chat = chat_with("server-sent-events.md", room)

    assert shown_after_a_break(browser, *chat, bad_gateway=bad_gateway) == MESSAGES


def test_page_without_any_message_yet_is_told_of_a_restart(browser, chat_with):
    gap, *messages = shown_after_a_break(browser, *chat_with("server-sent-events.md"), restart=True)

    assert "may be missing" in gap
    assert messages == MESSAGES


def test_room_in_a_file_survives_a_restart(browser, chat_with):
    chat = chat_with("server-sent-events.md", 1)

    assert shown_after_a_break(browser, *chat, restart=True) == MESSAGES


@pytest.mark.parametrize("bad_gateway, restart", [(False, False), (True, False), (False, True)])
def test_room_in_redis_misses_nothing(browser, chat_with, monkeypatch, bad_gateway, restart):
    with redis() as variables:
        monkeypatch.setenv("REDIS_URL", variables["REDIS_URL"])
        chat = chat_with("more-machines.md")
        shown = shown_after_a_break(browser, *chat, bad_gateway=bad_gateway, restart=restart)

    assert shown == MESSAGES


def test_room_in_redis_tells_of_messages_that_are_dropped(browser, chat_with, monkeypatch):
    command, folder = chat_with("more-machines.md")
    room = folder / "room.py"
    short = room.read_text().replace("maxlen=KEPT", "maxlen=25, approximate=False")
    room.write_text(short)
    with redis() as variables:
        monkeypatch.setenv("REDIS_URL", variables["REDIS_URL"])
        gap, *messages = shown_after_a_break(browser, command, folder)

    assert "may be missing" in gap
    assert messages == MESSAGES[-20:]


def test_websocket_of_a_browser_gets_its_message_echoed(open_site):
    page = open_site(
        with_page(code("websockets.md", comment="file: app.py"), "<title>Echo</title>")
    )
    page.goto("/")
    heard = page.evaluate(
        """() => new Promise((heard, failed) => {
            const ws = new WebSocket(`ws://${location.host}/echo`);
            ws.onopen = () => ws.send("Hello");
            ws.onmessage = (event) => heard(event.data);
            ws.onerror = failed;
        })"""
    )

    assert heard == "You said Hello"


def test_upload_form_of_the_guide_sends_the_file(open_site, tmp_path):
    page = open_site(code("uploads.md", comment="file: app.py"))
    (tmp_path / "pie.png").write_bytes(b"x" * 5000)
    page.goto("/")
    page.get_by_label("Picture").set_input_files(tmp_path / "pie.png")
    page.get_by_role("button", name="Send").click()
    page.wait_for_url("**/upload")

    answer = json.loads(page.locator("pre").inner_text())
    assert answer == {"name": "pie.png", "type": "image/png", "bytes": 5000}


@pytest.fixture
def film_templates(tmp_path):
    folder = tmp_path / "templates"
    folder.mkdir()
    for file in ("index.html", "upload.js"):
        text = code("upload-progress.md", comment=f"file: templates/{file}")
        (folder / file).write_text(text)
    return folder


@pytest.fixture
def film_site(open_site, film_templates):
    page = open_site(code("upload-progress.md", comment="file: app.py"), expected=["413"])
    page.goto("/")
    return page


def test_line_of_the_guide_has_words_for_a_file_of_another_kind(
    open_site, film_templates, tmp_path
):
    guide = (ROOT / "docs/howto/upload-progress.md").read_text()
    (line,) = re.findall(r"`(415: \".*\",)`", guide)
    script = (film_templates / "upload.js").read_text()
    opening = "const problems = {"
    (film_templates / "upload.js").write_text(script.replace(opening, opening + line))
    check = "raise micropie.HTTPError(415)"
    app = code("upload-progress.md", comment="file: app.py").replace("path = FOLDER", check + " #")
    page = open_site(f"import micropie\n{app}", expected=["415"])
    page.goto("/")
    (tmp_path / "film.bin").write_bytes(b"no film")
    page.get_by_label("Film").set_input_files(tmp_path / "film.bin")
    page.get_by_role("button", name="Upload").click()

    page.get_by_text("This is no film. Please choose an MP4 file.").wait_for()


def films(folder, wanted):
    """Return the files of an app as soon as there are as many as wanted."""
    place = folder / "data" / "films"
    wait_until(lambda: len(list(place.iterdir())) == wanted, what=f"{wanted} files in {place}")
    return list(place.iterdir())


def test_cancel_button_of_the_guide_leaves_no_file(film_site, tmp_path):
    page = film_site
    (tmp_path / "film.bin").write_bytes(bytes(20_000_000))
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1_000_000}
    network.send("Network.emulateNetworkConditions", slow)
    page.get_by_label("Film").set_input_files(tmp_path / "film.bin")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_function("0 < bar.value && bar.value < 100")
    page.get_by_role("button", name="Cancel").click()

    page.get_by_text("Canceled.").wait_for()
    assert films(tmp_path, 0) == []


def test_page_says_the_size_of_the_saved_film(film_site, tmp_path):
    sizes = {0: "0 bytes", 999: "999 bytes", 1_990_000: "1.9 MB", 40_000_000: "40 MB"}
    for size, shown in sizes.items():
        (tmp_path / "film.bin").write_bytes(bytes(size))
        film_site.get_by_label("Film").set_input_files(tmp_path / "film.bin")
        film_site.get_by_role("button", name="Upload").click()
        film_site.get_by_text(f"Saved film.bin ({shown}).").wait_for()


def test_film_over_a_limit_of_the_server_gets_words_for_visitors(film_site, tmp_path):
    # The script believes that every file is small, as one that does not check.
    page = film_site
    page.evaluate("Object.defineProperty(File.prototype, 'size', {value: 1})")
    for size in (40_000_001, 50_000_000):
        (tmp_path / "film.bin").write_bytes(bytes(size))
        page.get_by_label("Film").set_input_files(tmp_path / "film.bin")
        page.get_by_role("button", name="Upload").click()
        page.get_by_text("Please choose one of at most 40 MB.").wait_for()
        page.evaluate("result.textContent = ''")
        assert page.locator("#percent").inner_text() == "100 %"
    assert films(tmp_path, 0) == []


def test_film_form_works_without_scripts(film_site, browser, tmp_path):
    (tmp_path / "a<b.bin").write_bytes(bytes(5000))
    with contextlib.closing(browser.new_context(java_script_enabled=False)) as context:
        page = context.new_page()
        page.goto(film_site.url)
        shown = [page.locator(f"#{name}").is_visible() for name in ("progress", "cancel")]
        page.get_by_label("Film").set_input_files(tmp_path / "a<b.bin")
        page.get_by_role("button", name="Upload").click()

        page.get_by_text("Saved a<b.bin.").wait_for()
    assert shown == [False, False]
    assert film_site.locator("#cancel").is_visible()
    assert len(films(tmp_path, 1)) == 1


def test_names_of_the_guide_are_plain_and_fit_on_a_disk(tmp_path):
    module: dict[str, Any] = {"__name__": "named"}
    exec(code("uploads.md", comment="file: named.py"), module)  # noqa: S102
    names = ["-rf (1).txt", ".htaccess", "...", "猫" * 255 + ".jpeg", "\U00020000" * 255]

    safe = [module["safe_name"](name) for name in names]
    assert safe == ["rf__1_.txt", "htaccess", "file", "猫" * 53 + ".jpeg", "\U00020000" * 50]
    for name in safe:
        (tmp_path / name).touch()


def test_order_form_of_the_guide_orders_with_html_escaped(open_site):
    page = open_site(code("forms.md", comment="file: app.py"))
    page.goto("/")
    page.get_by_label("Pie").fill("<b>mud</b>")
    page.get_by_label("How many?").fill("")
    page.get_by_role("button", name="Order").click()

    page.get_by_text("1 × <b>mud</b>").wait_for()
