"""The last messages of each chat, in SQLite, as OpenAI's API wants them."""

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

KEPT = 10  # questions and answers of a chat that are sent with the next question
SECONDS = 7 * 86_400  # after its last answer, a chat is deleted


class History:
    """All chats; each method can run in any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._run(
            "CREATE TABLE IF NOT EXISTS turns (chat TEXT, messages TEXT, at REAL)"
        )
        self._run("CREATE INDEX IF NOT EXISTS turns_of_chat ON turns (chat)")

    def messages(self, chat: str) -> list[Any]:
        """Return the last messages of a chat, oldest first."""
        last = "SELECT messages FROM turns WHERE chat = ? ORDER BY at DESC LIMIT ?"
        turns = reversed(self._run(last, chat, KEPT))
        return [message for [turn] in turns for message in json.loads(turn)]

    def add(self, chat: str, *messages: Any) -> None:
        """Add a question and its answer to a chat, and delete old chats."""
        row = (chat, json.dumps(messages), time.time())
        self._run("INSERT INTO turns VALUES (?, ?, ?)", *row)
        self._run("DELETE FROM turns WHERE at < ?", time.time() - SECONDS)

    def delete(self, chat: str) -> None:
        """Delete a chat."""
        self._run("DELETE FROM turns WHERE chat = ?", chat)

    def _run(self, sql: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self._path, timeout=30)) as database, database:
            return database.execute(sql, values).fetchall()
