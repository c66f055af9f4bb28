"""The database: its engine, its migrations, and a transaction for each request."""

import asyncio
import logging
import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from micropie import HttpMiddleware, Request
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker, create_async_engine

from models import Base

HERE = Path(__file__).resolve().parent
URL = os.environ.get("DATABASE_URL", f"sqlite+aiosqlite:///{HERE}/data/app.sqlite3")
# MicroPie logs what a handler raises. A conflict is no fault: the answer is 409.
logging.getLogger("micropie").addFilter(
    lambda record: not isinstance((record.exc_info or [None] * 2)[1], IntegrityError)
)


def make_engine(url: str) -> AsyncEngine:
    """Return an engine, which connects when it is used."""
    engine = create_async_engine(url, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        Path(engine.url.database or "").parent.mkdir(parents=True, exist_ok=True)

        @event.listens_for(engine.sync_engine, "connect")
        def set_up(connection: Any, _: object) -> None:
            connection.execute("PRAGMA busy_timeout = 15000").close()
            connection.execute("PRAGMA foreign_keys = ON").close()
            with suppress(sqlite3.OperationalError):  # another worker does it now
                connection.execute("PRAGMA journal_mode = WAL").close()

    return engine


def alembic_config(url: str) -> Config:
    """Return the configuration that migrations/env.py needs."""
    config = Config(HERE / "alembic.ini")
    config.attributes.update(engine=make_engine(url), metadata=Base.metadata)
    return config


class Transactions(HttpMiddleware):
    """Ends the transaction of each request, in ``request.db``, before the response."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = make_engine(url)
        self.sessions = async_sessionmaker(self.engine, expire_on_commit=False)

    async def migrate(self) -> None:
        """Bring the tables up to date; in a thread, since Alembic runs its own loop."""
        await asyncio.to_thread(command.upgrade, alembic_config(self.url), "head")

    async def before_request(self, request: Request) -> None:
        """Give the handler its session."""
        request.db = request.scope["db"]

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """End the transaction; a conflict with other rows is a 409."""
        session, error = request.scope["db"], request.exception
        try:
            if status < 400:
                await session.commit()
        except IntegrityError as found:
            error = found
        await session.close()  # it rolls back if there was no commit
        text = "409 Conflict: another row has this value, or one it names is missing"
        conflict = {"status_code": 409, "body": text}
        return conflict if isinstance(error, IntegrityError) else None
