"""Lets a reader run the app of a page in the page.

    ```{live-app} app.py
    ```

below the files of a page runs them, with the app in `app.py`. The path of a folder runs that
example or step:

    ```{live-app} tutorials/05-database
    :url: /results
    ```

Options:

    url        the first address that the browser of the page shows, `/` unless told otherwise
    packages   what the app needs besides micropie[standard], from docs/live/requirements.txt
    files      the files of the app, if not all of them are needed
    beside     a file of the repository that the app also needs, and the page does not show
    edit       the files that the editor shows, if not all of them are to be changed
    visitors   how many browsers there are at first
    height     of a browser, `24rem` unless told otherwise
    requests   how many of the page's commands can be sent, if not all of them, or `none`
    without    words of a command that is left out

The `curl` commands of the page that talk to this app become requests to send, in their order, each
with the output that the page shows. A page without JavaScript, and every other builder, shows the
files alone.

    ```{live-step} 5
    ```

does the same for a step of the tutorial, and lets the reader do the step in the page.
"""

import base64
import difflib
import gzip
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

from blocks import WITH_ERRORS, Block, Comment, blocks, orders
from docutils import nodes
from docutils.parsers.rst import directives
from live_build import CannotBuildError, cached_build
from live_requests import Files, NotHereError, Request, filled, keep, request, split
from micropie_examples import Example, all_steps
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata
from steps import to_root

ROOT = Path(__file__).resolve().parents[2]
STATIC = "_static/live"
# Words of an app that has templates. The package comes later if it has some without these words.
TEMPLATES = re.compile("jinja2|render_template|templates")
# The packages for "Check" besides the app's: the ninth step's runs the reader's own tests.
CHECK_NEEDS = {9: ["pytest", "pytest-asyncio", "httpx", "httpx-ws"]}
NOT_RUN = re.compile(
    r"(^|/)(test_\w+\.py|conftest\.py|pytest\.ini|requirements\S*\.txt|\..*|\w+\.md|[A-Z]\w+)$"
)
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*=")
SIZE = 1_000_000  # bytes: a larger file is not taken into a page
TEXT = {".py", ".html", ".css", ".js", ".txt", ".json", ".svg", ".sql", ".ini", ".toml", ".mako"}
PLACE = re.compile(r"^[`:]{3,}\{live-(?:app|step)\} (?P<path>.+)$", re.M)
DIRECTIVE = re.compile(r"^(`{3,}|:{3,})\{live-(?:app|step)\}.*\n(?:.*\n)*?\1\n?", re.M)
log = logging.getLogger(__name__)


# --- The app of a page --------------------------------------------------------------------------


class LiveApp(SphinxDirective):
    """Puts the bar with Run on a page."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {
        "url": directives.unchanged,
        "packages": directives.unchanged,
        "files": directives.unchanged,
        "beside": directives.unchanged,
        "edit": directives.unchanged,
        "visitors": directives.positive_int,
        "height": directives.unchanged,
        "requests": directives.unchanged,
        "without": directives.unchanged,
    }

    def run(self) -> list[nodes.Node]:
        """Return the empty place of the bar, and keep the app for the site."""
        if self.env.app.builder.format != "html":
            return []
        path = self.arguments[0]
        page = Page(self.env.docname, Path(self.env.doc2path(self.env.docname)).read_text())
        is_folder = (ROOT / path).is_dir()
        app = self._from_folder(path) if is_folder else self._from_page(page, path)
        if not app["files"]:
            raise self.error(f"There is no app {path} on this page.")
        return [self._place(app)]

    def _from_folder(self, path: str) -> dict[str, Any]:
        example = Example(path)
        for file in example.files():
            self.env.note_dependency(str(file))
        text, line = self._commands(path)
        files = _contents(example)
        page = Page(path, text)
        return self._app(path, "app:app", files, page.requests(line, path, files), {})

    def _commands(self, path: str) -> tuple[str, int]:
        """Return the text with the commands for a folder's app, and the line to begin at."""
        if path.startswith("examples/") and self.env.docname == path:
            return (ROOT / path / "README.md").read_text(), 0
        page = Page(self.env.docname, Path(self.env.doc2path(self.env.docname)).read_text())
        return page.text, page.place_of(path, self._nth(path))

    def _from_page(self, page: "Page", name: str) -> dict[str, Any]:
        line = page.place_of(name, self._nth(name))
        files = page.files(line)
        if beside := self.options.get("beside"):
            self.env.note_dependency(str(ROOT / beside))
            files[Path(beside).name] = (ROOT / beside).read_text()
        target = f"{module_of(name)}:app"
        requests = page.requests(line, name, files)
        return self._app(name, target, files, requests, page.environment(line, name))

    def _nth(self, path: str) -> int:
        """Count the places of the same app on this page."""
        seen: list[str] = self.env.temp_data.setdefault("micropie_live_seen", [])
        seen.append(path)
        return seen.count(path) - 1

    def _app(
        self,
        name: str,
        target: str,
        files: Files,
        requests: list[Request],
        environment: dict[str, str],
    ) -> dict[str, Any]:
        chosen = self.options.get("files", "").split()
        kept = {key: files[key] for key in chosen or files}
        edit = self.options.get("edit", "").split() or [
            key for key, value in kept.items() if isinstance(value, str)
        ]
        return {
            "name": name,
            "target": target,
            "url": self.options.get("url") or first_url(files, requests),
            "packages": standard(kept) + self.options.get("packages", "").split(),
            "visitors": self.options.get("visitors", 1),
            "height": self.options.get("height", "24rem"),
            "edit": edit,
            "files": kept,
            "environment": environment,
            "requests": self._chosen(requests),
        }

    def _chosen(self, requests: list[Request]) -> list[Request]:
        most = self.options.get("requests", "")
        left_out = self.options.get("without")
        kept = [one for one in requests if not left_out or left_out not in one["line"]]
        return kept[: 0 if most == "none" else int(most or len(kept))]

    def _place(self, app: dict[str, Any], step: str = "") -> nodes.Node:
        known = apps(self.env)
        docname = self.env.docname
        number = sum(1 for name in known if name.partition(".")[0] == _flat(docname))
        name = f"{_flat(docname)}.{number + 1}"
        known[name] = app
        up = to_root(docname)
        more = f' data-step="{up}{STATIC}/steps/{step}.json"' if step else ""
        html = (
            f'<div class="live-app" data-live="{up}{STATIC}/apps/{name}.json"{more}'
            f' data-root="{up}" data-size="{size_of(self.env.app, app)}"></div>'
        )
        return nodes.raw("", html, format="html")


def standard(files: Files) -> list[str]:
    """Return the packages of micropie[standard] that an app needs at once."""
    texts = [text for text in files.values() if isinstance(text, str)]
    return ["jinja2", "multipart"] if any(map(TEMPLATES.search, texts)) else ["multipart"]


def first_url(files: Files, requests: list[Request]) -> str:
    """Return what the browser shows first: the first page that is asked for, if "/" is none."""
    if any(
        re.search(r"def index\(|\"/\"", text) for text in files.values() if isinstance(text, str)
    ):
        return "/"
    return next((str(one["path"]) for one in requests if one["method"] == "GET"), "/")


def module_of(path: str) -> str:
    """Return the name by which Python imports a file: `shop.app` for `shop/app.py`."""
    return path.removesuffix(".py").replace("/", ".")


def _flat(docname: str) -> str:
    return docname.replace("/", "-")


def apps(env: Any) -> dict[str, dict[str, Any]]:
    """Return the apps of all pages by their names; an incremental build keeps those of before."""
    known: dict[str, dict[str, Any]] = env.__dict__.setdefault("micropie_live", {})
    return known


def size_of(site: Sphinx, app: dict[str, Any]) -> str:
    """Return what the first Run of an app loads, in words; "" if the site has no runtime."""
    runtime: dict[str, Any] = getattr(site, "_live_runtime", {})
    if not runtime:
        return ""
    files = {file for name in app["packages"] for file in runtime["packages"][name]}
    size = runtime["size"] + sum(runtime["sizes"][file][0] for file in files)
    size += len(gzip.compress(json.dumps(app, ensure_ascii=False).encode()))
    return f"{size / 1e6:.1f} MB"


def _contents(example: Example) -> Files:
    """Return the files that an example needs to run."""
    found: Files = {}
    for path in example.files():
        name = example.relative(path)
        if NOT_RUN.search(name) or path.stat().st_size > SIZE:
            continue
        if path.suffix in TEXT:
            found[name] = path.read_text()
        else:
            found[name] = {"base64": base64.b64encode(path.read_bytes()).decode()}
    return found


class Page:
    """A page as it is written, with the comments that steer its tests."""

    def __init__(self, name: str, text: str) -> None:
        self.name = name
        self.text = text

    def place_of(self, path: str, nth: int) -> int:
        """Return the line of the nth directive for a path."""
        places = [place for place in PLACE.finditer(self.text) if place["path"] == path]
        return self.text.count("\n", 0, places[nth].start()) + 1

    def files(self, line: int) -> Files:
        """Return the files that the page shows above a line, as they are there."""
        found: Files = {}
        for block in blocks(self.text):
            name = block.detail if block.kind == "file" else self._caption(block)
            if name and block.line < line and not NOT_RUN.search(name):
                found[name] = self._content(block)
        return found

    def _caption(self, block: Block) -> str:
        """Return the name above a file that is included as a whole, "" for any other block."""
        lines = self.text.split("\n")[block.line : block.end]
        names = [line.removeprefix(":caption: ") for line in lines if line.startswith(":caption: ")]
        return names[0] if names and block.file.endswith(f"/{names[0]}") else ""

    def _content(self, block: Block) -> str:
        if block.file:
            return ((ROOT / "docs" / self.name).parent / block.file).read_text()
        return block.text

    def requests(self, line: int, path: str, files: Files) -> list[Request]:
        """Return the commands below a line that talk to an app, up to the next app."""
        found: list[Request] = []
        variables: dict[str, str] = {}
        started = restarted = False
        for item in self._items():
            here = item.line > line
            if self._starts(item, path):
                restarted = started and here
                started = True
            elif not here:
                started = started and not self._starts_another(item, path)
            elif started and self._ends(item, path, files):
                break
            elif started and isinstance(item, Block) and self._is_typed(item):
                for one in _requests(item, files, variables):
                    found.append({**one, "restart": restarted})
                    restarted = False
        return found

    def environment(self, line: int, path: str) -> dict[str, str]:
        """Return the variables that the command next to a line sets for the app's server."""
        commands = [
            item
            for item in blocks(self.text)
            if item.kind == "serves" and f"{module_of(path)}:app" in item.text
        ]
        if not commands:
            return {}
        command = min(commands, key=lambda item: abs(item.end - line)).text
        found = _variables(command.partition("uvicorn")[0])
        if "--env-file .env" in command:
            written = [item.text for item in blocks(self.text) if item.comment == "file: .env"]
            found |= _variables(written[0])
        return found

    def _items(self) -> list[Block | Comment]:
        items: list[Block | Comment] = [*blocks(self.text), *orders(self.text, {"server"})]
        return sorted(items, key=lambda item: item.line)

    def _starts(self, item: Block | Comment, path: str) -> bool:
        """Say whether an item starts this app's server, for the first time or again."""
        if isinstance(item, Comment):
            return item.detail.removesuffix(WITH_ERRORS) == path
        if item.kind != "serves":
            return False
        return (ROOT / path).is_dir() or f"{module_of(path)}:app" in item.text

    def _starts_another(self, item: Block | Comment, path: str) -> bool:
        return isinstance(item, Comment) and not self._starts(item, path)

    def _ends(self, item: Block | Comment, path: str, files: Files) -> bool:
        """Say whether another app runs from here on, or other files."""
        if isinstance(item, Comment) or item.kind == "serves":
            return not self._starts(item, path)
        return item.kind == "file" and item.detail in files

    def _is_typed(self, item: Block) -> bool:
        return item.language == "console" and item.kind in {"", "server", "slow"}


def _variables(text: str) -> dict[str, str]:
    words = shlex.split(text, comments=True)
    return dict(word.split("=", 1) for word in words if VARIABLE.match(word))


def _requests(block: Block, files: Files, variables: dict[str, str]) -> Iterator[Request]:
    for command, output in split(block.text):
        keep(command, variables)
        with suppress(NotHereError):
            yield request(filled(command, variables), output, files)


# --- A step of the tutorial ---------------------------------------------------------------------


class LiveStep(LiveApp):
    """Puts a step on its page: its app, and the way to do the step there."""

    def run(self) -> list[nodes.Node]:
        """Return the empty place of the bar, and keep the app and the step for the site."""
        if self.env.app.builder.format != "html":
            return []
        number = int(self.arguments[0])
        step = all_steps()[number - 1]
        for file in step.files():
            self.env.note_dependency(str(file))
        page = Page(self.env.docname, Path(self.env.doc2path(self.env.docname)).read_text())
        files = _contents(step)
        app = self._app(step.path, "app:app", files, page.requests(0, step.path, files), {})
        steps = self.env.__dict__.setdefault("micropie_live_steps", {})
        name = f"{number:02}"
        steps[name] = self._step(number, app)
        return [self._place(app, name)]

    def _step(self, number: int, app: dict[str, Any]) -> dict[str, Any]:
        ways = all_steps()
        start = _step_files(ways[number - 2]) if number > 1 else {}
        end = _step_files(ways[number - 1])
        return {
            "number": number,
            "title": ways[number - 1].name,
            "start": start,
            "end": end,
            "order": list(end),
            "target": app["target"],
            "url": app["url"],
            "packages": app["packages"] + CHECK_NEEDS.get(number, []),
            "check": f"checks/step_{number:02}.py",
            "changes": [change for name in end for change in changes(name, start, end)],
        }


def _step_files(step: Example) -> Files:
    """Return the files that a reader of the tutorial has at the end of a step."""
    return {step.relative(path): path.read_text() for path in step.files()}


def changes(name: str, start: Files, end: Files) -> list[dict[str, Any]]:
    """Return how a file becomes that of the next step, one change at a time."""
    old = str(start.get(name, "")).splitlines()
    new = str(end[name]).splitlines()
    if name not in start:
        return [{"file": name, "line": 1, "old": [], "new": new, "before": [], "after": []}]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        {
            "file": name,
            "line": first + 1,
            "old": old[first:last],
            "new": new[new_first:new_last],
            "before": old[max(0, first - 3) : first],
            "after": old[last : last + 3],
        }
        for kind, first, last, new_first, new_last in matcher.get_opcodes()
        if kind != "equal"
    ]


# --- The site -----------------------------------------------------------------------------------


def build_runtime(app: Sphinx) -> None:
    """Build what the pages load when a reader presses Run, or say why the site goes without it."""
    app._live_runtime, app._live_folder = {}, None  # type: ignore[attr-defined]
    if app.builder.name != "html":
        return
    try:
        folder = cached_build()
    except CannotBuildError as error:
        log.info("No live apps on this site: %s", error)
        return
    runtime = json.loads((folder / STATIC / "runtime.json").read_text())
    app._live_runtime, app._live_folder = runtime, folder  # type: ignore[attr-defined]


def forget(app: Sphinx, env: Any, docname: str) -> None:
    """Forget the apps of a page that is read anew."""
    for name in [name for name in apps(env) if name.partition(".")[0] == _flat(docname)]:
        del apps(env)[name]


def add_scripts(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Give the small script and its style sheet to the pages that have a live app."""
    if getattr(app, "_live_folder", None) and any(
        name.partition(".")[0] == _flat(page) for name in apps(app.env)
    ):
        app.add_js_file("live/start.js", loading_method="defer")
        app.add_css_file("live/start.css")


def write_runtime(app: Sphinx, exception: Exception | None) -> None:
    """Write the runtime, the apps and the steps into the site."""
    folder = getattr(app, "_live_folder", None)
    if exception is not None or folder is None:
        return
    static = Path(app.outdir) / STATIC
    shutil.rmtree(static, ignore_errors=True)
    shutil.copytree(folder, app.outdir, dirs_exist_ok=True)
    for kind, rows in (
        ("apps", apps(app.env)),
        ("steps", app.env.__dict__.get("micropie_live_steps", {})),
    ):
        (static / kind).mkdir()
        for name, row in rows.items():
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            (static / kind / f"{name}.json").write_text(text)


def leave_out(app: Sphinx, exception: Exception | None) -> None:
    """Leave the directives out of the pages' copies as text."""
    if exception is None and app.builder.name == "html":
        for path in (Path(app.outdir) / "_sources").rglob("*.md.txt"):
            text = path.read_text()
            if "{live-" in text:
                path.write_text(re.sub(r"\n{3,}", "\n\n", DIRECTIVE.sub("", text)))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Add the directives to Sphinx."""
    app.add_directive("live-app", LiveApp)
    app.add_directive("live-step", LiveStep)
    app.connect("builder-inited", build_runtime)
    app.connect("env-purge-doc", forget)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_runtime, priority=600)
    app.connect("build-finished", leave_out, priority=405)
    return {"parallel_read_safe": False, "parallel_write_safe": False}
