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

Results = dict[str, Any]

# Their wheels hold compiled code, and there are wheels for Pyodide. Of all other packages, the
# Python code of this environment serves.
COMPILED = ("hypothesis", "msgspec", "pydantic-core")

AT_ONCE = 2  # processes of Node
STACK = 64 * 1024  # KiB
AT_LEAST = 5000  # tests pass

REASONS = (
    r"Needs (threads|sockets|processes)( and (threads|sockets|processes))*",
    r"Needs the module \w+",  # of the standard library
    r"Needs a deep stack",
    # There is no wheel of orjson for Pyodide.
    r"could not import 'orjson': .*|Needs orjson",
    # There is no /proc.
    r"open files are counted by /proc",
)
"""Why a test may be left out."""


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
                with zipfile.ZipFile(wheel) as archive:
                    archive.extractall(Path(work, "packages"))
            live_build.remove_others("tests-*")
            Path(work, "packages").rename(folder)
    return folder


@pytest.fixture(scope="module")
def folders() -> dict[str, str]:
    """Folders of this machine: that of Pyodide, and those with Python packages."""
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    live_build.CACHE.mkdir(parents=True, exist_ok=True)
    with live_build.lock(live_build.CACHE / "lock"):
        return {
            "pyodide": f"{live_build.node_modules(live_build.program('npm'))}/pyodide",
            "compiled": str(compiled_packages()),
            "packages": sysconfig.get_path("purelib"),
        }


def options(folders: dict[str, str], out: Path, files: list[str]) -> dict[str, Any]:
    """Return what `pyodide_tests.mjs` has to know."""
    return {
        "pyodide": folders["pyodide"],
        "mounts": {
            "/repository": str(ROOT),
            "/compiled": folders["compiled"],
            "/packages": folders["packages"],
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
            *("-c", "/repository/pyproject.toml", "-m", "not slow", "-p", "no:cacheprovider"),
            *("-p", "pytest_asyncio.plugin", "-p", "tests.live.pyodide_plugin"),
            *("--continue-on-collection-errors", "--tb=short", "--durations=20", *files),
        ],
    }


# --- Tests in Node --------------------------------------------------------------------------------


@contextlib.contextmanager
def running(settings: dict[str, Any], out: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run tests in Pyodide; the output goes to a file, for a look at a failure.

    Node's own stack of 1 MB overflows before Python raises RecursionError.
    """
    node, script = (
        live_build.program("node", "nodejs"),
        Path(__file__).with_name("pyodide_tests.mjs"),
    )
    start = f'ulimit -s {STACK} && exec "$0" --stack-size={STACK - 1024} "$@"'
    command = ["bash", "-c", start, node, str(script), json.dumps(settings)]
    with (out / "output.txt").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def finished(process: subprocess.Popen[bytes], out: Path) -> Results:
    """Wait for the end of the tests, and return what the plugin wrote."""
    process.wait(timeout=800)
    written = out / "results.json"
    assert written.exists(), f"Pyodide died:\n{(out / 'output.txt').read_text('utf-8')[-5000:]}"
    results: Results = json.loads(written.read_text("utf-8"))
    return results


def shares() -> list[list[str]]:
    """Divide the framework's test files among the processes, by their size."""
    divided: list[list[Path]] = [[] for _ in range(AT_ONCE)]
    paths = (ROOT / "tests").glob("test_*.py")
    for path in sorted(paths, key=lambda path: path.stat().st_size, reverse=True):
        smallest = min(divided, key=lambda share: sum(path.stat().st_size for path in share))
        smallest.append(path)
    return [[f"tests/{path.name}" for path in share] for share in divided]


@pytest.fixture(scope="module")
def results(folders: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> list[Results]:
    """What happened to the framework's tests, in each process."""
    started = []
    with contextlib.ExitStack() as stack:
        for files in shares():
            out = tmp_path_factory.mktemp("pyodide")
            process = stack.enter_context(running(options(folders, out, files), out))
            started.append((process, out))
        return [finished(process, out) for process, out in started]


# --- What they say --------------------------------------------------------------------------------


def test_no_test_of_the_framework_fails(results: list[Results]) -> None:
    failed = [failure for result in results for failure in result["failed"]]
    assert not failed, "\n\n".join(failed)


def test_nearly_all_tests_of_the_framework_run(results: list[Results]) -> None:
    assert sum(result["passed"] for result in results) >= AT_LEAST


def test_tests_are_left_out_for_known_reasons_alone(results: list[Results]) -> None:
    reasons = {reason for result in results for reason in result["left_out"]}
    assert {reason for reason in reasons if not re.fullmatch("|".join(REASONS), reason)} == set()


SAMPLE = '''
import socket, threading

import micropie


def test_passes():
    assert threading.current_thread() is threading.main_thread()


def test_fails():
    assert 1 == 2


def test_needs_a_thread():
    threading.Thread(target=print).start()


def test_waits_for_a_thread():
    threading.Event().wait(20)


def test_needs_a_socket():
    socket.create_server(("127.0.0.1", 0))


def test_the_framework_wants_a_thread():
    """As if a line of micropie.py started one."""
    code = compile("threading.Thread(target=print).start()", micropie.__file__, "exec")
    exec(code, {"threading": threading})
'''


def test_a_fault_is_no_reason_to_leave_a_test_out(folders: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "test_sample.py").write_text(SAMPLE, encoding="utf-8")
    with running(options(folders, tmp_path, ["/out/test_sample.py"]), tmp_path) as process:
        result = finished(process, tmp_path)
    names = [failure.splitlines()[0].partition("::")[2] for failure in result["failed"]]
    assert names == ["test_fails", "test_the_framework_wants_a_thread"]
    assert {reason: len(tests) for reason, tests in result["left_out"].items()} == {
        "Needs threads": 2,
        "Needs sockets": 1,
    }
    assert result["passed"] == 1
