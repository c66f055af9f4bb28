"""The other way round: a MicroPie app in a FastAPI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from micropie import App

from lifespan import Lifespan


class Pages(App):
    """Its URLs are below /pages."""

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(self._start)

    def _start(self) -> None:
        self._motto = "Pies never wait."

    async def index(self) -> str:
        """Show what the startup handler has set."""
        return f"<h1>{self._motto}</h1>"

    async def hello(self, name: str) -> dict[str, str]:
        """Greet, and say where the app is mounted."""
        return {"hello": name, "below": self.request.scope["root_path"]}


pages = Lifespan(Pages())


@asynccontextmanager
async def start_pages(_: FastAPI) -> AsyncIterator[None]:
    """Run the lifespan of the mounted app, since FastAPI does not."""
    await pages.start()
    yield
    await pages.stop()


app = FastAPI(lifespan=start_pages, docs_url=None, redoc_url=None)
app.mount("/pages", pages)
