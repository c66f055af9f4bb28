"""Fail on any function longer than 60 lines: python .ci/check_functions.py [--max-tokens N] PATH...

Ruff bounds complexity (C901) and statements (PLR0915) but not lines. Counted are the lines from
``def`` to the last one of the body, without the docstring: explaining costs nothing.
``--max-tokens`` also bounds the size of each file. It is counted in tokens, because lines can be
made longer; comments, docstrings, line ends and indentation are free.
"""

import argparse
import ast
import io
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

MAX_LINES = 60
FREE = {"COMMENT", "DEDENT", "ENDMARKER", "INDENT", "NEWLINE", "NL"}


def lines_of(node: ast.stmt) -> range:
    """Return the numbers of a statement's lines."""
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def is_docstring(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Say whether a statement is a string that explains what is above it."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def count_tokens(source: str) -> int:
    """Count the tokens of a module that cost something."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if is_docstring(node)
        for line in lines_of(node)
    }
    count = depth = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        name = tokenize.tok_name[token.type]
        depth -= name == "FSTRING_END"
        # Since Python 3.12 an f-string is many tokens. Here it is one on every version.
        count += (
            name not in FREE | {"FSTRING_END"} and not depth and token.start[0] not in docstrings
        )
        depth += name == "FSTRING_START"
    return count


def complaints(path: Path, max_tokens: int | None) -> Iterator[str]:
    """Yield what is over a limit in one file."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source, filename=str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = len(lines_of(node)) - (
                len(lines_of(node.body[0])) if is_docstring(node.body[0]) else 0
            )
            if lines > MAX_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {lines} lines (at most {MAX_LINES})"
    if max_tokens is not None and (tokens := count_tokens(source)) > max_tokens:
        yield f"{path}: {tokens} tokens (at most {max_tokens})"


def main(arguments: list[str] | None = None) -> int:
    """Check the files and folders named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Fail on functions longer than 60 lines.")
    parser.add_argument(
        "--max-tokens", type=int, metavar="N", help="fail on files with more tokens, too"
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    options = parser.parse_args(arguments)
    found = False
    for path in options.paths:
        if not path.exists():
            parser.error(f"{path}: no such file or folder")
        for file in [path] if path.is_file() else sorted(path.rglob("*.py")):
            for complaint in complaints(file, options.max_tokens):
                found = True
                print(complaint)
    return int(found)


if __name__ == "__main__":
    sys.exit(main())
