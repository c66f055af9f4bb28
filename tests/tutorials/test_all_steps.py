"""What holds for all steps of the tutorial."""

import contextlib
import re
import subprocess
import sys

import httpx
import pytest

from tests.examples.harness import with_port
from tests.processes import environment, free_port, stop
from tests.tutorials import steps


def test_ten_steps():
    assert [name[:3] for name in steps.STEPS] == [f"{number:02}-" for number in range(1, 11)]


def test_each_runs_as_a_program(tmp_path):
    """All at once: the other tests start them with uvicorn."""
    with contextlib.ExitStack() as stack:
        urls = [stack.enter_context(program(name, tmp_path)) for name in steps.STEPS]
        for url in urls:
            steps.eventually(lambda url=url: answer(url), 60)
            assert "Which pie shall we bake on Friday?" in answer(url).text


@contextlib.contextmanager
def program(name, folder):
    port = free_port()
    copy = steps.copied(name, folder)
    with_port(copy, port)
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=copy, env=environment({}), stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        stop(process)


def answer(url):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url)


@pytest.mark.parametrize("name", steps.STEPS)
def test_files_are_tidy(name):
    for path, content in steps.files_of(name).items():
        text = content.decode()
        assert text.endswith("\n"), path
        assert not re.search(r"[ \t]+$", text, re.M), path


def test_steps_add_up():
    """A step keeps the files of the step before."""
    for before, after in zip(steps.STEPS, steps.STEPS[1:], strict=False):
        assert steps.files_of(before).keys() <= steps.files_of(after).keys()
