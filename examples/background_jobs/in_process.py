"""Jobs as tasks of this process, finished before it stops. Copy it beside your app."""

import asyncio
import contextvars
import inspect
import logging
import secrets
from collections.abc import Callable
from typing import Any

Job = Callable[..., Any]  # async, or plain: then it runs in a thread

_log = logging.getLogger("jobs")


class Busy(Exception):
    """No more jobs are taken for now."""


class Jobs:
    """Runs a few jobs at a time, keeps their results, and finishes them at shutdown.

    Args:
        at_once: How many run at the same time.
        waiting: How many may wait for their turn.
        kept: How many results are kept.
        patience: Seconds that `finish` waits. The supervisor must wait longer.
    """

    def __init__(
        self, at_once: int = 4, waiting: int = 100, kept: int = 1000, patience: int = 20
    ) -> None:
        self._turn = asyncio.Semaphore(at_once)
        self._most = at_once + waiting
        self._kept = kept
        self._patience = patience
        # The event loop itself keeps tasks by weak references only.
        self._tasks: set[asyncio.Task[None]] = set()
        self._states: dict[str, dict[str, Any]] = {}  # oldest first
        self._closing = False

    async def submit(self, job: Job, *arguments: Any) -> str:
        """Take a job and return its id; raise Busy if too many wait, or at the end."""
        if self._closing or len(self._tasks) >= self._most:
            raise Busy
        job_id = secrets.token_urlsafe(16)
        self._states[job_id] = {"state": "waiting"}
        while len(self._states) > self._kept + self._most:
            del self._states[next(iter(self._states))]
        # A job outlives the request, and must not see it as the current one.
        context = contextvars.Context()
        task = asyncio.create_task(self._run(job_id, job, arguments), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job_id

    async def status(self, job_id: str) -> dict[str, Any] | None:
        """Return the state of a job, None if it is not known."""
        return self._states.get(job_id)

    async def finish(self) -> None:
        """Take no more jobs, and wait for those that were taken: a shutdown handler."""
        self._closing = True
        if self._tasks:
            _log.info("waiting for %d jobs", len(self._tasks))
            _, late = await asyncio.wait(self._tasks, timeout=self._patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _run(self, job_id: str, job: Job, arguments: tuple[Any, ...]) -> None:
        state = self._states[job_id]
        try:
            async with self._turn:
                state["state"] = "running"
                if inspect.iscoroutinefunction(job):
                    result = await job(*arguments)
                else:
                    result = await asyncio.to_thread(job, *arguments)
                state.update(state="done", result=result)
        except asyncio.CancelledError:
            state["state"] = "cancelled"
            _log.warning("job %s was cancelled", job_id)
            raise
        except (Exception, SystemExit):  # asyncio would end the server with the latter
            state["state"] = "failed"
            _log.exception("job %s failed", job_id)
