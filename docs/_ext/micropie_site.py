"""Additions to every page: tips for terms, accessible code, plain text, a .zip of the site."""

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from blocks import Block, blocks, options
from docutils import nodes
from micropie_examples import SHOWN, Example, kind, write_zip
from sphinx.addnodes import glossary, pending_xref, toctree
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.directives.code import LiteralInclude, LiteralIncludeReader
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata
from steps import SITE, visible

GLOSSARY = "reference/glossary"
LONGEST_TIP = 300  # characters
SIGNATURE = re.compile(r"\n\n<dl>\n((?:<dd>.*</dd>\n)+)</dl>\n\n")
EXAMPLE = re.compile(r"^```\{example\} +(\S+)\n.*?^```$", re.M | re.S)
ORDER = re.compile(
    r"^(?:% (?:file|part of|server|serves|service|slow|not run)\b.*|<!-- .*? -->)\n", re.M
)
ARCHIVE = "_downloads/micropie-docs.zip"
# The files of live apps stay apart, since few pages have them.
SHEET = re.compile(
    r'<link rel="stylesheet" type="text/css" href="[^"]*?_static/'
    r'(?P<name>(?!live/)[^"?]+\.css)[^"]*" />\s*'
)
SCRIPT = re.compile(
    r'<script(?: [^>]*)? src="[^"]*?_static/(?P<name>(?!live/|theme)[^"?]+\.js)[^"]*"></script>\s*'
)
INLINE = re.compile(r"<script>\s*(?P<code>.*?)\s*</script>", re.S)
# Rules of a style sheet, and the classes of sphinx-design, whose sheet is as large as the theme's.
RULE = re.compile(r"(?P<selectors>[^{}]+)\{[^{}]*\}")
DESIGN = re.compile(r"\bsd-[\w-]+")
KINDS = {"examples": "example", "reference": "reference", "explanation": "explanation"}
NOT_PACKED = {".buildinfo", ".doctrees", ".nojekyll", "social_previews"}


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
                tip = shortened(with_titles(paragraph, env))
                for term in item.findall(nodes.term):
                    found.update(dict.fromkeys(term["ids"], tip))
    return found


def with_titles(paragraph: nodes.paragraph, env: BuildEnvironment) -> str:
    """Return the text of a paragraph, with the title of its page for each link without a text."""
    copy = paragraph.deepcopy()
    for link in list(copy.findall(pending_xref)):
        if not link.astext():
            link.replace_self(nodes.Text(env.titles[link["reftarget"]].astext()))
    return copy.astext()


def shortened(text: str) -> str:
    """Return as many whole sentences of a text as fit into a tip, and one at least."""
    tip, *sentences = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    for sentence in sentences:
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


# --- Pages -------------------------------------------------------------------------------------


def without_names(difference: str) -> str:
    """Return a unified difference without names of files, which the caption has already."""
    return difference.split("\n", 2)[2] if difference.startswith("--- ") else difference


def shorten_differences(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the names of the files above each difference."""
    for block in doctree.findall(nodes.literal_block):
        if block.get("language") == "udiff":
            block.rawsource = without_names(block.astext())
            block.children = []
            block += nodes.Text(block.rawsource)


def mend_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Mend a page's title, its signatures, the links of the 404 page, and edit links."""
    section, _, name = page.partition("/")
    # A guide, an example and a reference page can have one topic, and must be told apart in tabs.
    if section in KINDS and name not in {"", "index"} and context.get("title"):
        context["title"] += f" ({KINDS[section]})"
    if "body" in context:
        context["body"] = SIGNATURE.sub(_signature, context["body"])
        # It is shown at every address, so its links are from the root.
        if page == app.config.notfound_pagename:
            prefix = app.config.notfound_urls_prefix
            context["body"] = re.sub(r'href="(?![a-z]+:|[/#])', f'href="{prefix}', context["body"])
    repository = context.get("theme_source_repository")
    if repository and page.startswith("examples/") and page != "examples/index":
        context["theme_source_edit_link"] = f"{repository}/edit/main/{page}/README.md"


def group_navigation(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Name the groups of pages in the sidebar: the captions of the trees on the index pages."""
    tree = context.get("furo_navigation_tree")
    if not tree:
        return
    for first, caption in navigation_groups(app).items():
        address = re.escape(context["pathto"](first))
        if page == first:
            address = "#"
        tree = re.sub(
            rf'(<li class="toctree-l2[^"]*">)(<a class="[^"]*" href="{address}")',
            rf'\1<span class="nav-group">{caption}</span>\2',
            tree,
            count=1,
        )
    context["furo_navigation_tree"] = tree


def navigation_groups(app: Sphinx) -> dict[str, str]:
    """Return the caption of each group by its first page."""
    known: dict[str, str] | None = getattr(app, "_navigation_groups", None)
    if known is None:
        known = {}
        for index in sorted(app.env.found_docs):
            if index.endswith("/index"):
                for tree in app.env.get_doctree(index).findall(toctree):
                    if tree.get("caption") and tree["entries"]:
                        known[tree["entries"][0][1]] = tree["caption"]
        app._navigation_groups = known  # type: ignore[attr-defined]
    return known


def _signature(match: re.Match[str]) -> str:
    """Write the parameters of a long signature, one a line, as text.

    A list without terms confuses screen readers.
    """
    lines = match[1].replace("<dd>", '<span class="sig-line">').replace("</dd>", "</span>")
    return f'<span class="sig-lines">{lines}</span>'


# --- The site as text and as a .zip ------------------------------------------------------------


def write_text(app: Sphinx, exception: Exception | None) -> None:
    """Put included text into the copies of pages in `_sources/`.

    llms.txt lists them, and llms-full.txt consists of them.
    """
    if exception is not None or app.builder.name != "html":
        return
    for name in app.env.found_docs:
        path = Path(app.outdir) / "_sources" / f"{name}.md.txt"
        if path.exists():
            text = visible(path.read_text(), name, Path(app.srcdir).parent)
            path.write_text(expanded(text, Path(app.srcdir), name, app.config))


def expanded(text: str, docs: Path, name: str, config: Config) -> str:
    """Put what a page includes into its text, and leave out the comments that steer its tests."""
    lines = text.split("\n")
    for block in reversed(blocks(text)):
        if block.directive == "literalinclude":
            chosen, _, _ = options("\n".join(lines[block.line : block.end - 2]))
            lines[block.line - 1 : block.end - 1] = _included(block, chosen, docs, name, config)
    text = EXAMPLE.sub(lambda match: _files(Example(match[1])), "\n".join(lines))
    return ORDER.sub("", text)


def _included(
    block: Block, chosen: dict[str, str], docs: Path, name: str, config: Config
) -> list[str]:
    """Return what Sphinx includes for a block, as a fence."""
    known = {key: LiteralInclude.option_spec[key](value or None) for key, value in chosen.items()}
    folder = docs / name
    if "diff" in known:
        known["diff"] = str((folder.parent / known["diff"]).resolve())
    file = docs / block.file[1:] if block.file.startswith("/") else folder.parent / block.file
    code, _ = LiteralIncludeReader(str(file.resolve()), known, config).read()
    language = "diff" if "diff" in known else block.language
    return [f"```{language}", *without_names(code).rstrip("\n").split("\n"), "```"]


def _files(example: Example) -> str:
    """Return the files of an example, each as a fence with its name above."""
    return "\n\n".join(
        f"`{example.relative(path)}`:\n\n````{SHOWN[kind(path)]}\n{path.read_text().rstrip()}\n````"
        for path in example.shown()[0]
    )


def bundle(app: Sphinx, exception: Exception | None) -> None:
    """Join the style sheets that all pages have into one file, and the scripts into another."""
    if exception is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    pages = {path: path.read_text() for path in site.rglob("*.html")}
    for pattern, target, glue in ((SHEET, "all.css", "\n"), (SCRIPT, "all.js", ";\n")):
        names = [match["name"] for match in pattern.finditer(pages[site / "index.html"])]
        if names == [target]:  # the first page is that of the last build
            names = (site / "_static" / target).read_text().split("\n")[0].split()[1:-1]
        joined = glue.join((site / "_static" / name).read_text() for name in names)
        if target.endswith(".css"):
            joined = re.sub(r"/\*.*?\*/|^\s+", "", joined, flags=re.M | re.S)
            joined = _without_unused(joined, pages.values())
        (site / "_static" / target).write_text(f"/* {' '.join(names)} */\n{joined}")
        version = hashlib.sha256(joined.encode()).hexdigest()[:8]
        for path, text in pages.items():
            pages[path] = _with_one(text, pattern, names, f"{target}?v={version}")
    for path, text in pages.items():
        path.write_text(_without_inline(text, site))


def _without_unused(sheet: str, pages: Iterable[str]) -> str:
    """Leave out the rules for classes of sphinx-design that no page of the site has."""
    used = {name for text in pages for name in DESIGN.findall(text)}

    def kept(rule: re.Match[str]) -> str:
        selectors = rule["selectors"].split(",")
        is_unused = all(set(DESIGN.findall(one)) - used for one in selectors)
        return "" if is_unused else rule[0]

    return RULE.sub(kept, sheet)


def _without_inline(text: str, site: Path) -> str:
    """Put the theme's script into a file, so that a policy can forbid scripts inside of pages."""
    match = INLINE.search(text)
    if match is None:
        return text
    (site / "_static" / "theme.js").write_text(match["code"] + "\n")
    # The page for unknown addresses has its files from the root, and the others have theirs beside.
    found = re.search(r'src="([^"]*_static/)', text[match.end() :])
    script = f'<script src="{found[1] if found else "_static/"}theme.js"></script>'
    return text[: match.start()] + script + text[match.end() :]


def _with_one(text: str, pattern: re.Pattern[str], names: list[str], target: str) -> str:
    """Put one file in the place of the first of several, if a page has them all."""
    found = [match for match in pattern.finditer(text) if match["name"] in names]
    if not names or [match["name"] for match in found] != names:
        return text
    # The last one is the script that reads an attribute of its own tag.
    one = re.sub(r"_static/[^\"]+", f"_static/{target}", found[-1][0])
    for match in reversed(found):
        last = match is found[-1]
        text = text[: match.start()] + (one if last else "") + text[match.end() :]
    return text


def write_sitemap(app: Sphinx, exception: Exception | None) -> None:
    """List all pages for search engines; they want whole URLs."""
    if exception is None and app.builder.name == "html":
        base = app.config.html_baseurl or SITE
        names = sorted(app.env.found_docs - {app.config.notfound_pagename})
        rows = "".join(f"<url><loc>{base}{name}.html</loc></url>\n" for name in names)
        schema = "http://www.sitemaps.org/schemas/sitemap/0.9"
        text = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{schema}">\n{rows}</urlset>\n'
        )
        (Path(app.outdir) / "sitemap.xml").write_text(text)
        (Path(app.outdir) / "robots.txt").write_text(f"Sitemap: {base}sitemap.xml\n")


def write_archive(app: Sphinx, exception: Exception | None) -> None:
    """Pack the whole site, to be read without a network."""
    if exception is None and app.builder.name == "html":
        site = Path(app.outdir)
        names = {
            path.relative_to(site).as_posix(): path for path in site.rglob("*") if path.is_file()
        }
        packed = {
            name: path
            for name, path in names.items()
            if not NOT_PACKED & set(path.relative_to(site).parts)
        }
        packed.pop(ARCHIVE, None)
        write_zip(site / ARCHIVE, "micropie-docs", packed)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add all this to Sphinx."""
    app.add_js_file("site.js", loading_method="defer")
    app.add_css_file("pictures.css")
    app.connect("doctree-read", shorten_differences)
    # A changed glossary is read anew.
    app.connect("env-updated", lambda app, env: setattr(app, "_glossary_tips", None))
    app.connect("doctree-resolved", add_tips)
    app.connect("html-page-context", mend_page)
    app.connect("html-page-context", group_navigation, priority=900)  # after the theme's
    app.connect("build-finished", write_text, priority=400)  # before llms.txt is made of it
    app.connect("build-finished", write_sitemap)
    app.connect("build-finished", bundle, priority=950)
    app.connect("build-finished", write_archive, priority=990)  # when all else is written
    return {"parallel_read_safe": True, "parallel_write_safe": True}
