"""The job: it takes its time, and knows nothing of the code that runs it."""

LARGEST = 20_000_000


def count_primes(limit: int) -> int:
    """Count the primes below a limit, or raise ValueError if it is out of range."""
    if not 0 <= limit <= LARGEST:
        raise ValueError(f"the limit must be between 0 and {LARGEST}")
    sieve = bytearray([1]) * limit
    sieve[:2] = bytes(min(limit, 2))
    for number in range(2, int(limit**0.5) + 1):
        if sieve[number]:
            multiples = range(number * number, limit, number)
            sieve[number * number :: number] = bytes(len(multiples))
    return sum(sieve)
