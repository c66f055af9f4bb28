"""Migrations and the commands."""

import asyncio
import getpass
import io
import os
import runpy
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import inspect

import database
import manage
from app import Blog
from tests.helpers import PASSWORD, Start, Visitor

HERE = Path(database.__file__).parent


@pytest.fixture
def config(database_url: str) -> Config:
    """Return the configuration of Alembic."""
    return database.migrations(database_url)


def test_models_are_what_the_migrations_make(config: Config) -> None:
    """A change of models.py needs a migration: `alembic check` fails without."""
    command.check(config)


async def tables(url: str) -> set[str]:
    """Return the names of all tables."""
    engine = database.make_engine(url)
    async with engine.connect() as connection:
        found = await connection.run_sync(lambda sync: inspect(sync).get_table_names())
    await engine.dispose()
    return set(found)


def test_migrations_go_down_and_up(config: Config, database_url: str) -> None:
    """Down to nothing, and up to the same again."""
    before = asyncio.run(tables(database_url))
    command.downgrade(config, "base")
    assert asyncio.run(tables(database_url)) == {"alembic_version"}
    command.upgrade(config, "head")
    assert asyncio.run(tables(database_url)) == before
    command.check(config)


def test_several_workers_migrate_at_once(config: Config, database_url: str) -> None:
    """One does it, the other waits."""
    command.downgrade(config, "base")
    line = [sys.executable, "-m", "alembic", "upgrade", "head"]
    environment = {**os.environ, "BLOG_DATABASE_URL": database_url}
    started = [
        subprocess.Popen(line, cwd=HERE, env=environment, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    logs = [process.communicate(timeout=60)[1] for process in started]

    assert [process.returncode for process in started] == [0, 0], logs
    assert sum(b"Running upgrade" in log for log in logs) == 1
    command.check(config)


def test_migrations_need_a_connection(config: Config) -> None:
    """They look at the tables that are there."""
    with pytest.raises(CommandError, match="without --sql"):
        command.upgrade(config, "head", sql=True)


def test_new_migration_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the types of the database, and for the database of the environment."""
    monkeypatch.setenv("BLOG_DATA", str(tmp_path))
    config = Config(HERE / "alembic.ini")
    config.set_main_option("version_locations", str(tmp_path / "versions"))
    command.revision(config, "all tables", autogenerate=True, rev_id="0001")

    text = (tmp_path / "versions" / "0001_all_tables.py").read_text()
    assert "sa.Column('created', sa.DateTime(timezone=True), nullable=False)" in text
    assert "models." not in text


# Commands -----------------------------------------------------------------------------


Run = Callable[..., Awaitable[None]]


@pytest.fixture
def run(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a runner of `python manage.py` in a thread, with its own event loop."""
    monkeypatch.setenv("BLOG_DATABASE_URL", database_url)
    monkeypatch.setenv("BLOG_DATA", str(tmp_path))
    monkeypatch.setenv("BLOG_PASSWORD_MEMORY", "8")

    async def typed(*words: str, password: str = "") -> None:
        monkeypatch.setattr(sys, "argv", ["manage.py", *words])
        monkeypatch.setattr(sys, "stdin", io.StringIO(password + "\n"))
        await asyncio.to_thread(
            runpy.run_path, str(HERE / "manage.py"), run_name="__main__"
        )

    return typed


async def test_accounts_by_command(
    start: Start, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The way to the first account of a blog that is on the network already."""
    async with start(sign_up="closed") as blog:
        await run("add-user", "ada", "--full-name", "Ada Lovelace", password=PASSWORD)
        visitor = Visitor(blog)
        assert (await visitor.log_in()).status_code == 303
        assert "Ada Lovelace" in await visitor.text("/account")
        await run("set-password", "ada", password="another good one")
        assert (await visitor.get("/account")).status_code == 303
        assert (await visitor.log_in(password="another good one")).status_code == 303
    assert capsys.readouterr().out == "ada can log in now.\nada has a new password.\n"


FAILING = (
    (("add-user", "x"), PASSWORD, "A name has"),
    (("add-user", "ada"), PASSWORD, "taken"),
    (("set-password", "nobody"), PASSWORD, "no account nobody"),
    (("set-password", "ada"), "short", "A password has"),
)


async def test_commands_that_fail(blog: Blog, run: Run) -> None:
    """They say why, and end with 1."""
    for words, password, problem in FAILING:
        with pytest.raises(SystemExit, match=problem):
            await run(*words, password=password)


def test_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal, it is not shown."""
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda: "typed")
    assert manage.asked_password() == "typed"


async def test_sessions_are_changed_in_one_step(
    blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that workers lose no change of each other, and no logout is undone."""
    backend = blog._backend
    await backend.create_table()  # it is there, by the migrations

    def added(key: str) -> Callable[[dict[str, int]], dict[str, int]]:
        return lambda stored: {**stored, key: 1}

    await asyncio.gather(*(backend.update("one", added(str(n)), 60) for n in range(20)))
    assert await backend.load("one") == {str(n): 1 for n in range(20)}
    await backend.update("one", lambda stored: {}, 60)
    assert await backend.load("one") == {}
    await backend.save("ended", {"a": 1}, -1)
    await backend.update("ended", added("b"), 60)
    assert await backend.load("ended") == {"b": 1}

    async def gone(connection: object, key: str) -> None:
        """As if another had deleted the row each time."""

    monkeypatch.setattr(backend, "_locked", gone)
    with pytest.raises(RuntimeError, match="10 times"):
        await backend.update("one", added("a"), 60)
