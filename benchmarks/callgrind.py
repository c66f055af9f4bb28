"""Instructions per request, counted by valgrind's callgrind.

They repeat to a fraction of a percent on any machine.

A worker runs under valgrind with counting off until it is warm. Two runs of different length are
then counted, and the difference is divided by the difference of their lengths, so that whatever is
not a request cancels.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.peers import Peer

# valgrind's client requests are C macros; this is all the C there is.
_SOURCE = """
#include <valgrind/callgrind.h>
void start(void) { CALLGRIND_START_INSTRUMENTATION; }
void stop(void) { CALLGRIND_STOP_INSTRUMENTATION; }
void reset(void) { CALLGRIND_ZERO_STATS; }
void dump(void) { CALLGRIND_DUMP_STATS; }
"""


def missing_tool() -> str | None:
    """Return what has to be installed before instructions can be counted, or None."""
    for tool in ("valgrind", "gcc"):
        if shutil.which(tool) is None:
            return f"{tool} (apt-get install valgrind gcc)"
    return None


def build_library(folder: Path) -> Path:
    """Compile the library through which a worker switches counting on and off."""
    source, library = folder / "callgrind.c", folder / "callgrind.so"
    source.write_text(_SOURCE, encoding="ascii")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library


def read_total(dump: Path) -> int:
    """Return the number of instructions in one of callgrind's dumps."""
    for line in dump.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith(("summary:", "totals:")):
            return int(line.split()[1])
    raise ValueError(f"no total in {dump}")


def count_instructions(
    peer: str, workloads: list[str], counts: tuple[int, int], **check: Any
) -> dict[str, float]:
    """Count the instructions that each unit of the workloads takes in one framework.

    Args:
        peer: The framework's module in ``benchmarks.apps``.
        workloads: Names of workloads.
        counts: The two run lengths.
        check: Arguments for the worker's check (the number of routes).
    """
    results: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="callgrind-") as name:
        folder = Path(name)
        library = build_library(folder)
        valgrind = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder}/out",
        ]
        with Peer(peer, prefix=[*valgrind, f"--log-file={folder}/log"]) as worker:
            for workload in workloads:
                if workload in worker.info["missing"]:
                    continue
                for old in folder.glob("out*"):
                    old.unlink()
                worker.ask("check", workload=workload, **check)
                worker.ask(
                    "instructions", workload=workload, counts=list(counts), library=str(library)
                )
                short, long = (
                    read_total(dump) for dump in sorted(folder.glob("out.*"), key=_number)[:2]
                )
                results[workload] = (long - short) / (counts[1] - counts[0])
    return results


def _number(dump: Path) -> int:
    return int(dump.name.rpartition(".")[2])
