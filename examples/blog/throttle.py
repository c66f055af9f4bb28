"""Limits guesses of passwords, for all workers together: failed logins are rows."""

import hashlib
import ipaddress
import math
import time
from collections.abc import Mapping

from micropie import HTTPError, Request
from sqlalchemy import delete, func, select

from database import Database
from models import LoginAttempt

WINDOW = 900.0  # seconds


class Throttle:
    """Counts what failed in the last quarter of an hour, and sign-ups.

    Args:
        database: Where the attempts are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, limits: Mapping[str, int]) -> list[int]:
        """Note an attempt before it is tried, so that many at once count too.

        Args:
            limits: How many may fail, by what they have in common: an address, a name.

        Returns:
            What `forget` takes when it was no failure.

        Raises:
            HTTPError: 429 there were too many.
        """
        now = time.time()
        keys = {
            hashlib.sha256(text.encode()).digest(): limit
            for text, limit in limits.items()
        }
        attempts = [LoginAttempt(key=key, at=now) for key in keys]
        async with self._database.session.begin() as db:
            db.add_all(attempts)
        noted = [attempt.id for attempt in attempts]
        async with self._database.session() as db:
            rows = await db.execute(
                select(LoginAttempt.key, func.count(), func.min(LoginAttempt.at))
                .where(LoginAttempt.key.in_(keys), LoginAttempt.at > now - WINDOW)
                .group_by(LoginAttempt.key)
            )
            waits = [
                first + WINDOW - now for key, count, first in rows if count > keys[key]
            ]
        if waits:
            # Refused tries are not counted, or a user could be locked out forever.
            await self.forget(noted)
            text = "That was tried too often. Wait a quarter of an hour."
            raise HTTPError(429, text, {"retry-after": str(math.ceil(max(waits)))})
        return noted

    async def forget(self, noted: list[int]) -> None:
        """Forget an attempt."""
        async with self._database.session.begin() as db:
            await db.execute(delete(LoginAttempt).where(LoginAttempt.id.in_(noted)))

    async def delete_old(self) -> None:
        """Delete what does not count any more."""
        async with self._database.session.begin() as db:
            await db.execute(
                delete(LoginAttempt).where(LoginAttempt.at <= time.time() - WINDOW)
            )


def address_of(request: Request) -> str:
    """Return the client's address, or its IPv6 network, which one client has whole."""
    host = (request.scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    # A socket for both kinds shows an IPv4 address as one of these.
    address = getattr(address, "ipv4_mapped", None) or address
    return (
        str(ipaddress.ip_network((address, 64), strict=False))
        if address.version == 6
        else str(address)
    )
