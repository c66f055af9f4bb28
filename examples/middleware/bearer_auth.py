"""Authentication of programs, by a bearer token (RFC 6750)."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from micropie import HttpMiddleware, Request


def hash_token(token: str) -> str:
    """Return what to keep in place of a token; a random one needs no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


class BearerAuth(HttpMiddleware):
    """Lets in who has a token, and sets ``request.user``.

    Args:
        users: The users, by the hash of their token.
        handlers: Names of handlers that need one: ``my_api``, not ``/my-api``.
        realm: What the token is for.
    """

    def __init__(
        self, users: Mapping[str, str], handlers: Collection[str], realm: str = "api"
    ) -> None:
        self.users = users
        self.handlers = handlers
        self.realm = realm

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if request.route_handler not in self.handlers:
            return None
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        user = (
            self.users.get(hash_token(token.strip()))
            if scheme.lower() == "bearer"
            else None
        )
        if user is not None:
            request.user = user
            return None
        error = ', error="invalid_token"' if scheme.lower() == "bearer" else ""
        headers = {
            "www-authenticate": f'Bearer realm="{self.realm}"{error}',
            "content-type": "text/plain; charset=utf-8",
        }
        return {"status_code": 401, "body": "401 Unauthorized", "headers": headers}

    async def after_request(
        self,
        request: Request,
        status: int,
        body: Any,
        headers: list[tuple[str, str]],
    ) -> None:
        """Keep what only this user may see out of shared caches."""
        if request.route_handler in self.handlers:
            headers.append(("vary", "Authorization"))
