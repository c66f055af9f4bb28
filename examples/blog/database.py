"""The database, through SQLAlchemy's async engine, and its migrations."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)

import sql_sessions
from models import Base

HERE = Path(__file__).resolve().parent
TABLES = [Base.metadata, sql_sessions.metadata]
BUSY = 15.0  # seconds that one writer waits for another one in SQLite


def _check_foreign_keys(connection: Any, _: object) -> None:
    connection.execute("PRAGMA foreign_keys = ON").close()


def make_engine(url: str) -> AsyncEngine:
    """Return the engine of the app."""
    engine = sql_sessions.make_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _check_foreign_keys)
    return engine


def make_migration_engine(url: str) -> AsyncEngine:
    """Return an engine for the migrations.

    All of them run in one transaction, which one process at a time can have.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_async_engine(url)  # migrations/env.py takes a lock
    Path(make_url(url).database or "").parent.mkdir(parents=True, exist_ok=True)
    # Without this, Python's sqlite3 would commit before it changes a table. And foreign
    # keys stay off: Alembic copies a table to change it, and dropping the old one would
    # delete all that refers to it.
    engine = create_async_engine(
        url, connect_args={"timeout": BUSY, "isolation_level": None}
    )

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def migrations(url: str) -> Config:
    """Return the configuration of Alembic, for `alembic.command`."""
    config = Config(HERE / "alembic.ini")
    config.attributes.update(url=url, tables=TABLES, make_engine=make_migration_engine)
    return config


def migrate(url: str) -> None:
    """Bring the tables up to date; call it in a thread, for it runs an event loop."""
    command.upgrade(migrations(url), "head")


class Database:
    """An engine, and sessions on it.

    Attributes:
        session: Makes a session: ``async with database.session() as db``, or
            ``session.begin()`` for a transaction.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.session: async_sessionmaker[AsyncSession] = async_sessionmaker(
            self.engine, expire_on_commit=False
        )
