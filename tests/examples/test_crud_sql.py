"""examples/crud_sql, with SQLite and with PostgreSQL"""

import asyncio
import concurrent.futures
import itertools
import subprocess
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text

from micropie import HttpMiddleware, UploadedFile
from tests import asgi
from tests.examples.harness import copied, running
from tests.examples.loading import load, run
from tests.processes import environment

numbers = itertools.count()
TABLE = '''

class Note(Base):
    """A note on a contact."""

    __tablename__ = "notes"

    contact_id: Mapped[int] = mapped_column(
        ForeignKey("contacts.id", ondelete="CASCADE"), index=True
    )
    text: Mapped[str] = mapped_column(String(1000))
'''
FIELDS = """
class NoteFields(BaseModel):
    contact_id: int = Field(gt=0, le=LARGEST_ID)
    text: str = Field(max_length=1000)


class JsonErrors("""
HANDLER = """
    @methods("GET", "POST", "PUT", "DELETE")
    async def notes(
        self,
        note_id: int | None = None,
        /,
        fields: NoteFields | None = None,
        after: int = 0,
        limit: int = 20,
    ) -> Any:
        return await self._rows(Note, note_id, fields, after, limit)

    async def _rows("""


def fields(**more):
    return {"name": "Ada", "email": f"{next(numbers)}@example.org", **more}


async def create_database(url, name):
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


@pytest.fixture(params=["SQLite", "PostgreSQL"])
def folder_and_settings(request, tmp_path, services, measure):
    url = f"sqlite+aiosqlite:///{tmp_path}/of/its/own.sqlite3"
    if request.param == "PostgreSQL":
        server, name = services.environment("crud_sql")["POSTGRESQL_URL"], f"crud{next(numbers)}"
        run(create_database(server, name))
        url = f"{server.rpartition('/')[0]}/{name}"
    return copied("crud_sql", tmp_path), {**measure, "DATABASE_URL": url}


@pytest.fixture
def crud(folder_and_settings):
    with running("python app.py", *folder_and_settings) as server, server.client() as client:
        yield client


def test_conflict_is_a_409_and_leaves_no_trace(crud):
    one, other = (crud.post("/contacts", json=fields()) for _ in range(2))
    assert crud.post("/contacts", json=fields(email=one.json()["email"])).status_code == 409

    answer = crud.put(other.headers["location"], json=fields(email=one.json()["email"]))

    assert (answer.status_code, answer.json()["error"][:12]) == (409, "409 Conflict")
    assert crud.get(other.headers["location"]).json() == other.json()


def test_pages_are_complete_while_rows_come_and_go(crud):
    start = crud.post("/contacts", json=fields()).json()["id"]
    made = [crud.post("/contacts", json=fields()).json()["id"] for _ in range(5)]
    url, seen = f"/contacts?after={start}&limit=2", []
    while url:
        page = crud.get(url).json()
        seen += [contact["id"] for contact in page["contacts"]]
        url = page["next"]
        crud.delete(f"/contacts/{made[0]}")
    assert seen == made


def test_numbers_out_of_range_are_no_errors_of_the_server(crud):
    for number in (0, -1, 2**31, 2**63, -(2**70)):
        assert crud.get(f"/contacts/{number}").status_code == 404
        for query in ({"after": number}, {"limit": number}):
            assert crud.get("/contacts", params=query).status_code == 200
    assert crud.get("/contacts/x").json() == {"error": "404 Not Found"}
    assert crud.get("/contacts?limit=x").status_code == 400


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": "a\0"}, {"email": "a@b@c"}, {"email": "@" * 201}, {"name": 5}]
)
def test_fields_that_do_not_fit_are_refused(crud, wrong):
    answer = crud.post("/contacts", json=fields(**wrong))

    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert "\n" not in answer.json()["error"]


def test_requests_that_name_nothing_to_do_are_refused(crud):
    url = crud.post("/contacts", json=fields()).headers["location"]

    assert crud.post("/contacts", data=fields()).status_code == 201
    assert crud.post(url, json=fields()).headers["allow"] == "DELETE, GET, PUT"
    assert crud.delete("/contacts").headers["allow"] == "GET, POST"
    assert crud.post("/contacts?contact_id=1&name=A&email=a@b").status_code == 400
    assert crud.put(url, content="{").status_code == 400
    assert crud.post("/contacts", json=fields(name="x" * 70_000)).status_code == 413
    assert crud.get("/").json() == {"contacts": "/contacts"}


def test_requests_at_once_are_all_saved(crud):
    sent = [fields() for _ in range(40)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        answers = [*threads.map(lambda one: crud.post("/contacts", json=one), sent)]

    assert {answer.status_code for answer in answers} == {201}
    urls = {answer.headers["location"] for answer in answers}
    assert len({crud.get(url).json()["email"] for url in urls}) == 40


FORM = [("content-type", "multipart/form-data; boundary=b"), ("content-length", "9999")]
PART = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\nabc'


@pytest.mark.real_time
@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("kind", ["upload", "wait", "mounted"])
async def test_request_without_a_response_gives_its_connection_back(kind, tmp_path):
    crud, used = load("crud_sql"), asyncio.Event()

    class User(HttpMiddleware):
        async def before_request(self, request):
            request.user = await request.db.scalar(text("SELECT 7"))
            used.set()

    base: Any = crud.Api

    class More(base):
        async def upload(self, file: UploadedFile):
            return len(await file.read())

        async def wait(self):
            await asyncio.Event().wait()

    async def mounted(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    app = More(f"sqlite+aiosqlite:///{tmp_path}/own.sqlite3")
    app.middlewares.append(User())
    app.mounts["/mounted"] = mounted
    [engine] = [one.engine for one in app.middlewares if isinstance(one, crud.Transactions)]
    for _ in range(20):  # the pool has 15 connections at most
        used.clear()
        method, headers = ("POST", FORM) if kind == "upload" else ("GET", [])
        async with asgi.exchange(app, method, f"/{kind}", headers=headers) as client:
            if kind == "upload":
                await client.send_body(PART)
            await used.wait()
            if kind == "wait":
                client.cancel()
        assert engine.pool.checkedout() == 0
    assert (await asgi.get(app, "/")).json() == {"contacts": "/contacts"}
    await engine.dispose()


def test_second_table_comes_as_the_readme_says(folder_and_settings):
    folder, settings = folder_and_settings

    def alembic(*arguments):
        done = subprocess.run(
            ["alembic", *arguments],
            cwd=folder,
            env=environment(settings),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    models, app = folder / "models.py", folder / "app.py"
    models.write_text(models.read_text().replace("import MetaData", "import ForeignKey, MetaData"))
    alembic("upgrade", "head")
    assert "No new upgrade operations" in alembic("check")
    with models.open("a") as file:
        file.write(TABLE)
    alembic("revision", "--autogenerate", "--rev-id", "0002", "-m", "notes")
    migration = (folder / "migrations" / "versions" / "0002_notes.py").read_text()
    assert "###" not in migration
    assert "batch" not in migration
    app.write_text(
        app.read_text()
        .replace("Base, Contact", "Base, Contact, Note")
        .replace("\nclass JsonErrors(", FIELDS)
        .replace("\n    async def _rows(", HANDLER)
    )

    several = running("uvicorn app:app --workers 3", folder, settings)
    with several as server, server.client() as client:
        contact = client.post("/contacts", json=fields())
        number = contact.json()["id"]
        note = client.post("/notes", json={"contact_id": number, "text": "x"})
        assert note.json() == {"id": 1, "contact_id": number, "text": "x"}
        assert client.get("/notes").json() == {"notes": [note.json()], "next": None}
        for wrong, status in (({}, 400), ({"contact_id": 2_000_000_000}, 409)):
            assert client.post("/notes", json={"text": "x", **wrong}).status_code == status
        client.delete(contact.headers["location"])
        assert client.get(note.headers["location"]).status_code == 404
        assert "No new upgrade operations" in alembic("check")
