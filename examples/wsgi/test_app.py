"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app


def test_app_without_wsgi() -> None:
    with TestClient(app, base_url="https://testserver") as client:
        assert client.get("/").text == "The shop is open, under an ASGI server.\n"
        assert not client.cookies
        for visits in (1, 2):
            assert client.post("/visit").json() == {"visits": visits}
        assert client.get("/count").text == "1\n2\n3\n"
