"""A program that changes one session again and again: one of several that a test starts at once.

    python session_writer.py FOLDER URL NAME CHANGES

FOLDER has the modules of a backend, and URL leads to its server. The program prints "ready", waits
for a line, and counts its changes in the session under NAME. With CHANGES 0 it goes on until
standard input ends. A session that has no "user" is one that has been logged out: no change may
bring it back.
"""

import asyncio
import importlib
import json
import sys
import threading
from typing import Any

TIMEOUT = 3600.0
ONE = "the session of all"


async def opened(url: str) -> tuple[Any, Any]:
    """Return the backend for a URL, and what closes it."""
    if url.startswith("redis"):
        redis_sessions = importlib.import_module("redis_sessions")
        client = redis_sessions.Redis.from_url(url)
        return redis_sessions.RedisSessionBackend(client), client.aclose
    sql_sessions = importlib.import_module("sql_sessions")
    engine = sql_sessions.make_engine(url)
    return sql_sessions.SQLSessionBackend(engine), engine.dispose


def counted(name: str) -> Any:
    """Return the change that counts one more under a name."""

    def change(stored: dict[str, Any]) -> dict[str, Any]:
        return {**stored, name: stored.get(name, 0) + 1} if "user" in stored else {}

    return change


async def main(url: str, name: str, changes: int) -> None:
    backend, close = await opened(url)
    await backend.load(ONE)
    print("ready", flush=True)
    sys.stdin.readline()
    ended = threading.Event()
    if not changes:
        threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    done = 0
    while not ended.is_set() and (done < changes or not changes):
        await backend.update(ONE, counted(name), TIMEOUT)
        done += 1
    await close()
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])
    asyncio.run(main(sys.argv[2], sys.argv[3], int(sys.argv[4])))
