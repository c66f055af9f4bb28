"""A REST API for notes in SQLite, with errors that are JSON too."""

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods

DATABASE = os.environ.get("DATABASE", "data/notes.sqlite3")
SCHEMA = """
CREATE TABLE IF NOT EXISTS notes (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    title TEXT NOT NULL,
    text TEXT NOT NULL,
    changed TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""
LIMITS = {"title": 100, "text": 10_000}


class ErrorsAsJson(HttpMiddleware):
    """Sends every error as JSON, also the 404, 405 and 500 of MicroPie itself."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the body of an error that is text."""
        if status < 400 or not isinstance(body, str):
            return None
        detail = body.partition(": ")[2] or HTTPStatus(status).phrase
        return {"body": {"error": detail}}


class Api(App):
    """``/notes`` is the collection, and ``/notes/1`` one of its notes."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024)
        self.middlewares.append(ErrorsAsJson())
        self.startup_handlers.append(self._create_table)

    async def index(self) -> dict[str, str]:
        """Name the URL of the notes."""
        return {"notes": self._url("notes")}

    # Plain handlers run in worker threads, since the database blocks. `note_id` comes
    # before a `/`, so it comes from the path alone, and no query can choose the note.
    @methods("GET", "POST", "PUT", "PATCH", "DELETE")
    def notes(self, note_id: int | None = None, /) -> Any:
        """Call the method for the HTTP method and the kind of URL."""
        actions = {"GET": self._list, "POST": self._create}
        if note_id is not None:
            actions = {
                "GET": lambda: self._note(note_id),
                "PUT": lambda: self._change(note_id, self._fields(set(LIMITS))),
                "PATCH": lambda: self._change(note_id, self._fields(set())),
                "DELETE": lambda: self._delete(note_id),
            }
        method = "GET" if self.request.method == "HEAD" else self.request.method
        if method not in actions:
            raise HTTPError(405, headers={"allow": ", ".join(sorted(actions))})
        return actions[method]()

    def _list(self) -> dict[str, Any]:
        """Return a page of notes, the newest first; `next` leads to the older ones."""
        limit = self._number("limit", 20, 100)
        before = self._number("before", 2**62, 2**62)
        with self._database() as database:
            rows = database.execute(
                "SELECT * FROM notes WHERE id < ? ORDER BY id DESC LIMIT ?",
                (before, limit + 1),
            ).fetchall()
        notes = [dict(row) for row in rows[:limit]]
        more = f"notes?before={notes[-1]['id']}&limit={limit}" if rows[limit:] else ""
        return {"notes": notes, "next": self._url(more) if more else None}

    def _create(self) -> tuple[int, dict[str, Any], dict[str, str]]:
        fields = {"text": "", **self._fields({"title"})}
        with self._database() as database:
            sql = "INSERT INTO notes (title, text) VALUES (:title, :text)"
            note_id = database.execute(sql, fields).lastrowid
        place = {"location": self._url(f"notes/{note_id}")}
        return 201, self._note(note_id or 0), place

    def _change(self, note_id: int, fields: dict[str, str]) -> dict[str, Any]:
        with self._database() as database:
            for name, value in fields.items():  # the names are those of LIMITS
                sql = f"UPDATE notes SET {name} = ?, changed = CURRENT_TIMESTAMP"
                database.execute(f"{sql} WHERE id = ?", (value, note_id))
        return self._note(note_id)

    def _delete(self, note_id: int) -> None:
        self._note(note_id)
        with self._database() as database:
            database.execute("DELETE FROM notes WHERE id = ?", (note_id,))

    def _note(self, note_id: int) -> dict[str, Any]:
        with self._database() as database:
            sql = "SELECT * FROM notes WHERE id = ?"
            row = database.execute(sql, (note_id,)).fetchone()
        if row is None:
            raise HTTPError(404, {"error": f"There is no note {note_id}"})
        return dict(row)

    def _fields(self, required: set[str]) -> dict[str, str]:
        """Return the fields of the JSON body, or raise an HTTPError."""
        body = self.request.json()
        kind = self.request.headers.get("content-type", "").partition(";")[0]
        if kind.strip().lower() != "application/json":
            raise HTTPError(415, {"error": "Send application/json"})
        if not isinstance(body, dict) or not required <= body.keys() <= LIMITS.keys():
            raise HTTPError(422, {"error": f"Send an object with {', '.join(LIMITS)}"})
        for name, value in body.items():
            if not isinstance(value, str) or len(value) > LIMITS[name]:
                error = f"{name} is a text with at most {LIMITS[name]} characters"
                raise HTTPError(422, {"error": error})
        return body

    def _number(self, name: str, default: int, largest: int) -> int:
        text = self.request.query(name, str(default))
        if not re.fullmatch("[0-9]{1,19}", text) or int(text) > largest:
            raise HTTPError(422, {"error": f"{name} is a number up to {largest}"})
        return int(text)

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """Open the database for one transaction."""
        with closing(sqlite3.connect(DATABASE, timeout=30)) as database, database:
            database.row_factory = sqlite3.Row
            yield database

    def _create_table(self) -> None:
        Path(DATABASE).parent.mkdir(parents=True, exist_ok=True)
        with self._database() as database:
            with suppress(sqlite3.OperationalError):  # another worker does it now
                database.execute("PRAGMA journal_mode = WAL")
            database.execute(SCHEMA)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Api()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
