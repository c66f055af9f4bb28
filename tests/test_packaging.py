"""The package: the stub, the wheel, the sdist, and the types that an installed MicroPie has."""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import micropie

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "typing_sample.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def load_script(name: str) -> ModuleType:
    """Import one of the scripts under .ci, which is no package."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command to its end and return what it printed; its failure is shown whole."""
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=600, check=False
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


# --- the stub ---------------------------------------------------------------------------------


def test_stub_is_up_to_date():
    make_stub = load_script("make_stub")

    assert make_stub.STUB.read_text() == make_stub.make_stub(make_stub.MODULE.read_text()), "run `make stub`"


def stub_of(source: str) -> str:
    """Return the stub of a module, its heading and imports left out."""
    return load_script("make_stub").make_stub(source).split("\n\n", 2)[2]


def test_stub_leaves_out_what_nobody_may_use():
    stub = stub_of(
        '__all__ = ["f", "C"]\n'
        "_Alias = dict[str, int]\n"
        "_Unused = list[int]\n"
        "def f(a: _Alias, /, b: int = 1, *c: str, d: float = 2 * 3, **e: object) -> 'C': return C()\n"
        "def _helper(): pass\n"
        "class C:\n"
        "    x: int = 1\n"
        "    def __init__(self, y: str) -> None:\n"
        "        self.y = y\n"
        "        self._z = 1\n"
        "    async def stream(self) -> list[int]: yield 1\n"
        "    def _private(self): pass\n"
    )

    assert stub == (
        '__all__ = ["f", "C"]\n'
        "_Alias = dict[str, int]\n"
        "\n"
        'def f(a: _Alias, /, b: int = 1, *c: str, d: float = ..., **e: object) -> "C": ...\n'
        "\n"
        "class C:\n"
        "    x: int\n"
        "    y: str\n"
        "    def __init__(self, y: str) -> None: ...\n"
        "    def stream(self) -> list[int]: ...\n"
    )


@pytest.mark.parametrize(
    "line", ["def f(a) -> None: ...", "def f(a: int): ...", "f = print(1).real", "class f:\n    x = unknown.y"]
)
def test_stub_refuses_what_has_no_type(line):
    make_stub = load_script("make_stub")

    with pytest.raises(make_stub.StubError):
        make_stub.make_stub(f'__all__ = ["f"]\n{line}\n')


# --- the rule on the length of functions ------------------------------------------------------


def function_of(lines: int, docstring_lines: int = 0) -> str:
    docstring = ['    """' + "\n" * (docstring_lines - 1) + '"""'] if docstring_lines else []
    return "\n".join(["def f():", *docstring, *["    pass"] * (lines - 1)]) + "\n"


@pytest.mark.parametrize(
    ("source", "status"),
    [(function_of(60), 0), (function_of(61), 1), (function_of(60, docstring_lines=30), 0), ("class C:\n  x = 1\n", 0)],
)
def test_functions_over_60_lines_are_found(tmp_path, source, status, capsys):
    (tmp_path / "module.py").write_text(source)

    assert load_script("check_functions").main([str(tmp_path)]) == status
    assert ("61 lines" in capsys.readouterr().out) == bool(status)


# --- one version, one set of names ------------------------------------------------------------


def test_version_is_stated_once():
    assert PROJECT["dynamic"] == ["version"]
    assert re.fullmatch(r"\d+\.\d+\.\d+([ab]\d+)?", micropie.__version__)
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
def test_wheel_holds_the_module_and_its_stub(wheel):
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
        assert archive.read("micropie.py") == (ROOT / "micropie.py").read_bytes()
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
def test_mypy_sees_the_types_of_the_installed_module(installed, sample):
    run(installed, "-m", "mypy", "--strict", sample, cwd=sample.parent)


@pytest.mark.slow
def test_pyright_sees_the_types_of_the_installed_module(installed, sample):
    (sample.parent / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))

    run(installed, "-m", "pyright", "--pythonpath", installed, sample, cwd=sample.parent)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("line", "complaint"),
    [("micropie.set_cookie('a', 1)", "arg-type"), ("micropie.App().nothing", "attr-defined")],
)
def test_mypy_refuses_wrong_use(installed, tmp_path, line, complaint):
    (tmp_path / "wrong.py").write_text(f"import micropie\n\n{line}\n")

    result = subprocess.run(
        [installed, "-m", "mypy", "--strict", "wrong.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert result.returncode == 1 and f"[{complaint}]" in result.stdout


@pytest.mark.slow
def test_stub_agrees_with_the_module_at_run_time(installed, tmp_path):
    (tmp_path / "mypy.ini").write_text("[mypy]\n")
    # Any attribute may be set on a request: type checkers have to be told, Python does it anyway.
    (tmp_path / "allowed").write_text("micropie.Request.__getattr__\nmicropie.Request.__setattr__\n")
    options = ("--mypy-config-file", "mypy.ini", "--allowlist", "allowed")

    run(installed, "-m", "mypy.stubtest", "micropie", *options, cwd=tmp_path)
