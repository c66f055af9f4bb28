"""A queue in Redis that outlives quiet times and a restart of Redis."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from redis import exceptions
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

KEEP = 3600  # seconds that results are kept
# The first use of a connection that is older than a restart of Redis fails.
AGAIN = Retry(ExponentialBackoff(), 3, (exceptions.ConnectionError,))


class JobQueue(ListQueueBroker):
    """taskiq's queue, asked every second: redis-py 8 ends a wait of 5 seconds.

    Then taskiq's worker would die. Without that limit it would not stop when told to,
    since it looks at a signal only when something else wakes it up.
    """

    def __init__(self, url: str, name: str, **more: Any) -> None:
        super().__init__(url, queue_name=name, retry=AGAIN)
        more = {"result_ex_time": KEEP, "prefix_str": f"{name}:result", **more}
        self.with_result_backend(RedisAsyncResultBackend(url, retry=AGAIN, **more))

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Yield each job."""
        while True:
            found: Any = None
            try:
                async with Redis(connection_pool=self.connection_pool) as redis:
                    found = await redis.brpop([self.queue_name], timeout=1)
            except exceptions.RedisError as error:
                logging.getLogger(__name__).warning("no job can be taken: %s", error)
                await asyncio.sleep(1)
            if found:
                yield found[1]
