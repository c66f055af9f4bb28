"""Run them with ``pytest``."""

import os
import tempfile

os.environ["DATABASE"] = f"{tempfile.mkdtemp()}/notes.sqlite3"

from starlette.testclient import TestClient  # noqa: E402

from app import app  # noqa: E402

NOTE = {"title": "Pie", "text": "Plums"}


def test_lost_update_is_refused() -> None:
    with TestClient(app) as client:
        added = client.post("/api/notes", json=NOTE)
        path, tag = f"/api/notes/{added.json()['id']}", added.headers["etag"]
        other = NOTE | {"text": "Apples"}
        assert client.put(path, json=NOTE).status_code == 428
        for status in (200, 412):
            answer = client.put(path, json=other, headers={"if-match": tag})
            assert answer.status_code == status
        assert client.get(path).json()["text"] == "Apples"
        assert client.delete(path).status_code == 204


def test_unknown_paths() -> None:
    with TestClient(app) as client:
        assert client.get("/api/no-such-thing").json() == {"error": "404 Not Found"}
        assert client.get("/static/no-such-file").status_code == 404
        page = client.get("/notes/1")
        assert "app.js" in page.text
        assert "script-src 'self'" in page.headers["content-security-policy"]
