"""Sessions in a store that can fail. Copy this file beside your app and its backend."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from contextvars import ContextVar
from typing import Any, NoReturn

from micropie import HTTPError, SessionBackend

LIMIT = 1.2  # seconds that a request waits for an answer of the store
CALM = 2.0  # seconds: if the store has not failed for so long, it works again
log = logging.getLogger("sessions")
_patience = ContextVar("_patience", default=LIMIT)  # 0 after a wait in vain


class GuardedSessionBackend(SessionBackend):
    """Answers 503 while the store of a backend fails, if a request needs its session.

    Args:
        backend: It has `touch` and `update`, too.
        failures: What it raises if its store fails; each `OSError` counts as well.
    """

    def __init__(self, backend: Any, *failures: type[Exception]) -> None:
        self._backend = backend
        self._failures: tuple[type[Exception], ...] = (OSError, *failures)
        self._failed = 0.0  # the time of the last failure; 0 if the store works

    async def load(self, session_id: str) -> dict[str, Any]:
        """Return the data, which is a 503 for handlers that look at it if all fails."""
        _patience.set(LIMIT)
        try:
            return await self._ask(self._backend.load(session_id))
        except HTTPError:
            return _Unknown(session=None)  # not empty, which would mean no session

    async def save(self, *arguments: Any) -> None:
        """Keep the data."""
        await self._ask(self._backend.save(*arguments))

    async def touch(self, *arguments: Any) -> None:
        """Let a live session expire later."""
        await self._ask(self._backend.touch(*arguments))

    async def update(self, *arguments: Any) -> None:
        """Change the data in one step."""
        await self._ask(self._backend.update(*arguments))

    async def _ask(self, step: Coroutine[Any, Any, Any]) -> Any:
        # A task, since a client of a store that hangs can take seconds to let go of it.
        task = asyncio.create_task(step)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait([task], timeout=_patience.get())
            # The answer might have come while this process stood still.
            if not (await asyncio.wait([task], timeout=0.1))[0]:
                _patience.set(0)
                raise TimeoutError(f"no answer within {LIMIT} seconds")
            answer = task.result()
        except self._failures as error:
            if not self._failed:
                cause = type(error).__name__, str(error).partition("\n")[0]
                log.error("the session store fails: %s: %s", *cause)
            self._failed = time.monotonic()
            raise _unavailable() from None
        finally:
            task.cancel()
        if self._failed and time.monotonic() > self._failed + CALM:
            self._failed = 0.0
            log.warning("the session store works again")
        return answer


class _Unknown(dict[str, Any]):
    """A session that could not be loaded; at the first look, MicroPie makes a copy."""

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise _unavailable()


def _unavailable() -> HTTPError:
    text = "Sessions are not available right now. Please try again in a minute.\n"
    return HTTPError(503, text, {"retry-after": "60"})
