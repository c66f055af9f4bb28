"""A JSON API that describes itself: an OpenAPI document, and a page to try it."""

from itertools import count
from typing import Any, Literal

from micropie import App, HTTPError, HttpMiddleware, Request, methods
from pydantic import BaseModel, Field

from openapi import Document


class NewBook(BaseModel, extra="forbid"):
    """The fields that a client sends."""

    title: str = Field(min_length=1, max_length=100)
    year: int = Field(ge=1450, le=2100)
    tags: list[str] = Field(default=[], max_length=10)


class Book(NewBook):
    """The fields that a client gets."""

    id: int


class JsonErrors(HttpMiddleware):
    """Sends each error as ``{"error": "..."}``, MicroPie's own 400 and 404 included."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the text of an error."""
        if status < 400 or not isinstance(body, str):
            return None
        kept = [pair for pair in headers if pair[0].lower() != "content-type"]
        return {"body": {"error": body}, "headers": kept}


class Api(App):
    """Each method is an operation: its signature and docstring describe it."""

    def __init__(self) -> None:
        super().__init__(max_body_size=64 * 1024)
        self.middlewares.append(JsonErrors())
        self._books: dict[int, Book] = {}
        self._ids = count(1)

    @methods("GET")
    async def books(self, title: str = "", limit: int = 20) -> list[Book]:
        """List the newest books.

        The title can be a part of the whole title.
        """
        found = [one for one in self._books.values() if title in one.title]
        return found[::-1][: max(0, limit)]

    @methods("POST")
    async def add_book(self, book: NewBook) -> tuple[Literal[201], Book]:
        """Add a book."""
        if len(self._books) >= 1000:
            raise HTTPError(409, "The shelf is full")
        added = Book(id=next(self._ids), **book.model_dump())
        self._books[added.id] = added
        return 201, added

    @methods("GET")
    async def book(self, book_id: int, /) -> Book:
        """Show one book."""
        if book_id not in self._books:
            raise HTTPError(404, f"There is no book {book_id}")
        return self._books[book_id]

    @methods("DELETE")
    async def delete_book(self, book_id: int, /) -> None:
        """Delete a book."""
        await self.book(book_id)
        del self._books[book_id]


class Root(App):
    """The documentation of the API, and the API below ``/api``."""

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url
        self.mounts["/api"] = api = Api()
        self._document = Document(api, "Books", "1.0.0").content

    async def index(self) -> str:
        """Show the documentation."""
        return await self._render_template("docs.html")

    async def openapi_json(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        return self._document | {"servers": [{"url": self._url("api")}]}

    def _url(self, path: str = "") -> str:
        """Return the URL of a path of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
