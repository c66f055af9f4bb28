"""Run them with ``pytest``."""

from pathlib import Path

from starlette.testclient import TestClient

from app import Root


def test_session_outlives_the_process(tmp_path: Path) -> None:
    store, cookies = f"sqlite+aiosqlite:///{tmp_path}/sessions.sqlite3", {}
    for visits in ("1", "2"):
        # A new app and a new client stand for the next start of the server.
        with TestClient(Root(store), "https://testserver", cookies=cookies) as client:
            assert f'number">{visits}<' in client.post("/visit").text
            cookies = dict(client.cookies)
