"""A span for each request, sent to a collector of OpenTelemetry over OTLP.

OTEL_EXPORTER_OTLP_ENDPOINT says where it is, and OTEL_SERVICE_NAME what this app is
called. With OTEL_TRACES_EXPORTER=console, spans are printed instead, one on each line.
A handler makes spans below that of its request:

    with tracer.start_as_current_span("bake"):
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    ConsoleSpanExporter,
    SimpleSpanProcessor,
)
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from watch import NO_HANDLER, Exchange

tracer = trace.get_tracer("app")
_propagator = TraceContextTextMapPropagator()


def configure(processor: SpanProcessor | None = None) -> None:
    """Begin to make spans, and to send them, if no other processor takes them."""
    provider = TracerProvider()
    if processor is None and os.environ.get("OTEL_TRACES_EXPORTER") == "console":
        console = ConsoleSpanExporter(
            formatter=lambda span: f"{span.to_json(indent=None)}\n"
        )
        processor = SimpleSpanProcessor(console)
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


async def flush() -> None:
    """Send the last spans; run it at shutdown, for a signal ends the process."""
    await asyncio.to_thread(trace.get_tracer_provider().shutdown)


@contextmanager
def span(exchange: Exchange) -> Iterator[None]:
    """Make a span for a request, below the span of the client if it sends one."""
    names = ("traceparent", "tracestate")
    carrier = {name: exchange.header(name.encode()) for name in names}
    with tracer.start_as_current_span(
        exchange.method,
        _propagator.extract(carrier),
        SpanKind.SERVER,
        {
            "http.request.method": exchange.method,
            "url.path": exchange.scope["path"],
            "request.id": exchange.id,
        },
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        exchange.when_failed.append(current.record_exception)
        exchange.when_failed.append(lambda _: current.set_status(StatusCode.ERROR))
        try:
            yield
        finally:
            if exchange.handler != NO_HANDLER:
                current.update_name(f"{exchange.method} {exchange.handler}")
                current.set_attribute("http.route", exchange.handler)
            current.set_attribute("http.response.status_code", exchange.status)
            if exchange.status >= 500:
                current.set_status(StatusCode.ERROR)


def add_trace_id(logger: Any, method: str, event: Any) -> Any:
    """Add the id of the trace to a log line, as a processor of structlog."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = trace.format_trace_id(context.trace_id)
    return event
