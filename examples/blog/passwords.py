"""Passwords: argon2id, in worker threads, a few at a time."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 200
AT_ONCE = 4  # each takes tens of milliseconds of a core, and 64 MiB


class Passwords:
    """Hashes passwords, and compares them with what was kept.

    Args:
        memory: KiB that one hash takes.
        rounds: How often it goes over them.
    """

    def __init__(self, memory: int, rounds: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=rounds, memory_cost=memory, parallelism=1 if memory < 32 else 4
        )
        self._nobody = self._hasher.hash(secrets.token_hex())
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return what to keep in place of a password."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, kept: str | None) -> bool:
        """Compare a password with the stored hash.

        Without a hash, the method takes the same time to say no.
        """
        async with self._slots:
            return await asyncio.to_thread(self._verify, password, kept or self._nobody)

    def is_outdated(self, kept: str) -> bool:
        """Return whether it was hashed with other settings than today's."""
        return self._hasher.check_needs_rehash(kept)

    def _verify(self, password: str, kept: str) -> bool:
        try:
            return self._hasher.verify(kept, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False


def problem_of(password: str, *names: str) -> str:
    """Say why a password will not do, or nothing.

    Length is what counts (NIST SP 800-63B-4); rules about digits and signs make
    passwords worse.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return (
            f"A password has {SHORTEST} to {LONGEST} characters. "
            "A few words are easy to remember."
        )
    if len(set(password)) < 5 or password.casefold() in {
        name.casefold() * times for name in names for times in (1, 2)
    }:
        return "That is too easy to guess."
    return ""
