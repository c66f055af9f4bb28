"""examples/crud_sql, with SQLite and with PostgreSQL"""

import concurrent.futures
import itertools
import subprocess

import asyncpg
import pytest

from tests.examples.harness import copied, running
from tests.examples.loading import run
from tests.processes import environment

numbers = itertools.count()
TABLE = '''

class Note(Base):
    """A note on a contact."""

    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    contact_id: Mapped[int] = mapped_column(
        ForeignKey("contacts.id", ondelete="CASCADE"), index=True
    )
    text: Mapped[str] = mapped_column(String(1000))
'''
HANDLER = '''
    async def notes(self, contact_id: int, text: str) -> Any:
        """Add a note, and say how many there are."""
        self.request.db.add(Note(contact_id=contact_id, text=text))
        await self.request.db.flush()
        return len([*await self.request.db.scalars(select(Note))])

    def _url('''


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

    assert (answer.status_code, answer.json()) == (409, {"error": "409 Conflict: with another row"})
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


def test_requests_that_name_nothing_to_do_are_refused(crud):
    url = crud.post("/contacts", json=fields()).headers["location"]

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
    app.write_text(
        app.read_text()
        .replace("ID, Contact", "ID, Contact, Note")
        .replace("\n    def _url(", HANDLER)
    )

    several = running("uvicorn app:app --workers 3", folder, settings)
    with several as server, server.client() as client:
        url = client.post("/contacts", json=fields()).headers["location"]
        before = client.get(f"/notes{url.removeprefix('/contacts')}/one").json()
        assert client.get("/notes/2000000000/nothing").status_code == 409
        client.delete(url)
        other = client.post("/contacts", json=fields()).headers["location"]
        assert client.get(f"/notes{other.removeprefix('/contacts')}/two").json() == before
        assert "No new upgrade operations" in alembic("check")
