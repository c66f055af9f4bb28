"""Where the pastes are: one table, in SQLite."""

import secrets
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
)
from sqlalchemy.ext.asyncio import AsyncEngine

from sql_sessions import create_tables

metadata = MetaData()
pastes = Table(
    "pastes",
    metadata,
    Column("id", String(16), primary_key=True),
    # The hash of the key that may delete it.
    Column("owner", String(64), nullable=False, index=True),
    Column("title", String(100), nullable=False),
    Column("language", String(20), nullable=False),
    Column("text", Text, nullable=False),
    Column("html", Text, nullable=False),  # highlighted once, when it was written
    Column("burn", Boolean, nullable=False),
    Column("size", Integer, nullable=False),  # bytes
    Column("created", Double, nullable=False),  # seconds since 1970, as is the next
    Column("expires", Double, nullable=True, index=True),
)


@dataclass(frozen=True)
class Paste:
    """A paste; without its text if it burns after reading and is only looked at."""

    id: str
    owner: str
    title: str
    language: str
    burn: bool
    size: int
    created: float
    expires: float | None
    text: str = ""
    html: str = ""


HEAD = [
    pastes.c[name]
    for name in (
        "id",
        "owner",
        "title",
        "language",
        "burn",
        "size",
        "created",
        "expires",
    )
]


def _alive() -> ColumnElement[bool]:
    return or_(pastes.c.expires.is_(None), pastes.c.expires > time.time())


class PasteStore:
    """Keeps pastes; each method is one statement, so no request comes in between."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    async def create_table(self) -> None:
        """Create the table where it does not exist yet."""
        await create_tables(self.engine, metadata)

    async def add(self, **values: Any) -> str:
        """Keep a paste under a new id, which nobody can guess: 96 random bits."""
        paste_id = secrets.token_urlsafe(12)
        row = {
            "id": paste_id,
            "created": time.time(),
            "size": len(values["text"].encode()),
            **values,
        }
        async with self.engine.begin() as connection:
            await connection.execute(insert(pastes).values(row))
        return paste_id

    async def head(self, paste_id: str) -> Paste | None:
        """Return what is known of a paste, without its text."""
        return await self._one(select(*HEAD).where(pastes.c.id == paste_id, _alive()))

    async def read(self, paste_id: str) -> Paste | None:
        """Return a paste that may be read as often as one likes."""
        return await self._one(
            select(pastes).where(pastes.c.id == paste_id, ~pastes.c.burn, _alive())
        )

    async def burn(self, paste_id: str) -> Paste | None:
        """Delete a paste that burns, and return it: to one reader, however many ask."""
        where = (pastes.c.id == paste_id, pastes.c.burn, _alive())
        return await self._one(delete(pastes).where(*where).returning(pastes))

    async def owned(self, owner: str, most: int = 100) -> list[Paste]:
        """Return the newest pastes of somebody, without their texts."""
        query = select(*HEAD).where(pastes.c.owner == owner, _alive())
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                query.order_by(pastes.c.created.desc()).limit(most)
            )
            return [Paste(**row) for row in rows.mappings()]

    async def delete(self, paste_id: str, owner: str) -> bool:
        """Delete a paste of somebody; False where there is none of theirs."""
        async with self.engine.begin() as connection:
            result = await connection.execute(
                delete(pastes).where(pastes.c.id == paste_id, pastes.c.owner == owner)
            )
        return result.rowcount > 0

    async def delete_expired(self) -> int:
        """Delete what nobody can read any more; return how many pastes that were."""
        async with self.engine.begin() as connection:
            result = await connection.execute(
                delete(pastes).where(pastes.c.expires <= time.time())
            )
        return result.rowcount

    async def _one(self, statement: Any) -> Paste | None:
        async with self.engine.begin() as connection:
            row = (await connection.execute(statement)).mappings().first()
        return Paste(**row) if row else None
