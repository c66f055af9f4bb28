"""examples/json_api"""

import json

import pytest


@pytest.fixture
def note(client):
    return client.post("/notes", json={"title": "Title"}).json()


def test_created_note_is_at_its_location(client):
    created = client.post("/notes", json={"title": "A", "text": "B"})

    assert created.status_code == 201
    assert client.get(created.headers["location"]).json() == created.json()


def test_put_needs_the_whole_note(client, note):
    url = f"/notes/{note['id']}"

    assert client.put(url, json={"title": "New"}).status_code == 422
    assert client.put(url, json={"title": "New", "text": "whole"}).json()["text"] == "whole"
    assert client.patch(url, json={"title": "Newer"}).json()["text"] == "whole"


def test_deleted_note_is_gone(client, note):
    url = f"/notes/{note['id']}"

    assert [client.delete(url).status_code for _ in range(2)] == [204, 404]


def test_pages_of_the_list(client, note):
    newest = client.post("/notes", json={"title": "Newest"}).json()

    first = client.get("/notes", params={"limit": 1}).json()
    second = client.get(first["next"]).json()

    assert (first["notes"], second["notes"]) == ([newest], [note])
    assert client.get("/notes", params={"limit": 100, "before": 1}).json()["next"] is None


@pytest.mark.parametrize(
    "query", ["limit=101", "limit=-1", "before=x", "limit=²", "before=" + "9" * 5000]
)
def test_page_out_of_range_is_refused(client, query):
    assert client.get(f"/notes?{query}").status_code == 422


@pytest.mark.parametrize(
    "body", [[], 5, "text", None, {"title": None}, {"title": "x" * 101}, {"title": "x", "id": 7}]
)
def test_body_that_is_not_a_note_is_refused(client, body):
    answer = client.post(
        "/notes", content=json.dumps(body), headers={"content-type": "application/json"}
    )

    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


def test_text_plain_is_not_read_as_json(client):
    headers = {"content-type": "text/plain; application/json"}

    assert client.post("/notes", content=b'{"title": "x"}', headers=headers).status_code == 415


def test_too_large_a_body_is_refused(client):
    answer = client.post("/notes", json={"title": "x", "text": "x" * 70_000})

    assert (answer.status_code, answer.json()) == (413, {"error": "max_body_size is 65536 bytes"})


def test_neither_query_nor_body_chooses_the_note(client, note):
    assert client.delete(f"/notes?note_id={note['id']}").status_code == 405
    assert client.post("/notes", json={"title": "x", "note_id": note["id"]}).status_code == 422


def test_wrong_method_on_one_note_is_refused_and_head_is_like_get(client, note):
    assert client.post(f"/notes/{note['id']}").headers["allow"] == "DELETE, GET, PATCH, PUT"
    head, whole = (client.request(method, f"/notes/{note['id']}") for method in ("HEAD", "GET"))
    assert head.headers["content-length"] == str(len(whole.content))


def test_index_leads_to_the_notes(client):
    assert client.get("/").json() == {"notes": "/notes"}
