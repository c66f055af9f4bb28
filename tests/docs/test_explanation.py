"""The pages that explain: their pictures fit the module, their numbers the result file, their claims have sources."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import micropie
from benchmarks.aims import all_aims, at_least

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "explanation"
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import micropie_benchmarks as bench  # noqa: E402 - found by the path above
import micropie_pictures as pictures  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
SOURCE = (ROOT / "micropie.py").read_text()
NUMBER = re.compile(r"\{bench\}`([^`]+)`")


@pytest.fixture
def found():
    return bench.results()


def parsed(svg):
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def texts(svg):
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]


# --- Pictures ----------------------------------------------------------------------------------


def defined(name):
    """Whether the module has it, as Python itself sees it: private names of a class are mangled."""
    owner, _, member = name.rpartition(".")
    if not owner:
        return hasattr(micropie, name)
    mangled = f"_{owner.lstrip('_')}{member}" if member.startswith("__") and not member.endswith("__") else member
    return hasattr(getattr(micropie, owner), mangled)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_every_function_of_a_picture_is_in_the_module(name):
    steps = [step for row in pictures.PICTURES[name].rows for step in row if step.kind == "function"]

    assert len(steps) > 5
    assert [step.name for step in steps if not defined(step.name)] == []


def test_a_renamed_function_ends_the_build():
    names = pictures.known() - {"App.__deliver"}

    with pytest.raises(ValueError, match=r"App\.__deliver"):
        pictures.check(pictures.PICTURES["request"], names)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_every_function_of_a_picture_leads_to_its_line_of_the_source(name):
    links = [link.get("href") for link in parsed(pictures.draw(name)).iter(f"{SVG}a")]
    lines = SOURCE.splitlines()
    source = pictures.source_html(SOURCE)

    for link in links:
        page, _, anchor = link.partition("#")
        assert (page, f'id="{anchor}"' in source) == ("source.html", True)
        line = lines[pictures.definitions(SOURCE)[anchor] - 1]
        assert re.match(rf"\s*(async )?(def|class) {anchor.rpartition('.')[2]}\b", line), line
    assert len(links) == sum(step.kind == "function" for row in pictures.PICTURES[name].rows for step in row)


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_pictures_say_in_text_what_they_show(name):
    picture = pictures.PICTURES[name]
    root = parsed(pictures.draw(name))
    label = {item.get("id"): item.text for item in root if item.tag in (f"{SVG}title", f"{SVG}desc")}

    assert [label[part] for part in root.get("aria-labelledby").split()] == [picture.title, picture.summary]
    shown = " ".join(texts(pictures.draw(name)))
    assert [step.name for row in picture.rows for step in row if step.name not in shown] == []


@pytest.mark.parametrize("name", pictures.PICTURES)
def test_nothing_of_a_picture_leaves_its_frame(name):
    root = parsed(pictures.draw(name))
    _, _, width, height = map(float, root.get("viewBox").split())

    for box in root.iter(f"{SVG}rect"):
        right, bottom = (float(box.get(a)) + float(box.get(b)) for a, b in (("x", "width"), ("y", "height")))
        assert (0 <= right <= width, 0 <= bottom <= height) == (True, True)


def test_source_page_holds_the_whole_module():
    text = re.sub(r"<[^>]+>", "", pictures.source_html(SOURCE))

    assert (
        text.replace("&quot;", '"')
        .replace("&#39;", "'")
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&amp;", "&")
        == SOURCE.rstrip("\n") + "\n"
    )


def test_numbers_of_the_pictures_are_the_modules():
    shown = pictures.draw("upload")

    assert f"{micropie._SPOOL_SIZE // 2**20} MiB" in shown
    assert f"{micropie._DRAIN_SIZE // 2**20} MiB" in shown


# --- Performance -------------------------------------------------------------------------------


def test_every_number_that_the_pages_name_is_in_the_file(found):
    names = {
        name
        for page in (PAGES / "performance.md", ROOT / "docs" / "index.md")
        for name in NUMBER.findall(page.read_text())
    }

    assert len(names) > 8
    for name in names:
        assert bench.fact(found, name.split())


def test_values_and_ratios_are_those_of_the_file(found):
    raw = json.loads(bench.FILE.read_text())
    hello = raw["instructions"]["hello"]

    assert bench.fact(found, ["value", "instructions", "hello", "micropie"]) == bench.number(hello["micropie"] / 1000)
    expected = bench.number(hello["starlette"] / hello["floor"])
    assert bench.fact(found, ["ratio", "instructions", "hello", "starlette", "floor"]) == expected


def test_bars_say_what_was_measured_the_best_first(found):
    raw = json.loads(bench.FILE.read_text())["instructions"]["form"]
    shown = texts(
        bench.plot(found, "instructions", ["form"]).removeprefix('<div class="plots">').removesuffix("</div>")
    )

    numbers = [bench.number(value / 1000) for value in sorted(raw.values())]
    assert shown[3::2] == numbers


@pytest.mark.parametrize("way", bench.UNITS)
def test_plots_are_well_formed_and_describe_themselves(found, way):
    drawn = bench.plot(found, way, [])
    if not bench.cells(found, way):
        assert drawn == ""  # this run has not measured it
        return
    for svg in ElementTree.fromstring(drawn):
        assert svg.get("role") == "img"
        assert "MicroPie" in svg.get("aria-label")


def test_every_missed_aim_is_listed_with_its_number(found):
    listed = "\n".join(bench.aim_lines(found, passed=False))
    missed = [aim for aim in all_aims(found) if not aim.passed]

    assert [
        aim.title for aim in missed if f"{aim.title[1:]}: **{aim.value}** (wanted: {aim.wanted})" not in listed
    ] == []
    assert int(bench.fact(found, ["missed"])) + int(bench.fact(found, ["met"])) == len(all_aims(found))


@pytest.mark.parametrize(
    ("value", "shown", "passed"), [(0.9197, "0.9197", False), (0.92, "0.92", True), (0.92031, "0.9203", True)]
)
def test_a_near_miss_does_not_look_like_a_hit(value, shown, passed):
    aim = at_least("requests per second", value, 0.92)

    assert (aim.value, aim.passed) == (shown, passed)


@pytest.mark.parametrize("way", bench.UNITS)
def test_every_framework_that_is_ahead_is_listed(found, way):
    rows = list(bench.behind_lines(found))
    for column, values in bench.cells(found, way).items():
        ours = values.pop("micropie")
        more_is_better = way in bench.MORE_IS_BETTER
        ahead = [n for n, v in values.items() if n != "floor" and (v > ours if more_is_better else v < ours)]
        mine = [row for row in rows if row.startswith(f"| {bench.title(way, column)}, {bench.UNITS[way]} |")]
        assert len(mine) == bool(ahead)
        assert [name for name in ahead if f"{bench.PEERS[name]} {bench.number(values[name])}" not in mine[0]] == []


def test_the_pages_hold_no_measured_number_of_their_own():
    text = (PAGES / "performance.md").read_text()
    prose = re.sub(r"\{bench\}`[^`]*`|```.*?```|\([^)]*\)", "", text, flags=re.S)

    allowed = {"1,000"}  # chunks of the stream: what is asked, not what was found
    assert set(re.findall(r"\d[\d.,]*\d|\d", prose)) - allowed <= {"2"}  # Jinja2


# --- Comparison --------------------------------------------------------------------------------

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (PAGES / "comparison.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| framework")
]
FRAMEWORKS = {
    *("**MicroPie**", "Starlette", "FastAPI", "Flask", "Quart", "CherryPy", "Bottle", "Microdot", "Litestar", "Sanic"),
    *("BlackSheep", "Falcon"),
}
HOSTS = {
    "Starlette": {"starlette.dev", "pypi.org"},
    "FastAPI": {"fastapi.tiangolo.com"},
    "Flask": {"flask.palletsprojects.com"},
    "Quart": {"quart.palletsprojects.com"},
    "CherryPy": {"docs.cherrypy.dev"},
    "Bottle": {"bottlepy.org"},
    "Microdot": {"microdot.readthedocs.io"},
    "Litestar": {"docs.litestar.dev"},
    "Sanic": {"sanic.dev"},
    "BlackSheep": {"www.neoteroi.dev"},
    "Falcon": {"falcon.readthedocs.io"},
}


def test_every_table_has_a_row_for_each_framework():
    names = [row[0] for row in ROWS]

    assert {name: names.count(name) for name in FRAMEWORKS} == dict.fromkeys(FRAMEWORKS, 3)
    assert set(names) == FRAMEWORKS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_claim_has_a_source_in_the_frameworks_own_documentation(row):
    name, *claims = row

    assert len(claims) in (2, 3)
    for claim in claims:
        links = re.findall(r"\]\(([^)]+)\)", claim)
        assert links or claim == "–", claim
        hosts = {re.sub(r"https://([^/]+)/.*", r"\1", link) for link in links}
        if name != "**MicroPie**":
            assert hosts <= HOSTS[name]
        else:
            assert all(not link.startswith("http") for link in links)


# --- All pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_the_first_screen_says_what_the_page_is_for_and_code_or_a_picture_comes_early(page):
    lines = page.read_text().splitlines()

    assert lines[0].startswith("# ")
    assert len(" ".join(lines[2:5])) > 80
    first = next(number for number, line in enumerate(lines) if line.startswith("```"))
    assert first < 40


def test_shown_constants_of_the_text_are_the_modules():
    threads = (PAGES / "threads.md").read_text()
    routing = (PAGES / "routing.md").read_text()

    assert (micropie._THREADS, "40 threads at most" in threads) == (40, True)
    assert micropie._EXPIRE_STEP == 100  # "a hundred at a time" in sessions.md and performance.md
    assert micropie.SESSION_TIMEOUT == 8 * 3600  # "eight hours" in sessions.md
    assert "mounts" in micropie._RESERVED
    assert "App.mounts is the framework's own" in routing


def test_functions_are_as_short_as_the_architecture_says():
    text = (PAGES / "architecture.md").read_text()
    assert "under 60 lines" in text
    functions = [
        node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60] == []
