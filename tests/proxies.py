"""Sites behind nginx and Caddy: files with other ports, clients that come from elsewhere, Caddy.

nginx itself is in tests/processes.py.
"""

import contextlib
import os
import shutil
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.processes import started, wait_until

SITE = "shop.example.com"
#: The option of a request by which Caddy finds the site: its name in the TLS handshake.
NAME: dict[str, Any] = {"extensions": {"sni_hostname": SITE}}
UNVERIFIED = ssl._create_unverified_context()
# This client reads in one thread and writes in another. With TLS 1.3 the server sends its tickets
# after the handshake, and one that is read while the request is written may lose the request:
# OpenSSL allows one thread at a time.
FOR_WEBSOCKETS = ssl._create_unverified_context()
FOR_WEBSOCKETS.maximum_version = ssl.TLSVersion.TLSv1_2


def replaced(text: str, changes: Mapping[str, str], count: int = -1) -> str:
    """Return a text with changes, each of which must be possible."""
    for old, new in changes.items():
        assert old in text, old
        text = text.replace(old, new, count)
    return text


def client_of(port: int, **headers: str) -> httpx.Client:
    """Return a client of the site at another address than the proxy's."""
    transport = httpx.HTTPTransport(verify=False, local_address="127.0.0.2")
    named = {"host": SITE, **headers}
    url = f"https://127.0.0.1:{port}"
    return httpx.Client(transport=transport, base_url=url, headers=named, timeout=60)


@contextlib.contextmanager
def websocket_of(port: int, path: str, cookie: str) -> Iterator[ClientConnection]:
    """Open a WebSocket of the site as a page of it does."""
    options: dict[str, Any] = {"additional_headers": {"cookie": cookie}, "ssl": FOR_WEBSOCKETS}
    options["origin"] = Origin(f"https://{SITE}")
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        connect(f"wss://{SITE}{path}", sock=connection, **options) as client,
    ):
        yield client


@contextlib.contextmanager
def caddy(folder: Path, sites: str, port: int, more: Mapping[str, str]) -> Iterator[None]:
    """Run Caddy with sites, its own certificates, and all it writes in a folder."""
    if shutil.which("caddy") is None:
        pytest.skip("caddy is not installed")
    own = "{\n\tadmin off\n\tskip_install_trust\n\tlocal_certs\n\tauto_https disable_redirects\n}\n"
    (folder / "Caddyfile").write_text(own + sites)
    places = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder))
    command: list[str | Path] = ["caddy", "run", "--config", folder / "Caddyfile"]
    with started(command, port, folder / "caddy.log", env={**os.environ, **places, **more}):
        wait_until(
            lambda: _speaks_tls(port),
            what="Caddy's certificate, which it makes when it listens already",
        )
        yield


def _speaks_tls(port: int) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
        UNVERIFIED.wrap_socket(connection, server_hostname=SITE),
    ):
        return True
    return False
