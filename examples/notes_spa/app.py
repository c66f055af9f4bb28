"""Notes: a REST API, and a front end in Preact that needs no build step."""

import hashlib
import mimetypes
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods
from pydantic import BaseModel, Field

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("DATABASE", HERE / "data" / "notes.sqlite3"))
SCHEMA = """CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL, text TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1
) STRICT"""
MOST_NOTES = 1000
STATIC = HERE / "static"
FILES = {
    path.relative_to(STATIC).as_posix(): path.read_bytes()
    for path in STATIC.rglob("*.*")
}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class NewNote(BaseModel):
    """The fields that a client sends."""

    title: str = Field(min_length=1, max_length=100)
    text: str = Field(max_length=10_000)


def rows(statement: str, *values: Any) -> list[dict[str, Any]]:
    """Execute an SQL statement, and return its rows."""
    with closing(sqlite3.connect(DATABASE, timeout=30)) as connection, connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(statement, values)]


def create_table() -> None:
    """Create what isn't there yet, the folder too."""
    DATABASE.parent.mkdir(parents=True, exist_ok=True)
    rows(SCHEMA)


class JsonErrors(HttpMiddleware):
    """Sends each error as ``{"error": "..."}``, MicroPie's own 404 and 405 included."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the text of an error."""
        if status < 400 or not isinstance(body, str):
            return None
        kept = [pair for pair in headers if pair[0].lower() != "content-type"]
        return {"body": {"error": body}, "headers": kept}


class Api(App):
    """``/api``: ``notes`` is all of them, and ``notes/1`` is one."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024)
        self.middlewares.append(JsonErrors())
        self.startup_handlers.append(create_table)

    @methods("GET", "POST", "PUT", "DELETE")
    def notes(self, note_id: int | None = None, /, note: NewNote | None = None) -> Any:
        """Do what the method says."""
        method = self.request.method.replace("HEAD", "GET")
        if method in {"POST", "PUT"} and note is None:
            raise HTTPError(400, "The note is missing")
        # A string, since the sqlite3 module refuses an integer of more than 64 bits.
        key = None if note_id is None else str(note_id)
        match method, key, note:
            case "GET", None, _:
                return rows("SELECT id, title FROM notes ORDER BY title, id")
            case "POST", None, NewNote():
                return self._add(note)
            case "GET", str(), _:
                return self._shown(rows("SELECT * FROM notes WHERE id = ?", key))
            case "PUT", str(), NewNote():
                return self._change(key, note)
            case "DELETE", str(), _:
                self._shown(rows("DELETE FROM notes WHERE id = ? RETURNING *", key))
                return None
        allowed = "GET, POST" if note_id is None else "GET, PUT, DELETE"
        raise HTTPError(405, headers={"allow": allowed})

    def _add(self, note: NewNote) -> Any:
        added = rows(
            "INSERT INTO notes (title, text) SELECT ?, ?"
            " WHERE (SELECT count(*) FROM notes) < ? RETURNING *",
            *(note.title, note.text, MOST_NOTES),
        )
        if not added:
            raise HTTPError(409, f"There is no room for more than {MOST_NOTES} notes")
        return self._shown(added, 201)

    def _change(self, key: str, note: NewNote) -> Any:
        """Change the version that the client has seen, and no other one."""
        seen = self.request.headers.get("if-match", "")
        if not seen:
            raise HTTPError(428, "Send the ETag of the note as If-Match")
        changed = rows(
            "UPDATE notes SET title = ?, text = ?, version = version + 1"
            " WHERE id = ? AND version = ? RETURNING *",
            *(note.title, note.text, key, seen.strip('"')),
        )
        if not changed:
            self._shown(rows("SELECT * FROM notes WHERE id = ?", key))
            raise HTTPError(412, "This note was changed elsewhere: load it again")
        return self._shown(changed)

    def _shown(self, found: list[dict[str, Any]], status: int = 200) -> Any:
        """Return one note with its ETag."""
        if not found:
            raise HTTPError(404, "There is no such note")
        [note] = found
        return status, note, {"etag": f'"{note["version"]}"'}


class Root(App):
    """The front end; its URLs are the client's, so each gets the same page."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self.mounts["/api"] = Api()

    @methods("GET")
    async def index(self, *path: str) -> Any:
        """Show the page; its script looks at the path."""
        page = await self._render_template("index.html")
        return 200, page, {"content-security-policy": POLICY}

    @methods("GET")
    async def static(self, *path: str) -> Any:
        """Send a file that was there at the start."""
        name = "/".join(path)
        if name not in FILES:
            raise HTTPError(404)
        content = FILES[name]
        tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        headers = {"etag": tag, "cache-control": "no-cache"}  # ask each time
        if tag in self.request.headers.get("if-none-match", ""):
            return 304, None, headers
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return 200, content, headers | {"content-type": kind}

    def _url(self, path: str = "") -> str:
        """Return the URL of a path of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
