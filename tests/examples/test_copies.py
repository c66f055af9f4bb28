"""Files that several examples have are the same in each, so that a fix goes into all of them."""

import importlib
import re
from collections import defaultdict

import pytest

from tests.examples import harness

micropie_examples = importlib.import_module("docs._ext.micropie_examples")
SHARED = {
    ".gitignore",
    "conditions.py",
    "job_queue.py",
    "lifespan.py",
    "local.py",
    "passwords.py",
    "redis_sessions.py",
    "sql_sessions.py",
    "templates/style.css",
}
#: The reference has its own passwords, the gallery its own look, and a deployment its backups.
OTHERS = {
    "blog/passwords.py",
    "deploy/.gitignore",
    "gallery/templates/style.css",
    "lifespan/lifespan.py",
}
HEAD = """\
# The wheel of MicroPie lies in this folder: the micropie on PyPI is another package.
--find-links .
micropie[all]>=1.0.0.dev0
"""
MOST_LINES = 16_000  # of all: an example that grows makes another one smaller
#: Examples of more than one process, which have a bound for themselves.
OPERATIONS = {"cluster", "deploy", "observability"}
MOST_OPERATIONS_LINES = 4_000
PROJECTS = [name for name in harness.ALL_NAMES if name != "gallery"]


def copies():
    found = defaultdict(list)
    for path in sorted(harness.EXAMPLES.glob("*/**/*")):
        relative = path.relative_to(harness.EXAMPLES).as_posix()
        for shared in SHARED:
            if relative.endswith(f"/{shared}") and relative not in OTHERS:
                found[shared].append(path)
    return found


@pytest.mark.parametrize("name", sorted(SHARED))
def test_copies_are_identical(name):
    first, *others = copies()[name]

    assert others, f"only one example has {name}"
    for other in others:
        assert other.read_bytes() == first.read_bytes(), other


def test_kept_secret_is_the_same_function_in_each():
    found = [
        re.findall(
            r"^def kept_secret\(.*?(?=\n\n\n|\Z)", path.read_text(), re.DOTALL | re.MULTILINE
        )
        for path in harness.EXAMPLES.glob("*/*.py")
    ]
    functions = [one.rstrip() for several in found for one in several]

    assert len(functions) == 5
    assert len(set(functions)) == 1


@pytest.mark.parametrize("name", [name for name in PROJECTS if name in harness.NAMES])
def test_folder_is_a_project(name):
    folder = harness.EXAMPLES / name

    assert (folder / "requirements.txt").read_text().startswith(HEAD)
    assert (folder / "requirements-dev.txt").read_text().startswith("-r requirements.txt\n")
    assert (folder / ".gitignore").exists()
    assert list(folder.rglob("test_*.py"))
    assert (harness.HERE / f"test_{name}.py").exists()


def test_examples_stay_small():
    """The reference blog, the gallery, and files that other projects have made do not count."""
    assert sum(map(lines_of, {*PROJECTS} - {"blog", *OPERATIONS})) <= MOST_LINES


def test_examples_of_more_than_one_process_stay_small():
    assert sum(map(lines_of, {*PROJECTS} & OPERATIONS)) <= MOST_OPERATIONS_LINES


def test_page_of_an_example_links_the_guides_that_its_readme_names():
    """A README is also read without the site, so it names them by their titles."""
    page = micropie_examples._page(micropie_examples.Example("examples/deploy"))

    for name in ("debian", "nginx", "caddy", "docker", "prefix"):
        assert f"](../howto/{name}.md)" in page


def lines_of(name):
    files = micropie_examples.Example(f"examples/{name}").files()
    return sum(len(path.read_text().splitlines()) for path in files if is_own_text(path))


def is_own_text(path):
    if ".min." in path.name or path.name in {"LICENSE", "poem.txt"}:
        return False
    return b"\0" not in path.read_bytes() and path.suffix not in {".webm", ".png", ".jpg", ".ico"}
