"""Keeps links and counts their clicks, each in one transaction of any worker."""

import sqlite3
import time
from datetime import UTC, datetime, timedelta

from database import connected

# The name of an expired link stays taken for so many seconds. A printed link must not
# lead to a page that another visitor has chosen.
KEPT = 90 * 86_400.0
_LINK = "SELECT *, coalesce(expires <= :now, 0) AS expired{} FROM links WHERE "
_CLICKS = ", (SELECT sum(count) FROM clicks WHERE link_id = links.id) AS clicks"
_COUNT = """INSERT INTO clicks SELECT id, :day, 1 FROM links WHERE id = :link_id
    ON CONFLICT (link_id, day) DO UPDATE SET count = count + 1"""


def add(alias: str, target: str, owner: str, expires: float | None) -> bool:
    """Keep a new link; return whether its name was free."""
    now = time.time()
    row = (alias, target, owner, now, expires)
    query = """INSERT INTO links (alias, target, owner, created, expires)
        VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"""
    with connected(write=True) as database:
        database.execute("DELETE FROM links WHERE expires <= ?", (now - KEPT,))
        return database.execute(query, row).rowcount == 1


def find(alias: str, owner: str | None = None) -> sqlite3.Row | None:
    """Return a link, an expired one too; with an owner, only if it is theirs."""
    query = _LINK.format("") + "alias = :alias AND owner = coalesce(:owner, owner)"
    values = {"alias": alias, "owner": owner, "now": time.time()}
    with connected() as database:
        return database.execute(query, values).fetchone()


def owned(owner: str) -> list[sqlite3.Row]:
    """Return the 200 newest links of an owner, with the sums of their clicks."""
    query = _LINK.format(_CLICKS) + "owner = :owner ORDER BY id DESC LIMIT 200"
    with connected() as database:
        return database.execute(query, {"owner": owner, "now": time.time()}).fetchall()


def delete(alias: str, owner: str) -> sqlite3.Row | None:
    """Delete a link with its clicks if it belongs to this owner."""
    query = "DELETE FROM links WHERE alias = ? AND owner = ? RETURNING *"
    with connected(write=True) as database:
        return database.execute(query, (alias, owner)).fetchone()


def count(link_id: int) -> None:
    """Count a click; one on a link that has just been deleted leaves nothing."""
    day = str(datetime.now(UTC).date())
    with connected(write=True) as database:
        database.execute(_COUNT, {"link_id": link_id, "day": day})


def per_day(link_id: int, days: int) -> tuple[int, dict[str, int]]:
    """Return how often a link was followed at all, and on each of the last days."""
    query = "SELECT day, count FROM clicks WHERE link_id = ?"
    with connected() as database:
        counted = dict(map(tuple, database.execute(query, (link_id,))))
    today = datetime.now(UTC).date()
    last = [str(today - timedelta(days=ago)) for ago in reversed(range(days))]
    return sum(counted.values()), {day: counted.get(day, 0) for day in last}
