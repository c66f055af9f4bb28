"""A JSON API: create, read, change and delete notes, with errors that are JSON too."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from itertools import count
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods


@dataclass(frozen=True)
class Note:
    """What the API keeps: a dataclass that is returned is sent as JSON."""

    id: int
    title: str
    text: str
    changed: datetime


# The names of RFC 9110, which MicroPie sends too; Python before 3.13 has older ones.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
FIELDS = {"title": 100, "text": 10_000}


class Problems(HttpMiddleware):
    """Sends every error as ``application/problem+json`` (RFC 9457).

    The framework's own 404, 405 and 500 are included.
    """

    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> dict[str, Any] | None:
        """Replace the body of an error."""
        if status_code < 400:
            return None
        title = PHRASES.get(status_code) or HTTPStatus(status_code).phrase
        problem: dict[str, Any] = {"status": status_code, "title": title}
        if isinstance(response_body, bytes):  # a handler's own: JSON already
            problem |= json.loads(response_body)
        elif ": " in response_body and status_code < 500:
            problem["detail"] = response_body.partition(": ")[2]
        kept = [pair for pair in extra_headers if pair[0].lower() != "content-type"]
        return {
            "body": problem,
            "headers": [("content-type", "application/problem+json"), *kept],
        }


class Api(App):
    """``/notes`` is the collection, ``/notes/1`` one of its notes."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024)
        self.middlewares.append(Problems())
        self._notes: dict[int, Note] = {}
        self._numbers = count(1)

    async def index(self) -> dict[str, str]:
        """Say where things are."""
        return {"notes": f"{self._base()}/notes"}

    @methods("GET", "POST", "PUT", "PATCH", "DELETE")
    async def notes(self, note_id: int | None = None) -> Any:
        """Hand over to the method that does it."""
        actions: dict[str, Callable[[], Any]] = {
            "GET": self._list,
            "POST": self._create,
        }
        if note_id is not None:
            note = self._note(note_id)
            actions = {
                "GET": lambda: note,
                "PUT": lambda: self._store(note, self._fields(set(FIELDS))),
                "PATCH": lambda: self._store(note, self._fields(set())),
                "DELETE": lambda: self._delete(note),
            }
        method = "GET" if self.request.method == "HEAD" else self.request.method
        if method not in actions:
            raise HTTPError(405, headers={"allow": ", ".join(sorted(actions))})
        return actions[method]()

    def _list(self) -> dict[str, Any]:
        """Return one page, the newest first."""
        limit, offset = (
            self._number("limit", 20, 100),
            self._number("offset", 0, 10**9),
        )
        newest = sorted(self._notes.values(), key=lambda note: -note.id)
        return {"total": len(newest), "notes": newest[offset : offset + limit]}

    def _create(self) -> tuple[int, Note, dict[str, str]]:
        fields = self._fields({"title"})
        note = self._store(Note(next(self._numbers), "", "", datetime.now(UTC)), fields)
        return 201, note, {"location": f"{self._base()}/notes/{note.id}"}

    def _store(self, note: Note, fields: dict[str, str]) -> Note:
        self._notes[note.id] = replace(note, **fields, changed=datetime.now(UTC))
        return self._notes[note.id]

    def _delete(self, note: Note) -> None:
        del self._notes[note.id]

    def _note(self, note_id: int) -> Note:
        try:
            return self._notes[note_id]
        except KeyError:
            raise HTTPError(404, {"detail": f"There is no note {note_id}"}) from None

    def _fields(self, required: set[str]) -> dict[str, str]:
        """Return the checked fields of the body.

        Raises:
            HTTPError: 415 the body is no JSON; 422 it is, but makes no note.
        """
        kind = (
            self.request.headers.get("content-type", "")
            .partition(";")[0]
            .strip()
            .lower()
        )
        if kind != "application/json":
            raise HTTPError(415, {"detail": "Send application/json"})
        body = self.request.json()
        if not isinstance(body, dict):
            raise HTTPError(422, {"detail": "Send an object"})
        wrong = dict.fromkeys(required - body.keys(), "is missing")
        wrong |= dict.fromkeys(body.keys() - FIELDS.keys(), "is unknown")
        for name, longest in FIELDS.items():
            value = body.get(name, "")
            if not isinstance(value, str) or len(value) > longest:
                wrong[name] = f"must be a text of at most {longest} characters"
        if wrong:
            raise HTTPError(
                422,
                {
                    "detail": "The note is not right",
                    "fields": dict(sorted(wrong.items())),
                },
            )
        return body

    def _number(self, name: str, default: int, most: int) -> int:
        text = self.request.query(name, str(default))
        if (
            not text.isascii()
            or not text.isdigit()
            or len(text) > 10
            or int(text) > most
        ):
            raise HTTPError(400, {"detail": f"{name} must be a number up to {most}"})
        return int(text)

    def _base(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", ""))


app = Api()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
