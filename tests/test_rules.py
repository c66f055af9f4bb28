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
def test_file_of_tests_has_a_reason_for_each_sleep_and_imports_no_test_module(file):
    text = FILES[file].read_text()
    assert [line for line in sleeps(text) if "  # " not in line] == []
    assert [name for name in imports(text) if re.match(r"tests\b.*\.test_", name or "")] == []


def test_all_tests_together_sleep_in_at_most_30_places():
    assert 0 < sum(len(sleeps(path.read_text())) for path in FILES.values()) <= 30
