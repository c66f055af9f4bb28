"""The results as SVG plots that read well on a light and on a dark page alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.ticker import NullFormatter  # noqa: E402

from benchmarks.aims import Results  # noqa: E402
from benchmarks.peers import PEERS  # noqa: E402
from benchmarks.tables import Cells, medians, server_cells  # noqa: E402
from benchmarks.workloads import WORKLOADS  # noqa: E402

# One grey with the same contrast (4.3 : 1) to white and to a nearly black page, and colours that stand out on both.
GREY, OURS, THEIRS, FLOOR = "#7a7a7a", "#e8590c", "#5c8fc4", "#9a9a9a"
STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "benchmarks",
    "font.family": "sans-serif",
    "font.size": 12,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "savefig.transparent": True,
}
TITLES = {name: workload.title for name, workload in WORKLOADS.items()} | {"upload": "Upload, per MiB"}


def _colour(name: str) -> str:
    return {"micropie": OURS, "floor": FLOOR}.get(name, THEIRS)


def _bars(axes: Any, title: str, values: dict[str, float], best_is_least: bool) -> None:
    names = sorted(values, key=lambda name: values[name], reverse=best_is_least)
    bars = axes.barh(
        [PEERS[name] for name in names], [values[name] for name in names], color=[_colour(n) for n in names]
    )
    axes.bar_label(bars, fmt=lambda value: f"{value:,.0f}" if value >= 100 else f"{value:.3g}", padding=3, fontsize=11)
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold")
    axes.margins(x=0.18)
    axes.xaxis.set_visible(False)
    axes.tick_params(axis="y", length=0)
    for side in ("top", "right", "bottom"):
        axes.spines[side].set_visible(False)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)


def bar_chart(path: Path, cells: Cells, titles: dict[str, str], *, best_is_least: bool = True) -> None:
    """Draw a panel of bars per column, the best framework on top, two panels side by side."""
    cells = {column: values for column, values in cells.items() if values}
    rows = -(-len(cells) // 2)
    height = max(len(values) for values in cells.values()) * 0.34 + 0.7
    figure, grid = plt.subplots(rows, 2, figsize=(11, rows * height), squeeze=False, layout="constrained")
    panels = [axes for row in grid for axes in row]
    for axes, (column, values) in zip(panels, cells.items(), strict=False):
        _bars(axes, titles.get(column, column), values, best_is_least)
    for axes in panels[len(cells) :]:
        axes.remove()
    _save(figure, path)


def line_chart(path: Path, cells: Cells) -> None:
    """Draw the cost over the number of routes, a line per framework."""
    figure, axes = plt.subplots(figsize=(11, 5), layout="constrained")
    counts = sorted(int(count) for count in cells)
    ends = []
    for name in PEERS:
        points = [(count, cells[str(count)][name]) for count in counts if name in cells[str(count)]]
        if points:
            width, order = (3, 3) if name == "micropie" else (1.5, 2)
            line = {"marker": "o", "color": _colour(name), "linewidth": width, "zorder": order}
            axes.plot(*zip(*points, strict=True), **line)
            ends.append((points[-1][1], name))
    axes.set(xscale="log", yscale="log", xlabel="number of routes", ylabel="µs of CPU per request")
    axes.set_xticks(counts)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.yaxis.set_major_formatter("{x:g}")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    _label_ends(axes, counts[-1], sorted(ends))
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    _save(figure, path)


def _label_ends(axes: Any, x: float, ends: list[tuple[float, str]]) -> None:
    """Name the lines at their right ends, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    step = (high / low) ** 0.055
    last = 0.0
    for value, name in ends:
        last = max(value, last * step)
        weight = "bold" if name == "micropie" else "normal"
        axes.annotate(PEERS[name], (x, last), xytext=(10, -4), textcoords="offset points", weight=weight)


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw whatever the run has numbers for; return the files."""
    charts: dict[str, tuple[Cells, dict[str, str], bool]] = {}
    if results["instructions"]:
        cells = {k: {n: v / 1e3 for n, v in per.items()} for k, per in results["instructions"].items()}
        charts["instructions"] = cells, {k: f"{TITLES[k]}, thousand instructions" for k in cells}, True
    if results["cpu"]:
        cells = medians(results["cpu"], 1e6)
        charts["cpu"] = cells, {k: f"{TITLES[k]}, µs of CPU" for k in cells}, True
    for server, found in results["servers"].items():
        cells = server_cells(found, "requests_per_second", 1)
        charts[server] = cells, {k: f"{TITLES[k]}, requests per second" for k in cells}, False
    if results["memory"]:
        cells = {k: {n: v / 1024 for n, v in per.items()} for k, per in results["memory"].items()}
        charts["memory"] = cells, {"websocket": "KiB per idle WebSocket", "events": "KiB per idle event stream"}, True
    if results["imports"]:
        cells = {"import": {n: v * 1e3 for n, v in results["imports"].items() if n != "floor"}}
        charts["imports"] = cells, {"import": "Import, ms of CPU"}, True
    files = []
    with plt.rc_context(STYLE):
        for name, (cells, titles, best_is_least) in charts.items():
            files.append(folder / f"{name}.svg")
            bar_chart(files[-1], cells, titles, best_is_least=best_is_least)
        if results["routes"]:
            files.append(folder / "routes.svg")
            line_chart(files[-1], medians(results["routes"], 1e6))
    return files
