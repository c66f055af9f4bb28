"""Real servers in processes of their own, and a client on a raw socket that sees every byte."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
from websockets.sync.client import ClientConnection, connect

from tests.processes import environment, free_port, wait_until

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Kind:
    """One way to serve the application, with the facts of that server alone."""

    name: str
    requires: str
    command: str
    lifespan: bool = True
    buffers_bodies: bool = False  # no early answer, no back-pressure, no 408
    continues_at_once: bool = False  # answers `Expect: 100-continue` itself
    holds_streams_back: bool = True  # and WebSockets, over HTTP/1.1, if the client does not read
    holds_streams_back_over_http2: bool | None = None  # the same; None without HTTP/2
    leaves_broken_streams_open: bool = False  # if the application returns early
    leaves_short_streams_open: bool = False  # that end before their content-length
    believes_root_path: bool = False  # in a header of any client
    checks_forms: bool = False  # refuses a malformed form itself, and closes the connection
    ends_streams: bool = True  # lets an open stream run its `finally` when the server stops
    accept_headers: bool = True  # sends the headers of `websocket.accept`
    empty_messages: bool = True  # sends WebSocket messages that are empty
    close_reasons: bool = True  # sends the reason of `websocket.close`
    protocol_codes: bool = True  # sends codes other than 1000 and 3000 to 4999
    client_codes: bool = True  # hands the code of a client's WebSocket close over, in place of 1006
    denials: bool = True  # sends the status, headers and body of a refused handshake
    buffers_messages: bool = False  # takes any number ahead of a handler that does not receive
    client_reasons: bool = False  # hands over the reason of a client's WebSocket close


# A client whose machine is busy keeps its connection for a minute, where five seconds are usual.
UVICORN = "uvicorn {app} --host 127.0.0.1 --port {port} --log-level warning --no-access-log"
UVICORN += " --timeout-graceful-shutdown 1 --timeout-keep-alive 60 --http"
GRANIAN = "granian {app} --interface asgi --host 127.0.0.1 --port {port} --no-access-log"
GRANIAN += " --log-level warning --workers-kill-timeout 1"
OF_ALL = (
    Kind("uvicorn-h11", "uvicorn", f"{UVICORN} h11", client_reasons=True),
    Kind("uvicorn-httptools", "httptools", f"{UVICORN} httptools", client_reasons=True),
    Kind(
        "hypercorn",
        "hypercorn",
        "hypercorn {app} --bind 127.0.0.1:{port} --graceful-timeout 1 --keep-alive 60",
        continues_at_once=True,
        client_codes=False,
        holds_streams_back_over_http2=False,
    ),
    Kind(
        "daphne",
        "daphne",
        "daphne {app} --bind 127.0.0.1 --port {port} --verbosity 0 --websocket_connect_timeout 60",
        lifespan=False,
        buffers_bodies=True,
        buffers_messages=True,
        holds_streams_back=False,
        continues_at_once=True,
        leaves_broken_streams_open=True,
        leaves_short_streams_open=True,
        believes_root_path=True,
        checks_forms=True,
        accept_headers=False,
        empty_messages=False,
        close_reasons=False,
        protocol_codes=False,
        denials=False,
    ),
    Kind(
        "granian",
        "granian",
        GRANIAN,
        ends_streams=False,
        accept_headers=False,
        holds_streams_back_over_http2=True,
    ),
)
KINDS = {kind.name: kind for kind in OF_ALL}


def installed(kind: Kind) -> bool:
    return importlib.util.find_spec(kind.requires) is not None


@dataclass
class Server:
    """A server process; `log` has its log, and the files of `notes` the application's notes."""

    kind: Kind
    folder: Path
    app: str = "tests.servers.app:app"
    port: int = 0

    def __enter__(self) -> Self:
        self.spawn()
        try:
            return self.ready()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *error: object) -> None:
        self.stop()

    def spawn(self) -> None:
        """Start the process, without waiting for it."""
        self.notes = self.folder / "notes"
        self.notes.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / "log.txt"
        self.port = free_port()
        self.url, self.ws_url = f"http://{HOST}:{self.port}", f"ws://{HOST}:{self.port}"
        command = self.kind.command.format(app=self.app, port=self.port).split()
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *command],
                cwd=self.folder,
                env=environment({"MICROPIE_TEST_NOTES": str(self.notes)}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self) -> Self:
        """Wait until the application answers."""

        def answers() -> bool:
            assert self.process.poll() is None, (
                f"{self.kind.name} has ended:\n{self.log.read_text()}"
            )
            try:
                with self.connect() as client:
                    return client.ask("GET", "/ready").status == 200
            except OSError:
                return False

        wait_until(answers, 60, f"{self.kind.name} to answer")
        return self

    def wish_end(self) -> None:
        """Send SIGTERM, without waiting for the end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)

    def stop(self, timeout: float = 30.0) -> int | None:
        """End the server as a supervisor does; returns its exit code."""
        self.wish_end()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(timeout)
            return None

    @property
    def worker(self) -> int:
        """The process that runs the application: Granian starts one for it."""
        children = (
            Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        )
        return int(children[-1]) if children else self.process.pid

    def connect(self, timeout: float = 60.0) -> RawClient:
        return RawClient(self.port, timeout)

    # A client that is not ours, and that waits for a busy server, too.

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, f"{self.url}{path}", timeout=60, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.request("POST", path, **options)

    def websocket(self, path: str, **options: Any) -> ClientConnection:
        return connect(f"{self.ws_url}{path}", open_timeout=60, **options)

    def wait_for_log(self, text: str, start: int = 0) -> None:
        """Wait until the log has a text from some character on."""
        wait_until(lambda: text in self.log.read_text()[start:], 60, f"{text!r} in the log")

    # What the application notes is how a test looks into the server's process.

    @staticmethod
    def token() -> str:
        """A name for one test's notes."""
        return uuid.uuid4().hex

    def noted(self, token: str) -> list[str]:
        """What the application noted under `token`."""
        path = self.notes / token
        return path.read_text().splitlines() if path.exists() else []

    def wait_for(self, token: str, *lines: str) -> list[str]:
        """Wait until the application noted one of `lines`; returns all its notes."""
        wait_until(
            lambda: set(lines) & set(self.noted(token)), 60, f"a note {lines} of {self.kind.name}"
        )
        return self.noted(token)

    def check_making(self, token: str, *, held_back: bool) -> None:
        """See that a handler waits for its client, or that it has made all of its 32 MiB."""
        if not held_back:
            self.wait_for(token, "made")
        with self.connect() as other:
            for _ in range(200):  # takes longer than to make all
                assert other.ask("GET", "/ready").status == 200
        assert self.noted(token) == ([] if held_back else ["made"])

    def go(self, token: str) -> None:
        """Let a handler go on that waits for the test."""
        (self.notes / f"{token}.go").touch()


@dataclass
class RawResponse:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def text(self) -> str:
        return self.body.decode("utf-8")


class RawClient:
    """One connection to a server, written and read byte by byte."""

    def __init__(self, port: int, timeout: float) -> None:
        self.socket = socket.create_connection((HOST, port), timeout=timeout)
        self.reader = self.socket.makefile("rb")

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self.reader.close()
        self.socket.close()

    def send(self, data: bytes | memoryview) -> None:
        self.socket.sendall(data)

    def send_head(self, method: str, target: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the request line and the headers."""
        lines = [f"{method} {target} HTTP/1.1", f"host: {HOST}:{self.socket.getpeername()[1]}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def handshake(self, target: str) -> None:
        """Open a WebSocket (RFC 6455 section 4.1)."""
        upgrade = [("connection", "Upgrade"), ("upgrade", "websocket")]
        key = [("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13")]
        self.send_head("GET", target, [*upgrade, *key])
        response = self.read_head()
        assert response.status == 101, response

    def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one ends it."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def ask(
        self,
        method: str,
        target: str,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
    ) -> RawResponse:
        """A whole request and its whole response."""
        length = [] if body is None else [("content-length", str(len(body)))]
        self.send_head(method, target, [*headers, *length])
        self.send(body or b"")
        return self.read(method)

    def read(self, method: str = "GET") -> RawResponse:
        """Read one whole response."""
        response = self.read_head()
        if method != "HEAD" and response.status >= 200 and response.status not in (204, 304):
            response.body = self._read_body(response)
        return response

    def read_head(self) -> RawResponse:
        """Read a status line and the headers: of an interim response too."""
        line = self.reader.readline()
        if not line:
            raise ConnectionError("the server closed the connection")
        headers = []
        while (header := self.reader.readline()) not in (b"\r\n", b""):
            name, _, value = header.decode("latin-1").partition(":")
            headers.append((name.strip(), value.strip()))
        return RawResponse(int(line.split(b" ")[1]), headers)

    def _read_body(self, response: RawResponse) -> bytes:
        length = response.header("content-length")
        if length is not None:
            body = self.reader.read(int(length))
            if len(body) < int(length):  # a killed worker may have sent the headers alone
                raise ConnectionError("the response broke off")
            return body
        if (response.header("transfer-encoding") or "").lower() != "chunked":
            return self.reader.read()
        return b"".join(iter(self.read_chunk, b""))

    def read_chunk(self) -> bytes:
        """One chunk of a chunked body, empty at the end; `ConnectionError` when it breaks off."""
        line = self.reader.readline()
        if not line:
            raise ConnectionError("the response broke off")
        size = int(line.split(b";")[0], 16)
        data = self.reader.read(size)
        if len(data) < size or self.reader.readline() != b"\r\n":
            raise ConnectionError("the response broke off")
        return data
