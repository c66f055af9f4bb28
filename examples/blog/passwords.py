"""Passwords: argon2id, in worker threads, a few at a time."""

import asyncio
import secrets

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST = 12
LONGEST = 200
AT_ONCE = 4  # each takes tens of milliseconds of a core, and 64 MiB


class Passwords:
    """Hashes passwords, and compares them with stored hashes.

    Args:
        memory: KiB that one hash takes.
        rounds: How often it goes over them.
    """

    def __init__(self, memory: int, rounds: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=rounds, memory_cost=memory, parallelism=1 if memory < 32 else 4
        )
        self._no_account = self._hasher.hash(secrets.token_hex())
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def hash(self, password: str) -> str:
        """Return the hash that is stored instead of a password."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, password: str, stored_hash: str | None) -> bool:
        """Compare a password with the stored hash.

        Without a hash, the method takes the same time to say no.
        """
        async with self._slots:
            return await asyncio.to_thread(
                self._verify, password, stored_hash or self._no_account
            )

    def is_outdated(self, stored_hash: str) -> bool:
        """Return whether a hash was made with other settings than today's."""
        return self._hasher.check_needs_rehash(stored_hash)

    def _verify(self, password: str, stored_hash: str) -> bool:
        try:
            return self._hasher.verify(stored_hash, password[: LONGEST + 1])
        except (VerificationError, InvalidHashError):
            return False


def password_problem(password: str, *names: str) -> str:
    """Return why a password is too weak, or an empty text.

    NIST SP 800-63B-4 asks for length, and for no rules about digits and signs.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        return (
            f"A password has {SHORTEST} to {LONGEST} characters. "
            "A few words are easy to remember."
        )
    if len(set(password)) < 5 or password.casefold() in {
        name.casefold() * times for name in names for times in (1, 2)
    }:
        return "This password is too easy to guess."
    return ""
