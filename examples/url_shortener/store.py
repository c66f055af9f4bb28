"""Where the links, their clicks and the API tokens are: three tables, in SQLite."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    Date,
    Double,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from sql_sessions import create_tables

metadata = MetaData()
links = Table(
    "links",
    metadata,
    Column("id", Integer, primary_key=True),
    # Of two who want the same, the database lets one have it.
    Column("alias", String(40), nullable=False, unique=True),
    Column("target", Text, nullable=False),
    Column("owner", String(64), nullable=False, index=True),
    Column("created", Double, nullable=False),  # seconds since 1970, as is the next
    Column("expires", Double, nullable=True, index=True),
    # No number is used twice, so a new link never gets the clicks of a deleted one.
    sqlite_autoincrement=True,
)
clicks = Table(
    "clicks",
    metadata,
    Column("link_id", Integer, ForeignKey("links.id"), primary_key=True),
    Column("day", Date, primary_key=True),  # in UTC
    Column("count", Integer, nullable=False),
)
tokens = Table(
    "tokens",
    metadata,
    Column("token", String(64), primary_key=True),  # its hash
    Column("owner", String(64), nullable=False, index=True),
    Column("start", String(8), nullable=False),  # by which people know it again
    Column("created", Double, nullable=False),
)


class TakenError(Exception):
    """Somebody has this alias already."""


@dataclass(frozen=True)
class Link:
    """A short link, and how often it has been followed."""

    id: int
    alias: str
    target: str
    owner: str
    created: float
    expires: float | None
    total: int = 0

    @property
    def expired(self) -> bool:
        """Whether it leads nowhere any more."""
        return self.expires is not None and self.expires <= time.time()


def today() -> date:
    """Return the day by which clicks are counted."""
    return datetime.now(UTC).date()


class LinkStore:
    """Keeps links; clicks are counted in memory, and written from time to time.

    So a redirect costs one read, and a thousand clicks in a second cost one write. A
    crash loses the clicks that have not been written yet.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._unwritten: Counter[tuple[int, date]] = Counter()
        self._writing = asyncio.Lock()

    async def create_tables(self) -> None:
        """Create the tables where they do not exist yet."""
        await create_tables(self.engine, metadata)

    async def add(
        self, alias: str, target: str, owner: str, expires: float | None
    ) -> Link:
        """Keep a new link.

        Raises:
            TakenError: There is one of that name; one that has expired counts, until it
                is deleted.
        """
        row = {
            "alias": alias,
            "target": target,
            "owner": owner,
            "created": time.time(),
            "expires": expires,
        }
        try:
            async with self.engine.begin() as connection:
                result = await connection.execute(
                    insert(links).values(row).returning(*links.c)
                )
                return Link(**result.mappings().one())
        except IntegrityError:
            raise TakenError(alias) from None

    async def find(self, alias: str) -> Link | None:
        """Return a link, an expired one too."""
        async with self.engine.connect() as connection:
            row = (
                (await connection.execute(select(links).where(links.c.alias == alias)))
                .mappings()
                .first()
            )
        return Link(**row) if row else None

    async def total(self, link: Link) -> int:
        """Return how often a link has been followed since it was made."""
        await self.write_clicks()
        query = select(func.coalesce(func.sum(clicks.c.count), 0)).where(
            clicks.c.link_id == link.id
        )
        async with self.engine.connect() as connection:
            return await connection.scalar(query) or 0

    async def owned(self, owner: str, most: int = 200) -> list[Link]:
        """Return the newest links of somebody, with their clicks."""
        await self.write_clicks()
        total = select(func.coalesce(func.sum(clicks.c.count), 0)).where(
            clicks.c.link_id == links.c.id
        )
        query = select(links, total.scalar_subquery().label("total")).where(
            links.c.owner == owner
        )
        async with self.engine.connect() as connection:
            rows = await connection.execute(
                query.order_by(links.c.id.desc()).limit(most)
            )
            return [Link(**row) for row in rows.mappings()]

    async def delete(self, alias: str, owner: str) -> bool:
        """Delete an owner's link, and its clicks; False if there is no such link."""
        statement = (
            delete(links)
            .where(links.c.alias == alias, links.c.owner == owner)
            .returning(links.c.id)
        )
        async with self.engine.begin() as connection:
            link_id = await connection.scalar(statement)
            await connection.execute(delete(clicks).where(clicks.c.link_id == link_id))
        return link_id is not None

    async def delete_expired(self, kept: float) -> None:
        """Delete links that expired `kept` seconds ago.

        Until then, no other visitor gets the name of a printed link.
        """
        async with self.engine.begin() as connection:
            await connection.execute(
                delete(links).where(links.c.expires <= time.time() - kept)
            )
            await connection.execute(
                delete(clicks).where(clicks.c.link_id.not_in(select(links.c.id)))
            )

    def click(self, link: Link) -> None:
        """Count a click, without waiting for anything."""
        self._unwritten[link.id, today()] += 1

    async def write_clicks(self) -> None:
        """Write the clicks counted until now; those of deleted links are dropped."""
        # A caller that comes while another writes can read those clicks afterwards.
        async with self._writing:
            if self._unwritten:
                written, self._unwritten = self._unwritten, Counter()
                try:
                    await self._write(written)
                except BaseException:  # they count at the next time
                    self._unwritten.update(written)
                    raise

    async def _write(self, counted: Counter[tuple[int, date]]) -> None:
        rows = [
            {"link": link_id, "on": day, "more": count}
            for (link_id, day), count in counted.items()
        ]
        values = (
            links.c.id,
            bindparam("on", type_=Date),
            bindparam("more", type_=Integer),
        )
        is_link = links.c.id == bindparam("link", type_=Integer)
        new = sqlite.insert(clicks).from_select(
            ["link_id", "day", "count"], select(*values).where(is_link)
        )
        statement = new.on_conflict_do_update(
            set_={"count": clicks.c.count + new.excluded.count}
        )
        async with self.engine.begin() as connection:
            await connection.execute(statement, rows)

    async def per_day(self, link: Link, days: int) -> dict[date, int]:
        """Return how often a link was followed on each of the last days."""
        await self.write_clicks()
        first = today() - timedelta(days=days - 1)
        query = select(clicks.c.day, clicks.c.count).where(
            clicks.c.link_id == link.id, clicks.c.day >= first
        )
        async with self.engine.connect() as connection:
            counted = {row[0]: row[1] for row in await connection.execute(query)}
        return {
            day: counted.get(day, 0)
            for day in (first + timedelta(days=at) for at in range(days))
        }

    async def add_token(self, token: str, owner: str, start: str, most: int) -> bool:
        """Keep the hash of an API token, unless its owner has too many already."""
        count = select(func.count()).where(tokens.c.owner == owner).scalar_subquery()
        row = (literal(token), literal(owner), literal(start), literal(time.time()))
        statement = insert(tokens).from_select(
            ["token", "owner", "start", "created"], select(*row).where(count < most)
        )
        async with self.engine.begin() as connection:
            result = await connection.execute(statement)
        return result.rowcount > 0

    async def owner_of(self, token: str) -> str | None:
        """Return to whom the hash of an API token belongs."""
        async with self.engine.connect() as connection:
            return await connection.scalar(
                select(tokens.c.owner).where(tokens.c.token == token)
            )

    async def tokens(self, owner: str) -> list[Any]:
        """Return the tokens of somebody, as far as they are known."""
        query = select(tokens).where(tokens.c.owner == owner).order_by(tokens.c.created)
        async with self.engine.connect() as connection:
            return list(await connection.execute(query))

    async def delete_token(self, token: str, owner: str) -> None:
        """Delete a token of somebody."""
        async with self.engine.begin() as connection:
            await connection.execute(
                delete(tokens).where(tokens.c.token == token, tokens.c.owner == owner)
            )
