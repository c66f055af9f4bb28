"""A middleware that notes when it runs, and does what a test says."""

from __future__ import annotations

from typing import Any

from micropie import HttpMiddleware, Request, WebSocketMiddleware, WebSocketRequest


class Note(HttpMiddleware, WebSocketMiddleware):
    """Notes when it runs; returns, raises or calls `before` and `after`, by their kind.

    It appends the headers that `appends` names, and `seen` has what `after_request` was given.
    """

    seen: tuple[int, Any, list[Any]]

    def __init__(
        self,
        notes: list[Any],
        name: str = "m",
        before: Any = None,
        after: Any = None,
        appends: Any = (),
    ) -> None:
        self.notes = notes
        self.name = name
        self.before = before
        self.after = after
        self.appends = appends

    async def before_request(self, request: Request) -> Any:
        self.notes.append(f"before {self.name}")
        return outcome(self.before, request)

    async def after_request(
        self, request: Request, status_code: int, response_body: Any, extra_headers: Any
    ) -> Any:
        self.notes.append(f"after {self.name} {status_code}")
        self.seen = (status_code, response_body, list(extra_headers))
        extra_headers.extend(self.appends)
        return outcome(self.after, request)

    async def before_websocket(self, request: WebSocketRequest) -> Any:
        self.notes.append(f"before {self.name}")
        return outcome(self.before, request)

    async def after_websocket(self, request: WebSocketRequest) -> Any:
        self.notes.append(f"after {self.name}")
        return outcome(self.after, request)


def outcome(wanted: Any, request: Request) -> Any:
    if isinstance(wanted, BaseException):
        raise wanted
    return wanted(request) if callable(wanted) else wanted
