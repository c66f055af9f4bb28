"""Mends what works differently in Pyodide, so that an app runs there unchanged."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import lzma
import os
import sqlite3
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any, cast
from urllib.parse import quote

import _live_host as host  # type: ignore[import-not-found]

Bytes = bytes | bytearray | memoryview

MEMORY = 32 * 2**20  # bytes that scrypt can use unless it is told otherwise, as in OpenSSL
DIGESTS = ("sha1", "sha256", "sha384", "sha512")


def apply(later: dict[str, str], app: Callable[[], Any]) -> None:
    """Mend all of it, once.

    Args:
        later: For each module that is not loaded yet, the file that has it.
        app: Returns the app that runs.
    """
    sys.meta_path.append(MoreLibrary(later))
    sys.modules["concurrent.interpreters"] = no_interpreters()
    sys.meta_path.insert(0, AnyioThreads())  # type: ignore[arg-type]
    sys.meta_path.insert(0, HttpxToItself(app))  # type: ignore[arg-type]
    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]
    hashlib.scrypt = scrypt
    hashlib.pbkdf2_hmac = pbkdf2_hmac
    os.link = link  # type: ignore[assignment]


# --- Python's library -----------------------------------------------------------------------------


class MoreLibrary:
    """Loads a further part of Python's library, or a package, at the first import from it.

    Args:
        files: For each module of these, the file that has it, in the folder of the runtime.
    """

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Load the file that has this module. Python asks here last.

        The package of a module has its list of places, and gets one more.
        """
        if name not in self.files:
            return None
        file = self.files[name]
        library = Path("/lib", Path(file).stem)
        if not library.exists():
            library.write_bytes(lzma.decompress(host.fetch_now(file).to_bytes()))
        places = sys.path if path is None else cast("list[str]", path)
        place = str(library.joinpath(*name.split(".")[:-1]))
        if place not in places:
            places.append(place)
        return PathFinder.find_spec(name, places)


def no_interpreters() -> ModuleType:
    """Return a module in place of concurrent.interpreters, which Pyodide cannot load.

    anyio, and so Starlette and httpx, import these names on Python 3.14 and seldom use them.
    """
    module = ModuleType("concurrent.interpreters")

    class ExecutionFailed(RuntimeError):
        """An interpreter raised."""

    def create() -> Any:
        raise RuntimeError("a browser has one Python interpreter only")

    module.__dict__.update(ExecutionFailed=ExecutionFailed, create=create)
    return module


class AnyioThreads:
    """Gives anyio functions that call in place, as asyncio's do in Pyodide: there are no threads.

    Starlette's files, and its plain handlers, go by way of them.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Take the place of that one module."""
        return ModuleSpec(name, self) if name == "anyio.to_thread" else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave that to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module."""

        async def run_sync(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
            await asyncio.sleep(0)  # others get their turn, as with a thread
            return function(*args)

        def current_default_thread_limiter() -> Any:
            return importlib.import_module("anyio").CapacityLimiter(1)

        module.__dict__.update(
            run_sync=run_sync, current_default_thread_limiter=current_default_thread_limiter
        )


class HttpxToItself:
    """Lets an app reach itself by httpx, at the address that the pages of the site write.

    A page's app can so play its own partner, for example the provider of a login. There are no
    sockets, so any other address is one that doesn't answer.

    Args:
        app: Returns the app that runs.
    """

    HOSTS = {("127.0.0.1", 8000), ("localhost", 8000)}

    def __init__(self, app: Callable[[], Any]) -> None:
        self.app = app

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> ModuleSpec | None:
        """Take the place of the module with httpx's sockets."""
        is_it = name == "httpx._transports.default"
        return ModuleSpec(name, self) if is_it else None  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave that to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill the module."""
        base = importlib.import_module("httpx._transports.base")
        asgi = importlib.import_module("httpx._transports.asgi")
        errors = importlib.import_module("httpx._exceptions")
        find_app, hosts = self.app, self.HOSTS

        class HTTPTransport(base.BaseTransport):  # type: ignore[misc, name-defined]
            def __init__(self, **options: Any) -> None:
                pass

            def handle_request(self, request: Any) -> Any:
                raise errors.ConnectError("a page has no sockets", request=request)

        class AsyncHTTPTransport(base.AsyncBaseTransport):  # type: ignore[misc, name-defined]
            def __init__(self, **options: Any) -> None:
                pass

            async def handle_async_request(self, request: Any) -> Any:
                if (request.url.host, request.url.port) not in hosts:
                    raise errors.ConnectError("a page has no sockets", request=request)
                transport = asgi.ASGITransport(find_app(), raise_app_exceptions=False)
                return await transport.handle_async_request(request)

        module.__dict__.update(HTTPTransport=HTTPTransport, AsyncHTTPTransport=AsyncHTTPTransport)


# --- Files ----------------------------------------------------------------------------------------


def link(source: str | Path, target: str | Path) -> None:
    """Copy a file, in place of a second name for it, which Pyodide's file system cannot give.

    As with os.link, a target that is there stays, so that one of two writers fails.
    """
    with open(target, "xb") as file:
        file.write(Path(source).read_bytes())


# --- Databases ------------------------------------------------------------------------------------

sqlite3_connect = sqlite3.connect


def connect(database: Any, *args: Any, **named: Any) -> sqlite3.Connection:
    """Connect by means of SQLite's file system for databases that one process opens.

    With a write-ahead log, the usual one maps the log's index into memory. In Pyodide, each
    connection that does so leaves 128 KB that are never freed. The other one keeps the index in the
    heap. Locks among connections work as ever, because all of them are in this process.
    """
    name = os.fspath(database)
    if isinstance(name, bytes) or name in ("", ":memory:") or named.get("uri"):
        return sqlite3_connect(database, *args, **named)
    named["uri"] = True
    return sqlite3_connect(f"file:{quote(name)}?vfs=unix-excl", *args, **named)


# --- Hashes that need OpenSSL, which Pyodide does without -----------------------------------------


def scrypt(
    password: Bytes, *, salt: Bytes, n: int, r: int, p: int, maxmem: int = 0, dklen: int = 64
) -> bytes:
    """Do as hashlib.scrypt, in JavaScript."""
    if n < 2 or n & (n - 1):
        raise ValueError("n must be a power of 2")
    if 128 * n * r > (maxmem or MEMORY):
        raise ValueError("memory limit exceeded")
    made: bytes = host.scrypt(bytes(password), bytes(salt), n, r, p, dklen).to_bytes()
    return made


def pbkdf2_hmac(
    hash_name: str, password: Bytes, salt: Bytes, iterations: int, dklen: int | None = None
) -> bytes:
    """Do as hashlib.pbkdf2_hmac, in JavaScript."""
    name = hash_name.lower().replace("-", "")
    if name not in DIGESTS:
        raise ValueError(f"unsupported hash type {hash_name}")
    length = dklen or hashlib.new(name).digest_size
    made: bytes = host.pbkdf2(name, bytes(password), bytes(salt), iterations, length).to_bytes()
    return made
