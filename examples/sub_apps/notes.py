"""An App of its own, which knows nothing of where it is mounted but its root path."""

import html
import secrets
from typing import Any

from micropie import App, HTTPError, methods

from page import page


class Notes(App):
    """A few notes for each visitor, in a session that no other app sees."""

    def __init__(self) -> None:
        super().__init__()
        self._welcome: list[str] = []
        self.startup_handlers.append(self._prepare)

    def _prepare(self) -> None:
        self._welcome = ["This note was made when the parent started."]

    async def index(self) -> str:
        """List the notes."""
        root = self._path()
        notes = self._welcome + self.request.session.get("notes", [])
        items = "".join(f"<li>{html.escape(note)}</li>" for note in notes)
        token = self.request.session.setdefault("csrf_token", secrets.token_urlsafe(32))
        form = (
            f'<form action="{html.escape(root)}/add" method="post">'
            f'<input type="hidden" name="csrf_token" value="{token}">'
            '<div><label for="text">New note</label>'
            '<input id="text" name="text" maxlength="200" required></div>'
            "<button>Add</button></form>"
        )
        home = root.removesuffix("/notes")
        return page(
            "Notes",
            f'<ul>{items}</ul>{form}<p><a href="{html.escape(home)}/">Home</a></p>',
            home,
        )

    @methods("POST")
    async def add(self, text: str) -> Any:
        """Add a note, and show the list."""
        expected = self.request.session.get("csrf_token", "")
        sent = self.request.form("csrf_token", "")
        if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
            raise HTTPError(
                403, "This form has expired: go back, reload it and send it again."
            )
        self.request.session["notes"] = [
            *self.request.session.get("notes", [])[-19:],
            text[:200],
        ]
        return self._redirect(self._path() + "/", 303)

    def _path(self) -> str:
        path: str = self.request.scope["root_path"]
        return path.rstrip("/")
