"""What MicroPie has to reach, worked out from the results of one run."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.cpu import turn_ratio
from benchmarks.imports import AIM as IMPORT_AIM
from benchmarks.peers import BARE
from benchmarks.servers import median_ratio
from benchmarks.workloads import MIB, TASKS

Results = dict[str, Any]
INSTRUCTION_AIMS = {"hello": 2.8, "json": 3.0, "path": 3.0, "query": 1.5, "form": 1.5}
CPU_AIMS = {
    "websocket": ("WebSocket message", 2.0, "floor"),
    "stream": ("1,000-chunk stream", 1.2, "floor"),
    "page": ("Jinja page", 1.3, "floor"),
    "session": ("session counter", 0.3, "starlette"),
    "upload": ("upload per MiB", 1.2, "floor"),
}
TASK_AIMS = {"room": 1.1, "news": 1.15, "order": 1.4, "table": 1.15, "save": 1.1}


class Aim(NamedTuple):
    """One aim: what was measured, and whether that is good enough."""

    title: str
    value: str
    wanted: str
    passed: bool
    bound: str = ""  # what the barest app with the same API reaches

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'}  {self.title}: {self.value} {self.measure}"

    @property
    def measure(self) -> str:
        """What the value is to be seen against."""
        return f"(wanted: {self.wanted})" + (
            f"; the barest app: {self.bound}" if self.bound else ""
        )


def at_most(
    title: str, value: float, limit: float, unit: str = "", bound: float | None = None
) -> Aim:
    """Return the aim that a value stays within a limit."""
    return Aim(
        title, f"{_near(value, limit)}{unit}", f"≤ {limit:g}{unit}", value <= limit, _number(bound)
    )


def at_least(
    title: str, value: float, limit: float, unit: str = "", bound: float | None = None
) -> Aim:
    """Return the aim that a value reaches a limit."""
    return Aim(
        title, f"{_near(value, limit)}{unit}", f"≥ {limit:g}{unit}", value >= limit, _number(bound)
    )


def _near(value: float, limit: float) -> str:
    """Return a value in three digits; in more if it would look like the limit, and is not."""
    digits = 3
    while value != limit and float(f"{value:.{digits}g}") == limit:
        digits += 1
    return f"{value:.{digits}g}"


def _number(bound: float | None) -> str:
    return "" if bound is None else f"{bound:.3g}"


def _first(title: str, values: dict[str, float]) -> Aim:
    """Return the aim that MicroPie's value is the lowest of all frameworks."""
    peers = {name: value for name, value in values.items() if name not in ("floor", "micropie")}
    best = min(peers, key=lambda name: peers[name])
    wanted = f"less than the best peer, {best}, {peers[best]:.4g}"
    return Aim(title, f"{values['micropie']:.4g}", wanted, values["micropie"] < peers[best])


def instruction_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims on instructions per request."""
    for name, limit in INSTRUCTION_AIMS.items():
        counts = results["instructions"].get(name, {})
        if {"floor", "micropie"} <= counts.keys():
            bare = results["bounds"].get("instructions", {}).get(name)
            bound = bare / counts["floor"] if bare else None
            ratio = counts["micropie"] / counts["floor"]
            yield at_most(f"instructions, {name}, to the floor", ratio, limit, bound=bound)
            if len(counts) > 2:
                yield _first(
                    f"instructions, {name}, thousands, first of all",
                    {k: v / 1e3 for k, v in counts.items()},
                )


def cpu_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims on CPU time in process."""
    for name, (title, limit, base) in CPU_AIMS.items():
        rounds = results["cpu"].get(name, {})
        if {base, "micropie"} <= rounds.keys():
            bare = results["bounds"].get("cpu", {}).get(name)
            bound = turn_ratio(bare, BARE, base) if bare else None
            yield at_most(
                f"CPU, {title}, to {base}", turn_ratio(rounds, "micropie", base), limit, bound=bound
            )


def task_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims on what small apps do, in server CPU."""
    for name, limit in TASK_AIMS.items():
        rounds = results.get("tasks", {}).get(name, {})
        if {"floor", "micropie"} <= rounds.keys():
            title = f"server CPU, {TASKS[name].title}, to the floor"
            yield at_most(title, turn_ratio(rounds, "micropie", "floor"), limit)


def server_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims under uvicorn."""
    under_uvicorn = [
        (server, found)
        for server, found in results["servers"].items()
        if server.startswith("uvicorn")
    ]
    for server, name, found in (
        (server, name, per[name]) for server, per in under_uvicorn for name in per
    ):
        if not {"floor", "micropie"} <= found.keys():
            continue
        three = (
            results["bounds"].get(server, {}).get(name)
        )  # of these there are more rounds, and a bound
        base = three or found
        bounds = (
            {key: median_ratio(three, key, BARE, "floor") for key in found["floor"]}
            if three
            else {}
        )
        rate = median_ratio(base, key := "requests_per_second", "micropie", "floor")
        title = f"{server}, {name}, requests per second, to the floor"
        yield at_least(title, rate, 0.92, bound=bounds.get(key))
        rates = {
            peer: statistics.median(values["requests_per_second"]) for peer, values in found.items()
        }
        if len(rates) > 2:
            inverse = {peer: 1e6 / value for peer, value in rates.items()}
            yield _first(f"{server}, {name}, µs of wall clock per request, first of all", inverse)
        cost = median_ratio(base, key := "cpu_per_request", "micropie", "floor")
        title = f"{server}, {name}, server CPU per request, to the floor"
        yield at_most(title, cost, 1.12, bound=bounds.get(key))


def upload_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims of an upload to a real server."""
    found = results["uploads"]
    if {"floor", "micropie"} <= found.keys():
        yield at_most("upload, growth in memory", max(found["micropie"]["memory"]) / MIB, 4, " MiB")
        rate = median_ratio(found, "mib_per_second", "micropie", "floor")
        yield at_least("upload, throughput, to the floor", rate, 0.95)


def memory_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims on memory per idle connection."""
    for what, found in results["memory"].items():
        if {"floor", "micropie"} <= found.keys():
            title = "WebSocket" if what == "websocket" else "event stream"
            yield at_most(
                f"memory per idle {title}, above the floor",
                (found["micropie"] - found["floor"]) / 1024,
                2,
                " KiB",
            )


def scale_aims(results: Results) -> Iterator[Aim]:
    """Yield the aims on what must not grow: routes, live sessions, the import."""
    routes = {int(count): value for count, value in results["route_instructions"].items()}
    if routes:
        ratio = routes[max(routes)] / routes[min(routes)]
        yield at_most(f"instructions with {max(routes):,} routes, to {min(routes)}", ratio, 1.05)
    if sessions := results["sessions"]:
        live = f"{sessions['many']:,} live sessions"
        yield at_most(f"CPU per request with {live}, to {sessions['few']}", sessions["ratio"], 1.1)
        pause = sessions["longest_pause"] * 1e3
        yield at_most(f"longest request while {live} expire", pause, 5, " ms")
    if "micropie" in results["imports"]:
        yield at_most(
            "import over a bare interpreter",
            results["imports"]["micropie"] * 1e3,
            IMPORT_AIM * 1e3,
            " ms",
        )


def all_aims(results: Results) -> list[Aim]:
    """Return every aim for which the run has numbers."""
    makers = (
        instruction_aims,
        cpu_aims,
        task_aims,
        server_aims,
        upload_aims,
        memory_aims,
        scale_aims,
    )
    return [aim for maker in makers for aim in maker(results)]
