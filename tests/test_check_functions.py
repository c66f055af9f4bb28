"""The bounds of `make lint` on the length of functions and on the size of a module."""

import runpy

import pytest

from tests.processes import ROOT


def check(*arguments):
    """Run .ci/check_functions.py, which is in no package; return the exit status."""
    script = runpy.run_path(f"{ROOT}/.ci/check_functions.py")
    return script["main"]([str(argument) for argument in arguments])


def function_of(lines, docstring_lines=0):
    docstring = ['    """' + "\n" * (docstring_lines - 1) + '"""'] if docstring_lines else []
    return "\n".join(["def f():", *docstring, *["    pass"] * (lines - 1)]) + "\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [
        (function_of(60), 0),
        (function_of(61), 1),
        (function_of(60, docstring_lines=30), 0),
        ("class C:\n  x = 1\n", 0),
    ],
)
def test_function_fails_with_more_than_60_lines_without_its_docstring(
    tmp_path, source, status, capsys
):
    (tmp_path / "module.py").write_text(source)

    assert check(tmp_path) == status
    assert ("61 lines" in capsys.readouterr().out) == bool(status)


def test_path_that_does_not_exist_is_an_error(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        check(tmp_path / "missing")

    assert "no such file or folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "tokens"),
    [
        ("x = 1\n", 3),
        ('"""Text."""\n\n\nx = (  # why\n    1\n)\n', 5),
        ('def f(a):\n    """Text\n    and more.\n    """\n    return a\n', 8),
        ('class C:\n    x: int = 1\n    """Text."""\n', 8),
        ('x = f"{y!r:>{z}} and {f(1)}" + "text"\n', 5),
    ],
)
def test_file_fails_with_more_tokens_without_comments_docstrings_and_layout(
    tmp_path, source, tokens, capsys
):
    path = tmp_path / "module.py"
    path.write_text(source)

    assert check("--max-tokens", tokens, path) == 0
    assert check("--max-tokens", tokens - 1, path) == 1
    assert f"{tokens} tokens (at most {tokens - 1})" in capsys.readouterr().out
