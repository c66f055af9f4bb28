"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

URL = "/socket.io/?EIO=4&transport=polling"


def test_page_and_its_client() -> None:
    with TestClient(app) as client:
        assert 'src="/client.js"' in client.get("/").text
        assert "Socket.IO v4" in client.get("/client.js").text


def test_pages_of_other_sites_are_refused() -> None:
    with TestClient(app) as client:
        assert client.get(URL).text.startswith('0{"sid":')
        refused = client.get(URL, headers={"origin": "https://evil.example"})
        assert refused.status_code == 400
