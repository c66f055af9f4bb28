"""Puts the examples on the site, by a directive, by the gallery's pages and by downloads.

    ```{example} examples/sessions
    ```

shows the files of that folder in tabs, a picture if there is one, and a .zip to download.
micropie_tutorial.py shows the steps of the tutorial.
"""

import re
import runpy
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from steps import SITE, to_root, visible

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ("images/examples/", "images/tutorial/")
SHOWN = {
    **{
        ".py": "python",
        ".html": "html+jinja",
        ".mako": "html+mako",
        ".js": "javascript",
        ".css": "css",
    },
    **{
        ".svg": "xml",
        ".ini": "ini",
        ".toml": "toml",
        ".sql": "sql",
        ".txt": "text",
        ".json": "json",
        ".yml": "yaml",
        ".yaml": "yaml",
        ".env": "ini",
        "Caddyfile": "text",  # names without a suffix
        "Dockerfile": "docker",
    },
    **{".conf": "nginx", ".service": "systemd", ".timer": "systemd", ".sh": "bash"},
}
MOST_SHOWN = 30_000  # bytes of all files of an example; a page links to the others
MOST_TABS = 10  # of an example with more files, those of a folder share a tab
LEFT_OUT = {"__pycache__", "node_modules", "data", "uploads"}
LEFT_OUT_SUFFIXES = {".db", ".sqlite3", ".pyc"}
NOT_SHOWN = {"README.md", "LICENSE"}

# Files of an example, though their names begin with a dot.
DOTTED = {".dockerignore", ".env.example", ".gitignore"}
# One table for the gallery that `make run` serves, and for the pages here.
CATALOG = runpy.run_path(str(ROOT / "examples" / "gallery" / "catalog.py"), run_name="catalog")
GROUPS: dict[str, dict[str, Any]] = {**CATALOG["GROUPS"], CATALOG["OTHERS"]: {}}
LEADS = {
    "Learn": "Small apps that show one idea each.",
    "Start from": "Apps to copy and to change, with tests, in a few hundred lines.",
    "Whole apps": "Sites that are complete, down to deployment.",
}
MARKS = re.compile(rb"^ *<!-- .*? -->\n", re.M)
# Examples that run in a page, with the options of the directive (micropie_live.py).
LIVE = {
    "api_jwt": ":packages: pydantic pyjwt",
    "api_openapi": ":packages: pydantic",
    "blog_small": "",
    "deploy": ":files: app.py database.py sqlite_sessions.py templates/index.html"
    " templates/style.css\n:without: X-Forwarded-For",
    "explicit_routing": "",
    "file_uploads": "",
    "forms": "",
    "graphql": ":packages: starlette strawberry-graphql",
    "headers_and_cookies": "",
    "hello_world": "",
    "json_api": "",
    "lifespan": "",
    "middleware": "",
    "notes_spa": ":packages: pydantic",
    "pastebin": ":packages: pygments",
    "routing": "",
    "server_sent_events": ":visitors: 2",
    "sessions": "",
    "socketio": ":packages: python-socketio\n:visitors: 2",
    "static_files": ":packages: starlette",
    "streaming": "",
    "sub_apps": "",
    "templates": "",
    "testing": "",
    "todo_htmx": "",
    "url_shortener": ":packages: segno",
    "validation": ":packages: pydantic",
    "webhook": ":requests: none",
    "websockets": ":visitors: 2",
    "wsgi": ":files: app.py",
}
# The others, each with the reason, as its page gives it.
SQL = "SQLAlchemy's `asyncio` part is compiled code"
NOT_LIVE = {
    "admin": SQL,
    "background_jobs": "APScheduler imports `multiprocessing`, and a page has no processes",
    "blog": "Argon2, Pillow and SQLAlchemy's `asyncio` part are compiled code",
    "cluster": "taskiq needs aiohttp, which is compiled code",
    "crud_sql": SQL,
    "gallery": "it shows the folders of the other examples, which are not on this page",
    "llm_chat": "it asks the server of a model",
    "login": SQL,
    "mcp_server": "the package `mcp` needs cryptography, which is compiled code",
    "mounting": "a2wsgi runs WSGI apps in threads",
    "oauth_login": "Authlib needs cryptography, which is compiled code",
    "observability": "OpenTelemetry works in threads",
    "session_backends": SQL,
}
IN_THE_PAGE = "[in the page](../explanation/live.md)"
GALLERY = f"""\
# Examples

Each example is a project to copy and to change: an app, its requirements and its tests. The tests
of MicroPie install each one from its .zip, start it, and run every command on its page. In a copy
of the repository, `make run` shows them all in the [gallery](gallery.md), and
`make new NAME=../mysite FROM=login` copies one. Without the repository, download one and give it
your name. [Its page](login.md) says how to go on:

```console
$ curl -O {SITE}_downloads/examples/login.zip
$ python3 -m zipfile -e login.zip . && mv login mysite
```

"""


def write_zip(target: Path, folder: str, contents: Mapping[str, Path]) -> None:
    """Write files into one folder of a .zip; the same files make the same .zip.

    A README loses the marks that only the tests read.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w") as archive:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(f"{folder}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            data = contents[name].read_bytes()
            archive.writestr(entry, MARKS.sub(b"", data) if name == "README.md" else data)


def build_wheel(folder: Path) -> Path:
    """Build the wheel of MicroPie; the same source makes the same wheel."""
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(wheel)


def build_sdist(folder: Path) -> Path:
    """Build the source archive of MicroPie."""
    from hatchling.builders.sdist import SdistBuilder

    [archive] = SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"])
    return Path(archive)


# --- An example and its files ------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A folder under examples/ or tutorials/, named as in the directive: `examples/sessions`."""

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
    def archive(self) -> str:
        """The path of its .zip on the site."""
        return f"_downloads/{self.path}.zip"

    @property
    def stands_alone(self) -> bool:
        """Whether it can be copied by itself; the gallery needs the other examples beside it."""
        return self.path != "examples/gallery"

    @property
    def picture(self) -> str:
        """The path of its picture from docs/, or "" if there is none; a step's page has its own."""
        path = f"images/{self.path}.png"
        return path if (ROOT / "docs" / path).exists() else ""

    def readme(self) -> tuple[str, str, str]:
        """Return the title of its README, what stands before the first heading, and the rest."""
        title, _, text = (self.folder / "README.md").read_text().partition("\n")
        introduction, _, rest = text.partition("\n## ")
        return title.removeprefix("# "), introduction.strip(), f"## {rest}"

    def files(self) -> list[Path]:
        """Return its files: app.py, other modules, their tests, then the rest."""
        found = [path for path in self.folder.rglob("*") if path.is_file() and self._belongs(path)]
        return sorted(
            found,
            key=lambda path: (
                path.name != "app.py",
                path.suffix != ".py",
                path.name.startswith("test_"),
                self.relative(path),
            ),
        )

    def _belongs(self, path: Path) -> bool:
        parts = path.relative_to(self.folder).parts
        hidden = any(
            part in LEFT_OUT or (part.startswith(".") and part not in DOTTED) for part in parts
        )
        return not hidden and path.suffix not in LEFT_OUT_SUFFIXES

    def relative(self, path: Path) -> str:
        """Return the path of one of its files from its folder."""
        return path.relative_to(self.folder).as_posix()

    def shown(self) -> tuple[list[Path], list[Path]]:
        """Return the files whose text a page shows, and those that it names only."""
        files = [
            path for path in self.files() if path.name not in NOT_SHOWN and path.stat().st_size
        ]
        text, left = [], MOST_SHOWN
        for path in files:
            if kind(path) in SHOWN and path.stat().st_size <= left:
                text.append(path)
                left -= path.stat().st_size
        return text, [path for path in files if path not in text]

    def write_archive(self, target: Path, wheel: Path) -> None:
        """Write its files into a .zip, with MicroPie's wheel and license beside them."""
        more = {path.name: path for path in (ROOT / "LICENSE", wheel)}
        write_zip(target, self.name, more | {self.relative(path): path for path in self.files()})


def all_examples() -> list[Example]:
    """Return all examples, in the order of the gallery."""
    names = {path.parent.name for path in (ROOT / "examples").glob("*/README.md")}
    named = [name for group in GROUPS.values() for name in group if name in names]
    return [Example(f"examples/{name}") for name in named + sorted(names.difference(named))]


def all_steps() -> list[Example]:
    """Return all steps of the tutorial, in order."""
    return [
        Example(f"tutorials/{path.parent.name}")
        for path in sorted((ROOT / "tutorials").glob("*/app.py"))
    ]


# --- The directive -----------------------------------------------------------------------------


class ExampleDirective(SphinxDirective):
    """Puts an example on a page."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return what the page shows."""
        example = Example(self.arguments[0])
        if not example.folder.is_dir():
            raise self.error(f"There is no example {example.path}.")
        for path in example.files():
            self.env.note_dependency(str(path))
        lines = [
            *_picture(example),
            *_download(example, to_root(self.env.docname), self.env.config.version),
            *_tabs(example, to_root(self.env.docname)),
        ]
        wanted = wanted_files(self.env)
        wanted.update(path.relative_to(ROOT).as_posix() for path in example.shown()[1])
        return [
            nodes.container("", *self.parse_text_to_nodes("\n".join(lines)), classes=["example"])
        ]


def _picture(example: Example) -> Iterator[str]:
    if example.picture:
        # The test that takes it says in it what it shows.
        with Image.open(ROOT / "docs" / example.picture) as picture:
            alt = picture.info.get("Description", f"{example.name}, in a browser")
        yield from (
            f"```{{image}} /{example.picture}",
            f":alt: {alt}",
            ":class: example-picture",
            "```",
            "",
        )


def _tabs(example: Example, up: str) -> Iterator[str]:
    """Show the files in tabs, those of a large example by folder; link to the others below."""
    shown, named = example.shown()
    tabs: dict[str, list[Path]] = {}
    for path in shown:
        tabs.setdefault(_tab(example, path, len(shown) > MOST_TABS), []).append(path)
    yield from ("::::::{tab-set}", ":class: example-files", "")
    for label, paths in tabs.items():
        yield from (f":::::{{tab-item}} {_escaped(label)}", "")
        for path in paths:
            source = f"/../{example.path}/{example.relative(path)}"
            code = [
                f"```{{literalinclude}} {source}",
                f":language: {SHOWN[kind(path)]}",
                "```",
                "",
            ]
            folded = [f"::::{{dropdown}} {_escaped(example.relative(path))}", *code, "::::", ""]
            yield from code if len(paths) == 1 else folded
        yield from (":::::", "")
    yield from ("::::::", "")
    if named:
        rest = ", ".join(_named(example, path, up) for path in named)
        yield f"Also in the folder: {rest}."
        yield ""


def kind(path: Path) -> str:
    """Return a file's suffix, or its name if it has none."""
    return path.suffix or path.name


def _named(example: Example, path: Path, up: str) -> str:
    """Name a file that the page does not show, with a link to it if it is text."""
    name = example.relative(path)
    if kind(path) not in SHOWN:
        return f"`{name}` ({_size(path)})"
    return f'<a href="{up}{copied(path)}"><code>{name}</code></a> ({_size(path)})'


def wanted_files(env: BuildEnvironment) -> set[str]:
    """Return the files of the project that pages link to; each gets a copy on the site."""
    files: set[str] = env.__dict__.setdefault("micropie_files", set())
    return files


def copied(path: Path) -> str:
    """Return the path on the site of a file of the project as plain text."""
    return f"_downloads/files/{path.relative_to(ROOT).as_posix()}.txt"


def _tab(example: Example, path: Path, many: bool) -> str:
    """Name the tab that a file is in."""
    name = example.relative(path)
    if not many or name == "app.py":
        return name
    folder, slash, _ = name.partition("/")
    return folder + slash if slash else "modules" if path.suffix == ".py" else "other files"


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def _download(example: Example, up: str, version: str) -> Iterator[str]:
    yield ":::{container} example-download"
    if example.stands_alone:
        archive, path = f"{example.name}.zip", example.archive
        rest = "these files, and MicroPie's wheel in the same folder."
    else:
        archive = f"micropie-{version}.tar.gz"
        path = f"get/{archive}"
        rest = "the whole repository. Unpack it with `tar xf`, and go into its folder."
    yield f'<a href="{up}{path}" download>Download {archive}</a>: {rest}'
    yield from (":::", "")


def _size(path: Path) -> str:
    count = path.stat().st_size
    return f"{count} bytes" if count < 1000 else f"{count / 1000:.0f} kB"


# --- The gallery -------------------------------------------------------------------------------


def write_pages(app: Sphinx, config: Config) -> None:
    """Write the gallery's pages from changed READMEs, before Sphinx looks for pages."""
    folder = Path(app.srcdir) / "examples"
    folder.mkdir(exist_ok=True)
    pages = {f"{example.name}.md": _page(example) for example in all_examples()} | {
        "index.md": _gallery()
    }
    for stale in folder.glob("*.md"):
        if stale.name not in pages:
            stale.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def _page(example: Example) -> str:
    """Return an example's page: its README without the tests' marks, with links to the site."""
    title, introduction, rest = example.readme()
    shown = f"```{{example}} {example.path}\n```\n\n{_live(example)}"
    text = f"# {title}\n\n{introduction}\n\n{shown}{rest}"
    text = visible(text, f"examples/{example.name}", ROOT)
    text = MARKS.sub(b"", text.encode()).decode()
    text = re.sub(r"\[(`?[^\]\n]+?`?)\]\((?!https?:)[^)#]+\)", r"\1", text)  # files of the folder
    text = re.sub(r"(?<!\*)\*([A-Z][^*`]+)\*(?!\*)", _guide, text)
    linked = "|".join(sorted(one.name for one in all_examples()))
    return re.sub(rf"(?<![\[`/])`({linked})`(?!\])", r"[`\1`](\1.md)", text)


@cache
def _guides() -> dict[str, str]:
    """Return the path of each guide, by its title."""
    folder = ROOT / "docs" / "howto"
    found = {path: re.search(r"^# (.+)$", path.read_text(), re.M) for path in folder.glob("*.md")}
    return {title[1]: f"../howto/{path.name}" for path, title in found.items() if title}


def _guide(match: re.Match[str]) -> str:
    """Link a title in italics to its guide; a README alone can't, so it names the title only."""
    title = " ".join(match[1].split())
    return f"[{title}]({_guides()[title]})" if title in _guides() else match[0]


def _live(example: Example) -> str:
    if example.name in NOT_LIVE:
        reason = NOT_LIVE[example.name]
        return f"This app does not run {IN_THE_PAGE}, because {reason}.\n\n"
    options = f"{LIVE[example.name]}\n".lstrip("\n")
    return f"```{{live-app}} {example.path}\n{options}```\n\n"


def _gallery() -> str:
    examples = {example.name: example for example in all_examples()}
    wants = [
        f"- {row.want}: [{name}]({name}.md)"
        for rows in GROUPS.values()
        for name, row in rows.items()
        if name in examples
    ]
    text = [GALLERY, "## I want to ...", "", *sorted(wants)]
    named = [name for rows in GROUPS.values() for name in rows]
    for group, rows in GROUPS.items():
        names = [name for name in examples if name in rows or (not rows and name not in named)]
        cards = [line for name in names for line in _card(examples[name])]
        lead = [LEADS[group], ""] if group in LEADS else []
        grid = [":::::{grid} 1 2 2 3", ":gutter: 3", "", *cards, ":::::"]
        tree = ["```{toctree}", ":hidden:", f":caption: {group}", "", *names, "```", ""]
        text += ["", f"## {group}", "", *lead, *tree, *grid] if names else []
    return "\n".join([*text, ""])


def _card(example: Example) -> Iterator[str]:
    title, introduction, _ = example.readme()
    first = re.split(r"(?<=[.!?])\s", re.sub(r"\s+", " ", introduction))[0]
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", first).rstrip(":.") + "."
    picture = [f":img-top: /{example.picture}"] if example.picture else []
    link = [f":link: {example.name}", ":link-type: doc"]
    yield from (f"::::{{grid-item-card}} {title}", *link, *picture, "", plain, "::::", "")


def size_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Give browsers the sizes of pictures, so that nothing moves; those of cards load late."""
    for image in doctree.findall(nodes.image):
        if image["uri"].startswith(PICTURES):
            with Image.open(Path(app.srcdir) / image["uri"]) as picture:
                image["width"], image["height"] = map(str, picture.size)
            # Or Sphinx would put a link around it, inside of the card's.
            image["classes"].append("no-scaled-link")
            if "sd-card-img-top" in image["classes"]:
                image["loading"] = "lazy"


def write_archives(app: Sphinx, exception: Exception | None) -> None:
    """Write the .zip of each example, with the wheel that is built already."""
    if exception is None and app.builder.name == "html":
        [wheel] = (Path(app.outdir) / "get").glob("*.whl")
        for example in filter(lambda one: one.stands_alone, all_examples() + all_steps()):
            example.write_archive(Path(app.outdir) / example.archive, wheel)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directive and the gallery to Sphinx."""
    app.add_directive("example", ExampleDirective)
    app.connect("config-inited", write_pages)
    app.connect("doctree-read", size_pictures)
    app.connect("build-finished", write_archives)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
