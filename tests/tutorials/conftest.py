"""Fixtures for the tests of the tutorial's steps.

A module `test_<nn>.py` tests the step `tutorials/<nn>-…`. Its fixture `server` is a running copy of
that step. With the environment variable `UPDATE_PICTURES=1`, the pictures on the tutorial's pages
are taken anew.
"""

import contextlib
import io
import os

import httpx
import pytest
from PIL import Image

from tests.examples.browsing import Browsing, launched
from tests.tutorials import steps


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    name = steps.step(request.path.stem.removeprefix("test_"))
    folder = steps.copied(name, tmp_path_factory.mktemp(name))
    with steps.running(steps.SERVE, folder) as started:
        yield started


@pytest.fixture
def visitor(server):
    """Make visitors: each keeps cookies, and follows no redirects."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(httpx.Client(base_url=server.url, timeout=60))


@pytest.fixture
def client(visitor):
    return visitor()


@pytest.fixture(scope="package")
def browser():
    with launched() as opened:
        yield opened


@pytest.fixture
def browsing(browser, server):
    """A browser with no history; whatever goes wrong in its pages fails the test at the end."""
    session = Browsing(browser, server.url)
    yield session
    session.close()


@pytest.fixture
def vote():
    """Vote as a browser does."""

    def send(client, pie):
        client.get("/")
        return client.post("/vote", data={"pie": pie})

    return send


@pytest.fixture
def picture(request):
    """Compare a page's look with the picture in the tutorial, by size: letters differ."""
    path = steps.PICTURES / f"{request.path.stem.removeprefix('test_')}.png"

    def compare(page):
        page.mouse.move(0, 0)
        page.evaluate("scrollTo(0, 0)")
        shot = page.screenshot()
        if os.environ.get("UPDATE_PICTURES"):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Few colors make a small file; one picture is on the landing page.
            Image.open(io.BytesIO(shot)).convert("RGB").quantize(64).save(path, optimize=True)
        assert path.is_file(), f"{path} is missing: UPDATE_PICTURES=1 makes it"
        assert path.read_bytes()[16:24] == shot[16:24]  # the width and the height of a PNG

    return compare
