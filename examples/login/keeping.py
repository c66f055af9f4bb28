"""A login that lasts when the browser is closed, if the user wants that."""

import time
from typing import Any

from micropie import (
    App,
    HttpMiddleware,
    Request,
    WebSocketMiddleware,
    current_request,
)

HOUR = 60 * 60.0
SHORT, KEPT = 12 * HOUR, 30 * 24 * HOUR  # seconds from the login to its end


def log_in(request: Request, user_id: int, keep: bool, **more: Any) -> None:
    """Begin the session of a user who has proved who they are."""
    ends = time.time() + (KEPT if keep else SHORT)
    request.session.update(user_id=user_id, keep=keep, ends=ends, **more)
    request.regenerate_session()  # its id is one that no one else can know


class EndLogins(HttpMiddleware, WebSocketMiddleware):
    """Ends the sessions whose time is over, for WebSockets too."""

    async def before_request(self, request: Request) -> None:
        """Empty such a session."""
        session = request.session
        if "user_id" in session and time.time() > session.get("ends", 0):
            session.clear()

    before_websocket = before_request


class KeepingApp(App):
    """Gives the session cookie a ``Max-Age`` if the session has ``keep``.

    There is no other cookie, so a page of another site can neither set nor delete one.
    """

    def __init__(
        self, *args: Any, session_cookie_name: str = "session_id", **options: Any
    ) -> None:
        options = {"session_timeout": KEPT, **options}
        super().__init__(*args, session_cookie_name=session_cookie_name, **options)
        self._cookie = f"{session_cookie_name}=".encode()
        # The first of all, since the others believe what the session says.
        self.middlewares.append(EndLogins())
        self.ws_middlewares.append(EndLogins())

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, and complete the cookie in the response."""

        async def send_kept(message: Any) -> None:
            if "headers" in message:
                headers = [
                    (key, self._kept(key, text)) for key, text in message["headers"]
                ]
                message = {**message, "headers": headers}
            await send(message)

        await super().__call__(scope, receive, send_kept)

    def _kept(self, name: bytes, value: bytes) -> bytes:
        is_session = name == b"set-cookie" and value.startswith(self._cookie)
        if is_session and b"Max-Age" not in value:  # else it is deleted
            session = current_request.get().session
            if session.get("keep"):
                value += b"; Max-Age=%d" % (session["ends"] - time.time())
        return value
