"""Copies the poll's data to a folder, also while the poll runs.

python backup.py /var/backups/poll
"""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import store


def back_up(target: Path) -> None:
    """Copy the databases and the pictures; what is there already is replaced."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("poll.db", "sessions.db"):
        with (
            store.database(name) as source,
            closing(sqlite3.connect(target / name)) as copy,
        ):
            source.backup(copy)
    shutil.rmtree(target / "pictures", ignore_errors=True)
    if (
        store.DATA / "pictures"
    ).exists():  # a name with a dot is a picture that still comes in
        shutil.copytree(
            store.DATA / "pictures",
            target / "pictures",
            ignore=shutil.ignore_patterns(".*"),
        )


if __name__ == "__main__":
    back_up(Path(sys.argv[1]))
