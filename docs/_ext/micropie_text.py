"""The pages as plain Markdown, for those who read the site as text: what is included stands where it is included.

Sphinx copies the source of each page to `_sources/`; llms.txt lists these copies, and llms-full.txt is made from them.
"""

import re
from pathlib import Path
from typing import Any

from blocks import Block, blocks, options
from micropie_examples import SHOWN, Example
from micropie_site import without_names
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.directives.code import LiteralInclude, LiteralIncludeReader
from sphinx.util.typing import ExtensionMetadata

EXAMPLE = re.compile(r"^```\{example\} +(\S+)\n.*?^```$", re.M | re.S)
ORDER = re.compile(r"^(?:% (?:file|server|serves|not run)\b.*|<!-- .*? -->)\n", re.M)


def expand(app: Sphinx, exception: Exception | None) -> None:
    """Write the text of all pages anew."""
    if exception is not None or app.builder.name != "html":
        return
    for name in app.env.found_docs:
        path = Path(app.outdir) / "_sources" / f"{name}.md.txt"
        if path.exists():
            path.write_text(expanded(path.read_text(), Path(app.srcdir), name, app.config))


def expanded(text: str, docs: Path, name: str, config: Config) -> str:
    """Put what a page includes into its text, and leave out the comments that steer its tests."""
    lines = text.split("\n")
    for block in reversed(blocks(text)):
        if block.directive == "literalinclude":
            lines[block.line - 1 : block.end - 1] = _included(block, lines, docs, name, config)
    text = EXAMPLE.sub(lambda match: _files(Example(match[1])), "\n".join(lines))
    return ORDER.sub("", text)


def _included(block: Block, lines: list[str], docs: Path, name: str, config: Config) -> list[str]:
    """Return what Sphinx includes for a block, as a fence."""
    chosen, _, _ = options("\n".join(lines[block.line : block.end - 2]))
    known = {key: LiteralInclude.option_spec[key](value or None) for key, value in chosen.items()}
    if "diff" in known:
        known["diff"] = str(_place(known["diff"], docs, name))
    code, _ = LiteralIncludeReader(str(_place(block.file, docs, name)), known, config).read()
    code = without_names(code) if "diff" in known else code
    return [f"```{'diff' if 'diff' in known else block.language}", *code.rstrip("\n").split("\n"), "```"]


def _place(file: str, docs: Path, name: str) -> Path:
    """Find an included file: `/` is the folder of the site's sources."""
    folder = docs if file.startswith("/") else (docs / name).parent
    return (folder / file.lstrip("/")).resolve()


def _files(example: Example) -> str:
    """Return the files of an example, each as a fence with its name above."""
    parts: list[Any] = []
    for path in example.files():
        if path.suffix in SHOWN and path.suffix != ".md" and path.stat().st_size < 40_000:
            parts.append(f"`{example.relative(path)}`:\n\n````{SHOWN[path.suffix]}\n{path.read_text().rstrip()}\n````")
    return "\n\n".join(parts)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Expand the texts before llms.txt is made of them."""
    app.connect("build-finished", expand, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
