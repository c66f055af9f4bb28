"""Texts of authors: cleaned, as HTML, as excerpts."""

import functools
import html
import re
import unicodedata
from collections.abc import Iterator

from markdown_it import MarkdownIt
from markdown_it.token import Token

from models import SLUG_LENGTH, TAG_LENGTH

LONGEST = 100_000  # characters of a post
# With more of them, or of straight quotes, the HTML takes seconds.
BRACKETS_AT_MOST = 10_000
QUOTES_AT_MOST = 5_000
TAGS_AT_MOST = 8
PICTURE = re.compile(
    r"/picture/(?P<name>[0-9a-f]{32}-(?P<width>\d{1,5})x(?P<height>\d{1,5})\.webp)"
)
# A search for a whole picture would go to the end of the text from each ``![``.
_MARKS = re.compile(rf"\\.|!\[|\]\(({PICTURE.pattern})\)|\]", re.DOTALL)

# XML and PostgreSQL cannot hold these, and a feed and a query must not break on them.
_UNUSABLE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd\U00010000-\U0010ffff]"
)
# Stands for the address of the blog, and is in no text: `clean` takes it out.
_BASE = "\ufdd0"
_markdown = MarkdownIt(
    "js-default",
    {"html": False, "linkify": False, "typographer": True, "maxNesting": 20},
)


def clean(text: str) -> str:
    """Return a text with line feeds alone, and without control characters."""
    return _UNUSABLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n")).strip()


def clean_line(text: str) -> str:
    """Return a text as one line."""
    return " ".join(clean(text).split())


def slug_of(title: str) -> str:
    """Return the form of a title in an address."""
    ascii_only = (
        unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    )
    return (
        re.sub(r"[^a-z0-9]+", "-", ascii_only)[: SLUG_LENGTH - 10].strip("-") or "post"
    )


def tags_of(text: str) -> list[str]:
    """Return the tags in a list with commas, each one once."""
    words = (
        re.sub(r"[\W_]+", "-", word.casefold())[:TAG_LENGTH].strip("-")
        for word in clean_line(text).split(",")
    )
    return list(dict.fromkeys(word for word in words if word))


def minutes_to_read(body: str) -> int:
    """Return how long it takes to read a text, at 220 words a minute."""
    return max(1, round(len(body.split()) / 220))


def is_slow(body: str) -> bool:
    """Return whether a text has so many marks that its HTML would take seconds."""
    return (
        body.count("[") > BRACKETS_AT_MOST
        or body.count('"') + body.count("'") > QUOTES_AT_MOST
    )


def html_of(body: str, base: str) -> str:
    """Return Markdown as HTML; HTML inside it stays text.

    Args:
        body: The Markdown.
        base: The prefix of the paths of this blog: the place of its mount, or in a
            feed its whole address.
    """
    return _rendered(body).replace(_BASE, html.escape(base))


@functools.lru_cache(64)
def _rendered(body: str) -> str:
    # One for all addresses. Otherwise each name that a request gives its host would
    # cost the work again.
    tokens = _markdown.parse(body)
    for token in tokens:
        if token.type in {"heading_open", "heading_close"}:
            # The title of the post is the h1.
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        for child in token.children or ():
            _adapt(child)
    text: str = _markdown.renderer.render(tokens, _markdown.options, {})
    # If these are wider than a phone, they scroll, and so the keyboard must reach
    # them.
    text = text.replace("<pre><code", '<pre tabindex="0"><code')
    return text.replace("<table>", '<div class="wide" tabindex="0"><table>').replace(
        "</table>", "</table></div>"
    )


def _adapt(token: Token) -> None:
    if token.type == "link_open":
        target = str(token.attrs["href"])
        if re.match(r"/(?![/\\])", target):
            token.attrs["href"] = _BASE + target
        elif not target.startswith("#"):
            token.attrs["rel"] = "nofollow noopener"
    elif token.type == "image":
        picture = PICTURE.fullmatch(str(token.attrs["src"]))
        if picture:
            size = {name: picture[name] for name in ("width", "height")}
            token.attrs |= {
                "src": _BASE + picture[0],
                **size,
                "loading": "lazy",
                "decoding": "async",
            }
        else:  # a picture on another site would tell that site who reads this
            token.type, token.tag, token.nesting = "text", "", 0
            token.content = f"[{token.content}]"


@functools.lru_cache(256)
def excerpt_of(body: str, longest: int = 240) -> str:
    """Return the first paragraph as plain text, cut between words."""
    text = ""
    for token in _paragraphs(_markdown.parse(body[:2000])):
        text = "".join(
            " " if child.type in {"softbreak", "hardbreak"} else child.content
            for child in token.children or ()
            if child.type != "image"
        ).strip()
        if text:
            break
    return (
        text
        if len(text) <= longest
        else text[:longest].rsplit(" ", 1)[0].rstrip(",;:–- ") + " …"
    )


def _paragraphs(tokens: list[Token]) -> Iterator[Token]:
    for before, token in zip(tokens, tokens[1:], strict=False):
        if before.type == "paragraph_open":
            yield token


def first_picture_of(body: str) -> str | None:
    """Return the path of the first picture in a text."""
    begun = False
    for found in _MARKS.finditer(body):
        if begun and found[1]:
            return found[1]
        if found[0] == "![":
            begun = True
        elif found[0].startswith("]"):
            begun = False
    return None
