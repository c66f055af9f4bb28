"""The results as Markdown tables."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.aims import Results, all_aims
from benchmarks.peers import PEERS
from benchmarks.servers import PLAIN
from benchmarks.workloads import MIB, TASKS, WORKLOADS

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
        {
            column: {name: values[key] for name, values in per.items()}
            for column, per in found.items()
        },
        scale,
    )


def cells(results: Results, way: str) -> Cells:
    """Return what was measured in one way, by column and framework, in the unit shown.

    A column is a workload or a number of routes.

    A way is ``instructions``, ``cpu``, ``tasks``, ``routes``, ``memory``, ``imports``,
    ``upload-rate``, ``upload-cpu``, ``upload-memory``, or a server for the requests per second,
    with ``-cpu`` for its CPU per request. ``plain`` is short for uvicorn as pip installs it.
    """
    if way == "instructions":
        return _scaled(results["instructions"], 1e-3)
    if way in ("cpu", "routes", "tasks"):
        return medians(results.get(way, {}), 1e6)
    if way == "memory":
        return _scaled(results["memory"], 1 / 1024)
    if way == "imports":
        imports = {name: value for name, value in results["imports"].items() if name != "floor"}
        return _scaled({"import": imports}, 1e3) if imports else {}
    what, _, key = way.partition("-")
    if what == "upload":
        of_upload = {
            "rate": ("mib_per_second", 1),
            "cpu": ("cpu_per_mib", 1e6),
            "memory": ("memory", 1 / MIB),
        }
        return server_cells({"upload": results["uploads"]}, *of_upload[key])
    measured = results["servers"].get(PLAIN if what == "plain" else what, {})
    return (
        server_cells(measured, "cpu_per_request", 1e6)
        if key
        else server_cells(measured, "requests_per_second", 1)
    )


def _scaled(found: Cells, scale: float) -> Cells:
    return {
        column: {name: value * scale for name, value in per.items()}
        for column, per in found.items()
    }


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
    shown = [
        f"{values[name] / values[base]:.2f}" if values.get(base) else "-"
        for base in ("floor", "starlette")
    ]
    return f"{text} ({' / '.join(shown)})"


def table(results: Results, cells: Cells, titles: dict[str, str], *, ratios: bool) -> list[str]:
    """Return the lines of one table: a row per framework, a column per workload or the like."""
    titles = {name: workload.title for name, workload in (WORKLOADS | TASKS).items()} | titles
    columns = [column for column in cells if cells[column]]
    lines = [
        f"| | {' | '.join(titles[column] for column in columns)} |",
        "|---|" + "--:|" * len(columns),
    ]
    for name, title in PEERS.items():
        if any(name in cells[column] for column in columns):
            version = results["peers"].get(name, {}).get("version", "")
            row = " | ".join(_cell(cells[column], name, ratios) for column in columns)
            lines.append(f"| {title} {version}".rstrip() + f" | {row} |")
    return lines


def _missing(results: Results) -> list[str]:
    reasons = {reason for info in results["peers"].values() for reason in info["missing"].values()}
    return [f"`-`: {'; '.join(sorted(reasons))}."] if reasons else []


def sections(results: Results) -> list[tuple[str, list[str]]]:
    """Return the heading and the table of everything that was measured."""
    routes = {count: f"{int(count):,} routes" for count in results["routes"]}
    idle = {"websocket": "idle WebSocket", "events": "idle event stream"}
    upload = {
        "rate": "MiB per second",
        "cpu": "server CPU, µs per MiB",
        "memory": "growth in memory, MiB",
    }
    uploads = {what: cells(results, f"upload-{what}")["upload"] for what in upload}
    found = [
        ("Instructions per request, thousands", cells(results, "instructions"), {}, True),
        ("CPU time in process, µs", cells(results, "cpu"), {"upload": "Upload, per MiB"}, True),
        (
            "Server CPU of what small apps do, under uvicorn, µs",
            cells(results, "tasks"),
            {"save": "Upload saved to disk, per MiB"},
            True,
        ),
    ]
    for server in results["servers"]:
        found += [
            (f"Requests per second under {server}", cells(results, server), {}, True),
            (
                f"Server CPU under {server}, µs per request",
                cells(results, f"{server}-cpu"),
                {},
                True,
            ),
        ]
    found += [
        (f"{results['settings']['upload_mib']} MiB upload under uvicorn", uploads, upload, True),
        ("CPU time for the middle one of many routes, µs", cells(results, "routes"), routes, False),
        ("Memory per idle connection, KiB", cells(results, "memory"), idle, True),
        (
            "Import, ms of CPU over a bare interpreter",
            cells(results, "imports"),
            {"import": "ms"},
            False,
        ),
    ]
    return [
        (heading, table(results, columns, titles, ratios=ratios))
        for heading, columns, titles, ratios in found
        if any(columns.values())
    ]


def markdown(results: Results) -> str:
    """Return the whole report."""
    machine, settings = results["machine"], results["settings"]
    lines = [
        "# Benchmark results",
        "",
        f"{machine['python']} on {machine['processor']}, {machine['cores']} cores, "
        f"{results['date']}"
        f"{', quick run: few rounds, rough times' if settings['quick'] else ''}.",
        "In brackets: the ratio to the hand-written floor / the ratio to Starlette.",
        "",
        *_missing(results),
    ]
    for heading, body in sections(results):
        lines += ["", f"## {heading}", "", *body]
    lines += ["", "## Aims", "", *(f"- {aim}" for aim in all_aims(results)), ""]
    return "\n".join(lines)
