"""Copies the poll's data to a folder, also while the poll runs.

python backup.py /var/backups/poll
"""

import shutil
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pictures
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
    unfinished = shutil.ignore_patterns(".*")  # pictures that still come in
    shutil.copytree(pictures.folder(), target / "pictures", ignore=unfinished)


if __name__ == "__main__":
    back_up(Path(sys.argv[1]))
