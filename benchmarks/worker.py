"""The process that is measured: one framework, one core, taking its orders as lines of JSON.

``python -m benchmarks.worker PEER`` answers every line on standard input (``{"do": ..., ...}``)
with one line on standard output. Each framework has a process of its own, so that none pays for
what another one imported, and the caller takes turns among them, so that a busy moment of the
machine hits all of them alike.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import importlib
import importlib.metadata
import json
import logging
import os
import resource
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks import inprocess
from benchmarks.inprocess import App, Lifespan
from benchmarks.workloads import SAVED, TASKS, WORKLOADS, route, upload


class Worker:
    """The apps of one framework, started up and ready to be asked."""

    def __init__(self, peer: str, stack: AsyncExitStack) -> None:
        self.module = importlib.import_module(f"benchmarks.apps.{peer}")
        self.stack = stack
        self.apps: dict[str, App] = {}
        self.cookies: dict[str, bytes | None] = {}  # by workload
        self.crowd_gone = 0.0
        self.workloads = WORKLOADS | TASKS

    async def app(self, workload: str) -> App:
        """Return the app that answers a workload, started up."""
        if workload not in self.apps:
            apps = getattr(self.module, "APPS", None)
            if apps is not None:  # the hand-written ones know nothing of a lifespan
                self.apps[workload] = apps[workload]
            else:
                app = getattr(self.module, f"{workload}_app", self.module.app)
                self.apps[workload] = await self._started(app)
        return self.apps[workload]

    async def _started(self, app: App) -> App:
        for started in self.apps.values():
            if started is app:
                return app
        await self.stack.enter_async_context(Lifespan(app))
        return app

    async def info(self) -> dict[str, Any]:
        """Tell what the framework is."""
        package = self.module.PACKAGE
        try:
            version = importlib.metadata.version(package) if package else ""
        except importlib.metadata.PackageNotFoundError:
            version = "this tree"
        return {
            "version": version,
            "imports": self.module.IMPORTS,
            "missing": getattr(self.module, "MISSING", {}),
            "notes": getattr(self.module, "NOTES", {}),
        }

    async def check(
        self, workload: str, units: int | None = None, routes: int | None = None
    ) -> dict[str, Any]:
        """Ask once and check the answer; a session is started, many routes are set up."""
        if workload == "route":
            many = self.module.routes(routes)
            self.apps["route"] = many if hasattr(self.module, "APPS") else await self._started(many)
            self.workloads["route"] = route((routes or 0) // 2)
        if workload in ("upload", "save") and units:
            self.workloads[workload] = upload(units, workload)
        asked = self.workloads[workload]
        if workload == "session":
            self.cookies[workload] = await inprocess.start_session(await self.app(workload), asked)
        else:
            answer = await inprocess.ask(
                await self.app(workload), asked, units=3 if asked.method == "WEBSOCKET" else None
            )
            self.cookies[workload] = inprocess.session_cookie(answer)
        return {}

    async def _run(self, workload: str, count: int) -> None:
        asked = self.workloads[workload]
        if asked.method == "WEBSOCKET":
            await inprocess.drive_socket(await self.app(workload), asked, count)
        else:
            await inprocess.drive(
                await self.app(workload), asked, count, self.cookies.get(workload)
            )

    async def cpu(self, workload: str, count: int) -> dict[str, Any]:
        """Tell the CPU seconds of ``count`` requests (or messages), system calls included."""
        gc.collect()
        gc.freeze()
        started = time.process_time()
        await self._run(workload, count)
        return {"seconds": time.process_time() - started}

    async def instructions(self, workload: str, counts: list[int], library: str) -> dict[str, Any]:
        """Run each of ``counts`` requests under callgrind and let it dump what each run took."""
        callgrind = ctypes.CDLL(library)
        await self._run(workload, 20)
        gc.collect()
        gc.freeze()
        callgrind.start()
        await self._run(workload, 5)
        for count in counts:
            callgrind.reset()
            await self._run(workload, count)
            callgrind.dump()
        callgrind.stop()
        return {}

    async def idle(self, what: str, warm: int, count: int) -> dict[str, Any]:
        """Tell the resident bytes per idle connection, from ``warm`` of them to ``count`` more."""
        app = await self.app(what)
        hold = inprocess.hold_streams if what == "events" else inprocess.hold_sockets
        first = await hold(app, warm)
        before = _resident_bytes()
        second = await hold(app, count)
        grown = _resident_bytes() - before
        await inprocess.release(first + second)
        return {"bytes": grown / count}

    async def peak(self, units: int) -> dict[str, Any]:
        """Tell by how many bytes the process's peak grows during an upload of ``units`` MiB."""
        app = await self.app("upload")
        await inprocess.ask(app, upload(1))
        before = _resident_bytes(peak=True)
        await inprocess.ask(app, upload(units))
        return {"bytes": _resident_bytes(peak=True) - before}

    async def crowd(self, live: int, timeout: float) -> dict[str, Any]:
        """Fill the in-memory sessions with ``live`` visitors who do not come back (MicroPie)."""
        backend = self.module.app.session_backend
        for number in range(live):
            await backend.save(f"visitor-{number:0>35}", {"visits": number}, timeout)
        self.crowd_gone = time.monotonic() + timeout
        return {}

    async def pause(self, count: int) -> dict[str, Any]:
        """Let all sessions expire; tell the CPU seconds of the slowest of ``count`` requests."""
        await asyncio.sleep(max(0.0, self.crowd_gone - time.monotonic()) + 0.1)
        app, asked, slowest = await self.app("session"), self.workloads["session"], 0.0
        for _ in range(count):
            started = time.process_time()
            await inprocess.drive(app, asked, 1, self.cookies["session"])
            slowest = max(slowest, time.process_time() - started)
        return {"seconds": slowest}


def _resident_bytes(*, peak: bool = False) -> int:
    gc.collect()
    if peak:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


async def serve(peer: str) -> None:
    """Carry out orders until standard input ends."""
    async with AsyncExitStack() as stack:
        stack.callback(Path(SAVED).unlink, missing_ok=True)
        worker = Worker(peer, stack)
        _say({"ready": peer})
        for line in sys.stdin:
            order = json.loads(line)
            do = getattr(worker, order.pop("do"))
            try:
                _say(await do(**order))
            except Exception as error:  # the caller decides what a wrong answer means
                _say({"error": f"{type(error).__name__}: {error}"})


def _say(answer: dict[str, Any]) -> None:
    os.write(_OUTPUT, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    # Whatever a framework prints must not get between the answers.
    _OUTPUT = os.dup(1)
    os.dup2(2, 1)
    logging.disable(logging.CRITICAL)
    asyncio.run(serve(sys.argv[1]))
