"""Metrics for Prometheus, by handler, at /metrics.

They are in the same app and not on another port, on which only one of several workers
could listen. Any worker answers for all of them.
"""

import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import prometheus_client as prometheus
from micropie import App, HTTPError, methods
from prometheus_client.multiprocess import MultiProcessCollector

from watch import Exchange

TOKEN_FILE = Path(os.environ.get("METRICS_TOKEN_FILE", "data/metrics_token"))
REGISTRY = prometheus.CollectorRegistry()
REQUESTS = prometheus.Counter(
    "http_requests_total",
    "Requests that have ended",
    ["method", "handler", "status"],
    registry=REGISTRY,
)
SECONDS = prometheus.Histogram(
    "http_response_seconds",
    "Time until the response begins",
    ["handler"],
    registry=REGISTRY,
)
_gauge = partial(prometheus.Gauge, registry=REGISTRY, multiprocess_mode="livesum")
IN_FLIGHT = _gauge("http_in_flight", "Requests, streams and WebSockets")
OPEN = _gauge("http_open", "Streams and WebSockets", ["kind", "handler"])


@contextmanager
def count(exchange: Exchange) -> Iterator[None]:
    """Count a request."""
    kind = {"http": "stream", "websocket": "websocket"}[exchange.scope["type"]]
    exchange.when_open.append(lambda: OPEN.labels(kind, exchange.handler).inc())
    IN_FLIGHT.inc()
    try:
        yield
    finally:
        IN_FLIGHT.dec()
        handler = exchange.handler
        if exchange.is_open:
            OPEN.labels(kind, handler).dec()
        REQUESTS.labels(exchange.method, handler, exchange.status).inc()
        if kind == "stream" and exchange.wait is not None:
            SECONDS.labels(handler).observe(exchange.wait)


class Metrics(App):
    """The page for Prometheus; it has a token, since it tells what goes on here."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.startup_handlers.append(token)

    @methods("GET")
    def metrics(self) -> tuple[int, bytes, dict[str, str]]:
        """Send all metrics to a client that has the token."""
        given = self.request.headers.get("authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token()}".encode()):
            raise HTTPError(401, headers={"www-authenticate": "Bearer"})
        return 200, exposition(), {"content-type": prometheus.CONTENT_TYPE_LATEST}


def token() -> str:
    """Return the token in the file, which is made if there is none."""
    TOKEN_FILE.parent.mkdir(parents=True, exist_ok=True)
    return kept_secret(TOKEN_FILE)


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which the first start makes."""
    if not path.exists():
        own = path.with_name(secrets.token_hex(8))
        own.touch(0o600)
        own.write_text(secrets.token_hex(32))
        # A link replaces no file. So processes that start together share one secret.
        try:
            path.hardlink_to(own)
        except (OSError, NotImplementedError):  # it is there, or there are no links
            if not path.exists():
                own.replace(path)
        own.unlink(missing_ok=True)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise ValueError(f"{path} needs 32 characters. A start without it makes some.")
    return secret


def exposition() -> bytes:
    """Return the metrics of this process, or of all that share a folder."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    if folder is None:
        return prometheus.generate_latest(REGISTRY)
    # A worker that was killed has left its gauges behind.
    for path in Path(folder).glob("gauge_live*.db"):
        process = int(path.stem.rpartition("_")[2])
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
    collected = prometheus.CollectorRegistry()
    MultiProcessCollector(collected, folder)
    return prometheus.generate_latest(collected)
