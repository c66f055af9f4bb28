"""The driver: plays the server in process, with as little of its own as will do."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from benchmarks.workloads import EVENTS, FIRST_EVENT, WORKLOADS, Answer, Message, Workload

App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]
Held = list[tuple["Exchange", asyncio.Task[None]]]
_TIMEOUT = 60.0


class Exchange:
    """One request as the app sees it: what it may receive, and what it sent.

    Like uvicorn, ``receive`` waits once everything was received, until the response is complete or
    the client is gone.
    """

    __slots__ = ("gone", "messages", "sent", "waiter")

    def __init__(self, messages: Iterator[Message], sent: Any = None) -> None:
        self.messages = messages
        self.sent = [] if sent is None else sent
        self.gone = False
        self.waiter: asyncio.Future[None] | None = None

    def restart(self, messages: Iterator[Message]) -> None:
        """Become the next request."""
        self.messages = messages
        self.sent = []
        self.waiter = None

    async def receive(self) -> Message:
        """Hand over the next message; the disconnect once the response is complete."""
        for message in self.messages:
            return message
        if not self.gone and not self._complete():
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Take a message of the response."""
        self.sent.append(message)
        if self.waiter is not None and not message.get("more_body") and self._complete():
            self._wake()

    def leave(self) -> None:
        """Let the client go away."""
        self.gone = True
        self._wake()

    def _complete(self) -> bool:
        return len(self.sent) > 1 and not self.sent[-1].get("more_body")

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


class Socket(Exchange):
    """A WebSocket whose client leaves when it has sent everything, unless it is told to stay."""

    __slots__ = ("stay",)

    def __init__(
        self, messages: Iterator[Message], sent: Any = None, *, stay: bool = False
    ) -> None:
        super().__init__(messages, sent)
        self.stay = stay

    async def receive(self) -> Message:
        """Hand over the next message; the disconnect after the last one."""
        for message in self.messages:
            return message
        if self.stay and not self.gone:
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        return {"type": "websocket.disconnect", "code": 1000, "reason": ""}

    async def send(self, message: Message) -> None:
        """Take a message."""
        self.sent.append(message)


class Lifespan:
    """Starts an app up, and shuts it down at the end."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.started = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def _send(self, message: Message) -> None:
        assert not message["type"].endswith(".failed"), message
        self.started.set()

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": {}}
        try:
            await self.app(scope, self.incoming.get, self._send)
        finally:
            self.started.set()

    async def __aenter__(self) -> Lifespan:
        await self.incoming.put({"type": "lifespan.startup"})
        self.task = asyncio.create_task(self._run())
        await asyncio.wait_for(self.started.wait(), _TIMEOUT)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.incoming.put({"type": "lifespan.shutdown"})
        if self.task is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.task, 5.0)


async def ask(
    app: App, workload: Workload, *, cookie: bytes | None = None, units: int | None = None
) -> Answer:
    """Ask once and check the answer."""
    exchange = (Socket if workload.method == "WEBSOCKET" else Exchange)(workload.messages(units))
    await asyncio.wait_for(
        app(workload.scope(cookie=cookie), exchange.receive, exchange.send), _TIMEOUT
    )
    answer = Answer.of(exchange.sent)
    workload.check(answer)
    return answer


def session_cookie(answer: Answer) -> bytes | None:
    """Return what a browser would send back of the cookies that an answer sets."""
    for name, value in answer.headers:
        if name.lower() == b"set-cookie":
            return value.partition(b";")[0]
    return None


async def start_session(app: App, workload: Workload) -> bytes:
    """Count to three in one session and return its cookie; AssertionError if the count is wrong."""
    cookie: bytes | None = None
    for count in (1, 2, 3):
        answer = await ask(app, workload, cookie=cookie)
        assert answer.body == b"%d" % count, f"{answer.body!r} instead of {count}"
        cookie = session_cookie(answer) or cookie
    assert cookie is not None, "no session cookie"
    return cookie


async def drive(app: App, workload: Workload, count: int, cookie: bytes | None = None) -> None:
    """Ask ``count`` times, one after the other, and check the last answer.

    This is the loop that is measured: a fresh scope, what can be received and the list of what was
    sent; nothing else.
    """
    template = workload.scope(cookie=cookie)
    headers = template["headers"]
    make_messages = workload.messages
    exchange = Exchange(iter(()))
    receive, send = exchange.receive, exchange.send
    for _ in range(count):
        exchange.restart(make_messages())
        await app({**template, "headers": [*headers]}, receive, send)
    workload.check(Answer.of(exchange.sent))


async def drive_socket(app: App, workload: Workload, count: int) -> None:
    """Send ``count`` messages through one WebSocket and check the last echoes."""
    sent: deque[Message] = deque(maxlen=4)
    socket = Socket(workload.messages(count), sent)
    await app(workload.scope(), socket.receive, socket.send)
    echoes = [message for message in sent if message["type"] == "websocket.send"]
    assert echoes, "no echo"
    workload.check(Answer(101, [], b"", [{"type": "websocket.accept"}, *echoes]))


async def hold_sockets(app: App, count: int) -> Held:
    """Open ``count`` WebSockets that stay open and say nothing."""
    held: Held = []
    for _ in range(count):
        socket = Socket(WORKLOADS["websocket"].messages(0), stay=True)
        held.append((socket, _start(app, WORKLOADS["websocket"].scope(), socket)))
    await _settle(held, lambda socket: bool(socket.sent) and socket.waiter is not None)
    assert all(socket.sent[0]["type"] == "websocket.accept" for socket, _ in held), held[0][0].sent
    return held


async def hold_streams(app: App, count: int) -> Held:
    """Open ``count`` event streams that sent their first event and then stay idle."""
    held: Held = []
    for _ in range(count):
        stream = Exchange(EVENTS.messages())
        held.append((stream, _start(app, EVENTS.scope(), stream)))
    await _settle(held, lambda stream: FIRST_EVENT.encode() in Answer.of(stream.sent).body)
    assert all(Answer.of(stream.sent).status == 200 for stream, _ in held)
    for stream, _ in held:
        stream.sent.clear()
    return held


def _start(app: App, scope: Message, exchange: Exchange) -> asyncio.Task[None]:
    async def run() -> None:
        await app(scope, exchange.receive, exchange.send)

    return asyncio.get_running_loop().create_task(run())


async def _settle(held: Held, ready: Callable[[Exchange], bool]) -> None:
    async def wait() -> None:
        while not all(ready(exchange) for exchange, _ in held):
            await asyncio.sleep(0.01)

    await asyncio.wait_for(wait(), _TIMEOUT)
    await asyncio.sleep(0.05)


async def release(held: Held) -> None:
    """Let all clients go, and wait for the apps to notice; what does not notice is cancelled."""
    for exchange, _ in held:
        exchange.leave()
    tasks = [task for _, task in held]
    _, pending = await asyncio.wait(tasks, timeout=1.0)
    for task in pending:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
