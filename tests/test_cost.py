"""What an import costs. What a request costs is held by `make bench-guard`."""

import subprocess
import sys

import pytest

from tests.processes import ROOT


@pytest.mark.slow
def test_import_is_quick():
    command = [sys.executable, "-m", "benchmarks.imports", "--check"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )

    assert result.returncode == 0, result.stdout + result.stderr


def test_import_does_not_load_jinja2_and_multipart():
    code = "import sys, micropie; sys.exit(not {'jinja2', 'multipart'}.isdisjoint(sys.modules))"

    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode
        == 0
    )
