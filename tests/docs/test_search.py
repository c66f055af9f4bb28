"""The search of the built site: what it finds, what it loads, and how it is used."""

import gzip
import json
import re
import tomllib
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.docs.looking import AXE, DRAWN, RUN_AXE, found_on_page
from tests.docs.site import Site, served
from tests.examples.browsing import NARROW, WIDE, Browsing, noted_errors

SEARCHES = tomllib.loads(Path(__file__).with_name("searches.toml").read_text())["search"]
MISSES = 1
FIRST = 3
BOX = "input.sidebar-search"
OF_SEARCH = "{include: [['article'], ['[role=search]']]}"  # the rest is looked at without it


@pytest.fixture
def browsing(browser, site):
    with served(site.folder) as url:
        session = Browsing(browser, url)
        yield session
        session.close()


def type_in_panel(page: Page, text: str) -> None:
    """Type into the box of the sidebar, and wait for results."""
    page.keyboard.press("Control+k")
    page.keyboard.type(text)
    expect(page.locator(".search-panel mark").first).to_be_visible()


def index_of(site: Site) -> dict:
    """Read the index as the browser does."""
    text = (site.folder / "_static" / "search-index.js").read_text()
    return json.loads(text.removeprefix("window.SEARCH_INDEX=").removesuffix(";\n"))


# --- What is found -----------------------------------------------------------------------------


def test_what_people_type_is_found(browsing):
    page = browsing.page()
    page.goto("/search.html")
    failed = []
    for search in SEARCHES:
        found = found_on_page(page, f"{browsing.url}/", search["typed"])
        first = [address.partition("#")[0] for address in found[: search.get("first", FIRST)]]
        if not set(first) & set(search["pages"]):
            failed.append(f"{search['typed']}: {found[: 2 * FIRST]} instead of {search['pages']}")

    assert len(failed) <= MISSES, "\n".join(failed)


def test_searches_are_fifty_different_ones_or_more_and_name_pages_that_exist(site):
    assert len({search["typed"] for search in SEARCHES}) == len(SEARCHES) >= 50
    assert sum(search.get("typo", False) for search in SEARCHES) == 5

    named = {page for search in SEARCHES for page in search["pages"]}
    assert sorted(page for page in named if f"{page}.html" not in site.pages) == []


def test_index_has_every_page_and_each_entry_leads_to_its_place(site):
    index = index_of(site)
    pages = [name for name, *_ in index["pages"]]

    assert set(pages) >= {"index", "howto/uploads", "reference/settings", "examples/blog"}
    assert "404" not in pages
    wrong = [
        f"{pages[number]}#{anchor}"
        for number, anchor, *_ in index["entries"]
        if anchor and anchor not in site.pages[f"{pages[number]}.html"].ids
    ]
    assert wrong == []


def test_index_has_prose_and_no_code_of_any_kind(site):
    text = " ".join(entry[-1] for entry in index_of(site)["entries"])

    assert "class Root(App):" not in text
    assert "@@ -" not in text
    assert "$ pip install" not in text
    assert text.count("::test_") == 1  # in the sentence that says how to run one
    assert not re.search("[\ue000\ue001]", text)


def test_index_and_library_are_small(site):
    static = site.folder / "_static"
    sizes = {
        name: len(gzip.compress((static / name).read_bytes()))
        for name in ("minisearch.js", "search.js", "search-index.js")
    }

    assert sizes["minisearch.js"] < 8_000
    assert sizes["search.js"] < 5_000
    assert sizes["search-index.js"] < 220_000


def test_what_is_marked_in_a_result_is_what_was_typed(browsing):
    page = browsing.page()
    page.goto("/search.html?q=cookie")
    expect(page.locator("#search-results mark").first).to_be_visible()

    marks = {text.lower() for text in page.locator("#search-results mark").all_inner_texts()}
    assert "cookie" in marks
    assert all("cookie" in text for text in marks)


@pytest.mark.parametrize(
    "typed", ["<img src=x onerror=alert(1)>", "((", "\\", "~0", "constructor", "🥧", "to be or"]
)
def test_nothing_that_is_typed_breaks_it(typed, browsing):
    page = browsing.page()
    page.goto("/search.html")
    found_on_page(page, f"{browsing.url}/", typed)

    expect(page.locator("#search-status")).to_have_text(re.compile(r"\w+ pages? found"))
    assert page.locator("article img").count() == 0


# --- What is loaded ----------------------------------------------------------------------------


def test_library_and_index_are_loaded_when_the_box_gets_the_focus(browsing):
    page = browsing.page()
    asked = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    page.goto("/index.html")
    page.wait_for_load_state("networkidle")
    assert not {"minisearch.js", "search-index.js"} & set(asked)

    page.focus(BOX)
    page.wait_for_function("window.SEARCH_INDEX")
    assert {"minisearch.js", "search-index.js"} <= set(asked)
    asked.clear()
    type_in_panel(page, "session")
    assert asked == []


def test_sphinx_brings_no_search_of_its_own(site):
    names = {path.name for path in site.folder.rglob("*.js")}

    assert not names & {
        "searchindex.js",
        "searchtools.js",
        "language_data.js",
        "sphinx_highlight.js",
    }
    for path in site.pages:
        text = (site.folder / path).read_text()
        assert "searchtools.js" not in text, path
        assert "sphinx_highlight.js" not in text, path


def test_it_works_from_files_without_a_server(browser, site):
    context = browser.new_context()
    page = context.new_page()
    wrong = noted_errors(page)
    page.goto((site.folder / "howto" / "uploads.html").as_uri())
    type_in_panel(page, "websockets")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"^file:.*/search\.html\?q=websockets"))

    found = found_on_page(page, f"{site.folder.as_uri()}/", "static files")
    assert found[0] == "howto/static-files"
    page.locator("#search-results a").first.click()
    page.wait_for_url(re.compile(r"/howto/static-files\.html$"))
    context.close()
    assert wrong == []


def test_failed_load_is_said_and_tried_again(browser, site):
    with served(site.folder) as url:
        context = browser.new_context(base_url=url)
        page = context.new_page()
        page.route("**/search-index.js", lambda route: route.abort())
        page.goto("/search.html?q=session")
        expect(page.locator("#search-status")).to_have_text("The search could not be loaded.")

        page.unroute("**/search-index.js")
        assert found_on_page(page, f"{url}/", "sessions")
        context.close()


def test_without_javascript_the_search_page_says_so(browser, site):
    with served(site.folder) as url:
        context = browser.new_context(base_url=url, java_script_enabled=False)
        page = context.new_page()
        page.goto("/index.html")
        page.fill(BOX, "session")
        page.press(BOX, "Enter")
        page.wait_for_url(re.compile(r"/search\.html\?q=session$"))

        expect(page.get_by_text("The search needs JavaScript")).to_be_visible()
        context.close()


# --- How it is used ----------------------------------------------------------------------------


def test_keyboard_is_enough(browsing):
    page = browsing.page()
    page.goto("/index.html")
    box = page.locator(BOX)
    page.keyboard.press("/")
    expect(box).to_be_focused()
    expect(box).to_have_attribute("aria-expanded", "false")
    page.keyboard.type("static fil")
    expect(box).to_have_attribute("aria-expanded", "true")
    options = page.get_by_role("option")
    expect(options.first).to_contain_text("Static files")
    expect(page.locator(".search-status")).to_contain_text("pages found")

    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(options.nth(1)).to_have_attribute("aria-selected", "true")
    assert box.get_attribute("aria-activedescendant") == options.nth(1).get_attribute("id")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert box.get_attribute("aria-activedescendant") == ""
    page.keyboard.press("ArrowUp")
    expect(options.last).to_have_attribute("aria-selected", "true")

    page.keyboard.press("Escape")
    expect(page.locator(".search-panel")).to_be_hidden()
    expect(box).to_have_attribute("aria-expanded", "false")
    expect(box).to_have_value("static fil")
    page.keyboard.type("es")
    page.keyboard.press("ArrowDown")
    expect(options.first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/howto/static-files\.html$"))


def test_enter_without_a_choice_shows_all_on_the_search_page(browsing):
    page = browsing.page()
    page.goto("/howto/uploads.html")
    type_in_panel(page, "session")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/search\.html\?q=session$"))

    expect(page.locator("#search-input")).to_have_value("session")
    expect(page.locator("#search-results a").nth(9)).to_be_visible()


def test_panel_closes_when_the_focus_leaves_and_results_can_be_clicked(browsing):
    page = browsing.page()
    page.goto("/index.html")
    type_in_panel(page, "middleware")
    page.locator("article h1").click()
    expect(page.locator(".search-panel")).to_be_hidden()
    page.locator(BOX).click()
    expect(page.locator(".search-panel")).to_be_visible()
    page.get_by_role("option").first.click()
    page.wait_for_url(re.compile(r"/howto/middleware\.html$"))


def test_search_page_keeps_what_is_typed_in_its_address(browsing):
    page = browsing.page()
    page.goto("/search.html?q=sessoin")
    expect(page.locator("#search-input")).to_have_value("sessoin")
    expect(page.locator("#search-results a").first).to_contain_text("ession")
    assert page.locator(BOX).count() == 0

    assert found_on_page(page, f"{browsing.url}/", "templates")[0] == "howto/templates"
    page.reload()
    expect(page.locator("#search-input")).to_have_value("templates")
    found_on_page(page, f"{browsing.url}/", "xqzzjkvwy")
    expect(page.locator("#search-status")).to_have_text("No pages found")
    page.fill("#search-input", "")
    expect(page.locator("#search-status")).to_be_hidden()
    assert page.url == f"{browsing.url}/search.html"


@pytest.mark.parametrize(
    ("size", "scheme"), [(NARROW, "dark"), (WIDE, "light"), (NARROW, "light"), (WIDE, "dark")]
)
def test_open_panel_and_search_page_fit_and_are_accessible(size, scheme, browsing):
    page = browsing.page()
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.set_viewport_size({"width": size[0], "height": size[1]})
    for address in ("/reference/statuses.html", "/search.html?q=session"):
        page.goto(address)
        page.add_style_tag(content="* { transition: none !important }")
        if "search" in address:
            expect(page.locator("#search-results mark").first).to_be_visible()
        else:
            type_in_panel(page, "session")
            page.keyboard.press("ArrowDown")
            expect(page.locator(".search-panel")).to_be_in_viewport(ratio=1)
            around = page.locator(".search-panel").bounding_box()
            assert around["x"] >= 0
            assert around["x"] + around["width"] <= size[0]
            assert around["y"] + around["height"] <= size[1]
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
        page.evaluate(AXE)
        page.evaluate(DRAWN)
        assert page.evaluate(RUN_AXE.replace("document", OF_SEARCH)) == []
