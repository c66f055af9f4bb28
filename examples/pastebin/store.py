"""Reads, keeps and deletes pastes; each in one statement, so no request interferes."""

import secrets
import sqlite3
import time

from database import connected

_ALIVE = "(expires IS NULL OR expires > :now)"
_HEAD = "id, title, language, burn, expires"


def add(**values: object) -> str:
    """Keep a paste under an id of 96 random bits; delete those that have expired."""
    row = {"id": secrets.token_urlsafe(12), "created": time.time(), **values}
    names, slots = ", ".join(row), ", ".join(f":{name}" for name in row)
    with connected(write=True) as database:
        database.execute("DELETE FROM pastes WHERE expires <= ?", (time.time(),))
        database.execute(f"INSERT INTO pastes ({names}) VALUES ({slots})", row)
    return str(row["id"])


def find(paste_id: str) -> sqlite3.Row | None:
    """Return a paste."""
    query = f"SELECT * FROM pastes WHERE id = :id AND {_ALIVE}"
    return _one(query, id=paste_id)


def burn(paste_id: str) -> sqlite3.Row | None:
    """Delete a paste that can be read once, and return it to one of its readers."""
    query = f"DELETE FROM pastes WHERE id = :id AND burn AND {_ALIVE} RETURNING *"
    return _one(query, id=paste_id)


def delete(paste_id: str, owner: str) -> sqlite3.Row | None:
    """Delete a paste if it belongs to this owner."""
    query = "DELETE FROM pastes WHERE id = :id AND owner = :owner RETURNING *"
    return _one(query, id=paste_id, owner=owner)


def owned(owner: str) -> list[sqlite3.Row]:
    """Return the 100 newest pastes of an owner, without their texts."""
    query = f"SELECT {_HEAD} FROM pastes WHERE owner = :owner AND {_ALIVE}"
    values = {"owner": owner, "now": time.time()}
    query += " ORDER BY created DESC LIMIT 100"
    with connected() as database:
        return database.execute(query, values).fetchall()


def _one(statement: str, **values: str) -> sqlite3.Row | None:
    with connected(write=statement.startswith("DELETE")) as database:
        rows = database.execute(statement, {"now": time.time(), **values})
        return next(iter(rows.fetchall()), None)
