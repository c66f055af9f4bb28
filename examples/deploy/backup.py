"""Copy the database and the uploads to a new folder, and keep the newest seven.

DATA=/var/lib/shop python backup.py /var/backups/shop
"""

import shutil
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from database import DATA, DATABASE

KEPT = 7


def back_up(target: Path) -> Path:
    """Make a backup below a folder while the app runs, and return its folder."""
    folder = target / f"{datetime.now(UTC):%Y-%m-%dT%H%M%S}"
    unfinished = target / ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    with (
        closing(sqlite3.connect(DATABASE, timeout=30)) as database,
        closing(sqlite3.connect(unfinished / DATABASE.name)) as copy,
    ):
        database.backup(copy)
    # After the database, so each file that it names is there.
    shutil.copytree(DATA / "uploads", unfinished / "uploads")
    unfinished.rename(folder)
    for old in sorted(target.glob("2*"))[:-KEPT]:
        shutil.rmtree(old)
    return folder


if __name__ == "__main__":
    print(back_up(Path(sys.argv[1])))
