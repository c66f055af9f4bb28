"""Visitors for the tests, and what they bring along."""

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from PIL import Image

from accounts import add_user
from app import Blog
from models import User

Start = Callable[..., contextlib.AbstractAsyncContextManager[Blog]]
PASSWORD = "flour butter apples"


@contextlib.asynccontextmanager
async def started(app: Blog) -> AsyncIterator[Blog]:
    """Run the startup handlers, and later the shutdown ones, which httpx does not."""
    to_app: asyncio.Queue[Any] = asyncio.Queue()
    from_app: asyncio.Queue[Any] = asyncio.Queue()
    lifespan = asyncio.create_task(
        app({"type": "lifespan", "asgi": {"version": "3.0"}}, to_app.get, from_app.put)
    )

    async def tell(event: str) -> None:
        await to_app.put({"type": f"lifespan.{event}"})
        answer = await from_app.get()
        assert answer["type"] == f"lifespan.{event}.complete", answer

    await tell("startup")
    try:
        yield app
    finally:
        await tell("shutdown")
        await lifespan


class Visitor:
    """A small browser, which keeps cookies and sends forms."""

    def __init__(self, blog: Blog, address: str = "127.0.0.1", below: str = "") -> None:
        transport = httpx.ASGITransport(
            blog, raise_app_exceptions=False, client=(address, 1234), root_path=below
        )
        # From elsewhere, people come over TLS: their cookies are Secure.
        scheme = (
            "http"
            if address in {"127.0.0.1", "::1", "::ffff:127.0.0.1", "127.9.9.9"}
            else "https"
        )
        self.client = httpx.AsyncClient(
            transport=transport, base_url=f"{scheme}://localhost{below}"
        )
        self.get = self.client.get

    async def text(self, path: str) -> str:
        """Return a page that must be there."""
        response = await self.get(path)
        assert response.status_code == 200, response.text
        return response.text

    async def post(self, path: str, files: Any = None, **fields: Any) -> httpx.Response:
        """Send a form."""
        headers = fields.pop("headers", {})
        return await self.client.post(path, data=fields, files=files, headers=headers)

    async def log_in(
        self, name: str = "ada", password: str = PASSWORD, **fields: Any
    ) -> httpx.Response:
        """Fill in the form for the login."""
        return await self.post("/login", name=name, password=password, **fields)

    async def write(
        self,
        title: str,
        body: str = "Some text.",
        action: str = "publish",
        **fields: str,
    ) -> str:
        """Write a post; return its address."""
        response = await self.post(
            "/write", title=title, body=body, action=action, **fields
        )
        assert response.status_code == 303, response.text
        return response.headers["location"]

    async def upload(
        self, data: bytes, headers: dict[str, str] | None = None, **fields: str
    ) -> httpx.Response:
        """Send a picture."""
        files = {"picture": ("IMG_1.jpg", data, "image/jpeg")}
        return await self.post("/upload", files, headers=headers or {}, **fields)


def picture(
    size: tuple[int, int] = (60, 40),
    kind: str = "JPEG",
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    """Return a picture of one color."""
    file = io.BytesIO()
    Image.new(mode, size, "orange" if mode == "RGB" else None).save(
        file, kind, **options
    )
    return file.getvalue()


async def add(blog: Blog, name: str, full_name: str = "") -> User:
    """Add an account."""
    return await add_user(
        blog._database, blog._passwords, name, full_name or name.title(), PASSWORD
    )
