"""A JSON API over a SQL database: create, read, change and delete contacts."""

from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods
from pydantic import BaseModel, Field
from sqlalchemy import select

from database import URL, Transactions
from models import LARGEST_ID, Contact


class ContactFields(BaseModel):
    """What a client sends of a contact. PostgreSQL takes no NUL in a text."""

    name: str = Field(max_length=100, pattern=r"^[^\x00]+$")
    email: str = Field(max_length=200, pattern=r"^[^\s\x00@]+@[^\s\x00@]+$")


class JsonErrors(HttpMiddleware):
    """Sends each error as ``{"error": "..."}``, MicroPie's own 404 and 405 included."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the text of an error."""
        return {"body": {"error": body}} if status >= 400 else None


class Api(App):
    """``/contacts`` is the collection, ``/contacts/1`` one of its contacts."""

    def __init__(self, url: str) -> None:
        super().__init__(max_body_size=64 * 1024)
        transactions = Transactions(url)
        self.middlewares += [JsonErrors(), transactions]
        self.startup_handlers.append(transactions.migrate)
        self.shutdown_handlers.append(transactions.engine.dispose)

    async def index(self) -> dict[str, str]:
        """Say where things are."""
        return {"contacts": self._url("contacts")}

    @methods("GET", "POST", "PUT", "DELETE")
    async def contacts(
        self,
        contact_id: int | None = None,
        /,
        after: int = 0,
        limit: int = 20,
        fields: ContactFields | None = None,
    ) -> Any:
        """Do what the method says."""
        match self.request.method, contact_id:
            case "GET" | "HEAD", None:
                return await self._page(after, max(1, min(limit, 100)))
            case "POST", None:
                return await self._create(fields)
            case "GET" | "HEAD", int():
                return (await self._contact(contact_id)).as_dict()
            case "PUT", int():
                return _fill(await self._contact(contact_id), fields).as_dict()
            case "DELETE", int():
                return await self.request.db.delete(await self._contact(contact_id))
        allowed = "GET, POST" if contact_id is None else "DELETE, GET, PUT"
        raise HTTPError(405, headers={"allow": allowed})

    async def _page(self, after: int, limit: int) -> dict[str, Any]:
        """Return the contacts that come after one, and the URL of the next page."""
        after = max(0, min(after, LARGEST_ID))
        query = select(Contact).where(Contact.id > after).order_by(Contact.id)
        found = [*await self.request.db.scalars(query.limit(limit + 1))]
        page, path = found[:limit], None
        if len(found) > limit:
            path = self._url(f"contacts?after={page[-1].id}&limit={limit}")
        return {"contacts": [contact.as_dict() for contact in page], "next": path}

    async def _create(self, fields: ContactFields | None) -> Any:
        contact = _fill(Contact(), fields)
        self.request.db.add(contact)
        await self.request.db.flush()  # the database gives it its number
        location = self._url(f"contacts/{contact.id}")
        return 201, contact.as_dict(), {"location": location}

    async def _contact(self, contact_id: int) -> Contact:
        if 0 < contact_id <= LARGEST_ID:
            found = await self.request.db.get(Contact, contact_id)
            if found is not None:
                return found
        raise HTTPError(404, "404 Not Found: there is no such contact")

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


def _fill(contact: Contact, fields: ContactFields | None) -> Contact:
    if fields is None:
        raise HTTPError(400, "400 Bad Request: send application/json")
    for name, value in fields.model_dump().items():
        setattr(contact, name, value)
    return contact


app = Api(URL)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
