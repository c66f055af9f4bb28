"""The pages that show files of the project are about the same files, and their links lead there."""

import re

import pytest

from docs._ext.blocks import blocks
from tests.processes import ROOT

DOCS = ROOT / "docs"


def links(text):
    """Return the targets at the end of a page, by name."""
    return dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", text, flags=re.M))


@pytest.mark.parametrize(
    "page, file", [("contributing", "CONTRIBUTING.md"), ("security-policy", "SECURITY.md")]
)
def test_links_of_a_file_lead_to_files_in_the_repository_and_on_the_site(page, file):
    shown = (DOCS / f"{page}.md").read_text()
    text = (ROOT / file).read_text()
    included, site, own = f"```{{include}} ../{file}\n", links(shown), links(text)

    assert included in shown
    assert site.keys() == own.keys() == set(re.findall(r"\]\[([\w-]+)\]", text))
    assert re.findall(r"\]\((?!https:)", text) == []
    assert all((ROOT / target).is_file() for target in own.values())
    assert all((DOCS / target.removeprefix("path:")).is_file() for target in site.values())


def test_guide_to_mounting_has_the_lifespan_of_the_example():
    page = (DOCS / "howto" / "mounting.md").read_text()
    [listing] = [one.text for one in blocks(page) if one.comment == "file: lifespan.py"]

    assert listing == (ROOT / "examples" / "mounting" / "lifespan.py").read_text()


def test_there_are_twenty_questions_and_each_is_a_question():
    questions = re.findall(r"^### (.+)$", (DOCS / "faq.md").read_text(), flags=re.M)

    assert len(set(questions)) == 20
    assert all(question.endswith("?") for question in questions)
