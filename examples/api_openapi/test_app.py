"""Run them with ``pytest``."""

from openapi_spec_validator import validate
from starlette.testclient import TestClient

from app import app

EMMA = {"title": "Emma", "year": 1815}


def test_document_is_valid() -> None:
    with TestClient(app) as client:
        document = client.get("/openapi.json").json()
    validate(document)
    assert document["paths"]["/book/{book_id}"]["get"]["operationId"] == "book"
    assert list(document["paths"]["/add_book"]["post"]["responses"]) == ["201", "400"]


def test_book_is_added_and_deleted() -> None:
    with TestClient(app) as client:
        added = client.post("/api/add_book", json=EMMA)
        assert added.status_code == 201
        path = f"book/{added.json()['id']}"
        assert client.get(f"/api/{path}").json() == added.json()
        assert client.delete(f"/api/delete_{path}").status_code == 204
        assert "error" in client.get(f"/api/{path}").json()


def test_book_that_does_not_fit_is_refused() -> None:
    with TestClient(app) as client:
        answer = client.post("/api/add_book", json=EMMA | {"year": 5})
        assert answer.status_code == 400
        assert "year" in answer.json()["error"]
