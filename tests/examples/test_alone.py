"""Each example works alone, in an environment with its requirements and the wheel."""

import functools
import os
import shutil
import subprocess
import sys

import httpx
import pytest

from tests.examples import harness
from tests.processes import free_port, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(harness.ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    [built] = folder.glob("*.whl")
    return built


def install(environment, *what):
    """Install with uv if it is there, or else with pip, which takes much longer."""
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", environment / "bin" / "python"]
    else:
        command = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            environment,
            "--disable-pip-version-check",
            "install",
        ]
        command.append("--no-compile")  # most modules of most packages are never imported here
    subprocess.run([*command, "--quiet", *what], check=True, timeout=600)


def new_environment(folder):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    [packages] = folder.glob("lib/*/site-packages")
    return packages


@pytest.fixture(scope="module")
def environment_with(wheel, tmp_path_factory):
    """Return a maker of environments with the wheel and some requirements, made once for each.

    The wheel with its extras, which all READMEs begin with, is installed once, and linked into the
    others.
    """
    base = tmp_path_factory.mktemp("base")
    packages = new_environment(base)
    install(base, f"{wheel}[all]")

    @functools.cache
    def make(requirements):
        if not requirements:
            return base
        environment = tmp_path_factory.mktemp("environment")
        shutil.copytree(
            packages, new_environment(environment), copy_function=os.link, dirs_exist_ok=True
        )
        for script in {path.name for path in (base / "bin").iterdir()} - {
            path.name for path in (environment / "bin").iterdir()
        }:
            copy = environment / "bin" / script
            copy.write_text(
                (base / "bin" / script).read_text().replace(str(base), str(environment))
            )
            copy.chmod(0o755)
        install(environment, *requirements)
        return environment

    return make


def requirements_of(name):
    path = harness.EXAMPLES / name / "requirements.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    return tuple(sorted(line for line in lines if line and not line.startswith("#")))


@pytest.mark.parametrize("name", harness.NAMES)
def test_example_starts_and_answers_with_what_its_readme_installs(
    name, environment_with, tmp_path, services
):
    folder = tmp_path / name
    shutil.copytree(harness.EXAMPLES / name, folder, ignore=harness.NOT_COPIED)
    environment = environment_with(requirements_of(name))
    path = f"{environment}/bin{os.pathsep}{os.environ['PATH']}"
    variables = {**services.environment(name), "PATH": path, "PYTHONPATH": ""}
    port = free_port()

    line = f'test "$(command -v uvicorn)" = {environment}/bin/uvicorn && {harness.SERVE}'
    with serving(line, folder, port, variables):
        response = httpx.get(f"http://127.0.0.1:{port}/")

    assert response.status_code < 400
    assert not (folder / "micropie.py").exists()
