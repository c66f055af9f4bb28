"""One JSON line for each request, and for each message of the app and of the server.

Code of the app takes part by two lines:

    log = structlog.get_logger()
    log.info("a pie is sold", pie="apple")
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog import processors, stdlib
from structlog.contextvars import bind_contextvars, merge_contextvars, reset_contextvars
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import Processor

from watch import Exchange

# A request whose response takes longer to begin is a warning.
SLOW_SECONDS = float(os.environ.get("SLOW_SECONDS", "1"))

log = structlog.get_logger()


def configure(*more: Processor) -> None:
    """Let structlog and the standard library write JSON lines to standard output.

    Args:
        more: Processors that add to each line.
    """
    tracebacks = ExceptionDictTransformer(show_locals=False)  # they can be passwords
    chain: list[Processor] = [
        merge_contextvars,
        *more,
        processors.add_log_level,
        processors.TimeStamper(fmt="iso"),
        processors.ExceptionRenderer(tracebacks),
        # It escapes line ends, so that no client can forge a line.
        processors.JSONRenderer(),
    ]
    # Not by way of `logging`, which takes nearly twice as long.
    structlog.configure(
        chain,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        stdlib.ProcessorFormatter(
            processors=[stdlib.ProcessorFormatter.remove_processors_meta, *chain],
            foreign_pre_chain=[stdlib.add_logger_name],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    for name, passes_on in (("uvicorn", True), ("uvicorn.access", False)):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = passes_on
    logging.getLogger("uvicorn.error").addFilter(_has_no_query)


def _has_no_query(record: logging.LogRecord) -> bool:
    # uvicorn logs a WebSocket with its query string, in which a token may be. `line`
    # logs WebSockets, too.
    return '"WebSocket %s"' not in str(record.msg)


@contextmanager
def line(exchange: Exchange) -> Iterator[None]:
    """Write a line at the end of a request; all lines of the request have its id."""
    # Worker threads work in a copy of this context.
    tokens = bind_contextvars(request_id=exchange.id)
    try:
        yield
    finally:
        wait = exchange.seconds if exchange.wait is None else exchange.wait
        is_slow = wait > SLOW_SECONDS
        level = logging.WARNING if is_slow else logging.INFO
        size = {"bytes": exchange.size}
        if exchange.method == "WEBSOCKET":
            size = {"messages": exchange.size, "code": exchange.code}
        log.log(
            logging.ERROR if exchange.status >= 500 else level,
            "request",
            method=exchange.method,
            path=exchange.scope["path"][:500],  # without the query string
            handler=exchange.handler,
            status=exchange.status,
            end=exchange.end,
            wait_ms=round(wait * 1000, 1),
            ms=round(exchange.seconds * 1000, 1),
            slow=is_slow,
            **size,
        )
        reset_contextvars(**tokens)
