"""A blog for each test, and visitors to it.

BLOG_TEST_DATABASE_URL names another database than SQLite: an empty one.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jinja2 import FileSystemBytecodeCache

import database
from app import Blog
from settings import Settings
from tests.helpers import Start, Visitor, add, started


@pytest.fixture(scope="session")
def database_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the URL of a database with all tables."""
    url = os.environ.get("BLOG_TEST_DATABASE_URL")
    url = (
        url or f"sqlite+aiosqlite:///{tmp_path_factory.mktemp('database')}/blog.sqlite3"
    )
    database.migrate(url)
    return url


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Return settings, with changes; real hashes of passwords cost more, on purpose."""
    return Settings(
        data=tmp_path,
        database_url=database_url,
        migrate=False,
        posts_per_page=3,
        password_memory=8,
        password_rounds=1,
    )


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> FileSystemBytecodeCache:
    """Return where compiled templates are kept: each blog would compile them anew."""
    return FileSystemBytecodeCache(str(tmp_path_factory.mktemp("templates")))


@pytest.fixture
def start(settings: Settings, templates: FileSystemBytecodeCache) -> Start:
    """Return what starts a blog with nobody and nothing in it."""

    @contextlib.asynccontextmanager
    async def with_settings(**changed: Any) -> AsyncIterator[Blog]:
        async with started(Blog(replace(settings, **changed))) as blog:
            blog.env.bytecode_cache = templates
            async with blog._database.session.begin() as db:
                for tables in database.TABLES:
                    for table in reversed(tables.sorted_tables):
                        await db.execute(table.delete())
            yield blog

    return with_settings


@pytest_asyncio.fixture
async def blog(start: Start) -> AsyncIterator[Blog]:
    """Yield a blog with two authors."""
    async with start() as blog:
        await add(blog, "ada", "Ada Lovelace")
        await add(blog, "grace", "Grace Hopper")
        yield blog


@pytest.fixture
def visitor(blog: Blog) -> Visitor:
    """Return somebody who has not logged in."""
    return Visitor(blog)


@pytest_asyncio.fixture
async def ada(blog: Blog) -> Visitor:
    """Return an author who has."""
    ada = Visitor(blog)
    await ada.log_in()
    return ada


@pytest_asyncio.fixture
async def grace(blog: Blog) -> Visitor:
    """Return the other author."""
    grace = Visitor(blog)
    await grace.log_in("grace")
    return grace
