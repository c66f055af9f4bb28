"""Lists the examples beside this folder, in groups, with their files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

GROUPS = {
    "Basics": (
        "hello_world",
        "routing",
        "forms",
        "json_api",
        "validation",
        "headers_and_cookies",
        "templates",
        "static_files",
    ),
    "Data in and out": ("file_uploads", "streaming", "server_sent_events"),
    "Real time": ("websockets", "socketio"),
    "State": ("sessions", "session_backends", "lifespan"),
    "Shape": (
        "middleware",
        "explicit_routing",
        "sub_apps",
        "background_jobs",
        "testing",
        "wsgi",
    ),
    "Whole apps to start from": ("pastebin", "url_shortener", "blog"),
}
OTHERS = "More"
NOT_OPENED = {
    "testing": "There is nothing to see in a browser: "
    "it is about the tests beside the app.",
    "wsgi": "It is about gunicorn and uWSGI, which are servers of their own.",
}
REMARKS = {
    "hello_world": "It answers with a line of text. "
    "Its README says what else to ask it for.",
    "json_api": "It speaks JSON. Its README says what to send it.",
    "lifespan": "It speaks JSON: a list of books, and there are none yet. "
    "Its README says how to add some.",
    "session_backends": "It opens with SQLite. "
    "Its README says how to start it with Redis and with PostgreSQL.",
    "validation": "It speaks JSON. Its README says what to send it.",
}
# The variables that say where an example writes; {data} is a folder of its own.
SETTINGS = {
    "blog": {"BLOG_DATA": "{data}"},
    "file_uploads": {"UPLOAD_FOLDER": "{data}/uploads"},
    "lifespan": {"DATABASE": "{data}/books.sqlite3"},
    "pastebin": {"PASTEBIN_DATABASE": "sqlite+aiosqlite:///{data}/pastes.sqlite3"},
    "session_backends": {
        "SESSION_STORE": "sqlite+aiosqlite:///{data}/sessions.sqlite3"
    },
    "streaming": {"DATABASE": "{data}/orders.sqlite3"},
    "url_shortener": {"SHORTENER_DATABASE": "sqlite+aiosqlite:///{data}/links.sqlite3"},
}
# What is no part of an example: what it has written, and what tools have.
LEFT_OUT = re.compile(
    r"\..*|__pycache__|node_modules|data|uploads|.*\.(sqlite3|db)(-\w+)?"
)
COMMENTS = re.compile(r"^<!--.*?-->\n", re.M)


@dataclass(frozen=True)
class Example:
    """A folder with an `app.py` and a `README.md`."""

    folder: Path
    group: str

    @property
    def name(self) -> str:
        """The name of the folder."""
        return self.folder.name

    @cached_property
    def readme(self) -> str:
        """The README, without the comments that only its tests read."""
        return COMMENTS.sub(
            "",
            (self.folder / "README.md").read_text(encoding="utf-8", errors="replace"),
        )

    @property
    def title(self) -> str:
        """The heading of the README; without one, the name."""
        return self.readme.partition("\n")[0].lstrip("# ") or self.name

    @property
    def lead(self) -> str:
        """The README's first paragraph, except one that introduces a table or list."""
        paragraph = (
            self.readme.partition("\n\n")[2].partition("\n\n")[0].replace("\n", " ")
        )
        return re.sub(r" [^.]*:$", "", paragraph)

    def files(self) -> dict[str, Path]:
        """Return the text files by their names, the app first; no others are shown."""
        found = {
            path.relative_to(self.folder).as_posix(): path
            for path in _files(self.folder)
            if _is_text(path)
        }
        return dict(
            sorted(
                found.items(),
                key=lambda item: (item[0] != "app.py", item[0].count("/"), item[0]),
            )
        )

    def settings(self, data: Path) -> dict[str, str]:
        """Return the variables for this example.

        It can write into its own folder below `data`.
        """
        folder = data / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return {
            name: value.format(data=folder)
            for name, value in SETTINGS.get(self.name, {}).items()
        }


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if LEFT_OUT.fullmatch(path.name) or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        else:
            yield path


def _is_text(path: Path) -> bool:
    try:
        return "\0" not in path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False


def discover(folder: Path) -> dict[str, Example]:
    """Return the examples of a folder by their names, in the order of the groups.

    Those without a group come last.
    """
    groups = {name: group for group, names in GROUPS.items() for name in names}
    there = sorted(
        path.parent
        for path in folder.glob("*/app.py")
        if (path.parent / "README.md").exists()
    )
    order = [*groups, *(path.name for path in there if path.name not in groups)]
    found = [
        Example(path, groups.get(path.name, OTHERS))
        for path in there
        if path != Path(__file__).parent
    ]
    return {
        example.name: example
        for example in sorted(found, key=lambda example: order.index(example.name))
    }
