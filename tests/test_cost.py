"""What an import costs. What a request costs is held by `make bench-guard`."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_import_is_quick():
    command = [sys.executable, "-m", "benchmarks.imports", "--check"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("early", ["jinja2", "multipart"])
def test_import_does_not_load(early):
    code = f"import sys, micropie; sys.exit({early!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
