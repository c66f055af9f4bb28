"""The examples on the site: the directive that puts one on a page, the pages of the gallery, and the downloads.

    ```{example} examples/sessions
    ```

shows the files of that folder in tabs, its first request, a picture where there is one, and a .zip to download. A step
of the tutorial is shown the same way (`tutorials/03-templates`). Nothing else on the site shows whole examples.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from blocks import Block, blocks
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

ROOT = Path(__file__).resolve().parents[2]
DOWNLOADS = "_downloads"
PICTURES = ("images/examples/", "images/tutorial/")
SHOWN = {
    ".py": "python",
    ".html": "html+jinja",
    ".mako": "html+mako",
    ".js": "javascript",
    ".css": "css",
    ".svg": "xml",
    ".ini": "ini",
    ".toml": "toml",
    ".sql": "sql",
    ".txt": "text",
    ".json": "json",
    ".md": "markdown",
    ".conf": "nginx",
    ".service": "systemd",
}
LARGEST_SHOWN = 40_000  # bytes; what is larger, or of another kind, is named only
MOST_TABS = 10  # of an example with more files, those of a folder share a tab
LEFT_OUT = {"__pycache__", "node_modules", "data", "uploads"}
LEFT_OUT_SUFFIXES = {".db", ".sqlite3", ".pyc"}
ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same files make the same .zip

# The gallery's order: what a reader needs first comes first. What is not named here is a whole app.
GROUPS: dict[str, list[str]] = {
    "First steps": ["hello_world", "routing", "json_api", "forms", "templates", "headers_and_cookies", "static_files"],
    "Sessions and safety": ["sessions", "session_backends", "middleware", "validation"],
    "Live": ["streaming", "server_sent_events", "websockets", "socketio", "file_uploads"],
    "Structure": ["explicit_routing", "sub_apps", "lifespan", "background_jobs", "testing", "wsgi"],
}
WHOLE_APPS = "Whole apps"


# --- An example and its files ------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A folder under examples/ or tutorials/.

    Attributes:
        path: As in the directive, `examples/sessions`.
    """

    path: str

    @property
    def folder(self) -> Path:
        """Where it is."""
        return ROOT / self.path

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def is_step(self) -> bool:
        """Whether it is a step of the tutorial."""
        return self.path.startswith("tutorials/")

    @property
    def archive(self) -> str:
        """The path of its .zip on the site."""
        return f"{DOWNLOADS}/{self.path}.zip"

    @property
    def readme(self) -> str:
        """Its README, or "" where there is none."""
        path = self.folder / "README.md"
        return path.read_text() if path.exists() else ""

    @property
    def title(self) -> str:
        """The title of its README."""
        return self.readme.partition("\n")[0].removeprefix("# ")

    @property
    def introduction(self) -> str:
        """What its README says before the first heading."""
        return self.readme.partition("\n")[2].partition("\n## ")[0].strip()

    def files(self) -> list[Path]:
        """Return its files, as they are in the project: app.py first, then the other modules, then the rest."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and self._belongs(path)]
        return sorted(found, key=lambda path: (path.name != "app.py", path.suffix != ".py", self.relative(path)))

    def _belongs(self, path: Path) -> bool:
        parts = path.relative_to(self.folder).parts
        hidden = any(part in LEFT_OUT or part.startswith(".") for part in parts)
        return not hidden and path.suffix not in LEFT_OUT_SUFFIXES

    def relative(self, path: Path) -> str:
        """Return the path of one of its files from its folder."""
        return path.relative_to(self.folder).as_posix()

    def picture(self) -> str:
        """Return the path of its picture from docs/, or "" where there is none."""
        path = f"images/tutorial/{self.name[:2]}.png" if self.is_step else f"images/{self.path}.png"
        return path if (ROOT / "docs" / path).exists() else ""

    def first_request(self) -> str:
        """Return the first command that its README tells to try, with its output."""
        tried = (block for block in blocks(self.readme) if block.language == "console" and not block.comment)
        first: Block | None = next(tried, None)
        if first is None:
            return ""
        command, *more = re.split(r"^(?=\$ )", first.text, flags=re.M)[1:] or [first.text]
        short = command.count("\n") + (more[0].count("\n") if more else 0) <= 8
        return command + (more[0] if more and short and command.count("\n") < 3 else "")

    def write_archive(self, target: Path) -> None:
        """Write its files, and MicroPie beside them, into a .zip that depends on nothing but them."""
        target.parent.mkdir(parents=True, exist_ok=True)
        contents = {self.relative(path): path for path in self.files()} | {"micropie.py": ROOT / "micropie.py"}
        with zipfile.ZipFile(target, "w") as archive:
            for name in sorted(contents):
                entry = zipfile.ZipInfo(f"{self.name}/{name}", ZIP_TIME)
                entry.external_attr = 0o644 << 16
                entry.compress_type = zipfile.ZIP_DEFLATED
                archive.writestr(entry, contents[name].read_bytes())


def all_examples() -> list[Example]:
    """Return all examples, in the order of the gallery."""
    names = {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    named = [name for group in GROUPS.values() for name in group if name in names]
    return [Example(f"examples/{name}") for name in named + sorted(names.difference(named))]


def all_steps() -> list[Example]:
    """Return all steps of the tutorial, in order."""
    return [Example(f"tutorials/{path.parent.name}") for path in sorted((ROOT / "tutorials").glob("*/app.py"))]


# --- The directive -----------------------------------------------------------------------------


class ExampleDirective(SphinxDirective):
    """Puts an example on a page. The option `without` leaves out `picture`, `request` or `files`."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"without": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return what the page shows."""
        example = Example(self.arguments[0])
        if not example.folder.is_dir():
            raise self.error(f"There is no example {example.path}.")
        left_out = set(self.options.get("without", "").replace(",", " ").split())
        for path in (example.folder / "README.md", *example.files()):
            self.env.note_dependency(str(path))
        parts = {"picture": _picture(example), "request": _request(example), "files": _files(example)}
        lines = [line for name, part in parts.items() if name not in left_out for line in part]
        lines += _download(example, "../" * self.env.docname.count("/"))
        container = nodes.container(classes=["example"])
        self.state.nested_parse(StringList(lines, source=f"{example.path}/README.md"), self.content_offset, container)
        return [container]


def _picture(example: Example) -> list[str]:
    if not example.picture():
        return []
    alt = _description(example)
    return [f"```{{image}} /{example.picture()}", f":alt: {alt}", ":class: example-picture", "```", ""]


def _description(example: Example) -> str:
    """Return what a picture shows: the test that takes it may write that into it."""
    with Image.open(ROOT / "docs" / example.picture()) as picture:
        description = picture.info.get("Description", f"{example.title or example.name}, in a browser")
    return str(description)


def _request(example: Example) -> list[str]:
    request = example.first_request().rstrip().split("\n")
    return ["```console", *request, "```", ""] if request != [""] else []


def _files(example: Example) -> list[str]:
    """Show the files in tabs, those of a large example by folder; what is no text, or long, is named below."""
    shown, named = [], []
    for path in example.files():
        if path.name in {"README.md", "LICENSE"} or not path.stat().st_size:
            continue
        small = path.stat().st_size <= LARGEST_SHOWN
        (shown if path.suffix in SHOWN and small else named).append(path)
    tabs: dict[str, list[Path]] = {}
    for path in shown:
        tabs.setdefault(_tab(example, path, len(shown) > MOST_TABS), []).append(path)
    lines = ["::::::{tab-set}", ":class: example-files", ""]
    for label, paths in tabs.items():
        lines += [f":::::{{tab-item}} {_escaped(label)}", ""]
        for path in paths:
            code = _code(example, path)
            lines += code if len(paths) == 1 else _folded(example.relative(path), code)
        lines += [":::::", ""]
    lines += ["::::::", ""]
    if named:
        sizes = ", ".join(f"`{example.relative(path)}` ({_size(path.stat().st_size)})" for path in named)
        lines += [f"Also in the folder: {sizes}.", ""]
    return lines


def _tab(example: Example, path: Path, many: bool) -> str:
    """Name the tab that a file is in."""
    name = example.relative(path)
    if not many or name == "app.py":
        return name
    folder, slash, _ = name.partition("/")
    return folder + slash if slash else "modules" if path.suffix == ".py" else "other files"


def _code(example: Example, path: Path) -> list[str]:
    source = f"/../{example.path}/{example.relative(path)}"
    return [f"```{{literalinclude}} {source}", f":language: {SHOWN[path.suffix]}", "```", ""]


def _folded(name: str, code: list[str]) -> list[str]:
    return [f"::::{{dropdown}} {_escaped(name)}", *code, "::::", ""]


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _download(example: Example, up: str) -> list[str]:
    return [
        ":::{container} example-download",
        f'<a href="{up}{example.archive}" download>Download {example.name}.zip</a>: these files, '
        "and `micropie.py` beside them, ready to start.",
        ":::",
        "",
    ]


def _size(count: int) -> str:
    return f"{count} bytes" if count < 1000 else f"{count / 1000:.0f} kB"


# --- The gallery -------------------------------------------------------------------------------


def write_pages(app: Sphinx, config: Config) -> None:
    """Write the pages of the gallery from the READMEs, where they have changed, before Sphinx looks for pages."""
    folder = Path(app.srcdir) / "examples"
    folder.mkdir(exist_ok=True)
    pages = {f"{example.name}.md": _page(example) for example in all_examples()} | {"index.md": _gallery()}
    for stale in folder.glob("*.md"):
        if stale.name not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _page(example: Example) -> str:
    body = example.readme.partition("\n## ")[2]
    text = [
        f"# {example.title}",
        "",
        example.introduction,
        "",
        f"```{{example}} {example.path}",
        ":without: request",
        "```",
        "",
        f"## {body}",
    ]
    return _for_the_site("\n".join(text))


def _for_the_site(text: str) -> str:
    """Leave out the marks of the tests, and let links lead to pages of the site."""
    names = {example.name for example in all_examples()}
    text = re.sub(r"^ *<!-- .*? -->\n", "", text, flags=re.M)
    text = text.replace("](../../README.md)", "](../index.md#install)")
    text = re.sub(r"\]\(\.\./\.\./docs/([\w/-]+\.md)", r"](../\1", text)
    text = re.sub(r"\]\(\.\./(\w+)(?:/README\.md|/)?\)", r"](\1.md)", text)
    text = re.sub(r"\[(`?[^\]\n]+?`?)\]\((?!https?:|\.\.|\w+\.md)[^)#]+\)", r"\1", text)
    linked = "|".join(sorted(names))
    return re.sub(rf"(?<![\[`/])`({linked})`(?!\])", r"[`\1`](\1.md)", text)


def _gallery() -> str:
    groups = dict.fromkeys([*GROUPS, WHOLE_APPS], "")
    toctree = []
    for example in all_examples():
        group = next((group for group, names in GROUPS.items() if example.name in names), WHOLE_APPS)
        groups[group] += "\n".join(_card(example))
        toctree.append(example.name)
    text = [
        "# Examples",
        "",
        "One folder for each thing that MicroPie does, to copy and to change. Every example is an app that runs as it",
        "is; the requests on its page, and what they print, are checked by the project's tests. Start with",
        "[the smallest one](hello_world.md).",
        "",
        "```{toctree}",
        ":hidden:",
        "",
        *toctree,
        "```",
        "",
    ]
    for group, cards in groups.items():
        if cards:
            text += [f"## {group}", "", ":::::{grid} 1 2 2 3", ":gutter: 3", "", cards, ":::::", ""]
    return "\n".join(text)


def _card(example: Example) -> Iterator[str]:
    yield f"::::{{grid-item-card}} {example.title}"
    yield f":link: {example.name}"
    yield ":link-type: doc"
    if example.picture():
        yield f":img-top: /{example.picture()}"
    yield ""
    yield _plain(example.introduction)
    yield "::::"
    yield ""
    yield ""


def _plain(text: str) -> str:
    """Return the first sentence of a text, without links."""
    first = re.split(r"(?<=[.!?])\s", re.sub(r"\s+", " ", text))[0]
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", first).rstrip(":.") + "."


def size_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Tell browsers how large the pictures are, so that nothing moves, and to load those of cards late."""
    for image in doctree.findall(nodes.image):
        if image["uri"].startswith(PICTURES):
            with Image.open(Path(app.srcdir) / image["uri"]) as picture:
                image["width"], image["height"] = map(str, picture.size)
            image["classes"].append("no-scaled-link")  # or Sphinx would put a link around it, inside of the card's
            if "sd-card-img-top" in image["classes"]:
                image["loading"] = "lazy"


def write_archives(app: Sphinx, exception: Exception | None) -> None:
    """Write the .zip of each example."""
    if exception is None and app.builder.name == "html":
        for example in all_examples() + all_steps():
            example.write_archive(Path(app.outdir) / example.archive)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directive and the gallery to Sphinx."""
    app.add_directive("example", ExampleDirective)
    app.connect("config-inited", write_pages)
    app.connect("doctree-read", size_pictures)
    app.connect("build-finished", write_archives)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
