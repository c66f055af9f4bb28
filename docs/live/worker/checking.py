"""Checks a step of the tutorial: does the reader's app do what the step's page asks for?

`check` puts the reader's files into a new folder, imports the app from there, and runs the
functions `check_…` of the step, for example those of `checks/step_03.py`. Each of them gets a
`Program`, an app that has just been started with no data. It raises `Missing` if the app does
something else, with the place and what to do.

This module runs in the browser's worker and in CPython alike. The tests of the checks use the
second.
"""

import ast
import asyncio
import contextlib
import difflib
import importlib
import inspect
import linecache
import logging
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NoReturn

from checking_client import Answer, Broken, Missing, Place, Visitor
from checking_loop import Aside, Guard, TooLong, in_a_thread, run_apart

LINES = 200_000  # of the reader's code that may run in one check; the steps run some thousands
VIRTUAL = 600.0  # seconds of the loop's time for one check; if nothing happens, they pass at once
MODULES = {"app", "news", "pictures", "store"}  # those that the pages of the tutorial make
ALIKE = 0.75  # from 0 to 1: how much two names must have in common, to be taken for one
Files = Mapping[str, str | bytes]
Result = dict[str, Any]

__all__ = ["Missing", "Place", "Program", "Visitor", "check"]


class Program:
    """The reader's app, imported from a folder of its own and started.

    Args:
        folder: An empty folder.
        files: What the reader has written.
        target: The module and the name of the app.
    """

    def __init__(self, folder: Path, files: Files, target: str = "app:app") -> None:
        self.folder = folder
        self.files = dict(files)
        self.target = target
        self.app: Any = None
        self.state: dict[str, Any] = {}
        self.errors: list[Missing] = []
        """The meaning of each exception that MicroPie has logged, the latest last."""
        self._lifespan: _Lifespan | None = None
        for name, content in files.items():
            self.write(name, content)

    def write(self, name: str, content: str | bytes) -> None:
        """Write one file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else bytes(content))
        self.files[name] = content

    async def start(self) -> None:
        """Import the app, and call its startup handlers."""
        self.load()
        self.errors.clear()
        self._lifespan = _Lifespan(self)
        await self._lifespan.start()

    async def stop(self) -> None:
        """Call the shutdown handlers."""
        if self._lifespan is not None:
            await self._lifespan.stop()
            self._lifespan = None

    async def restart(self) -> None:
        """Stop the app, and start it with all that it keeps in files and nothing else."""
        await self.stop()
        await self.start()

    def load(self) -> None:
        """Import the app anew, or say why that fails."""
        module_name, _, name = self.target.partition(":")
        forget_modules(self.folder)
        file = f"{module_name}.py"
        if file not in self.files:
            raise Missing(Place(file), "This file is missing. Make it as the page shows.")
        try:
            module = importlib.import_module(module_name)
        except TooLong:
            raise
        except BaseException as error:
            raise missing_for(error, self) from None
        self.app = getattr(module, name, None)
        if self.app is None:
            text = f"There is no `{name}`. uvicorn looks for it, so write `{name} = Poll()`."
            raise Missing(Place(file), text)
        if inspect.isclass(self.app) or not callable(self.app):
            text = f"`{name}` must be an app, so write `{name} = Poll()` with the parentheses."
            raise Missing(Place(file, name), text)

    def module(self, name: str) -> ModuleType | None:
        """Return a module of the reader, or None if there is none."""
        return importlib.import_module(name) if f"{name}.py" in self.files else None

    def visitor(self) -> Visitor:
        """Return a new visitor."""
        return Visitor(self)

    # --- Places ---

    def handler(self, path: str, prefix: str = "") -> Place:
        """Return the place of the handler for a path, or of the class if it has no such method."""
        method = _method_for(path, prefix)
        owner = type(self.app)
        found = getattr(owner, method, None)
        code = getattr(inspect.unwrap(found), "__code__", None) if found is not None else None
        if isinstance(code, CodeType) and (file := self._inside(code.co_filename)):
            name = getattr(found, "__qualname__", method)
            return Place(file, name, code.co_firstlineno)
        file = self._inside(getattr(sys.modules.get(owner.__module__), "__file__", "") or "")
        return self.at(file or "app.py", owner.__qualname__)

    def absent(self, path: str, prefix: str = "") -> str:
        """Return the name of the method that should answer a path, if there is none."""
        method = _method_for(path, prefix)
        return "" if hasattr(type(self.app), method) else method

    def at(self, file: str, name: str = "") -> Place:
        """Return the place of a function or a class in a file, or that of the file alone."""
        found = _lines_of(self.text(file)) if file.endswith(".py") else {}
        for known, line in found.items():
            if name and (known == name or known.endswith(f".{name}")):
                return Place(file, known, line)
        return Place(file)

    def text(self, file: str) -> str:
        """Return the text of a file; it is empty if there is none."""
        content = self.files.get(file, "")
        return content if isinstance(content, str) else bytes(content).decode("utf-8", "replace")

    def _inside(self, path: str) -> str:
        """Return the name of one of the reader's files, or an empty string."""
        start = f"{self.folder}{os.sep}"
        return path[len(start) :].replace(os.sep, "/") if path.startswith(start) else ""

    def place_of(self, error: BaseException) -> Place | None:
        """Return the last place in the reader's files that an exception came through."""
        place = None
        for frame, line in traceback.walk_tb(error.__traceback__):
            place = self.place_in(frame, line) or place
        return place

    def place_in(self, frame: FrameType, line: int | None = None) -> Place | None:
        """Return the place of a frame, or None if it is not in the reader's files."""
        file = self._inside(frame.f_code.co_filename)
        if not file:
            return None
        line = line or frame.f_lineno
        name = _name_at(self.text(file), line) if file.endswith(".py") else ""
        return Place(file, name or f"line {line}", line)

    def tell_error(self, answer: Answer | None) -> None:
        """Raise what MicroPie has logged as an exception of the reader's code, if there is any."""
        if self.errors:
            error = self.errors.pop()
            self.errors.clear()
            raise error
        if answer is not None:
            answer.missing(f"`{answer.asked}` answered 500 Internal Server Error.")


def _method_for(path: str, prefix: str) -> str:
    return prefix + (path.partition("?")[0].strip("/").partition("/")[0] or "index")


# --- What an exception means, in words ------------------------------------------------------------


def missing_for(error: BaseException, program: Program) -> Missing:
    """Say in words what an exception of the reader's code means."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, Missing):
        return error
    for kind, explain in EXPLAINED.items():
        if any(base.__name__ == kind for base in type(error).__mro__):
            return explain(error, program)
    return _explain_any(error, program)


def _explain_any(error: BaseException, program: Program) -> Missing:
    place = program.place_of(error) or Place("app.py")
    what = str(error).strip().rstrip(".")
    where = f" in line {place.line}" if place.line and not place.name.startswith("line") else ""
    return Broken(place, f"{type(error).__name__}{where}{': ' if what else ''}{what}.")


def _explain_syntax(error: Any, program: Program) -> Missing:
    file = program._inside(error.filename or "") or "app.py"
    line = error.lineno or 1
    near = (error.text or "").strip()
    text = f"Python does not understand this line: {error.msg}."
    if near:
        text = f"{text} The line reads: `{near}`."
    return Broken(Place(file, f"line {line}", line), text)


def _explain_no_module(error: Any, program: Program) -> Missing:
    place = program.place_of(error) or Place("app.py")
    name = error.name
    if name in sys.stdlib_module_names:
        return Broken(place, f"The module `{name}` needs Python on your own machine.")
    text = f"There is no module `{name}`."
    if name in MODULES:
        return Missing(place, f"{text} Make the file `{name}.py`.")
    own = {file.removesuffix(".py") for file in program.files if file.endswith(".py")}
    public = {module for module in sys.stdlib_module_names if not module.startswith("_")}
    near = difflib.get_close_matches(name, sorted(own | MODULES | public), 1, ALIKE)
    return Broken(place, f"{text} Did you mean `{near[0]}`?" if near else text)


def _explain_import(error: Any, program: Program) -> Missing:
    place = program.place_of(error) or Place("app.py")
    found = re.search(r"cannot import name '(\w+)'", str(error))
    if found is None:
        return Broken(place, f"{error}.")
    if f"{error.name}.py" in program.files:
        text = f"There is no `{found[1]}`, and {place} imports it."
        return Missing(Place(f"{error.name}.py"), text)
    return Broken(place, f"The module `{error.name}` has no `{found[1]}`.")


def _explain_no_template(error: Any, program: Program) -> Missing:
    place = program.place_of(error)
    by = f", and {place} asks for it" if place else ""
    return Missing(Place(f"templates/{error.name}"), f"This file is missing{by}.")


def _explain_template(error: Any, program: Program) -> Missing:
    file = program._inside(error.filename or "") or f"templates/{error.name}"
    text = f"Jinja does not understand this line: {error.message}."
    return Broken(Place(file, f"line {error.lineno}", error.lineno), text)


def _explain_database(error: Any, program: Program) -> Missing:
    missing = _explain_any(error, program)
    if "no such table" in str(error) or "unable to open" in str(error):
        text = f"{missing.text} Let a startup handler make the folder and the tables."
        return Broken(missing.place, text)
    return missing


EXPLAINED: dict[str, Callable[[Any, Program], Missing]] = {
    "SyntaxError": _explain_syntax,
    "ModuleNotFoundError": _explain_no_module,
    "ImportError": _explain_import,
    "OperationalError": _explain_database,
    "TemplateNotFound": _explain_no_template,
    "TemplateSyntaxError": _explain_template,
}


def _lines_of(text: str) -> dict[str, int]:
    """Return the line of each class, each function and each name that a file defines."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, before: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found[before + child.name] = child.lineno
                visit(child, f"{before}{child.name}.")

    with contextlib.suppress(SyntaxError):
        visit(ast.parse(text), "")
    return found


def _name_at(text: str, line: int) -> str:
    """Return the innermost function or class around a line."""
    best = ""
    with contextlib.suppress(SyntaxError):
        ends = {
            node.lineno: node.end_lineno or 0
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        for name, start in _lines_of(text).items():
            if start <= line <= ends[start]:
                best = name
    return best


# --- Start and stop -------------------------------------------------------------------------------


class _Lifespan:
    """Starts and stops an app, as a server does."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.outbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "state": self.program.state,
        }
        try:
            await self.program.app(scope, self.inbox.get, self.outbox.put)
        except Exception as error:
            self.program.errors.append(missing_for(error, self.program))
        finally:
            self.outbox.put_nowait({"type": "ended"})

    async def start(self) -> None:
        """Wait for the startup handlers."""
        self.inbox.put_nowait({"type": "lifespan.startup"})
        message = await self._answer("The app did not start in 60 seconds.")
        if message["type"] != "lifespan.startup.complete":
            self.program.tell_error(None)
            text = message.get("message") or "The app did not start."
            raise Missing(self.program.at("app.py", type(self.program.app).__name__), text)

    async def stop(self) -> None:
        """Wait for the shutdown handlers."""
        self.inbox.put_nowait({"type": "lifespan.shutdown"})
        await self._answer("The app did not stop in 60 seconds.")

    async def _answer(self, late: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(60):
                return await self.outbox.get()
        except TimeoutError:
            place = self.program.at("app.py", type(self.program.app).__name__)
            raise Missing(place, late) from None


# --- What the reader's code must not share with the app that is running -----------------------


def forget_modules(folder: Path) -> dict[str, ModuleType]:
    """Take the modules of a folder out of `sys.modules`, and return them."""
    taken = {
        name: module
        for name, module in sys.modules.items()
        if (getattr(module, "__file__", None) or "").startswith(f"{folder}{os.sep}")
    }
    for name in taken:
        del sys.modules[name]
    importlib.invalidate_caches()
    linecache.checkcache()
    return taken


@contextlib.contextmanager
def folder_for_code(aside: str) -> Iterator[Path]:
    """Make a folder from which `import` takes the reader's modules; leave no trace at the end."""
    hidden = forget_modules(Path(aside)) if aside else {}
    before = os.getcwd(), sys.path[:], sys.dont_write_bytecode, dict(os.environ)
    folder = Path(tempfile.mkdtemp(prefix="check-")).resolve()
    sys.path[:] = [str(folder), *(path for path in sys.path if path not in ("", aside))]
    sys.dont_write_bytecode = True
    os.chdir(folder)
    os.environ.pop("POLL_DATA", None)
    try:
        yield folder
    finally:
        forget_modules(folder)
        sys.modules.update(hidden)
        os.chdir(before[0])
        # The page adds the second part of Python's library at the first import from it.
        added = [path for path in sys.path if path not in before[1] and path != str(folder)]
        sys.path[:], sys.dont_write_bytecode = [*before[1], *added], before[2]
        os.environ.clear()
        os.environ.update(before[3])
        shutil.rmtree(folder, ignore_errors=True)


class _Log(logging.Handler):
    """Collects the exceptions that MicroPie logs, and keeps them out of the page's log.

    It looks at once, since MicroPie takes the traceback off an exception that it has logged.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.program.errors.append(missing_for(record.exc_info[1], self.program))


@contextlib.contextmanager
def log_of(program: Program) -> Iterator[None]:
    """Collect what MicroPie logs meanwhile."""
    logger, handler = logging.getLogger("micropie"), _Log(program)
    before = logger.handlers[:], logger.propagate
    logger.handlers[:], logger.propagate = [handler], False
    try:
        yield
    finally:
        logger.handlers[:], logger.propagate = before


@contextlib.contextmanager
def database_calls(program: Program) -> Iterator[list[Place]]:
    """Collect the places from which the event loop itself called SQLite."""
    calls: list[Place] = []
    real = sqlite3.connect

    def connect(*args: Any, **named: Any) -> Any:
        frame: FrameType | None = sys._getframe(1)
        if not in_a_thread():
            while frame is not None and not frame.f_code.co_flags & inspect.CO_COROUTINE:
                frame = frame.f_back  # up to the coroutine that should have used a thread
            place = program.place_in(frame) if frame is not None else None
            calls.extend([place] if place else [])
        return real(*args, **named)

    sqlite3.connect = connect
    try:
        yield calls
    finally:
        sqlite3.connect = real


@contextlib.contextmanager
def statements(program: Program) -> Iterator[dict[str, Place]]:
    """Collect the SQL of each statement, and the place from which the reader's code runs it.

    Start the app again behind it, so that each connection is one that collects.
    """
    found: dict[str, Place] = {}
    real = sqlite3.connect

    class Cursor(sqlite3.Cursor):
        pass

    class Connection(sqlite3.Connection):
        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

    for owner in (Cursor, Connection):
        for name in ("execute", "executemany", "executescript"):
            setattr(owner, name, _collecting(getattr(owner, name), program, found))

    def connect(*args: Any, **named: Any) -> Any:
        return real(*args, **{"factory": Connection, **named})

    sqlite3.connect = connect
    try:
        yield found
    finally:
        sqlite3.connect = real


def _collecting(method: Any, program: Program, found: dict[str, Place]) -> Any:
    """Return a method of a cursor or a connection that keeps the SQL before it runs it."""

    def run(self: Any, sql: str, *args: Any) -> Any:
        if sql not in found:
            found[sql] = _reader_above(sys._getframe(1), program)
        return method(self, sql, *args)

    return run


def _reader_above(frame: FrameType | None, program: Program) -> Place:
    """Return the place in the reader's files from which a call came."""
    while frame is not None:
        if place := program.place_in(frame):
            return place
        frame = frame.f_back
    return Place("app.py")


# --- Running the checks ---------------------------------------------------------------------------


async def check(
    source: str,
    name: str,
    files: Files,
    *,
    target: str = "app:app",
    aside: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Run the checks of a step.

    Args:
        source: The text of the file with the checks.
        name: The name of that file, for example ``step_03``.
        files: The reader's files. A text is a str, anything else is bytes.
        target: The module and the name of the app.
        aside: The folder of an app that is running; its modules are out of reach meanwhile.
        say: Called with what is checked next, in words.

    Returns:
        For each check what was found: ``ok``, ``state`` ("done", "missing", "error" if the reader's
        code raises an exception, or "open" if something found before keeps it from being checked),
        ``check`` (what was checked), ``file``, ``name`` and ``line`` of the place, and ``text``
        (what is missing, and what to do).
    """
    return [one async for one in results(source, name, files, target=target, aside=aside, say=say)]


async def results(
    source: str,
    name: str,
    files: Files,
    *,
    target: str = "app:app",
    aside: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> AsyncIterator[Result]:
    """Run the checks of a step, and yield what `check` returns, one result at a time."""
    module = _module_of(source, name)
    earlier: list[Missing] = []
    is_over = False  # a check has failed without which the others make no sense
    for one in _functions_of(module):
        words = " ".join((one.__doc__ or "").split())
        if is_over:
            yield _result("open", words)
            continue
        say(words)
        await asyncio.sleep(0)  # the page may ask if the worker is alive
        missing = _run_one(one, files, target, aside)
        if missing is None:
            yield _result("done", words)
        elif any(_is_same(missing, old) for old in earlier):
            yield _result("open", words)
        else:
            earlier.append(missing)
            yield _result("error" if missing.is_error else "missing", words, missing)
        is_over = missing is not None and getattr(one, "first", False)


def _is_same(one: Missing, other: Missing) -> bool:
    """Tell if two checks have stumbled over one thing, or over an exception in one line."""
    if one.is_error and other.is_error and one.place.line:
        return one.place == other.place
    return (one.place.file, one.place.name, one.text) == (
        other.place.file,
        other.place.name,
        other.text,
    )


def first(one: Any) -> Any:
    """Mark a check without which the others make no sense."""
    one.first = True
    return one


def _result(state: str, words: str, missing: Missing | None = None) -> Result:
    result = {"ok": state == "done", "state": state, "check": words}
    if missing is None:
        return {**result, "file": "", "name": "", "line": None, "text": words}
    place = missing.place
    found = {"file": place.file, "name": place.name, "line": place.line, "text": missing.text}
    return {**result, **found}


def _module_of(source: str, name: str) -> ModuleType:
    """Make the module of the checks."""
    module = ModuleType(name)
    exec(compile(source, f"checks/{name}.py", "exec"), module.__dict__)
    return module


def _functions_of(module: ModuleType) -> list[Any]:
    """Return the checks in the order of the file; first of all, the app must start.

    Checks that several steps have come last. `MORE` of the file is a list of them.
    """
    own = [value for name, value in vars(module).items() if name.startswith("check_")]
    return [starts, *own, *getattr(module, "MORE", [])]


@first
async def starts(program: Program) -> None:
    """The app starts."""


def _run_one(one: Any, files: Files, target: str, aside: str) -> Missing | None:
    """Run one check in a folder and on a loop of its own; return what is missing."""
    with folder_for_code(aside) as folder:
        program = Program(folder, files, target)
        with Guard(str(folder), LINES) as guard, log_of(program):
            try:
                _call(one, program)
            except BaseException as error:
                if guard.stopped_at is None:
                    return _missing_in(error, program)
        if guard.stopped_at is not None:
            return _missing_for_loop(guard, program)
    return None


def _call(one: Any, program: Program) -> None:
    if inspect.iscoroutinefunction(one):
        run_apart(_checked(one, program))
    else:  # it needs the files alone
        with Aside():
            one(program)


async def _checked(one: Any, program: Program) -> None:
    async with asyncio.timeout(VIRTUAL), _started(program):
        await one(program)


@contextlib.asynccontextmanager
async def _started(program: Program) -> AsyncIterator[None]:
    await program.start()
    yield
    await program.stop()


def _missing_in(error: BaseException, program: Program) -> Missing:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        _stop(error)
    if isinstance(error, TimeoutError):
        return Broken(Place("app.py"), "The app did not come to an end.")
    return missing_for(error, program)


def _stop(error: BaseException) -> NoReturn:
    raise error


def _missing_for_loop(guard: Guard, program: Program) -> Missing:
    frame = guard.stopped_at
    assert frame is not None
    place = program.place_in(frame) or Place("app.py")
    text = f"The app does not get past line {place.line}. Is this a loop without an end?"
    return Broken(place, text)
