"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app


def test_message_is_shown_once() -> None:
    client = TestClient(app, base_url="https://testserver")
    assert (
        "2 × Plum pie" in client.post("/order", data={"name": "plum", "count": 2}).text
    )
    assert "2 × Plum pie" not in client.get("/").text


def test_price_list_escapes_nothing() -> None:
    assert "with < 50 g of sugar" in TestClient(app).get("/price-list").text
