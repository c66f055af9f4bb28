"""Pages of text as HTML: source with Pygments, and READMEs with markdown-it-py."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import TextLexer, get_lexer_by_name, get_lexer_for_filename
from pygments.style import Style
from pygments.token import (
    Comment,
    Generic,
    Keyword,
    Literal,
    Name,
    Number,
    Operator,
    String,
)
from pygments.util import ClassNotFound

# Returns where a link of a README leads to on these pages, None where that is nowhere.
Link = Callable[[str], str | None]
# The keyboard can scroll an element that is too wide, too.
SCROLLS = 'class="code" tabindex="0" role="region"'


class Light(Style):
    """On a light ground; each color has a contrast of at least 4.5 to it."""

    styles = {
        Comment: "italic #57606a",
        Comment.Preproc: "noitalic #953800",
        Keyword: "#8430b8",
        Name.Attribute: "#0550ae",
        Name.Builtin: "#0550ae",
        Name.Class: "bold #7a4200",
        Name.Decorator: "#7a4200",
        Name.Function: "bold #0550ae",
        Name.Tag: "#116329",
        Name.Variable: "#953800",
        Number: "#953800",
        Literal: "#953800",
        Operator.Word: "#8430b8",
        String: "#0a5a2c",
        Generic.Prompt: "bold #57606a",
    }


class Dark(Style):
    """The same on a dark ground."""

    styles = {
        Comment: "italic #9aa4b0",
        Comment.Preproc: "noitalic #ffa657",
        Keyword: "#d8b0ff",
        Name.Attribute: "#8cc8ff",
        Name.Builtin: "#8cc8ff",
        Name.Class: "bold #ffc46b",
        Name.Decorator: "#ffc46b",
        Name.Function: "bold #8cc8ff",
        Name.Tag: "#86d99b",
        Name.Variable: "#ffa657",
        Number: "#ffa657",
        Literal: "#ffa657",
        Operator.Word: "#d8b0ff",
        String: "#a2dcb2",
        Generic.Prompt: "bold #9aa4b0",
    }


def code_css() -> str:
    """Return the style sheet of code, for both color schemes."""
    light, dark = (
        "\n".join(HtmlFormatter(style=style).get_token_style_defs(".code"))
        for style in (Light, Dark)
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}"


def source_html(name: str, text: str) -> str:
    """Return a file with colors, each line an element.

    The style sheet numbers the lines, and `#line-7` leads to one.
    """
    try:
        lexer = get_lexer_for_filename(name, text, stripnl=False)
    except ClassNotFound:
        lexer = TextLexer(stripnl=False)
    if name.endswith(".html"):
        lexer = get_lexer_by_name("html+jinja", stripnl=False)
    # Pygments opens no element across lines.
    lines = highlight(text, lexer, HtmlFormatter(nowrap=True)).splitlines()
    return "".join(
        f'<span class="line" id="line-{number}">{line}\n</span>'
        for number, line in enumerate(lines, 1)
    )


def readme_html(text: str, link: Link) -> str:
    """Return a README, its links leading where `link` says."""
    tokens = _parser.parse(text)
    _redirect_links(tokens, link)
    return _parser.renderer.render(tokens, _parser.options, {})


def lead_html(text: str) -> str:
    """Return one paragraph without its links, for a place that is a link itself."""
    tokens = _parser.parseInline(text)
    _redirect_links(tokens, lambda _: None)
    return _parser.renderer.render(tokens, _parser.options, {})


def _redirect_links(tokens: Sequence[Token], link: Link) -> None:
    for token in tokens:
        if token.children is not None:
            token.children = list(_redirected(token.children, link))


def _redirected(tokens: Sequence[Token], link: Link) -> Iterator[Token]:
    """Yield a line's tokens, with links led elsewhere, and to each example's `name`."""
    target = None
    for token in tokens:
        if token.type == "link_open":
            target = link(str(token.attrs["href"]))
            token.attrs["href"] = target or ""
        if token.type == "code_inline" and token.content.isidentifier():
            example = link(f"../{token.content}/README.md")
            around = [
                Token("link_open", "a", 1, {"href": example or ""}),
                token,
                Token("link_close", "a", -1),
            ]
            yield from around if example else [token]
        elif target is not None or token.type not in {"link_open", "link_close"}:
            yield token


class _Renderer(RendererHTML):
    """Blocks that can be wider than a phone get a frame to scroll in."""

    def fence(self, tokens: Sequence[Token], idx: int, options: Any, env: Any) -> str:
        """Color a block of code."""
        token = tokens[idx]
        try:
            lexer = get_lexer_by_name(token.info.strip())
        except ClassNotFound:
            lexer = TextLexer()
        code = highlight(token.content, lexer, HtmlFormatter(nowrap=True))
        return f'<pre {SCROLLS} aria-label="Code">{code}</pre>\n'

    def table_open(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        """Begin the frame."""
        return (
            '<div class="table" tabindex="0" role="region" aria-label="Table">\n'
            "<table>\n"
        )

    def table_close(
        self, tokens: Sequence[Token], idx: int, options: Any, env: Any
    ) -> str:
        """End the frame."""
        return "</table>\n</div>\n"


_parser = MarkdownIt("js-default", renderer_cls=_Renderer)
