"""CPU time per request, in process: no server, no network, no other process's share.

Every framework has a process of its own; they take turns (A B C, A B C, ...), so that whatever else
the machine does falls on all of them alike, and the medians and the ratios within a round are what
counts.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from typing import Any

from benchmarks.peers import Peer
from benchmarks.workloads import WORKLOADS

Rounds = dict[str, list[float]]


def open_peers(stack: ExitStack, names: list[str], core: int | None = 0) -> dict[str, Peer]:
    """Start the frameworks' processes; they end with the stack."""
    return {name: stack.enter_context(Peer(name, core=core)) for name in names}


def take_turns(
    peers: dict[str, Peer], workload: str, rounds: int, seconds: float, units: int = 1
) -> Rounds:
    """Measure one workload, round by round.

    Args:
        peers: The running frameworks, already checked to give the right answer.
        workload: Name of the workload.
        rounds: How many times each gets its turn.
        seconds: About how much CPU time one turn may take.
        units: By how much to divide the cost of one request (the MiB of an upload).

    Returns:
        For each framework the CPU seconds per unit of every round.
    """
    counts = {name: _calibrate(peer, workload, seconds) for name, peer in peers.items()}
    results: Rounds = {name: [] for name in peers}
    for _ in range(rounds):
        for name, peer in peers.items():
            answer = peer.ask("cpu", workload=workload, count=counts[name])
            results[name].append(answer["seconds"] / counts[name] / units)
    return results


def _calibrate(peer: Peer, workload: str, seconds: float) -> int:
    """Find how many requests take about so many seconds; this also warms everything up."""
    count = 1
    while True:
        spent: float = peer.ask("cpu", workload=workload, count=count)["seconds"]
        if spent >= seconds / 4 or count >= 1_000_000:
            return max(1, round(count * seconds / max(spent, 1e-6)))
        count *= 4


def turn_ratio(rounds: Rounds, name: str, base: str) -> float:
    """Return the median over the rounds of one's cost in another's."""
    return statistics.median(a / b for a, b in zip(rounds[name], rounds[base], strict=True))


def measure_cpu(
    names: list[str], workloads: list[str], rounds: int, seconds: float, mib: int
) -> dict[str, Rounds]:
    """Measure workloads in turn; a framework that has no answer for one is left out of it."""
    results: dict[str, Rounds] = {}
    with ExitStack() as stack:
        peers = open_peers(stack, names)
        for workload in workloads:
            able = {
                name: peer for name, peer in peers.items() if workload not in peer.info["missing"]
            }
            units = mib if workload == "upload" else WORKLOADS[workload].units
            for peer in able.values():
                peer.ask("check", workload=workload, units=units)
            results[workload] = take_turns(able, workload, rounds, seconds, units)
    return results


def measure_routes(
    names: list[str], counts: list[int], rounds: int, seconds: float
) -> dict[str, Rounds]:
    """Measure the request for the middle one of so many routes."""
    results: dict[str, Rounds] = {}
    for count in counts:
        with ExitStack() as stack:
            peers = open_peers(stack, names)
            for peer in peers.values():
                peer.ask("check", workload="route", routes=count)
            results[str(count)] = take_turns(peers, "route", rounds, seconds)
    return results


def measure_sessions(
    few: int, many: int, rounds: int, seconds: float, timeout: float
) -> dict[str, Any]:
    """Compare few with many live sessions in memory, then watch the many expire all at once."""
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for live in (few, many):
            peers[str(live)] = stack.enter_context(Peer("micropie", core=0))
            peers[str(live)].ask("check", workload="session")
        peers[str(few)].ask("crowd", live=few, timeout=3600)
        peers[str(many)].ask("crowd", live=many, timeout=timeout)
        turns = take_turns(peers, "session", rounds, seconds)
        pause = peers[str(many)].ask("pause", count=20_000)["seconds"]
    ratio = turn_ratio(turns, str(many), str(few))
    return {"few": few, "many": many, "rounds": turns, "ratio": ratio, "longest_pause": pause}
