"""What a request and an import cost: the aims of the benchmarks, held."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def check(script: str) -> None:
    """Run a benchmark that exits 1 when it is over its aims."""
    command = [sys.executable, ROOT / "benchmarks" / script, "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind to count instructions with")
def test_instructions_per_request_stay_near_a_hand_written_app():
    check("instructions.py")


@pytest.mark.slow
def test_import_is_quick_and_loads_nothing_early():
    check("import_cost.py")


@pytest.mark.parametrize("early", ["jinja2", "multipart"])
def test_import_does_not_load(early):
    code = f"import sys, micropie; sys.exit({early!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0
