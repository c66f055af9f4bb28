"""Visitors for the tests, and what they bring along."""

import asyncio
import contextlib
import io
import re
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
    """A browser, in small: it keeps cookies, and sends the token with its forms."""

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

    async def token(self, path: str) -> str:
        """Return the token of the forms on a page."""
        match = re.search(r'name="csrf_token" value="([^"]+)"', await self.text(path))
        assert match, path
        return match[1]

    async def post(
        self, path: str, page: str = "", files: Any = None, **fields: Any
    ) -> httpx.Response:
        """Send a form of a page; without a page, of the one at the form's address."""
        token = await self.token(page or path)
        headers = fields.pop("headers", {})
        return await self.client.post(
            path, data={"csrf_token": token, **fields}, files=files, headers=headers
        )

    async def log_in(
        self, name: str = "ada", password: str = PASSWORD, **fields: str
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
        return await self.post(
            "/upload", "/pictures", files, headers=headers or {}, **fields
        )


def picture(
    size: tuple[int, int] = (60, 40),
    kind: str = "JPEG",
    mode: str = "RGB",
    **options: Any,
) -> bytes:
    """Return a picture of one colour."""
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
