"""Runs the migrations: for the app when it starts, and for the command `alembic`."""

import asyncio
import logging
from typing import Any

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, TypeDecorator, text

LOCK = 0x626C6F67  # any number, as long as all workers use the same

given = context.config.attributes
if "url" not in given:  # by the command: the app hands over its own, see database.py
    import database
    from settings import Settings

    logging.basicConfig(format="%(message)s", level=logging.INFO)
    given.update(database.migrations(Settings.from_environment().database).attributes)


def render(kind: str, item: Any, _: object) -> str | bool:
    """Write a column's type as the database has it.

    Migrations must not change when the models do.
    """
    return (
        f"sa.{item.impl!r}"
        if kind == "type" and isinstance(item, TypeDecorator)
        else False
    )


def run(connection: Connection) -> None:
    """Run them in the transaction of a connection."""
    if connection.dialect.name == "postgresql":
        # Several workers start at once.
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    context.configure(
        connection=connection,
        target_metadata=given["tables"],
        render_as_batch=True,  # SQLite cannot change a column in place
        render_item=render,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect, and run them."""
    engine = given["make_engine"](given["url"])
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    raise CommandError("this needs a connection to the database: run it without --sql")
asyncio.run(main())
