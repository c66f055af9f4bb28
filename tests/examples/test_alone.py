"""Each example works from its .zip alone, followed as its README says: install, start, try, test.

The environment is new and empty, and MicroPie comes from the wheel in the .zip.
"""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from docs._ext.blocks import blocks
from tests.blocks import commands, try_blocks
from tests.examples import harness
from tests.processes import free_port, serving

pytestmark = pytest.mark.slow
micropie_examples = importlib.import_module("docs._ext.micropie_examples")
NAMES = [name for name in harness.NAMES if name != "gallery"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return micropie_examples.build_wheel(tmp_path_factory.mktemp("wheel"))


def install(environment, folder):
    """Make an environment; install with uv if it is there, or else with pip, which is slower."""
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    python = environment / "bin" / "python"
    command = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-compile"]
    if shutil.which("uv"):
        command = ["uv", "pip", "install", "--python", python]
    subprocess.run(
        [*command, "--quiet", "-r", "requirements-dev.txt"], cwd=folder, check=True, timeout=600
    )


@pytest.mark.parametrize("name", NAMES)
def test_example_is_followed_from_its_archive(name, wheel, tmp_path, services):
    archive = tmp_path / f"{name}.zip"
    micropie_examples.Example(f"examples/{name}").write_archive(archive, wheel)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    folder, environment = tmp_path / name, tmp_path / "environment"
    install(environment, folder)
    readme = (harness.EXAMPLES / name / "README.md").read_text()  # that in the .zip has no marks
    found = [block for block in blocks(readme) if block.text]
    [line, *_] = [commands(one.text)[0].line for one in found if one.kind == "serves"]
    path = f"{environment}/bin{os.pathsep}{os.environ['PATH']}"
    variables = {**services.environment(name), "PATH": path, "PYTHONPATH": ""}
    port = free_port()

    line = f'test "$(command -v uvicorn)" = {environment}/bin/uvicorn && {line}'
    with serving(line, folder, port, variables):
        texts = [one.text for one in found if one.language == "console" and not one.comment]
        try_blocks(texts, port, folder, variables)

    assert not (folder / "micropie.py").exists()
