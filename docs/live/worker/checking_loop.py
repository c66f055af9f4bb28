"""An event loop for checks: its time is virtual, and a call in a thread runs at once.

A check of the tutorial runs beside the reader's app, in a browser's worker that has neither threads
nor sockets. So this loop has none. If nothing is left to do, it sets its time forward to the next
timer, and a check that waits for ten seconds takes none.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from types import CodeType, FrameType
from typing import Any, TypeVar

T = TypeVar("T")
monitoring: Any = getattr(sys, "monitoring", None)  # of Python 3.12 and newer
TOOL = 4  # a number for `sys.monitoring` that no other tool has reserved


class Loop(asyncio.BaseEventLoop):
    """The loop of one check, or of one test of the reader."""

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._selector = self  # asyncio asks it for sockets that are ready

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass that asyncio would wait."""
        if timeout is None:
            raise RuntimeError("all tasks wait, and nothing can wake them")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing, since there are no sockets."""

    def _write_to_self(self) -> None:
        """Do nothing, since no other thread can wake this loop."""

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., T], *args: Any
    ) -> Any:
        """Call the function now. Its result comes a moment later, as from a thread."""
        future = self.create_future()
        try:
            result = call_as_in_a_thread(func, *args)
        except Exception as error:
            self.call_later(0.001, _settle, future, None, error)
        else:
            self.call_later(0.001, _settle, future, result, None)
        return future


def call_as_in_a_thread(func: Callable[..., T], *args: Any) -> T:
    """Call a function. `in_a_thread` finds this frame, so it must not be inlined."""
    return func(*args)


def in_a_thread() -> bool:
    """Tell if the caller runs where a server would use a thread."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # MicroPie calls a plain `def` handler in `_run_call`. Where there are no threads, it does
        # so without the loop.
        if frame.f_code is call_as_in_a_thread.__code__ or frame.f_code.co_name == "_run_call":
            return True
        frame = frame.f_back
    return False


def _settle(future: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    if future.done():  # the task that waited was cancelled
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


def run_apart(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own, even if another loop is running here."""
    with Aside():
        loop = Loop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            _end_tasks(loop)
            loop.close()


class Aside:
    """Puts the running loop and its task aside, so that another loop can run meanwhile.

    `_leave_task`, `_enter_task` and `_set_running_loop` are the functions that asyncio offers to
    those who write event loops.
    """

    def __enter__(self) -> None:
        self.running = asyncio._get_running_loop()
        self.task = asyncio.current_task() if self.running else None
        if self.running is not None and self.task is not None:
            asyncio._leave_task(self.running, self.task)
        asyncio._set_running_loop(None)

    def __exit__(self, *error: object) -> None:
        asyncio._set_running_loop(self.running)
        if self.running is not None and self.task is not None:
            asyncio._enter_task(self.running, self.task)


def _end_tasks(loop: Loop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        # A task that ignores its cancellation must not keep the check waiting.
        loop.run_until_complete(asyncio.wait(tasks, timeout=5))
    loop.run_until_complete(loop.shutdown_asyncgens())


class TooLong(BaseException):
    """Code of the reader ran for too long. No `except Exception` may hold it up."""


class Guard:
    """Ends code that runs for too long, and says at which line it was.

    It counts lines, and not seconds. So the result is the same on a slow machine.

    Args:
        folder: The code of the reader is here, and other code is left alone.
        lines: How many lines of it may run.
    """

    def __init__(self, folder: str, lines: int) -> None:
        self.folder = folder
        self.lines = lines
        self.stopped_at: FrameType | None = None
        """Where the code was, if it was ended."""

    def __enter__(self) -> "Guard":
        if monitoring:
            self._watch()
        else:
            self._before = sys.gettrace()
            sys.settrace(self._tracer())
        return self

    def __exit__(self, *error: object) -> None:
        if monitoring:
            monitoring.set_events(TOOL, 0)
            monitoring.free_tool_id(TOOL)
        else:
            sys.settrace(self._before)

    def _count(self, frame: FrameType) -> None:
        self.lines -= 1
        if self.lines < 0:
            self.stopped_at = self.stopped_at or frame
            raise TooLong

    # Python 3.12 and newer tell of each function once, if they are told to leave it alone. So the
    # code of packages keeps its speed.

    def _watch(self) -> None:
        events = monitoring.events
        monitoring.use_tool_id(TOOL, "checks")
        monitoring.register_callback(TOOL, events.PY_START, self._started)
        monitoring.register_callback(TOOL, events.LINE, self._reached)
        monitoring.register_callback(TOOL, events.JUMP, self._jumped)
        monitoring.set_events(TOOL, events.PY_START)

    def _started(self, code: CodeType, offset: int) -> object:
        if code.co_filename.startswith(self.folder):
            events = monitoring.events.LINE | monitoring.events.JUMP
            monitoring.set_local_events(TOOL, code, events)
        return monitoring.DISABLE

    def _reached(self, code: CodeType, line: int) -> None:
        self._count(sys._getframe(1))

    def _jumped(self, code: CodeType, offset: int, target: int) -> None:
        self._count(sys._getframe(1))  # a loop within one line

    # Python 3.11 has only this. It slows down all code, so it is short, and it does not see a loop
    # within one line.

    def _tracer(self) -> Callable[[FrameType, str, object], Any]:
        folder, trace_line = self.folder, self._trace_line

        def trace_call(frame: FrameType, event: str, value: object) -> Any:
            return trace_line if frame.f_code.co_filename.startswith(folder) else None

        return trace_call

    def _trace_line(self, frame: FrameType, event: str, value: object) -> Any:
        self._count(frame)
        return self._trace_line
