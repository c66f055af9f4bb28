"""An app for hosts that only speak WSGI; wsgi.py carries it, unknown to the app."""

import asyncio
import html
from collections.abc import AsyncIterator

from micropie import App, methods


class Shop(App):
    """Says which server it runs under, counts visits, and streams."""

    def __init__(self) -> None:
        super().__init__()
        self._state = "closed"
        self.startup_handlers.append(self._open_shop)
        self.shutdown_handlers.append(self._close_shop)

    async def index(self) -> str:
        """Show which server this is."""
        # a2wsgi hands the WSGI environment on. uWSGI does not give its name.
        environ = self.request.scope.get("wsgi_environ")
        server = "an ASGI server"
        if environ is not None:
            server = environ.get("SERVER_SOFTWARE", "a WSGI server")
        return f"The shop is {self._state}, under {html.escape(server)}.\n"

    @methods("POST")
    async def visit(self) -> dict[str, int]:
        """Count the visits of this client in its session."""
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return {"visits": session["visits"]}

    @methods("GET")
    async def count(self) -> tuple[int, AsyncIterator[str], dict[str, str]]:
        """Stream three lines."""
        return 200, self._lines(), {"content-type": "text/plain; charset=utf-8"}

    async def _lines(self) -> AsyncIterator[str]:
        for number in (1, 2, 3):
            yield f"{number}\n"
            await asyncio.sleep(0.1)

    async def _open_shop(self) -> None:
        self._state = "open"

    async def _close_shop(self) -> None:
        print("The shop is closed.", flush=True)


app = Shop()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
