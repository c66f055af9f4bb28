"""Fail on any function longer than 60 lines: python .ci/check_functions.py PATH...

Ruff bounds complexity (C901) and statements (PLR0915) but not lines. Counted are the lines from
``def`` to the last one of the body, without the docstring: explaining costs nothing.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MAX_LINES = 60


def python_files(path: Path) -> Iterator[Path]:
    """Yield the file itself, or every Python file under a folder."""
    if path.is_file():
        yield path
    else:
        yield from sorted(path.rglob("*.py"))


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Count the lines of a function, its decorators and its docstring left out."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


def too_long(path: Path) -> Iterator[str]:
    """Yield a complaint for each function of a file that is over the limit."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = code_lines(node)
            if lines > MAX_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines (at most {MAX_LINES})"


def main(arguments: list[str]) -> int:
    """Check the files and folders named on the command line; return the exit status."""
    paths = [Path(argument) for argument in arguments]
    for path in paths:
        if not path.exists():
            print(f"{path}: no such file or folder")
            return 2
    complaints = [complaint for path in paths for file in python_files(path) for complaint in too_long(file)]
    print(*complaints, sep="\n", end="\n" if complaints else "")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
