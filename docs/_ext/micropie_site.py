"""What this site adds to every page: tips for the terms of the glossary, accessible code blocks, the site as a .zip."""

import re
import textwrap
import zipfile
from pathlib import Path
from typing import Any

from blocks import count
from docutils import nodes
from sphinx.addnodes import glossary
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).resolve().parents[2]
GLOSSARY = "reference/glossary"
LONGEST_TIP = 300  # characters
ARCHIVE = "_downloads/micropie-docs.zip"
ZIP_TIME = (1980, 1, 1, 0, 0, 0)
SIGNATURE = re.compile(r"\n\n<dl>\n((?:<dd>.*</dd>\n)+)</dl>\n\n")
NOT_PACKED = {".buildinfo", ".doctrees", ".nojekyll"}


# --- Tips --------------------------------------------------------------------------------------


def tips(env: BuildEnvironment) -> dict[str, str]:
    """Return what the glossary says of each term, by the term's anchor: its first sentences."""
    if GLOSSARY not in env.found_docs:
        return {}
    found = {}
    for terms in env.get_doctree(GLOSSARY).findall(glossary):
        for item in terms.findall(nodes.definition_list_item):
            paragraph = next(item.findall(nodes.paragraph), None)
            if paragraph is not None:
                for term in item.findall(nodes.term):
                    found.update(dict.fromkeys(term["ids"], shortened(paragraph.astext())))
    return found


def shortened(text: str) -> str:
    """Return as many whole sentences of a text as fit into a tip, and one at least."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    tip = sentences[0]
    for sentence in sentences[1:]:
        if len(tip) + len(sentence) >= LONGEST_TIP:
            break
        tip += " " + sentence
    return tip


def add_tips(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Give each reference to a term the tip as its title, which site.js shows."""
    if docname == GLOSSARY or app.builder.format != "html":
        return
    known = getattr(app, "_glossary_tips", None)
    if known is None:
        known = app._glossary_tips = tips(app.env)  # type: ignore[attr-defined]
    for reference in doctree.findall(nodes.reference):
        if any("std-term" in inline["classes"] for inline in reference.findall(nodes.inline)):
            anchor = reference.get("refid") or reference.get("refuri", "").partition("#")[2]
            if anchor in known:
                reference["reftitle"] = known[anchor]
                reference["classes"].append("term-with-tip")


def forget_tips(app: Sphinx, env: BuildEnvironment) -> None:
    """See to it that a changed glossary is read anew."""
    app._glossary_tips = None  # type: ignore[attr-defined]


# --- Differences -------------------------------------------------------------------------------


def shorten_differences(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the names of the files above a difference: its caption has them, and they are this machine's."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "udiff" and block.astext().startswith("--- "):
            text = without_names(block.astext())
            block.rawsource = text
            block.children = []
            block += nodes.Text(text)


def without_names(difference: str) -> str:
    """Return a unified difference without its first two lines."""
    return difference.split("\n", 2)[2] if difference.startswith("--- ") else difference


# --- Pages -------------------------------------------------------------------------------------


def mend_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Let the keyboard reach whatever scrolls; lead from a page of the gallery to the README that it is made from."""
    if "body" in context:
        body = context["body"].replace('<div class="highlight"><pre>', '<div class="highlight"><pre tabindex="0">')
        body = body.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
        body = SIGNATURE.sub(_signature, body)
        if page == app.config.notfound_pagename:  # it is shown at every address, so its links are from the root
            body = re.sub(r'href="(?![a-z]+:|[/#])', f'href="{app.config.notfound_urls_prefix}', body)
        context["body"] = body
    repository = context.get("theme_source_repository")
    if repository and page.startswith("examples/") and page != "examples/index":
        context["theme_source_edit_link"] = f"{repository}/edit/main/{page}/README.md"


def _signature(match: re.Match[str]) -> str:
    """Write the parameters of a long signature, one a line, as text: a list without terms confuses screen readers."""
    lines = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


class CountRole(SphinxRole):
    """Says how many blocks of code the tests count: `executed`, `included`, `excused` or `all`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number."""
        return [nodes.Text(f"{getattr(count(ROOT), self.text):,}")], []


class SourceLinesRole(SphinxRole):
    """Says how many lines a file of the project has."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number."""
        return [nodes.Text(f"{len((ROOT / self.text).read_text().splitlines()):,}")], []


class WhenDirective(SphinxDirective):
    """Shows what it holds when a file of the site is there: a plot, once it has been made."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return what it holds, or nothing."""
        path = Path(self.env.srcdir) / self.arguments[0]
        self.env.note_dependency(str(path))
        return self.parse_content_to_nodes() if path.exists() else []


def dedented(source: str) -> tuple[str, str]:
    """Let names be linked in an excerpt that begins inside of a class or a function."""
    return source, textwrap.dedent(source)


# --- The site as a .zip ------------------------------------------------------------------------


def write_archive(app: Sphinx, exception: Exception | None) -> None:
    """Pack the whole site, to be read without a network."""
    if exception is not None or app.builder.name != "html":
        return
    target = Path(app.outdir) / ARCHIVE
    target.parent.mkdir(parents=True, exist_ok=True)
    files = [path for path in Path(app.outdir).rglob("*") if path.is_file() and path != target]
    names = {path.relative_to(app.outdir).as_posix(): path for path in files}
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(names):
            if not NOT_PACKED & set(Path(name).parts):
                entry = zipfile.ZipInfo(f"micropie-docs/{name}", ZIP_TIME)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, names[name].read_bytes())


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add all this to Sphinx."""
    app.add_role("count", CountRole())
    app.add_role("source-lines", SourceLinesRole())
    app.add_directive("when", WhenDirective)
    app.add_js_file("site.js", loading_method="defer")
    app.connect("doctree-read", shorten_differences)
    app.connect("env-updated", forget_tips)
    app.connect("doctree-resolved", add_tips)
    app.connect("html-page-context", mend_page)
    app.connect("build-finished", write_archive, priority=990)  # when all else is written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
