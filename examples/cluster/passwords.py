"""Passwords are kept as scrypt hashes: slow to guess, whoever reads the database."""

import hashlib
import os
import secrets

_COST = {
    "n": 2**14,
    "r": 8,
    "p": 5,
    "dklen": 32,
}  # OWASP's parameters for 16 MiB of memory


def hash_password(password: str) -> str:
    """Return what to keep in place of a password: its salt and its hash."""
    salt = os.urandom(16)
    return f"{salt.hex()}:{hashlib.scrypt(password.encode(), salt=salt, **_COST).hex()}"


def verify_password(password: str, kept: str) -> bool:
    """Whether it is the password of which `hash_password` made what was kept."""
    salt, _, digest = kept.partition(":")
    found = hashlib.scrypt(password.encode(), salt=bytes.fromhex(salt), **_COST)
    return secrets.compare_digest(found, bytes.fromhex(digest))
