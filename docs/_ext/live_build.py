"""Builds what the live apps of the site load, with npm and pip, and keeps it between builds.

`cached_build` is what the Sphinx extension calls. The result lies in build/live/KEY, a folder that
the site can copy, with _static/live and _live in it. KEY changes with everything that goes into
it, so a second build of the site takes no time. ``python docs/_ext/live_build.py OUT`` copies the
result to OUT.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs" / "live"
CACHE = ROOT / "build" / "live"

# The Python inside Pyodide, and the platform of its wheels.
PYTHON = ("--python-version=3.14", "--implementation=cp", "--abi=cp314")
WASM = "pyemscripten_2026_0_wasm32"
# No wheel of these is for Pyodide. The Python half of a wheel for another machine serves as well.
PYTHON_HALF = {"markupsafe"}
ANY_MACHINE = "manylinux2014_x86_64"

KEPT = 3  # results in the cache; older ones are removed


class CannotBuildError(Exception):
    """The live apps cannot be built here. The text says why."""


def cached_build() -> Path:
    """Return the folder with the result, which is built if the sources have changed.

    Raises:
        CannotBuildError: npm, node or a source file is missing, or one of the programs failed.
    """
    try:
        return build_or_find()
    except OSError as error:
        raise CannotBuildError(f"{error.strerror}: {error.filename}") from error


def build_or_find() -> Path:
    """Return the folder with the result, from the cache if it is there."""
    made = CACHE / key()
    if not made.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        with lock(CACHE / "lock"):
            if not made.is_dir():
                make(made)
        forget_old(made)
    made.touch()
    return made


def make(made: Path) -> None:
    """Build in a temporary folder, which becomes the result if all went well."""
    node = program("node", "nodejs")
    modules = node_modules(program("npm"))
    wheels = download_wheels()
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        # Node looks for packages beside and above the script that wants them.
        work = Path(folder, "docs", "live")
        shutil.copytree(SOURCE, work, ignore=shutil.ignore_patterns("node_modules"))
        (work / "node_modules").symlink_to(modules)
        shutil.copy(ROOT / "micropie.py", folder)
        library = compiled_library(node, work, wheels)
        result = Path(folder, "result")
        run([node, "build.mjs", str(result), "--library", str(library)], work)
        result.rename(made)


def compiled_library(node: str, work: Path, wheels: Path) -> Path:
    """Return a folder with Python's library and the packages, compiled."""
    names = ["library.mjs", "tools.mjs", "compile.py", "sitecustomize.py"]
    names += ["package-lock.json", "requirements.txt"]
    folder = CACHE / f"library-{digest_of([SOURCE / name for name in names])}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as out:
            result = Path(out, "library")
            run([node, "library.mjs", str(result), str(wheels)], work)
            remove_others("library-*")
            result.rename(folder)
    return folder


def key() -> str:
    """Return a name for everything that goes into the result."""
    return digest_of(sorted(sources()))


def sources() -> Iterator[Path]:
    """Yield the files that the result depends on."""
    yield ROOT / "micropie.py"
    for path in SOURCE.rglob("*"):
        if path.is_file() and not {"node_modules", "__pycache__"} & set(path.parts):
            yield path


def forget_old(made: Path) -> None:
    """Remove all but the newest results."""
    results = [path for path in CACHE.iterdir() if re.fullmatch("[0-9a-f]{16}", path.name)]
    results.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for path in results[KEPT:]:
        if path != made:
            shutil.rmtree(path, ignore_errors=True)


# --- What is installed ----------------------------------------------------------------------------


def program(*names: str) -> str:
    """Return the path of the first of these programs that is there."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise CannotBuildError(f"{names[0]} is not installed")


def node_modules(npm: str) -> Path:
    """Return a folder with the npm packages of the lock file; npm checks their hashes."""
    lists = [SOURCE / name for name in ("package.json", "package-lock.json", ".npmrc")]
    folder = CACHE / f"npm-{digest_of(lists)}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            for path in lists:
                shutil.copy(path, work)
            # No package needs a script of its own to be installed.
            run([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], Path(work))
            remove_others("npm-*")
            Path(work).rename(folder)
            Path(work).mkdir()  # for the end of the `with` statement
    return folder / "node_modules"


def download_wheels() -> Path:
    """Return a folder with the wheels of requirements.txt; pip checks their hashes."""
    requirements = SOURCE / "requirements.txt"
    folder = CACHE / f"wheels-{digest_of([requirements])}"
    if not folder.is_dir():
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            wheels = Path(work, "wheels")
            halves, whole = split_requirements(requirements.read_text("utf-8"))
            download(whole, WASM, wheels)
            download(halves, ANY_MACHINE, wheels)
            remove_others("wheels-*")
            wheels.rename(folder)
    return folder


def split_requirements(text: str) -> tuple[str, str]:
    """Separate the pins of packages that have no wheel for Pyodide from the others."""
    halves: list[str] = []
    whole: list[str] = []
    for pin in re.findall(r"^[\w.\[\]-]+==.*(?:\n +.*)*", text, re.MULTILINE):
        name = pin.partition("==")[0].lower()
        (halves if name in PYTHON_HALF else whole).append(pin)
    return "\n".join(halves) + "\n", "\n".join(whole) + "\n"


def download(requirements: str, platform: str, folder: Path) -> None:
    """Let pip download wheels for another machine."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(requirements)
        pins.flush()
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
        command += [
            f"--platform={platform}",
            *PYTHON,
            f"--dest={folder}",
            f"--requirement={pins.name}",
        ]
        run(command, ROOT)


def remove_others(pattern: str) -> None:
    """Remove what an earlier lock file has brought."""
    for path in CACHE.glob(pattern):
        shutil.rmtree(path, ignore_errors=True)


def digest_of(paths: list[Path]) -> str:
    """Return a short name for these files and their content."""
    digest = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()[:16]


def run(command: list[str], folder: Path) -> None:
    """Run a program; what it says is shown if it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        name = " ".join(map(os.path.basename, command[:3]))
        raise CannotBuildError(f"`{name}` failed with {done.returncode}:\n{done.stdout[-3000:]}")


@contextlib.contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one build at a time work; tests build the site more than once side by side."""
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main(arguments: list[str]) -> str:
    """Build, and copy the result to the folder that is named; return why that is not possible."""
    try:
        made = cached_build()
    except CannotBuildError as problem:
        return f"No live apps: {problem}"
    for folder in arguments:
        shutil.copytree(made, folder, dirs_exist_ok=True)
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) or 0)
