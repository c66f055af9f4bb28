"""What importing a framework costs over a bare interpreter, in CPU time."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

from benchmarks.peers import ROOT, Peer, environment


def _cpu_seconds(code: str) -> float:
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{code!r} failed")
    return usage.ru_utime + usage.ru_stime


def measure_imports(names: list[str], rounds: int) -> dict[str, float]:
    """Return the median cost in seconds of what a hello-world app of each framework imports."""
    codes = {"bare": "pass"}
    for name in names:
        with Peer(name) as peer:
            codes[name] = peer.info["imports"]
    samples: dict[str, list[float]] = {name: [] for name in codes}
    for code in codes.values():
        _cpu_seconds(code)  # leaves the byte code behind
    for _ in range(rounds):
        for name, code in codes.items():
            samples[name].append(_cpu_seconds(code))
    bare = statistics.median(samples.pop("bare"))
    return {name: statistics.median(found) - bare for name, found in samples.items()}
