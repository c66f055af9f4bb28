"""examples/validation"""

import pytest

ITEM = {"name": "Pie", "price": 1}
ORDER = {"customer": "Alice", "items": [ITEM]}


def test_valid_order_is_accepted(client):
    answer = client.post("/orders", json={**ORDER, "delivery": "2026-12-24", "payment": "cash"})

    assert answer.status_code == 201
    assert answer.json() == {"customer": "Alice", "total": "1", "delivery": "2026-12-24"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"customer": 5}, "customer"),
        ({"customer": "x" * 101}, "customer"),
        ({"delivery": "2026-13-01"}, "delivery"),
        ({"payment": "shells"}, "payment"),
        ({"items": []}, "items"),
        ({"items": [ITEM] * 51}, "items"),
        ({"items": [ITEM, {**ITEM, "count": 0}]}, "items.1.count"),
        ({"items": [{**ITEM, "price": -0.5}]}, "items.0.price"),
        ({"items": [{"price": 1}]}, "items.0"),
        ({"items": "hush"}, "items"),
    ],
)
def test_mistakes_are_named_and_values_not_sent_back(client, wrong, field):
    answer = client.post("/orders", json={**ORDER, **wrong})

    assert answer.status_code == 400
    assert f"\n{field}" in answer.text
    assert "hush" not in answer.text


def test_other_and_malformed_json_is_refused(client):
    for body in (b"[]", b"null", b"5", b'"text"', b"", b"{", b"[" * 100_000, b'{"a": "\xff"}'):
        answer = client.post("/orders", content=body, headers={"content-type": "application/json"})
        assert answer.status_code == 400, body[:30]


def test_parameters_that_are_no_model_are_bound_as_usual(client):
    assert client.post("/orders?test=1", json=ORDER).status_code == 200
    assert client.post("/orders?test=perhaps", json=ORDER).status_code == 400
    assert client.get("/orders").status_code == 405


def test_form_becomes_a_model(client):
    for fields, status in (
        ({"email": "ada@example.org", "topics": ["pies", "bread"]}, 200),
        ({"email": "ada@example.org", "topics": "cake"}, 400),
        ({"email": "ada"}, 400),
    ):
        assert client.post("/subscribe", data=fields).status_code == status


def test_index_names_the_others(client):
    for path in client.get("/").json().values():
        assert client.get(path).status_code in {200, 405}
