"""Workers that start together for the first time make the database together, and none fails."""

import pytest

from tests.examples.copied import check_first_starts
from tests.examples.harness import EXAMPLES, NAMES, copied


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
    check_first_starts([copied(name, tmp_path / str(number)) for number in range(3)], mode)
