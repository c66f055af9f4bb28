"""Pages of apps in panes: what the service worker and the shim promise."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, FilePayload, FrameLocator, expect

from tests.live.runtime import Live, app_of, files_of
from tests.live.static_host import Host

pytestmark = pytest.mark.slow

PICTURE = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00"
    b"\x1f\x15\xc4\x89\x00\x00\x00\rIDATx\xdacd\xf8\xcfP\x0f\x00\x03\x06\x01\x80Z4}k\x00\x00"
    b"\x00\x00IEND\xaeB`\x82"
)
PACKAGES = ["jinja2", "multipart"]


@pytest.fixture(scope="module")
def shared(context: BrowserContext, host: Host) -> Live:
    live = Live(context.new_page(), host)
    assert live.boot(*PACKAGES)["t"] == "ready", live.text("err")
    return live


@pytest.fixture
def live(shared: Live) -> Live:
    """The runtime, with no panes of an earlier test and no errors."""
    shared.page.evaluate("document.querySelectorAll('iframe').forEach(frame => frame.remove())")
    shared.errors.clear()
    return shared


def start(live: Live, files: dict[str, Any], name: str) -> None:
    live.run(files, id=name, packages=PACKAGES)
    live.serve(name)


def call(pane: FrameLocator, function: str, argument: Any = None) -> Any:
    """Run a function in the pane's page."""
    return pane.locator("body").evaluate(f"(_, argument) => ({function})(argument)", argument)


def fetched(pane: FrameLocator, path: str, **options: Any) -> dict[str, Any]:
    return call(
        pane,
        """async ([path, options]) => {
            const response = await fetch(path, options);
            const {status, url, headers} = response;
            return {status, url, headers: Object.fromEntries(headers), text: await response.text()};
        }""",
        [path, options],
    )


def test_a_form_redirects_and_sessions_are_kept(live: Live) -> None:
    start(live, files_of("tutorials/05-database"), "step-05")
    pane = live.show("step-05")
    pane.get_by_label("Cherry").check()
    pane.locator("#poll button").click()
    expect(pane.locator("[data-pie=Cherry] .votes").first).to_have_text("1")
    other = live.show("step-05", visitor="2")
    expect(other.locator("[data-pie=Cherry] .votes").first).to_have_text("1")
    assert live.errors == []


def test_events_reach_the_other_pane(live: Live) -> None:
    start(live, files_of("tutorials/06-live-results"), "step-06")
    first, second = live.show("step-06"), live.show("step-06", visitor="2")
    for pane in (first, second):
        expect(pane.locator("#state")).to_contain_text("counted live")
    first.get_by_label("Cherry").check()
    first.locator("#poll button").click()
    expect(second.locator("[data-pie=Cherry] .votes").first).to_have_text("1")
    expect(first.locator("#state")).to_contain_text("counted live")
    assert live.errors == []


def test_a_pane_that_leaves_disconnects_its_streams(live: Live) -> None:
    start(live, files_of("tutorials/06-live-results"), "leaving")
    pane = live.show("leaving")
    expect(pane.locator("#state")).to_contain_text("counted live")
    live.page.evaluate("document.querySelector('iframe').remove()")
    live.page.wait_for_function(
        "() => /GET .events 200, the client left/.test(runtime.text('log'))", timeout=60_000
    )


def test_websockets_talk_and_close(live: Live) -> None:
    start(live, files_of("tutorials/07-chat"), "step-07")
    first, second = live.show("step-07"), live.show("step-07", visitor="2")
    for pane in (first, second):
        expect(pane.locator("#say button")).to_be_enabled()
    first.locator("#say input").fill("Hello <b>there</b>")
    first.locator("#say button").click()
    expect(second.locator("#messages")).to_contain_text("Hello <b>there</b>")
    live.ask("stop")
    expect(second.locator("#chat-problem")).to_contain_text("not connected")
    live.run(files_of("tutorials/07-chat"), id="step-07", fresh=False, packages=PACKAGES)
    live.page.evaluate("runtime.lend('step-07')")
    # The new app does not know the session, and says so when the page connects again.
    expect(second.locator("#chat-problem")).to_contain_text("Reload")


def test_pictures_are_uploaded_and_shown(live: Live) -> None:
    start(live, files_of("tutorials/08-pictures"), "step-08")
    pane = live.show("step-08")
    file: FilePayload = {
        "name": "a.png",
        "mimeType": "image/png",
        "buffer": PICTURE + bytes(4_000_000),
    }
    pane.locator("[name=description]").fill("A pie")
    pane.locator("[name=picture]").set_input_files(file)
    pane.locator("#upload button").click()
    expect(pane.locator("#pictures img")).to_have_count(1)
    pane.locator("#pictures img").first.evaluate("image => image.decode()")


PLAIN = """
async def app(scope, receive, send):
    path = scope["path"][len(scope["root_path"]):]
    status, headers, body = 200, [(b"content-type", b"text/html; charset=utf-8")], b""
    if path == "/":
        body = PAGE
    elif path == "/style.css":
        headers, body = [(b"content-type", b"text/css")], b"p { color: rgb(1, 2, 3) }"
    elif path == "/redirect":
        status, headers = 303, [(b"location", b"/end?from=redirect")]
    elif path == "/nowhere":
        status, headers = 302, [(b"location", b"http://[")]
    elif path == "/gzip":
        headers.append((b"content-encoding", b"gzip"))
        body = gzip.compress(b"unpacked")
    elif path == "/strict":
        headers.append((b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"))
        headers.append((b"x-frame-options", b"DENY"))
        body = b"<!doctype html><title>Strict</title><p>strict"
    elif path == "/strict.txt":
        headers = [(b"content-type", b"text/plain")]
        headers.append((b"content-security-policy", b"frame-ancestors 'none'"))
        body = b"strict text"
    elif path == "/own-address":
        status, headers = 303, [(b"location", b"http://127.0.0.1:8000/end?from=address")]
    elif path == "/odd":
        status = 204
    else:
        received = await receive()
        names = {name.decode(): value.decode() for name, value in scope["headers"]}
        told = {"path": path, "query": scope["query_string"].decode(), "headers": names}
        told |= {"method": scope["method"], "body": received["body"].decode()}
        body = json.dumps(told).encode()
        headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
PAGE = """<!doctype html><html><head><link rel="stylesheet" href="/style.css"></head><body>
<p>Page</p><a href="/end?by=link">Link</a>
<form method="post" action="/end"><input name="pie" value="Apple"><button>Send</button></form>
</body></html>"""


@pytest.fixture
def plain(live: Live) -> FrameLocator:
    source = f"import gzip, json\nPAGE = {PAGE.encode()!r}\n{PLAIN}"
    start(live, {"app.py": source}, "plain")
    return live.show("plain")


def test_absolute_paths_mean_the_app(plain: FrameLocator, live: Live) -> None:
    expect(plain.locator("p")).to_have_css("color", "rgb(1, 2, 3)")
    assert plain.locator("body").evaluate("() => document.compatMode") == "CSS1Compat"
    plain.get_by_role("link").click()
    expect(plain.locator("body")).to_contain_text('"query": "by=link"')
    pane = live.show("plain", visitor="2")
    pane.get_by_role("button").click()
    expect(pane.locator("body")).to_contain_text('"body": "pie=Apple"')
    expect(pane.locator("body")).to_contain_text('"method": "POST"')


def test_redirects_stay_in_the_app(plain: FrameLocator) -> None:
    answer = fetched(plain, "redirect")
    assert answer["url"].endswith("/_live/plain/1/end?from=redirect")
    assert json.loads(answer["text"])["query"] == "from=redirect"
    answer = fetched(plain, "own-address")
    assert answer["url"].endswith("/_live/plain/1/end?from=address")


def test_a_redirect_to_no_place_is_an_answer(plain: FrameLocator, live: Live) -> None:
    answer = fetched(plain, "nowhere")
    assert (answer["status"], answer["text"]) == (302, "")
    assert "location" not in answer["headers"]
    # A pane that goes there is not left waiting either.
    assert live.show("plain", "/nowhere", visitor="4").locator("body").inner_text() == ""


def test_each_start_leaves_no_lock_behind(live: Live) -> None:
    for _ in range(3):
        start(live, app_of("async def index(self):\n    return 'Page'"), "again")
        expect(live.show("again").locator("body")).to_have_text("Page")
    live.page.wait_for_function(
        """async () => {
            const {pending} = await navigator.locks.query();
            const names = pending.map(({name}) => name);
            const waiting = names.filter(name => name.startsWith("live-sw-"));
            return waiting.length > 0 && waiting.length === new Set(waiting).size;
        }"""
    )


def test_packed_bodies_are_unpacked(plain: FrameLocator) -> None:
    assert fetched(plain, "gzip")["text"] == "unpacked"


def test_a_strict_policy_allows_the_shim_and_the_frame(plain: FrameLocator, live: Live) -> None:
    pane = live.show("plain", "/strict", visitor="3")
    expect(pane.locator("p")).to_have_text("strict")
    assert pane.locator("body").evaluate("() => WebSocket.name") == "Socket"
    pane = live.show("plain", "/strict.txt", visitor="3")
    expect(pane.locator("body")).to_have_text("strict text")


def test_requests_have_what_browsers_send(plain: FrameLocator) -> None:
    answer = json.loads(fetched(plain, "end", method="PUT", body="é")["text"])
    headers = answer["headers"]
    assert (answer["method"], answer["body"]) == ("PUT", "é")
    assert headers["content-length"] == "2"
    assert {"host", "origin", "user-agent", "referer"} <= set(headers)
    assert "cookie" not in headers
    assert fetched(plain, "odd")["status"] == 204
    assert fetched(plain, "end", method="HEAD")["text"] == ""


STREAMS = """
async def flood(self):
    async def pieces():
        for number in range(100_000):
            Tested.sent = number
            yield b"x" * 65536
    return pieces()

async def sent(self):
    return str(Tested.sent)

async def ticks(self):
    return event_stream(self._ticks())

async def _ticks(self):
    number = 0
    while True:
        yield number
        number += 1
        await asyncio.sleep(0.1)

async def index(self):
    return 200, PAGE, [("content-type", "text/html; charset=utf-8")]

async def ws_many(self, ws):
    await ws.accept()
    for number in range(100):
        await ws.send_text(str(number))

async def ws_echo(self, ws):
    await ws.accept()
    async for message in ws:
        await (ws.send_text if isinstance(message, str) else ws.send_bytes)(message)
"""
HEAD = "import asyncio\nfrom micropie import event_stream\nPAGE = '<!doctype html><p>Page'\n"


@pytest.fixture
def streams(live: Live) -> FrameLocator:
    start(live, app_of(STREAMS, HEAD), "streams")
    return live.show("streams")


def test_an_app_waits_for_a_slow_reader(streams: FrameLocator, live: Live) -> None:
    call(
        streams,
        """async () => {
            window.stop = new AbortController();
            const response = await fetch("flood", {signal: stop.signal});
            window.reader = response.body.getReader();
            await reader.read();
        }""",
    )

    def sent() -> int:
        return int(fetched(streams, "sent")["text"])

    count = sent()
    while (now := sent()) != count:
        # The browser takes some tens of megabytes by itself. A pause lets it.
        live.page.wait_for_timeout(500)
        count = now
    assert count < 3000
    call(streams, "() => stop.abort()")
    live.page.wait_for_function("() => /GET .flood 200, the client left/.test(runtime.text('log'))")


OPEN = """async () => {
    window.got = [];
    window.events = new EventSource("ticks");
    events.onmessage = event => got.push(event.data);
}"""


def test_a_killed_service_worker_comes_back(
    streams: FrameLocator, live: Live, browser: Browser, context: BrowserContext
) -> None:
    call(streams, OPEN)
    live.page.wait_for_function(
        "() => document.querySelector('iframe').contentWindow.got.length > 3", timeout=60_000
    )
    count = call(streams, "() => got.length")
    session = context.new_cdp_session(live.page)
    session.send("ServiceWorker.enable")
    session.send("ServiceWorker.stopAllWorkers")
    live.page.wait_for_function(
        "count => document.querySelector('iframe').contentWindow.got.length > count + 10",
        arg=count,
        timeout=60_000,
    )
    assert fetched(streams, "sent")["status"] == 200
    # The app has heard that the first stream is gone.
    live.page.wait_for_function("() => /GET .ticks 200, the client left/.test(runtime.text('log'))")
    call(streams, "() => events.close()")


SOCKET = """async () => {
    window.ended = null;
    const socket = new WebSocket(new URL("echo", location.href));
    socket.binaryType = "arraybuffer";
    socket.onclose = ({code, wasClean}) => { window.ended = {code, wasClean}; };
    const next = () => new Promise(go => { socket.onmessage = ({data}) => go(data); });
    await new Promise(go => { socket.onopen = go; });
    let answered = next();
    socket.send("text");
    const text = await answered;
    answered = next();
    socket.send(new Uint8Array([1, 2, 3]));
    const bytes = [...new Uint8Array(await answered)];
    window.socket = socket;
    return {text, bytes, url: socket.url};
}"""


def test_a_websocket_carries_text_and_bytes(streams: FrameLocator, live: Live) -> None:
    answer = call(streams, SOCKET)
    assert (answer["text"], answer["bytes"]) == ("text", [1, 2, 3])
    call(streams, "() => socket.close(4000, 'done')")
    live.page.wait_for_function("() => document.querySelector('iframe').contentWindow.ended")
    assert call(streams, "() => ended") == {"code": 4000, "wasClean": True}
    live.page.wait_for_function("() => /WebSocket .echo closed/.test(runtime.text('log'))")


def test_a_page_takes_more_messages_than_can_be_on_their_way(streams: FrameLocator) -> None:
    got = call(
        streams,
        """() => new Promise((resolve) => {
            const got = [];
            const socket = new WebSocket(new URL("many", location.href));
            socket.onmessage = ({data}) => got.push(Number(data));
            socket.onclose = () => resolve(got);
        })""",
    )
    assert got == list(range(100))


def test_an_app_that_stops_closes_everything(streams: FrameLocator, live: Live) -> None:
    call(streams, SOCKET)
    call(streams, OPEN)
    live.page.wait_for_function(
        "() => document.querySelector('iframe').contentWindow.got.length > 1"
    )
    live.ask("stop")
    live.page.wait_for_function("() => document.querySelector('iframe').contentWindow.ended")
    assert call(streams, "() => fetch('sent').then(() => 'answer', () => 'error')") == "error"
    pane = live.show("streams", visitor="2")
    expect(pane.locator("h1")).to_have_text(re.compile("is not running|has been stopped"))
    start(live, app_of(STREAMS, HEAD), "streams")
    before = call(streams, "() => got.length")
    live.page.wait_for_function(
        "count => document.querySelector('iframe').contentWindow.got.length > count", arg=before
    )


def wait_for_silence(live: Live) -> None:
    """Wait until the worker is in the loop, in which it prints nothing any more."""
    for _ in range(20):
        answered = live.page.evaluate("runtime.pongs ?? 0")
        live.page.evaluate("runtime.worker.postMessage({t: 'ping'})")
        # A worker that is not in a loop answers in some milliseconds.
        live.page.wait_for_timeout(1000)
        if live.page.evaluate("runtime.pongs ?? 0") == answered:
            return
    raise AssertionError("the worker answers all the time")


def test_an_endless_loop_is_ended_with_its_worker(context: BrowserContext, host: Host) -> None:
    live = Live(context.new_page(), host)
    live.boot()
    start_loop = app_of(
        """
async def index(self):
    return "fine"

async def loop(self):
    print("the loop begins")
    await asyncio.sleep(0.5)  # until the page has heard of it
    while True:
        pass
""",
        "import asyncio\n",
    )
    live.run(start_loop, id="loop")
    live.serve("loop")
    pane = live.show("loop")
    call(pane, "() => { fetch('loop').catch(error => { window.failed = error.name; }); }")
    live.wait_for("out", "the loop begins")
    call(pane, "() => fetch('favicon.ico').catch(() => {}) && null")
    wait_for_silence(live)
    live.page.evaluate(
        """() => {
            runtime.end();
            runtime.registration.active.postMessage({t: "end", id: "loop"});
        }"""
    )
    live.page.wait_for_function("() => document.querySelector('iframe').contentWindow.failed")
    live.boot()
    live.run(start_loop, id="loop")
    live.serve("loop")
    assert fetched(pane, "./")["text"] == "fine"
    live.page.close()
