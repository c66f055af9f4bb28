"""The .zip of each example and of each step of the tutorial answers as it is."""

import importlib
import os
import shutil
import subprocess
import sys
import zipfile

import httpx
import pytest

from tests.examples import harness
from tests.processes import ROOT, free_port, serving

micropie_examples = importlib.import_module("docs._ext.micropie_examples")
ALL = micropie_examples.all_examples() + micropie_examples.all_steps()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return micropie_examples.build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def archive(example, wheel, tmp_path):
    path = tmp_path / f"{example.name}.zip"
    example.write_archive(path, wheel)
    return path


@pytest.mark.parametrize("example", ALL, ids=lambda example: example.path)
def test_archive_has_the_files_of_the_example_and_micropie(example, archive, wheel, tmp_path):
    again = tmp_path / "again.zip"
    example.write_archive(again, wheel)

    with zipfile.ZipFile(archive) as packed:
        contents = {name: packed.read(name) for name in packed.namelist()}

    assert archive.read_bytes() == again.read_bytes()
    assert contents.pop(f"{example.name}/{wheel.name}") == wheel.read_bytes()
    assert contents.pop(f"{example.name}/LICENSE") == (ROOT / "LICENSE").read_bytes()
    readme = f"{example.name}/README.md"
    assert b"<!-- " not in contents.pop(readme, b"")
    assert contents == {
        f"{example.name}/{example.relative(path)}": path.read_bytes()
        for path in example.files()
        if path.name != "README.md"
    }
    assert f"{example.name}/app.py" in contents


def test_every_example_and_step_is_on_the_site():
    folders = {
        path.parent for part in ("examples", "tutorials") for path in (ROOT / part).glob("*/app.py")
    }

    assert {example.folder for example in ALL} == folders


@pytest.mark.slow
@pytest.mark.parametrize("example", micropie_examples.all_steps(), ids=lambda example: example.path)
def test_unpacked_archive_of_a_step_installs_and_serves(example, archive, tmp_path):
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(tmp_path)
    folder, environment = tmp_path / example.name, tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install"]
    if shutil.which("uv"):
        install = ["uv", "pip", "install", "--python", python]
    command = [*install, "--quiet", "-r", "requirements.txt"]
    subprocess.run(command, cwd=folder, check=True, timeout=600)
    port = free_port()
    path = f"{environment}/bin{os.pathsep}{os.environ['PATH']}"

    with serving(harness.SERVE, folder, port, {"PYTHONPATH": "", "PATH": path}):
        response = httpx.get(f"http://127.0.0.1:{port}/", timeout=60)

    assert response.status_code < 400
