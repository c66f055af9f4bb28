"""Shows the files of the tutorial's steps: whole, with the new lines marked, and as a difference.

    ```{step-file} tutorials/04-sessions/app.py
    ```

shows a file that the step adds or changes. The new lines are those that the step before does not
have. Copy gives the whole file.

    ```{step-archive} tutorials/04-sessions
    ```

offers the whole step to download.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docutils import nodes
from micropie_examples import ROOT, SHOWN, Example, all_steps
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from steps import to_root

DIRECTIVE = re.compile(r"^```\{step-(?P<kind>file|archive)\} (?P<path>\S+)\n```$", re.M)
LANGUAGES = {**SHOWN, "Caddyfile": "text", ".cron": "text"}


@dataclass(frozen=True)
class StepFile:
    """A file of a step, named from the root of the project: `tutorials/04-sessions/app.py`."""

    path: str

    @property
    def source(self) -> Path:
        """Where it is."""
        return ROOT / self.path

    @property
    def name(self) -> str:
        """Its name in the reader's folder."""
        return self.path.split("/", 2)[2]

    @property
    def language(self) -> str:
        """The name of its language."""
        return LANGUAGES.get(self.source.name) or LANGUAGES[self.source.suffix]

    @property
    def before(self) -> "StepFile | None":
        """The same file in the step before, if it is there."""
        steps = [step.path for step in all_steps()]
        number = steps.index("/".join(self.path.split("/")[:2]))
        earlier = StepFile(f"{steps[number - 1]}/{self.name}")
        return earlier if number and earlier.source.exists() else None

    def new_lines(self) -> list[int]:
        """Return the numbers of the lines that the step before does not have."""
        old = self.before.source.read_text().splitlines() if self.before else []
        new = self.source.read_text().splitlines()
        matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
        return [
            number + 1
            for kind, _, _, first, end in matcher.get_opcodes()
            if kind in {"insert", "replace"}
            for number in range(first, end)
        ]

    def tabs(self) -> Iterator[str]:
        """Yield the lines of the tabs on the page."""
        earlier = self.before
        marked = ",".join(map(str, self.new_lines())) if earlier else ""
        yield from ("::::{tab-set}", ":class: example-files", "")
        yield f":::{{tab-item}} {'Whole file, new lines marked' if earlier else 'New file'}"
        yield from ("", f"```{{literalinclude}} /../{self.path}", f":language: {self.language}")
        yield from (f":caption: {self.name}", ":class: file")
        yield from [f":emphasize-lines: {marked}"] if marked else []
        yield from ("```", ":::")
        if earlier:
            yield from (":::{tab-item} What changed", "")
            yield from (f"```{{literalinclude}} /../{self.path}", f":diff: /../{earlier.path}")
            yield from (f":caption: What changed in {self.name}", "```", ":::")
        yield "::::"


class StepFileDirective(SphinxDirective):
    """Puts a file of a step on its page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what the page shows."""
        file = StepFile(self.arguments[0])
        if not file.source.is_file():
            raise self.error(f"There is no file {file.path}.")
        for known in filter(None, (file, file.before)):
            self.env.note_dependency(str(known.source))
        return self.parse_text_to_nodes("\n".join(file.tabs()))


class StepArchive(SphinxDirective):
    """Offers a step to download."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a link."""
        step = Example(self.arguments[0])
        link = f"{to_root(self.env.docname)}{step.archive}"
        html = (
            f'<p class="step-archive"><a href="{link}" download>Download {step.name}.zip</a>: '
            "all files of this step, and MicroPie's wheel in the same folder.</p>"
        )
        return [nodes.raw("", html, format="html")]


def write_text(app: Sphinx, exception: Exception | None) -> None:
    """Put the files into the pages' copies as text, of which llms.txt is made."""
    if exception is None and app.builder.name == "html":
        for path in (Path(app.outdir) / "_sources" / "tutorial").glob("*.md.txt"):
            path.write_text(DIRECTIVE.sub(_as_text, path.read_text()))


def _as_text(match: re.Match[str]) -> str:
    if match["kind"] == "archive":
        return f"The files of this step: /{Example(match['path']).archive}"
    file = StepFile(match["path"])
    code = file.source.read_text().rstrip()
    return f"`{file.name}`:\n\n````{file.language}\n{code}\n````"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directives to Sphinx."""
    app.add_directive("step-file", StepFileDirective)
    app.add_directive("step-archive", StepArchive)
    app.connect("build-finished", write_text, priority=410)  # after that of micropie_site
    return {"parallel_read_safe": True, "parallel_write_safe": True}
