"""Mends what works differently in Pyodide, so that an app runs there unchanged."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from typing import Any
from urllib.parse import quote

DEFAULT_MEMORY = 32 * 2**20  # bytes that scrypt may use, as in OpenSSL


def apply() -> None:
    """Mend all of it, once."""
    keep_index_in_memory()


def keep_index_in_memory() -> None:
    """Make sqlite3.connect() use SQLite's file system for databases that one process opens.

    With a write-ahead log, the usual one maps the log's index into memory. In Pyodide, each
    connection that does so leaves 128 KB that are never freed. The other one keeps the index in the
    heap. Locks among connections work as ever, because all of them are in this process.
    """
    real = sqlite3.connect

    def connect(database: Any, *args: Any, **named: Any) -> sqlite3.Connection:
        name = os.fspath(database)
        if isinstance(name, bytes) or name in ("", ":memory:") or named.get("uri"):
            return real(database, *args, **named)
        named["uri"] = True
        return real(f"file:{quote(name)}?vfs=unix-excl", *args, **named)

    sqlite3.connect = sqlite3.dbapi2.connect = connect  # type: ignore[assignment]


def add_hashes(hashes: Any) -> None:
    """Give hashlib the functions that need OpenSSL, from JavaScript (hashes.mjs)."""

    def scrypt(
        password: bytes | bytearray | memoryview,
        *,
        salt: bytes | bytearray | memoryview,
        n: int,
        r: int,
        p: int,
        maxmem: int = 0,
        dklen: int = 64,
    ) -> bytes:
        if n < 2 or n & (n - 1):
            raise ValueError("n must be a power of 2")
        if n * r * 128 > (maxmem or DEFAULT_MEMORY):
            raise ValueError("memory limit exceeded")
        made = hashes.scrypt(bytes(password), bytes(salt), n, r, p, dklen)
        return bytes(made.to_bytes())

    def pbkdf2_hmac(
        hash_name: str,
        password: bytes | bytearray | memoryview,
        salt: bytes | bytearray | memoryview,
        iterations: int,
        dklen: int | None = None,
    ) -> bytes:
        name = hash_name.lower().replace("-", "")
        if name not in ("sha1", "sha256", "sha384", "sha512"):
            raise ValueError(f"unsupported hash type {hash_name}")
        length = dklen or hashlib.new(name).digest_size
        made = hashes.pbkdf2(name, bytes(password), bytes(salt), iterations, length)
        return bytes(made.to_bytes())

    hashlib.scrypt = scrypt
    hashlib.pbkdf2_hmac = pbkdf2_hmac
