"""A line between a browser and a server that a test can cut."""

import contextlib
import socket
import threading
from collections.abc import Iterator


class Relay:
    """Passes connections on to a port of this machine, from a port of its own."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._lines: list[socket.socket] = []
        self._lock = threading.Lock()  # so that no connection comes about while all are cut
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open = threading.Event()
        self._open.set()
        self._bad_gateway = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                with self._lock:
                    if not self._open.is_set():
                        threading.Thread(target=self._refuse, args=(near,), daemon=True).start()
                        continue
                    far = socket.create_connection(("127.0.0.1", self._target))
                    self._lines += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()

    def _refuse(self, near: socket.socket) -> None:
        with contextlib.suppress(OSError), near:
            # A browser may open a connection in advance, and send nothing.
            if self._bad_gateway and near.recv(2**16):
                near.sendall(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n")

    def cut(self, *, bad_gateway: bool = False) -> None:
        """Break all connections, and let no new one through.

        Args:
            bad_gateway: Answer new ones as a proxy does while the app behind it is down.
        """
        with self._lock:
            self._bad_gateway = bad_gateway
            self._open.clear()
            for line in self._lines:
                with contextlib.suppress(OSError):
                    line.shutdown(socket.SHUT_RDWR)
                line.close()
            self._lines.clear()

    def mend(self) -> None:
        """Let new connections through again."""
        self._open.set()

    def close(self) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    relay = Relay(port)
    try:
        yield relay
    finally:
        relay.close()
