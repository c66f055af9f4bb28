"""Imports apps that are folders, not packages, so each can have its own `models.py`.

The modules of such a folder import one another by bare names, since they run where
their folder is on `sys.path`. Here each of them gets its own `__import__`, which
looks beside the module first. Nothing is put on `sys.path`, and in `sys.modules` the
modules stand under the folder's name: `example_blog.models`.
"""

import builtins
import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


def load(
    folder: Path, name: str = "app", environment: Mapping[str, str] | None = None
) -> ModuleType:
    """Import a module of a folder, and all that it needs there, anew at each call.

    Args:
        folder: Where the module is.
        name: Its name there.
        environment: Variables that it finds in `os.environ` while it is imported,
            beside those that are there.
    """
    package = f"example_{folder.name}"
    for known in [known for known in sys.modules if known.partition(".")[0] == package]:
        del sys.modules[known]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    parent = ModuleType(package)
    parent.__path__ = [str(folder)]
    sys.modules[package] = parent
    with _environment(environment or {}):
        return importlib.import_module(f"{package}.{name}")


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in more}
    os.environ.update(more)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


class _Finder(MetaPathFinder):
    """Finds modules of the folders, for a loader that gives them their `__import__`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return what is known of a module, or None if it is of no such folder."""
        if not fullname.startswith("example_") or path is None:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(fullname, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        """Run a module; its imports ask the `__import__` among its builtins."""
        package = module.__name__.partition(".")[0]
        [folder] = sys.modules[package].__path__
        names = _importable(Path(folder))
        module.__dict__["__builtins__"] = {
            **vars(builtins),
            "__import__": _importer(package, names),
        }
        super().exec_module(module)


def _importable(folder: Path) -> frozenset[str]:
    """Return the names of the modules and packages of a folder."""
    return frozenset(
        [path.stem for path in folder.glob("*.py")]
        + [path.parent.name for path in folder.glob("*/__init__.py")]
    )


def _importer(package: str, names: frozenset[str]) -> Callable[..., Any]:
    """Return an `__import__` that looks in a folder before it looks everywhere else."""

    def import_(
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002 - here and below: the names are Python's
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        top = name.partition(".")[0]
        if level or top not in names:
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = builtins.__import__(
            f"{package}.{name}", globals, locals, fromlist or ("*",), 0
        )
        return module if fromlist else sys.modules[f"{package}.{top}"]

    return import_
