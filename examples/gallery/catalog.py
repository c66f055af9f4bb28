"""Lists the examples beside this folder, in groups, with their files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """A row of the catalog.

    Attributes:
        want: How the sentence "I want to ..." ends.
        level: 1 for the first evening, 2 for a small app, 3 for a large one.
        words: What people also type to find it.
        opens: "page" in a browser, "console" if it speaks JSON or plain text, "" if
            there is nothing to open.
    """

    want: str
    level: int
    words: str = ""
    opens: str = "page"


GROUPS: dict[str, dict[str, Row]] = {
    "Learn": {
        "hello_world": Row(
            "see the smallest app", 1, "hello first start quickstart", opens="console"
        ),
        "routing": Row("turn methods into URLs", 1, "url path route parameters query"),
        "forms": Row("check a form and show its errors", 1, "html post input errors"),
        "json_api": Row(
            "write a REST API",
            1,
            "rest crud api json sqlite pagination",
            opens="console",
        ),
        "templates": Row(
            "render pages with Jinja2", 1, "html jinja mako layout render"
        ),
        "headers_and_cookies": Row(
            "read and send headers and cookies", 1, "etag cache"
        ),
        "validation": Row(
            "check JSON with models", 1, "pydantic msgspec schema", opens="console"
        ),
        "static_files": Row("serve CSS, scripts and pictures", 1, "assets cdn cache"),
        "file_uploads": Row("take files, with progress", 2, "upload multipart drop"),
        "streaming": Row("send large or slow responses", 2, "csv range video download"),
        "server_sent_events": Row("push events to pages", 2, "sse live realtime push"),
        "websockets": Row("chat over WebSockets", 2, "realtime rooms socket live"),
        "socketio": Row("use Socket.IO", 2, "realtime chat rooms"),
        "sessions": Row(
            "log in and out, in the simplest way", 1, "login cookie counter"
        ),
        "session_backends": Row("keep sessions in Redis or SQL", 2, "postgres store"),
        "lifespan": Row(
            "open a pool at startup",
            2,
            "database sqlite shutdown pool",
            opens="console",
        ),
        "middleware": Row(
            "add CORS, rate limits, headers or error pages",
            2,
            "cors csrf basic bearer auth rate limit throttle security timing token",
            opens="console",
        ),
        "explicit_routing": Row(
            "write routes by hand", 2, "decorator router patterns", opens="console"
        ),
        "sub_apps": Row("split an app into parts", 2, "mount blueprint include"),
        "mounting": Row(
            "combine MicroPie with FastAPI or a WSGI app",
            3,
            "asgi flask django lifespan migrate",
            opens="console",
        ),
        "background_jobs": Row(
            "work in the background and on a schedule",
            2,
            "queue cron celery taskiq worker scheduler task",
        ),
        "wsgi": Row("run under a WSGI server", 2, "gunicorn uwsgi deploy", opens=""),
        "testing": Row("test an app", 2, "pytest test client httpx", opens=""),
    },
    "Start from": {
        "todo_htmx": Row("keep a list with htmx", 1, "todo htmx crud sqlite partial"),
        "crud_sql": Row(
            "keep data in PostgreSQL or SQLite",
            2,
            "crud sqlalchemy alembic migrations orm postgres database docker",
            opens="console",
        ),
        "login": Row(
            "have accounts, with password reset by mail",
            2,
            "login account register sign up password reset email auth user",
        ),
        "api_jwt": Row(
            "protect an API with tokens",
            2,
            "jwt token bearer auth oauth2",
            opens="console",
        ),
        "api_openapi": Row("document an API", 2, "openapi swagger schema docs client"),
        "notes_spa": Row(
            "put a Vue or React page on a REST API",
            2,
            "spa vue react frontend single page rest crud",
        ),
        "llm_chat": Row(
            "stream answers of a language model", 2, "llm ai openai gpt chat"
        ),
        "oauth_login": Row(
            "log in with another provider", 2, "oauth oidc google github"
        ),
        "webhook": Row(
            "receive webhooks",
            2,
            "webhook hmac signature queue stripe github",
            opens="console",
        ),
        "admin": Row(
            "edit tables in an admin interface", 3, "admin crud backoffice table"
        ),
        "mcp_server": Row(
            "serve tools to AI agents", 2, "mcp llm tools agent ai", opens="console"
        ),
        "graphql": Row("answer GraphQL", 2, "graphql strawberry query subscription"),
        "observability": Row(
            "watch an app: logs, metrics, traces, errors, health",
            3,
            "structlog prometheus grafana opentelemetry sentry monitoring request id",
            opens="",
        ),
        "blog_small": Row(
            "start a site with posts and accounts", 2, "blog cms posts feed"
        ),
    },
    "Whole apps": {
        "pastebin": Row("share snippets of code", 3, "paste snippet highlight syntax"),
        "url_shortener": Row(
            "shorten links and count clicks", 3, "links qr statistics"
        ),
        "cluster": Row(
            "run a chat on several machines, with Redis and nginx",
            3,
            "cluster scale redis streams nginx workers presence realtime failover",
        ),
        "blog": Row(
            "see a whole site, with deployment",
            3,
            "blog cms docker compose postgres feed accounts",
        ),
        "deploy": Row(
            "put an app on a server, with HTTPS",
            3,
            "systemd nginx caddy docker gunicorn granian https certbot debian",
        ),
    },
}
OTHERS = "More"
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
    row: Row

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

    @cached_property
    def searched(self) -> str:
        """All that a search looks at, in lower case."""
        return " ".join((self.name, self.readme, self.row.want, self.row.words)).lower()

    @cached_property
    def lines(self) -> int:
        """How many lines of Python its app has, without its tests."""
        return sum(
            len(path.read_text(encoding="utf-8").splitlines())
            for name, path in self.files().items()
            if name.endswith(".py") and "test" not in name
        )

    @cached_property
    def packages(self) -> list[str]:
        """The packages that it needs beside MicroPie."""
        path = self.folder / "requirements.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        found = [
            re.split(r"[\[<>=~! ]", line)[0] for line in lines if line[:1].isalnum()
        ]
        return [name for name in found if name != "micropie"]

    def settings(self, data: Path) -> dict[str, str]:
        """Return its variables, with its own folder and an open sign-up."""
        folder = data / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return {
            "DATA": str(folder),
            "BLOG_DATA": str(folder),
            "BLOG_SIGN_UP": "open",
            "DATABASE": f"{folder}/app.sqlite3",
            "DATABASE_URL": f"sqlite+aiosqlite:///{folder}/app.sqlite3",
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
    rows = {
        name: (group, row) for group in GROUPS for name, row in GROUPS[group].items()
    }
    there = sorted(
        path.parent
        for path in folder.glob("*/app.py")
        if (path.parent / "README.md").exists()
    )
    order = [*rows, *(path.name for path in there if path.name not in rows)]
    found = [
        Example(path, *rows.get(path.name, (OTHERS, Row("", 1))))
        for path in there
        if path != Path(__file__).parent
    ]
    return {
        example.name: example
        for example in sorted(found, key=lambda example: order.index(example.name))
    }
