"""examples/lifespan"""

import concurrent.futures
import sqlite3

import pytest

from tests import asgi
from tests.examples.loading import load

example = load("lifespan")
pool = load("lifespan", "pool")

pytestmark = pytest.mark.usefixtures("measured")


@pytest.fixture
def opened(tmp_path):
    made = pool.Pool(str(tmp_path / "test.sqlite3"), size=2, timeout=0.1)
    made.open()
    yield made
    made.close()


def test_books_are_added_listed_and_lent(client):
    for title, copies in (("Emma", 3), ("<b>", 1)):
        assert client.post("/add", json={"title": title, "copies": copies}).status_code == 201
    assert client.post("/add", json={"title": "Emma"}).json()["copies"] == 4
    other, emma = {"id": 2, "title": "<b>", "copies": 1}, {"id": 1, "title": "Emma", "copies": 4}
    assert client.get("/").json() == [other, emma]
    assert client.post("/lend/1?copies=4").json()["copies"] == 0
    for path, status in (
        ("/lend/1", 409),
        ("/lend/9", 409),
        ("/lend/2?copies=-1", 400),
        ("/add?title=", 400),
        ("/add?title=x&copies=0", 400),
        ("/add", 400),
    ):
        assert client.post(path).status_code == status, path


def test_last_copy_is_lent_once(client):
    book = client.post("/add", json={"title": "The only one", "copies": 10}).json()["id"]

    with concurrent.futures.ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(lambda _: client.post(f"/lend/{book}").status_code, range(20)))

    assert sorted(answers) == [200] * 10 + [409] * 10


async def test_pool_is_open_while_the_app_serves(tmp_path):
    app = example.Root(str(tmp_path / "books.sqlite3"))
    async with asgi.lifespan(app):
        assert app._pool._free.qsize() == app._pool.size
        assert (await asgi.get(app, "/health")).json() == {"status": "ok"}
    assert app._pool._free.empty()


async def test_app_does_not_start_without_its_database(tmp_path):
    with pytest.raises(asgi.LifespanFailed, match="No such file or directory"):
        async with asgi.lifespan(example.Root(str(tmp_path / "missing" / "too" / "books.sqlite3"))):
            raise AssertionError("it must not start")


async def test_health_is_bad_while_no_connection_is_free(tmp_path):
    app = example.Root(str(tmp_path / "books.sqlite3"))
    app._pool.size, app._pool.timeout = 1, 0.05
    async with asgi.lifespan(app):
        with app._pool.connection():
            response = await asgi.get(app, "/health")
        assert (response.status, response.json()) == (
            503,
            {"status": "no connection was free for 0.05 seconds"},
        )


def test_connection_comes_back_after_an_error(opened):
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), opened.connection():
            raise ZeroDivisionError
    with (
        opened.connection(),
        opened.connection(),
        pytest.raises(pool.PoolError),
        opened.connection(),
    ):
        pass
    with pytest.raises(pool.PoolError), opened.connection():
        opened.close()
    opened.size = 1  # the other one is closed


def test_transaction_is_whole_or_nothing(opened):
    with opened.transaction() as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(sqlite3.OperationalError), opened.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("nonsense")
    with opened.connection() as connection:
        assert connection.execute("SELECT * FROM t").fetchall() == []


def test_commit_that_fails_undoes_the_transaction(opened):
    opened.size = 1
    with opened.transaction() as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
        connection.execute("CREATE TABLE b (a REFERENCES a DEFERRABLE INITIALLY DEFERRED)")
    for _ in range(3):
        with pytest.raises(sqlite3.IntegrityError), opened.transaction() as connection:
            connection.execute("INSERT INTO b VALUES (99)")
    for _ in range(3):
        with opened.connection() as connection:
            assert connection.execute("SELECT * FROM b").fetchall() == []
        with opened.transaction() as connection:
            connection.execute("INSERT INTO a DEFAULT VALUES")


def test_error_that_has_ended_the_transaction_is_the_one_that_is_raised(opened):
    with opened.transaction() as connection:
        connection.execute("CREATE TABLE t (x PRIMARY KEY ON CONFLICT ROLLBACK)")
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.IntegrityError), opened.transaction() as connection:
        connection.execute("INSERT INTO t VALUES (1)")


def test_no_errors_in_a_browser(page):
    page.goto("/")
    assert page.inner_text("body").startswith("[")
