"""A static host as dumb as one can be: it serves a folder, and notes what it has sent."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import mimetypes
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

#: What must do for every page of the site.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:"
)
KINDS = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm"}
COMPRESSED = ("text/", "application/json", "application/wasm")


@dataclass
class Host:
    """What a test knows of a host that runs."""

    url: str
    sent: list[tuple[str, int, int]] = field(default_factory=list)  # path, status, bytes
    packed: dict[tuple[Path, str], bytes] = field(default_factory=dict)

    @property
    def bytes_sent(self) -> int:
        return sum(length for _, _, length in self.sent)


@contextlib.contextmanager
def hosted(folder: Path) -> Iterator[Host]:
    """Serve a folder until the block's end, compressed as usual hosts do it."""
    host = Host("")

    class Handler(_Handler):
        pass

    Handler.folder, Handler.host = folder.resolve(), host
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    host.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield host
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    host: Host

    def log_message(self, *_: object) -> None:
        """Print nothing; `Host.sent` has it."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        file = (self.folder / path.lstrip("/")).resolve()
        if file.is_dir():
            file /= "index.html"
        if not file.is_file() or self.folder not in file.parents:
            self._send(404, b"not found", {})
            return
        data = file.read_bytes()
        kind = KINDS.get(file.suffix) or mimetypes.guess_type(file.name)[0]
        headers = {
            "content-type": kind or "application/octet-stream",
            "etag": f'"{hashlib.sha256(data).hexdigest()[:16]}"',
            "cache-control": "max-age=600",
            "content-security-policy": POLICY,
        }
        if self.headers.get("if-none-match") == headers["etag"]:
            self._send(304, b"", headers)
            return
        if headers["content-type"].startswith(COMPRESSED):
            key = (file, headers["etag"])
            if key not in self.host.packed:
                self.host.packed[key] = gzip.compress(data, 6)
            data = self.host.packed[key]
            headers["content-encoding"] = "gzip"
        self._send(200, data, headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.host.sent.append((self.path, status, len(data)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
