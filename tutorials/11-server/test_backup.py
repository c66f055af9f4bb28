"""A test that the backup has all that visitors have sent."""

import sqlite3
from contextlib import closing

from backup import back_up

PNG = b"\x89PNG\r\n\x1a\n" + b"the rest of a picture"


async def test_backup_has_the_votes_and_the_pictures(visitor, tmp_path):
    ada = visitor()
    await ada.fill_in("/vote", pie="Apple")
    await ada.fill_in("/upload", picture=PNG, description="A pie")
    copy = tmp_path / "copy"
    back_up(copy)
    back_up(copy)  # a second backup replaces the first

    with closing(sqlite3.connect(copy / "poll.db")) as db:
        assert db.execute("SELECT pie FROM votes").fetchall() == [("Apple",)]
    assert [file.read_bytes() for file in (copy / "pictures").iterdir()] == [PNG]
