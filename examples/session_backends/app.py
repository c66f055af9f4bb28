"""Sessions that outlive the process, in SQLite, PostgreSQL or Redis.

The variable SESSION_STORE says where.
"""

import asyncio
import contextlib
import html
import os
import secrets
from typing import Any

from micropie import App, HTTPError, methods
from redis.asyncio import Redis

from redis_sessions import RedisSessionBackend
from sql_sessions import SQLSessionBackend, make_engine

STORE = os.environ.get("SESSION_STORE", "sqlite+aiosqlite:///sessions.sqlite3")
CLEAN_UP_EVERY = 600.0  # seconds
NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Session backends</title>
<style>
:root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif; }}
html {{ background: light-dark(#fdfdfb, #15181d);
  color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 34rem; margin: 4rem auto; padding: 0 1.25rem; }}
.number {{ font-size: 4rem; font-weight: 700; line-height: 1; margin: 0; }}
button {{ padding: .5rem 1.1rem; font: inherit; font-weight: 600; cursor: pointer;
  border: 0; border-radius: .4rem;
  color: light-dark(#fff, #15181d); background: light-dark(#0b57a4, #8cc8ff); }}
:focus-visible {{ outline: 3px solid light-dark(#e8a33d, #ffc46b);
  outline-offset: 2px; }}
</style>
<main>
<h1>Sessions in {store}</h1>
<p>Visits by this browser:</p>
<p class="number">{visits}</p>
<p>Stop the server and start it again: the number goes on where it was.</p>
<form action="{root}/forget" method="post">
<input type="hidden" name="csrf_token" value="{csrf_token}">
<button>Forget me</button>
</form>
</main>
</html>
"""


class Root(App):
    """Counts the visits of each browser."""

    def __init__(self, store: str) -> None:
        self._backend: Any
        if store.startswith(("redis://", "rediss://", "unix://")):
            self._store = "Redis"
            self._backend = RedisSessionBackend(Redis.from_url(store))
        else:
            self._backend = SQLSessionBackend(make_engine(store))
            self._store = NAMES[self._backend.engine.dialect.name]
        super().__init__(self._backend)
        self.startup_handlers.append(self._connect)
        self.shutdown_handlers.append(self._disconnect)
        self._cleaner: asyncio.Task[None] | None = None

    async def _connect(self) -> None:
        if isinstance(self._backend, SQLSessionBackend):
            await self._backend.create_table()
            self._cleaner = asyncio.create_task(self._clean_up(self._backend))

    async def _clean_up(self, backend: SQLSessionBackend) -> None:
        while True:
            await backend.delete_expired()
            await asyncio.sleep(CLEAN_UP_EVERY)

    async def _disconnect(self) -> None:
        if not isinstance(self._backend, SQLSessionBackend):
            await self._backend.client.aclose()
            return
        if self._cleaner is not None:  # None: creating the table has failed
            self._cleaner.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._cleaner
        await self._backend.engine.dispose()

    async def index(self) -> str:
        """Count this visit."""
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return PAGE.format(
            store=self._store,
            visits=session["visits"],
            csrf_token=session.setdefault("csrf_token", secrets.token_urlsafe(32)),
            root=html.escape(self.request.scope.get("root_path", "").rstrip("/")),
        )

    @methods("POST")
    async def forget(self) -> Any:
        """End this session."""
        expected = self.request.session.get("csrf_token", "")
        sent = self.request.form("csrf_token", "")
        if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
            message = "This form has expired: go back, reload it and send it again."
            raise HTTPError(403, message)
        self.request.session.clear()
        root = self.request.scope.get("root_path", "").rstrip("/")
        return self._redirect(f"{root}/", 303)


app = Root(STORE)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
