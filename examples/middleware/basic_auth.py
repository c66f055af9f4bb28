"""Authentication of people by HTTP Basic (RFC 7617), for HTTPS only."""

import base64
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from micropie import HTTPError, HttpMiddleware, Request

CHALLENGE = {
    "www-authenticate": 'Basic realm="admin", charset="UTF-8"',
    "vary": "Authorization",
}


class BasicAuth(HttpMiddleware):
    """Lets in who knows a name and its password, and sets ``request.user``.

    The browser asks for both, and sends them with every request, even if a foreign page
    has caused it. So a form behind it needs a CSRF token. `users` has long random
    passwords by name. `handlers` need one, and mounted apps with such a path segment.
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
        name, password = _credentials(request.headers.get("authorization", ""))
        expected = self.users.get(name, "")
        fits = secrets.compare_digest(password.encode(), expected.encode())
        if not (fits and expected):
            raise HTTPError(401, None, CHALLENGE)
        request.user = name

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Keep what only this user may see out of shared caches."""
        if request.route_handler in self.handlers:
            headers.append(("vary", "Authorization"))


def _credentials(header: str) -> tuple[str, str]:
    """Return the name and the password, both empty if there are none."""
    scheme, _, encoded = header.partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except ValueError:  # neither base64 nor UTF-8
        text = ""
    name, _, password = text.partition(":")
    return (name, password) if scheme.lower() == "basic" else ("", "")
