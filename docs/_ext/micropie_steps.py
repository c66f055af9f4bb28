"""Makes pages that a reader can follow by copying, and offers MicroPie itself to download.

steps.py says what becomes of the comments on a page. Here are the directives, and the downloads:

    ```{needs} httpx redis          you need MicroPie, and these packages too
    :system: redis-server
    ```

    ```{browser}                    steps in a browser, in the sentences of steps.py
    1. Open http://127.0.0.1:8000/.
    2. You see "Hello".
    ```
"""

import hashlib
import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from browser_steps import understood
from docutils import nodes
from docutils.parsers.rst import directives
from micropie_examples import Example, build_sdist, build_wheel, copied, wanted_files
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from steps import SITE, to_root, visible

ROOT = Path(__file__).resolve().parents[2]
OF_MACOS = {"curl", "openssl"}  # it has them
GET = "get"  # the folder of the site with the downloads of MicroPie
FOLLOWED = ROOT / "docs" / "followed.json"  # written by tests/newcomer
README = "README"  # in that file; it is no page of the site
log = logging.getLogger(__name__)


# --- What a page says --------------------------------------------------------------------------


class Needs(SphinxDirective):
    """Says what a reader must have installed."""

    optional_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {"system": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the sentence, and the commands."""
        packages = " ".join(self.arguments)
        lines = [
            "You need an empty folder with MicroPie in a virtual environment"
            " ([Install](/install.md) shows how)"
            + (", and in it:" if packages or "system" in self.options else ".")
        ]
        commands = []
        if "system" in self.options:
            commands.append(f"$ sudo apt install {self.options['system']}")
        if packages:
            command = textwrap.wrap(f"$ pip install {packages}", 80, break_on_hyphens=False)
            commands.append(" \\\n>   ".join(command))
        if commands:
            lines += ["", "```console", *commands, "```"]
        if names := set(self.options.get("system", "").split()) - OF_MACOS:
            brew = " ".join(sorted(name.removesuffix("-server") for name in names))
            lines += ["", "If you are root, leave out `sudo`."]
            lines += [f"On macOS, the first command is `brew install {brew}`."]
        content = self.parse_text_to_nodes("\n".join(lines))
        return [nodes.container("", *content, classes=["needs"])]


class Browser(SphinxDirective):
    """Shows steps in a browser; each is a sentence that the robot newcomer understands."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the list."""
        steps = self.parse_content_to_nodes()
        for item in (item for node in steps for item in node.findall(nodes.list_item)):
            try:
                understood(item.astext())
            except ValueError as error:
                log.warning("%s", error, location=self.get_location())
        return [nodes.container("", *steps, classes=["browser-steps"])]


def show_comments(app: Sphinx, name: str, source: list[str]) -> None:
    """Make the comments of a page visible, and put the version in."""
    source[0] = re.sub(
        r"(?m)(?<=micropie-)VERSION|^VERSION$", app.config.version, visible(source[0], name, ROOT)
    )
    if app.config.html_baseurl:
        source[0] = source[0].replace(SITE, app.config.html_baseurl)


def link_whole_files(app: Sphinx, doctree: nodes.document) -> None:
    """Give the name above each excerpt a link to the whole file, which becomes a download."""
    wanted = wanted_files(app.env)
    for wrapper in doctree.findall(nodes.container):
        caption = next(iter(wrapper.findall(nodes.caption)), None)
        block = next(iter(wrapper.findall(nodes.literal_block)), None)
        if caption is None or block is None or "excerpt" not in block["classes"]:
            continue
        name = caption.astext().removeprefix("Part of ")
        if "/" not in name or not (ROOT / name).is_file():
            continue
        link = nodes.reference("", name, refuri=whole_file(name, app.env.docname), internal=True)
        caption.children = []
        caption += [nodes.Text("Part of "), link, nodes.Text(" (whole file)")]
        wanted.add(name)


def whole_file(source: str, page: str) -> str:
    """Return the link from a page to the whole of a file of the project."""
    up = to_root(page)
    top, _, rest = source.partition("/")
    if top == "examples":
        example, _, file = rest.partition("/")
        if ROOT / source in Example(f"examples/{example}").shown()[0]:
            return f"{up}examples/{example}.html#file={file}"
    return up + copied(ROOT / source)


# --- Downloads ---------------------------------------------------------------------------------


def build_downloads(app: Sphinx) -> None:
    """Build the wheel and the source archive of this commit, and put `micropie.py` beside them."""
    if app.builder.name != "html":
        return
    folder = Path(app.outdir) / GET
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    build_wheel(folder)
    build_sdist(folder)
    shutil.copy(ROOT / "micropie.py", folder)
    sums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    lines = [f"{value}  {name}\n" for name, value in sorted(sums.items())]
    (folder / "SHA256SUMS").write_text("".join(lines))
    app.env.__dict__["micropie_sums"] = sums


def outdated(app: Sphinx, env: BuildEnvironment, *sets: set[str]) -> Sequence[str]:
    """Write the page with the sums of the downloads anew in each build."""
    return ["install"] if "install" in env.found_docs else []


class Downloads(SphinxDirective):
    """Lists the downloads of MicroPie, with their SHA-256."""

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        sums: dict[str, str] = self.env.__dict__.get("micropie_sums", {})
        words = {
            ".whl": "the wheel, for pip and uv",
            ".gz": "the source archive",
            ".py": "the module",
        }
        rows = [
            f'- <a href="{GET}/{name}" download>{name}</a>, {words[Path(name).suffix]}\n\n'
            f"  SHA-256 `{value}`\n"
            for name, value in sorted(sums.items(), reverse=True)
        ]
        return self.parse_text_to_nodes("\n".join(rows))


class Followed(SphinxDirective):
    """Lists the pages that the robot newcomer has followed."""

    def run(self) -> list[nodes.Node]:
        """Return a table."""
        self.env.note_dependency(str(FOLLOWED))
        lines = [
            "| page | followed on | seconds | files, commands and steps |",
            "|---|---|--:|--:|",
        ]
        lines += [
            f"| {_what(page, one)} | {_unbroken(one['date'])} | {one['seconds']} | {one['steps']} |"
            for page, one in followed_pages().items()
            if page == README or page in self.env.found_docs
        ]
        return self.parse_text_to_nodes("\n".join(lines))


def _what(page: str, followed: dict[str, Any]) -> str:
    name = "`README.md` of the repository" if page == README else f"[](/{page}.md)"
    left_out = " and ".join(f"`{command}`" for command in followed.get("left_out", ()))
    return f"{name}, without {left_out}" if left_out else name


def _unbroken(date: str) -> str:
    return date.replace("-", "\N{NON-BREAKING HYPHEN}")


def followed_pages() -> dict[str, dict[str, Any]]:
    """Return when each page was followed, and how long that took."""
    pages: dict[str, dict[str, Any]] = json.loads(FOLLOWED.read_text())
    return pages


def write_files(app: Sphinx, exception: Exception | None) -> None:
    """Write the files that excerpts link to."""
    if exception is None and app.builder.name == "html":
        for name in sorted(wanted_files(app.env)):
            target = Path(app.outdir) / copied(ROOT / name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target)


def say_when_followed(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Say at the end of a page when the robot newcomer has followed it, and in how long."""
    followed = followed_pages().get(page)
    if "body" in context and followed:
        date, seconds = followed["date"], followed["seconds"]
        up = to_root(page)
        context["body"] += (
            f'<p class="followed"><a href="{up}followed.html">Followed by a robot</a> from an empty'
            f" folder on {date}, in {seconds} seconds.</p>"
        )


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add all this to Sphinx."""
    app.add_directive("needs", Needs)
    app.add_directive("browser", Browser)
    app.add_directive("downloads", Downloads)
    app.add_directive("followed", Followed)
    app.connect("builder-inited", build_downloads)
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", show_comments)
    app.connect("doctree-read", link_whole_files)
    app.connect("html-page-context", say_when_followed)
    app.connect("build-finished", write_files, priority=500)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
