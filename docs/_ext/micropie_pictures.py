"""Pictures of the ways through micropie.py, drawn when the site is built, and the source that they lead to.

    ```{picture} request       a request's way; also: upload, websocket
    ```{micropie-source}       the module, highlighted, with an anchor for each definition

A step that is a function of the module leads to its source. A name that the module does not know any more ends the
build.
"""

from __future__ import annotations

import ast
import functools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from docutils import nodes
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import micropie

MODULE = Path(micropie.__file__)
SOURCE_PAGE = "explanation/source"

# One unit is one CSS pixel on a phone of 390 pixels; wider screens show the same picture larger.
WIDTH, LANE, GAP = 356, 244, 20
HALF = (WIDTH - 12) // 2
NAME, LINE, PAD = 17, 14, 10


# --- What the module defines -------------------------------------------------------------------


def definitions(source: str) -> dict[str, int]:
    """Return the line of every function and class of a module, and of every method, by its qualified name."""
    found: dict[str, int] = {}

    def visit(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.setdefault(prefix + node.name, node.lineno)
            if isinstance(node, ast.ClassDef):
                visit(node.body, f"{prefix}{node.name}.")

    visit(ast.parse(source).body, "")
    return found


@functools.cache
def known() -> frozenset[str]:
    """Return the names that a picture may lead to."""
    return frozenset(definitions(MODULE.read_text()))


# --- Pictures ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """One box: a function of the module, or something outside of it.

    Attributes:
        name: The function's qualified name, or what stands for something that is no function of the module.
        text: What happens there.
        leaves: What can take the request off its way here.
        kind: `function`, `yours` (the app's own code) or `outside` (the server).
        label: What the arrow to this box says, where there are two.
        loops: Whether it happens again and again.
    """

    name: str
    text: str
    leaves: str = ""
    kind: str = "function"
    label: str = ""
    loops: bool = False


@dataclass(frozen=True)
class Picture:
    """A picture: rows of one or two boxes, from top to bottom."""

    title: str
    summary: str
    rows: tuple[tuple[Step, ...], ...]


def _size(number: int) -> str:
    return f"{number // 2**20} MiB"


PICTURES = {
    "request": Picture(
        "A request's way through micropie.py",
        "From the server's call to the response: find, load, ask the middlewares, bind, call, answer, write.",
        (
            (Step("ASGI server", "calls app(scope, receive, send)", kind="outside"),),
            (Step("App.__call__", "looks at the type of the scope", "WebSocket: see below; lifespan: the hooks run"),),
            (Step("App._asgi_app_http", "makes a Request, and sets it as current_request"),),
            (Step("App.__answer", "finds the handler of the path, looks through the headers once", "413"),),
            (
                Step(
                    "App.__prepared",
                    "with a cookie, a body or middlewares: loads the session, reads JSON or a urlencoded form",
                    "400, 408, 413",
                ),
            ),
            (
                Step(
                    "HttpMiddleware.before_request",
                    "one after the other; may choose another handler",
                    "an answer in its place; a mounted app",
                ),
            ),
            (Step("App.__call", "checks that there is a handler, and that it takes this method", "404, 405"),),
            (Step("_Binder.bind", "finds a value for each parameter, and converts it", "400, 401, 404"),),
            (
                Step(
                    "your handler",
                    "async def runs here, def in a worker thread",
                    "HTTPError; any other exception is a 500",
                    kind="yours",
                ),
            ),
            (Step("_response", "text and JSON with nothing around it are ready; all else becomes one tuple"),),
            (Step("HttpMiddleware.after_request", "in the opposite order; may make another response"),),
            (Step("App.__after", "saves what was changed in the session, adds the cookie"),),
            (Step("App.__deliver", "makes the headers, and drops what is left of the request's body"),),
            (
                Step("App._asgi_app_http", "sends status and headers, then the body", label="a whole body"),
                Step("_Stream.run", "chunk after chunk, in the same task", label="a stream"),
            ),
            (Step("App.__release", "closes temporary files, and streams that nobody sent"),),
        ),
    ),
    "upload": Picture(
        "The way of an upload",
        "Fields are kept, files go to the handler as they come or to a temporary file, and the client waits meanwhile.",
        (
            (Step("ASGI server", "hands over the body piece by piece, when it is asked", kind="outside"),),
            (
                Step(
                    "_BodyReader.chunk",
                    "alone calls receive(); counts, limits, times",
                    "408, 413; the end where the client leaves",
                ),
            ),
            (Step("_MultipartForm.run", "takes part after part", "400", loops=True),),
            (
                Step("_MultipartForm._take_field", "up to max_form_field_size", label="a text field"),
                Step("_Binder.waits_for", "is this all that the handler still waits for?", label="a file"),
            ),
            (
                Step(
                    "_MultipartForm._spool",
                    f"kept; past {_size(micropie._SPOOL_SIZE)} in a temporary file",
                    label="no: to the next part",
                ),
                Step("_Chunks.get", "the handler starts now; each piece when it asks", label="yes: it streams"),
            ),
            (
                Step(
                    "your handler",
                    "reads UploadedFile: async for, read, save, and file where it was kept",
                    "it may return early",
                    kind="yours",
                ),
            ),
            (Step("_MultipartForm.stop", "gives up what follows a file that nobody has read to its end"),),
            (
                Step(
                    "_BodyReader.drain",
                    f"drops the rest, up to {_size(micropie._DRAIN_SIZE)}: some clients look for an answer only then",
                ),
            ),
        ),
    ),
    "websocket": Picture(
        "The life of a WebSocket",
        "Handshake, session, middlewares, accept, messages, and one close at the end, whatever has happened.",
        (
            (Step("ASGI server", "a client asks for a WebSocket", kind="outside"),),
            (Step("App._asgi_app_websocket", "makes a WebSocketRequest, and a WebSocket"),),
            (
                Step(
                    "App.__load_socket_session",
                    "compares the Origin, then loads the session",
                    "a foreign page: no session",
                ),
            ),
            (Step("WebSocketMiddleware.before_websocket", "one after the other", "refused: 1008"),),
            (Step("App.__conversation", "binds the arguments as for HTTP", "no such handler: 1008"),),
            (
                Step(
                    "your ws_ handler",
                    "looks at the path, the session, the subprotocols",
                    "close(): refused",
                    kind="yours",
                ),
            ),
            (Step("WebSocket.accept", "completes the handshake, with the cookie of a new session"),),
            (
                Step("WebSocket.receive_text", "ConnectionClosed when the client leaves", loops=True),
                Step("WebSocket.send_text", "waits while the client does not read", loops=True),
            ),
            (Step("WebSocketMiddleware.after_websocket", "in the opposite order"),),
            (Step("App.__finish_socket_session", "saves what was changed; too late for a cookie"),),
            (Step("WebSocket.close", "1000 when the handler returned, 1011 when it raised"),),
        ),
    ),
}


def check(picture: Picture, names: frozenset[str]) -> None:
    """Fail where a step is a function that the module does not define."""
    unknown = {step.name for row in picture.rows for step in row if step.kind == "function"} - names
    if unknown:
        raise ValueError(f"the picture {picture.title!r} names what micropie.py does not define: {sorted(unknown)}")


# --- Drawing -----------------------------------------------------------------------------------


@dataclass
class Box:
    """A step with its place."""

    step: Step
    x: float
    y: float
    width: float
    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lines = textwrap.wrap(self.step.text, int((self.width - 2 * PAD) / 5.6))
        if self.step.loops:
            self.lines.append("")

    @property
    def height(self) -> float:
        """How high it is."""
        return PAD + NAME + LINE * len(self.lines) + PAD - 5

    @property
    def middle(self) -> float:
        """Where arrows begin and end."""
        return self.x + self.width / 2

    def draw(self) -> Iterator[str]:
        """Yield the box, its name (which leads to the source) and its text."""
        step, y = self.step, self.y + PAD + 8
        size = min(12.0, (self.width - 2 * PAD) / (0.605 * len(step.name)))
        name = (
            f'<text class="name" x="{self.x + PAD}" y="{y}" style="font-size: {size:.3g}px">{escape(step.name)}</text>'
        )
        if step.kind == "function":
            name = f'<a href="source.html#{escape(step.name)}">{name}</a>'
        box = f'x="{self.x}" y="{self.y}" width="{self.width}" height="{self.height}" rx="6"'
        yield f'<g class="{step.kind}"><rect {box}/>{name}'
        for line in self.lines:
            y += LINE
            yield f'<text x="{self.x + PAD}" y="{y}">{escape(line)}</text>'
        if step.loops:
            corner = f'x="{self.x + self.width - 6}" y="{self.y + self.height - 6}" text-anchor="end"'
            yield f'<text class="leaves" {corner}>again and again ↻</text>'
        yield "</g>"


def _leaving(box: Box) -> Iterator[str]:
    """Yield the arrow to the right, and what takes the request off its way."""
    left = box.x + box.width
    lines = textwrap.wrap(box.step.leaves, 15)
    y = box.y + box.height / 2
    yield f'<path class="arrow" d="M{left} {y}h12" marker-end="url(#head)"/>'
    y += 4 - LINE * (len(lines) - 1) / 2
    for line in lines:
        yield f'<text class="leaves" x="{left + 18}" y="{y:g}">{escape(line)}</text>'
        y += LINE


def _arrows(above: list[Box], below: list[Box], bottom: float) -> Iterator[str]:
    """Yield the arrows between two rows."""
    pairs = zip(above, below, strict=True) if len(above) == len(below) else [(a, b) for a in above for b in below]
    if len(above) == len(below) == 2 and below[1].step.label:  # what forks again comes from the right
        pairs = [(above[1], one) for one in below]
    for start, end in pairs:
        begin = start.y + start.height
        turn = bottom + 8
        way = f"M{start.middle} {begin}V{turn}H{end.middle}V{end.y - 5}"
        yield f'<path class="arrow" d="{way}" marker-end="url(#head)"/>'
    for end in below:
        if end.step.label:
            yield f'<text class="leaves" x="{end.middle + 7}" y="{end.y - 8}">{escape(end.step.label)}</text>'


def draw(name: str) -> str:
    """Return a picture as SVG."""
    picture = PICTURES[name]
    parts: list[str] = []
    above: list[Box] = []
    y = bottom = 1.0
    for row in picture.rows:
        labelled = any(step.label for step in row)
        y = bottom + (GAP + (14 if labelled else 0) if above else 0)
        if len(row) == 1:
            boxes = [Box(row[0], 1, y, LANE)]
        else:
            boxes = [Box(step, 1 + column * (HALF + 10), y, HALF) for column, step in enumerate(row)]
        parts += _arrows(above, boxes, bottom)
        for box in boxes:
            parts += box.draw()
            if box.step.leaves:
                parts += _leaving(box)
        above, bottom = boxes, max(box.y + box.height for box in boxes)
    head = (
        '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="head" d="M0 0 8 4 0 8z"/></marker>'
    )
    svg = "\n".join(parts).replace("#head", f"#{name}-head")
    return (
        f'<svg class="picture" viewBox="0 0 {WIDTH} {bottom + 2:g}" role="group" '
        f'aria-labelledby="{name}-title {name}-summary">\n'
        f'<title id="{name}-title">{escape(picture.title)}</title>\n'
        f'<desc id="{name}-summary">{escape(picture.summary)}</desc>\n'
        f"<defs>{head.replace('head', f'{name}-head', 1)}</defs>\n{svg}\n</svg>"
    )


# --- The source --------------------------------------------------------------------------------


def source_html(source: str) -> str:
    """Return a module highlighted, each definition with its qualified name as an anchor."""
    lines = highlight(source, PythonLexer(stripnl=False), HtmlFormatter(nowrap=True)).splitlines()
    for name, number in definitions(source).items():
        lines[number - 1] = f'<span class="definition" id="{name}">{lines[number - 1]}</span>'
    code = "\n".join(re.sub(r'<span class="w">( +)</span>', r"\1", line) for line in lines)
    return f'<div class="highlight-python notranslate"><div class="highlight"><pre>{code}\n</pre></div></div>'


# --- Sphinx ------------------------------------------------------------------------------------


class PictureDirective(SphinxDirective):
    """Draws one of the pictures."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the drawing."""
        self.env.note_dependency(str(MODULE))
        self.env.note_dependency(__file__)
        check(PICTURES[self.arguments[0]], known())
        return [nodes.raw("", draw(self.arguments[0]), format="html")]


class SourceDirective(SphinxDirective):
    """Shows the module."""

    def run(self) -> list[nodes.Node]:
        """Return the highlighted source."""
        self.env.note_dependency(str(MODULE))
        return [nodes.raw("", source_html(MODULE.read_text()), format="html")]


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directives."""
    app.add_directive("picture", PictureDirective)
    app.add_directive("micropie-source", SourceDirective)
    app.add_css_file("pictures.css")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
