"""Run them with ``pytest``."""

from starlette.testclient import TestClient

from app import app

client = TestClient(app)
ORDER = {"customer": "Alice", "items": [{"name": "Pie", "price": "12.50", "count": 2}]}


def test_order_is_taken() -> None:
    response = client.post("/orders", json=ORDER)
    assert (response.status_code, response.json()["total"]) == (201, "25.00")


def test_mistakes_are_named() -> None:
    response = client.post("/orders", json=ORDER | {"payment": "shells"})
    assert response.status_code == 400
    assert "payment" in response.text
