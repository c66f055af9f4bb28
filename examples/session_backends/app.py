"""Sessions that outlive the process, in SQLite, PostgreSQL or Redis.

The variable SESSION_STORE says where.
"""

import os
from pathlib import Path
from typing import Any

from micropie import App, methods
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from guarded_sessions import GuardedSessionBackend
from redis_sessions import RedisSessionBackend, make_client
from sql_sessions import SQLSessionBackend, make_engine

DATA = Path(os.environ.get("DATA", "data"))
FILE = DATA / "sessions.sqlite3"
STORE = os.environ.get("SESSION_STORE") or f"sqlite+aiosqlite:///{FILE}"
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


class Root(App):
    """Counts the visits of each browser."""

    def __init__(self, store: str) -> None:
        self._backend: Any
        if store.startswith(("redis://", "rediss://", "unix://")):
            self._store = "Redis"
            self._backend = RedisSessionBackend(make_client(store))
        else:
            self._backend = SQLSessionBackend(make_engine(store))
            self._store = NAMES[self._backend.engine.dialect.name]
        super().__init__(GuardedSessionBackend(self._backend, RedisError, DBAPIError))
        self.env.globals["url"] = self._url
        self.startup_handlers.append(self._connect)
        self.shutdown_handlers.append(self._disconnect)

    async def _connect(self) -> None:
        if isinstance(self._backend, SQLSessionBackend):
            DATA.mkdir(parents=True, exist_ok=True)
            await self._backend.create_table()
            await self._backend.delete_expired()

    async def _disconnect(self) -> None:
        if isinstance(self._backend, SQLSessionBackend):
            await self._backend.engine.dispose()
        else:
            await self._backend.client.aclose()

    async def index(self) -> str:
        """Show the counter; this stores nothing."""
        visits = self.request.session.get("visits", 0)
        return await self._render_template(
            "index.html", store=self._store, visits=visits
        )

    @methods("POST")
    async def visit(self) -> Any:
        """Count one more visit of this browser."""
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return self._redirect(self._url(), 303)

    @methods("POST")
    async def forget(self) -> Any:
        """End this session."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root(STORE)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
