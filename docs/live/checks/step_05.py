"""Checks of step 5: the votes are in a database."""

import os
from pathlib import Path

from checking import Missing, Program
from checking_poll import STEP_5, store_of

# More checks: what the steps up to this one have added still works.
MORE = STEP_5


async def check_folder(poll: Program) -> None:
    """The database is a file in `data`, or in the folder that `POLL_DATA` names."""
    await poll.visitor().fill_in("/vote", pie="Apple")
    if not any(path.is_file() for path in (poll.folder / "data").rglob("*")):
        raise Missing(store_of(poll), "The database must be a file in the folder `data`.")
    other = poll.folder / "another" / "folder"
    os.environ["POLL_DATA"] = str(other)
    await poll.restart()
    await poll.visitor().fill_in("/vote", pie="Apple")
    if not files_in(other):
        text = (
            "If the environment variable `POLL_DATA` names a folder, the database must be there, "
            'so use `os.environ.get("POLL_DATA", …)`.'
        )
        raise Missing(store_of(poll), text)


def files_in(folder: Path) -> bool:
    """Tell if there is a file in a folder."""
    return any(path.is_file() for path in folder.rglob("*"))
