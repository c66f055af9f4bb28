"""examples/wsgi"""

import re
import subprocess
import sys
import time

import httpx
import pytest

from tests.examples import harness
from tests.processes import environment

GUNICORN = "gunicorn --bind 127.0.0.1:8000 --threads 8 wsgi:application"
UWSGI = (
    "uwsgi --http11-socket 127.0.0.1:8000 --module wsgi --master --lazy-apps "
    "--enable-threads --threads 8 --die-on-term --skip-atexit-teardown"
)


@pytest.fixture(scope="module", params=[GUNICORN, UWSGI], ids=["gunicorn", "uwsgi"])
def wsgi_server(request, tmp_path_factory, measure):
    folder = harness.copied("wsgi", tmp_path_factory.mktemp("wsgi"))
    line = f"{request.param} > server.log 2>&1"
    with harness.running(line, folder, measure) as server:
        yield server
    if request.param is GUNICORN:
        assert "The shop is closed." in (folder / "server.log").read_text()


@pytest.fixture
def wsgi_client(wsgi_server):
    with wsgi_server.client() as opened:
        yield opened


def test_startup_handlers_have_run(wsgi_client):
    assert re.fullmatch(
        r"Served by (gunicorn/.+|a WSGI server), open for \d+ s, visit \d+\.\n",
        wsgi_client.get("/").text,
    )


def test_sessions_are_kept(wsgi_client):
    first = wsgi_client.get("/")
    cookie = first.headers["set-cookie"]
    headers = {"cookie": cookie.partition(";")[0]}

    # uWSGI does not say that the client is on this machine, and httpx heeds `Secure`.
    assert ("Secure" in cookie) == ("gunicorn" not in first.text)
    assert [wsgi_client.get("/", headers=headers).text.split()[-1] for _ in "ab"] == ["2.", "3."]


def test_arguments_and_bodies_arrive(wsgi_client):
    assert wsgi_client.get("/greet/Z%C3%B6e").json() == {"hello": "Zöe"}
    assert wsgi_client.post("/greet", data={"name": "Bob"}).json() == {"hello": "Bob"}
    assert wsgi_client.post("/greet", json={"name": "Bob"}).json() == {"hello": "Bob"}
    assert wsgi_client.get("/nothing").status_code == 404
    assert wsgi_client.head("/greet").headers["content-length"] == "17"


def test_streams_come_bit_by_bit(wsgi_client):
    def pause():
        with wsgi_client.stream("GET", "/count") as response:
            lines = response.iter_lines()
            first, came = next(lines), time.monotonic()
            assert [first, *lines] == ["1", "2", "3"]
            return time.monotonic() - came

    assert any(pause() > 0.1 for _ in range(10)), (
        "the app waits 0.2 seconds in between, and all came at once"
    )


def test_requests_do_not_wait_for_each_other(wsgi_server, wsgi_client):
    with wsgi_client.stream("GET", "/count"):
        assert httpx.get(f"{wsgi_server.url}/greet").json() == {"hello": "world"}


def test_app_that_cannot_start_is_not_served(tmp_path, measure):
    folder = harness.copied("wsgi", tmp_path)
    app = folder / "app.py"
    app.write_text(
        app.read_text().replace("self._opened = time.monotonic()", "raise OSError('no shop')")
    )

    command, variables = [sys.executable, "-c", "import wsgi"], environment(measure)
    tried = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60
    )

    assert tried.returncode != 0
    assert tried.stderr.endswith("OSError: no shop\n")


def test_app_runs_under_an_asgi_server_too(client):
    assert client.get("/").text.startswith("Served by an ASGI server, open for")
    assert client.get("/count").text == "1\n2\n3\n"
