"""An admin interface of a tiny library: the models, and a mount."""

import os
import secrets
from datetime import date
from pathlib import Path
from typing import Any

from micropie import App
from sqlalchemy import ForeignKey, String, Text, event, select
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from admin import LOCKS, Admin

DATA = Path(os.environ.get("DATA", "data"))
DATABASE_URL = os.environ.get("DATABASE_URL", f"sqlite+aiosqlite:///{DATA}/app.sqlite3")
PASSWORD = os.environ.get("ADMIN_PASSWORD", "")
engine = create_async_engine(DATABASE_URL)


class Base(DeclarativeBase):
    """The base of the models."""


class Author(Base):
    """A person who writes books."""

    __tablename__ = "authors"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    born: Mapped[date | None]

    def __str__(self) -> str:
        return self.name


class Book(Base):
    """A book of the library."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(200))
    author_id: Mapped[int] = mapped_column(ForeignKey("authors.id"))
    copies: Mapped[int] = mapped_column(default=1)
    lent: Mapped[bool] = mapped_column(default=False)
    remarks: Mapped[str | None] = mapped_column(Text)


def is_staff(name: str, password: str) -> bool:
    """Whether these are the name and the password of the one member of staff."""
    right = PASSWORD or (DATA / "password").read_text()
    fits = secrets.compare_digest(password.encode(), right.encode())
    return fits and name == "admin" and password != ""


class Library(App):
    """Your own pages belong here."""

    def index(self) -> Any:
        """Lead to the admin interface."""
        return self._redirect(self._url("admin/"), 303)

    _url = Admin._url  # returns the URL of a page, wherever the app is mounted


async def start() -> None:
    """Make the tables, and the first rows if there are none."""
    async with engine.begin() as connection, AsyncSession(connection) as db:
        await connection.exec_driver_sql(LOCKS[engine.dialect.name])
        await connection.run_sync(Base.metadata.create_all)
        if not await db.scalar(select(Author)):
            db.add(Author(id=1, name="Mary Shelley", born=date(1797, 8, 30)))
            db.add(Book(title="Frankenstein", author_id=1))
            await db.commit()


@event.listens_for(engine.sync_engine, "connect")
def check_foreign_keys(connection: Any, _: object) -> None:
    """Let SQLite do what other databases do anyway."""
    if engine.dialect.name == "sqlite":
        connection.execute("PRAGMA foreign_keys = ON").close()


DATA.mkdir(parents=True, exist_ok=True)
(DATA / "password").touch(mode=0o600)
if not PASSWORD and not (DATA / "password").read_text():
    (DATA / "password").write_text(secrets.token_urlsafe(12))
app = Library()
app.startup_handlers.append(start)
app.shutdown_handlers.append(engine.dispose)
app.mounts["/admin"] = Admin(engine, [Author, Book], is_staff)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
