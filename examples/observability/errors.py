"""Reports of exceptions to Sentry, with the request's id, by handler."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration

from watch import Exchange


def configure(**options: Any) -> None:
    """Begin to report to SENTRY_DSN; `options` are those of `sentry_sdk.init`."""
    sentry_sdk.init(
        # Exceptions come from watch.py, so MicroPie's lines are no second events.
        integrations=[LoggingIntegration(event_level=None)],
        auto_enabling_integrations=False,
        include_local_variables=False,  # they can be passwords
        **options,
    )


async def flush() -> None:
    """Send the last reports; run it at shutdown, for a signal ends the process."""
    await asyncio.to_thread(sentry_sdk.flush, 5)


@contextmanager
def scope(exchange: Exchange) -> Iterator[None]:
    """Give the reports of a request its id and its handler."""

    def named(event: Any, hint: Any) -> Any:
        return {**event, "transaction": f"{exchange.method} {exchange.handler}"}

    with sentry_sdk.isolation_scope() as current:
        current.set_tag("request_id", exchange.id)
        current.add_event_processor(named)  # the handler is not known before
        exchange.when_failed.append(sentry_sdk.capture_exception)
        yield
