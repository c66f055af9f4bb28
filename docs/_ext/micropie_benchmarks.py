"""Numbers, tables and plots of the benchmark's own result file: nothing on the site is copied from it by hand.

{bench}`date`                               what the file says of the run; also: python, processor, cores, peers
{bench}`missed`                             how many aims are missed; also: met, aims
{bench}`ratio cpu websocket micropie floor` one cost in another's
{bench}`value instructions form falcon`     one cost
```{bench-plot} instructions hello json     bars for each framework; uvicorn, granian, memory, imports, routes too
```{bench-tables}                           every table of the run
```{bench-aims} missed                      the aims that are missed, each with its reason; or met
```{bench-behind}                           where another framework costs less
```{bench-versions}                         what was compared
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import ExtensionMetadata

import micropie
from benchmarks import tables
from benchmarks.aims import Aim, Results, all_aims
from benchmarks.cpu import turn_ratio
from benchmarks.peers import PEERS
from benchmarks.servers import PLAIN
from benchmarks.workloads import WORKLOADS

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "benchmarks" / "results" / "results.json"
TITLES = {name: workload.title for name, workload in WORKLOADS.items()} | {"upload": "Upload, per MiB"}
PLAIN_KEY = "plain"  # how a page names uvicorn as pip installs it

# Why an aim can be missed: the first pattern that fits the aim's title counts. It is shown only where one is missed.
REASONS = {
    r"instructions, form, .*first": """
        Falcon parses urlencoded forms in a compiled extension. MicroPie's parser is Python, with calls into the
        standard library's C where something is encoded.""",
    r"instructions, form": """
        The hand-written app of the floor takes the two fields that it knows; MicroPie parses any form, counts its
        fields, keeps repeated ones, and binds by name.""",
    r"instructions, .*first": """
        Another framework takes fewer instructions for this request; the table above names it.""",
    r"instructions": """
        Routing, the context variable, the binder and the response writer are what a request costs here and not on the
        floor.""",
    r"upload per MiB": """
        Each piece of a body goes through the body reader with its limits and its clock, the multipart parser and the
        file's queue: two coroutines a piece, where the floor feeds its parser in one loop. The parser is the same.
        Written out in one coroutine, reader and parser come near the barest app, but then nobody could read them. Over
        a real socket the difference does not show.""",
    r"upload, throughput": """
        Over a real socket most of the time goes into copying, in the kernel and in the server; the rounds scatter.""",
    r"stream to|chunk": """
        For each chunk the stream loop asks, in one comparison, whether it is bytes and the client still there; the
        floor's loop passes its chunks on unseen.""",
    r"WebSocket message": """
        Each message is a step of the iteration and a call of `send_text`: two coroutines that do little more than
        pass the message on, where the floor has none.""",
    r"session": """
        The session is loaded, copied, compared and saved by two awaited calls of the backend.""",
    r"uvicorn without .*(to the floor|CPU)": """
        The server does all in Python here, and yet what a framework adds to each request shows in the whole. What
        MicroPie does more than the barest app: it tells HTTP from WebSockets, and looks for a mount, a root path, a
        middleware, a HEAD, too many fields, a session, a body, and errors.""",
    r"uvicorn.*(to the floor|CPU)": """
        With uvloop and httptools the server itself costs little, so that what a framework adds weighs more in the
        whole; without them the same microseconds are a smaller share. A thousand instructions more cost seven
        requests in a thousand here, and the barest app takes fewer than five thousand less: what it does not do is to
        tell HTTP from WebSockets, and to look for a mount, a root path, a middleware, a HEAD, too many fields, a
        session, a body, and errors.""",
    r"memory": """
        An open connection keeps its Request, its context, and the task that listens for the client's leaving.""",
    r"import": "Most of it is the import of asyncio, which every ASGI server needs anyway.",
}


# --- The file ----------------------------------------------------------------------------------


@functools.lru_cache(maxsize=2)
def _read(path: Path, changed: int) -> Results:
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    return results


def results() -> Results:
    """Return what the last kept run has measured."""
    return _read(FILE, FILE.stat().st_mtime_ns)


def cells(found: Results, way: str) -> tables.Cells:
    """Return what was measured in one way, by workload (or number of routes) and framework, in the unit shown."""
    if way == "instructions":
        return {k: {n: v / 1e3 for n, v in per.items()} for k, per in found["instructions"].items()}
    if way in ("cpu", "routes"):
        return tables.medians(found[way], 1e6)
    if way == "memory":
        return {k: {n: v / 1024 for n, v in per.items()} for k, per in found["memory"].items()}
    if way == "imports":
        return {"import": {n: v * 1e3 for n, v in found["imports"].items() if n != "floor"}} if found["imports"] else {}
    if way.startswith("upload-"):
        key, scale = UPLOAD_KEYS[way]
        return tables.server_cells({"upload": found["uploads"]}, key, scale)
    server, _, what = way.partition("-")
    measured = found["servers"].get(PLAIN if server == PLAIN_KEY else server, {})
    key, scale = ("cpu_per_request", 1e6) if what == "cpu" else ("requests_per_second", 1)
    return tables.server_cells(measured, key, scale)


UPLOAD_KEYS = {
    "upload-rate": ("mib_per_second", 1),
    "upload-cpu": ("cpu_per_mib", 1e6),
}


UNITS = {
    "instructions": "thousand instructions a request",
    "cpu": "µs of CPU",
    "routes": "µs of CPU a request",
    "memory": "KiB for each idle connection",
    "imports": "ms of CPU",
    "uvicorn": "requests per second, uvicorn",
    PLAIN_KEY: "requests per second, uvicorn without extras",
    "granian": "requests per second, Granian",
    "uvicorn-cpu": "µs of server CPU, uvicorn",
    f"{PLAIN_KEY}-cpu": "µs of server CPU, uvicorn without extras",
    "granian-cpu": "µs of server CPU, Granian",
    "upload-rate": "MiB per second, uvicorn",
    "upload-cpu": "µs of server CPU per MiB, uvicorn",
}
MORE_IS_BETTER = {"uvicorn", PLAIN_KEY, "granian", "upload-rate"}
OTHER_TITLES = {"websocket": "Idle WebSocket", "events": "Idle event stream", "import": "Import"}


def number(value: float) -> str:
    """Write a measured number with as many digits as mean something."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def title(way: str, column: str) -> str:
    """Return what a column is called."""
    if way in ("memory", "imports"):
        return OTHER_TITLES[column]
    if way == "routes":
        return f"{int(column):,} routes"
    return "Upload" if way.startswith("upload-") else TITLES[column]


# --- Plots -------------------------------------------------------------------------------------

WIDTH, LABEL, BAR, ROW, TOP, LINE = 340, 108, 178, 21, 38, 14


def bars(heading: str, unit: str, values: dict[str, float], *, more_is_better: bool) -> str:
    """Return a bar for each framework as SVG, the best on top."""
    names = sorted(values, key=lambda name: values[name], reverse=more_is_better)
    most = max(values.values()) or 1
    height = TOP + ROW * len(names)
    best = "more is better" if more_is_better else "less is better"
    shown = "; ".join(f"{PEERS[name]} {number(values[name])}" for name in names)
    label = escape(f"{heading}, {unit}: {shown}", quote=True)
    parts = [f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">']
    parts.append(f'<text class="plot-title" x="0" y="13">{escape(heading)}</text>')
    parts.append(f'<text class="plot-note" x="0" y="29">{escape(unit)}, {best}</text>')
    for place, name in enumerate(names):
        y, width = TOP + place * ROW, max(values[name] / most * BAR, 1)
        parts.append(
            f'<g class="{name}"><text x="{LABEL - 8}" y="{y + 14}" text-anchor="end">{escape(short(name))}</text>'
            f'<rect x="{LABEL}" y="{y + 3}" width="{width:.1f}" height="{ROW - 6}" rx="2"/>'
            f'<text x="{LABEL + width + 5:.1f}" y="{y + 14}">{number(values[name])}</text></g>'
        )
    return "".join(parts) + "</svg>"


def short(name: str) -> str:
    """Return a framework's name as it fits beside a bar."""
    return "hand-written" if name == "floor" else PEERS[name]


def lines(per_count: tables.Cells) -> str:
    """Return the cost over the number of routes as SVG, a line for each framework, both axes logarithmic."""
    counts = sorted(map(int, per_count))
    every = [value for values in per_count.values() for value in values.values()]
    low, high = math.log(min(every)), math.log(max(every))
    height, left, right, bottom = 300, 34, 240, 268

    def x(count: int) -> float:
        return left + math.log(count) / math.log(counts[-1]) * (right - left)

    def y(value: float) -> float:
        return bottom - (math.log(value) - low) / ((high - low) or 1) * (bottom - 50)

    ends = {name: values for name in PEERS if (values := _points(per_count, counts, name))}
    label = "; ".join(
        f"{PEERS[name]} {number(points[0][1])} to {number(points[-1][1])}" for name, points in ends.items()
    )
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Cost over the number of routes, '
        f'µs: {escape(label, quote=True)}">'
        '<text class="plot-title" x="0" y="13">Cost of the middle one of many routes</text>'
        '<text class="plot-note" x="0" y="29">µs of CPU a request, less is better; both axes logarithmic</text>'
        f'<path class="axis" d="M{left} {bottom + 4}H{right}"/>'
    ]
    for count in counts:
        parts.append(
            f'<text class="plot-note" x="{x(count):.1f}" y="{bottom + 20}" text-anchor="middle">{count:,}</text>'
        )
    labels = apart({name: y(points[-1][1]) + 4 for name, points in ends.items()}, 54)
    for name, points in ends.items():
        place = " ".join(f"{x(count):.1f},{y(value):.1f}" for count, value in points)
        parts.append(
            f'<g class="{name}"><polyline points="{place}"/>'
            f'<text x="{right + 8}" y="{labels[name]:.1f}">{escape(short(name))} {number(points[-1][1])}</text></g>'
        )
    return "".join(parts) + f'<text class="plot-note" x="{right + 26}" y="{bottom + 20}">routes</text></svg>'


def apart(wanted: dict[str, float], top: float) -> dict[str, float]:
    """Move labels up where they would overlap, and down again from a limit at the top."""
    names = sorted(wanted, key=lambda name: -wanted[name])
    found = dict(wanted)
    for below, name in zip(names, names[1:], strict=False):
        found[name] = min(found[name], found[below] - LINE)
    for name in reversed(names):
        found[name] = max(found[name], top)
        top = found[name] + LINE
    return found


def _points(per_count: tables.Cells, counts: list[int], name: str) -> list[tuple[int, float]]:
    return [(count, per_count[str(count)][name]) for count in counts if name in per_count[str(count)]]


def plot(found: Results, way: str, columns: list[str]) -> str:
    """Return the plots of some columns (all where none is named), "" where the run has no such numbers."""
    per = {column: values for column, values in cells(found, way).items() if values}
    if not per:
        return ""
    if way == "routes":
        return f'<div class="plots">{lines(per)}</div>'
    panels = [
        bars(title(way, column), UNITS[way], per[column], more_is_better=way in MORE_IS_BETTER)
        for column in columns or per
        if column in per
    ]
    return f'<div class="plots">{"".join(panels)}</div>' if panels else ""


# --- Text --------------------------------------------------------------------------------------


def reason(aim: Aim) -> str:
    """Return why such an aim can be missed, "" where nothing is known."""
    fitting = (text for pattern, text in REASONS.items() if re.search(pattern, aim.title))
    return " ".join(next(fitting, "").split())


def aim_lines(found: Results, *, passed: bool) -> Iterator[str]:
    """Yield the aims that are met, or missed and why (those with one reason together), as a Markdown list."""
    chosen: dict[str, list[Aim]] = {}
    for aim in all_aims(found):
        if aim.passed == passed:
            chosen.setdefault("" if passed else reason(aim), []).append(aim)
    for because, aims in chosen.items():
        shown = [f"{aim.title[0].upper()}{aim.title[1:]}: **{aim.value}** {aim.measure}" for aim in aims]
        if passed:
            yield from (f"- {line}" for line in shown)
        else:
            yield from ("- " + "\\\n  ".join(shown), "", f"  {because or 'Not looked into yet.'}", "")
    if not chosen:
        yield "None."


class Behind(NamedTuple):
    """A column in which another framework is ahead of MicroPie."""

    way: str
    column: str
    place: int
    ahead: list[str]


def behind(found: Results) -> list[Behind]:
    """Return every column in which another framework is ahead, the hand-written app apart."""
    places = []
    for way in UNITS:
        for column, values in cells(found, way).items():
            ours = values.get("micropie")
            peers = {name: value for name, value in values.items() if name not in ("floor", "micropie")}
            if ours is None or not peers:
                continue
            sign = -1 if way in MORE_IS_BETTER else 1
            ahead = sorted((name for name in peers if sign * peers[name] < sign * ours), key=lambda n: sign * peers[n])
            if ahead:
                places.append(Behind(way, column, len(ahead) + 1, ahead))
    return places


def behind_lines(found: Results) -> Iterator[str]:
    """Yield where another framework is ahead, as a Markdown table."""
    places = behind(found)
    if not places:
        yield "In this run, nowhere."
        return
    yield from ("| measured | MicroPie | ahead of it |", "|---|--:|---|")
    for way, column, place, ahead in places:
        values = cells(found, way)[column]
        names = ", ".join(f"{PEERS[name]} {number(values[name])}" for name in ahead)
        yield f"| {title(way, column)}, {UNITS[way]} | {number(values['micropie'])} (place {place}) | {names} |"


def version_lines(found: Results) -> Iterator[str]:
    """Yield what was compared, as a Markdown list, each with what is missing and noted."""
    for name, info in found["peers"].items():
        more = [f"no {TITLES.get(what, what)}: {why}" for what, why in info["missing"].items()]
        version = micropie.__version__ if name == "micropie" else info["version"]
        yield f"- {PEERS[name]} {version}{' (' + '; '.join(more) + ')' if more else ''}".rstrip()


def profile_lines(found: Results) -> Iterator[str]:
    """Yield where the byte codes of some workloads go, function by function, as Markdown tables."""
    for workload, profiles in found["profiles"].items():
        floor, ours = (sum(row["byte_codes"] for row in profiles[name]) for name in ("floor", "micropie"))
        what = "message" if workload == "websocket" else "request"
        yield f":::{{dropdown}} {TITLES[workload]}: {ours:,.0f} byte codes a {what}, {floor:,.0f} on the floor"
        yield ""
        yield from ("| function | byte codes | entered |", "|---|--:|--:|")
        for row in profiles["micropie"]:
            entered = "" if row["entered"] is None else number(row["entered"])
            where = row["where"].rpartition(":")[0].rpartition("/")[2]
            function = f"`{row['function']}` in `{where}`" if where else row["function"]
            yield f"| {function} | {number(row['byte_codes'])} | {entered} |"
        yield from (":::", "")


def table_lines(found: Results) -> Iterator[str]:
    """Yield every table of the run, each to be opened."""
    for heading, body in tables.sections(found):
        yield from (f":::{{dropdown}} {heading}", *body, ":::", "")


# --- Roles and directives ----------------------------------------------------------------------


def fact(found: Results, words: list[str]) -> str:
    """Return one number, or one word, of the file."""
    aims = all_aims(found)
    facts: dict[str, Callable[[], Any]] = {
        "date": lambda: found["date"],
        "python": lambda: found["machine"]["python"],
        "processor": lambda: found["machine"]["processor"],
        "cores": lambda: found["machine"]["cores"],
        "rounds": lambda: found["settings"]["cpu_rounds"],
        "bound-rounds": lambda: found["settings"]["bound_rounds"],
        "sessions": lambda: f"{found['settings']['live_sessions']:,}",
        "peers": lambda: len(found["peers"].keys() - {"floor", "micropie"}),
        "aims": lambda: len(aims),
        "missed": lambda: sum(not aim.passed for aim in aims),
        "met": lambda: sum(aim.passed for aim in aims),
        "kind": lambda: "a quick run: few rounds, rough times" if found["settings"]["quick"] else "a full run",
    }
    if words[0] == "value":
        way, column, name = words[1:]
        return number(cells(found, way)[column][name])
    if words[0] == "ratio":
        way, column, name, other = words[1:]
        if way == "cpu":  # rounds that were taken in turns are compared in pairs, as the aims are
            return number(turn_ratio(found["cpu"][column], name, other))
        values = cells(found, way)[column]
        return number(values[name] / values[other])
    return str(facts[words[0]]())


class BenchRole(SphinxRole):
    """Says one number of the result file."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the number; a dash where the run has none."""
        self.env.note_dependency(str(FILE))
        try:
            return [nodes.Text(fact(results(), self.text.split()))], []
        except (KeyError, ZeroDivisionError):
            return [nodes.Text("–")], []


class BenchDirective(SphinxDirective):
    """Shows something of the result file."""

    optional_arguments = 20

    def run(self) -> list[nodes.Node]:
        """Parse the lines as the page's own Markdown, or put the drawing in."""
        self.env.note_dependency(str(FILE))
        self.env.note_dependency(__file__)
        found = results()
        if self.name == "bench-plot":
            drawn = plot(found, self.arguments[0], self.arguments[1:])
            return [nodes.raw("", drawn, format="html")] if drawn else []
        makers: dict[str, Callable[[], Iterator[str]]] = {
            "bench-tables": lambda: table_lines(found),
            "bench-aims": lambda: aim_lines(found, passed=self.arguments[0] == "met"),
            "bench-behind": lambda: behind_lines(found),
            "bench-profiles": lambda: profile_lines(found),
            "bench-versions": lambda: version_lines(found),
        }
        return self.parse_text_to_nodes("\n".join(makers[self.name]()))


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the role and the directives."""
    app.add_role("bench", BenchRole())
    for name in ("bench-plot", "bench-tables", "bench-aims", "bench-behind", "bench-profiles", "bench-versions"):
        app.add_directive(name, BenchDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
