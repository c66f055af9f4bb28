"""The results as Markdown tables."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.aims import Results, all_aims
from benchmarks.peers import PEERS
from benchmarks.workloads import MIB, WORKLOADS

Cells = dict[str, dict[str, float]]  # column, framework, value


def medians(rounds: dict[str, dict[str, list[float]]], scale: float = 1.0) -> Cells:
    """Return the median of the rounds for each column and framework."""
    return {
        column: {name: statistics.median(values) * scale for name, values in found.items()}
        for column, found in rounds.items()
    }


def server_cells(found: dict[str, Any], key: str, scale: float) -> Cells:
    """Return the medians of one thing that was measured under a server."""
    return medians(
        {column: {name: values[key] for name, values in per.items()} for column, per in found.items()}, scale
    )


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _cell(values: dict[str, float], name: str, ratios: bool) -> str:
    if name not in values:
        return "-"
    text = _number(values[name])
    if not ratios:
        return text
    shown = [f"{values[name] / values[base]:.2f}" if values.get(base) else "-" for base in ("floor", "starlette")]
    return f"{text} ({' / '.join(shown)})"


def table(results: Results, cells: Cells, *, titles: dict[str, str] | None = None, ratios: bool = True) -> list[str]:
    """Return the lines of one table: a row per framework, a column per workload."""
    titles = titles or {name: workload.title for name, workload in WORKLOADS.items()}
    columns = [column for column in cells if cells[column]]
    lines = [f"| | {' | '.join(titles.get(column, column) for column in columns)} |", "|---|" + "--:|" * len(columns)]
    for name, title in PEERS.items():
        if any(name in cells[column] for column in columns):
            version = results["peers"].get(name, {}).get("version", "")
            row = " | ".join(_cell(cells[column], name, ratios) for column in columns)
            lines.append(f"| {title} {version}".rstrip() + f" | {row} |")
    return lines


def _missing(results: Results) -> list[str]:
    reasons = {reason for info in results["peers"].values() for reason in info["missing"].values()}
    return [f"`-`: {'; '.join(sorted(reasons))}."] if reasons else []


def _server_sections(results: Results) -> list[tuple[str, list[str]]]:
    sections = []
    for server, found in results["servers"].items():
        rates = table(results, server_cells(found, "requests_per_second", 1))
        costs = table(results, server_cells(found, "cpu_per_request", 1e6))
        sections += [
            (f"Requests per second under {server}", rates),
            (f"Server CPU under {server}, µs per request", costs),
        ]
    if results["uploads"]:
        per = {"upload": results["uploads"]}
        cells = {
            "rate": server_cells(per, "mib_per_second", 1)["upload"],
            "cost": server_cells(per, "cpu_per_mib", 1e6)["upload"],
            "memory": server_cells(per, "memory", 1 / MIB)["upload"],
        }
        titles = {"rate": "MiB per second", "cost": "server CPU, µs per MiB", "memory": "growth in memory, MiB"}
        sections.append(
            (f"{results['settings']['upload_mib']} MiB upload under uvicorn", table(results, cells, titles=titles))
        )
    return sections


def sections(results: Results) -> list[tuple[str, list[str]]]:
    """Return the heading and the table of everything that was measured."""
    found = []
    if results["instructions"]:
        cells = {k: {n: v / 1e3 for n, v in per.items()} for k, per in results["instructions"].items()}
        found.append(("Instructions per request, thousands", table(results, cells)))
    if results["cpu"]:
        titles = {name: workload.title for name, workload in WORKLOADS.items()} | {"upload": "Upload, per MiB"}
        found.append(("CPU time in process, µs", table(results, medians(results["cpu"], 1e6), titles=titles)))
    found += _server_sections(results)
    if results["routes"]:
        titles = {count: f"{int(count):,} routes" for count in results["routes"]}
        cells = medians(results["routes"], 1e6)
        found.append(
            ("CPU time for the middle one of many routes, µs", table(results, cells, titles=titles, ratios=False))
        )
    if results["memory"]:
        titles = {"websocket": "idle WebSocket", "events": "idle event stream"}
        cells = {k: {n: v / 1024 for n, v in per.items()} for k, per in results["memory"].items()}
        found.append(("Memory per idle connection, KiB", table(results, cells, titles=titles)))
    if results["imports"]:
        cells = {"import": {n: v * 1e3 for n, v in results["imports"].items() if n != "floor"}}
        found.append(
            ("Import, ms of CPU over a bare interpreter", table(results, cells, titles={"import": "ms"}, ratios=False))
        )
    return found


def markdown(results: Results) -> str:
    """Return the whole report."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        "# Benchmark results",
        "",
        f"{machine['python']} on {machine['processor']}, {machine['cores']} cores, {results['date']}"
        f"{', quick run: few rounds, rough times' if settings['quick'] else ''}.",
        "In brackets: the ratio to the hand-written floor / the ratio to Starlette.",
        "",
        *_missing(results),
    ]
    for heading, body in sections(results):
        lines += ["", f"## {heading}", "", *body]
    lines += ["", "## Aims", "", *(f"- {aim}" for aim in all_aims(results)), ""]
    return "\n".join(lines)
