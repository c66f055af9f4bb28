"""The other way round: a MicroPie app in a FastAPI app."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from micropie import App

from lifespan import Lifespan


class Pages(App):
    """Its URLs are below /pages."""

    async def hello(self, name: str) -> dict[str, str]:
        """Greet with what the startup handler has set, and say where the app is."""
        return {self.greeting: name, "below": self.request.scope["root_path"]}


inner = Pages()
inner.startup_handlers.append(lambda: setattr(inner, "greeting", "hello"))
pages = Lifespan(inner)


@asynccontextmanager
async def start_pages(_: FastAPI) -> AsyncIterator[None]:
    """Run the lifespan of the mounted app, since FastAPI does not."""
    await pages.start()
    yield
    await pages.stop()


app = FastAPI(lifespan=start_pages, docs_url=None, redoc_url=None)
app.mount("/pages", pages)
