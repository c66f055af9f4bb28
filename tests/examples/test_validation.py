"""examples/validation"""

import json

import pytest

ITEM = {"name": "Pie", "price": 1}
ORDER = {"customer": "Alice", "items": [ITEM]}
PATHS = ["/orders", "/fast-orders"]


@pytest.mark.parametrize("path", PATHS)
def test_valid_order_is_accepted(client, path):
    answer = client.post(path, json={**ORDER, "delivery": "2026-12-24", "payment": "cash"})

    assert answer.status_code == 201
    assert answer.json()["delivery"] == "2026-12-24"


@pytest.mark.parametrize("path", PATHS)
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
        ({"items": [{**ITEM, "count": True}]}, "items.0.count"),
        ({"items": [{**ITEM, "price": -0.5}]}, "items.0.price"),
        ({"items": [{"price": 1}]}, "items.0"),
    ],
)
def test_mistakes_are_named(client, path, wrong, field):
    answer = client.post(path, json={**ORDER, **wrong})

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"].startswith(field)


@pytest.mark.parametrize("path", PATHS)
def test_other_and_malformed_json_is_refused(client, path):
    for statuses, bodies in (
        ({422}, [b"[]", b"null", b"5", b'"text"']),
        ({400, 422}, [b"", b"{", b"[" * 100_000, b'{"customer": "\xff"}']),
    ):
        for body in bodies:
            answer = client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in statuses, body[:30]


@pytest.mark.parametrize("path", PATHS)
def test_other_types_are_refused_and_secrets_not_sent_back(client, path):
    headers = {"content-type": "text/plain; application/json"}

    assert client.post(path, content=json.dumps(ORDER), headers=headers).status_code == 415
    assert "hush" not in client.post(path, content=json.dumps({**ORDER, "items": "hush"})).text


def test_parameters_that_are_no_model_are_bound_as_usual(client):
    assert client.post("/orders?test=1", json=ORDER).status_code == 200
    assert client.post("/orders?test=perhaps", json=ORDER).status_code == 400
    assert client.get("/orders").status_code == 405


def test_index_names_the_others(client):
    for path in client.get("/").json().values():
        assert client.get(path).status_code in {200, 405}
