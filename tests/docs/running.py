"""Executes the code of a page of the documentation from top to bottom, as a reader would.

Sybil keeps the examples of a page in order and gives each its line. They share an empty folder, one
namespace for the Python blocks, one shell for the console blocks (tests/blocks.py), and at most one
server at a time. Comments that no reader of the page sees steer it, each on a line of its own:

    % file: app.py                    the block under it is the content of that file
    % server: app.py                  from here on uvicorn serves `app:app` of the page's folder
    % server: examples/sessions       from here on uvicorn serves a copy of that folder, and the
                                      shell is in it
    % server: app.py, with errors     the same, and what the server logs may hold tracebacks
    % serves                          the one command of the block under it starts the server
    % service                         its one command runs in a terminal for itself, to the end
    % part of: app.py                 the block under it stands in that file
    % slow: why                       the block under it is executed by tests/newcomer only; the
                                      same with `% serves: slow, why` and `% service: slow, why`
    % not run: why                    the block under it is executed by no test
"""

import contextlib
import importlib
import os
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

from sybil import Document, Example, Region
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.region import Lexeme

from docs._ext.blocks import DOCTEST, WITH_ERRORS, Block, Comment, blocks, orders
from tests.blocks import Shell, commands, run_python
from tests.examples.harness import NOT_COPIED, SERVE
from tests.examples.services import Services
from tests.ports import Ports
from tests.processes import ROOT, environment, serving, started

COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}  # so that a compiled file shows that it was imported
NOT_HERE = {"not run", "part of", "slow"}

Evaluator = Callable[[Example], str | None]


class PageRun:
    """One page being executed.

    Args:
        page: The page.
        folder: An empty folder.
        services: The servers that some examples talk to.
    """

    def __init__(self, page: Path, folder: Path, services: Services) -> None:
        self.page = page
        self.base = folder / "page"
        self.folder = self.base
        self.base.mkdir()
        self.ports = Ports()
        self.port = self.ports.web
        self.module = types.ModuleType("page")
        self.module.__file__ = str(self.base / "page.py")
        self._folder = folder
        self._services = services
        self._more: dict[str, str] = {}
        self._shell: Shell | None = None
        self._shells = contextlib.ExitStack()
        self._server = contextlib.ExitStack()
        self._services_run = contextlib.ExitStack()
        self._files: dict[str, Path] = {}
        self._typed: list[str] = []

    def execute(self) -> None:
        """Execute all that is on the page."""
        document = Document.parse(str(self.page), self._regions)
        document.namespace = self.module.__dict__
        with contextlib.ExitStack() as stack:
            stack.enter_context(_place(self.module, self.base))
            stack.callback(self._close_shell)
            stack.enter_context(self._services_run)
            stack.enter_context(self._server)
            for example in document:
                example.evaluate()
            self._server.close()
            for name in list(self._files):
                self._run_file(name)

    # --- what is on the page -------------------------------------------------------------------

    def _regions(self, document: Document) -> Iterator[Region]:
        starts = [0]
        for line in document.text.split("\n"):
            starts.append(starts[-1] + len(line) + 1)
        for comment in orders(document.text, {"server"}):
            yield Region(
                starts[comment.line - 1], starts[comment.line] - 1, comment, self._start_server
            )
        for block in blocks(document.text):
            begin, end = starts[block.line - 1], min(starts[block.end - 1], len(document.text))
            if block.language == "pycon" and block.kind != "not run":
                first = starts[block.code_line - 1]
                for region in DocTestStringParser(DocTestEvaluator())(block.text, str(self.page)):
                    region.start, region.end = (
                        min(first + region.start, end),
                        min(first + region.end, end),
                    )
                    yield region
            elif evaluator := self._evaluator(block):
                parsed: Block | Lexeme = block
                if evaluator is self._python:
                    parsed = Lexeme(
                        self._rewritten(block.text), 0, block.code_line - 1 - block.line
                    )
                yield Region(begin, end, parsed, evaluator)

    def _evaluator(self, block: Block) -> Evaluator | None:
        if block.kind == "file":
            return self._write_file
        of_robot = block.kind in {"serves", "service"} and block.detail
        if block.kind in NOT_HERE or of_robot or block.file or block.directive in DOCTEST:
            return None
        if block.language == "console":
            return {"serves": self._serve, "service": self._run_beside}.get(block.kind, self._type)
        return self._python if block.language == "python" else None

    _python = PythonEvaluator()

    # --- what is done with it -------------------------------------------------------------------

    def _rewritten(self, text: str) -> str:
        return self.ports.typed(text)

    def _write_file(self, example: Example) -> None:
        block: Block = example.parsed
        path = self.base / block.detail
        if block.detail in self._files:
            self._run_file(block.detail)
            for stale in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                stale.unlink()
        text = (self.page.parent / block.file).read_text() if block.file else block.text
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._rewritten(text))
        self._files[block.detail] = path
        sys.modules.pop(path.stem, None)
        importlib.invalidate_caches()

    def _run_file(self, name: str) -> None:
        """See to it that a file of Python has run, or run it."""
        path = self._files.pop(name)
        imported = any((path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"))
        if (
            path.suffix == ".py"
            and not imported
            and not any(path.name in line for line in self._typed)
        ):
            code = "import runpy, sys; sys.path.insert(0, ''); "
            run_python(f"{code}runpy.run_path({name!r})", self.port, self.base, {})

    def _start_server(self, example: Example) -> None:
        comment: Comment = example.parsed
        name = comment.detail.removesuffix(WITH_ERRORS)
        folder = self.base
        if not name.endswith(".py"):
            folder = self._folder / str(example.line) / Path(name).name
            shutil.copytree(ROOT / name, folder, ignore=NOT_COPIED)
            self._more |= (
                self._services.environment(folder.name) if name.startswith("examples/") else {}
            )
        app = f"{Path(name).stem}:app" if name.endswith(".py") else "app:app"
        self._change_folder(folder)
        self._serving(SERVE.replace("app:app", app), errors=comment.detail.endswith(WITH_ERRORS))

    def _serve(self, example: Example) -> None:
        [command] = commands(example.parsed.text)
        assert command.output.strip() == "", (
            f"what a server prints is not compared: {command.output}"
        )
        self._typed.append(command.line)
        for path in self.folder.glob("*.py"):  # `python app.py` has no option for the port
            text = path.read_text()
            ported = self.ports.ported(text)
            if ported != text:
                path.write_text(ported)
        self._serving(command.line)

    def _serving(self, line: str, *, errors: bool = False) -> None:
        self._server.close()
        self._server.enter_context(
            serving(
                self.ports.typed(line),
                self.folder,
                self.port,
                COMPILED | self._more,
                errors=errors,
            )
        )

    def _run_beside(self, example: Example) -> None:
        """Run a command in a terminal for itself, until the page ends."""
        [command] = commands(example.parsed.text)
        line = self.ports.typed(command.line)
        port = next(iter(self.ports.named(command.line)), self.port)
        log = self._folder / f"service-{example.line}.log"
        variables = environment({**COMPILED, **self._more})
        self._services_run.enter_context(
            started(["bash", "-c", line], port, log, cwd=self.folder, env=variables)
        )

    def _change_folder(self, folder: Path) -> None:
        if folder != self.folder:
            self.folder = folder
            self._close_shell()
            os.chdir(folder)

    def _type(self, example: Example) -> None:
        text = example.parsed.text
        self._typed += [command.line for command in commands(text)]
        more = {**COMPILED, **self._more, "PORT": str(self.port)}
        shell = self._shell = self._shell or self._shells.enter_context(
            Shell(self.folder, self.ports, more)
        )
        shell.try_block(text, f"{self.page}:{example.line}")

    def _close_shell(self) -> None:
        self._shells.close()
        self._shell = None


@contextlib.contextmanager
def _place(module: types.ModuleType, folder: Path) -> Iterator[None]:
    """Make a folder the current one, with imports from it; forget its modules at the end."""
    known = dict(sys.modules)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(folder))
    try:
        with contextlib.chdir(folder):
            yield
    finally:
        sys.path.remove(str(folder))
        for name, loaded in list(sys.modules.items()):
            if name not in known and str(folder) in str(getattr(loaded, "__file__", "")):
                del sys.modules[name]
        sys.modules.pop(module.__name__, None)
