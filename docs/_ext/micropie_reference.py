"""Tables of the reference that are made from micropie.py itself, so that none of them can be out of step.

    ```{micropie-settings}     the arguments of App: type, default, meaning, and what is answered past them
    ```{micropie-limits}       the limits that are fixed
    ```{micropie-log}          the messages that go to the logger

What the module cannot say of itself stands below; a name that is missing there, or that the module does not know any
more, ends the build.
"""

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import micropie

MODULE = Path(micropie.__file__)

# The unit of each argument of App, and what happens when it is exceeded or missed.
SETTINGS = {
    "session_backend": ("", "An exception from it is a logged 500."),
    "debug": ("", "The body of a 500 is the traceback, as text: never switch it on where strangers can reach it."),
    "session_timeout": ("seconds", "The session is gone; the next request finds an empty one."),
    "session_cookie_secure": (
        "",
        "A browser does not send a secure cookie over plain HTTP: each request then finds an empty session.",
    ),
    "session_cookie_path": ("", "A browser does not send the cookie to other paths."),
    "allowed_origins": (
        "",
        "A handshake from any other page gets an empty session and cannot save one; logged where it brought a cookie.",
    ),
    "max_body_size": ("bytes", "413, before reading where `Content-Length` says so."),
    "max_upload_size": (
        "bytes",
        "413, before reading where `Content-Length` says so; later, `HTTPError(413)` in the handler that reads.",
    ),
    "max_form_field_size": ("bytes", "413."),
    "body_timeout": ("seconds", "408, an eighth later at most. Time in which the client waits for us does not count."),
}

# What each fixed limit is, and what happens past it.
LIMITS = {
    "_MAX_FIELDS": (
        "number",
        "fields in a query string, a form or a multipart body; files and empty pairs count",
        "413",
    ),
    "_MAX_PART_HEADERS": ("number", "headers of one part of a multipart body", "413"),
    "_MAX_PART_HEADER_SIZE": ("bytes", "one header of a part of a multipart body", "413"),
    "_SPOOL_SIZE": ("bytes", "an uploaded file in memory", "the file goes to a temporary file on disk"),
    "_DRAIN_SIZE": (
        "bytes",
        "what is read and dropped of a body that nobody read",
        "the response is sent all the same",
    ),
    "_THREADS": ("number", "worker threads", "plain handlers wait until one is free"),
    "_MAX_DEPTH": ("number", "JSON arrays and objects inside each other", "400"),
}

# What each log message means, and what to do.
LOG = {
    "dropped the invalid response header %r: %r": """
        A handler or a middleware returned a header whose name is no token, or whose value has control characters or
        is not in latin-1. The response was sent without it. Encode the value.""",
    "closing a stream failed": """
        The `finally` of a generator raised while its stream was closed. Mend the generator.""",
    "a stream broke off": """
        A generator raised, or yielded something that is neither text nor bytes, after the response had begun. The
        client sees that the response is not complete.""",
    "%r %r failed": """
        A handler, a middleware or the session backend raised while a request was answered; the values are the method
        and the path. The client got a 500.""",
    "a WebSocket from the origin %r got no session": """
        A page of another origin opened a WebSocket, with a session cookie. If it is yours, name its origin in
        `allowed_origins`.""",
    "a session filled or renewed after accept() has no cookie: the new session or id is lost": """
        A WebSocket handler filled a new session, or renewed its id, when the handshake was over. Do it before
        `accept()`.""",
    "WebSocket %r failed": """
        A WebSocket handler, its middleware or the session backend raised; the value is the path. The socket was closed
        with 1011, or its handshake refused.""",
    "%s failed": """
        A startup or shutdown handler raised; the value is its name. The server is told `lifespan.startup.failed` or
        `lifespan.shutdown.failed`; most servers then do not start.""",
}


class LogCall(NamedTuple):
    """One call of the logger in the module."""

    level: str
    message: str
    has_traceback: bool


def log_calls(source: str) -> list[LogCall]:
    """Return every call of the module's logger, in its order."""
    found: list[LogCall] = []
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    for node in sorted(calls, key=lambda call: call.lineno):
        if ast.unparse(node.func).startswith("_log."):
            message = ast.literal_eval(node.args[0])
            level = ast.unparse(node.func).removeprefix("_log.")
            found.append(LogCall(level, message, any(keyword.arg == "exc_info" for keyword in node.keywords)))
    return found


def settings() -> Mapping[str, inspect.Parameter]:
    """Return the arguments of App."""
    parameters = dict(inspect.signature(micropie.App.__init__).parameters)
    del parameters["self"]
    values = micropie.App.__init__.__kwdefaults__  # in the signature autodoc may have put their source
    return {name: one.replace(default=values.get(name, one.default)) for name, one in parameters.items()}


def argument_texts(docstring: str) -> dict[str, str]:
    """Return what the section Args of a docstring says of each argument."""
    section = inspect.cleandoc(docstring).partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.split(r"^    (?=\w+: )", section, flags=re.M)[1:]
    pairs = [entry.partition(": ") for entry in entries]
    return {name: " ".join(text.split()) for name, _, text in pairs}


def shown(value: Any, unit: str) -> str:
    """Return a value as a reader takes it in: bytes in powers of two, long times in hours too."""
    if unit == "bytes" and value >= 1024:
        return f"{value // 2**20} MiB" if value % 2**20 == 0 else f"{value // 2**10} KiB"
    if unit == "seconds":
        return f"{value:g} seconds" if value < 3600 else f"{value:g} seconds ({value / 3600:g} hours)"
    return repr(value) if not unit else f"{value:,}"


def check(table: Mapping[str, object], known: set[str], what: str) -> None:
    """Fail where a table of this file and the module name different things."""
    if table.keys() != known:
        raise ValueError(f"{what}: explained and existing differ in {sorted(table.keys() ^ known)}")


def settings_lines() -> Iterator[str]:
    """Yield the settings as MyST: a definition list with a name to link to for each."""
    parameters = settings()
    check(SETTINGS, set(parameters), "settings of App")
    texts = argument_texts(micropie.App.__doc__ or "")
    for name, parameter in parameters.items():
        unit, exceeded = SETTINGS[name]
        meaning = re.sub(r"``(.+?)``", r"`\1`", texts[name])
        yield f"`{name}`"
        yield f": `{parameter.annotation}`, default `{shown(parameter.default, unit)}`"
        yield ""
        yield f"  {meaning}"
        yield ""
        yield f"  Past it: {exceeded[0].lower()}{exceeded[1:]}" if unit else f"  {exceeded}"
        yield ""


def limit_lines() -> Iterator[str]:
    """Yield the fixed limits as a Markdown table."""
    yield from ("| limit | of what | past it |", "|---|---|---|")
    for name, (unit, what, past) in LIMITS.items():
        yield f"| {shown(getattr(micropie, name), unit)} | {what} | {past} |"


def log_lines() -> Iterator[str]:
    """Yield the log messages as MyST, a definition for each."""
    calls = log_calls(MODULE.read_text())
    check(LOG, {call.message for call in calls}, "log messages")
    for call in calls:
        yield f"`{call.message}`"
        level = f"**{call.level.upper()}**{', with the traceback' if call.has_traceback else ''}"
        yield f": {level}. {' '.join(LOG[call.message].split())}"
        yield ""


class Generated(SphinxDirective):
    """A directive without arguments, whose content is made from the module."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Parse the lines as the page's own Markdown."""
        self.env.note_dependency(str(MODULE))
        lines = {"micropie-settings": settings_lines, "micropie-limits": limit_lines, "micropie-log": log_lines}
        return self.parse_text_to_nodes("\n".join(lines[self.name]()))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the directives."""
    for name in ("micropie-settings", "micropie-limits", "micropie-log"):
        app.add_directive(name, Generated)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
