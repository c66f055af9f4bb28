"""The same job on taskiq, run by other processes: taskiq worker task_queue:broker."""

import asyncio
import os
from typing import Any

from redis.asyncio import Redis
from taskiq import AsyncTaskiqTask, TaskiqResult
from taskiq.kicker import AsyncKicker
from taskiq_redis import RedisAsyncResultBackend

from job_queue import JobQueue
from primes import count_primes

URL = os.environ.get("JOB_QUEUE", "redis://127.0.0.1:6379/0")
KEEP = 3600  # seconds that results are kept

# RedisStreamBroker would give a dead worker's job to another one, but its workers
# do not stop when told to.
broker = JobQueue(URL, queue_name="primes").with_result_backend(
    RedisAsyncResultBackend(URL, result_ex_time=KEEP, prefix_str="primes:result")
)


@broker.task(task_name="count_primes")
async def count_primes_task(limit: int) -> int:
    """Run the job in a worker."""
    return await asyncio.to_thread(count_primes, limit)


class TaskQueue:
    """The queue, with the methods of `in_process.Jobs`."""

    def __init__(self) -> None:
        self._redis = Redis.from_url(URL)

    async def open(self) -> None:
        """Connect: a startup handler."""
        await broker.startup()

    async def submit(self, job: Any, *arguments: Any) -> str:
        """Put a job into the queue and return its id."""
        task: AsyncTaskiqTask[Any] = await AsyncKicker(job.__name__, broker, {}).kiq(
            *arguments
        )
        await self._redis.set(f"primes:job:{task.task_id}", 1, ex=KEEP)
        return task.task_id

    async def status(self, job_id: str) -> dict[str, Any] | None:
        """Return the state of a job, None if it is not known."""
        if not await self._redis.exists(f"primes:job:{job_id}"):
            return None
        if not await broker.result_backend.is_result_ready(job_id):
            return {"state": "waiting"}
        result: TaskiqResult[Any] = await broker.result_backend.get_result(job_id)
        return (
            {"state": "failed"}
            if result.is_err
            else {"state": "done", "result": result.return_value}
        )

    async def finish(self) -> None:
        """Disconnect; the jobs stay in Redis: a shutdown handler."""
        await broker.shutdown()
        await self._redis.aclose()
