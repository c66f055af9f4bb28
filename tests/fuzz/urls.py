"""The query string, the path, and what is below a mount."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

from micropie import App, HTTPError, Request
from tests.fuzz.inputs import Input, ask, target


def pairs_of(data: bytes) -> dict[str, list[str]]:
    """Read a query as the standard library reads its parts.

    MicroPie decodes raw bytes first, so one character cannot be half raw and half escaped.
    """
    data = data.decode("utf-8", "replace").encode()
    found: dict[str, list[str]] = {}
    for pair in data.split(b"&"):
        if pair:
            parts = pair.replace(b"+", b" ").partition(b"=")[::2]
            name, value = (unquote_to_bytes(part).decode("utf-8", "replace") for part in parts)
            found.setdefault(name, []).append(value)
    return found


@target(b"%", b"=", b"&", b"+", b"%26", b"%3D", b"%FF", b"%C3%A9", b"\\x", b"a=1&")
def query(data: bytes) -> None:
    """A query is what the standard library makes of it, or 413 for 1,000 ampersands and more."""
    request = Request({"type": "http", "query_string": data})
    try:
        seen = request.query_params
    except HTTPError as error:
        assert (error.status, data.count(b"&") >= 1000) == (413, True)
        return
    assert seen == pairs_of(data)
    assert all(request.query(name) == values[0] for name, values in seen.items())


class Paths(App):
    """Handlers that tell what they got; `MOST` says how many arguments they take."""

    secret = "no page"
    Inner = dict

    async def index(self, *rest: str) -> Any:
        return ["index", *rest]

    async def greet(self, name: str) -> Any:
        return ["greet", name]

    async def about_us(self) -> Any:
        return ["about_us"]

    async def two(self, first: str, second: str = "") -> Any:
        return ["two", first, second]

    async def _private(self) -> Any:
        raise AssertionError("a private name was reached")

    async def ws_socket(self, ws: Any) -> Any:
        raise AssertionError("a WebSocket handler was reached by HTTP")

    @property
    def computed(self) -> Any:
        raise AssertionError("a property was reached")


MOST = {"index": 10**6, "greet": 1, "about_us": 0, "two": 2}  # arguments


def page_of(path: str, root: str) -> list[str] | None:
    """Return the page of a path as the reference describes it; None is a 404."""
    prefix = "/" + root.strip("/") if root.strip("/") else ""
    if prefix and (path + "/").startswith(prefix + "/"):
        path = path[len(prefix) :]
    if path and not path.startswith("/"):
        return None
    segments = path[1:].removesuffix("/").split("/") if path not in ("", "/") else []
    name = segments[0] if segments else "index"
    name = name if name in MOST else name.replace("-", "_").replace(".", "_")
    if name in MOST:
        arguments = segments[1:]
    elif segments[0].startswith("_"):
        return None
    else:
        name, arguments = "index", segments
    if len(arguments) > MOST[name]:
        return None
    return [name, *arguments, *[""] * (name == "two" and len(arguments) == 1)]


@target(b"/", b"//", b"greet/", b"about-us", b"two/a/b", b"_private", b"ws_socket", b"..", b"/app")
def path(data: bytes) -> None:
    """A path reaches the handler that the reference names, and nothing else of the class."""
    given = Input(data)
    root = given.pick(["", "/app", "/app/", "/", "app"])
    sent = given.rest().decode("utf-8", "replace")
    response = ask(Paths(), path=sent, scope={"root_path": root})
    expected = page_of(sent, root)
    if expected is None:
        assert response.status == 404, response
    elif expected[0] in ("greet", "two") and len(expected) == 1:
        assert response.status == 400, response  # the argument is missing
    else:
        assert (response.status, response.json()) == (200, expected)


async def _mounted(scope: Any, receive: Any, send: Any) -> None:
    root, path = scope["root_path"], scope["path"]
    assert path == root or path.startswith(root + "/"), (root, path)
    body = f"{root}|{path[len(root) :]}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


@target(b"/static", b"/static/", b"/static/deep", b"/staticx", b"/app", b"//", b"..")
def mount(data: bytes) -> None:
    """A mounted app gets whole segments below the longest prefix, and the rest is a 404."""
    given = Input(data)
    root = given.pick(["", "/app"])
    app = App()
    app.mounts = {"/static": _mounted, "/static/deep/": _mounted, "/a b": _mounted}
    sent = given.rest().decode("utf-8", "replace")
    response = ask(app, path=sent, scope={"root_path": root})
    below = sent[len(root) :] if (sent + "/").startswith(root + "/") else sent
    for prefix in ("/static/deep", "/static", "/a b"):
        if below == prefix or below.startswith(prefix + "/"):
            assert response.text == f"{root}{prefix}|{below[len(prefix) :]}"
            return
    assert response.status == 404
