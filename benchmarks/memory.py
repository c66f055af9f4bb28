"""Memory per idle connection, and how far an upload drives it up.

Each connection adds the growth of the process's resident memory from some open connections
to many more, divided by their number: what an operator pays, whoever allocated it. No tracing,
which would itself take memory.
"""

from __future__ import annotations

import statistics

from benchmarks.peers import Peer


def measure_idle(names: list[str], rounds: int, count: int) -> dict[str, dict[str, float]]:
    """Return the bytes per idle WebSocket and event stream, the median of a few processes each."""
    results: dict[str, dict[str, float]] = {}
    for what in ("websocket", "events"):
        samples: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                with Peer(name) as peer:
                    if what not in peer.info["missing"]:
                        samples[name].append(
                            peer.ask("idle", what=what, warm=count // 2, count=count)["bytes"]
                        )
        results[what] = {name: statistics.median(found) for name, found in samples.items() if found}
    return results


def measure_upload_peak(names: list[str], mib: int) -> dict[str, float]:
    """Return by how many bytes the peak of memory grows during an upload."""
    results = {}
    for name in names:
        with Peer(name) as peer:
            if "upload" not in peer.info["missing"]:
                results[name] = peer.ask("peak", units=mib)["bytes"]
    return results
