"""A reader who copies the files of the tutorial's pages, in order, has each step's code exactly."""

import importlib
import re
import subprocess
import sys
import zipfile

import pytest
from bs4 import BeautifulSoup
from sphinx.config import Config
from sphinx.directives.code import LiteralIncludeReader

from docs._ext.blocks import orders
from tests.processes import ROOT
from tests.tutorials import steps

StepFile = importlib.import_module("docs._ext.micropie_tutorial").StepFile
PAGES = [ROOT / "docs" / "tutorial" / f"{name}.md" for name in steps.STEPS]
LARGEST = 300_000  # bytes of a built page
HUNK = re.compile(r"@@ -(?P<line>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
SHOWN = re.compile(r"^```\{step-file\} (?P<path>\S+)\n```$", re.M)


def shown_on(page):
    """Return the files that a page shows, in order."""
    return [StepFile(match["path"]) for match in SHOWN.finditer(page.read_text())]


def difference(file):
    """Return what the second tab of a file shows."""
    reader = LiteralIncludeReader(str(file.source), {"diff": str(file.before.source)}, Config())
    return reader.read()[0]


def patched(content, difference):
    """Apply a unified difference, checking each line that it takes away or leaves."""
    before = content.decode().splitlines(keepends=True)
    after, at = [], 0
    for line in difference.splitlines(keepends=True):
        if hunk := HUNK.match(line):
            start = int(hunk["line"]) - 1
            after += before[at:start]
            at = start
        elif line.startswith(("--- ", "+++ ")) and not after and at == 0:
            continue
        elif line.startswith("+"):
            after.append(line[1:])
        else:
            assert before[at] == line[1:], f"line {at + 1} is {before[at]!r}, and not {line[1:]!r}"
            after += [before[at]] if line.startswith(" ") else []
            at += 1
    return "".join(after + before[at:]).encode()


def test_each_step_has_a_page_in_the_order_of_the_index():
    assert [page.name for page in PAGES if not page.exists()] == []
    index = (ROOT / "docs" / "tutorial" / "index.md").read_text()
    assert re.findall(r"^(\d\d-[\w-]+)$", index, re.M) == steps.STEPS
    assert re.findall(r"\((\d\d-[\w-]+)\.md\)", index) == [*steps.STEPS, steps.STEPS[0]]


@pytest.mark.parametrize("number", range(len(steps.STEPS)), ids=steps.STEPS)
def test_page_shows_each_file_that_is_new_or_changed_and_no_other(number):
    before = steps.files_of(steps.STEPS[number - 1]) if number else {}
    after = steps.files_of(steps.STEPS[number])
    shown = shown_on(PAGES[number])

    assert sorted(file.name for file in shown) == sorted(
        name for name in after if after[name] != before.get(name)
    )
    for file in shown:
        assert file.path.split("/")[1] == steps.STEPS[number]
        if file.before:
            assert patched(before[file.name], difference(file)) == after[file.name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_all_files_come_before_the_first_start(page):
    text = page.read_text()
    [start] = orders(text, {"server"})

    assert start.detail == f"tutorials/{page.stem}"
    last = list(SHOWN.finditer(text))[-1]
    assert text.count("\n", 0, last.start()) < start.line


def test_new_lines_are_those_that_the_step_before_does_not_have():
    file = StepFile("tutorials/04-sessions/app.py")
    old, new = (one.source.read_text().splitlines() for one in (file.before, file))
    marked = {new[number - 1] for number in file.new_lines()}

    assert "    async def _too_old(self) -> tuple[int, str]:" in marked
    assert [line for line in new if line not in old and line not in marked] == []
    kept = [line for number, line in enumerate(new, 1) if number not in file.new_lines()]
    assert [line for line in kept if line not in old] == []
    assert StepFile("tutorials/04-sessions/templates/too_old.html").before is None


def test_difference_that_does_not_fit_the_file_is_an_error():
    difference = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    assert patched(b"one\ntwo\nfour\n", difference) == b"one\nthree\nfour\n"
    with pytest.raises(AssertionError, match="line 2"):
        patched(b"one\n2\nfour\n", difference)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_of_a_step_has_title_picture_summary_download_and_next_link(page):
    text = page.read_text()
    number = int(page.name[:2])
    assert text.startswith(f"# {number}. ")
    assert f"../images/tutorial/{page.name[:2]}.png" in text
    assert "**You have learned** " in text
    assert f"```{{step-archive}} tutorials/{page.stem}\n" in text
    following = (
        f"({steps.STEPS[number]}.md)" if number < len(steps.STEPS) else "(../examples/index.md)"
    )
    assert following in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_of_the_files_fit_on_the_page(page):
    lines = [line for file in shown_on(page) for line in file.source.read_text().splitlines()]
    assert [line for line in lines if len(line) > 88] == []


# --- The built pages ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", steps.STEPS)
def test_first_tab_of_the_built_page_is_the_whole_file_with_marks(site, name):
    path = site.folder / "tutorial" / f"{name}.html"
    assert path.stat().st_size < LARGEST
    page = BeautifulSoup(path.read_text(), "html.parser")
    tabs = [one.select(".sd-tab-content")[0] for one in page.select(".sd-tab-set")]
    shown = shown_on(ROOT / "docs" / "tutorial" / f"{name}.md")

    assert len(tabs) == len(shown)
    for tab, file in zip(tabs, shown, strict=True):
        assert tab.select_one(".caption-text").get_text() == file.name
        assert tab.select_one("[class*=highlight-].file pre").get_text() == file.source.read_text()
        assert len(tab.select(".hll")) == (len(file.new_lines()) if file.before else 0)


@pytest.mark.parametrize("name", steps.STEPS)
def test_archive_of_a_step_installs_micropie_from_its_own_folder(site, name, tmp_path):
    with zipfile.ZipFile(site.folder / "_downloads" / "tutorials" / f"{name}.zip") as packed:
        packed.extractall(tmp_path)
    folder = tmp_path / name
    [wheel] = folder.glob("micropie-*.whl")
    (folder / "LICENSE").unlink()
    contents = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path != wheel
    }

    assert contents == steps.files_of(name)
    wanted = [
        line
        for line in (folder / "requirements.txt").read_text().splitlines()
        if "micropie" in line
    ]
    (folder / "one.txt").write_text("--find-links .\n" + wanted[-1].replace("[all]", "") + "\n")
    result = subprocess.run(
        [
            *[sys.executable, "-m", "pip", "install", "--no-index", "--dry-run", "--no-deps"],
            *["--ignore-installed", "-r", "one.txt"],
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert f"Would install {wheel.name.split('-py3')[0]}" in result.stdout, result.stderr


def test_text_of_the_site_has_the_files(site):
    text = (site.folder / "_sources" / "tutorial" / "04-sessions.md.txt").read_text()

    assert "{step-" not in text
    assert (steps.TUTORIALS / "04-sessions" / "app.py").read_text() in text
