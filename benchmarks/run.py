"""Measure everything, and write it down: ``python -m benchmarks.run``.

Prints the tables and how MicroPie stands to its aims; writes ``results.json`` and ``results.md``
into ``benchmarks/results/``. A quick run takes under two minutes and writes into
``benchmarks/results/quick/``, which is not kept.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import callgrind, servers
from benchmarks.aims import INSTRUCTION_AIMS, Results, all_aims
from benchmarks.cpu import measure_cpu, measure_routes, measure_sessions
from benchmarks.imports import measure_imports
from benchmarks.memory import measure_idle, measure_upload_peak
from benchmarks.peers import BARE, PEERS, ROOT, Peer, environment
from benchmarks.tables import markdown
from benchmarks.tasks import measure_tasks
from benchmarks.workloads import WORKLOADS

WAYS = (
    "instructions",
    "cpu",
    "tasks",
    "servers",
    "bounds",
    "routes",
    "memory",
    "sessions",
    "imports",
)
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Settings:
    """How thoroughly to measure. What a field means is what the functions that take it say."""

    quick: bool
    counts: tuple[int, int]
    cpu_rounds: int
    cpu_seconds: float
    upload_mib: int
    task_rounds: int
    task_messages: int
    server_rounds: int
    server_seconds: int
    bound_rounds: int
    route_counts: tuple[int, ...]
    idle_rounds: int
    idle_count: int
    live_sessions: int
    session_timeout: float
    import_rounds: int


FULL = Settings(
    False,
    (100, 400),
    9,
    0.2,
    64,
    5,
    100,
    7,
    2,
    15,
    (1, 10, 100, 1_000, 5_000),
    3,
    4_000,
    1_000_000,
    90.0,
    15,
)
QUICK = Settings(
    True, (40, 140), 3, 0.05, 64, 1, 20, 2, 1, 0, (10, 5_000), 1, 1_000, 100_000, 12.0, 5
)


class Run:
    """One run: what to measure, and the results so far."""

    def __init__(self, settings: Settings, names: list[str]) -> None:
        self.settings = settings
        self.names = names
        # A quick run compares all frameworks where that is cheap, and else the floor, MicroPie and
        # one well-known peer.
        self.few = [
            name
            for name in names
            if not settings.quick or name in ("floor", "micropie", "starlette")
        ]
        self.results: Results = {
            "date": datetime.date.today().isoformat(),
            "measured": {},  # when and where, of each way: with `--keep` they may differ
            "machine": {
                "python": f"CPython {platform.python_version()}",
                "processor": _processor(),
                "cores": os.cpu_count(),
            },
            "settings": asdict(settings),
            "peers": {},
            **{
                key: {}
                for key in (
                    "instructions",
                    "route_instructions",
                    "cpu",
                    "tasks",
                    "routes",
                    "servers",
                    "uploads",
                )
            },
            **{
                key: {}
                for key in ("memory", "upload_peak", "sessions", "imports", "bounds", "profiles")
            },
        }

    def keep(self, earlier: Results) -> None:
        """Start from an earlier run; `measured` tells of the ways that this one measures anew."""
        settings = self.results["settings"] | earlier["settings"]
        self.results |= earlier | {"settings": settings}

    def describe(self) -> None:
        """Ask every framework for its version and for what it has no answer to."""
        for name in self.names:
            with Peer(name) as peer:
                self.results["peers"][name] = peer.info

    def instructions(self) -> None:
        """Count instructions under valgrind, as many frameworks at a time as there are cores."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = {
                name: pool.submit(
                    callgrind.count_instructions, name, list(INSTRUCTION_AIMS), self.settings.counts
                )
                for name in self.names
            }
            routed = {
                count: pool.submit(
                    callgrind.count_instructions,
                    "micropie",
                    ["route"],
                    self.settings.counts,
                    routes=count,
                )
                for count in (10, 5_000)
                if "micropie" in self.names
            }
            for workload in INSTRUCTION_AIMS:
                counts = {name: job.result() for name, job in jobs.items()}
                self.results["instructions"][workload] = {
                    n: found[workload] for n, found in counts.items()
                }
            self.results["route_instructions"] = {
                str(n): job.result()["route"] for n, job in routed.items()
            }

    def cpu(self) -> None:
        """Measure CPU time in process."""
        s = self.settings
        self.results["cpu"] = measure_cpu(
            self.few, list(WORKLOADS), s.cpu_rounds, s.cpu_seconds, s.upload_mib
        )

    def tasks(self) -> None:
        """Measure what small apps do all day, under uvicorn."""
        s = self.settings
        missing = {name: self.results["peers"][name]["missing"] for name in self.few}
        self.results["tasks"] = measure_tasks(
            missing, s.task_rounds, s.task_messages, 1, s.upload_mib
        )

    def servers(self) -> None:
        """Measure requests and uploads under real servers."""
        s = self.settings
        for server in ("uvicorn",) if s.quick else ("uvicorn", servers.PLAIN, "granian"):
            names = [
                name
                for name in self.few
                if server != servers.PLAIN or name in ("floor", "micropie", "starlette")
            ]
            found = servers.measure_requests(
                server, names, ["hello", "json"], s.server_rounds, s.server_seconds
            )
            self.results["servers"][server] = found
        self.results["uploads"] = servers.measure_uploads(
            self.few, s.server_rounds + 1, s.upload_mib
        )

    def bounds(self) -> None:
        """Measure what the API alone costs, beside MicroPie, and where MicroPie's byte codes go."""
        s, names = self.settings, ["floor", BARE, "micropie"]
        cpu = measure_cpu(
            names, ["websocket", "stream", "upload"], s.cpu_rounds, s.cpu_seconds, s.upload_mib
        )
        counted = callgrind.count_instructions(BARE, ["hello", "json"], s.counts)
        self.results["bounds"] = {"cpu": cpu, "instructions": counted}
        for server in ("uvicorn", servers.PLAIN) if s.bound_rounds else ():
            found = servers.measure_requests(server, names, ["hello", "json"], s.bound_rounds, 1)
            self.results["bounds"][server] = found
        for workload in ("hello", "websocket", "stream", "upload"):
            self.results["profiles"][workload] = {
                name: _profile(workload, name) for name in ("floor", "micropie")
            }

    def routes(self) -> None:
        """Measure the cost of many routes."""
        s = self.settings
        names = [name for name in self.few if not s.quick or name != "starlette"]
        self.results["routes"] = measure_routes(
            names, list(s.route_counts), s.cpu_rounds, s.cpu_seconds / 2
        )

    def memory(self) -> None:
        """Measure memory per idle connection, and during an upload."""
        self.results["memory"] = measure_idle(
            self.few, self.settings.idle_rounds, self.settings.idle_count
        )
        self.results["upload_peak"] = measure_upload_peak(self.few, self.settings.upload_mib)

    def sessions(self) -> None:
        """Measure what live sessions in memory cost, and what their end costs."""
        s = self.settings
        if "micropie" in self.names:
            live = s.live_sessions
            found = measure_sessions(10, live, s.cpu_rounds, s.cpu_seconds, s.session_timeout)
            self.results["sessions"] = found

    def imports(self) -> None:
        """Measure what importing costs."""
        self.results["imports"] = measure_imports(self.few, self.settings.import_rounds)


def _profile(workload: str, name: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "benchmarks.profile", workload, name, "--json"]
    run = subprocess.run(
        command, cwd=ROOT, env=environment(), check=True, capture_output=True, timeout=300
    )
    rows: list[dict[str, Any]] = json.loads(run.stdout)
    return rows


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _problem(ways: list[str]) -> str | None:
    """Return what has to be installed first, or None."""
    checks: dict[str, Callable[[], str | None]] = {
        "instructions": callgrind.missing_tool,
        "servers": servers.missing_tool,
    }
    found = [check() for way, check in checks.items() if way in ways]
    return next((tool for tool in found if tool), None)


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    def listed(choices: Any) -> Callable[[str], list[str]]:
        def parse(text: str) -> list[str]:
            unknown = set(text.split(",")) - set(choices)
            if unknown:
                raise argparse.ArgumentTypeError(
                    f"{', '.join(sorted(unknown))}: choose from {', '.join(choices)}"
                )
            return [name for name in choices if name in text.split(",")]

        return parse

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run", description="MicroPie beside its peers."
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="under two minutes: fewer rounds, mostly three frameworks",
    )
    parser.add_argument(
        "--only", type=listed(WAYS), default=list(WAYS), metavar="WAY,...", help=", ".join(WAYS)
    )
    parser.add_argument(
        "--peers",
        type=listed(PEERS),
        default=list(PEERS),
        metavar="NAME,...",
        help=", ".join(PEERS),
    )
    parser.add_argument("--output", type=Path, help="folder for the results")
    parser.add_argument(
        "--keep", action="store_true", help="keep what the folder has of what is not measured now"
    )
    parser.add_argument("--check", action="store_true", help="exit 1 when an aim is missed")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    options = _arguments(arguments)
    if problem := _problem(options.only):
        print(f"Needed first: {problem}", file=sys.stderr)
        return 2
    output = options.output or (RESULTS / "quick" if options.quick else RESULTS)
    run = Run(QUICK if options.quick else FULL, options.peers)
    if options.keep and (output / "results.json").exists():
        run.keep(json.loads((output / "results.json").read_text(encoding="utf-8")))
    run.describe()
    for way in options.only:
        started = time.monotonic()
        print(f"{way} ...", end=" ", file=sys.stderr, flush=True)
        getattr(run, way)()
        run.results["measured"][way] = f"{datetime.date.today().isoformat()} ({_processor()})"
        print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
    output.mkdir(parents=True, exist_ok=True)
    (output / "results.json").write_text(json.dumps(run.results, indent=1) + "\n", encoding="utf-8")
    report = markdown(run.results)
    (output / "results.md").write_text(report, encoding="utf-8")
    print(report)
    return 1 if options.check and not all(aim.passed for aim in all_aims(run.results)) else 0


if __name__ == "__main__":
    sys.exit(main())
