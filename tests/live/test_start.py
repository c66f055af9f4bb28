"""What a first and a second start cost, and that nothing comes from elsewhere."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.live.runtime import Live, files_of
from tests.live.static_host import Host

pytestmark = pytest.mark.slow

MOST = 5_150_000  # bytes of the first Run, with the packages of the tutorial
PACKAGES = ["jinja2", "multipart"]


def test_a_first_run_loads_little_and_says_how_much(
    browser: Browser, host: Host, runtime_folder: Path
) -> None:
    runtime = json.loads((runtime_folder / "_static/live/runtime.json").read_text())
    context = browser.new_context()
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    live = Live(context.new_page(), host)
    before = host.bytes_sent
    assert not any("_static" in path for path, _, _ in host.sent)
    times = live.boot(*PACKAGES)["times"]
    took = live.run(files_of("tutorials/08-pictures"))["ms"]
    print(f"{times}, the app in {took} ms")
    assert live.fetch("GET", "/")["status"] == 200
    sent = host.bytes_sent - before
    files = {file for name in PACKAGES for file in runtime["packages"][name]}
    said = runtime["size"] + sum(runtime["sizes"][file][0] for file in files)
    print(f"{sent:,} bytes sent, {said:,} announced (with the pane)")
    assert sent < said < MOST
    progress = live.page.evaluate("runtime.said.filter(({t}) => t === 'progress')")
    loaded = [step["loaded"] for step in progress]
    assert len(loaded) > 1 and loaded == sorted(loaded)
    assert all(url.startswith(host.url) for url in requests)
    assert not any(status == 404 for _, status, _ in host.sent)
    context.close()


def test_a_second_start_takes_everything_from_the_browsers_cache(
    browser: Browser, host: Host
) -> None:
    context = browser.new_context()
    for visit in ("first", "second"):
        live = Live(context.new_page(), host)
        before = host.bytes_sent
        live.boot(*PACKAGES)
        live.page.close()
        if visit == "second":
            assert host.bytes_sent == before
    context.close()
