"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

client = TestClient(app)


def test_theme_is_remembered() -> None:
    assert 'data-theme="dark"' in client.post("/theme", data={"name": "dark"}).text


def test_news_are_sent_once() -> None:
    tag = client.get("/news").headers["etag"]
    assert client.get("/news", headers={"if-none-match": tag}).status_code == 304
