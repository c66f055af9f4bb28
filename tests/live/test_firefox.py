"""Uses live apps of the built site in Firefox, with a mouse and keys.

Node drives the browser, see `firefox.mjs`. The other tests of the live apps do it in Chromium.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from docs._ext import live_build
from tests.live.static_host import hosted

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent
SCENARIOS = (
    "a form, a session and a database",
    "an event stream moves the second visitor",
    "a chat over a WebSocket",
    "an upload",
    "prepared requests",
    "the example with WebSockets",
    "an edit, and Run again",
    "an endless loop, then Stop and Run",
    "a second tab",
    "a step of the tutorial, with Check and Show me",
)
DOT = base64.b64decode(  # a PNG picture of one pixel
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJg"
    "gg=="
)


def firefox() -> str:
    """Return the browser's path; Debian's package is `firefox-esr`."""
    found = filter(None, map(shutil.which, ("firefox-esr", "firefox")))
    return next(found, None) or pytest.skip("no Firefox")


@pytest.fixture(scope="module")
def modules() -> Path:
    """The folder with puppeteer-core, which the build of the live apps installs too."""
    try:
        live_build.program("node", "nodejs")
        npm = live_build.program("npm")
    except live_build.CannotBuildError as error:
        pytest.skip(str(error))
    live_build.CACHE.mkdir(parents=True, exist_ok=True)
    with live_build.lock(live_build.CACHE / "lock"):
        return live_build.node_modules(npm)


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with hosted(folder) as host:
        yield host.url


@pytest.fixture(scope="module")
def node(
    modules: Path, site: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["subprocess.Popen[str]"]:
    """The process that drives Firefox; its profile is in a temporary folder."""
    path = firefox()
    folder = tmp_path_factory.mktemp("firefox")
    picture = folder / "dot.png"
    picture.write_bytes(DOT)
    options = {"modules": str(modules), "firefox": path, "site": site, "picture": str(picture)}
    command = [live_build.program("node", "nodejs"), str(HERE / "firefox.mjs"), json.dumps(options)]
    own = {"HOME": str(folder), "TMPDIR": str(folder)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, text=True, env={**os.environ, **own}
    ) as process:
        try:
            yield process
            # Node ends the browser, and then itself, when no more scenarios can come.
            process.communicate(timeout=120)
        finally:
            process.kill()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_firefox(scenario: str, node: "subprocess.Popen[str]") -> None:
    assert node.stdin and node.stdout
    print(scenario, file=node.stdin, flush=True)
    passed, failed = [], []
    for line in node.stdout:
        told = json.loads(line)
        if "passed" in told:
            passed.append(told["passed"])
        elif "failed" in told:
            failed.append(told["failed"])
        else:
            assert told == {"end": scenario}
            break
    else:
        pytest.fail("Node has ended")
    print("passed:", *passed, sep="\n  ")
    assert not failed, failed[0]
    assert {"no error in the console", "no request leaves the site"} < set(passed)
