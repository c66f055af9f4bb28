"""Each step, each guide and each example runs in the page, or its page says why it does not."""

import importlib
import re
from pathlib import Path

import pytest

from tests.processes import ROOT

DOCS = ROOT / "docs"
LIVE = re.compile(r"^[`:]{3,}\{live-(app|step)\} ", re.M)
WHY_NOT = re.compile(
    r"does\s+not\s+run\s+\[in\s+the\s+page\]\(\.\./explanation/live\.md\),\s+because\s+\w+"
)
PAGES = sorted(
    page
    for folder in ("tutorial", "howto")
    for page in (DOCS / folder).glob("*.md")
    if page.name != "index.md"
)
#: Each reason is a promise that these pages, and no others, cannot run.
NOT_LIVE = {
    "howto/debian": "it is about a server",
    "howto/object-storage": "it asks a server, the store",
    "howto/paas": "its sessions are in Redis",
    "tutorial/11-server": "it is about a server",
}


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).with_suffix("").as_posix()


def test_pages_that_are_not_live_are_the_known_ones() -> None:
    assert len(PAGES) > 60
    assert {name_of(page) for page in PAGES if not LIVE.search(page.read_text())} == set(NOT_LIVE)


@pytest.mark.parametrize("name", NOT_LIVE)
def test_a_page_that_is_not_live_says_why(name: str) -> None:
    text = " ".join((DOCS / f"{name}.md").read_text().split())
    assert WHY_NOT.search(text)
    assert f"because {NOT_LIVE[name]}" in text


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_live_page_does_not_say_why_not(page: Path) -> None:
    text = page.read_text()
    assert bool(LIVE.search(text)) != bool(WHY_NOT.search(text))


def test_each_example_is_live_or_has_a_reason() -> None:
    examples = importlib.import_module("micropie_examples")
    names = {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    assert examples.LIVE.keys() | examples.NOT_LIVE.keys() == names
    assert examples.LIVE.keys() & examples.NOT_LIVE.keys() == set()
    for name in examples.NOT_LIVE:
        assert WHY_NOT.search(examples._live(examples.Example(f"examples/{name}")))
