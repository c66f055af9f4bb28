"""Redis and PostgreSQL that stop, hang and restart, and visitors of an app with sessions there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path

import httpx
import redis
import websockets
from websockets.asyncio.client import connect

from tests.faults.harness import children
from tests.processes import (
    ROOT,
    free_port,
    postgresql_server,
    serving,
    started,
    wait_until,
)

EXAMPLE = ROOT / "examples" / "session_backends"
SERVE = "uvicorn tests.faults.stores_app:app --log-level warning --timeout-graceful-shutdown 1"

OF_OTHERS = (
    # uvicorn, of each handshake that an app refuses with a response, if the app is done before the
    # connection is closed; it is not true.
    "ASGI callable returned without completing handshake.",
    # asyncpg, if it is given up while it connects.
    "Future exception was never retrieved",
    "unexpected connection_lost() call",
)


class Store:
    """A server that keeps its port and its data while it is stopped."""

    scheme, path = "", ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"{self.scheme}127.0.0.1:{self.port}{self.path}"
        self.process: subprocess.Popen[bytes]
        self._running = contextlib.ExitStack()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = self._running.enter_context(self._started())

    def end(self, number: signal.Signals) -> None:
        """End it with a signal."""
        self.process.send_signal(number)
        self.process.wait(60)
        self.stop()

    def stop(self) -> None:
        """Let nothing of it go on."""
        self._running.close()

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to all its processes, for example to let it hang."""
        for process in (self.process.pid, *children(self.process.pid)):
            with contextlib.suppress(ProcessLookupError):  # a child may have ended meanwhile
                os.kill(process, number)

    def _started(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        raise NotImplementedError


class RedisStore(Store):
    """Redis, which writes each change to a file."""

    scheme, path = "redis://", "/0"

    @contextlib.contextmanager
    def _started(self) -> Iterator[subprocess.Popen[bytes]]:
        place = ["--bind", "127.0.0.1", "--port", str(self.port)]
        command = ["redis-server", *place, "--appendonly", "yes", "--save", ""]
        with started(command, self.port, self.folder / "log", cwd=self.folder) as process:
            with redis.Redis(port=self.port) as client:
                wait_until(lambda: _pings(client), what="Redis to have read its file")
            yield process


def _pings(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


class PostgreSQLStore(Store):
    """PostgreSQL, whose folder is one of `postgresql_data`."""

    scheme, path = "postgresql+asyncpg://tests@", "/postgres"

    def _started(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        return postgresql_server(self.folder, self.port)


class SlowProxy:
    """Passes bytes on to a store, in its own thread; `delay` seconds late, if that is set."""

    def __init__(self, port: int) -> None:
        self.port = free_port()
        self.delay = 0.0
        self._store_port = port
        self._end: Callable[[], object]
        self._listens = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> SlowProxy:
        self._thread.start()
        assert self._listens.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._end()
        self._thread.join(30)

    async def _serve(self) -> None:
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        self._end = lambda: loop.call_soon_threadsafe(ended.set)
        server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)
        self._listens.set()
        await ended.wait()
        server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._store_port)
        try:
            await asyncio.gather(
                self._copy(reader, store_writer, slow=False),
                self._copy(store_reader, writer, slow=True),
            )
        finally:
            store_writer.close()
            writer.close()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, slow: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await asyncio.sleep(self.delay * slow)  # this is what makes the store slow
                writer.write(data)
        writer.close()


@dataclass
class Answer:
    """What a visitor got.

    The status is that of the response or of the refused handshake, 101 for a WebSocket that ended
    in order, or else the WebSocket's close code.
    """

    path: str
    status: int
    text: str
    cookie: str
    seconds: float


class Site:
    """The app under uvicorn, and requests to it."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        self._seen = 0

    def logged(self) -> list[str]:
        """Return the lines of the log since the last time."""
        lines = self._log.read_text().splitlines()
        new, self._seen = lines[self._seen :], len(lines)
        return [line for line in new if not any(text in line for text in OF_OTHERS)]

    @contextlib.asynccontextmanager
    async def visited(self):
        """Open the client that all visitors share; each has its own cookie."""
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        url = f"http://127.0.0.1:{self.port}"
        async with httpx.AsyncClient(
            base_url=url, limits=limits, timeout=30, verify=False, trust_env=False
        ) as self._client:
            self._client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            yield self

    async def ask(self, path: str, cookie: str = "") -> Answer:
        """Ask for a page, the first event of a stream, or the last message of a WebSocket."""
        headers = {"cookie": cookie} if cookie else {}
        begun = time.monotonic()
        ask = self._ask_socket if path.startswith("/ws") else self._ask_page
        # A WebSocket handler that was named ws_echo has the path /echo.
        status, text, new = await ask(path.replace("/ws_", "/"), headers)
        return Answer(path, status, text, new or cookie, time.monotonic() - begun)

    async def _ask_page(self, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        async with self._client.stream("GET", path, headers=headers) as response:
            cookie = response.headers.get("set-cookie", "").partition(";")[0]
            if response.headers.get("content-type") != "text/event-stream":
                return response.status_code, (await response.aread()).decode(), cookie
            lines = response.aiter_lines()
            text = (await anext(lines)).removeprefix("data: ")
            return response.status_code, text, cookie

    async def _ask_socket(self, path: str, headers: dict[str, str]) -> tuple[int, str, str]:
        url = f"ws://127.0.0.1:{self.port}{path}"
        text = ""
        try:
            async with connect(
                url, additional_headers=headers, proxy=None, open_timeout=60
            ) as socket:
                if path in ("/echo", "/count"):
                    await socket.send("hello")
                text = str(await socket.recv())
                if path == "/echo":  # it goes on until the client leaves
                    return 101, text, ""
                await socket.wait_closed()
                code = socket.close_code
        except websockets.InvalidStatus as refused:
            return refused.response.status_code, (refused.response.body or b"").decode(), ""
        except websockets.ConnectionClosed as closed:
            code = closed.rcvd.code if closed.rcvd else 1006
        return 101 if code == 1000 else int(code or 1006), text, ""


@contextlib.contextmanager
def site(store_url: str, folder: Path) -> Iterator[Site]:
    """Serve the app with a store's URL."""
    port, log = free_port(), folder / "app.log"
    variables = {
        "SESSION_STORE": store_url,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{EXAMPLE}",
        "DATA": str(folder),
    }
    with serving(f"{SERVE} 2> {log}", folder, port, variables):
        yield Site(port, log)
