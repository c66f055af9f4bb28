"""The slow job, on taskiq. Its workers: taskiq worker tasks:broker."""

import os
from datetime import UTC, datetime
from typing import Any

from taskiq import AsyncBroker, InMemoryBroker

from bus import MemoryBus

URL = os.environ.get("REDIS_URL", "")
KEEP = 3600  # seconds that a result is kept

bus: MemoryBus
broker: AsyncBroker
if URL:
    from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

    from redis_bus import RedisBus

    bus = RedisBus(URL)
    results: Any = RedisAsyncResultBackend(
        URL, result_ex_time=KEEP, prefix_str="export"
    )
    broker = ListQueueBroker(URL, queue_name="exports").with_result_backend(results)
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
