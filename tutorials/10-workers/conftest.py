"""Fixtures for the tests, an app with an empty data folder and visitors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from httpx_ws.transport import ASGIWebSocketTransport

import store
from app import Poll


class Visitor(httpx.AsyncClient):
    """A visitor with a browser: keeps cookies, and calls the app in memory."""

    def __init__(self, app: Poll) -> None:
        super().__init__(
            transport=ASGIWebSocketTransport(app=app), base_url="http://localhost"
        )

    async def fill_in(
        self, form: str, picture: bytes | None = None, **fields: str
    ) -> httpx.Response:
        """Load the page, and send one of its forms."""
        await self.get("/")
        files: Any = {"picture": ("pie.png", picture)} if picture is not None else None
        return await self.post(form, data=fields, files=files)


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Poll:
    """Return a poll without a vote."""
    monkeypatch.setattr(store, "DATA", tmp_path)
    store.create_tables()
    return Poll()


@pytest.fixture
def visitor(app: Poll) -> Callable[[], Visitor]:
    """Return a function that makes a new visitor."""
    return lambda: Visitor(app)
