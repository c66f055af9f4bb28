"""The package: the wheel, the sdist, installed types, and the checks before a release."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import micropie
from tests.processes import ROOT

SAMPLE = ROOT / "tests" / "typing_sample.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path = ROOT, status: int = 0) -> str:
    """Run a command to its end and return what it printed, which another exit status shows."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=600)
    assert result.returncode == status, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


release_check = SimpleNamespace(**runpy.run_path(f"{ROOT}/.ci/release_check.py"))
in_checkout = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is not a git checkout")


# --- one version, one set of names ------------------------------------------------------------


def test_version_is_stated_once():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", micropie.__version__)
    stated = [
        line
        for line in (ROOT / "micropie.py").read_text().split("\n")
        if micropie.__version__ in line
    ]
    assert stated == [f'__version__ = "{micropie.__version__}"']


def test_sample_uses_every_public_name():
    tree = ast.parse(SAMPLE.read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in imports if node.module == "micropie" for alias in node.names}
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}

    assert imported == set(micropie.__all__)
    assert imported <= used


# --- the built packages -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Build the sdist and, from it, the wheel; return their folder."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return built / f"micropie-{micropie.__version__}-py3-none-any.whl"


@pytest.mark.slow
def test_wheel_holds_the_module_twice_for_python_and_for_type_checkers(wheel):
    info = f"micropie-{micropie.__version__}.dist-info"

    with zipfile.ZipFile(wheel) as archive:
        of_info = {f"{info}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "licenses/LICENSE")}
        assert set(archive.namelist()) == {"micropie.py", "micropie-stubs/__init__.pyi", *of_info}
        module = (ROOT / "micropie.py").read_bytes()
        assert archive.read("micropie.py") == archive.read("micropie-stubs/__init__.pyi") == module
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "Requires-Python: >=3.11\n" in metadata
    assert "License-Expression: BSD-3-Clause\n" in metadata
    assert re.findall(r"Provides-Extra: (\w+)", metadata) == ["all", "standard"]
    required = set(re.findall(r"Requires-Dist: (.*)", metadata))
    assert all("extra ==" in requirement for requirement in required), (
        "the module alone needs nothing"
    )


@pytest.mark.slow
@in_checkout
def test_sdist_holds_what_the_repository_holds(built):
    with tarfile.open(built / f"micropie-{micropie.__version__}.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    tracked = set(run("git", "ls-files").split())

    assert tracked - held == set()
    assert [
        name for name in held if re.search(r"(^|/)(\.venv|__pycache__|_build)/|\.pyc$", name)
    ] == []


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel with all optional packages into a new environment; return its Python."""
    environment = tmp_path_factory.mktemp("installed") / "environment"
    package = f"micropie[all] @ {wheel.as_uri()}"
    return Path(release_check.install(environment, ROOT / "requirements" / "run.txt", package))


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """Make an environment with the wheel and no optional package; return its Python."""
    environment = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    [packages] = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return environment / "bin" / "python"


@pytest.fixture(params=["installed", "bare"])
def checked(request) -> Path:
    """Return the Python of an environment with all optional packages, then of one without any."""
    return Path(request.getfixturevalue(request.param))


@pytest.fixture
def sample(tmp_path) -> Path:
    """Copy the sample app away from the checkout, so that it can only import what is installed."""
    return Path(shutil.copy(SAMPLE, tmp_path / "sample.py"))


@pytest.mark.slow
def test_extras_bring_what_they_promise_and_the_sample_runs(installed, sample):
    code = "import jinja2, multipart, orjson, uvicorn, micropie; print(micropie.__file__)"

    assert "site-packages" in run(installed, "-c", code, cwd=installed.parent)
    assert "all answers are right" in run(installed, "-W", "error", sample, cwd=sample.parent)


WRONG = {
    "micropie.set_cookie('a', 1)": ("arg-type", "reportArgumentType"),
    "micropie.App().nothing": ("attr-defined", "reportAttributeAccessIssue"),
    "micropie.UploadedFile('a').nothing": ("attr-defined", "reportAttributeAccessIssue"),
    "micropie.ServerSentEvent('a', id=1)": ("arg-type", "reportArgumentType"),
}


@pytest.fixture
def wrong(tmp_path) -> Path:
    """Write a module whose lines from the third on each use MicroPie wrongly."""
    path = tmp_path / "wrong.py"
    path.write_text("\n".join(["import micropie", "", *WRONG]) + "\n")
    return path


@pytest.mark.slow
def test_mypy_accepts_the_sample_and_refuses_each_wrong_use(checked, sample, wrong):
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", checked]
    run(*command, sample, cwd=sample.parent)
    output = run(*command, wrong.name, cwd=wrong.parent, status=1)
    found = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", output)

    assert found == [(str(number), mypy) for number, (mypy, _) in enumerate(WRONG.values(), 3)]


@pytest.mark.slow
def test_pyright_accepts_the_sample_and_refuses_each_wrong_use(checked, sample, wrong):
    command = [sys.executable, "-m", "pyright", "--pythonpath", checked]
    output = run(*command, "--outputjson", wrong.name, cwd=wrong.parent, status=1)
    reports = json.loads(output)["generalDiagnostics"]
    errors = [each for each in reports if each["severity"] == "error"]
    found = [(each["range"]["start"]["line"] + 1, each["rule"]) for each in errors]

    assert found == [(number, pyright) for number, (_, pyright) in enumerate(WRONG.values(), 3)]
    (sample.parent / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    run(*command, sample, cwd=sample.parent)


# --- before a release -------------------------------------------------------------------------

VERSION = "1.2.3"
READY = {
    "micropie.py": f'__version__ = "{VERSION}"\n',
    "CHANGELOG.md": f"# Changes\n\n## [Unreleased]\n\n## [{VERSION}] - 2030-01-02\n\n- New.\n\n"
    "## [1.2.2]\n\n- Old.\n",
    "CODE_OF_CONDUCT.md": "Write to conduct@example.org\n",
    "pyproject.toml": '[project]\nurls = { Homepage = "https://example.org" }\n',
    ".github/ISSUE_TEMPLATE/config.yml": "url: https://example.org\n",
}


@pytest.fixture
def project(tmp_path) -> Path:
    """Make a repository whose only commit can be released."""
    for name, text in READY.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run("git", "init", "--quiet", cwd=tmp_path)
    commit(tmp_path)
    return tmp_path


def commit(project: Path) -> None:
    author = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    run("git", "add", "--all", cwd=project)
    run("git", *author, "commit", "--quiet", "--message", "A commit", cwd=project)


def test_release_check_accepts_a_commit_that_is_ready_with_its_tag_and_without(project):
    assert release_check.complaints(project, rehearsal=False) == []

    run("git", "tag", f"v{VERSION}", cwd=project)
    run("git", "tag", "a-tag-of-another-kind", cwd=project)

    assert release_check.complaints(project, rehearsal=False) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("pyproject.toml", "example.org", "example.invalid", "pyproject.toml has a placeholder"),
        ("pyproject.toml", "urls", "others", "no [project.urls]"),
        (
            "CODE_OF_CONDUCT.md",
            "example.org",
            "example.invalid",
            "CODE_OF_CONDUCT.md has a placeholder",
        ),
        (
            ".github/ISSUE_TEMPLATE/config.yml",
            "example.org",
            "example.invalid",
            "config.yml has a placeholder",
        ),
        (
            "CHANGELOG.md",
            "[Unreleased]\n",
            "[Unreleased]\n\n- Newer.\n",
            "changes under Unreleased",
        ),
        (
            "CHANGELOG.md",
            f"[{VERSION}]",
            "[1.2.4]",
            "starts with 1.2.4, but micropie.py has version 1.2.3",
        ),
        ("CHANGELOG.md", "## [", "### [", "starts with no version"),
        ("micropie.py", VERSION, "1.2.4", "starts with 1.2.3, but micropie.py has version 1.2.4"),
    ],
)
def test_release_check_refuses(project, file, old, new, complaint):
    path = project / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    commit(project)

    [found] = release_check.complaints(project, rehearsal=False)

    assert complaint in found
    assert release_check.complaints(project, rehearsal=True) == []


def test_release_check_refuses_files_that_are_not_committed(project):
    (project / "new.py").touch()

    [found] = release_check.complaints(project, rehearsal=False)

    assert "new.py" in found
    assert release_check.complaints(project, rehearsal=True) == []


def test_release_check_refuses_a_tag_of_another_version_in_a_rehearsal_too(project):
    run("git", "tag", "v1.2.2", cwd=project)

    for rehearsal in (False, True):
        [found] = release_check.complaints(project, rehearsal=rehearsal)
        assert "the tag v1.2.2, but micropie.py has version 1.2.3" in found


def test_release_check_refuses_a_module_without_a_version(project):
    (project / "micropie.py").write_text("version = 1\n")

    with pytest.raises(release_check.Refused, match="__version__"):
        release_check.complaints(project, rehearsal=True)


def test_release_check_shows_the_output_of_a_command_that_fails():
    with pytest.raises(release_check.Refused, match="seen"):
        release_check.run(sys.executable, "-c", "print('seen'); raise SystemExit(3)")


@pytest.mark.slow
@in_checkout
def test_release_check_rehearses_the_last_commit(tmp_path):
    shown = run(sys.executable, ".ci/release_check.py", "--rehearsal", "--out", tmp_path)

    name = f"micropie-{release_check.read_version(ROOT)}"
    assert f"{name.removeprefix('micropie-')} is rehearsed" in shown
    made = {path.name for path in tmp_path.iterdir()}
    assert made == {f"{name}-py3-none-any.whl", f"{name}.tar.gz"}


def test_release_check_refuses_an_example_that_does_not_start(tmp_path):
    (tmp_path / "app.py").write_text("raise SystemExit('this example does not start')")

    with pytest.raises(release_check.Refused, match="did not answer"):
        release_check.ask_example(Path(sys.executable), tmp_path)


@pytest.mark.slow
def test_release_check_refuses_a_wheel_of_another_version(wheel, tmp_path):
    with pytest.raises(release_check.Refused, match="not 9.9.9"):
        release_check.try_wheel(wheel, ROOT, "9.9.9", tmp_path / "environment")
