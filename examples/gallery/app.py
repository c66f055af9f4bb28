"""The gallery. It mounts the examples, and shows their sources and READMEs."""

import asyncio
import atexit
import functools
import json
import logging
import os
import posixpath
import shutil
import tempfile
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, methods, routes

from bar import CSS, with_bar
from catalog import GROUPS, OTHERS, Example, discover
from documentation import Documentation
from isolation import load
from lifespan import Lifespan
from rendering import code_css, lead_html, readme_html, source_html
from seeds import SEEDS, Seeds

HERE = Path(__file__).resolve().parent
README_SERVER = "http://127.0.0.1:8000"  # where a README says that its app is
LONGEST_QUERY = 100
LEVELS = {1: "first evening", 2: "small app", 3: "large"}
ICON = (HERE / "templates" / "icon.svg").read_bytes()

_log = logging.getLogger("uvicorn.error")


class Gallery(App):
    """Cards, and what each of them leads to.

    Args:
        folder: The folder of the examples.
        data: A folder in which those that keep something may write.
        documentation: The folder of the documentation, with the pictures of examples.
        temporary: Whether `data` goes when the server stops; the first page says so.
    """

    def __init__(
        self, folder: Path, data: Path, documentation: Path, *, temporary: bool = False
    ) -> None:
        super().__init__()
        self._examples = discover(folder)
        self._notes: dict[str, str] = {}
        self._pictures = documentation / "images" / "examples"
        self._apps: dict[str, Any] = {}
        self._mount(data)
        self.mounts["/docs"] = Documentation(documentation)
        if temporary:  # else the seeds would come again at each start
            self.mounts["/seeds"] = Seeds(
                self
            )  # the last one, since it needs the others
        self.env.globals |= {
            "temporary": temporary,
            "code_css": functools.cache(code_css),
        }

    def _mount(self, data: Path) -> None:
        """Mount each example; one that cannot be imported gets a note in its place."""
        for name, example in self._examples.items():
            if not example.row.opens:
                continue
            try:
                app = load(example.folder, environment=example.settings(data)).app
            except (Exception, SystemExit) as error:
                _log.warning("the example %s cannot be opened", name, exc_info=error)
                self._notes[name] = (
                    f"It cannot be opened here: {type(error).__name__}: {error}"
                )
                continue
            self._apps[name] = app
            self.mounts[f"/examples/{name}"] = with_bar(app, name)
            # Below the bar, the apps are not told by this one that the server starts.
            lifespan = Lifespan(app)
            self.startup_handlers.append(lifespan.start)
            self.shutdown_handlers.insert(0, lifespan.stop)

    async def index(self, *, q: str = "") -> str:
        """Show the cards, all of them or those that fit a search."""
        cards = [self._card(example) for example in self._examples.values()]
        found = self._found(q)
        for card in cards:
            card["found"] = card["name"] in found
        groups = {
            group: [card for card in cards if card["group"] == group]
            for group in (*GROUPS, OTHERS)
        }
        return await self._page(
            "index.html", q=q[:LONGEST_QUERY], groups=groups, count=len(found)
        )

    async def search(self, *, q: str = "") -> list[str]:
        """Return the names of the examples that fit, for the page's script."""
        return self._found(q)

    def _found(self, query: str) -> list[str]:
        words = query[:LONGEST_QUERY].lower().split()
        return [
            name
            for name, example in self._examples.items()
            if all(word in example.searched for word in words)
        ]

    async def console(self, name: str) -> Any:
        """Show a form that sends requests to an example."""
        example = self._example(name)
        app = self._apps.get(name)
        known = routes(app) if isinstance(app, App) else []
        [(_, first), *_] = SEEDS.get(name) or [("", {})]
        return await self._page(
            "console.html",
            card=self._card(example),
            methods=("GET", "POST", "PUT", "PATCH", "DELETE"),
            paths=[route.path for route in known if route.protocol == "http"],
            body=json.dumps(first.get("json", {}), indent=2),
        )

    @methods("GET")
    async def picture(self, name: str, /) -> tuple[int, bytes, dict[str, str]]:
        """Send the picture of an example."""
        self._example(name)
        try:
            data = await asyncio.to_thread((self._pictures / f"{name}.png").read_bytes)
        except FileNotFoundError:
            raise HTTPError(404) from None
        kept = {"content-type": "image/png", "cache-control": "max-age=3600"}
        return 200, data, kept

    @methods("GET")
    async def bar_css(self) -> tuple[int, str, dict[str, str]]:
        """Send the style sheet of the bar."""
        return 200, CSS, {"content-type": "text/css; charset=utf-8"}

    async def readme(self, name: str) -> Any:
        """Show the README of an example."""
        example = self._example(name)
        text = await asyncio.to_thread(
            readme_html, example.readme.partition("\n")[2], self._links(example)
        )
        return await self._page(
            "readme.html", example=example, card=self._card(example), text=text
        )

    async def source(self, name: str, *path: str) -> Any:
        """Show a file of an example: only those that its folder is known to hold."""
        example = self._example(name)
        files = await asyncio.to_thread(example.files)
        file = "/".join(path) or "app.py"
        if file not in files:
            raise HTTPError(404)
        code = await asyncio.to_thread(
            _highlighted, files[file], file, files[file].stat().st_mtime_ns
        )
        return await self._page(
            "source.html",
            example=example,
            card=self._card(example),
            files=files,
            file=file,
            code=code,
        )

    async def favicon_ico(self) -> tuple[int, bytes, dict[str, str]]:
        """Answer ``/favicon.ico``, which browsers ask for if a page names no icon."""
        return (
            200,
            ICON,
            {"content-type": "image/svg+xml", "cache-control": "max-age=86400"},
        )

    def _example(self, name: str) -> Example:
        try:
            return self._examples[name]
        except KeyError:
            raise HTTPError(404) from None

    def _card(self, example: Example) -> dict[str, Any]:
        """Return what a template shows of an example."""
        lead = lead_html(example.lead)
        return {
            "name": example.name,
            "title": example.title,
            "group": example.group,
            "lead": lead,
            "opens": example.row.opens if example.name in self._apps else "",
            "note": self._notes.get(example.name, ""),
            "picture": (self._pictures / f"{example.name}.png").is_file(),
            "facts": [
                LEVELS[example.row.level],
                f"{example.lines} lines",
                ", ".join(example.packages) or "no other package",
            ],
        }

    def _links(self, example: Example) -> Any:
        """Return a function from a README link to its target here, or to None."""
        base, files = self._base(), example.files()

        def link(href: str) -> str | None:
            if href.startswith(README_SERVER):
                opens = f"/examples/{example.name}" in self.mounts
                return (
                    f"{base}/examples/{example.name}"
                    f"{href.removeprefix(README_SERVER) or '/'}"
                    if opens
                    else None
                )
            if ":" in href or href.startswith("#"):
                return href
            path = posixpath.normpath(
                posixpath.join(example.name, href.partition("#")[0])
            )
            name, _, file = path.partition("/")
            if name in self._examples and file in {"", "README.md"}:
                return f"{base}/readme/{name}"
            return (
                f"{base}/source/{path}"
                if name == example.name and file in files
                else None
            )

        return link

    async def _page(self, template: str, **context: Any) -> str:
        return await self._render_template(template, base=self._base(), **context)

    def _base(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", ""))


@functools.lru_cache(maxsize=500)
def _highlighted(path: Path, name: str, changed: int) -> str:
    """Return a file as HTML; `changed` makes it another one when it is written anew."""
    return source_html(name, path.read_text(encoding="utf-8"))


def make_app(data: str = os.environ.get("GALLERY_DATA", "")) -> Gallery:
    """Return the gallery of the folders beside this one.

    Args:
        data: Where the examples keep what they are given; without one, in a folder that
            is removed at shutdown.
    """
    documentation = HERE.parent.parent / "docs"
    if data:
        return Gallery(HERE.parent, Path(data).resolve(), documentation)
    folder = Path(tempfile.mkdtemp(prefix="gallery-")).resolve()
    remove = functools.partial(shutil.rmtree, folder, ignore_errors=True)
    # For `python -m micropie routes`, which only imports this. No server runs the
    # handlers then.
    atexit.register(remove)
    app = Gallery(HERE.parent, folder, documentation, temporary=True)
    # The parent's run after those of the apps that are mounted.
    app.shutdown_handlers.append(remove)
    return app


app = make_app()

if __name__ == "__main__":
    import uvicorn

    # An open stream of events has no end. Without the time limit, the server would wait
    # for its readers forever.
    uvicorn.run(app, timeout_graceful_shutdown=5)
