"""The rules of tests/README.md that a program can check."""

import ast
import re

import pytest

from tests.processes import ROOT

FILES = {str(path.relative_to(ROOT)): path for path in sorted((ROOT / "tests").rglob("*.py"))}


def sleeps(text):
    """Return the lines on which a program waits for a time."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    named = [call for call in calls if re.search(r"\bsleep$", ast.unparse(call.func))]
    waiting = [call for call in named if [ast.unparse(argument) for argument in call.args] != ["0"]]
    return [text.split("\n")[call.lineno - 1] for call in waiting]


def imports(text):
    """Return the names of the modules that a module imports."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


@pytest.mark.parametrize("file", FILES)
def test_each_sleep_of_a_test_has_its_reason_on_its_line(file):
    assert [line for line in sleeps(FILES[file].read_text()) if "  # " not in line] == []


def test_all_tests_together_sleep_in_at_most_30_places():
    assert 0 < sum(len(sleeps(path.read_text())) for path in FILES.values()) <= 30


@pytest.mark.parametrize("file", FILES)
def test_no_file_of_tests_imports_a_test_module(file):
    assert [name for name in imports(FILES[file].read_text()) if re.match(r"tests\b.*\.test_", name or "")] == []
