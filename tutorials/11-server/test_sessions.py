"""Tests of the sessions that are kept in the database."""

import asyncio

from app import Poll
from conftest import Visitor
from sessions import NAME, SQLiteSessions
from store import database


async def test_another_worker_knows_the_session(visitor):
    ada = visitor()
    await ada.fill_in("/vote", pie="Apple")
    again = Visitor(Poll())
    again.cookies = ada.cookies

    assert "Change my vote" in (await again.get("/")).text


async def test_a_session_ends(app):
    backend = SQLiteSessions()
    await backend.save("one", {"name": "Ada"}, 60)
    assert await backend.load("one") == {"name": "Ada"}
    await backend.touch("one", 0)
    assert await backend.load("one") == {}
    await backend.touch("one", 60)
    assert await backend.load("one") == {}  # what has ended stays so


async def test_no_change_is_lost(app):
    def count(data):
        return {"votes": data.get("votes", 0) + 1}

    workers = [SQLiteSessions() for _ in range(4)]
    await asyncio.gather(*(worker.update("one", count, 60) for worker in workers * 5))
    assert await workers[0].load("one") == {"votes": 20}
    await workers[0].update("one", lambda data: {}, 60)
    assert await workers[0].load("one") == {}


async def test_no_id_is_kept(app):
    await SQLiteSessions().save("one", {"name": "Ada"}, 60)
    with database(NAME) as db:
        assert db.execute(
            "SELECT count(*) FROM sessions WHERE id = 'one'"
        ).fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM sessions").fetchone() == (1,)


async def test_an_empty_session_is_deleted(app):
    backend = SQLiteSessions()
    await backend.save("one", {"name": "Ada"}, 60)
    await backend.save("one", {}, 60)
    await backend.touch("one", 60)
    assert await backend.load("one") == {}
