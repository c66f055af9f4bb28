"""Explicit routing for MicroPie, by decorators that give each method its URL.

Copy this file beside your app.

    from routing import RoutedApp, get, websocket

    class Root(RoutedApp):
        @get("/users/{user_id:int}")
        async def _user(self, user_id):
            return {"id": user_id}

        @websocket("/rooms/{room}")
        async def _room(self, ws, room):
            await ws.accept()

- ``{name}`` takes one segment, ``{name:int}``, ``{name:float}`` and ``{name:uuid}`` one
  that can be converted, and ``{name:path}`` one or more, slashes included.
- It may be a part of a segment, and ends at the first character of the text after it.
  So of ``a-b-c.csv``, ``/{first}-{last}.csv`` makes ``a`` and ``b-c``.
- Matching takes time in proportion to the length of the path, for any path.
- Of several routes that match, literal text goes before converted parameters, these
  before ``{name}``, and ``{name:path}`` comes last; then the first declared one wins.
- A path with routes for other methods only is 405 with ``Allow``. ``OPTIONS`` is
  answered, and ``GET`` includes ``HEAD``.
- A method with a route must be private, or it could be reached by its name, past the
  rules of its route. Public methods answer at their names, if no route matches.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote
from uuid import UUID

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Request,
    WebSocketMiddleware,
    WebSocketRequest,
    current_request,
)

_F = TypeVar("_F", bound=Callable[..., Any])

CONVERTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "int": (r"-?[0-9]{1,300}", int),
    "float": (r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?", float),
    "uuid": (r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}", UUID),
}
"""Each kind of parameter: its text, of limited length so that no path takes long to
match, and what converts it (a ValueError is no match)."""

_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)(?::([A-Za-z_]\w*))?\}", re.ASCII)
_SLASH = "\ud800"  # stands for an encoded slash; no decoded path has a surrogate


class Route(NamedTuple):
    """One pattern of one method; of a WebSocket, `methods` is None."""

    pattern: str
    methods: frozenset[str] | None
    handler: str
    kinds: dict[str, str]
    expression: re.Pattern[str]

    @property
    def shape(self) -> str:
        """Return the same for two routes that match the same."""
        return _PARAMETER.sub(lambda found: f"{{{found[2] or 'str'}}}", self.pattern)

    @property
    def rank(self) -> list[int]:
        """Return a number for each segment, the less the more exact it is."""
        return [
            3 if "{path}" in one else 2 if "{str}" in one else int("{" in one)
            for one in self.shape.split("/")
        ]

    def match(self, path: str) -> list[Any] | None:
        """Return the method's arguments from a path, None if it is not this route's."""
        found = self.expression.fullmatch(path)
        if found is None:
            return None
        try:
            return [
                CONVERTERS.get(kind, ("", str))[1](found[name].replace(_SLASH, "/"))
                for name, kind in self.kinds.items()
            ]
        except ValueError:
            return None


def _expression(pattern: str) -> re.Pattern[str]:
    """Compile a pattern to an expression that never tries a place twice.

    Each parameter is possessive, which means that it never gives back what it has
    taken. So `{name}` leaves out the character that comes after it. Only `{name:path}`
    tries several ends, and there is one of it.
    """
    expression, end = "", 0
    for found in _PARAMETER.finditer(pattern):
        name, kind, after = found[1], found[2], pattern[found.end() : found.end() + 1]
        if kind in CONVERTERS:
            text = f"(?>{CONVERTERS[kind][0]})"
        else:
            text = ".+" if kind == "path" else f"[^/{re.escape(after)}]++"
        expression += re.escape(pattern[end : found.start()]) + f"(?P<{name}>{text})"
        end = found.end()
    return re.compile(expression + re.escape(pattern[end:]), re.DOTALL)


def _check(pattern: str, names: list[str], kinds: list[str]) -> None:
    """Raise a ValueError if a pattern is malformed, or could never match."""
    known, plain = {"str", "path", *CONVERTERS}, _PARAMETER.sub("", pattern)
    inside = re.search(r"[^/]{\w+:path}|:path}[^/]", pattern)
    before_digit = re.search(r":(int|float)}[0-9]", pattern)
    wrong: dict[str, object] = {
        "a pattern starts with a slash": not pattern.startswith("/"),
        "a pattern is a path alone": set("?#") & set(pattern),
        "a parameter is {name} or {name:kind}": set("{}") & set(plain),
        "a name stands twice": len(set(names)) < len(names),
        f"a kind is one of {sorted(known)}": set(kinds) - known,
        "{name:path} stands twice": kinds.count("path") > 1,
        "{name:path} is a segment of its own": inside,
        "there must be text between two parameters": "}{" in pattern,
        "a number takes the digit after it too": before_digit,
    }
    for rule, broken in wrong.items():
        if broken:
            raise ValueError(f"{rule}: {pattern!r}")


def _make_route(
    pattern: str, methods: Iterable[str] | None, function: Callable[..., Any]
) -> Route:
    """Compile a pattern, and see that the method can be called with what it finds."""
    handler = function.__name__
    if not handler.startswith("_") or handler.startswith("__"):
        reason = "a public method also answers to its name"
        raise TypeError(f"{handler} must be called _{handler.strip('_')}: {reason}")
    parameters = _PARAMETER.findall(pattern)
    kinds = {name: kind or "str" for name, kind in parameters}
    _check(pattern, [name for name, _ in parameters], list(kinds.values()))
    takes = [
        one.name
        for one in inspect.signature(function).parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    first = 1 if methods is not None else 2  # after self, and the socket
    if takes[first : first + len(kinds)] != list(kinds):
        wanted = ", ".join(kinds)
        raise TypeError(f"{pattern!r}: {handler} must take {wanted} first, not {takes}")
    allowed = None if methods is None else frozenset(name.upper() for name in methods)
    if allowed and "GET" in allowed:
        allowed |= {"HEAD"}
    return Route(
        pattern, allowed, handler, kinds, _expression(pattern.removesuffix("/"))
    )


def route(pattern: str, methods: Iterable[str] = ("GET",)) -> Callable[[_F], _F]:
    """Give a method of a `RoutedApp` a URL; several of these may stand on one method.

    The method's first parameters must be those of the pattern.
    """
    if isinstance(methods, str):
        raise TypeError(f"methods is a list of methods, not one string: [{methods!r}]")
    names = list(methods)
    if not names or not all(re.fullmatch(r"[A-Za-z-]+", name) for name in names):
        raise ValueError(f"methods has to name one HTTP method or more, not {names}")
    return _marker(pattern, names)


get = partial(route, methods=["GET"])
post = partial(route, methods=["POST"])
put = partial(route, methods=["PUT"])
patch = partial(route, methods=["PATCH"])
delete = partial(route, methods=["DELETE"])


def websocket(pattern: str) -> Callable[[_F], _F]:
    """Serve a WebSocket: the method's first parameter is the socket."""
    return _marker(pattern, None)


def _marker(pattern: str, methods: Iterable[str] | None) -> Callable[[_F], _F]:
    def mark(function: _F) -> _F:
        marked: list[Route] = function.__dict__.setdefault("_routes", [])
        marked.append(_make_route(pattern, methods, function))
        return function

    return mark


class RoutedApp(App):
    """An `App` whose methods may have routes; subclasses inherit and override them."""

    _patterns: tuple[Route, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        router = _Router(self)
        self.middlewares.append(router)
        self.ws_middlewares.append(router)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the routes, the most exact ones first."""
        super().__init_subclass__(**kwargs)
        names = dict.fromkeys(name for base in cls.__mro__[::-1] for name in vars(base))
        methods = [getattr(cls, name, None) for name in names]
        routes = [one for each in methods for one in getattr(each, "_routes", ())]
        taken: dict[tuple[str | None, str], Route] = {}
        for one in routes:
            for method in one.methods or [None]:
                other = taken.setdefault((method, one.shape), one)
                if other is not one:
                    both = f"{other.handler} and {one.handler}"
                    raise ValueError(f"{both} have the same route: {one.pattern}")
        cls._patterns = tuple(sorted(routes, key=lambda one: one.rank))

    def _url_for(self, handler: str, /, **values: Any) -> str:
        """Return the path, root path included, of the method with these parameters."""
        for one in self._patterns:
            if one.handler == handler and set(one.kinds) == set(values):
                path = _PARAMETER.sub(
                    lambda found: _quoted(found, values[found[1]]), one.pattern
                )
                root: str = current_request.get().scope.get("root_path") or ""
                return quote(root.rstrip("/")) + path
        raise LookupError(f"no route leads to {handler} with {sorted(values)}")


def _quoted(found: re.Match[str], value: object) -> str:
    return quote(str(value), safe="/" if found[2] == "path" else "")


class _Router(HttpMiddleware, WebSocketMiddleware):
    """Finds the route of each request, and leaves alone a mounted app's requests."""

    def __init__(self, app: RoutedApp) -> None:
        self.app = app

    async def before_request(self, request: Request) -> dict[str, Any] | None:
        """Choose the handler, or answer what only other methods have."""
        allowed: set[str] = set()
        for one, arguments in self._matching(request):
            if one.methods is not None and request.method in one.methods:
                request.route_handler, request.path_params = one.handler, arguments
                return None
            allowed |= one.methods or set()
        if not allowed:
            return None
        headers = {"allow": ", ".join(sorted(allowed | {"OPTIONS"}))}
        if request.method == "OPTIONS":
            return {"status_code": 204, "headers": headers}
        raise HTTPError(405, None, headers)

    async def before_websocket(self, request: WebSocketRequest) -> None:
        """Choose the handler."""
        for one, arguments in self._matching(request):
            if one.methods is None:
                request.route_handler, request.path_params = one.handler, arguments
                return

    def _matching(self, request: Request) -> Iterator[tuple[Route, list[Any]]]:
        path = _path(request)
        mounts = [prefix.rstrip("/") + "/" for prefix in self.app.mounts]
        if f"{path}/".startswith(tuple(mounts)):
            return
        for one in self.app._patterns:
            arguments = one.match(path)
            if arguments is not None:
                yield one, arguments


def _path(request: Request) -> str:
    """Return the path below the root path, without one slash at its end.

    An encoded slash stays inside its segment.
    """
    path: str = request.scope["path"]
    raw = (request.scope.get("raw_path") or b"").partition(b"?")[0]
    text = raw.decode("ascii", "replace")
    if "%2f" in text.lower() and unquote(text) == path:
        path = unquote(re.sub("%2f", _SLASH, text, flags=re.IGNORECASE))
    root = (request.scope.get("root_path") or "").rstrip("/")
    if f"{path}/".startswith(f"{root}/"):
        path = path.removeprefix(root)
    return path.removesuffix("/")
