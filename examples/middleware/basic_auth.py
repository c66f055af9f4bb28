"""Authentication of people by HTTP Basic (RFC 7617), for HTTPS only.

The browser asks for name and password.
"""

import base64
import binascii
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from micropie import HttpMiddleware, Request


class BasicAuth(HttpMiddleware):
    """Lets in who knows a name and its password, and sets ``request.user``.

    Browsers send the password with every request, also with one that a foreign page
    has caused: a form behind it needs a CSRF token too.

    Args:
        users: The passwords, by name: long random ones, as for a page that only the
            operators see.
        handlers: The names of the handlers that need one. Not paths: ``/my-api`` and
            ``/my_api`` are one handler.
        realm: What the browser shows when it asks.
    """

    def __init__(
        self,
        users: Mapping[str, str],
        handlers: Collection[str],
        realm: str = "admin",
    ) -> None:
        self.users = users
        self.handlers = handlers
        self.realm = realm

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Let the request pass, or refuse it."""
        if request.route_handler not in self.handlers:
            return None
        name, password = _credentials(request.headers.get("authorization", ""))
        expected = self.users.get(name, "")
        if secrets.compare_digest(password.encode(), expected.encode()) and expected:
            request.user = name
            return None
        headers = {
            "www-authenticate": f'Basic realm="{self.realm}", charset="UTF-8"',
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


def _credentials(header: str) -> tuple[str, str]:
    """Return the name and the password, both empty where there are none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    name, _, password = text.partition(":")
    return name, password
