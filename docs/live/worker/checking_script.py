"""Reads JavaScript, as far as that goes without a browser.

The checks can't run the scripts of a page. So they split a script into its tokens, which leaves
comments out. That finds brackets and quotes without a partner, values that no comma separates, and
text that the script uses as HTML.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

PAIRS = {")": "(", "]": "[", "}": "{"}


def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text))


BEFORE_REGEX = _words("return typeof case in of delete void throw new else do await yield")
# A value can follow one of these words, or one of these words can follow a value.
KEYWORDS = BEFORE_REGEX | _words(
    "as async break catch class const continue debugger default export extends finally for from"
    " function get if import instanceof let set static switch try var while with"
)
HTML_PROPERTIES = frozenset({"innerHTML", "outerHTML"})
HTML_CALLS = _words("insertAdjacentHTML setHTMLUnsafe createContextualFragment write writeln")
PATTERNS = {
    "space": re.compile(r"\s+|//[^\n]*|/\*.*?\*/", re.S),
    "word": re.compile(r"[#@]?[^\W\d][\w$]*|\$[\w$]*"),
    "number": re.compile(r"\d[\w.]*|\.\d\w*"),
    "string": re.compile(r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.S),
    "regex": re.compile(r"/(?![*/])(?:[^\\/\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/[a-z]*"),
    "sign": re.compile(r"=>|\.\.\.|\?\.|[=!]==?|\+\+|--|&&=?|\|\|=?|\?\?=?|[-+*/%&|^<>]=?|.", re.S),
}
TEMPLATE = re.compile(r"(?:[^`\\$]|\\.|\$(?!\{))*", re.S)
VALUES = frozenset({"word", "number", "string"})


class ScriptError(Exception):
    """A script that no browser understands.

    Args:
        line: The line, from 1 on.
        text: What is wrong with it, in words.
    """

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.line = line
        self.text = text


@dataclass(frozen=True)
class Token:
    """One word, number, string, regular expression or sign of a script."""

    kind: str
    text: str
    line: int


class _Reader:
    """Splits a script into tokens."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.tokens: list[Token] = []
        self.open: list[Token] = []

    def read(self) -> list[Token]:
        """Return all tokens, or raise a ScriptError."""
        while self.at < len(self.source):
            self._next()
        if self.open:
            one = self.open[-1]
            raise ScriptError(one.line, f"The `{one.text}` in this line is never closed.")
        return self.tokens

    @property
    def line(self) -> int:
        return self.source.count("\n", 0, self.at) + 1

    def _next(self) -> None:
        if found := PATTERNS["space"].match(self.source, self.at):
            self.at = found.end()
            return
        here = self.source[self.at]
        if here == "`":
            self._template(self._add("template", "`"))
        elif here in "([{":
            self.open.append(self._add("sign", here))
        elif here in PAIRS:
            self._close(here)
        else:
            self._plain()

    def _add(self, kind: str, text: str) -> Token:
        token = Token(kind, text, self.line)
        self.tokens.append(token)
        self.at += len(text)
        return token

    def _plain(self) -> None:
        kinds = ["word", "number", "string", *(["regex"] if self._may_be_regex() else []), "sign"]
        for kind in kinds:
            if found := PATTERNS[kind].match(self.source, self.at):
                if found[0] in {'"', "'"} or self.source.startswith("/*", self.at):
                    what = "comment" if found[0].startswith("/") else "string"
                    raise ScriptError(self.line, f"A {what} in this line has no end.")
                self._add(kind, found[0])
                return

    def _may_be_regex(self) -> bool:
        """Tell if a `/` would start a regular expression here; behind a value it divides."""
        last = self.tokens[-1] if self.tokens else None
        if last is None or last.text in BEFORE_REGEX:
            return True
        return last.kind == "sign" and last.text not in PAIRS

    def _template(self, start: Token) -> None:
        """Read the text of a template string up to its end, or up to `${`."""
        found = TEMPLATE.match(self.source, self.at)
        assert found is not None  # it may be empty
        self._add("string", found[0])
        if self.source.startswith("${", self.at):
            self.open.append(self._add("sign", "${"))
        elif self.source.startswith("`", self.at):
            self._add("template", "`")
        else:
            raise ScriptError(start.line, "A string in this line has no end.")

    def _close(self, bracket: str) -> None:
        last = self.open.pop() if self.open else None
        if last is None:
            raise ScriptError(self.line, f"The `{bracket}` in this line closes nothing.")
        token = self._add("sign", bracket)
        if last.text == "${" and bracket == "}":
            self._template(token)
        elif last.text != PAIRS[bracket]:
            raise ScriptError(last.line, f"The `{last.text}` in this line is never closed.")


class Script:
    """The tokens of a script.

    Raises:
        ScriptError: A browser does not understand it, and a reader of tokens can tell.
    """

    def __init__(self, source: str) -> None:
        self.tokens = _Reader(source).read()
        for one, other in zip(self.tokens, self.tokens[1:], strict=False):
            if _must_be_separated(one, other):
                text = f"Something is missing in this line between `{one.text}` and `{other.text}`."
                raise ScriptError(other.line, text)

    def has(self, *texts: str) -> bool:
        """Tell if these tokens stand in the script, one behind the other."""
        found = [token.text for token in self.tokens]
        size = len(texts)
        return any(found[at : at + size] == list(texts) for at in range(len(found)))

    def has_string(self, value: str) -> bool:
        """Tell if one of the strings has this value."""
        return any(one.kind == "string" and one.text.strip("\"'") == value for one in self.tokens)

    def html(self) -> Iterator[Token]:
        """Yield each place where a text that is not always the same becomes HTML."""
        for at, token in enumerate(self.tokens[:-1]):
            rest = self.tokens[at + 1 :]
            if token.kind != "word":
                continue
            if token.text in HTML_PROPERTIES and rest[0].text in {"=", "+="}:
                if not _is_constant(rest[1:], token.line):
                    yield token
            elif token.text in HTML_CALLS and rest[0].text == "(" and self._is_html_call(at):
                yield token

    def _is_html_call(self, at: int) -> bool:
        """Tell if a call makes HTML of something else than strings."""
        if self.tokens[at].text.startswith("write") and self.tokens[at - 2].text != "document":
            return False
        for token in self.tokens[at + 2 :]:
            if token.text == ")":
                return False
            if token.kind not in {"string", "template"} and token.text != ",":
                return True
        return False


def _must_be_separated(one: Token, other: Token) -> bool:
    """Tell if two tokens can't stand side by side in a line."""
    if one.line != other.line or not {one.kind, other.kind} <= VALUES:
        return False
    return one.text not in KEYWORDS and other.text not in KEYWORDS


def _is_constant(tokens: list[Token], line: int) -> bool:
    """Tell if an expression is one string."""
    for token in tokens:
        if token.line != line or token.text in {";", "}", ")", ","}:
            return True
        if token.kind not in {"string", "template"}:
            return False
    return True
