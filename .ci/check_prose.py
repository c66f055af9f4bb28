"""Hold the prose to plain English: python .ci/check_prose.py [--list] PATH...

Read are the paragraphs of Markdown pages, and the docstrings and comments of Python modules. Each
rule has a limit per 1,000 words, which holds for each path by itself. A path that is over a limit
fails, and its sentences are listed; ``--list`` lists those of all paths. The limits are those that
the documentation of other frameworks keeps to.
"""

import argparse
import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

SUFFIXES = {".md", ".py"}
LEFT_OUT = {"_build", ".venv", "__pycache__"}
# Directives whose content is prose; that of all others is code, options or names.
PROSE = re.compile(r"\{(?:note|tip|warning|important|seealso|browser|tab-item|grid-item-card)\}")
DIRECTIVE_OPTION = re.compile(r"(?m)^:[\w-]+:.*$")
ROLE = re.compile(r"\{[\w:-]+\}$")
REST = "[^.!?]*"  # of the sentence

RULES: dict[str, tuple[re.Pattern[str], float]] = {
    "begins with what or who": (
        re.compile(
            rf"(?:^|(?<=[.!?] ))(?:What|Who|Whoever|Whatever|Whichever)\b(?!{REST}\?){REST}"
        ),
        0.2,
    ),
    "where for if": (
        re.compile(rf"\b[Ww]here (?:there|it|they|none|no|nothing|one|you)\b{REST}"),
        0.5,
    ),
    "somebody, nobody": (
        re.compile(rf"\b(?:some|any|every|no)body\b{REST}", re.I),
        0.3,
    ),
    "of its own": (re.compile(rf"\bof (?:its|their|your|our|his|her) own\b{REST}"), 0.2),
    "colon and clause": (re.compile(r"(?<=\w): (?:[a-z]+'?[a-z]* ){4,}[^.!?:]*"), 3.0),
}
IF = re.compile(r"\bif\b", re.I)
LEAST_IF = 4.0  # per 1,000 words: conditions say "if"


@dataclass
class Measured:
    """The words of a path, and what breaks a rule."""

    words: int = 0
    ifs: int = 0
    hits: dict[str, list[str]] = field(default_factory=lambda: {rule: [] for rule in RULES})

    def add(self, where: str, text: str) -> None:
        """Measure a paragraph."""
        self.words += len(text.split())
        self.ifs += len(IF.findall(text))
        for rule, (pattern, _) in RULES.items():
            self.hits[rule] += [f"{where}: {match[0]}" for match in pattern.finditer(text)]

    def rate(self, count: int) -> float:
        """Return a count per 1,000 words."""
        return count * 1000 / max(self.words, 1)

    def broken(self) -> list[str]:
        """Return the rules that are broken too often."""
        return [rule for rule, hits in self.hits.items() if self.rate(len(hits)) > RULES[rule][1]]


# --- Paragraphs --------------------------------------------------------------------------------


def markdown(text: str, offset: int = 0) -> Iterator[tuple[int, str]]:
    """Yield line and text of each paragraph of a page, without code."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    for token in tokens:
        if token.type == "fence" and token.map and PROSE.match(token.info.strip()):
            content = DIRECTIVE_OPTION.sub("", token.content)
            yield from markdown(content, offset + token.map[0] + 1)
    yield from _paragraphs(tokens, offset)


def _paragraphs(tokens: list[Token], offset: int) -> Iterator[tuple[int, str]]:
    inside: list[str] = []
    for token in tokens:
        if token.nesting == 1:
            inside.append(token.type)
        elif token.nesting == -1:
            inside.pop()
        # Headings and cells of tables are no sentences; a fence of colons looks like a paragraph.
        elif token.type == "inline" and inside[-1] == "paragraph_open" and token.map:
            text = _plain(token)
            if not text.startswith((":::", "%")):
                yield token.map[0] + 1 + offset, text


def _plain(token: Token) -> str:
    """Return the words of a paragraph, with `x` for code."""
    parts: list[str] = []
    for child in token.children or []:
        match child.type:
            case "code_inline":
                if parts:
                    parts[-1] = ROLE.sub("", parts[-1])
                parts.append("x")
            case "softbreak" | "hardbreak":
                parts.append(" ")
            case "text":
                parts.append(child.content)
    return " ".join("".join(parts).split())


def python(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and text of each paragraph of a module's docstrings, and of its comments."""
    for node in ast.walk(ast.parse(source)):
        body = getattr(node, "body", None)
        for part in body if isinstance(body, list) else []:
            match part:
                case ast.Expr(value=ast.Constant(value=str() as text)):
                    yield from _docstring(text, part.lineno)
    comment: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#"):
            first = first if comment else token.start[0]
            comment.append(token.string.lstrip("# "))
        elif token.type not in {tokenize.NL, tokenize.COMMENT} and comment:
            yield first, " ".join(comment)
            comment = []


def _docstring(text: str, line: int) -> Iterator[tuple[int, str]]:
    text = re.sub(r"(?m)^\s*(?:>>>|\.\.\.).*$", "", text)
    for block in text.split("\n\n"):
        yield line, " ".join(re.sub(r"``?[^`]*``?", "x", block).split())
        line += block.count("\n") + 2


# --- Command line ------------------------------------------------------------------------------


def measured(path: Path) -> Measured:
    """Measure a file, or all files of a folder."""
    found = Measured()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.suffix in SUFFIXES and file.is_file() and not LEFT_OUT & set(file.parts):
            source = file.read_text()
            for line, text in (markdown if file.suffix == ".md" else python)(source):
                found.add(f"{file}:{line}", text)
    return found


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Hold the prose to plain English.")
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--list", action="store_true", help="list all sentences")
    options = parser.parse_args()
    failed = False
    for path in options.paths:
        found = measured(path)
        broken = found.broken()
        few = found.words > 1000 and found.rate(found.ifs) < LEAST_IF
        for rule in RULES if options.list else broken:
            for hit in found.hits[rule]:
                print(f"{rule}: {hit}")
        if broken or few or options.list:
            rates = [f"{rule} {found.rate(len(hits)):.1f}" for rule, hits in found.hits.items()]
            rates.append(f"if {found.rate(found.ifs):.1f} (at least {LEAST_IF:.0f})")
            print(f"{path}: {found.words:,} words; per 1,000 words: {', '.join(rates)}")
        failed = failed or bool(broken) or few
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
