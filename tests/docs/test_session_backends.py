"""The guide to session backends tells the truth of a Redis that restarts, hangs or comes back."""

import contextlib
import functools
import hashlib
import re
import signal
import time
from pathlib import Path

import httpx
import pytest
from redis import Redis

from docs._ext.blocks import blocks
from tests.processes import ROOT, free_port, serving, started, wait_until
from tests.timing import shortest

PAGE = ROOT / "docs/howto/session-backends.md"
EXAMPLE = ROOT / "examples/session_backends/redis_sessions.py"
SHORT = 2.0  # seconds that the client waits for a Redis that hangs, instead of five
LOOKING = """
from app import Root, redis
from redis_sessions import RedisSessionBackend


class Looking(Root):
    async def look(self):
        return str(self.request.session.get("visits"))


app = Looking(RedisSessionBackend(redis), session_timeout=60)
app.shutdown_handlers.append(redis.aclose)
"""


@pytest.fixture
def folder(tmp_path):
    """A folder with the files of the page's part on Redis."""
    for block in blocks(PAGE.read_text().partition("## Keep sessions in SQLite")[0]):
        if block.kind == "file" and not block.file:
            (tmp_path / block.detail).write_text(block.text)
    (tmp_path / "looking.py").write_text(LOOKING)
    backend, changed = re.subn(
        r"(socket_timeout|socket_connect_timeout)=5", rf"\1={SHORT}", EXAMPLE.read_text()
    )
    assert changed == 2
    (tmp_path / "redis_sessions.py").write_text(backend)
    guarded = EXAMPLE.with_name("guarded_sessions.py").read_text()
    assert guarded.count("\nLIMIT = 1.2") == 1
    # Longer than the client waits, or one could not tell one wait from two.
    (tmp_path / "guarded_sessions.py").write_text(guarded.replace("LIMIT = 1.2", "LIMIT = 9.0"))
    return tmp_path


@contextlib.contextmanager
def redis_server(folder: Path, *options: str):
    """Run Redis in a folder; yield the process, a client and the app's variable."""
    port = free_port()
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), *options]
    with (
        started(command, port, folder / "redis.log", cwd=folder) as process,
        Redis(port=port, decode_responses=True) as client,
    ):
        yield process, client, {"REDIS_URL": f"redis://127.0.0.1:{port}/0"}


@contextlib.contextmanager
def serving_app(name: str, folder: Path, variables: dict[str, str]):
    """Serve an app of the folder, and yield a client of it."""
    port = free_port()
    with (
        serving(f"uvicorn {name}:app", folder, port, variables, errors=True),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        yield client


def test_redis_starts_empty_if_appendonly_is_new_to_it(tmp_path):
    with redis_server(tmp_path) as (_, client, _):
        client.set("pie", "plum")
        client.shutdown(save=True)
    assert (tmp_path / "dump.rdb").exists()

    with redis_server(tmp_path, "--appendonly", "yes") as (_, client, _):
        assert client.get("pie") is None


def test_redis_keeps_all_if_appendonly_was_switched_on_while_it_ran(tmp_path):
    with redis_server(tmp_path) as (process, client, _):
        client.set("pie", "plum")
        client.config_set("appendonly", "yes")
        states = ("aof_rewrite_in_progress", "aof_rewrite_scheduled")
        wait_until(lambda: not any(client.info("persistence")[state] for state in states))
        process.kill()
        process.wait(30)

    with redis_server(tmp_path, "--appendonly", "yes") as (_, client, _):
        assert client.get("pie") == "plum"


def seconds_of(client: httpx.Client, path: str, status: int) -> float:
    begun = time.monotonic()
    assert client.get(path).status_code == status
    return time.monotonic() - begun


def test_guarded_app_waits_once_for_a_redis_that_hangs(folder):
    with (
        redis_server(folder, "--save", "") as (process, _, variables),
        serving_app("guarded", folder, variables) as client,
    ):
        assert "Visit 1," in client.get("/").text
        process.send_signal(signal.SIGSTOP)
        for path, status in ("/about", 200), ("/", 503):
            attempt = functools.partial(seconds_of, client, path, status)
            assert SHORT <= shortest(attempt, 2 * SHORT) < 2 * SHORT
        process.send_signal(signal.SIGCONT)

        assert "Visit 2," in client.get("/").text


def test_visitor_goes_on_if_redis_has_the_session_after_an_outage(folder):
    with (
        redis_server(folder, "--save", "") as (process, _, variables),
        serving_app("app", folder, variables) as client,
    ):
        client.get("/")
        process.send_signal(signal.SIGSTOP)
        failed = client.get("/")
        assert (failed.status_code, failed.headers.get("set-cookie")) == (500, None)
        process.send_signal(signal.SIGCONT)

        assert "Visit 2," in client.get("/").text


def test_session_gets_a_new_timeout_when_a_request_looks_at_it(folder):
    with redis_server(folder, "--save", "") as (_, redis, variables):
        with serving_app("app", folder, variables) as client:
            client.get("/")
            cookies = dict(client.cookies)
        key = f"session:{hashlib.sha256(cookies['session_id'].encode()).hexdigest()}"
        with serving_app("looking", folder, variables) as client:
            client.cookies.update(cookies)
            client.get("/about")
            assert redis.ttl(key) > 60

            assert client.get("/look").text == "1"
            assert 0 < redis.ttl(key) <= 60
