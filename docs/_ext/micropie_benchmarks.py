"""Numbers, tables and plots of the benchmark's own result file; the site copies nothing by hand.

{bench}`date`                               of the run; also: python, processor, cores, peers
{bench}`missed`                             how many aims are missed; also: met, aims
{bench}`ratio cpu websocket micropie floor` one cost in another's
{bench}`value instructions form falcon`     one cost
```{bench} plot instructions hello json     bars for each framework; also: uvicorn, granian, memory,
                                            imports, growth
```{bench} tables                           every table of the run
```{bench} aims missed                      the aims that are missed; or met
```{bench} behind                           where another framework costs less
```{bench} versions                         what was compared
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import ExtensionMetadata

import micropie
from benchmarks import tables
from benchmarks.aims import Results, all_aims
from benchmarks.cpu import turn_ratio
from benchmarks.peers import PEERS
from benchmarks.servers import PLAIN
from benchmarks.workloads import WORKLOADS

FILE = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "results.json"
TITLES = {name: workload.title for name, workload in WORKLOADS.items()} | {
    "upload": "Upload, per MiB"
}
OTHER_TITLES = {
    **{
        "websocket": "Idle WebSocket",
        "events": "Idle event stream",
        "import": "Import",
        "upload": "Upload",
    },
    "growth": "The most routes, to a single one",
}
# A page's name for each kind of measurement, and its unit. `plain` is uvicorn as pip installs it.
UNITS = {
    "instructions": "thousand instructions a request",
    "cpu": "µs of CPU",
    "routes": "µs of CPU a request",
    "growth": "times the CPU",
    "memory": "KiB for each idle connection",
    "imports": "ms of CPU",
    "uvicorn": "requests per second, uvicorn",
    "plain": "requests per second, uvicorn without extras",
    "granian": "requests per second, Granian",
    "uvicorn-cpu": "µs of server CPU, uvicorn",
    "plain-cpu": "µs of server CPU, uvicorn without extras",
    "granian-cpu": "µs of server CPU, Granian",
    "upload-rate": "MiB per second, uvicorn",
    "upload-cpu": "µs of server CPU per MiB, uvicorn",
}
MORE_IS_BETTER = {"uvicorn", "plain", "granian", "upload-rate"}


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> Results:
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    return results


def results() -> Results:
    """Return what the last kept run has measured."""
    return _read(FILE, FILE.stat().st_mtime_ns)


def cells(found: Results, way: str) -> tables.Cells:
    """Return what was measured in one way, by workload and framework, in the unit shown."""
    if way == "instructions":
        return {k: {n: v / 1e3 for n, v in per.items()} for k, per in found["instructions"].items()}
    if way in ("cpu", "routes"):
        return tables.medians(found[way], 1e6)
    if way == "growth":
        one, *_, most = tables.medians(found["routes"]).values() if found["routes"] else ({}, {})
        return {"growth": {name: value / one[name] for name, value in most.items()}}
    if way == "memory":
        return {k: {n: v / 1024 for n, v in per.items()} for k, per in found["memory"].items()}
    if way == "imports":
        return (
            {"import": {n: v * 1e3 for n, v in found["imports"].items() if n != "floor"}}
            if found["imports"]
            else {}
        )
    if way.startswith("upload-"):
        key, scale = ("mib_per_second", 1) if way == "upload-rate" else ("cpu_per_mib", 1e6)
        return tables.server_cells({"upload": found["uploads"]}, key, scale)
    server, _, what = way.partition("-")
    measured = found["servers"].get(PLAIN if server == "plain" else server, {})
    key, scale = ("cpu_per_request", 1e6) if what == "cpu" else ("requests_per_second", 1)
    return tables.server_cells(measured, key, scale)


def number(value: float) -> str:
    """Write a measured number with as many digits as mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def title(way: str, column: str) -> str:
    """Return what a column is called."""
    if way == "routes":
        return f"{int(column):,} routes"
    special = way in ("memory", "imports", "growth") or way.startswith("upload-")
    return (OTHER_TITLES if special else TITLES)[column]


def plot(found: Results, way: str, columns: list[str]) -> str:
    """Return tables with a bar for each framework, best first; all columns if none is named."""
    shown = []
    best = "more is better" if way in MORE_IS_BETTER else "less is better"
    for column, values in cells(found, way).items():
        if not values or (columns and column not in columns):
            continue
        rows = "".join(
            f'<tr class="{name}"><th scope="row">'
            f"{escape('hand-written' if name == 'floor' else PEERS[name])}</th>"
            f'<td><span style="width: {values[name] / max(values.values()) * 70:.1f}%"></span>'
            f"{number(values[name])}</td></tr>"
            for name in sorted(values, key=lambda name: values[name], reverse=way in MORE_IS_BETTER)
        )
        caption = f"{escape(title(way, column))}<small>{escape(UNITS[way])}, {best}</small>"
        shown.append(
            f'<table class="plot"><caption>{caption}</caption><tbody>{rows}</tbody></table>'
        )
    return f'<div class="plots">{"".join(shown)}</div>' if shown else ""


def aim_lines(found: Results, which: str) -> Iterator[str]:
    """Yield the aims that are `met` or `missed` as a Markdown list."""
    chosen = [aim for aim in all_aims(found) if aim.passed == (which == "met")]
    for aim in chosen:
        yield f"- {aim.title[0].upper()}{aim.title[1:]}: **{aim.value}** {aim.measure}"
    if not chosen:
        yield "None."


def behind_lines(found: Results) -> Iterator[str]:
    """Yield the columns in which another framework is ahead, hand-written apart, as a table."""
    rows = []
    for way in [way for way in UNITS if way != "growth"]:
        sign = -1 if way in MORE_IS_BETTER else 1
        for column, values in cells(found, way).items():
            ours = values.get("micropie")
            if ours is None:
                continue
            ahead = [
                n for n, value in values.items() if n != "floor" and sign * value < sign * ours
            ]
            names = ", ".join(
                f"{PEERS[n]} {number(values[n])}"
                for n in sorted(ahead, key=lambda n: sign * values[n])
            )
            if names:
                what = f"{title(way, column)}, {UNITS[way]}"
                rows.append(f"| {what} | {number(ours)} (place {len(ahead) + 1}) | {names} |")
    yield from (
        ["| measured | MicroPie | ahead of it |", "|---|--:|---|", *rows]
        if rows
        else ["In this run, nowhere."]
    )


def version_lines(found: Results) -> Iterator[str]:
    """Yield what was compared, as a Markdown list, each with what is missing and noted."""
    for name, info in found["peers"].items():
        more = [f"no {TITLES.get(what, what)}: {why}" for what, why in info["missing"].items()]
        version = micropie.__version__ if name == "micropie" else info["version"]
        yield f"- {PEERS[name]} {version}{' (' + '; '.join(more) + ')' if more else ''}".rstrip()


def table_lines(found: Results) -> Iterator[str]:
    """Yield every table of the run, each to be opened."""
    for heading, body in tables.sections(found):
        yield from (f":::{{dropdown}} {heading}", *body, ":::", "")


def fact(found: Results, words: list[str]) -> str:
    """Return one number, or one word, of the file."""
    if words[0] == "value":
        way, column, name = words[1:]
        return number(cells(found, way)[column][name])
    if words[0] == "ratio":
        way, column, name, other = words[1:]
        if way == "cpu":  # rounds that were taken in turns are compared in pairs, as the aims are
            return number(turn_ratio(found["cpu"][column], name, other))
        values = cells(found, way)[column]
        return number(values[name] / values[other])
    met = [aim.passed for aim in all_aims(found)]
    settings = found["settings"]
    facts = {
        **{"date": found["date"], **found["machine"]},
        **{"rounds": settings["cpu_rounds"], "bound-rounds": settings["bound_rounds"]},
        **{
            "sessions": f"{settings['live_sessions']:,}",
            "peers": len(found["peers"].keys() - {"floor", "micropie"}),
        },
        **{"aims": len(met), "met": met.count(True), "missed": met.count(False)},
        "kind": "a quick run: few rounds, rough times" if settings["quick"] else "a full run",
    }
    return str(facts[words[0]])


class BenchRole(SphinxRole):
    """Says one number of the result file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number; a dash if the run has none."""
        self.env.note_dependency(str(FILE))
        try:
            return [nodes.Text(fact(results(), self.text.split()))], []
        except (KeyError, ZeroDivisionError):
            return [nodes.Text("–")], []


class BenchDirective(SphinxDirective):
    """Shows something of the result file."""

    required_arguments = 1
    optional_arguments = 20

    def run(self) -> list[nodes.Node]:
        """Put the plot in, or parse the lines as the page's own Markdown."""
        self.env.note_dependency(str(FILE))
        what, *more = self.arguments
        if what == "plot":
            return [nodes.raw("", plot(results(), more[0], more[1:]), format="html")]
        makers = {
            "aims": aim_lines,
            "behind": behind_lines,
            "tables": table_lines,
            "versions": version_lines,
        }
        return self.parse_text_to_nodes("\n".join(makers[what](results(), *more)))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the role and the directive."""
    app.add_role("bench", BenchRole())
    app.add_directive("bench", BenchDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
