"""The package: the wheel, the sdist, and the types that an installed MicroPie has."""

import ast
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import micropie

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "typing_sample.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command to its end and return what it printed; its failure is shown whole."""
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


# --- one version, one set of names ------------------------------------------------------------


def test_version_is_stated_once():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", micropie.__version__)
    stated = [line for line in (ROOT / "micropie.py").read_text().split("\n") if micropie.__version__ in line]
    assert stated == [f'__version__ = "{micropie.__version__}"']


def test_sample_uses_every_public_name():
    tree = ast.parse(SAMPLE.read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "micropie"
        for alias in node.names
    }
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
        assert set(archive.namelist()) == {
            "micropie.py",
            "micropie-stubs/__init__.pyi",
            f"{info}/METADATA",
            f"{info}/RECORD",
            f"{info}/WHEEL",
            f"{info}/licenses/LICENSE",
        }
        module = (ROOT / "micropie.py").read_bytes()
        assert archive.read("micropie.py") == archive.read("micropie-stubs/__init__.pyi") == module
        metadata = archive.read(f"{info}/METADATA").decode()
    assert "Requires-Python: >=3.11\n" in metadata
    assert "License-Expression: BSD-3-Clause\n" in metadata
    assert re.findall(r"Provides-Extra: (\w+)", metadata) == ["all", "standard"]
    required = set(re.findall(r"Requires-Dist: (.*)", metadata))
    assert all("extra ==" in requirement for requirement in required), "the module alone needs nothing"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git checkout to compare the sdist with")
def test_sdist_holds_what_the_repository_holds(built):
    with tarfile.open(built / f"micropie-{micropie.__version__}.tar.gz") as archive:
        held = {name.partition("/")[2] for name in archive.getnames()} - {"PKG-INFO"}
    tracked = set(run("git", "ls-files").split())
    hosted = {name for name in tracked if name.startswith(".github/")} | {".readthedocs.yaml"}

    assert tracked - hosted - held == set()
    assert [name for name in held if re.search(r"(^|/)(\.venv|__pycache__|_build)/|\.pyc$", name)] == []


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Install the wheel with everything into a new environment; return the environment's Python."""
    environment = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", environment)
    python = environment / "bin" / "python"
    run(
        python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "requirements" / "dev.txt",
        f"micropie[all] @ {wheel.as_uri()}", "mypy", "pyright[nodejs]",
    )  # fmt: skip
    return python


@pytest.fixture(scope="module")
def bare(wheel, tmp_path_factory) -> Path:
    """Make an environment with the wheel and no optional package; return the environment's Python."""
    environment = tmp_path_factory.mktemp("bare")
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    [packages] = environment.glob("lib/python*/site-packages")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    return environment / "bin" / "python"


@pytest.fixture(params=["installed", "bare"])
def checked(request) -> Path:
    """Return the Python of an environment with all optional packages, then of one without any."""
    python: Path = request.getfixturevalue(request.param)
    return python


@pytest.fixture
def sample(tmp_path) -> Path:
    """Copy the sample app away from the checkout, so that it can only import what is installed."""
    copy = tmp_path / "sample.py"
    copy.write_text(SAMPLE.read_text())
    return copy


@pytest.mark.slow
def test_extras_bring_what_they_promise(installed):
    code = "import jinja2, multipart, orjson, uvicorn, micropie; print(micropie.__file__)"

    assert "site-packages" in run(installed, "-c", code, cwd=installed.parent)


@pytest.mark.slow
def test_sample_runs_on_the_installed_wheel(installed, sample):
    assert "all answers are right" in run(installed, "-W", "error", sample, cwd=sample.parent)


@pytest.mark.slow
def test_mypy_sees_the_types_of_the_installed_module(installed, checked, sample):
    run(installed, "-m", "mypy", "--strict", "--python-executable", checked, sample, cwd=sample.parent)


@pytest.mark.slow
def test_pyright_sees_the_types_of_the_installed_module(installed, checked, sample):
    (sample.parent / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))

    run(installed, "-m", "pyright", "--pythonpath", checked, sample, cwd=sample.parent)


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


def complaints(*command: str | Path, cwd: Path) -> str:
    """Run a type checker that has something to complain about; return what it printed."""
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
def test_mypy_refuses_each_wrong_use(installed, checked, wrong):
    command = [installed, "-m", "mypy", "--strict", "--python-executable", checked, wrong.name]
    found = re.findall(r"wrong\.py:(\d+): error: .*\[([\w-]+)\]", complaints(*command, cwd=wrong.parent))

    assert found == [(str(number), mypy) for number, (mypy, _) in enumerate(WRONG.values(), 3)]


@pytest.mark.slow
def test_pyright_refuses_each_wrong_use(installed, checked, wrong):
    output = complaints(
        installed, "-m", "pyright", "--outputjson", "--pythonpath", checked, wrong.name, cwd=wrong.parent
    )
    found = [
        (each["range"]["start"]["line"] + 1, each["rule"])
        for each in json.loads(output)["generalDiagnostics"]
        if each["severity"] == "error"
    ]

    assert found == [(number, pyright) for number, (_, pyright) in enumerate(WRONG.values(), 3)]
