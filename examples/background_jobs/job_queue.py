"""A queue in Redis whose workers outlive quiet times and a restart of Redis."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from taskiq_redis import ListQueueBroker


class JobQueue(ListQueueBroker):
    """taskiq's queue, asked every second: redis-py 8 ends a wait of 5 seconds.

    Then taskiq's worker would die. Without that limit it would not stop when told to,
    since it looks at a signal only when something else wakes it up.
    """

    async def listen(self) -> AsyncGenerator[bytes, None]:
        """Yield each job."""
        while True:
            found: Any = None
            try:
                async with Redis(connection_pool=self.connection_pool) as redis:
                    found = await redis.brpop([self.queue_name], timeout=1)
            except RedisError as error:
                logging.getLogger(__name__).warning("no job can be taken: %s", error)
                await asyncio.sleep(1)
            if found:
                yield found[1]
