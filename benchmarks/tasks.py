"""How much CPU a server takes, under uvicorn, for the daily work of small apps.

Messages to many WebSockets and event streams, an API call whose body is checked, a page from a
template with a session, an upload that is saved. Each task shows how much a framework adds to the
whole. The frameworks take turns.
"""

from __future__ import annotations

import os

from benchmarks.fanout import FanOut
from benchmarks.servers import CLIENT_CORE, Server, pinned
from benchmarks.workloads import MIB, SAVED, TASKS

CLIENTS = 500
BURSTS = 5  # of which the best is taken, because other work on the machine can only add to the cost


def measure_tasks(
    missing: dict[str, dict[str, str]], rounds: int, messages: int, seconds: int, mib: int
) -> dict[str, dict[str, list[float]]]:
    """Measure each task with a new server in every round, as `servers.measure_requests` does.

    Args:
        missing: The frameworks, each with the workloads that it has no answer to.
        rounds: How many times each gets its turn.
        messages: How many messages or events to publish.
        seconds: For how long wrk asks.
        mib: The size of the upload.

    Returns:
        For each task and framework the CPU seconds of the server for each request, each message
        that a client gets, or each MiB.
    """
    results: dict[str, dict[str, list[float]]] = {}
    for task in TASKS:
        names = [name for name, without in missing.items() if task not in without]
        found: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(rounds):
            for name in names:
                try:
                    found[name].append(_measure(name, task, messages, seconds, mib))
                except ConnectionError:  # once in a thousand connections, on a busy machine
                    found[name].append(_measure(name, task, messages, seconds, mib))
        results[task] = found
    return results


def _measure(name: str, task: str, messages: int, seconds: int, mib: int) -> float:
    with Server("uvicorn", name, task) as server:
        if task in ("room", "news"):
            return _fan_out(server, task, messages)
        if task == "save":
            return _save(server, mib)
        asked = TASKS[task]
        cookie = server.check(asked)
        server.load(asked, 1, cookie)
        return server.load(asked, seconds, cookie)["cpu_per_request"]


def _fan_out(server: Server, task: str, messages: int) -> float:
    with pinned(CLIENT_CORE), FanOut(server.port, task, CLIENTS) as clients:
        clients.publish(5)
        spent = []
        for _ in range(BURSTS):
            before = server.cpu_seconds()
            clients.publish(messages // BURSTS)
            spent.append(server.cpu_seconds() - before)
        return min(spent) / (messages // BURSTS) / CLIENTS


def _save(server: Server, mib: int) -> float:
    with pinned(CLIENT_CORE):
        _saved(server, 1)
        return min(_saved(server, mib) for _ in range(3))


def _saved(server: Server, mib: int) -> float:
    try:
        spent = server.upload(mib, TASKS["save"].path)["cpu_per_mib"]
        assert os.path.getsize(SAVED) == mib * MIB, f"{server.name}: the file is not whole"
    finally:
        if os.path.exists(SAVED):
            os.unlink(SAVED)
    return spent
