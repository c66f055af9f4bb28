"""Apps of other frameworks; each could be an old app of yours."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from a2wsgi import WSGIMiddleware
from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

STATIC = Path(__file__).with_name("static")


class Pie(BaseModel):
    """The fields that the API takes."""

    name: str = Field(max_length=50)


@asynccontextmanager
async def open_store(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """Open at startup what the API needs, as a pool of connections would be."""
    store = deque(["apple"], maxlen=100)
    yield {"store": store}
    store.clear()


# Its pages at /docs and /redoc would load scripts from a CDN.
api = FastAPI(lifespan=open_store, docs_url=None, redoc_url=None)


@api.get("/pies")
async def list_pies(request: Request) -> dict[str, Any]:
    """Show the pies, and the visitor whom the MicroPie app has handed over."""
    return {"pies": request.state.store, "visitor": request.scope["visitor"]}


@api.post("/pies", status_code=201)
async def add_pie(request: Request, pie: Pie) -> Pie:
    """Add a pie; of many, the first is forgotten."""
    request.state.store.append(pie.name)
    return pie


def old_app(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as a WSGI app; a Flask or a Django app is one as well."""
    start("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{environ['SCRIPT_NAME']} and {environ['PATH_INFO']}\n".encode()]


old = WSGIMiddleware(old_app)
# Bare, StaticFiles raises for a missing file, and Starlette makes a 404 of that.
static = Starlette(routes=[Mount("/", StaticFiles(directory=STATIC))])
