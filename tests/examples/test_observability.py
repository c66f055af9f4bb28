"""examples/observability: signals of real processes, read by the reader of each package."""

import contextlib
import gzip
import http.server
import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import promql_parser
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from sentry_sdk.envelope import Envelope
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from micropie import App
from tests.examples import harness
from tests.examples.copied import check_kept_secret
from tests.examples.loading import load
from tests.processes import PUBLIC, environment, free_port, started, wait_until

SECRET = "hunter2"
FAILING = '''
"""The shop with more that fails."""
import app

class Failing(app.Shop):
    async def pieces(self):
        return pieces(self)

    async def ws_broken(self, socket, token: str = ""):
        await socket.accept()
        raise ValueError("in a socket")

async def pieces(shop):
    yield "one"
    raise ValueError("in a stream")

failing = Failing()
failing.observers[:] = app.app.observers
failing.shutdown_handlers[:] = app.app.shutdown_handlers
'''


class Shop:
    """A process of the example."""

    def __init__(self, process, port, log, other=False):
        self.process = process
        self.other = other  # servers print lines of their own
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.log = log
        self.folder = log.parent

    def get(self, path, **headers):
        return httpx.get(self.url + path, headers=headers, timeout=30, verify=harness.PLAIN)

    def lines(self, **wanted):
        """Return the lines with these values; all that the process has printed is JSON."""
        *whole, _ = self.log.read_text().split("\n")
        lines = [json.loads(line) for line in whole if not self.other or line[:1] == "{"]
        return [line for line in lines if wanted.items() <= line.items()]

    def line(self, **wanted):
        """Wait for the one line of a request, which may come after its answer."""
        wanted = {"event": "request", **wanted}
        [line] = wait_until(lambda: self.lines(**wanted), what=f"a line with {wanted}")
        return line

    def lines_until(self, request_id):
        """Wait for the line of a request, and return those that its handler wrote too."""
        self.line(request_id=request_id)
        return self.lines(request_id=request_id)

    def samples(self):
        token = (self.folder / "data" / "metrics_token").read_text()
        answer = self.get("/metrics", authorization=f"Bearer {token}")
        assert answer.status_code == 200
        families = list(text_string_to_metric_families(answer.text))
        assert {family.type for family in families} <= {"counter", "gauge", "histogram"}
        return [sample for family in families for sample in family.samples]

    def total(self, name, **labels):
        """Return the sum of the samples of a name with these labels."""
        return sum(
            one.value
            for one in self.samples()
            if one.name == name and labels.items() <= one.labels.items()
        )

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


@pytest.fixture(scope="module")
def start(tmp_path_factory, measure):
    """Return a context manager that starts the example."""

    @contextlib.contextmanager
    def start(*options, app="app:app", command="", **more):
        folder = harness.copied("observability", tmp_path_factory.mktemp("shop"))
        (folder / "failing.py").write_text(FAILING)
        (folder / "counts").mkdir()
        port, log = free_port(), folder / "log"
        other = command.replace("8000", str(port)).split()
        usual = ["uvicorn", app, "--port", str(port), "--timeout-graceful-shutdown", "1", *options]
        variables = environment({**measure, **more})
        with started(other or usual, port, log, cwd=folder, env=variables) as process:
            yield Shop(process, port, log, other)

    return start


@pytest.fixture(scope="module")
def shop(start):
    """One process, with a short time until a request is slow."""
    with start(SLOW_SECONDS="0.4") as shop:
        yield shop


# --- Logs --------------------------------------------------------------------------------------


def test_each_line_is_json_from_the_first_to_the_last(start):
    with start() as shop:
        assert shop.get("/broken").status_code == 500
        shop.end()
        events = [line["event"] for line in shop.lines()]

    assert events[0].startswith("Started server process")
    assert events[-1].startswith("Finished server process")
    assert events.count("request") == 1


def test_lines_of_a_request_have_its_id_in_threads_too(shop):
    def ask(number):
        return shop.get("/price", **{"x-request-id": f"price-{number}"}).headers["x-request-id"]

    with ThreadPoolExecutor(16) as pool:
        ids = list(pool.map(ask, range(60)))

    assert ids == [f"price-{number}" for number in range(60)]
    for one in ids:
        asked, request = shop.lines_until(one)
        assert asked["event"] == "a price is asked"
        assert (request["handler"], request["status"], request["end"]) == ("price", 200, "complete")


def test_readme_shows_lines_as_they_are(shop):
    readme = (harness.EXAMPLES / "observability" / "README.md").read_text()
    [block] = re.findall("^```json\n(.*?)^```", readme, flags=re.M | re.S)
    shown = [json.loads(line) for line in block.replace("\n ", " ").splitlines()]
    answer = shop.get("/price")
    lines = shop.lines_until(answer.headers["x-request-id"])

    assert [list(line) for line in shown] == [list(line) for line in lines]


@pytest.mark.parametrize("sent", ['x"}\n{"event": "forged"', "a" * 65, "ä", "a b", ""])
def test_client_cannot_choose_an_odd_id(shop, sent):
    raw = sent.replace("\n", " ").encode()
    answer = httpx.get(f"{shop.url}/healthz", headers=[(b"x-request-id", raw)], timeout=60)

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    shop.line(request_id=answer.headers["x-request-id"])


def test_client_cannot_forge_a_line(shop):
    before = len(shop.lines())
    answer = shop.get("/no%0A%7B%22event%22:%22forged%22%7D%0D%E2%80%A8%1B[2J")
    line = shop.line(request_id=answer.headers["x-request-id"])

    assert line["path"] == '/no\n{"event":"forged"}\r\u2028\x1b[2J'
    assert (line["handler"], line["status"]) == ("(none)", 404)
    assert len(shop.lines()) == before + 1
    assert shop.lines(event="forged") == []


def test_no_secret_is_logged(start):
    with start(app="failing:failing") as shop:
        headers = {"cookie": f"session_id={SECRET}", "authorization": f"Bearer {SECRET}"}
        for path in ("/price", "/broken", "/no", "/pieces"):
            with contextlib.suppress(httpx.RemoteProtocolError):
                shop.get(f"{path}?token={SECRET}", **headers)
        for path in ("echo", "broken", "none"):
            address = f"ws://127.0.0.1:{shop.port}/{path}?token={SECRET}"
            with contextlib.suppress(InvalidStatus), connect(address, additional_headers=headers):
                pass
        shop.end()
        handlers = {line["handler"] for line in shop.lines(event="request")}
        text = shop.log.read_text()

    assert handlers == {"price", "broken", "(none)", "pieces", "ws_echo", "ws_broken"}
    assert "in a socket" in text
    assert SECRET not in text


def test_stream_has_its_line_when_it_ends(shop):
    asked = time.monotonic()
    with httpx.stream(
        "GET", f"{shop.url}/events", headers={"x-request-id": "stream"}, timeout=60
    ) as answer:
        chunks = answer.iter_bytes()
        size = len(next(chunks))
        next(chunks)
        assert shop.lines(event="request", request_id="stream") == []
        assert shop.total("http_open", kind="stream", handler="events") == 1
    line = shop.line(request_id="stream")

    assert (line["status"], line["end"]) == (200, "disconnected")
    # On a machine that stalls, there are more pieces, and the first one comes late.
    assert line["bytes"] >= 2 * size
    assert line["bytes"] % size == 0
    assert line["wait_ms"] + 900 < line["ms"] < 1000 * (time.monotonic() - asked)
    assert line["slow"] == (line["wait_ms"] > 400)
    assert shop.total("http_open", kind="stream", handler="events") == 0


def test_client_that_leaves_in_the_middle_of_a_form(shop):
    with socket.create_connection(("127.0.0.1", shop.port)) as client:
        client.sendall(
            b"POST /price HTTP/1.1\r\nhost: x\r\nx-request-id: half\r\ncontent-length: 99\r\n"
            b"content-type: application/x-www-form-urlencoded\r\n\r\npie=app"
        )
        wait_until(lambda: shop.total("http_in_flight") == 2, what="the request to begin")
    line = shop.line(request_id="half")

    assert (line["handler"], line["status"], line["end"]) == ("price", 499, "disconnected")
    assert shop.total("http_requests_total", handler="price", status="499") == 1


def test_client_that_does_not_wait_for_a_slow_answer(shop):
    with contextlib.suppress(httpx.ReadTimeout):
        httpx.get(f"{shop.url}/slow", headers={"x-request-id": "hasty"}, timeout=0.1)
    line = shop.line(request_id="hasty")

    assert (line["end"], line["slow"], line["level"]) == ("disconnected", True, "warning")
    assert (line["status"], line["bytes"]) == (499, 0)


def test_slow_request_is_a_warning(shop):
    answer = shop.get("/slow")
    line = shop.line(request_id=answer.headers["x-request-id"])

    assert (line["level"], line["slow"], line["end"]) == ("warning", True, "complete")
    assert line["wait_ms"] >= 400


def test_exception_has_its_frames_and_no_local_variables(shop):
    answer = shop.get("/broken")
    shop.line(request_id=answer.headers["x-request-id"], level="error", status=500)
    [failed] = shop.lines(request_id=answer.headers["x-request-id"], logger="micropie")

    assert failed["exception"][0]["exc_value"] == "the oven is cold"
    assert {frame["name"] for frame in failed["exception"][0]["frames"]} >= {"broken"}
    assert not any("locals" in frame for frame in failed["exception"][0]["frames"])


def test_websocket_has_one_line_when_it_closes(shop):
    address, headers = f"ws://127.0.0.1:{shop.port}/echo", {"x-request-id": "socket"}
    with connect(address, additional_headers=headers) as client:
        assert client.response.headers["x-request-id"] == "socket"
        for text in ("one", "two"):
            client.send(text)
            assert client.recv() == text
        assert shop.total("http_open", kind="websocket", handler="ws_echo") == 1
        assert shop.lines(event="request", request_id="socket") == []
    line = shop.line(request_id="socket")

    assert (line["method"], line["status"], line["code"]) == ("WEBSOCKET", 101, 1000)
    assert (line["messages"], line["end"]) == (4, "disconnected")
    assert shop.total("http_open", kind="websocket") == 0


def test_refused_websocket_has_a_line_too(shop):
    with pytest.raises(InvalidStatus), connect(f"ws://127.0.0.1:{shop.port}/none"):
        pass
    line = shop.line(method="WEBSOCKET", handler="(none)")

    assert (line["status"], line["end"]) == (403, "complete")


@pytest.mark.usefixtures("measured")
async def test_server_that_cannot_send_any_more():
    """Some servers say so that the client has left."""
    seen = []

    @contextlib.contextmanager
    def observer(exchange):
        try:
            yield
        finally:
            seen.append((exchange.status, exchange.end))

    async def send(message):
        raise ConnectionResetError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
    await load("observability", "watch").Watch(App(), [observer])(scope, None, send)
    assert seen == [(499, "disconnected")]


@pytest.mark.parametrize(
    "command",
    [
        "hypercorn app:app --graceful-timeout 1 --bind 127.0.0.1:8000",
        "granian app:app --interface asgi --port 8000",
    ],
)
def test_other_servers_see_the_same(start, command):
    with start(command=command) as shop:
        assert shop.get("/price", **{"x-request-id": "one"}).headers["x-request-id"] == "one"
        with httpx.stream("GET", f"{shop.url}/events", headers={"x-request-id": "two"}, timeout=60):
            pass
        with connect(f"ws://127.0.0.1:{shop.port}/echo") as client:
            client.send("hello")
            assert client.recv() == "hello"
        found = [shop.line(handler=name) for name in ("price", "events", "ws_echo")]

    assert [(line["status"], line["end"]) for line in found] == [
        (200, "complete"),
        (200, "disconnected"),
        (101, "disconnected"),
    ]


# --- Metrics -----------------------------------------------------------------------------------


def test_paths_and_methods_of_clients_make_no_labels(shop):
    for number in range(30):
        method = ("PROPFIND", "MKCOL", "REPORT")[number % 3]
        httpx.request(method, f"{shop.url}/p{number}/{number}", timeout=60)
        shop.get(f"/price?pie={number}")
    requests = [one.labels for one in shop.samples() if one.name == "http_requests_total"]

    assert {labels["method"] for labels in requests} <= {"GET", "POST", "OTHER", "WEBSOCKET"}
    assert not [labels for labels in requests if re.search(r"\bp\d|/", str(labels.values()))]
    assert shop.total("http_requests_total", handler="(none)", method="OTHER") == 30
    assert shop.total("http_response_seconds_bucket", handler="price", le="+Inf") >= 30


def test_metrics_need_the_token(shop):
    token = (shop.folder / "data" / "metrics_token").read_text()

    assert shop.get("/metrics").status_code == 401
    for wrong in ("", "Bearer", f"Basic {token}", token, f"Bearer {token}x"):
        assert shop.get("/metrics", authorization=wrong).status_code == 401
    assert len(token) >= 32
    assert (shop.folder / "data" / "metrics_token").stat().st_mode & 0o077 == 0


@pytest.mark.usefixtures("measured")
def test_token_is_made_once(tmp_path):
    check_kept_secret(load("observability", "metrics").kept_secret, tmp_path)


def workers(shop):
    """Return the ids of all workers that have been started."""
    # Among the lines is some text of uvicorn's own process, which has no part of the app.
    found = re.findall(r"Started server process \[(\d+)", shop.log.read_text())
    return [int(one) for one in found]


def test_any_worker_answers_for_all(start):
    with start("--workers", "2", PROMETHEUS_MULTIPROC_DIR="counts") as shop:
        # Each time a new connection, which either worker might accept.
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: shop.get("/price"), range(200)))
        # One of them may have answered all, before the other one had started.
        wait_until(lambda: len(workers(shop)) == 2, what="the other worker")
        # A worker counts an answer when it has sent it.
        wait_until(lambda: shop.total("http_requests_total", handler="price") == 200)
        wait_until(lambda: shop.total("http_response_seconds_count", handler="price") == 200)
        for _ in range(10):
            assert shop.total("http_requests_total", handler="price") == 200
            assert shop.total("http_response_seconds_count", handler="price") == 200

        with contextlib.ExitStack() as streams:
            for _ in range(12):
                streams.enter_context(httpx.stream("GET", f"{shop.url}/events", timeout=60))
            wait_until(lambda: shop.total("http_open", handler="events") == 12)
            # A worker that is killed takes its streams along.
            for worker in workers(shop):
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda: len(workers(shop)) == 4, 120, "uvicorn to start others")
            wait_until(lambda: shop.total("http_open", handler="events") == 0)
        wait_until(lambda: shop.total("http_in_flight") == 1)
        assert shop.total("http_requests_total", handler="price") == 200


def test_dashboard_and_alerts_ask_for_what_the_app_exports(shop):
    shop.get("/price")
    with connect(f"ws://127.0.0.1:{shop.port}/echo"):
        exported = {"up": {"job", "instance"}}  # which Prometheus adds
        for sample in shop.samples():
            exported.setdefault(sample.name, set()).update(sample.labels)
    panels = json.loads((shop.folder / "dashboard.json").read_text())["panels"]
    [group] = yaml.safe_load((shop.folder / "alerts.yml").read_text())["groups"]
    targets = [target for panel in panels for target in panel["targets"]]

    for one in targets + group["rules"]:
        names, labels = names_in(one["expr"].replace("$__rate_interval", "1m"))
        labels |= set(re.findall(r"{{(\w+)}}", one.get("legendFormat", "")))
        assert names
        for name in names:
            assert labels <= exported[name], one


def names_in(expression):
    """Return the names of metrics, and those of labels, in an expression of PromQL."""
    names, labels = set(), set()

    def visit(node):
        selector = getattr(node, "vector_selector", node)
        if isinstance(selector, promql_parser.VectorSelector):
            names.add(selector.name)
            labels.update(one.name for one in selector.matchers.matchers)
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            labels.update(node.modifier.labels)

    promql_parser.walk(promql_parser.parse(expression), visit)
    return names, labels


def test_prometheus_is_told_where_the_metrics_are(shop):
    [job] = yaml.safe_load((shop.folder / "prometheus.yml").read_text())["scrape_configs"]

    assert (shop.folder / job["authorization"]["credentials_file"]).is_file()
    assert job["static_configs"] == [{"targets": [PUBLIC]}]


# --- Traces and errors -------------------------------------------------------------------------


class Receiver(http.server.ThreadingHTTPServer):
    """Takes what is sent to a collector of OpenTelemetry, and to Sentry."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"127.0.0.1:{self.server_address[1]}"
        self.spans: list[Any] = []
        self.reports: list[Any] = []
        self.lines: list[Any] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Any

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            for one in ExportTraceServiceRequest.FromString(body).resource_spans:
                name = {item.key: item.value.string_value for item in one.resource.attributes}
                assert name["service.name"] == "shop"
                self.server.spans += [span for scope in one.scope_spans for span in scope.spans]
        else:
            time.sleep(0.3)  # Sentry is far away, so reports wait for the ones before them
            event = Envelope.deserialize(body).get_event()
            self.server.reports += [event] if event else []
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture(scope="module")
def received(start):
    """All that a process has sent after some requests, and SIGTERM."""
    receiver = Receiver()
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{receiver.url}",
        "OTEL_SERVICE_NAME": "shop",
        "SENTRY_DSN": f"http://key@{receiver.url}/1",
    }
    with start(app="failing:failing", **variables) as shop:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        shop.get("/price", traceparent=trace, **{"x-request-id": "price"})
        shop.get("/price", traceparent="00-nonsense")
        for path in ("broken", "pieces"):
            with contextlib.suppress(httpx.RemoteProtocolError):
                shop.get(f"/{path}?token={SECRET}", **{"x-request-id": path, "cookie": SECRET})
        headers = {"x-request-id": "ws_broken"}
        address = f"ws://127.0.0.1:{shop.port}/broken?token={SECRET}"
        with connect(address, additional_headers=headers):
            pass
        shop.get("/no/such")
        shop.line(request_id="ws_broken")
        receiver.lines = shop.lines()
        shop.end()  # in the end it sends what it has kept
    receiver.shutdown()
    receiver.server_close()
    return receiver


def spans_of(received, name):
    return [span for span in received.spans if span.name == name]


def attributes(one):
    return {item.key: item.value.string_value or item.value.int_value for item in one.attributes}


def test_span_continues_the_trace_of_the_client(received):
    first, second = spans_of(received, "GET price")
    child = spans_of(received, "query")[0]

    assert first.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert first.parent_span_id.hex() == "b7ad6b7169203331"
    assert (child.trace_id, child.parent_span_id) == (first.trace_id, first.span_id)
    assert first.kind == first.SPAN_KIND_SERVER
    assert attributes(first) == {
        "http.request.method": "GET",
        "url.path": "/price",
        "request.id": "price",
        "http.route": "price",
        "http.response.status_code": 200,
    }
    assert second.parent_span_id == b""
    assert second.trace_id != first.trace_id


def test_spans_can_be_printed_without_a_collector(start):
    with start(OTEL_TRACES_EXPORTER="console") as shop:
        shop.get("/price", **{"x-request-id": "printed"})
        [span] = wait_until(lambda: shop.lines(name="GET price"), what="a span in the log")
    assert span["attributes"]["request.id"] == "printed"


def test_lines_have_the_id_of_the_trace(received):
    lines = [line for line in received.lines if line.get("request_id") == "price"]

    assert {line["trace_id"] for line in lines} == {"0af7651916cd43dd8448eb211c80319c"}
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("name", "request_id", "text"),
    [
        ("GET broken", "broken", "the oven is cold"),
        ("GET pieces", "pieces", "in a stream"),
        ("WEBSOCKET ws_broken", "ws_broken", "in a socket"),
    ],
)
def test_exception_is_on_its_span_and_reported_once(received, name, request_id, text):
    [span] = spans_of(received, name)
    [event] = span.events
    assert span.status.code == span.status.STATUS_CODE_ERROR
    assert (event.name, attributes(event)["exception.message"]) == ("exception", text)
    assert request_id in attributes(event)["exception.stacktrace"]

    [report] = [one for one in received.reports if one["tags"]["request_id"] == request_id]
    assert report["transaction"] == name
    assert report["exception"]["values"][-1]["value"] == text


def test_nothing_else_is_reported_and_no_secret(received):
    assert len(received.reports) == 3
    assert [span.name for span in received.spans if span.name == "GET"] == ["GET"]
    assert SECRET not in str([str(one) for one in received.spans])
    assert SECRET not in json.dumps(received.reports)


# --- Health ------------------------------------------------------------------------------------


def test_process_lives_without_its_database_and_is_not_ready(start):
    with start(DATABASE="data/one.sqlite3") as shop:
        assert shop.get("/readyz").json() == {"status": "ready"}
        database = shop.folder / "data" / "one.sqlite3"
        whole = database.read_bytes()
        database.write_bytes(b"nonsense" * 1000)
        answer = shop.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "not ready"})
        assert "DatabaseError" in shop.lines(event="not ready")[0]["reason"]
        assert shop.get("/healthz").status_code == 200
        database.write_bytes(whole)
        assert shop.get("/readyz").status_code == 200


def test_process_that_is_told_to_stop_answers_until_no_request_comes(start):
    seconds, taken = 1, 2.0
    while taken > seconds:  # again, if the machine was so slow that the time was over before
        seconds *= 2
        with start(DRAIN_SECONDS=str(seconds)) as shop:
            told = time.monotonic()
            shop.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(httpx.TransportError):
                while shop.get("/readyz").status_code == 200:
                    pass
                stopping, price = shop.get("/readyz"), shop.get("/price")
            taken = time.monotonic() - told
            shop.process.wait(60)
            assert time.monotonic() - told >= seconds
            assert shop.lines(event="Application shutdown complete.")
    assert (stopping.status_code, stopping.json()) == (503, {"status": "stopping"})
    assert price.status_code == 200


def test_second_sigterm_counts_at_once(start):
    with start(DRAIN_SECONDS="60") as shop:
        shop.process.send_signal(signal.SIGTERM)
        wait_until(lambda: shop.get("/readyz").status_code == 503)
        shop.end()
        assert shop.lines(event="Application shutdown complete.")


def test_stream_that_the_stop_breaks_off_has_its_line(start):
    with start() as shop, httpx.stream("GET", f"{shop.url}/events", timeout=60) as answer:
        assert answer.status_code == 200
        shop.end()
        line = shop.line(handler="events")

    assert (line["status"], line["end"]) == (200, "broken off")


# --- Other servers, and the page ---------------------------------------------------------------


def test_page_shows_each_answer_with_its_id(page, browsing):
    browsing.expected.append("500 (Internal Server Error)")
    page.goto("/")
    for name, text in (("Fast", "price 200"), ("Slow", "slow 200"), ("Exception", "broken 500")):
        page.get_by_role("button", name=name).click()
        row = page.locator("#answers tr", has_text=text.split()[0])
        row.wait_for()
        assert re.match(rf"{text} \d+ [0-9a-f]{{16}}$", " ".join(row.inner_text().split()))
    page.get_by_role("button", name="Event stream").click()
    page.locator("#stream", has_text=re.compile(r"stream: \d\d:\d\d:\d\d")).wait_for()
    page.get_by_role("button", name="Event stream").click()
    page.locator("#stream", has_text="no stream").wait_for()


def test_look(browsing):
    browsing.check_look("/")
