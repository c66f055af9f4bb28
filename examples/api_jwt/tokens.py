"""Access tokens are JWTs that live for minutes. Refresh tokens rotate."""

import hashlib
import os
import secrets
import sqlite3
import time
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from micropie import HTTPError, HttpMiddleware, Request, WebSocketMiddleware

from database import DATABASE, transaction

JWT_KEY = os.environ.get("JWT_KEY", "")
CLAIMS = {"iss": os.environ.get("JWT_ISSUER", "accounts"), "aud": "api"}
ALGORITHM = "HS256"  # never taken from a token
ACCESS_SECONDS = 10 * 60
REFRESH_SECONDS = 30 * 24 * 3600


@cache
def signing_key() -> str:
    """Return the key from the environment, or the one that the first start made."""
    if JWT_KEY and len(JWT_KEY) < 32:
        raise ValueError("JWT_KEY must have at least 32 characters")
    return JWT_KEY or kept_secret(DATABASE.with_name("jwt.key"))


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which the first start makes."""
    if not path.exists():
        own = path.with_name(secrets.token_hex(8))
        own.touch(0o600)
        own.write_text(secrets.token_hex(32))
        # A link replaces no file. So processes that start together share one secret.
        try:
            path.hardlink_to(own)
        except (OSError, NotImplementedError):  # it is there, or there are no links
            if not path.exists():
                own.replace(path)
        own.unlink(missing_ok=True)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise ValueError(f"{path} needs 32 characters. A start without it makes some.")
    return secret


class BearerTokens(HttpMiddleware, WebSocketMiddleware):
    """Lets requests with a valid access token through; sets ``request.user_id``."""

    async def before_request(self, request: Request) -> None:
        """Check the header ``Authorization`` (RFC 6750)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        try:
            claims = jwt.decode(
                token if scheme.lower() == "bearer" else "",
                signing_key(),
                algorithms=[ALGORITHM],
                issuer=CLAIMS["iss"],
                audience=CLAIMS["aud"],
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidTokenError:
            challenge = 'Bearer error="invalid_token"' if scheme else "Bearer"
            headers = {"www-authenticate": challenge}
            raise HTTPError(401, "Send an access token", headers) from None
        request.user_id = int(claims["sub"])

    before_websocket = before_request


def start_family(user_id: int) -> dict[str, Any]:
    """Return the tokens for a login; forget those of all users that have expired."""
    with transaction() as connection:
        delete = "DELETE FROM refresh_tokens WHERE expires < ?"
        connection.execute(delete, (time.time(),))
        return _issue(connection, user_id, secrets.token_hex(16))


def rotate(refresh_token: str) -> dict[str, Any]:
    """Use up a refresh token, and return new tokens."""
    use = """UPDATE refresh_tokens SET used = 1 WHERE hash = ? AND used = 0
             AND expires > ? RETURNING user_id, family"""
    values = (_hash(refresh_token), time.time())
    with transaction() as connection:
        for user_id, family in connection.execute(use, values).fetchall():
            return _issue(connection, user_id, family)
    revoke(refresh_token)  # it comes a second time: a thief might have a copy
    raise HTTPError(400, "The refresh token is invalid or expired")


def revoke(refresh_token: str) -> None:
    """End all refresh tokens of the login that this one stems from."""
    family = "SELECT family FROM refresh_tokens WHERE hash = ?"
    delete = f"DELETE FROM refresh_tokens WHERE family = ({family})"
    with transaction() as connection:
        connection.execute(delete, (_hash(refresh_token),))


def _issue(connection: sqlite3.Connection, user_id: int, family: str) -> dict[str, Any]:
    now = int(time.time())
    refresh_token = secrets.token_urlsafe(32)
    row = (_hash(refresh_token), family, user_id, now + REFRESH_SECONDS)
    connection.execute("INSERT INTO refresh_tokens VALUES (?, ?, ?, ?, 0)", row)
    claims = CLAIMS | {"sub": str(user_id), "iat": now, "exp": now + ACCESS_SECONDS}
    return {
        "access_token": jwt.encode(claims, signing_key(), ALGORITHM),
        "token_type": "Bearer",
        "expires_in": ACCESS_SECONDS,
        "refresh_token": refresh_token,
    }


def _hash(token: str) -> str:
    """Return what the database keeps; 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()
