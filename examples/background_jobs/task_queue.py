"""The same job on taskiq, run by other processes: taskiq worker task_queue:broker."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from micropie import HTTPError
from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq import SendTaskError, TaskiqResult
from taskiq.kicker import AsyncKicker

from job_queue import KEEP, JobQueue
from primes import count_primes

# RedisStreamBroker's workers repeat a dead one's job, but don't stop when told to.
broker = JobQueue(os.environ.get("JOB_QUEUE", "redis://127.0.0.1:6379/0"), "primes")


@broker.task(task_name="count_primes")
async def count_primes_task(limit: int) -> int:
    """Run the job in a worker."""
    return await asyncio.to_thread(count_primes, limit)


class TaskQueue:
    """The queue, with the methods of `in_process.Jobs`."""

    def __init__(self) -> None:
        self._redis = Redis(connection_pool=broker.connection_pool)
        self.open = broker.startup
        self.finish = broker.shutdown  # the jobs stay in Redis

    async def submit(self, job: Any, *arguments: Any) -> str:
        """Put a job into the queue and return its id."""
        with reachable():
            kicker: Any = AsyncKicker(job.__name__, broker, {})
            task_id = str((await kicker.kiq(*arguments)).task_id)
            await self._redis.set(f"primes:job:{task_id}", 1, ex=KEEP)
        return task_id

    async def status(self, job_id: str) -> dict[str, Any] | None:
        """Return the state of a job, None if it is not known."""
        with reachable():
            if not await self._redis.exists(f"primes:job:{job_id}"):
                return None
            if not await broker.result_backend.is_result_ready(job_id):
                return {"state": "waiting"}
            result: TaskiqResult[Any] = await broker.result_backend.get_result(job_id)
        if result.is_err:
            return {"state": "failed"}
        return {"state": "done", "result": result.return_value}


@contextlib.contextmanager
def reachable() -> Iterator[None]:
    """Answer 503 if Redis doesn't answer."""
    try:
        yield
    except (RedisError, SendTaskError):
        raise HTTPError(503, {"error": "no queue"}, {"retry-after": "5"}) from None
