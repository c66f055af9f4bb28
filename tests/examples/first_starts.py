"""Starts copies of an app, each in several processes at once, as `uvicorn --workers` does.

`python first_starts.py FOLDER ...` exits with the number of processes that failed, and prints the
journal mode that each copy's database has in the end. Another connection writes to the last one's
when the processes start, and it gets one more start afterwards.
"""

import asyncio
import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import sqlite3
import sys
from pathlib import Path

from uvicorn import Config
from uvicorn.lifespan.on import LifespanOn

WORKERS = 4
HELD = 1.5  # seconds for which another connection writes; each example waits for more
processes = multiprocessing.get_context("fork")


def start(folder, together):
    """Import the app in a folder, when all others are here too, and start and stop its app."""
    enter(folder)
    together.wait(60)
    asyncio.run(start_and_stop(importlib.import_module("app").app))


def enter(folder):
    """Go to a copy; forget the modules of the one that this process has imported."""
    os.chdir(folder)
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(f"{sys.path[0]}/"):
            del sys.modules[name]
    sys.path[0] = str(folder)


async def start_and_stop(app):
    lifespan = LifespanOn(Config(app, lifespan="on"))
    await lifespan.startup()
    assert not lifespan.should_exit
    await lifespan.shutdown()


def failed(folder, workers, held=None):
    """Start an app; return how many processes failed. Write to a database in the meantime."""
    together = processes.Barrier(workers + 1)
    started = [processes.Process(target=start, args=(folder, together)) for _ in range(workers)]
    for process in started:
        process.start()
    with contextlib.ExitStack() as stack:
        if held is not None:
            held.parent.mkdir(parents=True, exist_ok=True)
            writer = sqlite3.connect(held, isolation_level=None)
            stack.enter_context(contextlib.closing(writer))
            writer.execute("BEGIN IMMEDIATE")
        together.wait(60)
        if held is not None:
            multiprocessing.connection.wait([one.sentinel for one in started], HELD)
    for process in started:
        process.join()
    return sum(process.exitcode != 0 for process in started)


def database_in(folder):
    [path] = [one for one in folder.rglob("*") if one.suffix in {".db", ".sqlite3"}]
    return path


def main(first, *others):
    os.chdir(first)
    sys.path[0] = str(first)
    importlib.import_module("app")  # what it imports from elsewhere stays for all processes
    failures = failed(first, WORKERS)
    held = database_in(first).relative_to(first)
    for folder in others:
        failures += failed(folder, WORKERS, folder / held if folder == others[-1] else None)
    failures += failed(others[-1], 1)
    for folder in (first, *others):
        with contextlib.closing(sqlite3.connect(folder / held)) as database:
            print(*database.execute("PRAGMA journal_mode").fetchone())
    return failures


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
