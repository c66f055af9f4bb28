"""Runs the migrations: for the app when it starts, and for the command `alembic`."""

import asyncio
from typing import Any

from alembic import context
from alembic.autogenerate.rewriter import Rewriter
from alembic.operations import ops
from sqlalchemy import Connection

given = context.config.attributes
if not given:  # by the command: the app hands over its own
    import database

    given.update(database.alembic_config(database.URL).attributes)

writer = Rewriter()


@writer.rewrites(ops.ModifyTableOps)
def write(_: object, revision: object, change: ops.ModifyTableOps) -> Any:
    """Write a new index without a batch: SQLite can add it in place."""
    simple = all(isinstance(one, ops.CreateIndexOp) for one in change.ops)
    return change.ops if simple else change


def run(connection: Connection) -> None:
    """Run them in one transaction. Other workers that start now wait for it."""
    if connection.dialect.name == "sqlite":
        # To change a table, Alembic copies it. Rows that refer to it must stay.
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7630)")
    context.configure(
        connection=connection,
        target_metadata=given["metadata"],
        render_as_batch=True,  # SQLite cannot change a column in place
        transactional_ddl=True,
        process_revision_directives=writer,
    )
    with context.begin_transaction():
        context.run_migrations()


async def main() -> None:
    """Connect, and run them."""
    async with given["engine"].begin() as connection:
        await connection.run_sync(run)
    await given["engine"].dispose()


asyncio.run(main())
