"""A JSON API over a SQL database: create, read, change and delete contacts."""

from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods
from pydantic import BaseModel, Field
from sqlalchemy import select

from database import URL, Transactions
from models import LARGEST_ID, Base, Contact


class ContactFields(BaseModel):
    """The fields of a contact that clients send. PostgreSQL takes no NUL in a text."""

    name: str = Field(max_length=100, pattern=r"^[^\x00]+$")
    email: str = Field(max_length=200, pattern=r"^[^\s\x00@]+@[^\s\x00@]+$")


class JsonErrors(HttpMiddleware):
    """Sends each error as ``{"error": "..."}``, MicroPie's own 404 and 405 included."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the text of an error, whose lines become one."""
        text = "; ".join(str(body).splitlines())
        return {"body": {"error": text}} if status >= 400 else None


class Api(App):
    """``/contacts`` is the collection, ``/contacts/1`` one of its contacts."""

    def __init__(self, url: str) -> None:
        super().__init__(max_body_size=64 * 1024)
        transactions = Transactions(url)
        self._sessions = transactions.sessions
        self.middlewares += [JsonErrors(), transactions]
        self.startup_handlers.append(transactions.migrate)
        self.shutdown_handlers.append(transactions.engine.dispose)

    async def _asgi_app_http(self, scope: Any, receive: Any, send: Any) -> None:
        """Open a session, and close it even if no `after_request` runs."""
        async with self._sessions() as scope["db"]:
            await super()._asgi_app_http(scope, receive, send)

    async def index(self) -> dict[str, str]:
        """Say where things are."""
        return {"contacts": self._url("contacts")}

    @methods("GET", "POST", "PUT", "DELETE")
    async def contacts(
        self,
        contact_id: int | None = None,
        /,
        fields: ContactFields | None = None,
        after: int = 0,
        limit: int = 20,
    ) -> Any:
        """Create, read, change or delete contacts."""
        return await self._rows(Contact, contact_id, fields, after, limit)

    async def _rows(
        self,
        table: type[Base],
        row_id: int | None,
        fields: BaseModel | None,
        after: int,
        limit: int,
    ) -> Any:
        """Do what the method says; the URL has the name of the table."""
        db = self.request.db
        match self.request.method, row_id:
            case "GET" | "HEAD", None:
                return await self._page(table, after, max(1, min(limit, 100)))
            case "POST", None:
                row = _fill(table(), fields)
                db.add(row)
                await db.flush()  # the database gives it its number
                location = self._url(f"{table.__tablename__}/{row.id}")
                return 201, row.as_dict(), {"location": location}
            case "GET" | "HEAD", int():
                return (await self._row(table, row_id)).as_dict()
            case "PUT", int():
                return _fill(await self._row(table, row_id), fields).as_dict()
            case "DELETE", int():
                return await db.delete(await self._row(table, row_id))
        allowed = "GET, POST" if row_id is None else "DELETE, GET, PUT"
        raise HTTPError(405, headers={"allow": allowed})

    async def _page(self, table: type[Base], after: int, limit: int) -> dict[str, Any]:
        """Return the rows that come after one, and the URL of the next page."""
        name, path = table.__tablename__, None
        after = max(0, min(after, LARGEST_ID))
        query = select(table).where(table.id > after).order_by(table.id)
        found = [*await self.request.db.scalars(query.limit(limit + 1))]
        page = found[:limit]
        if len(found) > limit:
            path = self._url(f"{name}?after={page[-1].id}&limit={limit}")
        return {name: [row.as_dict() for row in page], "next": path}

    async def _row(self, table: type[Base], row_id: int) -> Base:
        if 0 < row_id <= LARGEST_ID:
            found: Base | None = await self.request.db.get(table, row_id)
            if found is not None:
                return found
        raise HTTPError(404, f"404 Not Found: {table.__tablename__} has no {row_id}")

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


def _fill(row: Base, fields: BaseModel | None) -> Base:
    if fields is None:
        raise HTTPError(400, "400 Bad Request: send the fields as JSON or as a form")
    for name, value in fields.model_dump().items():
        setattr(row, name, value)
    return row


app = Api(URL)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
