"""Run them with ``pytest``; each signal is read by the reader that its package has."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client.parser import text_string_to_metric_families
from sentry_sdk.transport import Transport
from starlette.testclient import TestClient
from structlog.testing import capture_logs

import app
import errors
import metrics
import tracing

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> app.Shop:
    monkeypatch.setattr(app, "DATABASE", tmp_path / "app.sqlite3")
    monkeypatch.setattr(metrics, "TOKEN_FILE", tmp_path / "token")
    monkeypatch.setattr(app.logs, "SLOW_SECONDS", 60)  # however busy the machine is
    return app.Shop()


@pytest.fixture
def client(shop: app.Shop) -> Iterator[TestClient]:
    with TestClient(shop) as opened:
        yield opened


class InMemory(Transport):
    """Keeps what would go to Sentry."""

    events: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.events.append(envelope.get_event())


@pytest.mark.parametrize(
    ("sent", "is_kept"),
    [("from-the.proxy_1", True), ("", False), ("a b", False), ("x" * 65, False)],
)
def test_id_of_the_client_is_kept_if_it_is_good(
    client: TestClient, sent: str, is_kept: bool
) -> None:
    answer = client.get("/healthz", headers={"x-request-id": sent})
    assert (answer.headers["x-request-id"] == sent) == is_kept
    assert len(answer.headers["x-request-id"]) == 16


def test_line_has_the_handler_and_no_secret(client: TestClient) -> None:
    with capture_logs() as lines:
        client.get("/price?token=hunter2", headers={"cookie": "session_id=hunter2"})
    line = lines[-1]
    assert (line["handler"], line["status"], line["bytes"]) == ("price", 200, 27)
    assert (line["end"], line["log_level"], line["slow"]) == ("complete", "info", False)
    assert "hunter2" not in str(line)


def test_websocket_has_a_line_when_it_closes(client: TestClient) -> None:
    with capture_logs() as lines, client.websocket_connect("/echo") as socket:
        socket.send_text("hello")
        assert socket.receive_text() == "hello"
        assert lines == []
    [line] = lines
    assert (line["handler"], line["code"], line["messages"]) == ("ws_echo", 1000, 2)


def test_metrics_are_by_handler(client: TestClient) -> None:
    assert client.get("/metrics").status_code == 401
    for path in ("/price?pie=apple", "/price?pie=plum", "/no/such", "/page"):
        client.get(path)
    counted = samples(client)
    requests = {"method": "GET", "handler": "price", "status": "200"}
    assert value(counted, "http_requests_total", **requests) >= 2
    requests |= {"handler": "(none)", "status": "404"}
    assert value(counted, "http_requests_total", **requests) >= 2
    assert value(counted, "http_response_seconds_count", handler="price") >= 2
    assert value(counted, "http_in_flight") == 1  # the request for the metrics itself


def samples(client: TestClient) -> list[Any]:
    """Return what Prometheus would read."""
    headers = {"authorization": f"Bearer {metrics.token()}"}
    text = client.get("/metrics", headers=headers).text
    families = text_string_to_metric_families(text)
    return [sample for family in families for sample in family.samples]


def value(samples: list[Any], name: str, **labels: str) -> float:
    [found] = [one.value for one in samples if (one.name, one.labels) == (name, labels)]
    return float(found)


def test_span_continues_the_trace_and_has_the_exception(
    shop: app.Shop, client: TestClient
) -> None:
    exporter = InMemorySpanExporter()
    tracing.configure(SimpleSpanProcessor(exporter))
    shop.observers.insert(0, tracing.span)
    client.get("/price", headers={"traceparent": CALLER})
    client.get("/broken")
    child, price, broken = exporter.get_finished_spans()
    assert (child.name, price.name, broken.name) == ("query", "GET price", "GET broken")
    assert price.parent and f"{price.parent.span_id:016x}" in CALLER
    assert child.parent and child.parent.span_id == price.context.span_id
    assert f"{child.context.trace_id:032x}" in CALLER
    assert broken.status.status_code == StatusCode.ERROR
    assert "in broken" in str(broken.events[0].attributes)


def test_exception_is_reported_once(shop: app.Shop, client: TestClient) -> None:
    errors.configure(dsn="https://key@sentry.example/1", transport=InMemory)
    shop.observers.insert(0, errors.scope)
    client.get("/broken?token=hunter2", headers={"x-request-id": "abc"})
    [event] = InMemory.events
    assert event["exception"]["values"][-1]["value"] == "the oven is cold"
    assert (event["transaction"], event["tags"]["request_id"]) == ("GET broken", "abc")
    assert "hunter2" not in json.dumps(event)


def test_app_without_its_database_is_alive_and_not_ready(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200
    app.DATABASE.write_text("no database at all, and longer than a header of one")
    assert client.get("/readyz").status_code == 503
    assert client.get("/healthz").json() == {"status": "alive"}
