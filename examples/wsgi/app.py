"""An app for hosts that only speak WSGI; wsgi.py carries it, unknown to the app."""

import asyncio
import html
import time
from collections.abc import AsyncIterator

from micropie import App


class Page(App):
    """Says who serves it, counts visits, and streams."""

    def __init__(self) -> None:
        super().__init__()
        self._opened: float | None = None
        self.startup_handlers.append(self._open_shop)
        self.shutdown_handlers.append(self._close_shop)

    async def index(self) -> str:
        """Show who serves this."""
        visits = self.request.session.get("visits", 0) + 1
        self.request.session["visits"] = visits
        # a2wsgi hands the WSGI environment on; an ASGI server has none, and uWSGI does
        # not give its name.
        environ = self.request.scope.get("wsgi_environ")
        software = (
            "an ASGI server"
            if environ is None
            else environ.get("SERVER_SOFTWARE", "a WSGI server")
        )
        open_for = (
            "closed"
            if self._opened is None
            else f"open for {time.monotonic() - self._opened:.0f} s"
        )
        return f"Served by {html.escape(software)}, {open_for}, visit {visits}.\n"

    async def greet(self, name: str = "world") -> dict[str, str]:
        """Answer in JSON."""
        return {"hello": name}

    async def count(self) -> tuple[int, AsyncIterator[str], dict[str, str]]:
        """Stream three lines."""
        return 200, self._lines(), {"content-type": "text/plain; charset=utf-8"}

    async def _lines(self) -> AsyncIterator[str]:
        for number in (1, 2, 3):
            yield f"{number}\n"
            await asyncio.sleep(0.1)

    async def _open_shop(self) -> None:
        self._opened = time.monotonic()

    async def _close_shop(self) -> None:
        self._opened = None
        print("The shop is closed.", flush=True)


app = Page()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
