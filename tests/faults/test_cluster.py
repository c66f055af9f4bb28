"""examples/cluster as two processes behind nginx: what happens if a part of it fails."""

import asyncio
import signal
import time
from typing import Any

import httpx
import pytest

from tests.examples.crowd import (
    ANSWERS_WITHIN,
    FREELY,
    Cluster,
    Reader,
    Socket,
    Stream,
    cluster,
    following,
)
from tests.processes import until, wait_until
from tests.timing import shortest

pytestmark = [pytest.mark.slow, pytest.mark.real_time]
EACH = 100  # WebSockets, and as many event streams
SPOKEN = 3  # messages of each WebSocket


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


def key_of(number: int) -> str:
    return f"{number:016}"


# --- Two processes are one chat ----------------------------------------------------------------


async def test_message_reaches_a_websocket_and_an_event_stream_of_the_other_process(running):
    one, two = running.nodes
    ada, eve = running.account("ada", one), running.account("eve", one)
    speaker, listener = Socket(one.url, ada), Socket(two.url, eve)
    stream = Stream(two.url, {})
    async with following(speaker, listener, stream):
        await until(lambda: listener.last and stream.last and speaker.last)
        await speaker.say(key_of(1), "Is there any pie left?")
        await until(lambda: listener.texts == stream.texts == ["Is there any pie left?"])
        await until(lambda: stream.present == listener.present == ["ada", "eve"])
        await until(lambda: speaker.stored)
    assert list(speaker.stored.values()) == stream.ids
    assert await first_event(two.url, "kitchen") == ("present", [])


async def first_event(url: str, room: str) -> tuple[str, list[str]]:
    reader = Stream(url, {}, room)
    async with following(reader):
        await until(lambda: reader.events)
    return reader.events[0]["type"], reader.events[0]["names"]


def test_login_on_one_process_is_a_login_on_the_other_and_so_is_a_logout(running):
    one, two = running.nodes
    cookie = running.account("bob", one)
    with running.client(two) as client:
        assert "Hello, bob" in client.get("/", headers=cookie).text
        client.post("/logout", headers=cookie)
    with running.client(one) as client:
        assert "Hello, bob" not in client.get("/", headers=cookie).text


def test_rate_limits_count_in_both_processes(tmp_path):
    with cluster(tmp_path, {"LOGIN_TRIES": "6", "MESSAGES": "3"}) as running:
        cookie = running.account("ada")  # the first try
        start = time.monotonic()
        said, tries = [], []
        for number in range(8):
            with running.client(running.nodes[number % 2]) as client:
                said.append(client.post("/say/lobby", data={"text": "Hi"}, headers=cookie))
        more = (time.monotonic() - start) * 3 / 10  # that the limit allows meanwhile
        for number in range(8):
            with running.client(running.nodes[number % 2]) as client:
                form = {"name": "ada", "password": "wrong"}
                tries.append(client.post("/login", data=form).status_code)
    statuses = [answer.status_code for answer in said]
    assert statuses[:3] == [200] * 3
    assert set(statuses[3:]) <= {200, 429}
    assert 3 <= statuses.count(200) <= 3 + more
    assert int(next(one for one in said if one.is_error).headers["retry-after"]) >= 1
    assert tries == [400] * 5 + [429] * 3


# --- A process is killed -----------------------------------------------------------------------


async def test_kill_of_a_process_under_200_clients_loses_and_repeats_nothing(running):
    """Half of the clients lose their process while all members talk; it is back later."""
    cookies = [running.account(f"member{number}") for number in range(10)]
    sockets = [Socket(running.url, cookies[number % 10], "garden") for number in range(EACH)]
    streams = [Stream(running.url, {}, "garden") for _ in range(EACH)]
    late: list[dict[str, str]] = []
    async with asyncio.timeout(300), following(*sockets, *streams):
        await until(lambda: all(reader.last for reader in (*sockets, *streams)), 60)
        speaking = asyncio.create_task(talk(sockets))
        signing_up = asyncio.create_task(asyncio.to_thread(sign_up, running, late))
        await until(lambda: sum(len(one.stored) for one in sockets) > EACH / 2, 60)
        running.nodes[0].kill()
        await until(lambda: sum(len(one.stored) for one in sockets) > 1.5 * EACH, 60)
        await asyncio.to_thread(running.nodes[0].start)
        await speaking
        await signing_up
        await until(lambda: not any(one.unsure for one in sockets), 60, "all to be stored")
        entries = running.entries("garden")
        last = entries[-1][0]
        readers: list[Reader] = [*sockets, *streams]
        await until(lambda: all(reader.last == last for reader in readers), 60)

    ids = [entry_id for entry_id, _ in entries]
    stored = [entry_id for one in sockets for entry_id in one.stored.values()]
    assert sorted(stored) == sorted(ids), "each message is there once"
    assert len(ids) == EACH * SPOKEN
    for reader in (*sockets, *streams):
        assert reader.ids == ids
        assert not any(event["type"] == "gap" for event in reader.events)
    cut = sum(reader.cuts > 0 for reader in (*sockets, *streams))
    assert EACH / 2 < cut < EACH * 3 / 2, "about a half was cut off"
    for node in running.nodes:
        with running.client(node) as client:
            for cookie in (*cookies, *late):
                assert "Hello, " in client.get("/", headers=cookie).text
    assert len(late) >= 5


async def talk(sockets: list[Socket]) -> None:
    for number in range(EACH * SPOKEN):
        await sockets[number % EACH].say(key_of(number), f"message {number}")
        await asyncio.sleep(0.01)  # so that the kill comes in between


def sign_up(running: Cluster, late: list[dict[str, str]]) -> None:
    """Sign up while a process is killed; a visitor without an answer has no session to lose."""
    for number in range(20):
        try:
            late.append(running.account(f"late{number}"))
        except (httpx.HTTPError, AssertionError):
            continue


async def test_visitors_of_a_killed_process_disappear(running):
    one, two = running.nodes
    reader, visitor = (
        Stream(two.url, {}, "kitchen"),
        Socket(one.url, running.account("ghost"), "kitchen"),
    )
    async with following(reader), following(visitor):
        await until(lambda: reader.present == ["ghost"])
        one.kill()
        await until(lambda: reader.present == [], 60)
    one.start()


# --- Redis fails -------------------------------------------------------------------------------


def lines(running: Cluster) -> list[list[str]]:
    """Return what each process has said of Redis."""
    return [
        [line for line in node.log().splitlines() if "Redis is" in line] for node in running.nodes
    ]


def ask(client: httpx.Client, seconds: float, *request: Any, **options: Any) -> httpx.Response:
    """Return an answer that takes less than so many seconds."""
    answers = []

    def attempt() -> float:
        start = time.monotonic()
        answers.append(client.request(*request, **options))
        return time.monotonic() - start

    assert shortest(attempt, seconds) < seconds, request
    return answers[-1]


def check_down(running: Cluster, cookie: dict[str, str]) -> None:
    """Ask all pages, with a session and without one."""
    for node in running.nodes:
        with running.client(node) as client:
            for headers in (cookie, {}):
                for method, path in [
                    *(("GET", path) for path in ("/", "/room/lobby", "/events/lobby", "/login")),
                    *(("POST", path) for path in ("/login", "/logout", "/say/lobby")),
                ]:
                    form = {"name": "ada", "password": "analytical", "text": "Hi"}
                    data = form if method == "POST" else None
                    answer = ask(client, 2, method, path, data=data, headers=headers)
                    assert answer.status_code == 503, (path, answer.text)
                    assert "try again in a few seconds" in answer.text
                    assert int(answer.headers["retry-after"]) > 0
                for path in ("/about", "/health"):
                    assert ask(client, 0.5, "GET", path, headers=headers).status_code == 200


@pytest.mark.parametrize("fault", ["stopped", "stuck"])
async def test_redis_that_fails_is_said_once_and_comes_back(tmp_path, fault):
    with cluster(tmp_path) as running:
        cookie = running.account("ada")
        socket, stream = Socket(running.url, cookie), Stream(running.url, {})
        readers: tuple[Reader, ...] = (socket, stream)
        async with following(*readers):
            await until(lambda: socket.last and stream.last)
            await socket.say(key_of(1), "before")
            await until(lambda: all(reader.texts == ["before"] for reader in readers))

            running.redis.signal(signal.SIGSTOP if fault == "stuck" else signal.SIGKILL)
            start = time.monotonic()
            await socket.say(key_of(2), "meanwhile")
            await until(lambda: socket.refused)
            # No command is tried again.
            assert time.monotonic() - start < 2 * ANSWERS_WITHIN
            assert "try again" in socket.refused[key_of(2)]
            for _ in range(3):
                await asyncio.to_thread(check_down, running, cookie)

            if fault == "stuck":
                running.redis.signal(signal.SIGCONT)
            else:
                running.redis.process.wait(20)
                await asyncio.to_thread(running.redis.start)
            with running.client() as client:
                wait_until(lambda: "Hello, ada" in client.get("/", headers=cookie).text, 60)
            await until(lambda: all("is back" in said[-1] for said in lines(running)), 60)
            await socket.say(key_of(3), "after")
            await until(lambda: all("after" in reader.texts for reader in readers))
            await until(lambda: stream.present == ["ada"])
        # Redis that was stuck may have done what it was told before.
        for reader in readers:
            assert [text for text in reader.texts if text != "meanwhile"] == ["before", "after"]
            assert reader.ids == [entry_id for entry_id, _ in running.entries()]
            assert reader.cuts == 0
    for said in lines(running):
        assert [line.partition(":")[0] for line in said] == ["Redis is down", "Redis is back"]


def test_process_starts_while_redis_is_down(tmp_path):
    running = Cluster(tmp_path, FREELY)
    [one, _] = running.nodes
    try:
        one.start()
        with running.client(one) as client:
            assert client.get("/about").status_code == 200
            assert client.get("/").status_code == 503
            running.redis.start()
            wait_until(lambda: client.get("/").status_code == 200, 60)
    finally:
        one.close()
        running.redis.close()
    assert lines(running)[0][0].startswith("Redis is down")


# --- A process is told to stop -----------------------------------------------------------------


async def test_sigterm_ends_streams_and_sockets_which_go_on_elsewhere(running):
    one, two = running.nodes
    cookie = running.account("zoe")
    sockets = [Socket(one.url, cookie) for _ in range(20)]
    streams = [Stream(one.url, {}) for _ in range(20)]
    start = 0.0
    async with following(*sockets, *streams):
        await until(lambda: all(reader.last for reader in (*sockets, *streams)))
        opened: list[str] = []
        ended = asyncio.gather(*(read_whole(one.url, opened) for _ in range(10)))
        await until(lambda: len(opened) == 10)
        for reader in (*sockets, *streams):
            reader.url = two.url
        start = time.monotonic()
        one.signal(signal.SIGTERM)
        one.process.wait(60)
        assert time.monotonic() - start < 20, "it has waited for its streams"
        await ended
        await until(lambda: all(socket.closed for socket in sockets))
        assert {socket.closed for socket in sockets} <= {1001, 1012}
        await sockets[0].say(key_of(99), "still here")
        readers: list[Reader] = [*sockets, *streams]
        await until(lambda: all("still here" in reader.texts for reader in readers))
    one.start()


async def read_whole(url: str, opened: list[str]) -> None:
    """Read a stream to an end as HTTP has it; httpx raises if it breaks off."""
    client = httpx.AsyncClient(timeout=60, verify=False)
    async with client, client.stream("GET", f"{url}/events/lobby") as response:
        opened.append(url)
        async for _ in response.aiter_bytes():
            pass
