"""An app that does not know its mount."""

from typing import Any

from micropie import App, methods


class Notes(App):
    """A few notes for each visitor, in a session that no other app sees."""

    def __init__(self) -> None:
        super().__init__()
        self._welcome: list[str] = []
        self.startup_handlers.append(self._prepare)
        self.env.globals["url"] = self._url

    def _prepare(self) -> None:
        self._welcome = ["This note was made when the parent started."]

    async def index(self) -> str:
        """List the notes."""
        notes = self._welcome + self.request.session.get("notes", [])
        home = self._url().removesuffix("/notes/")
        return await self._render_template("notes.html", notes=notes, home=home)

    @methods("POST")
    async def add(self, text: str) -> Any:
        """Add a note, and show the list."""
        session = self.request.session
        session["notes"] = [*session.get("notes", [])[-19:], text[:200]]
        return self._redirect(self._url(), 303)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"
