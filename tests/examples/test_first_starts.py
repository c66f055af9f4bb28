"""Workers that start together for the first time make the database together, and none fails."""

import subprocess
import sys

import pytest

from tests.examples.harness import EXAMPLES, HERE, NAMES, copied
from tests.processes import environment

ROUNDS = 3  # in the last one, another connection writes when the workers start


def modes():
    """Yield each example that makes tables when it starts, and its database's journal mode."""
    for name in NAMES:
        source = "".join(path.read_text() for path in (EXAMPLES / name).glob("*.py"))
        if "journal_mode = WAL" in source:
            yield name, "wal"
        elif "create_all" in source:
            yield name, "delete"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "mode"), [*modes()])
def test_workers_that_start_together_all_start(name, mode, tmp_path):
    folders = [copied(name, tmp_path / str(number)) for number in range(ROUNDS)]
    starts = subprocess.run(
        [sys.executable, HERE / "first_starts.py", *folders],
        check=False,
        capture_output=True,
        text=True,
        env=environment({}),
        timeout=120,
    )

    assert starts.returncode == 0, starts.stderr
    assert starts.stdout.split() == [mode] * ROUNDS
