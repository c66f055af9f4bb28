"""Pages for a load balancer: /healthz (the process lives), /readyz (it can answer)."""

import asyncio
import os
import signal
import threading
from typing import Any

import structlog
from micropie import App, HTTPError

# Between SIGTERM and the shutdown, so that a load balancer sees the 503 of /readyz, and
# sends no more requests, before the server closes its port.
DRAIN_SECONDS = float(os.environ.get("DRAIN_SECONDS", "0"))

log = structlog.get_logger()


class Health(App):
    """The two pages; a subclass says what `_check` checks."""

    _is_stopping = False

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.startup_handlers.append(self._drain_on_sigterm)
        self.shutdown_handlers.append(self._stop)

    def _check(self) -> None:
        """Raise if something is missing without which no request can be answered."""

    async def healthz(self) -> dict[str, str]:
        """Answer, and ask no other program: a restart would not repair a database."""
        return {"status": "alive"}

    def readyz(self) -> dict[str, str]:
        """Answer 503 if other processes should get the requests."""
        if self._is_stopping:
            raise HTTPError(503, {"status": "stopping"})
        try:
            self._check()
        except Exception as error:
            log.warning("not ready", reason=repr(error))
            raise HTTPError(503, {"status": "not ready"}) from None
        return {"status": "ready"}

    def _stop(self) -> None:
        self._is_stopping = True

    def _drain_on_sigterm(self) -> None:
        # uvicorn closes its port at once, and tells the app only when it has answered
        # all requests. So this comes before uvicorn's own handler of the signal.
        if not DRAIN_SECONDS or threading.current_thread() != threading.main_thread():
            return
        loop, server = asyncio.get_running_loop(), signal.getsignal(signal.SIGTERM)

        def stop(number: int, frame: object) -> None:
            self._stop()
            signal.signal(signal.SIGTERM, server)  # the second one counts at once
            again = (DRAIN_SECONDS, signal.raise_signal, signal.SIGTERM)
            loop.call_soon_threadsafe(loop.call_later, *again)

        signal.signal(signal.SIGTERM, stop)
