"""The pages of the site are true: their code is executed, and its output compared."""

import ast

import pytest
from sybil import Document
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser

import micropie
from docs._ext.blocks import ALIASES, Block, blocks, count, orders, pages, state
from docs._ext.blocks import TESTED as TESTED_FILES
from tests.docs.running import PageRun
from tests.processes import ROOT

DOCS = ROOT / "docs"
PAGES = [page for page in pages(ROOT) if page.is_relative_to(DOCS)]
# README.md and those of the examples have their own tests: tests/test_readme.py,
# tests/examples/test_readmes.py.
OTHERS = [page for page in pages(ROOT) if page not in PAGES]
KINDS = {"", "file", "part of", "server", "serves", "service", "not run", "from", "slow"}


def name(page):
    return str(page.relative_to(ROOT))


def executable(page):
    text = page.read_text()
    return any(block.counted and state(block) == "executed" for block in blocks(text)) or orders(
        text, {"server"}
    )


@pytest.mark.parametrize("page", [page for page in PAGES if executable(page)], ids=name)
def test_code_of_a_page_does_what_the_page_shows(page, tmp_path, services):
    PageRun(page, tmp_path, services).execute()


# --- the docstrings ----------------------------------------------------------------------------


def docstrings():
    """Yield name and text of everything in the module that is a string with an example."""
    tree = ast.parse((ROOT / "micropie.py").read_text())
    for node in ast.walk(tree):
        previous = None
        for child in (
            getattr(node, "body", []) if isinstance(getattr(node, "body", None), list) else []
        ):
            match child:
                case ast.Expr(value=ast.Constant(value=str() as text)) if ">>>" in text:
                    owner = previous if isinstance(previous, ast.AnnAssign | ast.Assign) else node
                    targets = getattr(owner, "targets", [getattr(owner, "target", None)])
                    label = getattr(owner, "name", None) or getattr(targets[0], "id", "module")
                    yield pytest.param(text, child.value.lineno, id=f"{label}-{child.lineno}")
            previous = child


@pytest.mark.parametrize("text, line", list(docstrings()))
def test_example_of_a_docstring_prints_what_it_shows(text, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = Document(text, f"{ROOT / 'micropie.py'}, {line} lines before")
    for region in DocTestStringParser(DocTestEvaluator())(text, document.path):
        document.add(region)
    exec("import asyncio, io, time\nimport micropie\nfrom micropie import *", document.namespace)

    for example in document:
        example.evaluate()


@pytest.mark.parametrize("public", micropie.__all__)
def test_docstring_of_a_public_name_has_an_example(public):
    names = {parameter.id.partition("-")[0] for parameter in docstrings()}

    assert public in names


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lines_of_python_fit_on_the_page(page):
    found = blocks(page.read_text())
    lines = [line for one in found if one.language == "python" for line in one.text.splitlines()]

    assert [line for line in lines if len(line) > 88] == []


# --- what is counted ---------------------------------------------------------------------------


def test_every_block_is_executed_included_or_excused_with_a_reason():
    counted = count(ROOT)

    assert counted["executed"] > 0
    assert counted["excused"] <= 0.05 * counted["all"]


@pytest.mark.parametrize("page", PAGES + OTHERS, ids=name)
def test_every_block_has_a_language_and_a_known_comment(page):
    for block in blocks(page.read_text()):
        where = f"{name(page)}:{block.line}"
        assert block.language not in ALIASES, (
            f"{where}: write python or console, which are executed"
        )
        assert block.language or block.directive or block.text.count("\n") < 1, (
            f"{where}: a block needs its language"
        )
        if block.counted:
            assert block.kind in KINDS, f"{where}: no test knows what {block.comment!r} means"
            assert block.detail or block.kind in {"", "serves", "service"}, (
                f"{where}: no reason is given"
            )
            assert not block.file or is_tested(page, block), f"{where}: no test runs {block.file}"


def is_tested(page, block: Block) -> bool:
    """Say whether an included file is one that tests run."""
    path = (page.parent / block.file).resolve()
    return path.is_file() and str(path.relative_to(ROOT)).startswith(TESTED_FILES)


def test_no_page_has_code_in_restructuredtext():
    for page in PAGES:
        assert "code-block::" not in page.read_text(), (
            f"{name(page)}: use a fence, or no test executes it"
        )
