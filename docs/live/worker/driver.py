"""Drives one ASGI app inside Pyodide, as a server does: lifespan, HTTP and WebSocket.

worker.mjs calls `set_up`, `lay`, `load`, `stop`, `open_http`, `open_websocket`, `tell` and `check`.
It numbers the connections. Its objects come as proxies that Pyodide ends after the call, so they
are copied at once. The answers to the browser go through the functions of the module
`_live_host`, which worker.mjs makes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import linecache
import logging
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import _live_host as host  # type: ignore[import-not-found]
import patches
from pyodide.ffi import to_js  # type: ignore[import-not-found]

HOME = "/app"  # the folder of the app

PIECE = 2**16  # bytes of a response's body that one message carries
# Pieces, or messages of a WebSocket, that can be on their way before the browser has taken one.
WINDOW = 8

GRACE = 0.5  # seconds that open connections have to end when the app is stopped
LIFESPAN = 2.0  # seconds that the lifespan has to end

ASGI = {"version": "3.0", "spec_version": "2.3"}


class Server:
    """The app that runs, and what belongs to it."""

    app: Any = None
    lifespan: Lifespan | None = None
    state: dict[str, Any] = {}
    address = ("localhost", 80)
    scheme = "http"
    connections: dict[int, Connection] = {}
    # The variables from before the first app. They come back before each app.
    environment: dict[str, str] = {}
    warnings: list[Any] = []


# --- The app --------------------------------------------------------------------------------------


def set_up(later: Any) -> None:
    """Prepare the interpreter, once; `later` has the file of each module that is not loaded yet."""
    secure = host.protocol == "https:"
    Server.address = (host.hostname, int(host.port or (443 if secure else 80)))
    Server.scheme = "https" if secure else "http"
    sys.dont_write_bytecode = True
    sys.path.insert(0, HOME)
    os.makedirs(HOME, exist_ok=True)
    os.chdir(HOME)
    patches.apply(later.to_py(), lambda: Server.app)
    Server.environment = dict(os.environ)
    Server.warnings = list(warnings.filters)


def lay(files: Any, fresh: bool) -> None:
    """Write the app's files (name → text or bytes), in an empty folder if ``fresh``."""
    if fresh:
        empty_folder(HOME)
    write_files(HOME, files.to_py())


async def load(target: str, environment: Any) -> str:
    """Import the app anew and start it.

    Returns:
        "" if it runs. Otherwise what went wrong, for the reader.
    """
    own = environment.to_py()
    await stop()
    os.chdir(HOME)
    os.environ.clear()
    os.environ.update(Server.environment | own)
    module_name, _, variable = target.partition(":")
    try:
        module = importlib.import_module(module_name)
    except BaseException as error:
        return readable_traceback(error)
    app = getattr(module, variable, None)
    if app is None:  # in the words of uvicorn
        return (
            f'Error loading ASGI app. Attribute "{variable}" not found in module "{module_name}".'
        )
    Server.state = {}
    lifespan = Lifespan(app)
    problem = await lifespan.start()
    if problem is None:
        Server.app, Server.lifespan = app, lifespan
    return problem or ""


async def stop() -> None:
    """Close all connections, end the app and forget it."""
    Server.app = None
    connections = list(Server.connections.values())
    for connection in connections:
        connection.leave()
    await end_tasks([c.task for c in connections if c.task])
    Server.connections.clear()
    if Server.lifespan:
        await Server.lifespan.end()
    Server.lifespan = None
    # Tasks that the app has started and did not end go on in no server either.
    this = asyncio.current_task()
    await end_tasks([task for task in asyncio.all_tasks() if task is not this], grace=0)
    forget_modules(HOME)
    reset_logging()


async def end_tasks(tasks: list[asyncio.Task[Any]], grace: float = GRACE) -> None:
    """Wait for tasks to end, and cancel those that don't."""
    if not tasks:
        return
    _, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=1)


def forget_modules(folder: str) -> None:
    """Remove the modules of a folder, so that the next import reads their files again."""
    for name, module in list(sys.modules.items()):
        if is_below(folder, getattr(module, "__file__", None)):
            del sys.modules[name]
    importlib.invalidate_caches()
    linecache.clearcache()
    sys.path_importer_cache.clear()
    gc.collect()


def reset_logging() -> None:
    """Take back what an app did with `logging` and `warnings`; its handlers hold its objects."""
    for handler in logging.root.handlers[:]:
        logging.root.removeHandler(handler)
    logging.root.setLevel(logging.WARNING)
    warnings.resetwarnings()
    warnings.filters.extend(Server.warnings)  # type: ignore[attr-defined]
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger):
            logger.handlers.clear()
            logger.filters.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True
            logger.disabled = False


class Lifespan:
    """The ASGI lifespan of one app: one task for as long as the app runs."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def start(self) -> str | None:
        """Start the app. Return what went wrong, or None."""
        self.task = asyncio.ensure_future(self.run())
        self.inbox.put_nowait({"type": "lifespan.startup"})
        message = await self.outbox.get()
        if message["type"] == "lifespan.startup.failed":
            return "The app did not start. " + message.get("message", "")
        return None

    async def run(self) -> None:
        """Call the app. One that raises here knows no lifespan; as in servers, it runs without."""
        scope = {"type": "lifespan", "asgi": ASGI, "state": Server.state}
        with contextlib.suppress(Exception):
            await self.app(scope, self.inbox.get, self.outbox.put)
        self.outbox.put_nowait({"type": "ended"})

    async def end(self) -> None:
        """Tell the app to shut down and wait for it, but not for long."""
        if not self.task.done():
            self.inbox.put_nowait({"type": "lifespan.shutdown"})
            try:
                await asyncio.wait_for(self.outbox.get(), LIFESPAN)
            except TimeoutError:
                print(f"The app did not shut down in {LIFESPAN:.0f} seconds.", file=sys.stderr)
        self.task.cancel()


# --- Files and tracebacks -------------------------------------------------------------------------


def is_below(folder: str, path: str | None) -> bool:
    """Tell whether a file lies in a folder."""
    return (path or "").startswith(folder + "/")


def empty_folder(folder: str) -> None:
    """Make a folder empty. The working folder may not be removed, so it is left first."""
    os.chdir("/")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    os.chdir(folder)


def write_files(folder: str, files: dict[str, str | bytes | memoryview]) -> None:
    """Write files; their names can have folders in them."""
    for name, content in files.items():
        path = Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else bytes(content))


def readable_traceback(error: BaseException) -> str:
    """Return a traceback that begins in the reader's files.

    The frames above them are the driver's and the importer's. If no frame is the reader's, as with
    a syntax error, the message alone is left.
    """
    frames = error.__traceback__
    while frames and not is_below(HOME, frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


# --- Connections ----------------------------------------------------------------------------------


class Connection:
    """One request or one WebSocket: what comes from the browser, and what goes to it."""

    farewell: dict[str, Any]  # the message that tells the app that the client has left

    def __init__(self, number: int, scope: dict[str, Any]) -> None:
        self.number = number
        self.scope = scope
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.gone = False
        self.credit = WINDOW
        self.taken = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.begin = time.perf_counter()
        Server.connections[number] = self

    @property
    def url(self) -> str:
        """The path and the query as the app sees them, for the log."""
        path = self.scope["raw_path"].decode()[len(self.scope["root_path"]) :] or "/"
        query = self.scope["query_string"].decode()
        return f"{path}?{query}" if query else path

    def start(self) -> None:
        """Serve it in a task."""
        self.task = asyncio.ensure_future(self.serve())

    async def serve(self) -> None:
        """Call the app. Its errors go to the log."""
        try:
            await self.call_app()
        except asyncio.CancelledError:
            pass
        except BaseException as error:
            print(readable_traceback(error), end="", file=sys.stderr)
        finally:
            Server.connections.pop(self.number, None)
            self.finish()

    def put(self, message: dict[str, Any]) -> None:
        """Give the app a message."""
        self.inbox.put_nowait(message)

    def leave(self, message: dict[str, Any] | None = None) -> None:
        """The browser has left, or the app is stopped: nothing that is sent is taken any more."""
        if not self.gone:
            self.gone = True
            self.put(message or self.farewell)
        self.taken.set()

    def piece_taken(self) -> None:
        """The browser has taken one piece; the next one can go."""
        self.credit += 1
        self.taken.set()

    async def wait_for_credit(self) -> None:
        """Backpressure: wait while the browser has not taken what was sent."""
        while self.credit <= 0 and not self.gone:
            self.taken.clear()
            await self.taken.wait()

    async def call_app(self) -> None:
        """Call the app with what it needs for this connection."""
        raise NotImplementedError

    def finish(self) -> None:
        """Say that it is over: to the browser and in the log."""
        raise NotImplementedError


class Exchange(Connection):
    """One request and its response."""

    farewell = {"type": "http.disconnect"}

    def __init__(self, number: int, scope: dict[str, Any]) -> None:
        super().__init__(number, scope)
        self.head: dict[str, Any] | None = None  # the app's http.response.start
        self.is_sent = False  # the browser has the status and the headers
        self.is_over = False  # the app has sent all of the body

    async def call_app(self) -> None:
        """Call the app; it must send a whole response."""
        await Server.app(self.scope, self.receive, self.send)
        if not self.gone and not self.is_over:
            raise RuntimeError("the app returned without a complete response")

    async def receive(self) -> dict[str, Any]:
        """Give the app a piece of the body, or the news that the client has left."""
        if self.is_over:
            return self.farewell
        message = await self.inbox.get()
        if message["type"] == "http.disconnect":
            self.put(message)  # it stays true
        elif message["more_body"]:
            host.more(self.number)
        return message

    async def send(self, message: dict[str, Any]) -> None:
        """Take a part of the response."""
        kind = message["type"]
        if kind == "http.response.start" and self.head is None:
            self.head = message
        elif kind == "http.response.body" and self.head is not None and not self.is_over:
            self.is_over = not message.get("more_body", False)
            await self.send_body(message.get("body", b""))
            # Other connections have their turn, even if the app never waits for anything.
            await asyncio.sleep(0)
        else:
            raise RuntimeError(f"a server does not take the message {kind!r} now")

    async def send_body(self, body: bytes) -> None:
        """Send a part of the body, with the head before the first one."""
        pieces = [body[at : at + PIECE] for at in range(0, len(body), PIECE)] or [b""]
        for piece in pieces:
            is_last = self.is_over and piece is pieces[-1]
            if self.gone:
                return
            if not self.is_sent:
                self.send_head(piece, is_last)
            elif piece or is_last:
                await self.wait_for_credit()
                if not self.gone:
                    self.credit -= 1
                    host.chunk(self.number, to_js(piece), is_last)

    def send_head(self, piece: bytes, is_last: bool) -> None:
        """Send status and headers, with the first piece of the body."""
        assert self.head is not None
        self.is_sent = True
        headers = latin1_pairs(self.head.get("headers", ()))
        host.start(self.number, self.head["status"], to_js(headers), to_js(piece), is_last)

    def finish(self) -> None:
        """Tell the browser if the response is not complete, and write to the log."""
        if not self.is_over:
            host.fail(self.number, self.is_sent)
        status = self.head["status"] if self.head else 500
        left = ", the client left" if self.gone else ""
        milliseconds = (time.perf_counter() - self.begin) * 1000
        host.log(f"{self.scope['method']} {self.url} {status}{left} {milliseconds:.1f} ms")


class Socket(Connection):
    """One WebSocket."""

    # 1012, as from a server that is stopped. If the client leaves, it says how.
    farewell = {"type": "websocket.disconnect", "code": 1012, "reason": ""}

    def __init__(self, number: int, scope: dict[str, Any]) -> None:
        super().__init__(number, scope)
        self.is_accepted = False
        self.is_closed = False  # by the app
        # The message that closed it; 1011 if the app ends without a word.
        self.last = {"type": "websocket.disconnect", "code": 1011, "reason": ""}
        self.put({"type": "websocket.connect"})

    async def call_app(self) -> None:
        """Call the app."""
        await Server.app(self.scope, self.inbox.get, self.send)

    async def send(self, message: dict[str, Any]) -> None:
        """Take a message of the app; it goes nowhere if the client has left."""
        if not self.gone:
            self.pass_on(message)
        # Sent first, so that messages of several tasks keep their order. The sender waits then.
        await self.wait_for_credit()
        await asyncio.sleep(0)

    def pass_on(self, message: dict[str, Any]) -> None:
        """Send the browser what the app says."""
        kind = message["type"]
        if kind == "websocket.accept":
            self.is_accepted = True
            protocol = message.get("subprotocol") or ""
            headers = latin1_pairs(message.get("headers", ()))
            host.accept(self.number, protocol, to_js(headers))
            host.log(f"WebSocket {self.url} accepted")
        elif kind == "websocket.send":
            text = message.get("text")
            self.credit -= 1
            host.message(self.number, to_js(message["bytes"]) if text is None else text)
        elif kind == "websocket.close":
            self.close(message.get("code", 1000), message.get("reason") or "")
        else:
            raise RuntimeError(f"a server does not take the message {kind!r}")

    def close(self, code: int, reason: str) -> None:
        """The app closes the socket."""
        self.is_closed = True
        host.close(self.number, self.is_accepted, code, reason)
        self.leave({"type": "websocket.disconnect", "code": code, "reason": reason})

    def leave(self, message: dict[str, Any] | None = None) -> None:
        """The browser has closed the socket, or the app is stopped."""
        self.last = message or self.farewell
        super().leave(self.last)

    def finish(self) -> None:
        """Tell the browser that the socket is closed, if it does not know, and write to the log."""
        if not self.is_closed:
            code, reason = self.last["code"], self.last["reason"]
            host.close(self.number, self.is_accepted, code, reason)
        host.log(f"WebSocket {self.url} {'closed' if self.is_accepted else 'refused'}")


def make_scope(kind: str, path: str, query: str, root: str, headers: Any) -> dict[str, Any]:
    """Return what both kinds of connections tell the app."""
    secure = {"http": "https", "websocket": "wss"}
    plain = {"http": "http", "websocket": "ws"}
    return {
        "type": kind,
        "asgi": ASGI,
        "http_version": "1.1",
        "scheme": (secure if Server.scheme == "https" else plain)[kind],
        "path": unquote(path),
        "raw_path": path.encode("ascii"),
        "query_string": query.encode("ascii"),
        "root_path": unquote(root),
        "headers": [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers.to_py()
        ],
        "client": ("127.0.0.1", 50000),
        "server": Server.address,
        "state": Server.state.copy(),
    }


def latin1_pairs(headers: Iterable[tuple[bytes, bytes]]) -> list[list[str]]:
    """Return headers as JavaScript has them."""
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in headers]


def open_http(
    number: int, method: str, path: str, query: str, root: str, headers: Any, has_body: bool
) -> None:
    """Answer a request. Its body comes through `tell`."""
    exchange = Exchange(
        number, {**make_scope("http", path, query, root, headers), "method": method}
    )
    if not has_body:
        exchange.put({"type": "http.request", "body": b"", "more_body": False})
    exchange.start()


def open_websocket(
    number: int, path: str, query: str, root: str, headers: Any, protocols: Any
) -> None:
    """Serve a WebSocket."""
    scope = make_scope("websocket", path, query, root, headers)
    Socket(number, {**scope, "subprotocols": protocols.to_py()}).start()


def tell(number: int, what: str, value: Any = None, extra: Any = None) -> None:
    """Take what the browser says about a connection. It may have ended by now."""
    connection = Server.connections.get(number)
    if connection is None:
        return
    if what == "body":
        connection.put({"type": "http.request", "body": value.to_bytes(), "more_body": True})
    elif what == "end":
        connection.put({"type": "http.request", "body": b"", "more_body": False})
    elif what == "taken":
        connection.piece_taken()
    elif what == "gone":
        connection.leave()
    elif what == "text":
        connection.put({"type": "websocket.receive", "text": value})
    elif what == "bytes":
        connection.put({"type": "websocket.receive", "bytes": value.to_bytes()})
    elif what == "close":
        reason = extra or ""
        connection.leave({"type": "websocket.disconnect", "code": value, "reason": reason})


def connections() -> int:
    """Return how many connections are open."""
    return len(Server.connections)


# --- Checks of a step -----------------------------------------------------------------------------


async def check(source: str, name: str, files: Any, target: str) -> Any:
    """Run the checks of one step of the tutorial on the reader's files; see checking.py.

    The app that runs beside it keeps its modules and its folder.
    """
    checking = importlib.import_module("checking")
    results = await checking.check(source, name, files.to_py(), target=target, aside=HOME)
    return to_js(results, dict_converter=host.to_object)
