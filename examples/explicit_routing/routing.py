"""Explicit routing for MicroPie, by decorators that give each method its URL.

Copy this file beside your app.

    from routing import RoutedApp, get, put, websocket

    class Root(RoutedApp):
        @get("/users/{user_id:int}")
        async def _user(self, user_id):
            return {"id": user_id}

        @put("/users/{user_id:int}")
        async def _rename_user(self, user_id, name: str):
            return {"id": user_id, "name": name}

        @websocket("/rooms/{room}")
        async def _room(self, ws, room):
            await ws.accept()

Public methods go on answering the URL of their name where no route matches. The rules:

- ``{name}`` takes one segment, ``{name:int}``, ``{name:float}`` and ``{name:uuid}`` one
  that can be converted, and ``{name:path}`` one or more, slashes included. It may be a
  part of a segment, as in ``/report-{year:int}.csv``.
- If a segment has several, there is text between them, and the first ``{name}`` takes
  as much as it can: of ``a-b-c.csv``, ``/{first}-{last}.csv`` makes ``a-b`` and ``c``.
  A converted one takes all that fits its kind.
- Matching takes time in proportion to the length of the path, for any path.
- Of several routes that match, literal text goes before converted parameters, these
  before ``{name}``, and ``{name:path}`` comes last; then the order of declaration
  decides.
- A path with routes for other methods only is 405 with ``Allow``; ``OPTIONS`` is
  answered; ``GET`` includes ``HEAD``.
- A method with a route must be private, or it could be reached by its name, past the
  rules of its route.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, unquote
from uuid import UUID

from micropie import (
    App,
    HttpMiddleware,
    Request,
    WebSocketMiddleware,
    WebSocketRequest,
    current_request,
)

_F = TypeVar("_F", bound=Callable[..., Any])

_PARAMETER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z_][A-Za-z0-9_]*))?\}")


CONVERTERS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "str": (r".+", str),
    "path": (r".+", str),
    "int": (r"-?[0-9]{1,300}", int),
    "float": (r"-?[0-9]{1,300}(?:\.[0-9]{1,300})?", float),
    "uuid": (r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}", UUID),
}
"""Each kind of parameter: its text, and what converts it (a ValueError is no match).

Your own patterns should limit their length, too, or a client can make a path that takes
long to match.
"""


class Segment(NamedTuple):
    """One segment of a pattern.

    One regular expression with two ``.+`` would try each place of the first with each
    place of the second. So the segment is cut at each ``{name}``, and between them are
    chunks of text and converted parameters. Each chunk is looked for once, the last one
    first, as far to the right as it can be. So the time grows with the length alone.

    Attributes:
        shape: The same for two segments that match the same.
        free: The names of the ``{name}`` between the chunks.
        chunks: An expression for the first chunk, and one for each ``{name}``, which
            finds the chunk behind it.
    """

    shape: str
    free: tuple[str, ...]
    chunks: tuple[re.Pattern[str], ...]

    def match(self, text: str) -> dict[str, str] | None:
        """Return the texts of the parameters, None if it does not match."""
        first = self.chunks[0].match(text)
        if first is None:
            return None
        found, places, most = first.groupdict(), [(0, first.end())], len(text)
        for chunk in self.chunks[:0:-1]:
            last = _rightmost(chunk, text, first.end() + 1, most)
            if last is None:
                return None
            found |= last.groupdict()
            places.insert(1, (last.start(), last.end(1)))
            most = last.start() - 1  # a parameter has one character at least
        for name, (_, start), (end, _) in zip(
            self.free, places, places[1:], strict=False
        ):
            found[name] = text[start:end]
        return found


def _rightmost(
    chunk: re.Pattern[str], text: str, least: int, most: int
) -> re.Match[str] | None:
    """Return the last place of a chunk that starts at `least` and ends at `most`.

    It can start later, and end before.
    """
    found = None
    for one in chunk.finditer(text, least):
        if least <= one.start() and one.end(1) <= most:
            found = one
    return found


class Route(NamedTuple):
    """One pattern of one method.

    Attributes:
        pattern: As it was declared.
        methods: The HTTP methods; None for a WebSocket.
        handler: The name of the method of the app.
        names: The parameters, in the order in which the method takes them.
    """

    pattern: str
    methods: frozenset[str] | None
    handler: str
    names: tuple[str, ...]
    kinds: dict[str, str]
    segments: tuple[Segment, ...]
    rank: tuple[int, ...]

    def match(self, segments: list[str]) -> list[Any] | None:
        """Return the method's arguments from a path, None if it is not this route's."""
        extra = len(segments) - len(self.segments)
        if extra:
            if extra < 0 or _PATH_RANK not in self.rank:
                return None
            first = self.rank.index(_PATH_RANK)  # takes all that the others leave
            rest = "/".join(segments[first : first + extra + 1])
            segments = [*segments[:first], rest, *segments[first + extra + 1 :]]
        found: dict[str, Any] = {}
        for pattern, segment in zip(self.segments, segments, strict=True):
            matched = pattern.match(segment)
            if matched is None:
                return None
            found.update(matched)
        try:
            return [CONVERTERS[self.kinds[name]][1](found[name]) for name in self.names]
        except ValueError:
            return None


_PATH_RANK = 3


def _rank(kinds: list[str], pattern: str) -> int:
    if "path" in kinds:
        if not _PARAMETER.fullmatch(pattern):
            raise ValueError(
                f"{{name:path}} must be a segment of its own, not a part of {pattern!r}"
            )
        return _PATH_RANK
    return 0 if not kinds else 2 if "str" in kinds else 1


def _compiled(segment: str) -> tuple[Segment, dict[str, str], int]:
    """Return what a segment matches, its parameters' kinds, and its rank."""
    kinds: dict[str, str] = {}
    shape, free, chunks, end = "", [], [""], 0
    for found in _PARAMETER.finditer(segment):
        name, kind, before = found[1], found[2] or "str", segment[end : found.start()]
        if kind not in CONVERTERS:
            raise ValueError(
                f"unknown kind {kind!r} in {segment!r}: there are {sorted(CONVERTERS)}"
            )
        if name in kinds:
            raise ValueError(f"{{{name}}} stands twice in {segment!r}")
        _check_text_between(segment, list(kinds.values()), before)
        kinds[name] = kind
        shape += f"{before}{{{kind}}}"
        chunks[-1] += re.escape(before)
        if CONVERTERS[kind][0] == ".+":
            free.append(name)
            chunks.append("")
        else:  # atomic: it never gives back what it has taken, to try with less
            chunks[-1] += f"(?P<{name}>(?>{CONVERTERS[kind][0]}))"
        end = found.end()
    if set(_PARAMETER.sub("", segment)) & set("{}"):
        raise ValueError(
            f"a parameter is {{name}} or {{name:kind}}, not what {segment!r} has"
        )
    if kinds and segment[end:]:
        _check_text_between(segment, list(kinds.values()), segment[end:])
    chunks[-1] += re.escape(segment[end:]) + r"\Z"
    first, *rest = chunks
    expressions = [first, *(f"(?=({chunk}))" for chunk in rest)]
    made = Segment(
        shape + segment[end:],
        tuple(free),
        tuple(re.compile(one, re.DOTALL) for one in expressions),
    )
    return made, kinds, _rank(list(kinds.values()), segment)


def _check_text_between(segment: str, kinds: list[str], text: str) -> None:
    """See that a parameter can end before a text.

    Args:
        segment: The segment, for the message.
        kinds: The kinds of the parameters so far.
        text: The text after the last one of them.

    Raises:
        ValueError: Nothing says where the parameter ends, so that it could never match.
    """
    if kinds and not text:
        raise ValueError(f"there must be text between two parameters of {segment!r}")
    if kinds and kinds[-1] in {"int", "float"} and text[0] in "0123456789":
        raise ValueError(
            f"{{name:{kinds[-1]}}} in {segment!r} takes the digit after it too"
        )


def _make_route(
    pattern: str, methods: Iterable[str] | None, function: Callable[..., Any]
) -> Route:
    """Compile a pattern, and see that the method can be called with what it finds.

    Raises:
        ValueError: The pattern is malformed.
        TypeError: The method is public, or its parameters are not those of the pattern.
    """
    handler = function.__name__
    if not handler.startswith("_") or handler.startswith("__"):
        raise TypeError(
            f"{handler} must be called _{handler.strip('_')}: "
            "a public method also answers to its name"
        )
    if not pattern.startswith("/"):
        raise ValueError(f"a pattern starts with a slash, unlike {pattern!r}")
    if set("?#") & set(pattern):
        raise ValueError(
            f"a pattern is a path alone, without query, unlike {pattern!r}"
        )
    compiled = [_compiled(segment) for segment in _split(pattern)]
    kinds = {name: kind for _, names, _ in compiled for name, kind in names.items()}
    rank = tuple(rank for _, _, rank in compiled)
    if (
        len(kinds) < sum(len(names) for _, names, _ in compiled)
        or rank.count(_PATH_RANK) > 1
    ):
        raise ValueError(f"{pattern!r} has a name twice, or {{name:path}} twice")
    parameters = list(inspect.signature(function).parameters.values())[
        1 if methods is not None else 2 :
    ]
    takes = [
        one.name
        for one in parameters
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    names = takes[: len(kinds)]
    if set(names) != set(kinds):
        raise TypeError(
            f"{pattern!r}: the first parameters of {handler} must be "
            f"{', '.join(kinds)}, not {names}"
        )
    allowed = None if methods is None else frozenset(name.upper() for name in methods)
    if allowed and "GET" in allowed:
        allowed |= {"HEAD"}
    return Route(
        pattern,
        allowed,
        handler,
        tuple(names),
        kinds,
        tuple(one for one, _, _ in compiled),
        rank,
    )


def route(pattern: str, methods: Iterable[str] = ("GET",)) -> Callable[[_F], _F]:
    """Give a method of a `RoutedApp` a URL; several of these may stand on one method.

    Args:
        pattern: Such as ``/users/{user_id:int}``. The method's first parameters must
            have the names of its parameters.
        methods: The HTTP methods that it answers.

    Raises:
        TypeError: The methods are one string.
        ValueError: There is no method, or something that cannot be one.
    """
    if isinstance(methods, str):
        raise TypeError(f"methods is a list of methods, not one string: [{methods!r}]")
    names = list(methods)
    if not names or not all(re.fullmatch(r"[A-Za-z-]+", name) for name in names):
        raise ValueError(f"methods has to name one HTTP method or more, not {names}")
    return _marker(pattern, names)


def get(pattern: str) -> Callable[[_F], _F]:
    """Answer ``GET`` and ``HEAD``."""
    return _marker(pattern, ["GET"])


def post(pattern: str) -> Callable[[_F], _F]:
    """Answer ``POST``."""
    return _marker(pattern, ["POST"])


def put(pattern: str) -> Callable[[_F], _F]:
    """Answer ``PUT``."""
    return _marker(pattern, ["PUT"])


def patch(pattern: str) -> Callable[[_F], _F]:
    """Answer ``PATCH``."""
    return _marker(pattern, ["PATCH"])


def delete(pattern: str) -> Callable[[_F], _F]:
    """Answer ``DELETE``."""
    return _marker(pattern, ["DELETE"])


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
    """An `App` whose methods may have routes.

    Subclasses and mixins inherit them, and may override the methods.
    """

    _patterns: tuple[Route, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        router = _Router(self)
        self.middlewares.append(router)
        self.ws_middlewares.append(router)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Collect the routes, the most exact ones first.

        Raises:
            ValueError: Two methods have the same route.
        """
        super().__init_subclass__(**kwargs)
        taken: dict[tuple[Any, ...], Route] = {}
        for one in _declared(cls):
            shape = tuple(segment.shape for segment in one.segments)
            for method in one.methods or [None]:
                other = taken.setdefault((method, one.rank, *shape), one)
                if other is not one:
                    raise ValueError(
                        f"{other.handler} and {one.handler} have the same route: "
                        f"{one.pattern}"
                    )
        cls._patterns = tuple(sorted(_declared(cls), key=lambda one: one.rank))

    def _url_for(self, handler: str, /, **values: Any) -> str:
        """Return the path, root path included, of the method with these parameters.

        Raises:
            LookupError: There is none.
        """
        for one in self._patterns:
            if one.handler == handler and set(one.names) == set(values):
                path = _PARAMETER.sub(
                    lambda found: _quoted(found, values[found[1]]), one.pattern
                )
                root: str = current_request.get().scope.get("root_path") or ""
                return quote(root.rstrip("/")) + path
        raise LookupError(f"no route leads to {handler} with {sorted(values)}")


def _quoted(found: re.Match[str], value: object) -> str:
    return quote(str(value), safe="/" if found[2] == "path" else "")


def _declared(cls: type) -> Iterator[Route]:
    """Yield the routes of a class in their order, those of its bases first."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    for name in names:
        yield from (
            getattr(getattr(cls, name, None), "_routes", ())
            if name.startswith("_")
            else ()
        )


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
        headers["content-type"] = "text/plain; charset=utf-8"
        return {
            "status_code": 405,
            "body": "405 Method Not Allowed",
            "headers": headers,
        }

    async def before_websocket(self, request: WebSocketRequest) -> None:
        """Choose the handler."""
        for one, arguments in self._matching(request):
            if one.methods is None:
                request.route_handler, request.path_params = one.handler, arguments
                return

    def _matching(self, request: Request) -> Iterator[tuple[Route, list[Any]]]:
        segments = _segments(request)
        path = "/" + "/".join(segments)
        if any(
            path == prefix.rstrip("/") or path.startswith(prefix.rstrip("/") + "/")
            for prefix in self.app.mounts
        ):
            return
        for one in self.app._patterns:
            arguments = one.match(segments)
            if arguments is not None:
                yield one, arguments


def _split(path: str) -> list[str]:
    """Split a path into its segments; one trailing slash is ignored."""
    segments = path.split("/")[1:]
    if segments and not segments[-1]:
        segments.pop()
    return segments


def _segments(request: Request) -> list[str]:
    """Return the segments of the path below the root path.

    An encoded slash stays inside its segment.
    """
    path: str = request.scope["path"]
    raw: str = (
        (request.scope.get("raw_path") or b"")
        .partition(b"?")[0]
        .decode("ascii", "replace")
    )
    encoded = "%2f" in raw.lower() and unquote(raw) == path
    segments = (
        [unquote(segment) for segment in _split(raw)] if encoded else _split(path)
    )
    root = _split("/" + (request.scope.get("root_path") or "").strip("/"))
    return segments[len(root) :] if segments[: len(root)] == root else segments
