"""The search of the site: an index of its sections, and a page to show what is found.

The index is a script, so that the search works in files too, without a server. MiniSearch searches
it in the browser, and `search.js` shows the results. Sphinx's own search is left out.

`_static/minisearch.js` is `dist/umd/index.js` of the npm package minisearch 7.2.0 (its SHA-256 is
03c27931eb603af1d3358579e9885eafdb6a2f5fa9929557b3e77d7e99d06d03), with its license above it, made
small by `esbuild --minify --target=es2020`, version 0.28.2.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata

INDEX = "_static/search-index.js"
#: Kinds of pages by their folders, each with what a match in it counts.
KINDS = {
    "tutorial": ("Tutorial", 1.0),
    "howto": ("Guide", 1.5),
    "explanation": ("Explanation", 0.9),
    "reference": ("Reference", 1.15),
    "examples": ("Example", 1.0),
}
OTHER = ("Guide", 1.3)
#: What a match counts in pages that mention everything.
OVERVIEWS = {
    "index": 0.5,
    "details": 0.6,
    "reference/changelog": 0.2,
    "reference/glossary": 0.4,
    "howto/security": 1.1,
    "explanation/comparison": 0.7,
    "explanation/source": 0.6,
}
OF_AN_INDEX = 0.5
OF_MOVING = 0.6
#: Regular expressions of words that are the same to a reader, and of words that are near to them.
SYNONYMS = [
    (
        "log[-_ ]?ins?|(?:log|sign)(?:ged|ging)?[-_ ]in|signin|log (?:people|somebody) in",
        "authenticat(?:e|ion)|sign(?:ed|ing)?[-_ ]?ups?|user[-_ ]accounts?|registration",
    ),
    (
        "log[-_ ]?outs?|(?:log|sign)(?:ged|ging)?[-_ ]out|signout|log (?:people|somebody) out",
        "log in and out",
    ),
    ("sse|server[-_ ]sent[-_ ]events?|eventsource", ""),
    ("web[-_ ]?sockets?|wss", ""),
    (
        "csrf|xsrf|cross[-_ ]site request forgery|forged posts?|foreign origins?",
        "other origins?|foreign page",
    ),
    ("env|dotenv|env(?:ironment)?[-_ ]?var(?:iable)?s?", "configuration|secrets"),
    ("databases?|db", "sql|sqlite3?|postgres(?:ql)?|mysql|sqlalchemy|orm"),
    (
        "uploads?|file[-_ ]?uploads?|uploading|take (?:one|several) files?",
        "multipart|send(?:ing)? files?",
    ),
    ("tls|ssl|https", "certificates?|certbot|let'?s[-_ ]encrypt"),
    ("install|installation|installing", "pip"),
    ("", "docker|dockerfile|containers?|podman"),
    ("deploy|deployment|deploying", "production|hosting"),
    ("tests?|testing|unit[-_ ]?tests?", "pytest|unittest"),
    ("templates?|templating", "jinja2?"),
    ("validation|validate|validating|validators?", "pydantic"),
    ("background[-_ ](?:tasks?|jobs?|workers?)", "celery|task queues?|taskiq|a?rq|dramatiq|huey"),
    (
        "(?:scheduled?|periodic|cron)[-_ ]?(?:jobs?|tasks?)|jobs on a schedule",
        "cron|apscheduler|celery beat",
    ),
    ("e-?mails?", "mails?|smtp"),
    ("daylight[- ]saving|summer time", "time[- ]?zones?"),
    ("static[-_ ]files?", "css|assets?|favicon"),
    ("socket[-_ .]?io", ""),
    ("errors?|exceptions?", ""),
    ("404|not[-_ ]found", "error pages?|refuse a request|HTTPError"),
    ("405|method not allowed", ""),
    ("type[-_ ]?hints?|annotations?|typing|typed", "mypy|pyright"),
    ("rate[-_ ]?limit(?:s|ing|er)?|throttl(?:e|ing)|limit how often", "too many requests|429"),
    ("threads?|threading|thread[-_ ]?pool", "blocking"),
    ("async|asyncio|asynchronous", "coroutines?|plain (?:functions?|handlers?)|async def"),
    ("logging|logs|logger|log (?:messages?|files?)", ""),
    ("", "lifespan|start[-_ ]?up|shut[-_ ]?down"),
    ("", "(?:reverse[-_ ])?prox(?:y|ies)|nginx|caddy"),
    ("i18n|internationali[sz]ation|locali[sz]ation", "translations?|gettext"),
    ("", "serverless|lambda|cloud functions?"),
    ("paas", "heroku|render\\.com|fly\\.io|railway"),
    ("openapi|swagger", "redoc"),
    ("redirects?|redirecting|303|302|send people on", ""),
    ("cors|cross[-_ ]origin resource sharing", "cross[-_ ]origin requests?"),
]
#: A heading of more pages than this says nothing of one of them.
COMMON = 4
SKIPPED = (
    addnodes.desc,
    addnodes.toctree,
    nodes.Invisible,
    nodes.caption,
    nodes.doctest_block,
    nodes.footer,
    nodes.image,
    nodes.literal_block,
    nodes.raw,
    nodes.rubric,
    nodes.section,
    nodes.system_message,
)
BOXES = {"needs", "browser-steps"}
TYPES = {"Type", "Return type"}
UNTITLED = {"See also", "The whole step"}
#: No reader searches for the name of a test below a claim, or for a measured number in a table.
NO_PROSE = re.compile(r"(?:\S+, )*tests/\S+::\S+|[\d,]+\.\d+[^a-zA-Z]*")
NOT_USED = ("searchtools.js", "language_data.js", "sphinx_highlight.js", "*-stemmer.js")
# A link without a text of its own gets the title of its page when all pages are read.
LINK = "\ue000{}\ue001"
LINKS = re.compile("\ue000(.*?)\ue001")

Entry = dict[str, str]


# --- What a page says --------------------------------------------------------------------------


def text_of(node: nodes.Node) -> str:
    """Return the text of a paragraph on one line, with marks for links that have none."""
    if isinstance(node, addnodes.pending_xref) and not node.astext().strip():
        return LINK.format(node["reftarget"])
    if isinstance(node, nodes.Text):
        return node.astext()
    if isinstance(node, nodes.raw):
        return ""
    return "".join(text_of(child) for child in node.children)


def prose(node: nodes.Node, apart: bool = False) -> Iterator[str]:
    """Find the paragraphs of a part of a page, without code.

    Args:
        node: The part.
        apart: Whether definitions are left out, which have entries of their own.
    """
    if isinstance(node, SKIPPED) or (apart and isinstance(node, nodes.definition_list)):
        return
    if type(node).__name__ == "sd_tab_label":
        return
    if isinstance(node, nodes.Element) and BOXES & set(node["classes"]):
        return
    if isinstance(node, nodes.field) and node.children[0].astext() in TYPES:
        return
    if isinstance(node, nodes.TextElement):
        text = " ".join(text_of(node).split())
        is_heading = isinstance(node, nodes.title) and isinstance(node.parent, nodes.section)
        if not is_heading and not NO_PROSE.fullmatch(text):
            yield text
        return
    for child in node.children:
        yield from prose(child, apart)


def joined(parts: Iterable[str]) -> str:
    """Join paragraphs that are not empty."""
    return " ".join(filter(None, parts))


def entries(page: str, doctree: nodes.document) -> Iterator[Entry]:
    """Find what is searched in a page: sections, names that it documents, definitions."""
    apart = page.startswith("reference/")
    for section in doctree.findall(nodes.section):
        title = section.next_node(nodes.title).astext()
        text = joined(part for child in section.children for part in prose(child, apart))
        anchor = section["ids"][0] if isinstance(section.parent, nodes.section) else ""
        above = section.parent
        path = []
        while isinstance(above, nodes.section) and isinstance(above.parent, nodes.section):
            path.insert(0, above.next_node(nodes.title).astext())
            above = above.parent
        if title not in UNTITLED:
            yield {"id": anchor, "title": title, "path": " › ".join(path), "text": text}
        for item in section.findall(nodes.definition_list_item) if apart else ():
            if _section(item) is section:
                terms = [term for term in item.children if isinstance(term, nodes.term)]
                ids = [name for term in terms for name in term["ids"]]
                yield {
                    "id": ids[0] if ids else section["ids"][0],
                    "title": ", ".join(term.astext() for term in terms),
                    "path": "" if title == doctree.next_node(nodes.title).astext() else title,
                    "text": joined(prose(item.children[-1])),
                }
    for described in doctree.findall(addnodes.desc):
        for signature in described.findall(addnodes.desc_signature):
            if signature.parent is described and signature["ids"]:
                content = described.children[-1]
                yield {
                    "id": signature["ids"][0],
                    "title": signature["fullname"],
                    "path": "",
                    "text": joined(part for child in content.children for part in prose(child)),
                }


def _section(node: nodes.Node) -> nodes.Node:
    while not isinstance(node, nodes.section):
        node = node.parent
    return node


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Keep what a page says with what Sphinx knows of it."""
    _kept(app.env)[app.env.docname] = list(entries(app.env.docname, doctree))


def _kept(env: BuildEnvironment) -> dict[str, list[Entry]]:
    if not hasattr(env, "micropie_search"):
        env.micropie_search = {}  # type: ignore[attr-defined]
    return env.micropie_search  # type: ignore[attr-defined, no-any-return]


def forget(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Forget a page that is gone, or is read anew."""
    _kept(env).pop(page, None)


def merge(app: Sphinx, env: BuildEnvironment, pages: set[str], other: BuildEnvironment) -> None:
    """Take over what another process has read."""
    _kept(env).update({page: _kept(other)[page] for page in pages if page in _kept(other)})


# --- The index ---------------------------------------------------------------------------------


def index(env: BuildEnvironment, leave_out: str) -> dict[str, Any]:
    """Make what the browser searches: pages, entries and synonyms."""

    def titled(match: re.Match[str]) -> str:
        name = match[1].partition("#")[0].removesuffix(".md")
        return env.titles[name].astext() if name in env.titles else ""

    pages, found = [], []
    for page, parts in sorted(_kept(env).items()):
        if page == leave_out:
            continue
        kind, weight = KINDS.get(page.partition("/")[0], OTHER)
        if page.endswith("/index"):
            weight *= OF_AN_INDEX
        if page.startswith("howto/moving"):
            weight *= OF_MOVING
        pages.append([page, env.titles[page].astext(), kind, OVERVIEWS.get(page, weight)])
        for part in parts:
            text = LINKS.sub(titled, part["text"])
            found.append([len(pages) - 1, part["id"], part["title"], part["path"], text])
    seen = Counter(title for _, _, title, _, _ in found)
    return {
        "pages": pages,
        "entries": found,
        "synonyms": SYNONYMS,
        "common": [title for title, number in seen.items() if number > COMMON],
    }


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Write the index as a script, and leave out what only Sphinx's own search needs."""
    if exception is not None or app.builder.format != "html":
        return
    made = index(app.env, app.config.notfound_pagename)
    text = json.dumps(made, ensure_ascii=False, separators=(",", ":"))
    (Path(app.outdir) / INDEX).write_text(f"window.SEARCH_INDEX={text};\n")
    for pattern in NOT_USED:
        for path in (Path(app.outdir) / "_static").glob(pattern):
            path.unlink()


def replace_search(app: Sphinx) -> None:
    """Keep Sphinx from indexing the pages, and from making its own page of results."""
    if app.builder.format == "html":
        app.builder.search = False  # type: ignore[attr-defined]


def mend_context(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say in each page that there is a search, and load nothing of Sphinx's own."""
    known = context["hasdoc"]
    context["hasdoc"] = lambda name: name == "search" or known(name)
    context["script_files"] = [
        file
        for file in context["script_files"]
        if not str(getattr(file, "filename", file)).endswith("sphinx_highlight.js")
    ]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the search to Sphinx."""
    app.add_js_file("search.js", loading_method="defer")
    app.add_css_file("search.css")
    app.connect("builder-inited", replace_search)
    app.connect("doctree-read", collect, priority=900)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("html-collect-pages", lambda app: [("search", {"title": "Search"}, "search.html")])
    app.connect("html-page-context", mend_context)
    app.connect("build-finished", write_index)
    return {
        "version": "1",
        "env_version": 1,
        "parallel_read_safe": True,
        "parallel_write_safe": True,
    }
