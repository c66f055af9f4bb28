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
    """Counts failed logins and sign-ups of the last quarter of an hour.

    Args:
        database: The database of the attempts.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, limits: Mapping[str, int]) -> list[int]:
        """Store an attempt before it is made, so that many at once count too.

        Args:
            limits: How many may fail, by key, such as an address or a name.

        Returns:
            Ids for `forget`, if the attempt succeeds.

        Raises:
            HTTPError: 429 there were too many attempts.
        """
        now = time.time()
        keys = {
            hashlib.sha256(text.encode()).digest(): limit
            for text, limit in limits.items()
        }
        attempts = [LoginAttempt(key=key, at=now) for key in keys]
        async with self._database.session.begin() as db:
            db.add_all(attempts)
        attempt_ids = [attempt.id for attempt in attempts]
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
            await self.forget(attempt_ids)
            text = "There were too many attempts. Wait a quarter of an hour."
            raise HTTPError(429, text, {"retry-after": str(math.ceil(max(waits)))})
        return attempt_ids

    async def forget(self, attempt_ids: list[int]) -> None:
        """Delete an attempt that does not count."""
        async with self._database.session.begin() as db:
            await db.execute(
                delete(LoginAttempt).where(LoginAttempt.id.in_(attempt_ids))
            )

    async def delete_old(self) -> None:
        """Delete the attempts that are too old to count."""
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
