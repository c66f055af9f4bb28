"""examples/cluster: in memory, with a real Redis, in two processes, and in browsers."""

import asyncio
import collections
import contextlib
import functools
import itertools
import subprocess
import sys
import time
from typing import Any

import httpx
import pytest

from micropie import HTTPError
from tests import asgi
from tests.clock import ManualClock
from tests.examples import harness
from tests.examples.accounts import CLIENTS, PASSWORD
from tests.examples.browsing import Browsing, fill_in
from tests.examples.copied import check_job_queue, check_redis_sessions, requested
from tests.examples.crowd import FREELY, Socket, Stream, cluster, cookie_of, following
from tests.examples.loading import load, run
from tests.examples.relay import relay_to
from tests.processes import environment, redis, until, wait_until

example = load("cluster")
bus = load("cluster", "bus")
redis_bus = load("cluster", "redis_bus")
tasks = load("cluster", "tasks")

pytestmark = pytest.mark.usefixtures("measured")
numbers = itertools.count()
#: A busy machine that stands still for a second is no Redis that is down.
PATIENT = {"ANSWERS_WITHIN": "30"}


@pytest.fixture(scope="module")
def url():
    with redis() as variables, pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_bus, "ANSWERS_WITHIN", 30)
        yield variables["REDIS_URL"]


@contextlib.asynccontextmanager
async def opened(url):
    """A bus that is open: in memory, or in the Redis at a URL, which is empty."""
    one = redis_bus.RedisBus(url) if url else bus.MemoryBus()
    if url:
        await one._redis.flushall()
    await one.open()
    try:
        yield one
    finally:
        await one.close()


both = pytest.mark.parametrize("kind", ["memory", "redis"])


async def add(one, *texts, room="lobby"):
    return [await one.add(room, "ada", f"key {next(numbers)}", text) for text in texts]


async def heard(one, last_id, count):
    """Read events that come at once, but not who is present."""
    reader = one.read("lobby", last_id)
    async with contextlib.aclosing(reader), asyncio.timeout(60):
        assert (await anext(reader))["type"] == "present"
        return [await anext(reader) for _ in range(count)]


def texts(events):
    return [event.get("text", event["type"]) for event in events]


# --- the bus


@both
@pytest.mark.real_time
async def test_reader_goes_on_after_its_last_id_and_hears_of_a_gap(kind, url):
    async with opened(url if kind == "redis" else "") as one:
        ids = await add(one, *map(str, range(1, bus.SHOWN + 6)))
        new = await heard(one, "", bus.SHOWN + 1)
        assert texts(new) == ["start", *map(str, range(6, bus.SHOWN + 6))]
        assert new[0]["id"] == ids[4]
        assert texts(await heard(one, ids[-3], 2)) == ["24", "25"]
        for last in ("17-0", "9999999999999-0", "nonsense", "1-1\n", "-1-0", "1-" + "9" * 30):
            gap = await heard(one, last, 3)
            assert texts(gap) == ["gap", "6", "7"], last
            assert gap[0]["id"] == ids[4]


@both
@pytest.mark.real_time
async def test_message_is_stored_once_for_each_key_of_a_member(kind, url):
    async with opened(url if kind == "redis" else "") as one:
        first, again = [await one.add("lobby", "ada", "a key of ada", "once") for _ in range(2)]
        assert first == again
        assert await one.add("lobby", "eve", "a key of ada", "another one") != first
        assert texts(await one.history("lobby")) == ["once", "another one"]


@both
@pytest.mark.real_time
async def test_reader_misses_nothing_however_slow_it_is(kind, url):
    many = bus.AT_HAND + 2 * redis_bus.PAGE
    async with opened(url if kind == "redis" else "") as one, asyncio.timeout(90):
        reader = one.read("lobby")
        got = [await anext(reader) for _ in range(2)]
        await add(one, *map(str, range(many)))
        got = [await anext(reader) for _ in range(many)]
        assert texts(got) == [*map(str, range(many))]
        waiting = asyncio.create_task(anext(reader))
        await add(one, "elsewhere", room="garden")
        await add(one, "here")
        assert (await waiting)["text"] == "here"
        await reader.aclose()


@pytest.mark.real_time
async def test_stream_that_was_trimmed_while_redis_was_away_is_a_gap(url):
    async with opened(url) as one:
        [first] = await add(one, "first")
        await until(lambda: one.rooms["lobby"].entries[-1].event["id"] == first)
        reader = one.read("lobby", first)
        await anext(reader)
        waiting = asyncio.create_task(anext(reader))
        await asyncio.sleep(0)  # until it waits
        one.is_stopping = True
        await asyncio.wait([one._following])  # as if Redis were down for this process
        one.is_stopping = False
        await add(one, *map(str, range(300)))
        await one._redis.xtrim("room:lobby", maxlen=10, approximate=False)
        await one.open()
        assert (await waiting)["type"] == "gap"
        await reader.aclose()


@pytest.mark.real_time
async def test_message_that_comes_while_a_reader_looks_is_not_missed(url):
    async with opened(url) as one:
        room, older = one.rooms["lobby"], one.older
        [first] = await add(one, "first")

        async def slow(*arguments):
            found = await older(*arguments)
            [second] = await add(one, "second")
            await until(lambda: room.entries[-1].event["id"] == second)
            return found

        one.older = slow
        room.entries = collections.deque([bus.make_entry("0-0", {})], 10)  # as if it lagged
        assert texts(await heard(one, first, 1)) == ["second"]


async def test_memory_forgets_the_oldest(monkeypatch):
    monkeypatch.setattr(bus, "KEPT", 5)
    async with opened("") as one:
        ids = await add(one, *map(str, range(10)))
        assert texts(await heard(one, ids[0], 3)) == ["gap", "6", "7"]
        assert texts(await one.history("lobby")) == ["5", "6", "7", "8", "9"]


@pytest.mark.real_time
async def test_trimmed_or_lost_stream_is_a_gap(url):
    async with opened(url) as one:
        ids = await add(one, *map(str, range(300)))
        await until(lambda: one.rooms["lobby"].entries[-1].event["id"] == ids[-1])
        await one._redis.xtrim("room:lobby", maxlen=10, approximate=False)
        assert texts(await heard(one, ids[50], 2)) == ["gap", "291"]
        assert texts(await heard(one, ids[150], 1)) == ["151"], "which the process has at hand"
        reader = one.read("lobby", ids[-1])
        await anext(reader)
        waiting = asyncio.create_task(anext(reader))
        await one._redis.flushall()
        assert texts(await heard(one, ids[0], 1)) == ["gap"], "all is lost"
        await add(one, "new")
        assert (await waiting)["text"] == "new"
        await reader.aclose()


@both
@pytest.mark.real_time
async def test_member_is_present_until_the_last_connection_ends(kind, url):
    async with opened(url if kind == "redis" else "") as one:
        room = one.rooms["lobby"]
        for name in ("eve", "ada", "ada"):
            await one.enter(room, name)
        # A beat that was under way with Redis can put back for a moment what was before.
        await until(lambda: room.present == ["ada", "eve"])
        await one.leave(room, "ada")
        await until(lambda: room.present == ["ada", "eve"])
        await one.leave(room, "ada")
        await until(lambda: room.present == ["eve"])
        assert dict(room.here) == {"eve": 1}


@both
@pytest.mark.real_time
async def test_limit_lets_through_as_many_again_in_its_time(kind, url):
    async with opened(url if kind == "redis" else "") as one:
        began = time.monotonic()
        waits = [await one.wait("ada", 3, 30) for _ in range(5)]
        least = 10 - (time.monotonic() - began) - 0.1  # Redis goes by another clock
        assert waits[:3] == [0, 0, 0]
        assert all(least < wait <= 10 for wait in waits[3:])
        assert await one.wait("eve", 3, 30) == 0


async def test_limit_in_memory_forgets_the_quietest(monkeypatch):
    clock = ManualClock()
    monkeypatch.setattr(bus.time, "monotonic", clock)
    one = bus.MemoryBus()
    for number in range(100_001):
        await one.wait(str(number), 1, 10)
    assert len(one._free_at) == 100_000
    assert await one.wait("100000", 1, 10) == 10
    clock.advance(10)
    assert await one.wait("100000", 1, 10) == 0


@both
@pytest.mark.real_time
async def test_name_is_given_once(kind, url):
    async with opened(url if kind == "redis" else "") as one:
        assert await one.password_of("ada") is None
        assert [await one.add_user("ada", hashed) for hashed in ("a", "b")] == [True, False]
        assert await one.password_of("ada") == "a"


@pytest.mark.real_time
async def test_redis_that_is_not_there_is_a_503_at_once(caplog):
    async with contextlib.AsyncExitStack() as stack:
        one = redis_bus.RedisBus("redis://127.0.0.1:1/0")
        stack.push_async_callback(one.close)
        await one.open()
        for command in (one.add("lobby", "ada", "a key", "text"), one.password_of("ada")):
            with pytest.raises(HTTPError, match="try again") as raised:
                await command
            assert raised.value.status == 503
        one.link.is_up = None  # as if only this command had noticed
        with pytest.raises(HTTPError, match="try again"):
            await one.password_of("ada")
        await one.enter(one.rooms["lobby"], "ada")
        reader = asyncio.create_task(collected(one))
        await asyncio.sleep(1.2)  # several tries to connect, which are to be silent
        one.stop()
        assert await reader == [{"type": "present", "names": []}]
    said = [record.message.partition(":")[0] for record in caplog.records]
    assert said == ["Redis is down"] * 2, "once at the start, and once for the command"


async def collected(one) -> list[Any]:
    return [event async for event in one.read("lobby")]


@pytest.mark.real_time
async def test_copy_of_the_queue(url, caplog):
    await check_job_queue(load("cluster", "job_queue"), url, caplog)


@pytest.mark.real_time
async def test_copy_of_the_sessions(url):
    module = load("cluster", "redis_sessions")
    await check_redis_sessions(module, url)
    await module.make_client(url).aclose()


# --- the app


@pytest.fixture
def member(client):
    client.post("/sign_up", data={"name": f"member{next(numbers)}", "password": PASSWORD})
    return client


def test_sign_up_log_in_and_log_out(client):
    ada = {"name": f"user{next(numbers)}", "password": PASSWORD}
    for wrong in ({"name": "a"}, {"name": "a b"}, {"password": "short"}, {"password": "x" * 201}):
        assert client.post("/sign_up", data=ada | wrong).status_code == 400
    assert client.post("/sign_up", data=ada).status_code == 303
    assert f"Hello, {ada['name']}" in client.get("/").text
    client.post("/logout")
    assert "Come in" in client.get("/").text
    assert "taken" in client.post("/sign_up", data=ada).text
    for wrong in ({"password": "wrong"}, {"name": "unknown"}):
        assert client.post("/login", data=ada | wrong).status_code == 400
    assert client.post("/login", data=ada).status_code == 303


@pytest.mark.parametrize(("address", "key"), CLIENTS)
def test_limit_knows_clients_by_address_or_network(address, key):
    assert example.client_of(requested(client=address)) == key


async def test_limits_say_how_long_to_wait(monkeypatch):
    monkeypatch.setattr(example, "LOGIN_TRIES", 1)
    monkeypatch.setattr(bus.time, "monotonic", ManualClock())
    form: Any = {"method": "POST", "body": b"name=ada&password=wrong"}
    form["headers"] = {"content-type": "application/x-www-form-urlencoded"}
    form["scope"] = {"client": ("203.0.113.7", 1)}  # whose tries no other test needs
    statuses = [await asgi.request(example.app, path="/login", **form) for _ in range(2)]
    assert [one.status for one in statuses] == [400, 429]
    assert statuses[1].header("retry-after") == "900"


def test_rooms_that_are_not_there(member):
    for path in ("/room/attic", "/events/attic", "/export/attic", "/export/lobby"):
        assert member.get(path).status_code == 404
    assert member.post("/say/attic", data={"text": "Hi"}).status_code == 404


async def test_socket_of_a_visitor_is_closed_with_a_reason():
    async with asgi.websocket(example.app, "/chat/lobby") as ws:
        with pytest.raises(asgi.WebSocketClosed):
            await ws.receive()
    assert (ws.close_code, ws.close_reason) == (4001, "log in, and choose a room that there is")


@pytest.mark.real_time
async def test_socket_of_a_member_is_closed_when_the_server_restarts(monkeypatch):
    async with asgi.lifespan(example.app):
        transport = httpx.ASGITransport(example.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
            form = {"name": f"user{next(numbers)}", "password": PASSWORD}
            headers = cookie_of(await client.post("/sign_up", data=form))
        monkeypatch.setattr(tasks.bus, "is_stopping", False)
        async with asgi.websocket(example.app, "/chat/garden", headers=headers) as ws:
            await ws.receive()
            tasks.bus.stop()
            with pytest.raises(asgi.WebSocketClosed):
                while True:
                    await ws.receive()
        assert ws.close_code == 1012


SIGNALS = """
import asyncio, signal
from ending import ending

told = []
signal.signal(signal.SIGTERM, lambda number, frame: told.append(number))

async def process():
    await ending.notice()
    waiting = asyncio.create_task(ending.wait())
    await asyncio.sleep(0)
    assert not ending.is_set()
    signal.raise_signal(signal.SIGTERM)
    await asyncio.wait_for(waiting, 30)
    assert ending.is_set()
    seen = len(told)
    while len(told) == seen:
        await asyncio.sleep(0.01)
    signal.raise_signal(signal.SIGTERM)  # the second one is told at once
    assert len(told) == seen + 2

asyncio.run(process())
asyncio.run(process())
signal.raise_signal(signal.SIGTERM)  # of no loop
assert told == [signal.SIGTERM] * 5
"""


def test_signal_is_noticed_in_each_event_loop(tmp_path, measure):
    """Each test may have its own, and an asyncio.Event is of one."""
    folder = harness.copied("cluster", tmp_path)
    command = [sys.executable, "-W", "error", "-c", SIGNALS]
    subprocess.run(command, cwd=folder, env=environment(measure), check=True, timeout=60)


def test_program_writes_and_reads(member):
    for wrong in ({"text": " "}, {"text": "x" * 1001}, {"text": "x", "key": "short"}):
        assert member.post("/say/kitchen", data=wrong).status_code == 400
    said = member.post("/say/kitchen", json={"text": "Hello", "key": "a key of the client"})
    assert (
        said.json()
        == member.post("/say/kitchen", json={"text": "Hello", "key": "a key of the client"}).json()
    )
    assert member.post("/export/kitchen").status_code == 303
    text = wait_until(lambda: member.get("/export/kitchen").text)
    assert text.endswith(": Hello\n")


# --- two processes


def test_cluster_talks_makes_exports_and_survives_its_redis(tmp_path, measure):
    with cluster(tmp_path, {**FREELY, **measure, **PATIENT}) as running:
        cookie = running.account("ada", running.nodes[0])
        run(talk(running, cookie))
        with harness.queue_worker("tasks", running.folder, running.variables) as (_, log):
            check_export(running, cookie)
            running.redis.kill()
            wait_until(lambda: "no job can be taken" in log.read_text())
            for node in running.nodes:
                with running.client(node) as client:
                    check_down(client, cookie)
            running.redis.start()
            for node in running.nodes:
                with running.client(node) as client:
                    wait_until(functools.partial(greets, client, cookie))
            # All processes have connections of before the restart.
            check_export(running, cookie)
            assert [node.log().count("Redis is") for node in running.nodes] == [2, 2]
        assert "Traceback" not in log.read_text()


def check_down(client, cookie):
    wait_until(lambda: client.get("/").status_code == 503)
    assert client.get("/about", headers=cookie).status_code == 200
    for method, path in (("GET", "/"), ("GET", "/export/lobby"), ("POST", "/export/lobby")):
        answer = client.request(method, path, headers=cookie)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


def greets(client, cookie):
    return "Hello, ada" in client.get("/", headers=cookie).text


async def talk(running, cookie):
    one, two = running.nodes
    socket, stream = Socket(one.url, cookie), Stream(two.url, {})
    async with following(socket, stream):
        await until(lambda: socket.last and stream.last)
        await socket.say("x" * 16, "Hello")
        await until(lambda: stream.texts == ["Hello"] and stream.present == ["ada"])
        await socket.say("y" * 16, " ")
        await until(lambda: socket.refused)
        await socket._ws.send("no JSON")
        await socket._ws.send("[]")
        await socket.say("z" * 16, "Bye")
        await until(lambda: len(socket.stored) == 2)
        assert set(socket.stored) == {"x" * 16, "z" * 16}


def check_export(running, cookie):
    one, two = running.nodes
    with running.client(one) as client, running.client(two) as other:

        def get():
            answer = other.get("/export/lobby", headers=cookie)
            assert answer.status_code == 200 or answer.headers.get("refresh") == "1", answer
            return answer.text if answer.status_code == 200 else ""

        assert client.post("/export/lobby", headers=cookie).status_code == 303
        assert "ada: Hello\n" in wait_until(get)


@pytest.mark.real_time
async def test_export_that_fails_is_a_500(monkeypatch):
    async def fails(name):
        raise RuntimeError("it failed")

    monkeypatch.setattr(tasks.bus, "history", fails)
    async with asgi.lifespan(example.app):
        transport = httpx.ASGITransport(example.app)
        async with httpx.AsyncClient(transport=transport, base_url="https://test") as client:
            form = {"name": f"user{next(numbers)}", "password": PASSWORD}
            await client.post("/sign_up", data=form)
            await client.post("/export/lobby")
            await until(lambda: status_is(client, 500))


async def status_is(client, status):
    return (await client.get("/export/lobby")).status_code == status


# --- browsers


def enter(page, name, room="garden"):
    page.goto("/sign_up")
    fill_in(page, {"Name": name, "Password": PASSWORD}, "Sign up", f"Hello, {name}")
    page.get_by_role("link", name=room).click()
    page.get_by_text("Connected.").wait_for()


def say(page, text):
    page.get_by_label("Say").fill(text)
    page.get_by_label("Say").press("Enter")


def test_members_talk_and_visitors_read_along(browsing):
    ada, eve, visitor = browsing.page(), browsing.page(), browsing.page()
    visitor.goto("/room/garden")
    visitor.get_by_text("Connected.").wait_for()
    enter(ada, "Ada")
    enter(eve, "Eve")
    say(eve, "<img src=x onerror=alert(1)>")
    for page in (ada, eve, visitor):
        page.get_by_text("Eve <img src=x onerror=alert(1)>").wait_for()
        page.get_by_label("Present").get_by_text("Ada, Eve").wait_for()
        browsing.check_accessible(page)
    assert visitor.get_by_label("Say").count() == 0
    eve.close()
    visitor.get_by_label("Present").get_by_text("Ada", exact=True).wait_for()
    with ada.expect_download() as download:
        ada.get_by_role("button", name="Save").click()
    assert download.value.suggested_filename == "garden.txt"


def test_pages_are_accessible_and_fit_a_phone(browsing):
    browsing.check_look("/", "/login", "/about", "/room/lobby")
    page = browsing.page()
    enter(page, "Zoe", "lobby")
    say(page, "x" * 1000)
    page.get_by_text("x" * 1000).wait_for()
    browsing.check_look("/", "/room/lobby", like=page)


def test_lost_connection_comes_back_with_what_was_missed_and_sends_what_was_not(browser, server):
    with relay_to(server.port) as line:
        browsing = Browsing(browser, line.url)
        browsing.expected = ["net::ERR_", "WebSocket connection to"]
        pia, visitor, other = browsing.page(), browsing.page(), Browsing(browser, server.url)
        leo = other.page()
        enter(pia, "Pia", "kitchen")
        visitor.goto("/room/kitchen")
        visitor.get_by_text("Connected.").wait_for()
        enter(leo, "Leo", "kitchen")
        line.cut()
        for page in (pia, visitor):
            page.get_by_text("The connection is lost. Trying again …").wait_for()
        say(pia, "Are you there?")
        say(leo, "in the tunnel")
        line.mend()
        leo.get_by_text("Pia Are you there?").wait_for()
        for page in (pia, visitor):
            page.get_by_text("Leo in the tunnel").wait_for()
            page.get_by_text("Pia Are you there?").wait_for()
            page.get_by_text("Connected.").wait_for()
            assert page.get_by_text("in the tunnel").count() == 1
            assert page.get_by_text("missing").count() == 0
        other.close()
        browsing.close()


def test_refused_message_stays_in_the_field(browsing):
    page = browsing.page()
    page.add_init_script(
        "WebSocket = class extends WebSocket { send(text) {"
        ' super.send(text.replace(/"key":"[^"]*/, \'"key":"\')); } };'
    )
    enter(page, "Max")
    say(page, "Hello")
    page.get_by_text("A message has").wait_for()
