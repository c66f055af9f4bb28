"""Counts a request's instructions by Python function.

    python -m benchmarks.profile hello [micropie]

Callgrind sees only the interpreter's C functions. What it cannot tell, the interpreter can: how
many byte codes each Python function executes per request, how often it is entered, and which
functions written in C it calls.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks import inprocess
from benchmarks.peers import PEERS, ROOT
from benchmarks.worker import Worker
from benchmarks.workloads import SAVED, TASKS, WORKLOADS

REQUESTS, MESSAGES = 20, 1_000
CHOICES = [*WORKLOADS, "order", "table", "save"]  # a fan-out needs a server


class Tracer:
    """Counts the byte codes, the entries and the C calls of every Python function."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.codes: Counter[CodeType] = Counter()
        self.entries: Counter[CodeType] = Counter()
        self.calls: Counter[tuple[CodeType, str]] = Counter()

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        """Take the interpreter's trace events."""
        if event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
            self.entries[frame.f_code] += 1
        elif event == "opcode":
            self.codes[frame.f_code] += 1
        return self.trace

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take the interpreter's profile events."""
        if event == "c_call":
            self.calls[frame.f_code, getattr(argument, "__qualname__", str(argument))] += 1


async def profile(peer: str, workload: str) -> Tracer:
    """Trace some requests to a warm app, each kind of event in a run of its own."""
    socket = (WORKLOADS | TASKS)[workload].method == "WEBSOCKET"
    tracer = Tracer(MESSAGES if socket else REQUESTS)
    async with AsyncExitStack() as stack:
        stack.callback(Path(SAVED).unlink, missing_ok=True)
        worker = Worker(peer, stack)
        await worker.check(workload, units=1 if workload in ("upload", "save") else None)
        app, asked = await worker.app(workload), worker.workloads[workload]

        async def run() -> None:
            if socket:
                await inprocess.drive_socket(app, asked, tracer.count)
            else:
                await inprocess.drive(app, asked, tracer.count, worker.cookies.get(workload))

        await run()
        for install in (sys.settrace, sys.setprofile):
            install(tracer.trace if install is sys.settrace else tracer.profile)
            try:
                await run()
            finally:
                install(None)
    return tracer


def rows(tracer: Tracer) -> list[dict[str, Any]]:
    """Return what each function takes per request, the costliest first, down to half a percent."""
    total = sum(tracer.codes.values())
    found: list[dict[str, Any]] = []
    for code, count in tracer.codes.most_common():
        if count * 200 < total:
            break
        path = Path(code.co_filename)
        where = (
            path.relative_to(ROOT)
            if path.is_relative_to(ROOT)
            else Path(path.parent.name, path.name)
        )
        calls = [(n / tracer.count, name) for (of, name), n in tracer.calls.items() if of is code]
        calls = sorted(calls, reverse=True)[:12]
        row = {
            "byte_codes": count / tracer.count,
            "entered": tracer.entries[code] / tracer.count,
            "calls": calls,
        }
        found.append(
            {"where": f"{where}:{code.co_firstlineno}", "function": code.co_qualname, **row}
        )
    rest = total / tracer.count - sum(row["byte_codes"] for row in found)
    return [
        *found,
        {"where": "", "function": "all others", "byte_codes": rest, "entered": None, "calls": []},
    ]


def report(found: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the profile."""
    total = sum(row["byte_codes"] for row in found)
    lines = [f"{'byte codes':>10} {'share':>6} {'entered':>8}  function (C functions it calls)"]
    for row in found:
        names = ", ".join(
            name if round(n, 2) == 1 else f"{name} ×{n:g}" for n, name in row["calls"]
        )
        entered = "" if row["entered"] is None else f"{row['entered']:.1f}"
        count = row["byte_codes"]
        line = (
            f"{count:>10.1f} {count / total:>6.1%} {entered:>8}  {row['where']} {row['function']}"
        )
        lines.append(f"{line} ({names})" if names else line)
    lines.append(f"{total:>10.1f}   all  per request")
    return lines


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.profile", description="Byte codes by Python function."
    )
    parser.add_argument("workload", choices=CHOICES)
    parser.add_argument("peer", nargs="?", choices=PEERS, default="micropie")
    parser.add_argument("--json", action="store_true", help="as JSON")
    options = parser.parse_args()
    importlib.import_module(f"benchmarks.apps.{options.peer}")
    found = rows(asyncio.run(profile(options.peer, options.workload)))
    print(json.dumps(found) if options.json else "\n".join(report(found)))


if __name__ == "__main__":
    main()
