"""The framework's tests pass in Pyodide, apart from those that need what Pyodide does not have.

Node runs them. The plugin `pyodide_plugin.py` finds out which tests have to be left out.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import subprocess
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docs._ext import live_build
from tests.processes import ROOT

pytestmark = pytest.mark.slow

# Their wheels hold compiled code, and there are wheels for Pyodide. Of all other packages, the
# Python code of this environment serves.
COMPILED = ("hypothesis", "msgspec", "pydantic-core")
AT_ONCE = 2  # processes of Node


# --- What Python in Node gets ---------------------------------------------------------------------


def compiled_packages() -> Path:
    """Return a folder with the compiled packages, in the versions that the tests are pinned to."""
    locked = (ROOT / "requirements" / "test.txt").read_text("utf-8")
    every_pin = {pin[1]: pin[0] for pin in re.finditer(r"(?m)^([\w.-]+)==.*(?:\n +.*)*", locked)}
    pins = "\n".join(every_pin[name] for name in COMPILED) + "\n"
    digest = hashlib.sha256(f"{pins} {live_build.WASM}".encode()).hexdigest()[:16]
    folder = live_build.CACHE / f"tests-{digest}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=live_build.CACHE) as work:
            live_build.download(pins, live_build.WASM, Path(work))
            for wheel in Path(work).glob("*.whl"):
                zipfile.ZipFile(wheel).extractall(Path(work, "packages"))
            live_build.remove_others("tests-*")
            Path(work, "packages").rename(folder)
    return folder


def options(out: Path, files: list[str]) -> dict[str, Any]:
    """Return what `pyodide_tests.mjs` has to know."""
    npm = live_build.program("npm")
    live_build.CACHE.mkdir(parents=True, exist_ok=True)
    with live_build.lock(live_build.CACHE / "lock"):
        pyodide, packages = live_build.node_modules(npm) / "pyodide", compiled_packages()
    return {
        "pyodide": str(pyodide),
        "mounts": {
            "/repository": str(ROOT),
            "/compiled": str(packages),
            "/packages": sysconfig.get_path("purelib"),
            "/out": str(out),
        },
        "paths": ["/repository", "/compiled", "/packages"],
        "environ": {
            "HOME": "/home/pyodide",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "HYPOTHESIS_STORAGE_DIRECTORY": "/tmp/hypothesis",
            "RESULTS": "/out/results.json",
        },
        "arguments": [
            *("-p", "pytest_asyncio.plugin", "-p", "tests.live.pyodide_plugin"),
            *("-p", "no:cacheprovider", "-m", "not slow", "--continue-on-collection-errors"),
            *("--tb=short", "--durations=20", *files),
        ],
    }


# --- The tests in Node ----------------------------------------------------------------------------


def shares() -> list[list[str]]:
    """Divide the framework's test files among the processes, by their size."""
    divided: list[list[Path]] = [[] for _ in range(AT_ONCE)]
    paths = (ROOT / "tests").glob("test_*.py")
    for path in sorted(paths, key=lambda path: path.stat().st_size, reverse=True):
        smallest = min(divided, key=lambda share: sum(path.stat().st_size for path in share))
        smallest.append(path)
    return [[f"tests/{path.name}" for path in share] for share in divided]


@contextlib.contextmanager
def running(out: Path, files: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run these test files in Pyodide; the output goes to a file, for a look at a failure."""
    out.mkdir()
    script = Path(__file__).with_name("pyodide_tests.mjs")
    command = [live_build.program("node", "nodejs"), str(script), json.dumps(options(out, files))]
    with (out / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the plugin wrote in each process."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    folder = tmp_path_factory.mktemp("pyodide")
    outs = [folder / str(number) for number in range(AT_ONCE)]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(running(out, files))
            for out, files in zip(outs, shares(), strict=True)
        ]
        for process in processes:
            process.wait(timeout=800)
    for out in outs:
        if not (out / "results.json").exists():
            pytest.fail(f"Pyodide died:\n{(out / 'output.txt').read_text('utf-8')[-5000:]}")
    return [json.loads((out / "results.json").read_text("utf-8")) for out in outs]


def test_tests_of_the_framework_pass(results: list[dict[str, Any]]) -> None:
    assert [failure for result in results for failure in result["failed"]] == []
