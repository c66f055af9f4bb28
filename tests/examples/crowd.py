"""The chat of examples/cluster as two processes behind nginx, and clients that come back."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

import httpx
import redis
import websockets

from tests.examples import harness
from tests.processes import accepts, environment, free_port, nginx, started, wait_until

PASSWORD = "flour butter apples"
ANSWERS_WITHIN = 5.0  # seconds; on a busy machine a Redis that works might need more than one
FREELY = {"LOGIN_TRIES": "100000", "MESSAGES": "100000"}


class Node:
    """A program that a test can kill and start again, with what it has printed."""

    def __init__(self, command: list[str], port: int, folder: Path, log: Path, **env: str) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._command = command
        self._folder = folder
        self._logs = log
        self._starts = 0
        self._environment = env
        self._running = contextlib.ExitStack()
        self.process: Popen[bytes]

    def start(self) -> "Node":
        self._starts += 1
        self.process = self._running.enter_context(
            started(
                self._command,
                self.port,
                self._logs.with_suffix(f".{self._starts}"),
                cwd=self._folder,
                env=environment(self._environment),
            )
        )
        return self

    def signal(self, number: int) -> None:
        os.killpg(self.process.pid, number)

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        self.process.wait(20)

    def log(self) -> str:
        """Return what it has printed since each of its starts."""
        logs = [self._logs.with_suffix(f".{number + 1}") for number in range(self._starts)]
        return "".join(log.read_text(errors="replace") for log in logs)

    def close(self) -> None:
        self._running.close()


class Cluster:
    """Redis, two processes of the chat and nginx, which is at `url`."""

    def __init__(self, folder: Path, more: Mapping[str, str]) -> None:
        self.folder = harness.copied("cluster", folder)
        data = folder / "redis"
        data.mkdir()
        port = free_port()
        command = f"redis-server --bind 127.0.0.1 --port {port} --appendonly yes".split()
        self.redis = Node(command, port, data, folder / "redis-log")
        self.variables = {
            "REDIS_URL": f"redis://127.0.0.1:{port}/0",
            "ANSWERS_WITHIN": str(ANSWERS_WITHIN),
            **more,
        }
        self.nodes = [self._node(folder / f"node{number}") for number in (1, 2)]
        self.url = f"http://127.0.0.1:{free_port()}"
        self.store: Any = redis.Redis.from_url(self.variables["REDIS_URL"], decode_responses=True)

    def _node(self, log: Path) -> Node:
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "app:app", "--port", str(port)]
        command += ["--timeout-graceful-shutdown", "30"]
        return Node(command, port, self.folder, log, **self.variables)

    def site(self) -> str:
        """Return the example's nginx.conf with the ports of this one."""
        text = (self.folder / "nginx.conf").read_text()
        own = {"8001": self.nodes[0].port, "8002": self.nodes[1].port, "8080": self.url[-5:]}
        assert all(named in text for named in own)
        # In one step, since one's own port can have the digits of another that is named.
        return re.sub("|".join(own), lambda match: str(own[match[0]]), text)

    def client(self, node: Node | None = None) -> httpx.Client:
        """A visitor of one of the nodes, or of nginx."""
        return httpx.Client(base_url=node.url if node else self.url, timeout=60, verify=False)

    def account(self, name: str, node: Node | None = None) -> dict[str, str]:
        """Sign up; return the header with the cookie, which a client would keep for HTTPS."""
        with self.client(node) as client:
            answer = client.post("/sign_up", data={"name": name, "password": PASSWORD})
        assert answer.status_code == 303, answer.text
        return cookie_of(answer)

    def entries(self, room: str = "lobby") -> list[tuple[str, dict[str, str]]]:
        """Return the messages that Redis has."""
        return [entry for entry in self.store.xrange(f"room:{room}") if "text" in entry[1]]


def cookie_of(answer: httpx.Response) -> dict[str, str]:
    return {"cookie": answer.headers["set-cookie"].partition(";")[0]}


@contextlib.contextmanager
def cluster(folder: Path, more: Mapping[str, str] = FREELY) -> Iterator[Cluster]:
    """Run the cluster; no process of the chat may log a traceback."""
    running = Cluster(folder, more)
    try:
        for node in (running.redis, *running.nodes):
            node.start()
        place = folder / "nginx"
        place.mkdir()
        with nginx(place, running.site(), int(running.url[-5:])):
            yield running
        for node in running.nodes:
            node.close()
            assert "Traceback" not in node.log(), node.log()
    finally:
        running.store.close()
        for node in (*running.nodes, running.redis):
            node.close()


# --- Clients -----------------------------------------------------------------------------------


class Reader:
    """A client that follows a room, and comes back with the last id when it is cut off.

    Attributes:
        events: All that it was told.
        start: The id that it began with.
        ids: Those of the messages that it got.
        cuts: How often it was cut off.
    """

    def __init__(self, url: str, headers: Mapping[str, str], room: str = "lobby") -> None:
        self.url, self.headers, self.room = url, headers, room
        self.events: list[dict[str, Any]] = []
        self.ids: list[str] = []
        self.start = self.last = ""
        self.cuts = 0

    def take(self, text: str | bytes) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(text)
        self.events.append(event)
        if event["type"] in {"start", "message", "gap"}:
            self.last = event["id"]
            self.start = self.start or self.last
        if event["type"] == "message":
            self.ids.append(event["id"])
        return event

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.events if event["type"] == "message"]

    @property
    def present(self) -> list[str]:
        """The names that it was told last."""
        names = [event["names"] for event in self.events if event["type"] == "present"]
        return names[-1] if names else []

    async def read(self) -> None:
        """Read until it is cut off."""
        raise NotImplementedError

    async def follow(self) -> None:
        """Read and come back, until it is cancelled."""
        while True:
            with contextlib.suppress(OSError, httpx.HTTPError, websockets.WebSocketException):
                await self.read()
            self.cuts += 1
            await asyncio.sleep(0.1)  # as a browser waits before it connects again


class Stream(Reader):
    """Reads the event stream; it has one client for all its connections."""

    async def read(self) -> None:
        headers = {**self.headers, **({"last-event-id": self.last} if self.last else {})}
        url = f"{self.url}/events/{self.room}"
        client = httpx.AsyncClient(timeout=60, verify=False)
        async with client, client.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    self.take(line.removeprefix("data: "))


class Socket(Reader):
    """Reads and writes by a WebSocket.

    Attributes:
        unsure: The texts that were sent and not acknowledged, by key.
        stored: The ids of those that were, by key.
        refused: What the server said to those that it did not take, by key.
        closed: The last close code.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.unsure: dict[str, str] = {}
        self.stored: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.closed: int | None = None
        self._ws: Any = None

    async def read(self) -> None:
        url = f"ws{self.url.removeprefix('http')}/chat/{self.room}?last={self.last}"
        options: dict[str, Any] = {"ping_interval": None, "open_timeout": 60}
        connecting = websockets.connect(url, additional_headers=self.headers, **options)
        async with connecting as ws:
            self._ws = ws
            try:
                for key in self.unsure:
                    await self._send(key)
                async for message in ws:
                    event = self.take(message)
                    if event["type"] == "stored":
                        self.stored[event["key"]] = event["id"]
                        self.unsure.pop(event["key"], None)
                    if event["type"] == "refused":
                        self.refused[event["key"]] = event["text"]
                        self.unsure.pop(event["key"], None)
            finally:
                self._ws = None
                self.closed = ws.close_code

    async def say(self, key: str, text: str) -> None:
        """Send a message, now or when it is connected again."""
        self.unsure[key] = text
        if self._ws is not None:
            with contextlib.suppress(OSError, websockets.WebSocketException):
                await self._send(key)

    async def _send(self, key: str) -> None:
        await self._ws.send(json.dumps({"type": "say", "key": key, "text": self.unsure[key]}))


@contextlib.asynccontextmanager
async def following(*readers: Reader) -> AsyncIterator[None]:
    """Let readers follow until the block ends."""
    tasks = [asyncio.create_task(reader.follow()) for reader in readers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


def wait_gone(node: Node) -> None:
    """Wait until a node accepts no more connections."""
    wait_until(lambda: not accepts(node.port), what="the port to be closed")
