"""The built site: no warning, no network, no dead link, and no error in Chromium."""

import asyncio
import collections
import gzip
import html
import re
import shutil
import zipfile
from typing import Literal
from urllib.parse import urljoin

import pytest
from playwright.async_api import async_playwright

from tests.docs.looking import AXE, DRAWN, RUN_AXE, copied
from tests.docs.site import OWN_PAGES, Site, build, served
from tests.examples.browsing import FLAGS, NARROW, PATIENCE, WIDE, Browsing
from tests.processes import ROOT, chromium

Scheme = Literal["light", "dark"]
TABS = 3
# When it is over, the page's own listeners know the new size.
MAIN_PAGES = [
    "index.html",
    "tutorial/index.html",
    "howto/index.html",
    "explanation/index.html",
    "reference/index.html",
]
# Some pages have tens of thousands of coloured pieces of code, which take axe many seconds.
SIMPLIFY = """() => {
    document.querySelector(".sidebar-tree").remove();
    for (const code of document.querySelectorAll(".highlight pre"))
        code.textContent = code.textContent;
}"""
# The navigation, and the colours of code, are the same on all pages: axe looks at them on these.
LOOKED_AT_WHOLE = {
    *MAIN_PAGES,
    "tutorial/03-templates.html",
    "examples/sessions.html",
    "examples/socketio.html",
}


# --- What was built ----------------------------------------------------------------------------


def test_builds_without_a_warning_and_without_a_network(site):
    assert site.messages == ""


def test_doctest_builder_finds_no_failure(site, tmp_path):
    assert build("doctest", tmp_path, site.doctrees) == ""
    summary = (tmp_path / "output.txt").read_text()
    assert int(re.search(r"(\d+) tests\n", summary)[1]) > 20, summary


def test_every_link_and_anchor_leads_somewhere(site):
    problems = [site.problem(page, link) for page in site.pages.values() for link in page.links]

    assert sorted(filter(None, problems)) == []


def test_every_page_is_reached_by_links_from_the_first_one(site):
    reached, waiting = set(), {"index.html"}
    while waiting:
        page = site.pages[waiting.pop()]
        reached.add(page.path)
        paths = {urljoin(f"/{page.path}", link.partition("#")[0]) for link in page.links}
        waiting |= {path for path in site.pages if f"/{path}" in paths} - reached

    assert set(site.pages) - reached == {"404.html", "_modules/index.html"}


def test_every_page_has_a_title_a_heading_an_opening_and_a_social_card(site):
    for page in site.pages.values():
        assert page.title.strip(), page.path
        assert len(page.headings) == 1, page.path
        if page.path not in OWN_PAGES:
            assert len(page.opening.strip()) >= 40, (
                f"{page.path} says nothing before its first section"
            )
            assert (site.folder / page.meta["og:image"]).stat().st_size > 5_000, page.path
            assert page.meta["og:description"], page.path


def test_titles_tell_the_pages_apart(site):
    titles = collections.Counter(page.title for page in site.pages.values())

    assert [title for title, count in titles.items() if count > 1] == []


def test_landing_page_is_light(site):
    page = site.pages["index.html"]
    names = {
        link.partition("?")[0] for link in page.links if link.startswith(("_static", "_images"))
    }
    files = [site.folder / name for name in ("index.html", *names)]

    assert sum(len(gzip.compress(file.read_bytes(), 6)) for file in files) <= 60_000


def test_no_page_is_heavy(site):
    heavy = {
        path: (site.folder / path).stat().st_size
        for path in site.pages
        if not path.startswith("_modules/") and (site.folder / path).stat().st_size > 300_000
    }

    assert heavy == {}


def test_page_for_unknown_addresses_works_at_any_depth(site):
    links = [link for link in site.pages["404.html"].links if not link.startswith(("http", "#"))]

    assert links
    assert all(link.startswith("/") for link in links)


@pytest.mark.slow
def test_edit_links_lead_to_the_repository_if_it_is_known(site, tmp_path, monkeypatch):
    monkeypatch.setenv("READTHEDOCS_GIT_CLONE_URL", "https://github.com/example/pie.git")
    sources = {
        "reference/statuses": "docs/reference/statuses.md",
        "examples/forms": "examples/forms/README.md",
    }
    copy = shutil.copytree(site.folder, tmp_path / "copy")
    assert build("html", copy, site.doctrees, *(f"{page}.md" for page in sources)) == ""

    for page, source in sources.items():
        link = f'href="https://github.com/example/pie/edit/main/{source}"'
        assert link in (copy / f"{page}.html").read_text()


def test_page_of_the_source_holds_the_whole_module(site):
    text = (site.folder / "_modules" / "micropie.html").read_text()
    code = re.sub(
        r'<a class="viewcode-back".*?</a>|<[^>]+>',
        "",
        text[text.index("<pre>") : text.index("</pre>")],
    )

    assert html.unescape(code).split() == (ROOT / "micropie.py").read_text().split()


def test_llms_txt_lists_the_pages_and_the_full_text_has_the_included_code(site):
    listed = (site.folder / "llms.txt").read_text()
    whole = (site.folder / "llms-full.txt").read_text()

    for section in ("tutorial", "howto", "explanation", "reference", "examples"):
        assert f"{section}/index" in listed
    assert "class Root(App):" in whole
    assert "{literalinclude}" not in whole


def test_offline_copy_has_every_file_of_the_site(site):
    archive = site.folder / "_downloads" / "micropie-docs.zip"

    with zipfile.ZipFile(archive) as packed:
        names = {name.removeprefix("micropie-docs/") for name in packed.namelist()}

    built = {
        path.relative_to(site.folder).as_posix()
        for path in site.folder.rglob("*")
        if path.is_file()
    }
    missing = {name for name in built - names if "social_previews" not in name}
    assert missing == {".buildinfo", "_downloads/micropie-docs.zip"}
    assert "_downloads/micropie-docs.zip" in site.pages["index.html"].links


# --- In a browser ------------------------------------------------------------------------------


# The longest line of each block that is wider than its box.
CUT_LINES = """[...document.querySelectorAll("article .highlight > pre")]
  .filter((box) => box.checkVisibility() && box.scrollWidth > box.clientWidth + 1)
  .map((box) => box.innerText.split("\\n").sort((a, b) => b.length - a.length)[0])"""


def look_at(site: Site, paths: set[str], *looks: tuple[tuple[int, int], Scheme]) -> list[str]:
    """Open pages, several at a time, in sizes and colors; return what is wrong with them."""
    return asyncio.run(_look_at(site, sorted(paths), looks))


async def _look_at(site, waiting, looks):
    executable = chromium()
    wrong = []
    with served(site.folder) as url:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=executable, args=FLAGS)
            context = await browser.new_context(reduced_motion="reduce")
            await asyncio.gather(*(_tab(context, url, waiting, wrong, looks) for _ in range(TABS)))
            await browser.close()
    return wrong


async def _tab(context, url, waiting, wrong, looks):
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    current = ""
    page.on("pageerror", lambda error: wrong.append(f"{current}: {error}"))
    page.on(
        "console",
        lambda message: message.type == "error" and wrong.append(f"{current}: {message.text}"),
    )
    page.on(
        "request",
        lambda asked: (
            asked.url.startswith((url, "data:")) or wrong.append(f"{current}: {asked.url}")
        ),
    )
    while waiting:
        current = waiting.pop()
        await page.goto(f"{url}/{current}")
        await page.evaluate(AXE)
        # No colors between light and dark.
        await page.add_style_tag(content="* { transition: none !important }")
        for number, (size, scheme) in enumerate(looks):
            await page.set_viewport_size({"width": size[0], "height": size[1]})
            await page.emulate_media(color_scheme=scheme)
            await page.evaluate(DRAWN)
            shown = await page.evaluate("document.documentElement.scrollWidth")
            if shown > size[0]:
                wrong.append(f"{current} is {shown} pixels wide on a screen of {size[0]}")
            if size == WIDE and not current.startswith("_modules/"):
                cut = await page.evaluate(CUT_LINES)
                wrong += [f"{current} cuts a line of code: {line}" for line in cut]
            if number == 0 and current not in LOOKED_AT_WHOLE:
                await page.evaluate(SIMPLIFY)
            wrong += [
                f"{current}, {size}, {scheme}: {found}" for found in await page.evaluate(RUN_AXE)
            ]
    await page.close()


def test_page_of_each_kind_fits_and_is_accessible_on_a_dark_phone_and_a_light_desktop(site):
    assert set(site.pages) >= LOOKED_AT_WHOLE
    assert look_at(site, LOOKED_AT_WHOLE, (NARROW, "dark"), (WIDE, "light")) == []


@pytest.mark.slow
def test_every_page_fits_and_is_accessible_on_a_light_phone_and_a_dark_desktop(site):
    assert look_at(site, set(site.pages), (NARROW, "light"), (WIDE, "dark")) == []


@pytest.fixture
def browsing(browser, site):
    with served(site.folder) as url:
        session = Browsing(browser, url)
        yield session
        session.close()


def test_theme_switch_changes_the_colors_and_is_remembered(browsing):
    page = browsing.page()
    page.goto("/index.html")
    backgrounds = set()
    for _ in range(3):
        page.locator(".theme-toggle-content .theme-toggle").click()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        backgrounds.add((page.evaluate("document.body.dataset.theme"), background))

    assert {theme for theme, _ in backgrounds} == {"auto", "light", "dark"}
    assert len({color for _, color in backgrounds}) == 2
    page.reload()
    assert page.evaluate("document.body.dataset.theme") == page.evaluate(
        "localStorage.getItem('theme')"
    )


def test_copied_commands_have_no_prompt_and_no_output(browsing):
    page = browsing.page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=browsing.url)
    page.goto("/index.html")
    block = page.locator(".highlight-console").first
    assert "$ " in block.inner_text()
    block.hover()

    text = copied(page, block.locator(".copybtn"))
    shown = re.findall(r"^\$ (.+)$", block.inner_text(), flags=re.M)
    assert text.split("\n") == shown


def test_tips_of_terms_are_whole_sentences(site):
    found = set()
    for path in site.pages:
        text = (site.folder / path).read_text()
        found |= set(re.findall(r'<a class="[^"]*term-with-tip[^"]*"[^>]* title="([^"]+)"', text))

    assert len(found) > 20
    for tip in map(html.unescape, found):
        assert re.search(r"[\w)`][.!?]$", tip), tip
        assert not re.search(r" [.,:;!?)](?:\s|$)|\( |  |[:(]$", tip), tip


def test_term_shows_its_tip_on_hover_and_on_focus(browsing, site):
    with_terms = [
        path for path in site.pages if "term-with-tip" in (site.folder / path).read_text()
    ]
    assert len(with_terms) > 5
    page = browsing.page()
    page.goto(f"/{with_terms[0]}")
    term = page.locator("a.term-with-tip").first
    assert term.get_attribute("title") is None

    term.hover()
    assert len(page.locator("[role=tooltip]").inner_text()) > 20
    page.keyboard.press("Escape")
    assert page.locator("[role=tooltip]").count() == 0
    page.mouse.move(0, 0)
    term.focus()
    tip = page.locator("[role=tooltip]")
    assert term.get_attribute("aria-describedby") == tip.get_attribute("id")
    term.blur()
    assert tip.count() == 0


@pytest.mark.parametrize("path", MAIN_PAGES)
def test_printed_page_has_its_text_and_no_navigation(path, browsing):
    page = browsing.page()
    page.goto(f"/{path}")
    page.emulate_media(media="print")

    assert page.locator(".sidebar-drawer").is_hidden()
    assert page.locator("article h1").is_visible()
