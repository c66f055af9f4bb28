"""What holds for all steps of the tutorial."""

import re

import httpx
import pytest

from tests.examples.harness import with_port
from tests.processes import free_port, serving
from tests.tutorials import steps


def test_each_runs_as_a_program(tmp_path):
    """The other tests start them with uvicorn."""
    for name in steps.STEPS:
        port = free_port()
        copy = steps.copied(name, tmp_path)
        with_port(copy, port)
        with serving("exec python app.py", copy, port, {}):
            page = httpx.get(f"http://127.0.0.1:{port}/", timeout=60).text
            assert "Which pie shall we bake on Friday?" in page


@pytest.mark.parametrize("name", steps.STEPS)
def test_files_are_tidy(name):
    for path, content in steps.files_of(name).items():
        text = content.decode()
        assert text.endswith("\n"), path
        assert not re.search(r"[ \t]+$", text, re.M), path


def test_each_of_eleven_steps_keeps_the_files_of_the_step_before():
    assert [name[:3] for name in steps.STEPS] == [f"{number:02}-" for number in range(1, 12)]
    for before, after in zip(steps.STEPS, steps.STEPS[1:], strict=False):
        assert steps.files_of(before).keys() <= steps.files_of(after).keys()
