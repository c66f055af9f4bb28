"""The slow job, on taskiq. Its workers: taskiq worker tasks:broker."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Any

from taskiq import AsyncBroker, InMemoryBroker

from bus import ANSWERS_WITHIN, MemoryBus

URL = os.environ.get("REDIS_URL", "")
KEEP = 3600  # seconds that a result is kept

bus: MemoryBus
broker: AsyncBroker
if URL:
    from job_queue import JobQueue
    from redis_bus import RedisBus

    bus = RedisBus(URL)
    more = {"result_ex_time": KEEP, "socket_timeout": ANSWERS_WITHIN}
    broker = JobQueue(URL, "exports", **more)
else:
    bus = MemoryBus()
    broker = InMemoryBroker()


@broker.task(task_name="export")
async def export(room: str) -> str:
    """Return all messages of a room as text."""
    lines = []
    for event in await bus.history(room):
        at = datetime.fromtimestamp(int(event["id"].partition("-")[0]) / 1000, UTC)
        lines.append(f"{at:%Y-%m-%d %H:%M:%S} {event['name']}: {event['text']}\n")
    return "".join(lines)


async def start(room: str) -> str:
    """Put the job into the queue, and return its id."""
    with bus.link:
        async with asyncio.timeout(ANSWERS_WITHIN):
            return (await export.kiq(room)).task_id


async def result_of(task_id: str) -> str | None:
    """Return the text if a worker has made it; raise what it has raised."""
    with bus.link:
        if not await broker.result_backend.is_result_ready(task_id):
            return None
        result: Any = await broker.result_backend.get_result(task_id)
    result.raise_for_error()
    return str(result.return_value)
