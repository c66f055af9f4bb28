"""Authentication of programs, by a bearer token (RFC 6750)."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from micropie import HTTPError, HttpMiddleware, Request


def hash_token(token: str) -> str:
    """Return what to keep in place of a token; a random one needs no slow hash."""
    return hashlib.sha256(token.encode()).hexdigest()


class BearerAuth(HttpMiddleware):
    """Lets in who has a token, and sets ``request.user``.

    `users` has them by the hash of their token. `handlers` need one (``my_api``, not
    ``/my-api``), and mounted apps that have such a name as a segment of their path.
    """

    def __init__(self, users: Mapping[str, str], handlers: Collection[str]) -> None:
        self.users, self.handlers = users, handlers

    async def before_request(self, request: Request) -> None:
        """Let the request pass, or refuse it."""
        path = request.scope["path"].replace("-", "_").replace(".", "_")
        # A mounted app has no handler's name.
        names = {request.route_handler} - {None} or {*path.split("/")}
        if names.isdisjoint(self.handlers):
            return
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        is_bearer = scheme.lower() == "bearer"
        user = self.users.get(hash_token(token.strip())) if is_bearer else None
        if user is None:
            error = ', error="invalid_token"' if is_bearer else ""
            challenge = f'Bearer realm="api"{error}'
            headers = {"www-authenticate": challenge, "vary": "Authorization"}
            raise HTTPError(401, None, headers)
        request.user = user

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Keep what only this user may see out of shared caches."""
        if request.route_handler in self.handlers:
            headers.append(("vary", "Authorization"))
