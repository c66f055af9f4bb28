"""A reader who types the tutorial's pages, in order, ends with each step's code exactly."""

import re

import pytest
from sphinx.config import Config
from sphinx.directives.code import LiteralIncludeReader

from docs._ext.blocks import blocks, options
from tests.processes import ROOT
from tests.tutorials import steps

PAGES = [ROOT / "docs" / "tutorial" / f"{name}.md" for name in steps.STEPS]
HUNK = re.compile(r"@@ -(?P<line>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@")
DOWNLOAD = re.compile(r"\{download\}`(?P<name>[^`<]+) <(?P<file>[^>]+)>`")


def shown_on(page):
    """Yield the name of each file on a page, the text that is shown, and if it is a difference."""
    lines = page.read_text().split("\n")
    for block in blocks("\n".join(lines)):
        if block.directive == "literalinclude":
            chosen, _, _ = options("\n".join(lines[block.line : block.end - 2]))
            assert chosen.keys() <= {"diff", "language", "caption"}, (
                f"{page}: a part of a file cannot be typed"
            )
            base = (
                {"diff": str((page.parent / chosen["diff"]).resolve())} if "diff" in chosen else {}
            )
            text, _ = LiteralIncludeReader(
                str((page.parent / block.file).resolve()), base, Config()
            ).read()
            name = chosen["caption"].removesuffix(": what changes")
            assert ("what changes" in chosen["caption"]) == bool(base), chosen["caption"]
            yield name, text, bool(base)


def typed(page, files):
    """Return the files after a reader has done what a page says."""
    after = dict(files)
    for name, text, is_difference in shown_on(page):
        if is_difference:
            after[name] = patched(after[name], text)
        else:
            assert name not in after, f"{page}: {name} is there already: show the difference"
            after[name] = text.encode()
    for match in DOWNLOAD.finditer(page.read_text()):
        after[match["name"]] = (page.parent / match["file"]).read_bytes()
    return after


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


def test_files_typed_from_the_pages_are_those_of_each_step():
    files = {}
    for page, name in zip(PAGES, steps.STEPS, strict=True):
        files = typed(page, files)
        expected = steps.files_of(name)
        assert files.keys() == expected.keys(), page.name
        for path, content in expected.items():
            assert files[path] == content, f"{page.name}: {path}"
    assert files == steps.files_of("10-deployment")


def test_difference_that_does_not_fit_the_file_is_an_error():
    difference = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n one\n-two\n+three\n"
    assert patched(b"one\ntwo\nfour\n", difference) == b"one\nthree\nfour\n"
    with pytest.raises(AssertionError, match="line 2"):
        patched(b"one\n2\nfour\n", difference)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page_of_a_step_has_title_picture_summary_example_and_next_link(page):
    text = page.read_text()
    number = int(page.name[:2])
    assert text.startswith(f"# {number}. ")
    assert f"../images/tutorial/{page.name[:2]}.png" in text
    assert "**You have learned**" in text
    assert f"```{{example}} tutorials/{page.stem}\n" in text
    following = f"({steps.STEPS[number]}.md)" if number < 10 else "(../examples/index.md)"
    assert following in text
