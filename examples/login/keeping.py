"""Lets a browser keep the session cookie when it is closed, if the user wants that."""

import time
from typing import Any

from micropie import App, current_request

SHORT, KEPT = 12 * 60 * 60.0, 30 * 24 * 60 * 60.0  # seconds from the login to its end


class KeepingApp(App):
    """Gives the session cookie an end if the session has ``keep`` and ``ends``.

    There is no other cookie, so a page of another site can neither set nor delete one.
    """

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, and complete the cookie in the response."""

        async def send_kept(message: Any) -> None:
            if "headers" in message:
                headers = [(key, _kept(key, text)) for key, text in message["headers"]]
                message = {**message, "headers": headers}
            await send(message)

        await super().__call__(scope, receive, send_kept)


def _kept(name: bytes, value: bytes) -> bytes:
    is_session = name == b"set-cookie" and value.startswith(b"session_id=")
    if is_session and b"Max-Age" not in value:  # else it is deleted
        session = current_request.get().session
        if session.get("keep"):
            value += b"; Max-Age=%d" % (session["ends"] - time.time())
    return value
