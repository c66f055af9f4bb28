"""A thousand event streams and a thousand WebSockets on one process, for a minute of fan-out.

Every client compares each byte that it gets with what it should get next, so that no message can be
lost, repeated, mixed with another or out of order. The same app written by hand takes turns with
MicroPie's, in short rounds: other work on the machine can only add to the CPU time of a round, so
that the best rounds of the two are compared.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import time
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest

from tests.faults.harness import MIB, memory, open_files
from tests.processes import ROOT, environment, free_port, started

APPS = {"micropie": "tests.faults.fanout_app:app", "by hand": "tests.faults.fanout_app:by_hand"}
CLIENTS = 1_000  # of each of the two kinds
PER_SECOND = 5
MESSAGES = 10  # in a round
ROUNDS = 30  # of two seconds, for each of the two apps
MOST_CPU = 1.15  # of the app written by hand
MOST_GROWTH = 2 * MIB  # in the last three quarters of the minute
PATIENCE = 60.0  # seconds
PING = b"8\r\n: ping\n\n\r\n"  # a comment that comes every 15 seconds
SUBSCRIBE = b"GET /news HTTP/1.1\r\nHost: localhost\r\n\r\n"
HANDSHAKE = (
    b"GET /room HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
NAP = 0.002  # seconds between two looks, so that the server seldom has to wake this process


class Crowd:
    """The clients of one server; they publish, and get what each of them has published."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = 0
        self.selector = selectors.DefaultSelector()
        self.streams = [self._client(SUBSCRIBE, b"data: ready\n\n\r\n") for _ in range(CLIENTS)]
        self.sockets = [self._client(HANDSHAKE, b"\r\n\r\n") for _ in range(CLIENTS)]
        self.expected = {"stream": b"", "socket": b""}
        for kind, clients in ("stream", self.streams), ("socket", self.sockets):
            for client in clients:
                client.setblocking(False)
                # How far each of them is in what all of its kind get.
                self.selector.register(client, selectors.EVENT_READ, [kind, 0])

    def close(self) -> None:
        self.selector.close()
        for client in self.streams + self.sockets:
            client.close()

    def _client(self, greeting: bytes, ready: bytes) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        client.sendall(greeting)
        received = b""
        while not received.endswith(ready):
            assert (more := client.recv(65536)), received
            received += more
        return client

    def publish(self) -> float:
        """Publish to all, wait until all have it, and return the seconds that this took."""
        self.sent += 1
        text = f"message {self.sent:08}, and so on until it has the length of a short chat message"
        event = f"data: {text}\n\n".encode()
        self.expected["stream"] += b"%x\r\n%b\r\n" % (len(event), event)
        self.expected["socket"] += b"\x81%c%b" % (len(text), text.encode())
        begun = time.monotonic()
        # A masked text frame (RFC 6455 section 5.2); the mask is zero, and so changes nothing.
        self.sockets[0].sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text.encode())
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as client:
            line = f"GET /publish?text={quote(text)} HTTP/1.1\r\nHost: localhost\r\n"
            client.sendall(f"{line}Connection: close\r\n\r\n".encode())
            answer = client.recv(65536)
        assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")), answer
        self._await_all(begun + PATIENCE)
        return time.monotonic() - begun

    def _await_all(self, deadline: float) -> None:
        missing = 2 * CLIENTS
        while missing:
            time.sleep(NAP)  # to look all the time would take the server's core
            assert time.monotonic() < deadline, f"{missing} clients wait for {self.sent}"
            for key, _ in self.selector.select(0):
                client, (kind, at) = cast(socket.socket, key.fileobj), key.data
                received = client.recv(65536)
                assert received, f"a client of a {kind} was sent away after {at} bytes"
                received = received.replace(PING, b"")
                end = key.data[1] = at + len(received)
                expected = self.expected[kind]
                assert received == expected[at:end], (received, expected[at:end])
                missing -= bool(received) and end == len(expected)


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process, with nanoseconds, which `/proc/PID/stat` has not."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


@pytest.mark.slow
def test_thousands_of_clients_get_every_message_for_little_more_cpu(tmp_path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(open_files(6 * CLIENTS))
        servers, crowds = {}, {}
        for name, app in APPS.items():
            port = free_port()
            options = ["--port", str(port), "--log-level", "warning", "--no-access-log"]
            options += ["--ws-ping-interval", "600"]  # these clients answer no ping
            command = [sys.executable, "-m", "uvicorn", app, *options]
            servers[name] = stack.enter_context(
                started(command, port, tmp_path / name, cwd=ROOT, env=environment({}))
            ).pid
            crowds[name] = Crowd(port)
            stack.callback(crowds[name].close)
        spent = {name: [] for name in APPS}
        slowest = 0.0
        for number_of_round in range(ROUNDS):
            for name, crowd in crowds.items():
                begun, before = time.monotonic(), cpu_seconds(servers[name])
                for number in range(1, MESSAGES + 1):
                    slowest = max(slowest, crowd.publish())
                    pause = begun + number / PER_SECOND - time.monotonic()
                    time.sleep(max(0.0, pause))  # the pace of the fan-out is what is tested
                delivered = MESSAGES * 2 * CLIENTS
                spent[name].append((cpu_seconds(servers[name]) - before) / delivered)
            if number_of_round == ROUNDS // 4:  # fifteen seconds of fan-out are over
                at_first = memory(servers["micropie"])
        growth = memory(servers["micropie"]) - at_first
    best = {name: min(found) for name, found in spent.items()}
    ratio = best["micropie"] / best["by hand"]
    figures = ", ".join(f"{name} {seconds * 1e6:.1f} µs" for name, seconds in best.items())
    print(f"CPU of a message: {figures}, ratio {ratio:.3f}; growth {growth / 1024:.0f} KiB of")
    print(f"{at_first / MIB:.0f} MiB; slowest message {slowest:.2f} s")
    assert ratio <= MOST_CPU
    assert growth <= MOST_GROWTH
    assert [log.read_text() for log in tmp_path.iterdir() if log.is_file()] == ["", ""]
