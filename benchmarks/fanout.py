"""The clients of a fan-out: hundreds of connections that wait for what one of them publishes.

They are plain sockets of this process. A message ends with a byte that occurs nowhere else in what
a server sends after the handshake, so that counting it is enough, whatever the framework puts
around the message.
"""

from __future__ import annotations

import selectors
import socket
import time
from urllib.parse import quote

from benchmarks.workloads import FIRST_EVENT, NEWS, TASKS

_MARK, _LENGTH = NEWS[-1].encode(), len(NEWS)
_TIMEOUT = 60.0
# Seconds between two looks. Each write of the server wakes a client that waits for it, and the
# server pays for that. So a slower app, beside which the clients fall asleep more often, would seem
# slower still.
_NAP = 0.002
_HANDSHAKE = (
    f"GET {TASKS['room'].path} HTTP/1.1\r\nHost: localhost\r\n"
    "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
).encode()
_SUBSCRIBE = f"GET {TASKS['news'].path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
_PUBLISH = (
    f"GET /publish?text={quote(NEWS)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
).encode()
# A masked text frame (RFC 6455 section 5.2); the mask is zero, and so changes nothing.
_FRAME = bytes((0x81, 0x80 | _LENGTH, 0, 0, 0, 0)) + NEWS.encode()


class FanOut:
    """So many clients of one server, until the block ends.

    Args:
        port: The server's.
        task: ``"room"`` for WebSockets, ``"news"`` for event streams.
        count: How many clients.
    """

    def __init__(self, port: int, task: str, count: int) -> None:
        self.port = port
        self.task = task
        self.selector = selectors.DefaultSelector()
        self.clients: list[socket.socket] = []
        self.last = b""
        greeting, ready = (
            (_HANDSHAKE, b"\r\n\r\n") if task == "room" else (_SUBSCRIBE, FIRST_EVENT.encode())
        )
        for _ in range(count):
            client = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.clients.append(client)
            client.sendall(greeting)
            received = b""
            while ready not in received:
                received += (more := client.recv(65536))
                if not more:
                    raise ConnectionError(f"{task}: {received[:300]!r}")
            client.setblocking(False)
            self.selector.register(client, selectors.EVENT_READ)

    def __enter__(self) -> FanOut:
        return self

    def __exit__(self, *exception: object) -> None:
        self.selector.close()
        for client in self.clients:
            client.close()

    def publish(self, times: int) -> None:
        """Publish so often, wait each time until every client has it, and check what came last."""
        publish = self._speak if self.task == "room" else self._post
        for _ in range(times):
            publish()
            self._await_all()
        if NEWS.encode() not in self.last:
            raise AssertionError(f"{self.task}: {self.last[-300:]!r}")

    def _speak(self) -> None:
        self.clients[0].sendall(_FRAME)

    def _post(self) -> None:
        with socket.create_connection(("127.0.0.1", self.port), timeout=_TIMEOUT) as client:
            client.sendall(_PUBLISH)
            answer = client.recv(65536)
            if not answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
                raise AssertionError(f"publish: {answer[:300]!r}")

    def _await_all(self) -> None:
        missing, deadline = len(self.clients), time.monotonic() + _TIMEOUT
        while missing:
            time.sleep(_NAP)
            for key, _ in self.selector.select(0):
                received = key.fileobj.recv(65536)  # type: ignore[union-attr]
                if not received:
                    raise ConnectionError(
                        f"{self.task}: a client was sent away after {self.last[-200:]!r}"
                    )
                missing -= received.count(_MARK)
                self.last = received
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.task}: {missing} clients have not got the message")
