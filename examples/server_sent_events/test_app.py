"""Run them with ``pytest``."""

import asyncio

from starlette.testclient import TestClient

from app import Room, app


def test_message_that_is_too_long_is_refused() -> None:
    with TestClient(app) as client:
        for text, status in (("Hi", 204), ("x" * 501, 422)):
            sent = client.post("/say", data={"name": "Ada", "text": text})
            assert sent.status_code == status


def test_reader_who_comes_back_misses_nothing() -> None:
    async def read(last_id: str) -> list[str | None]:
        events = room.read(last_id)  # not over HTTP, since the stream has no end
        return [(await anext(events)).id, (await anext(events)).id]

    room = Room()
    for text in ("one", "two", "three"):
        room.add({"text": text})
    first, second = asyncio.run(read(""))
    assert asyncio.run(read(str(first)))[0] == second
