"""Pages can be followed by copying: what a listing is, and what stands above it.

That they really work, the robot newcomer shows (tests/newcomer/).
"""

import collections
import importlib
import re

import pytest

from docs._ext.blocks import blocks, orders, pages
from tests.processes import ROOT

steps = importlib.import_module("docs._ext.steps")
DOCS = ROOT / "docs"
GUIDES = [path for path in sorted(DOCS.glob("howto/*.md")) if path.stem != "index"]
STEPS = sorted(DOCS.glob("tutorial/[0-9]*.md"))
WIDEST = 88  # columns: more would be cut at 1280 pixels
LONGEST = 2000  # words of prose


def name(page):
    return str(page.relative_to(ROOT))


def listed(page):
    """Return the whole files that a page shows, by name, in the order of the page."""
    found = collections.defaultdict(list)
    for block in blocks(page.read_text()):
        if block.kind == "file":
            found[block.detail].append(block.text)
    return found


@pytest.mark.parametrize("page", GUIDES + STEPS, ids=name)
def test_python_is_a_whole_file_or_an_excerpt_of_one(page):
    for block in blocks(page.read_text()):
        if block.language == "python" and not block.file:
            assert block.kind in {"file", "part of", "slow", "not run"}, (
                f"{name(page)}:{block.line}"
            )


@pytest.mark.parametrize("page", GUIDES + STEPS, ids=name)
def test_an_excerpt_stands_in_its_file(page):
    whole = listed(page)
    for block in blocks(page.read_text()):
        if block.kind == "part of":
            files = whole.get(block.detail)
            if files is None:
                files = [(ROOT / block.detail).read_text()]
            assert any(_stripped(block.text) in _stripped(file) for file in files), (
                f"{name(page)}:{block.line}: these lines are not in {block.detail}"
            )


def _stripped(text):
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def test_a_service_that_is_started_again_is_started_in_its_own_terminal():
    lines = [
        "redis-server --port 6379",
        "uvicorn other:app --port 8001",
        "uvicorn other:app --port 8002",
        "redis-server --port 6379 --appendonly yes",
        "REDIS_URL=redis://127.0.0.1:6379/0 taskiq worker tasks:broker",
        "REDIS_URL=redis://127.0.0.1:6379/0 taskiq scheduler tasks:scheduler",
    ]
    page = "\n".join(f"% service\n```console\n$ {line}\n```\n" for line in lines)

    captions = re.findall(":caption: (.*)", steps.visible(page, "howto/page", ROOT))
    new = "In another terminal, in the same folder"
    assert captions == [new, new, new, "In the terminal of redis-server", new, new]


@pytest.mark.parametrize("page", GUIDES, ids=name)
def test_a_guide_says_once_what_one_needs(page):
    assert len(re.findall(r"^```\{needs\}", page.read_text(), re.M)) == 1


@pytest.mark.parametrize("page", GUIDES + STEPS, ids=name)
def test_a_server_is_started_before_a_command_talks_to_it(page):
    text = page.read_text()
    starts = [order.line for order in orders(text, {"server"})]
    starts += [block.line for block in blocks(text) if block.kind in {"serves", "service"}]
    for block in blocks(text):
        talks = re.search(r"(?:127\.0\.0\.1|localhost):8", block.text)
        if block.language == "console" and talks and not block.kind:
            assert min(starts, default=10**6) < block.line, f"{name(page)}:{block.line}"


@pytest.mark.parametrize("page", pages(ROOT), ids=name)
def test_lines_of_code_are_not_cut(page):
    for block in blocks(page.read_text()):
        wide = [line for line in block.text.splitlines() if len(line) > WIDEST]
        assert wide == [], f"{name(page)}:{block.line}"


@pytest.mark.parametrize("page", GUIDES + STEPS, ids=name)
def test_a_page_is_read_in_ten_minutes(page):
    text = page.read_text()
    lines = text.split("\n")
    for block in blocks(text):
        lines[block.line - 1 : block.end - 1] = [""] * (block.end - block.line)
    assert len(" ".join(lines).split()) <= LONGEST
