"""The pages that explain: public names in pictures, measured numbers, claims with sources."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import micropie
from benchmarks.aims import all_aims, at_least
from docs._ext.blocks import blocks
from micropie import App
from tests.processes import ROOT, environment

PAGES = ROOT / "docs" / "explanation"
bench = importlib.import_module("docs._ext.micropie_benchmarks")
SVG = "{http://www.w3.org/2000/svg}"
TREE = ast.parse((ROOT / "micropie.py").read_text())
REFERENCE = "".join(page.read_text() for page in (ROOT / "docs" / "reference").glob("*.md"))
NUMBER = re.compile(r"\{bench\}`([^`]+)`")


@pytest.fixture
def found():
    return bench.results()


# --- Pictures ----------------------------------------------------------------------------------

PICTURES = [ROOT / "docs" / "images" / f"{name}.svg" for name in ("request", "upload", "websocket")]


def private_names():
    """Return the private names that the module defines: functions, methods, classes and values."""
    nodes = list(ast.walk(TREE))
    names = {
        node.name
        for node in nodes
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    names |= {
        node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    private = {name for name in names if name.startswith("_") and not name.endswith("__")}
    return private - {
        name for name in vars(App) if re.search(rf"micropie\.App\.{name}\b", REFERENCE)
    }


@pytest.mark.parametrize("path", [*PICTURES, *PAGES.glob("*.md")], ids=lambda path: path.name)
def test_explanations_and_pictures_name_no_private_name_of_the_module(path):
    assert set(re.findall(r"(?<![\w])_\w+", path.read_text())) & private_names() == set()


@pytest.mark.parametrize(
    "path", [ROOT / "docs" / "conf.py", *(ROOT / "docs" / "_ext").glob("*.py")], ids=str
)
def test_extensions_of_the_site_use_no_private_name_of_the_module(path):
    assert re.findall(r"micropie\._(?!_)\w+|from micropie import _\w+", path.read_text()) == []


@pytest.fixture(params=PICTURES, ids=lambda path: path.stem)
def picture(request):
    return request.param, ElementTree.fromstring(request.param.read_text())


def test_picture_has_a_title_and_a_description_and_is_on_the_page(picture):
    path, root = picture
    label = {
        item.get("id"): item.text for item in root if item.tag in (f"{SVG}title", f"{SVG}desc")
    }

    assert all(len(label[part]) > 15 for part in root.get("aria-labelledby").split())
    assert f":file: ../images/{path.name}\n" in (PAGES / "architecture.md").read_text()


def test_boxes_of_a_picture_stay_inside_its_frame(picture):
    _, root = picture
    _, _, width, height = map(float, root.get("viewBox").split())

    boxes = list(root.iter(f"{SVG}rect"))
    assert len(boxes) > 5
    for box in boxes:
        right, bottom = (
            float(box.get(a)) + float(box.get(b)) for a, b in (("x", "width"), ("y", "height"))
        )
        assert (0 <= right <= width, 0 <= bottom <= height) == (True, True)


def test_names_in_a_picture_lead_to_that_name_in_the_reference(picture):
    path, root = picture
    links = list(root.iter(f"{SVG}a"))

    assert len(links) + (path.stem == "upload") > 0
    for link in links:
        assert link.get("href").partition("#")[2] == "micropie." + "".join(link.itertext())


# --- Performance -------------------------------------------------------------------------------


def test_every_number_that_a_page_names_is_in_the_result_file(found):
    pages = PAGES / "performance.md", ROOT / "docs" / "index.md"
    names = {name for page in pages for name in NUMBER.findall(page.read_text())}

    assert len(names) > 8
    for name in names:
        assert bench.fact(found, name.split())


def test_values_and_ratios_on_the_page_are_those_of_the_result_file(found):
    raw = json.loads(bench.FILE.read_text())
    hello = raw["instructions"]["hello"]

    assert bench.fact(found, ["value", "instructions", "hello", "micropie"]) == bench.number(
        hello["micropie"] / 1000
    )
    expected = bench.number(hello["starlette"] / hello["floor"])
    assert bench.fact(found, ["ratio", "instructions", "hello", "starlette", "floor"]) == expected


def test_bars_show_each_measured_number_the_best_first(found):
    raw = json.loads(bench.FILE.read_text())["instructions"]["form"]
    drawn = ElementTree.fromstring(bench.plot(found, "instructions", ["form"]))

    numbers = [bench.number(value / 1000) for value in sorted(raw.values())]
    assert ["".join(cell.itertext()) for cell in drawn.iter("td")] == numbers


@pytest.mark.parametrize("way", bench.UNITS)
def test_plots_are_well_formed_tables_with_a_caption(found, way):
    drawn = bench.plot(found, way, [])
    if not bench.cells(found, way):
        assert drawn == ""  # this run has not measured it
        return
    for table in ElementTree.fromstring(drawn):
        caption, body = table
        assert bench.UNITS[way] in "".join(caption.itertext())
        assert "MicroPie" in [row[0].text for row in body]


def test_growth_compares_the_most_routes_with_a_single_one(found):
    routes = bench.cells(found, "routes")
    expected = routes["5000"]["micropie"] / routes["1"]["micropie"]

    assert bench.cells(found, "growth")["growth"]["micropie"] == pytest.approx(expected)


def test_every_missed_aim_is_listed_with_its_number(found):
    listed = "\n".join(bench.aim_lines(found, "missed"))
    missed = [aim for aim in all_aims(found) if not aim.passed]

    for aim in missed:
        assert f"{aim.title[1:]}: **{aim.value}** (wanted: {aim.wanted})" in listed
    assert int(bench.fact(found, ["missed"])) + int(bench.fact(found, ["met"])) == len(
        all_aims(found)
    )
    assert len(listed.splitlines()) == len(missed)


def test_every_missed_aim_has_a_reason_on_the_page_and_no_other_aim_has(found):
    text = (PAGES / "performance.md").read_text()
    reasons = text.partition("These are the reasons that we know:")[2].partition("\nIf you")[0]
    aims = [term.lower() for term in re.findall(r"(?:^- |and )\*\*(.+?)\*\*", reasons, re.M)]
    missed = [aim.title.lower() for aim in all_aims(found) if not aim.passed]

    assert [title for title in missed if not any(aim in title for aim in aims)] == []
    assert [aim for aim in aims if not any(aim in title for title in missed)] == []


@pytest.mark.parametrize(
    ("value", "shown", "passed"),
    [(0.9197, "0.9197", False), (0.92, "0.92", True), (0.92031, "0.9203", True)],
)
def test_near_miss_is_shown_with_enough_digits_to_differ_from_its_limit(value, shown, passed):
    aim = at_least("requests per second", value, 0.92)

    assert (aim.value, aim.passed) == (shown, passed)


@pytest.mark.parametrize("way", [way for way in bench.UNITS if way != "growth"])
def test_every_framework_that_is_ahead_is_listed(found, way):
    rows = list(bench.behind_lines(found))
    for column, values in bench.cells(found, way).items():
        ours = values.pop("micropie")
        more_is_better = way in bench.MORE_IS_BETTER
        ahead = [
            n
            for n, v in values.items()
            if n != "floor" and (v > ours if more_is_better else v < ours)
        ]
        mine = [
            row
            for row in rows
            if row.startswith(f"| {bench.title(way, column)}, {bench.UNITS[way]} |")
        ]
        assert len(mine) == bool(ahead)
        assert [
            name
            for name in ahead
            if f"{bench.PEERS[name]} {bench.number(values[name])}" not in mine[0]
        ] == []


def test_page_on_performance_has_no_measured_number_in_its_text():
    text = (PAGES / "performance.md").read_text()
    prose = re.sub(r"\{bench\}`[^`]*`|```.*?```|\([^)]*\)", "", text, flags=re.S)

    allowed = {"1,000", "500", "100", "50", "64", "1.15"}  # what is asked, not what was found
    assert set(re.findall(r"\d[\d.,]*\d|\d", prose)) - allowed <= {"2"}  # Jinja2


# --- Comparison --------------------------------------------------------------------------------

ROWS = [
    [cell.strip() for cell in line.strip().strip("|").split(" | ")]
    for line in (PAGES / "comparison.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| framework")
]
HOSTS = {
    "**MicroPie**": set(),  # links to its own pages
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


def test_every_table_of_the_comparison_has_a_row_for_each_framework():
    names = [row[0] for row in ROWS]

    assert {name: names.count(name) for name in names} == dict.fromkeys(HOSTS, 3)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_claim_has_a_source_in_the_frameworks_own_documentation(row):
    name, *claims = row

    assert len(claims) in (2, 3)
    for claim in claims:
        links = re.findall(r"\]\(([^)]+)\)", claim)
        assert links or claim == "–", claim
        external = links if HOSTS[name] else [link for link in links if link.startswith("http")]
        assert {re.sub(r"https://([^/]+)/.*", r"\1", link) for link in external} <= HOSTS[name]


# --- Claims ------------------------------------------------------------------------------------

CLAIMS = (PAGES / "claims.md").read_text()
EVIDENCE = re.findall(r"`((?:tests|benchmarks)/[\w/]+\.py)(?:::(\w+))?`", CLAIMS)


@pytest.mark.parametrize(("file", "function"), EVIDENCE)
def test_test_or_benchmark_that_the_page_of_claims_names_is_there(file, function):
    tree = ast.parse((ROOT / file).read_text())
    names = {
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert not function or function in names


def test_every_claim_has_a_test_or_a_measurement():
    claims = re.findall(r"^- (.+(?:\n  .+)*)", CLAIMS, flags=re.M)

    assert len(claims) > 40
    assert [claim for claim in claims if not re.search(r"`(?:tests|benchmarks)/", claim)] == []


def test_links_to_claims_lead_to_a_section():
    sections = {title.lower().replace(" ", "-") for title in re.findall(r"^## (.+)$", CLAIMS, re.M)}
    pages = [
        *PAGES.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs/reference").glob("*"),
    ]
    links = {
        anchor for page in pages for anchor in re.findall(r"claims\.md#([\w-]+)", page.read_text())
    }

    assert len(links) > 5
    assert links <= sections


# --- Security model ----------------------------------------------------------------------------

MODEL = (PAGES / "security-model.md").read_text()
ATTACKS = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", MODEL, flags=re.M)
PARTIES = {"MicroPie", "server", "proxy", "your app"}
SHOWN = {
    title: re.findall(r"`(tests/.+)`", tests)
    for title, tests in re.findall(r"^- \*\*(.+)\*\*\n((?:  - .+\n)+)", MODEL, flags=re.M)
}


def test_each_attack_names_who_stops_it_and_that_of_micropie_has_a_test():
    rows = {name: who.split(", ") for name, who in ATTACKS if name not in {"Attack", "---"}}

    assert len(rows) > 45
    assert {party for who in rows.values() for party in who} == PARTIES
    assert [name for name, who in rows.items() if "MicroPie" in who and name not in SHOWN] == []
    assert [name for name in SHOWN if name not in rows] == []
    assert MODEL.count("`tests/") == sum(map(len, SHOWN.values()))


def test_tests_that_the_security_model_names_are_collected():
    named = {test for tests in SHOWN.values() for test in tests}
    files = sorted({test.partition("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--no-cov", *files]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    collected = set(done.stdout.splitlines())
    assert sorted(named - collected - {test.partition("[")[0] for test in collected}) == []


def test_a_thread_costs_some_microseconds(tmp_path):
    [code] = [
        block.text
        for block in blocks((PAGES / "threads.md").read_text())
        if block.detail == "hop.py"
    ]
    (tmp_path / "hop.py").write_text(code)
    printed = subprocess.run(
        [sys.executable, "hop.py"],
        cwd=tmp_path,
        env=environment({}),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    assert 5 < int(re.findall(r"\d+", printed)[0]) < 1000  # the page says 58 to 69


# --- All pages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_page_begins_with_its_purpose_and_shows_code_or_a_picture_early(page):
    lines = page.read_text().splitlines()

    assert lines[0].startswith("# ")
    assert len(" ".join(lines[2:5])) > 80
    if page.name != "claims.md":  # which lists tests
        assert next(number for number, line in enumerate(lines) if line.startswith("```")) < 40


def test_numbers_in_the_text_are_the_constants_of_the_module():
    assert micropie._THREADS == 40
    assert "40 threads at most" in (PAGES / "threads.md").read_text()
    upload = (ROOT / "docs" / "images" / "upload.svg").read_text()
    for size in (micropie._SPOOL_SIZE, micropie._DRAIN_SIZE):
        assert f"{size // 2**20} MiB" in upload
    assert micropie._EXPIRE_STEP == 100  # "a hundred at a time" in sessions.md and performance.md
    assert micropie.SESSION_TIMEOUT == 8 * 3600  # "eight hours" in sessions.md
    assert "App.mounts is the framework's own" in (PAGES / "routing.md").read_text()


def test_page_of_the_source_describes_each_section_of_the_module():
    table = (PAGES / "source.md").read_text().partition("| section | what it holds |\n")[2]
    described = re.findall(r"^\| ([A-Z][\w ,]*?) \|", table.partition("\n\n")[0], flags=re.M)
    source = (ROOT / "micropie.py").read_text()

    assert described == re.findall(r"^# --- (.+?) -+$", source, flags=re.M)


def test_share_of_the_code_in_the_module_is_as_the_page_says():
    text = (PAGES / "source.md").read_text()
    assert "Less than two thirds of them are code" in text
    lines = (ROOT / "micropie.py").read_text().splitlines()
    explained = {
        number
        for node in ast.walk(TREE)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for number in range(node.lineno - 1, node.end_lineno or 0)
    }
    code = [
        line
        for number, line in enumerate(lines)
        if number not in explained and line.strip() and not line.lstrip().startswith("#")
    ]

    assert len(lines) / 2 < len(code) < len(lines) * 2 / 3


def test_every_function_of_the_module_is_shorter_than_the_page_says():
    text = (PAGES / "architecture.md").read_text()
    assert "under 60 lines" in text
    functions = [
        node for node in ast.walk(TREE) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert [node.name for node in functions if (node.end_lineno or 0) - node.lineno >= 60] == []
