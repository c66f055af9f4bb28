"""examples/wsgi"""

import re
import socket
import subprocess
import sys
import time

import httpx
import pytest

from tests.examples import harness
from tests.processes import environment, wait_until

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
        r"The shop is open, under (gunicorn/.+|a WSGI server)\.\n", wsgi_client.get("/").text
    )


def test_sessions_are_kept(wsgi_client):
    first = wsgi_client.post("/visit")
    cookie = first.headers["set-cookie"]
    headers = {"cookie": cookie.partition(";")[0]}

    # uWSGI does not say that the client is on this machine, and httpx heeds `Secure`.
    assert ("Secure" in cookie) == ("gunicorn" not in wsgi_client.get("/").text)
    later = [wsgi_client.post("/visit", headers=headers).json() for _ in "ab"]
    assert [first.json(), *later] == [{"visits": number} for number in (1, 2, 3)]


def test_looking_stores_no_session(wsgi_client):
    assert "set-cookie" not in wsgi_client.get("/").headers
    assert wsgi_client.get("/visit").status_code == 405
    assert wsgi_client.get("/nothing").status_code == 404
    assert int(wsgi_client.head("/").headers["content-length"]) > 30


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
        assert httpx.get(f"{wsgi_server.url}/", timeout=60).text.startswith("The shop is open")


ENDLESS = """\
        try:
            while True:
                yield "line\\n"
                await asyncio.sleep(0.1)
        finally:
            print("The stream is closed.", flush=True)
"""
UPLOAD = b"POST /visit HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize("command", [GUNICORN, UWSGI], ids=["gunicorn", "uwsgi"])
def test_clients_that_leave_end_their_requests(tmp_path, measure, command):
    folder = harness.copied("wsgi", tmp_path)
    app, log = folder / "app.py", folder / "server.log"
    text = app.read_text()
    before, lines, after = re.split(r"( {8}for number in .*?\n(?=\n))", text, flags=re.DOTALL)
    assert lines.count("yield") == 1
    app.write_text(before + ENDLESS + after)
    with harness.running(f"{command} > server.log 2>&1", folder, measure) as server:
        for _ in range(3):
            with httpx.stream("GET", f"{server.url}/count", timeout=60) as response:
                assert next(response.iter_lines()) == "line"
        wait_until(lambda: log.read_text().count("The stream is closed.") == 3)

        for _ in range(12):  # there are 8 threads
            with socket.create_connection(("127.0.0.1", server.port), 30) as upload:
                upload.sendall(UPLOAD + b"content-length: 10\r\n\r\n{")
        # The app would wait for the rest of such a body for 30 seconds.
        assert httpx.get(server.url, timeout=28).text.startswith("The shop is open")


def test_app_that_cannot_start_is_not_served(tmp_path, measure):
    folder = harness.copied("wsgi", tmp_path)
    app = folder / "app.py"
    app.write_text(app.read_text().replace('self._state = "open"', "raise OSError('no shop')"))

    command, variables = [sys.executable, "-c", "import wsgi"], environment(measure)
    tried = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=60
    )

    assert tried.returncode != 0
    assert tried.stderr.endswith("OSError: no shop\n")


def test_app_runs_under_an_asgi_server_too(client):
    assert client.get("/").text == "The shop is open, under an ASGI server.\n"
    assert client.get("/count").text == "1\n2\n3\n"
