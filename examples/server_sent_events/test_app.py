"""Run them with ``pytest``."""

import asyncio

from micropie import ServerSentEvent
from starlette.testclient import TestClient

from app import KEPT, Room, app


def test_message_that_is_too_long_is_refused() -> None:
    with TestClient(app) as client:
        for text, status in (("Hi", 204), ("x" * 501, 422)):
            sent = client.post("/say", data={"name": "Ada", "text": text})
            assert sent.status_code == status


def test_reader_who_comes_back_misses_nothing() -> None:
    room = Room()
    [start] = asyncio.run(read(room, "", 1))  # the room is empty
    for text in ("one", "two", "three"):
        room.add({"text": text})
    first, second = asyncio.run(read(room, str(start.id), 2))
    assert first.data == {"text": "one"}
    assert asyncio.run(read(room, str(first.id), 1)) == [second]


def test_reader_with_an_id_of_another_process_gets_all_that_is_kept() -> None:
    room = Room()
    for number in range(KEPT + 1):
        room.add({"text": str(number)})
    gap, *messages = asyncio.run(read(room, "0a0b0c0d-17", KEPT + 1))
    assert gap.event == "gap"
    assert [event.data for event in messages] == [
        {"text": str(number)} for number in range(1, KEPT + 1)
    ]


async def read(room: Room, last_id: str, count: int) -> list[ServerSentEvent]:
    """Read the source of the stream, and not over HTTP, since it has no end."""
    events = room.read(last_id)
    return [await anext(events) for _ in range(count)]
