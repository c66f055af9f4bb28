"""A todo list with htmx and SQLite, which works without JavaScript too."""

from typing import Any, Literal

from micropie import App, methods

from database import HERE, connected, migrate

LONGEST = 200  # characters of a title
MOST = 500  # todos: any visitor can add some
Show = Literal["all", "open", "done"]
CONDITIONS = {"all": "1", "open": "NOT done", "done": "done"}


class Todos(App):
    """The handlers are plain functions, so MicroPie runs them in threads."""

    def __init__(self) -> None:
        super().__init__(max_body_size=16 * 1024)
        self.env.globals["url"] = self._url
        self.startup_handlers.append(migrate)

    def index(self, show: Show = "all") -> Any:
        """Show the list."""
        return self._list(show)

    @methods("POST")
    def add(self, title: str = "", show: Show = "all") -> Any:
        """Add a todo, or say why not."""
        title = title.strip()
        with connected() as db:
            [number] = db.execute("SELECT count(*) FROM todos").fetchone()
            if 0 < len(title) <= LONGEST and number < MOST:
                db.execute("INSERT INTO todos (title) VALUES (?)", (title,))
                return self._redirect(self._url(f"?show={show}"), 303)
        error = f"Write 1 to {LONGEST} characters; {MOST} todos fill the list."
        return self._list(show, 400, error=error, title=title)

    @methods("POST")
    def check(self, todo_id: int, /, done: bool, show: Show = "all") -> Any:
        """Mark a todo as done, or as open again."""
        with connected() as db:
            db.execute("UPDATE todos SET done = ? WHERE id = ?", (done, todo_id))
        return self._redirect(self._url(f"?show={show}"), 303)

    @methods("POST")
    def delete(self, todo_id: int, /, show: Show = "all") -> Any:
        """Delete a todo."""
        with connected() as db:
            db.execute("DELETE FROM todos WHERE id = ?", (todo_id,))
        return self._redirect(self._url(f"?show={show}"), 303)

    def static(self, name: Literal["htmx.min.js"], /) -> Any:
        """Send a file; names that are not listed here get a 404."""
        headers = {"content-type": "text/javascript", "cache-control": "max-age=86400"}
        return 200, (HERE / "static" / name).read_bytes(), headers

    def _list(self, show: str, status: int = 200, **context: Any) -> Any:
        """Read the todos in this thread; MicroPie awaits the page that shows them."""
        query = f"SELECT * FROM todos WHERE {CONDITIONS[show]} ORDER BY id"
        with connected() as db:
            todos = db.execute(query).fetchall()
        return self._page(status, show=show, todos=todos, longest=LONGEST, **context)

    async def _page(self, status: int, **context: Any) -> Any:
        """Return the list alone if htmx puts it into a page, and otherwise the page."""
        partial = self.request.headers.get("hx-request-type") == "partial"
        template = "todos.html" if partial else "base.html"
        html = await self._render_template(template, **context)
        return status, html, {"vary": "HX-Request-Type"}

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Todos()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
