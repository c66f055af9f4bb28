"""The types of micropie.py. Written by .ci/make_stub.py: change micropie.py, then run `make stub`."""

import abc
import asyncio
import contextvars
import functools
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Annotated, Any, BinaryIO, Final, NamedTuple, TypeVar

__version__: str
__all__ = [
    "SESSION_TIMEOUT",
    "App",
    "ConnectionClosed",
    "FromSession",
    "HTTPError",
    "HttpMiddleware",
    "InMemorySessionBackend",
    "Request",
    "ServerSentEvent",
    "SessionBackend",
    "UploadedFile",
    "WebSocket",
    "WebSocketMiddleware",
    "WebSocketRequest",
    "__version__",
    "current_request",
    "delete_cookie",
    "event_stream",
    "methods",
    "set_cookie",
]
_Scope = MutableMapping[str, Any]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]
_Pair = tuple[str | bytes, str | bytes]
_Headers = Mapping[str, str] | Iterable[_Pair]
_F = TypeVar("_F", bound=Callable[..., Any])
SESSION_TIMEOUT: Final[int]

class HTTPError(Exception):
    status: int
    body: object
    headers: _Headers | None
    def __init__(self, status: int, body: object = None, headers: _Headers | None = None) -> None: ...
    def __str__(self) -> str: ...

class ConnectionClosed(Exception):
    code: int
    reason: str
    def __init__(self, code: int = 1005, reason: str = "") -> None: ...

class SessionBackend(abc.ABC):
    @abc.abstractmethod
    async def load(self, session_id: str) -> dict[str, Any]: ...
    @abc.abstractmethod
    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None: ...

class InMemorySessionBackend(SessionBackend):
    def __init__(self, *, clock: Callable[[], float] = ...) -> None: ...
    async def load(self, session_id: str) -> dict[str, Any]: ...
    async def save(self, session_id: str, data: dict[str, Any], timeout: float) -> None: ...
    async def touch(self, session_id: str, timeout: float) -> None: ...

class _Settings(NamedTuple):
    max_body_size: int | None = ...
    max_upload_size: int | None = ...
    max_form_field_size: int | None = ...
    body_timeout: float | None = 30.0

class UploadedFile(dict[str, Any]):
    raw_filename: str
    def __init__(
        self,
        filename: str,
        content_type: str = "application/octet-stream",
        content: asyncio.Queue[bytes | None] | None = None,
        *,
        file: BinaryIO | None = None,
    ) -> None: ...
    @property
    def filename(self) -> str: ...
    @property
    def content_type(self) -> str: ...
    @property
    def file(self) -> BinaryIO: ...
    def __aiter__(self) -> AsyncIterator[bytes]: ...
    async def __anext__(self) -> bytes: ...
    async def read(self, limit: int | None = None) -> bytes: ...
    async def save(self, path: str | os.PathLike[str], limit: int | None = None) -> None: ...

class Request:
    scope: _Scope
    method: str
    path_params: list[str]
    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...
    def __init__(self, scope: _Scope, _receive: _Receive | None = None, _settings: _Settings = ...) -> None: ...
    @property
    def route_handler(self) -> str | None: ...
    @route_handler.setter
    def route_handler(self, value: str | None) -> None: ...
    @property
    def query_params(self) -> dict[str, list[str]]: ...
    @property
    def body_params(self) -> dict[str, list[str]]: ...
    @property
    def get_json(self) -> Any: ...
    @property
    def files(self) -> dict[str, UploadedFile]: ...
    @property
    def headers(self) -> dict[str, str]: ...
    @property
    def cookies(self) -> dict[str, str]: ...
    @property
    def session(self) -> dict[str, Any]: ...
    @session.setter
    def session(self, value: dict[str, Any]) -> None: ...
    def regenerate_session(self) -> None: ...
    def query(self, name: str, default: Any = None) -> Any: ...
    def form(self, name: str, default: Any = None) -> Any: ...
    def json(self, name: str | None = None, default: Any = None) -> Any: ...
    async def body(self) -> bytes: ...
    def stream(self) -> AsyncIterator[bytes]: ...

class WebSocketRequest(Request): ...

current_request: contextvars.ContextVar[Request]

class WebSocket:
    accepted: bool
    session_id: str | None
    subprotocols: list[str]
    def __init__(self, receive: _Receive, send: _Send) -> None: ...
    async def accept(self, subprotocol: str | None = None, session_id: str | None = None) -> None: ...
    async def receive_text(self) -> str: ...
    async def receive_bytes(self) -> bytes: ...
    async def receive_json(self) -> Any: ...
    def __aiter__(self) -> WebSocket: ...
    async def __anext__(self) -> str | bytes: ...
    async def send_text(self, data: str) -> None: ...
    async def send_bytes(self, data: bytes) -> None: ...
    async def send_json(self, data: Any) -> None: ...
    async def close(self, code: int = 1000, reason: str | None = None) -> None: ...

class HttpMiddleware(abc.ABC):
    @abc.abstractmethod
    async def before_request(self, request: Request) -> dict[str, Any] | None: ...
    @abc.abstractmethod
    async def after_request(
        self,
        request: Request,
        status_code: int,
        response_body: Any,
        extra_headers: list[tuple[str, str]],
    ) -> dict[str, Any] | None: ...

class WebSocketMiddleware(abc.ABC):
    @abc.abstractmethod
    async def before_websocket(self, request: WebSocketRequest) -> dict[str, Any] | None: ...
    @abc.abstractmethod
    async def after_websocket(self, request: WebSocketRequest) -> None: ...

def set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = True,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> tuple[str, str]: ...

def delete_cookie(
    name: str,
    *,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = True,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> tuple[str, str]: ...

class ServerSentEvent:
    data: Any
    event: str | None
    id: str | None
    retry: int | None
    def __init__(
        self,
        data: Any,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None: ...
    def __bytes__(self) -> bytes: ...

def event_stream(
    source: AsyncIterator[Any] | Iterator[Any],
    ping: float | None = 15.0,
) -> tuple[int, Any, list[tuple[str, str]]]: ...

class _SessionMark:
    def __repr__(self) -> str: ...

_SESSION_MARK: Final[_SessionMark]
FromSession = Annotated[Any, _SESSION_MARK]

def methods(*names: str) -> Callable[[_F], _F]: ...

class App:
    middlewares: list[HttpMiddleware]
    ws_middlewares: list[WebSocketMiddleware]
    startup_handlers: list[Callable[[], Any]]
    shutdown_handlers: list[Callable[[], Any]]
    mounts: dict[str, _ASGIApp]
    session_backend: SessionBackend
    _started: bool
    def __init__(
        self,
        session_backend: SessionBackend | None = None,
        *,
        debug: bool = False,
        session_timeout: float = ...,
        session_cookie_secure: bool | None = None,
        session_cookie_path: str | None = None,
        allowed_origins: Iterable[str] = (),
        max_body_size: int | None = ...,
        max_upload_size: int | None = ...,
        max_form_field_size: int | None = ...,
        body_timeout: float | None = 30.0,
    ) -> None: ...
    @property
    def request(self) -> Request: ...
    @functools.cached_property
    def env(self) -> Any: ...
    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None: ...
    async def _asgi_app_http(self, scope: _Scope, receive: _Receive, send: _Send) -> None: ...
    async def _send_response(
        self,
        send: _Send,
        status_code: int,
        body: Any,
        extra_headers: _Headers | None = None,
    ) -> None: ...
    async def _asgi_app_websocket(self, scope: _Scope, receive: _Receive, send: _Send) -> None: ...
    async def _send_websocket_close(self, send: _Send, code: int, reason: str | None = None) -> None: ...
    async def _asgi_app_lifespan(self, receive: _Receive, send: _Send) -> None: ...
    def _redirect(
        self,
        location: str,
        status: int = 302,
        headers: _Headers | None = None,
    ) -> tuple[int, None, list[tuple[str, str]]]: ...
    async def _render_template(self, name: str, /, **context: Any) -> str: ...
    def _parse_cookies(self, cookie_header: str) -> dict[str, str]: ...
    async def _parse_multipart(
        self,
        reader: asyncio.StreamReader,
        boundary: bytes,
    ) -> tuple[dict[str, list[str]], dict[str, UploadedFile]]: ...
