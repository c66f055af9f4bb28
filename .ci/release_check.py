"""Check that the last commit can be released, and leave the packages to publish in dist/.

    python .ci/release_check.py               everything
    python .ci/release_check.py --rehearsal   the same, but allows placeholders, unreleased changes
                                              and uncommitted files

The sdist and the wheel are built from a copy of the committed files, and the wheel must run an
example in an environment that holds nothing else than the wheel and its optional packages.
"""

import argparse
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACEHOLDER = "example.invalid"
"""The hosts of addresses to fill in before a release (RFC 2606 reserves `.invalid`)."""
WITH_ADDRESSES = ("pyproject.toml", "CODE_OF_CONDUCT.md", ".github")


class Refused(Exception):
    """The commit cannot be released; the text says why."""


def run(*command: str | Path, cwd: Path = ROOT, environment: dict[str, str] | None = None) -> str:
    """Run a command, and return what it prints."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    if result.returncode != 0:
        raise Refused(f"{' '.join(words)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


# --- what is written down -----------------------------------------------------------------------


def read_version(root: Path) -> str:
    """Return the version that micropie.py states."""
    found = re.search(
        r'^__version__ = "(.+)"$', (root / "micropie.py").read_text(encoding="utf-8"), flags=re.M
    )
    if found is None:
        raise Refused("micropie.py has no line that starts with __version__")
    return found[1]


def changelog_sections(text: str) -> list[tuple[str, str]]:
    """Return title (a version, or Unreleased) and text of a changelog's sections, newest first."""
    parts = re.split(r"^## \[?([^\]\s]+)\]?.*$", text, flags=re.M)
    return [(title, body.strip()) for title, body in zip(parts[1::2], parts[2::2], strict=True)]


def check_changelog(root: Path, version: str) -> Iterator[str]:
    """Complain about changes that are not released, and about a newest version unlike this one."""
    sections = changelog_sections((root / "CHANGELOG.md").read_text(encoding="utf-8"))
    if sections and sections[0][0].lower() == "unreleased":
        _, changes = sections.pop(0)
        if changes:
            yield (
                "CHANGELOG.md has changes under Unreleased: "
                f"move them under a heading for {version}"
            )
    newest = sections[0][0] if sections else "no version"
    if newest != version:
        yield f"CHANGELOG.md starts with {newest}, but micropie.py has version {version}"


def check_addresses(root: Path) -> Iterator[str]:
    """Complain about addresses that are still placeholders, and about missing project links."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    if not project.get("urls"):
        yield "pyproject.toml has no [project.urls]"
    for name in WITH_ADDRESSES:
        path = root / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and PLACEHOLDER in file.read_text(encoding="utf-8"):
                yield (
                    f"{file.relative_to(root)} has a placeholder: "
                    f"replace the address with {PLACEHOLDER} in it"
                )


def check_tags(tags: list[str], version: str) -> Iterator[str]:
    """Complain if the commit has version tags, and one of them is another version's."""
    for tag in tags:
        if re.match(r"v\d", tag) and tag != f"v{version}":
            yield f"the commit has the tag {tag}, but micropie.py has version {version}"


def complaints(root: Path, *, rehearsal: bool) -> list[str]:
    """Return reasons against a release before a build; a rehearsal looks at the tags alone."""
    version = read_version(root)
    found = list(check_tags(run("git", "tag", "--points-at", "HEAD", cwd=root).split(), version))
    if not rehearsal:
        found += check_changelog(root, version)
        found += check_addresses(root)
        if changed := run("git", "status", "--porcelain", cwd=root):
            found.append(f"there are files that are not committed:\n{changed.rstrip()}")
    return found


# --- what is built ------------------------------------------------------------------------------


def copy_commit(root: Path, to: Path) -> None:
    """Copy the files of the last commit into a new folder."""
    to.mkdir()
    archive = to.with_suffix(".tar")
    run("git", "archive", "--output", archive, "HEAD", cwd=root)
    shutil.unpack_archive(archive, to, filter="data")


def build(source: Path, out: Path) -> Path:
    """Build and check the sdist, and the wheel from it, in an empty folder; return the wheel."""
    shutil.rmtree(out, ignore_errors=True)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, cwd=source)
    run(sys.executable, "-m", "twine", "check", "--strict", *sorted(out.iterdir()))
    [wheel] = out.glob("*.whl")
    return wheel


def pins(requirements: Path) -> str:
    """Return the lines of a pinned file without hashes and extras, which no constraint can have."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    return "".join(
        re.sub(r"\[.*?\]| *\\$", "", line) + "\n" for line in lines if re.match(r"\w", line)
    )


def install(environment: Path, constraints: Path, *packages: str) -> Path:
    """Install packages into a new environment, with uv if possible; return its Python."""
    python = environment / "bin" / "python"
    limits = environment.with_suffix(".constraints")
    limits.write_text(pins(constraints), encoding="utf-8")
    wanted: tuple[str | Path, ...] = ("--quiet", "--constraint", limits, *packages)
    if uv := shutil.which("uv"):
        run(uv, "venv", "--quiet", "--no-config", "--python", sys.executable, environment)
        run(uv, "pip", "install", "--no-config", "--python", python, *wanted)
    else:
        run(sys.executable, "-m", "venv", environment)
        run(python, "-m", "pip", "--disable-pip-version-check", "install", *wanted)
    return python


def ask_example(python: Path, folder: Path) -> str:
    """Serve an example with the environment's uvicorn, and return the page at `/`."""
    # The server inherits it: requests wait until it reads.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port, descriptor = listener.getsockname()[1], listener.fileno()
        variables = {
            name: value for name, value in os.environ.items() if not name.startswith("PYTHON")
        }
        command = [
            str(python),
            "-m",
            "uvicorn",
            "app:app",
            "--fd",
            str(descriptor),
            "--log-level",
            "warning",
        ]
        server = subprocess.Popen(command, cwd=folder, env=variables, pass_fds=[descriptor])
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=120) as response:
            page: bytes = response.read()
    except OSError as error:
        raise Refused(f"{folder.name} did not answer: {error}") from error
    finally:
        server.terminate()
        server.wait(30)
    return page.decode()


def try_wheel(wheel: Path, source: Path, version: str, environment: Path) -> None:
    """Install the wheel into an empty environment, compare versions, and ask an example there."""
    python = install(
        environment, source / "requirements" / "run.txt", f"micropie[all] @ {wheel.as_uri()}"
    )
    code = (
        "import importlib.metadata as m, micropie; "
        "print(micropie.__version__, m.version('micropie'))"
    )
    stated = run(python, "-P", "-c", code, cwd=environment).split()
    if stated != [version, version]:
        raise Refused(f"the installed wheel has the versions {stated}, not {version}")
    page = ask_example(python, source / "examples" / "hello_world")
    if page != "Welcome to MicroPie.":
        raise Refused(f"hello_world answered {page!r}")


def main(arguments: list[str]) -> int:
    """Check everything; return the exit status."""
    parser = argparse.ArgumentParser(description="Check that the last commit can be released.")
    parser.add_argument(
        "--rehearsal", action="store_true", help="allow what only a real release must have"
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "dist", help="the folder for the packages (dist)"
    )
    options = parser.parse_args(arguments)
    try:
        if found := complaints(ROOT, rehearsal=options.rehearsal):
            raise Refused("\n".join(found))
        with tempfile.TemporaryDirectory(prefix="release-check-") as folder:
            source = Path(folder) / "source"
            copy_commit(ROOT, source)
            version = read_version(source)
            wheel = build(source, options.out.resolve())
            try_wheel(wheel, source, version, Path(folder) / "environment")
    except Refused as refusal:
        print(f"release-check: {refusal}", file=sys.stderr)
        return 1
    print(
        f"release-check: {version} {'is rehearsed' if options.rehearsal else 'can be released'}, "
        f"see {options.out}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
