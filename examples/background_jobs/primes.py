"""The job: something that takes its time. It knows nothing of who runs it."""

import asyncio

LARGEST = 20_000_000


def _count(limit: int) -> int:
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(min(limit, 2))
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(
                len(range(number * number, limit, number))
            )
    return sum(sieve)


async def count_primes(limit: int) -> int:
    """Count the primes below a limit, in a thread, or it would stall the server.

    Raises:
        ValueError: The limit is negative, or larger than `LARGEST`.
    """
    if not 0 <= limit <= LARGEST:
        raise ValueError(f"the limit must be between 0 and {LARGEST}")
    return await asyncio.to_thread(_count, limit)
