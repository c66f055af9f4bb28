"""Every line of the examples has been run by their tests; collected last, see conftest.py."""

import coverage
import pytest

from tests.examples import harness


@pytest.fixture(scope="module")
def measured(coverage_folder, tmp_path_factory):
    whole = coverage.Coverage(
        data_file=str(tmp_path_factory.mktemp("combined") / "data"),
        config_file=False,
        messages=False,
    )
    whole.set_option("paths", {"examples": [str(harness.EXAMPLES), "*/copies"]})
    whole.combine([str(coverage_folder)], keep=True)
    return whole


@pytest.mark.parametrize("name", harness.NAMES)
def test_every_line_was_run(name, measured):
    sources = [
        path for path in (harness.EXAMPLES / name).rglob("*.py") if "node_modules" not in path.parts
    ]

    missing = {
        str(path.relative_to(harness.ROOT)): measured.analysis2(str(path))[3] for path in sources
    }

    assert {path: lines for path, lines in missing.items() if lines} == {}
