"""Finds the blocks of code on a page in Markdown, and says what becomes of each.

Blocks in directives and in lists count too.

A comment on the line before a block says what kind it is, `% kind: detail` or
`<!-- kind: detail -->`. The tests execute what this module finds, and the landing page says how
much that is.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.colon_fence import colon_fence_plugin
from myst_parser.parsers.options import options_to_items

WITH_ERRORS = ", with errors"  # at the end of `% server: ...`
COUNTED = {"python", "console", "pycon"}
DIRECTIVE = re.compile(r"\{(?P<name>[\w:-]+)\}\s*(?P<argument>.*)")
COMMENT = re.compile(r"^\s*(?:% (?P<myst>.+?)|<!-- (?P<html>.+?) -->)\s*$")
CODE = {"code-block", "code", "sourcecode"}
OPAQUE = {"eval-rst", "raw", "math", "toctree", "glossary"}  # what they hold is no Markdown
DOCTEST = {"doctest", "testcode", "testsetup", "testcleanup"}  # the doctest builder executes these
LANGUAGES = {
    ".py": "python",
    ".html": "html",
    ".js": "js",
    ".css": "css",
    ".sql": "sql",
    ".txt": "text",
}
TESTED = (
    "examples/",
    "tutorials/",
    "tests/",
    "benchmarks/",
    "docs/_ext/",
    "docs/howto/files/",
    "micropie.py",
    "README.md",
)
# Names that other sites give to the languages that are counted here. Under these names the blocks
# would go unnoticed.
ALIASES = {
    "py",
    "python3",
    "py3",
    "bash",
    "sh",
    "shell",
    "zsh",
    "shell-session",
    "ipython",
    "ipython3",
}


@dataclass(frozen=True)
class Block:
    """A block of code.

    Attributes:
        line: The line of the page on which the block begins, the first being 1.
        end: The line after its last one.
        comment: What the comment before it says, or "".
        language: As on the page; for an included file, what its name says.
        text: The code, "" for an included file.
        code_line: The line of the page on which the code begins.
        file: For an included file, its path from the page's folder.
        directive: The directive that it belongs to, or "".
    """

    line: int
    end: int
    comment: str
    language: str
    text: str
    code_line: int
    file: str = ""
    directive: str = ""

    @property
    def kind(self) -> str:
        """What the comment says first: `file`, `serves`, `not run` ..."""
        return self.comment.partition(":")[0]

    @property
    def detail(self) -> str:
        """What the comment says after the kind."""
        return self.comment.partition(":")[2].strip()

    @property
    def counted(self) -> bool:
        """Whether the block must be executed, included or excused."""
        return self.language in COUNTED or self.directive in DOCTEST


@dataclass(frozen=True)
class Comment:
    """A comment that stands alone and gives an order, as `% server: app.py` does."""

    line: int
    kind: str
    detail: str


def blocks(text: str) -> list[Block]:
    """Return all blocks of code of a page, in order."""
    return list(_blocks(text, text.split("\n"), 0))


def orders(text: str, kinds: Iterable[str]) -> list[Comment]:
    """Return a page's comments that are orders of these kinds, except those in blocks of code."""
    inside = {line for block in blocks(text) for line in range(block.line, block.end)}
    found = []
    for number, line in enumerate(text.split("\n"), 1):
        match = COMMENT.match(line)
        kind, colon, detail = (
            (match["myst"] or match["html"]).partition(":") if match else ("", "", "")
        )
        if colon and kind in kinds and number not in inside:
            found.append(Comment(number, kind, detail.strip()))
    return found


def _blocks(text: str, lines: list[str], offset: int) -> Iterator[Block]:
    """Find the blocks in a part of a page.

    Args:
        text: The part.
        lines: The lines of the whole page.
        offset: The lines of the page before this part.
    """
    for token in MarkdownIt("commonmark").use(colon_fence_plugin).parse(text):
        if token.type in {"fence", "colon_fence"} and token.map:
            yield from _fence(token, lines, offset)
        elif token.type == "code_block" and token.map:
            yield Block(
                token.map[0] + offset + 1,
                token.map[1] + offset + 1,
                "",
                "",
                token.content,
                token.map[0] + 1,
            )


def _fence(token: Token, lines: list[str], offset: int) -> Iterator[Block]:
    begin, end = (line + offset for line in token.map or (0, 0))
    comment = COMMENT.match(lines[begin - 1]) if begin else None
    said = (comment["myst"] or comment["html"]) if comment else ""
    directive = DIRECTIVE.match(token.info.strip())
    if directive is None:
        language = (token.info.split() or [""])[0]
        yield Block(begin + 1, end + 1, said, language, token.content, begin + 2)
        return
    name, argument = directive["name"], directive["argument"]
    chosen, content, skipped = options(token.content)
    first = begin + 2 + skipped
    if name == "literalinclude":
        language = chosen.get("language") or LANGUAGES.get(Path(argument).suffix, "")
        yield Block(begin + 1, end + 1, said, language, "", first, argument, name)
    elif name in CODE or name in DOCTEST:
        yield Block(begin + 1, end + 1, said, argument, content, first, "", name)
    elif name not in OPAQUE:
        yield from _blocks(content, lines, first - 1)


def options(content: str) -> tuple[dict[str, str], str, int]:
    """Split a directive's content into options and rest, with the count of lines before that."""
    lines = content.split("\n")
    end = 0
    if lines[0].strip() == "---":
        end = lines.index("---", 1) + 1
    else:
        while end < len(lines) and re.match(r":[\w-]+:", lines[end]):
            end += 1
    written = "\n".join(line.removeprefix(":") for line in lines[:end] if line.strip() != "---")
    found = dict(options_to_items(written)[0])
    while end < len(lines) - 1 and not lines[end].strip():
        end += 1
    return found, "\n".join(lines[end:]), end


# --- What is counted ---------------------------------------------------------------------------


def pages(root: Path) -> list[Path]:
    """Return all pages of the project whose code is executed: the site's, and the READMEs."""
    site = [
        path
        for path in (root / "docs").rglob("*.md")
        if not {"_build", "examples"} & set(path.parts[:-1])
    ]
    readmes = [
        root / "README.md",
        root / "examples" / "README.md",
        *root.glob("examples/*/README.md"),
        *root.glob("tutorials/**/*.md"),
    ]
    return sorted(site) + [path for path in readmes if path.exists()]


def state(block: Block) -> str:
    """Say what becomes of a block: `executed`, `included` or `excused`."""
    if block.kind == "not run":
        return "excused"
    return "included" if block.file or block.kind in {"from", "part of"} else "executed"


def count(root: Path) -> dict[str, int]:
    """Count the blocks of Python and of the console on all pages, by what becomes of them."""
    states = [
        state(block) for page in pages(root) for block in blocks(page.read_text()) if block.counted
    ]
    return {
        "all": len(states),
        **{name: states.count(name) for name in ("executed", "included", "excused")},
    }
