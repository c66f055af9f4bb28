"""Builds the site, reads its pages, and serves them."""

import contextlib
import fcntl
import functools
import http.server
import os
import subprocess
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from tests.processes import ROOT

# Pages that Sphinx writes itself.
OWN_PAGES = {
    "genindex.html",
    "py-modindex.html",
    "search.html",
    "_modules/index.html",
    "_modules/micropie.html",
}
NO_NETWORK = dict.fromkeys(
    ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"
)


def build(builder: str, target: Path, doctrees: Path, *pages: str) -> str:
    """Build the site as `make docs` does, cut off from the network; return its output if it fails.

    Args:
        builder: The builder's name.
        target: The folder that gets what is built.
        doctrees: The folder that keeps what was read; with that of another build, nothing is read
            twice.
        pages: Sources of the pages to write, from docs/; all if none is named.
    """
    result = subprocess.run(
        [
            *[sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-b", builder],
            *[
                "-d",
                str(doctrees),
                str(ROOT / "docs"),
                str(target),
                *(str(ROOT / "docs" / page) for page in pages),
            ],
        ],
        cwd=ROOT,
        env={**os.environ, **NO_NETWORK},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return result.stdout + result.stderr if result.returncode else ""


def built(base: Path) -> "Site":
    """Build the site once for all processes of a run, each with its own temporary folder."""
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, record = shared / "site", shared / "site.txt"
    with (shared / "site.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_text(build("html", folder, shared / "doctrees"))
    return Site(folder, shared / "doctrees", record.read_text())


@dataclass
class Page(HTMLParser):
    """The contents and the links of one page of the site."""

    path: str
    title: str = ""
    headings: list[str] = field(default_factory=list)  # the main ones
    opening: str = ""  # the text between its main heading and the next heading
    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)  # and pictures, as they are written
    meta: dict[str, str] = field(default_factory=dict)  # for other sites, such as `og:image`
    in_body: bool = False  # where pictures have titles too

    def __post_init__(self) -> None:
        super().__init__()
        self._tags: list[str] = []
        self._heading = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.in_body = self.in_body or tag == "body"
        if "id" in values:
            self.ids.add(values["id"])
        if (
            tag in {"a", "img", "link", "script", "source", "video"}
            and values.get("rel") != "canonical"
        ):
            self.links += [values[name] for name in ("href", "src") if name in values]
        if tag == "meta" and "property" in values:
            self.meta[values["property"]] = values.get("content", "")
        if tag in {"title", "h1", "h2", "p"}:
            self._tags.append(tag)
        if tag in {"h1", "h2", "footer"}:
            self._heading = tag
        if tag == "h1":
            self.headings.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag in self._tags:
            self._tags.remove(tag)

    def handle_data(self, data: str) -> None:
        inside = self._tags[-1] if self._tags else ""
        if inside == "title" and not self.in_body:
            self.title += data
        elif inside == "h1":
            self.headings[-1] += data
        elif inside == "p" and self._heading == "h1":
            self.opening += data


class Site:
    """The built site: its folder, what Sphinx has read and printed, and its pages by path."""

    def __init__(self, folder: Path, doctrees: Path, messages: str) -> None:
        self.folder = folder
        self.doctrees = doctrees
        self.messages = messages
        self.pages: dict[str, Page] = {}
        for file in sorted(folder.rglob("*.html")):
            page = Page(file.relative_to(folder).as_posix())
            if not page.path.startswith(("_static/", "_downloads/")):
                page.feed(file.read_text())
                self.pages[page.path] = page

    def problem(self, page: Page, link: str) -> str:
        """Say what is wrong with a link of a page, or return ""."""
        parts = urllib.parse.urlsplit(link)
        if parts.scheme or parts.netloc:
            return ""
        path = urllib.parse.unquote(parts.path)
        target = urllib.parse.urljoin(f"/{page.path}", path).lstrip("/") if path else page.path
        if target.endswith("/") or target == "":
            target += "index.html"
        if not (self.folder / target).is_file():
            return f"{page.path} leads to {link}: no such file"
        fragment = urllib.parse.unquote(parts.fragment)
        known = self.pages.get(target)
        if fragment.startswith("file="):  # site.js opens the tab of that file
            named = ROOT / target.removesuffix(".html") / fragment.removeprefix("file=")
            return "" if named.is_file() else f"{page.path} leads to {link}: no such file"
        if fragment and known and fragment not in known.ids:
            return f"{page.path} leads to {link}: no such anchor"
        return ""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
