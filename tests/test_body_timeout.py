"""How long a client may keep a request waiting for its body, and what ends such a wait."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from micropie import App, HTTPError, HttpMiddleware, Request
from tests.asgi import BOUNDARY, call, exchange, piece, post, request, run
from tests.clients import CHUNKED, sends, silence
from tests.clock import VirtualLoop, elapse

TIMEOUT = 2.0
LOOK = TIMEOUT / 8
"""A wait may last an eighth longer than it should. Both numbers are exact in binary."""


class Reads(App):
    """Reads a body, in the way of `read`; `error` is the exception that this ended with."""

    def __init__(self, body_timeout: float | None = TIMEOUT) -> None:
        super().__init__(body_timeout=body_timeout)
        self.calls = 0
        self.error: BaseException | None = None

    async def index(self) -> bytes:
        try:
            body = await self.read()
        except BaseException as error:
            self.error = error
            raise
        self.calls += 1
        return body

    async def streamed(self) -> bytes:
        return b"".join([chunk async for chunk in self.request.stream()])

    async def parsed(self) -> str:
        self.calls += 1
        return "parsed"

    async def read(self) -> bytes:
        return await self.request.body()


def virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def block_loop(at: float, seconds: float, call: Callable[[], Any] = lambda: None) -> None:
    """Have a callback block the event loop from `at` on; `call` is called meanwhile."""
    loop = virtual_loop()

    def work() -> None:
        call()
        loop.now += seconds

    loop.call_later(at, work)


@contextlib.asynccontextmanager
async def noted_timers() -> AsyncIterator[list[float]]:
    """The delays of all timers that are set in the block."""
    loop: Any = asyncio.get_running_loop()
    delays: list[float] = []
    call_later = loop.call_later

    def noted(delay: float, *args: Any, **options: Any) -> Any:
        delays.append(delay)
        return call_later(delay, *args, **options)

    loop.call_later = noted
    try:
        yield delays
    finally:
        del loop.call_later


# --- Which clients are given up -------------------------------------------------------------------

JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")
PARTS = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
TEXT = ("content-type", "text/plain")


@pytest.mark.parametrize(
    "sent", [[], [b"a"], [b"a", b"", b""]], ids=["nothing", "a byte", "empty pieces"]
)
@pytest.mark.parametrize(
    ("path", "kind"),
    [
        pytest.param("/parsed", JSON, id="json"),
        pytest.param("/parsed", FORM, id="form"),
        pytest.param("/parsed", PARTS, id="multipart"),
        pytest.param("/", TEXT, id="body()"),
        pytest.param("/streamed", TEXT, id="stream()"),
    ],
)
async def test_client_that_falls_silent_gets_408_and_is_asked_no_more(
    path: str, kind: Any, sent: list[bytes]
) -> None:
    asked = 0
    client = sends(*sent)

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return await client()

    app = Reads()
    began = asyncio.get_running_loop().time()
    response = await post(app, path, headers=[kind, *CHUNKED], receive=receive)
    assert (response.status, app.calls, asked) == (408, 0, len(sent) + 1)
    assert response.text.startswith("408 ")
    assert TIMEOUT <= asyncio.get_running_loop().time() - began <= TIMEOUT + LOOK


async def test_empty_pieces_do_not_extend_the_time_and_end_with_the_408() -> None:
    asked = 0
    seen = 0

    class Counting(HttpMiddleware):
        async def before_request(self, request: Request) -> None:
            pass

        async def after_request(self, *_: Any) -> None:
            nonlocal seen
            seen = asked

    async def drip() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        await elapse(LOOK)
        return piece(b"", more=True)

    app = Reads()
    app.middlewares.append(Counting())
    assert (await post(app, headers=CHUNKED, receive=drip)).status == 408
    assert asked == seen > 0


@pytest.mark.parametrize(
    ("timeout", "pause"), [(TIMEOUT, TIMEOUT - LOOK), (None, 15)], ids=["steady", "no limit"]
)
async def test_client_that_sends_in_time_is_read_to_the_end(
    timeout: float | None, pause: float
) -> None:
    pieces = [b"x"] * (8 if timeout else 1)
    client = sends(*pieces, last=True, pause=pause)
    assert (await post(Reads(timeout), headers=CHUNKED, receive=client)).body == b"".join(pieces)


async def test_time_that_the_handler_takes_between_pieces_does_not_count() -> None:
    class Slow(Reads):
        async def read(self) -> bytes:
            size = 0
            async for chunk in self.request.stream():
                await elapse(TIMEOUT * 1.5)
                size += len(chunk)
            return b"%d" % size

    assert (await post(Slow(), body=b"x" * 4, chunk_size=1)).text == "4"


@pytest.mark.parametrize("blocked", [0, 3 * TIMEOUT])
async def test_body_that_came_while_the_loop_was_blocked_is_not_late(blocked: float) -> None:
    queue: asyncio.Queue[Any] = asyncio.Queue()
    arrive = functools.partial(
        virtual_loop().call_soon_threadsafe, queue.put_nowait, piece(b"x", more=False)
    )
    block_loop(TIMEOUT / 2 + LOOK / 2, blocked, arrive)
    assert (await post(Reads(), headers=CHUNKED, receive=queue.get)).status == 200


async def test_task_that_reads_on_after_the_response_gets_the_408() -> None:
    class Root(Reads):
        async def read(self) -> bytes:
            tasks.append(asyncio.ensure_future(self.request.body()))
            await elapse(LOOK)
            return b"early"

    tasks: list[asyncio.Future[bytes]] = []
    sent = await call(Root(), silence, method="POST", headers=[(b"transfer-encoding", b"chunked")])
    assert [message.get("body") for message in sent] == [None, b"early"]
    (reading,) = tasks
    with pytest.raises(HTTPError) as raised:
        await asyncio.wait_for(reading, 2 * TIMEOUT)
    assert raised.value.status == 408


@pytest.mark.parametrize(
    ("sent", "expected"), [([], "HTTPError(408, None, None)"), ([b"1"], "b'1'")]
)
async def test_first_task_on_a_stream_gets_a_piece_or_408_and_others_a_runtime_error(
    sent: list[bytes], expected: str
) -> None:
    busy = "RuntimeError('the body is being read by another task')"

    class Root(Reads):
        async def read(self) -> bytes:
            stream = self.request.stream()
            return repr(
                await asyncio.gather(*(anext(stream) for _ in range(3)), return_exceptions=True)
            ).encode()

    client = sends(*sent, last=bool(sent), pause=LOOK)
    response = await post(Root(), headers=CHUNKED, receive=client)
    assert response.text == f"[{expected}, {busy}, {busy}]"


# --- The setting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, 0, float("nan")])
def test_body_timeout_that_is_no_time_raises_value_error(timeout: float) -> None:
    with pytest.raises(ValueError, match="body_timeout"):
        App(body_timeout=timeout)


# --- The timer ------------------------------------------------------------------------------------


async def test_all_waits_of_an_event_loop_share_one_timer() -> None:
    app = Reads()
    async with noted_timers() as delays:
        answers = [post(app, headers=CHUNKED, receive=silence) for _ in range(50)]
        assert [response.status for response in await asyncio.gather(*answers)] == [408] * 50
    # Eight looks in a time-out, one more for those that began after the first; the driver of the
    # tests has longer ones.
    assert 1 <= len([delay for delay in delays if delay <= TIMEOUT]) <= 10


async def test_each_wait_lasts_its_own_time_though_the_timer_is_shared() -> None:
    app = Reads()
    loop = asyncio.get_running_loop()

    async def duration(delay: float) -> float:
        await elapse(delay)
        began = loop.time()
        assert (await post(app, headers=CHUNKED, receive=silence)).status == 408
        return loop.time() - began

    durations = await asyncio.gather(*map(duration, (0, LOOK / 2, TIMEOUT / 2, TIMEOUT - LOOK / 4)))
    assert all(TIMEOUT <= seconds <= TIMEOUT + LOOK for seconds in durations)


async def test_no_timer_runs_while_the_handler_does_not_wait_for_the_client() -> None:
    class Root(Reads):
        async def read(self) -> bytes:
            await anext(self.request.stream())
            await elapse(2 * LOOK)
            delays.clear()
            await elapse(TIMEOUT)
            return repr(delays).encode()

    async with noted_timers() as delays:
        response = await post(Root(), headers=CHUNKED, receive=sends(b"one", b"two", last=True))
    assert response.text == f"[{TIMEOUT}]", "only the handler's own"


@pytest.mark.parametrize(
    "options", [{"json": {"a": 1}}, {"body": [b"a", b"b"]}], ids=["parsed", "dropped"]
)
async def test_timer_keeps_no_finished_request_in_memory(options: dict[str, Any]) -> None:
    class Root(App):
        async def index(self) -> str:
            seen.append(weakref.ref(self.request))
            return "done"

    seen: list[Any] = []
    # Cancelled timers stay until those before are over.
    earlier = asyncio.get_running_loop().call_later(60, print)
    try:
        assert (await post(Root(), **options)).status == 200
        await asyncio.sleep(0)
        gc.collect()
        assert [one() for one in seen] == [None]
    finally:
        earlier.cancel()


# --- Event loops ----------------------------------------------------------------------------------


def test_closed_event_loops_are_not_kept_in_memory() -> None:
    loops = []
    for number in range(5):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(post(Reads(30 + number), body=b"x"))
        loop.close()
        loops.append(weakref.ref(loop))
        del loop
    gc.collect()
    assert sum(one() is not None for one in loops) <= 1


def late(app: App) -> Coroutine[Any, Any, Any]:
    return post(app, headers=CHUNKED, receive=silence)


def test_one_app_serves_several_event_loops_after_each_other_and_in_threads() -> None:
    app = Reads()
    assert [run(late(app)).status for _ in range(2)] == [408, 408]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: run(late(app)).status, range(8))) == [408] * 8


def test_event_loop_that_moves_to_another_thread_leaves_the_next_loop_its_timer() -> None:
    app = Reads()
    moved = VirtualLoop()
    assert moved.run_until_complete(post(app, body=b"x")).status == 200
    stop = moved.create_future()
    thread = threading.Thread(target=moved.run_until_complete, args=[stop])
    thread.start()
    try:
        assert run(late(app)).status == 408
        assert asyncio.run_coroutine_threadsafe(late(app), moved).result(20).status == 408
    finally:
        moved.call_soon_threadsafe(stop.set_result, None)
        thread.join()
        moved.close()


# --- Cancellations --------------------------------------------------------------------------------

DUE = pytest.mark.parametrize(
    "due", [TIMEOUT - LOOK / 4, TIMEOUT + LOOK / 4], ids=["before", "after"]
)
"""When something else is due, in the very turn of the loop in which the client's time is up."""


def join_turns() -> None:
    """Block the loop, so that all timers around the end of the client's time are due at once."""
    block_loop(TIMEOUT - LOOK / 2, 2 * LOOK)


@DUE
async def test_request_cancelled_in_the_turn_of_the_408_ends_as_cancelled(due: float) -> None:
    app = Reads()
    async with exchange(app, "POST", headers=CHUNKED, receive=silence) as ex:
        join_turns()
        asyncio.get_running_loop().call_later(due, ex.cancel)
        assert (await ex.wait()).status is None
    assert type(app.error) is asyncio.CancelledError


async def test_request_cancelled_by_the_server_while_the_408_unwinds_ends_as_cancelled() -> None:
    async def receive() -> dict[str, Any]:
        try:
            return await silence()
        finally:
            asyncio.get_running_loop().call_soon(ex.cancel)
            await elapse(LOOK)  # the server still cleans up when it is told to stop

    app = Reads()
    async with exchange(app, "POST", headers=CHUNKED, receive=receive) as ex:
        assert (await ex.wait()).status is None
    assert type(app.error) is asyncio.CancelledError


@DUE
async def test_shorter_timeout_of_the_handler_in_the_turn_of_the_408_stays_a_timeout_error(
    due: float,
) -> None:
    class Root(Reads):
        async def read(self) -> bytes:
            async with asyncio.timeout(due):
                return await self.request.body()

    app = Root()
    join_turns()
    assert (await late(app)).status == 500
    assert type(app.error) is TimeoutError


@pytest.mark.parametrize("answer", ["cancelled", "body", "error"])
async def test_408_leaves_no_cancellation_in_the_task_however_the_server_takes_it(
    answer: str,
) -> None:
    """A task group or a time-out that the task enters later would take it for its own."""

    class Root(Reads):
        async def read(self) -> bytes:
            try:
                return await super().read()
            except OSError:
                return b"transport lost"
            finally:
                task = asyncio.current_task()
                left.append(task and task.cancelling())

    async def receive() -> dict[str, Any]:
        try:
            return await silence()
        except asyncio.CancelledError:
            if answer == "cancelled":
                raise
            if answer == "error":
                raise OSError from None
        return piece(b"late", more=False)

    left: list[Any] = []
    response = await post(Root(), headers=CHUNKED, receive=receive)
    assert (
        response.body
        == {"cancelled": b"408 Request Timeout", "body": b"late", "error": b"transport lost"}[
            answer
        ]
    )
    assert left == [0]


async def test_server_can_clean_up_asynchronously_when_its_receive_is_cancelled() -> None:
    cleaned = []

    async def receive() -> dict[str, Any]:
        try:
            return await silence()
        finally:
            await elapse(LOOK)
            cleaned.append(True)

    assert (await post(Reads(), headers=CHUNKED, receive=receive)).status == 408
    assert cleaned == [True]


class NextOnly:
    """An awaitable whose iterator knows nothing but `next`, and which is never done."""

    def __await__(self) -> NextOnly:
        return self

    def __iter__(self) -> NextOnly:
        return self

    def __next__(self) -> None:
        virtual_loop().now += LOOK  # the loop is never idle


async def test_awaitable_of_receive_that_knows_only_next_is_given_up_too() -> None:
    receive: Any = NextOnly
    headers = [("content-length", "3")]
    response = await request(Reads(), "POST", receive=receive, body=b"", headers=headers)
    assert response.status == 408


# --- Dropping what is left ------------------------------------------------------------------------


async def test_dropping_the_rest_of_a_body_ends_after_body_timeout_however_steadily_it_comes() -> (
    None
):
    class Root(App):
        async def index(self) -> str:
            return "unread"

    async with exchange(Root(body_timeout=TIMEOUT), "POST", headers=CHUNKED) as ex:
        began = asyncio.get_running_loop().time()
        while not ex.done:
            await ex.send_body(b"x")
            await elapse(LOOK / 2)
        assert ex.response.text == "unread"
        assert asyncio.get_running_loop().time() - began <= TIMEOUT + LOOK
