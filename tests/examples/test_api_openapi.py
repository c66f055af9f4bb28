"""examples/api_openapi"""

import importlib
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from openapi_spec_validator import validate
from pydantic import BaseModel

from micropie import App, FromSession, UploadedFile, methods
from tests.examples.browsing import NARROW
from tests.examples.harness import PREFIX
from tests.examples.loading import load

EMMA = {"title": "Emma", "year": 1815}

pytestmark = pytest.mark.usefixtures("measured")


class Note(BaseModel):
    text: str = "nothing"


class Notes(App):
    @methods("PUT", "POST")
    async def note(self, note_id: int, part: str = "all", /, *, note: Note | None = None) -> Note:
        """Save."""

    async def both(self, note: Note, times: int = 2) -> Note | tuple[Literal[202], Note] | None:
        """Use it twice.

        And once more.
        """

    async def mine(self, user_id: FromSession) -> str: ...

    @methods("POST")
    async def upload(self, file: UploadedFile, name, color: Literal["red"] = "red"): ...

    async def lines(self, *rest: str, **more: str) -> AsyncIterator[str]: ...

    async def status(self) -> tuple[int, Any]: ...

    async def ws_chat(self, ws): ...


@pytest.fixture(scope="module")
def document():
    app, mounted = Notes(), type("Mounted", (Notes,), {"index": lambda self: "x"})()
    app.mounts |= {"/below": mounted, "/other": lambda *_: None}
    mounted.mounts["/again"] = app
    made = load("api_openapi", "openapi").Document(app, "Notes", "1").content
    validate(made)
    return made


def operation(document, path, method):
    return document["paths"][path][method]


def test_optional_segment_and_methods_make_operations(document):
    names = {one["operationId"] for path in document["paths"].values() for one in path.values()}

    assert names >= {"put_note", "post_note", "put_note_by_part", "below_upload", "below"}
    assert len(names) == sum(map(len, document["paths"].values()))
    found = operation(document, "/note/{note_id}/{part}", "put")
    assert [(one["name"], one["in"], one["required"]) for one in found["parameters"]] == [
        ("note_id", "path", True),
        ("part", "path", True),
    ]
    assert found["requestBody"]["required"] is False


def test_model_and_query_go_together(document):
    found = operation(document, "/both", "post")

    [times] = found["parameters"]
    assert (times["in"], times["schema"]) == ("query", {"type": "integer", "default": 2})
    assert list(found["responses"]) == ["200", "202", "204", "400"]
    assert "content" not in found["responses"]["204"]
    assert (found["summary"], found["description"]) == ("Use it twice.", "And once more.")
    assert set(document["components"]["schemas"]) == {"Error", "Note"}


def test_login_and_files(document):
    mine = operation(document, "/mine", "get")
    assert (mine["parameters"], mine["security"]) == ([], [{"session": []}])
    assert set(mine["responses"]) == {"200", "401"}
    assert list(mine["responses"]["200"]["content"]) == ["text/html"]

    [(media, content)] = operation(document, "/upload", "post")["requestBody"]["content"].items()
    assert media == "multipart/form-data"
    assert content["schema"]["required"] == ["file", "name"]
    assert content["schema"]["properties"]["file"]["format"] == "binary"
    assert content["schema"]["properties"]["color"]["default"] == "red"


def test_results_that_say_nothing(document):
    for path in ("/lines", "/status"):
        found = operation(document, path, "get")
        assert found["responses"]["200"]["content"] == {"application/json": {"schema": {}}}
        assert found["parameters"] == []


def test_document_names_the_place_of_the_api(client):
    for root in ("", PREFIX):
        servers = client.get(f"{root}/openapi.json").json()["servers"]
        assert servers == [{"url": f"{root}/api"}]


def test_generated_client_talks_to_the_app(server, tmp_path, monkeypatch):
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    command += ["--url", f"{server.url}/openapi.json", "--output-path", str(tmp_path / "made")]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("made")
    models = importlib.import_module("made.models")
    api = {
        name: importlib.import_module(f"made.api.default.{name}")
        for name in ("add_book", "book", "books", "delete_book")
    }

    with made.Client(base_url=f"{server.url}/api") as client:
        added = api["add_book"].sync(client=client, body=models.NewBook("Emma", 1815, ["novel"]))
        assert (added.title, added.tags) == ("Emma", ["novel"])
        assert api["book"].sync(added.id, client=client) == added
        assert api["books"].sync(client=client, title="mm", limit=5) == [added]
        assert api["delete_book"].sync_detailed(added.id, client=client).status_code == 204
        missing = api["book"].sync(added.id, client=client)
        assert missing == models.Error(f"There is no book {added.id}")


def test_shelf_is_bounded(client):
    added = [client.post("/api/add_book", json=EMMA).status_code for _ in range(1001)]

    assert (added.count(201), added[-1]) == (1000, 409)
    for book in client.get("/api/books?limit=1000").json():
        client.delete(f"/api/delete_book/{book['id']}")


@pytest.mark.parametrize("root", ["", PREFIX])
def test_page_tries_the_api(page, browsing, root):
    browsing.expected = ["404"]
    page.goto(f"{root}/")
    page.get_by_role("heading", name="Books 1.0.0").wait_for()
    page.get_by_text("POST /add_book").click()
    added = page.locator("#post-add_book")
    added.get_by_label("Body").fill('{"title": "<b>Emma</b>", "year": 1815}')
    added.get_by_role("button").click()
    added.get_by_text('201 Created {"title":"<b>Emma</b>"').wait_for()
    page.get_by_text("GET /book/").click()
    shown = page.locator("#get-book-book_id-")
    shown.get_by_label("book_id (path)").fill("999")
    shown.get_by_role("button").click()
    shown.get_by_text("There is no book 999").wait_for()
    browsing.check_accessible(page)
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0]


def test_form_starts_with_a_sample(page):
    page.goto("/")
    page.get_by_text("POST /add_book").click()
    body = page.locator("#post-add_book").get_by_label("Body")
    assert body.input_value().split() == [
        "{",
        '"title":',
        '"text",',
        '"year":',
        "1450,",
        '"tags":',
        "[]",
        "}",
    ]
    assert page.locator("[name=limit]").input_value() == "20"
