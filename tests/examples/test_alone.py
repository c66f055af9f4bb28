"""Each example works alone: its folder, its requirements and the wheel, in a fresh environment."""

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
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(harness.ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    [built] = folder.glob("*.whl")
    return built


@pytest.mark.parametrize("name", harness.NAMES)
def test_starts_alone(name, wheel, tmp_path, services):
    folder = tmp_path / name
    shutil.copytree(harness.EXAMPLES / name, folder, ignore=harness.NOT_COPIED)
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True, timeout=120)
    requirements = folder / "requirements.txt"
    more = ["--requirement", requirements] if requirements.exists() else []
    pip = [sys.executable, "-m", "pip", "--python", environment, "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, f"{wheel}[all]", *more], check=True, timeout=600)
    variables = {
        **services.environment(name),
        "PATH": f"{environment}/bin{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
    }
    port = free_port()

    with serving(harness.SERVE, folder, port, variables):
        response = httpx.get(f"http://127.0.0.1:{port}/")

    assert response.status_code < 400
    assert not (folder / "micropie.py").exists()
