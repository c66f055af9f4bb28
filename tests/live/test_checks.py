"""The checks of the tutorial's steps, under CPython: what they find, and what they say.

`docs/live/checks/step_<nn>.py` checks the reader's files of a step. Each step passes its own checks
and fails those of the next step. `versions.py` has wrong versions of it, and right ones.
"""

import asyncio
import importlib
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from tests.live.versions import changed, right_versions, wrong_versions
from tests.processes import ROOT
from tests.tutorials.steps import files_of, step

LIVE = ROOT / "docs" / "live"
STEPS = range(1, 10)
sys.path.append(str(LIVE / "worker"))


def text_files(number):
    """Return the files of a step; there is none before the first."""
    if number == 0:
        return {}
    return {name: data.decode() for name, data in files_of(step(f"{number:02}")).items()}


@pytest.fixture(scope="module", autouse=True)
def memory():
    """Let the checks make their folders in memory: SQLite waits for a disk at each commit."""
    before = tempfile.tempdir
    shared = Path("/dev/shm")
    if os.access(shared, os.W_OK):
        tempfile.tempdir = str(shared)
    yield
    tempfile.tempdir = before


def arguments_of(number):
    """Return the checks of a step, and their name."""
    name = f"step_{number:02}"
    return (LIVE / "checks" / f"{name}.py").read_text(), name


def found(number, files):
    """Run the checks of a step."""
    checking = importlib.import_module("checking")
    return asyncio.run(checking.check(*arguments_of(number), files))


def said_until(number, files, place, words):
    """Run the checks up to the one that says these words at this place; return what they say."""
    checking = importlib.import_module("checking")

    async def run():
        said = []
        async for result in checking.results(*arguments_of(number), files):
            said += missing([result])
            if is_said(place, words, said):
                break
        return said

    return asyncio.run(run())


def is_said(place, words, said):
    return any(place == at and words in text for at, text in said)


def missing(results):
    """Return each place, and what is missing there."""
    return [
        (", ".join(filter(None, (one["file"], one["name"]))), one["text"])
        for one in results
        if one["state"] in ("missing", "error")
    ]


def cases(versions_of):
    return [
        pytest.param(number, version, id=f"{number:02}-{version['why']}")
        for number in STEPS
        for version in versions_of(number)
    ]


@pytest.mark.parametrize("number", STEPS)
def test_step_passes_its_checks(number):
    results = found(number, text_files(number))
    assert missing(results) == []
    assert len(results) >= 3


# The words at the start of each step: the files are those of the step before.
AT_THE_START = {
    1: [("app.py", "This file is missing.")],
    2: [("app.py, Poll", "Write a method `results`"), ("app.py, Poll", "Write a method `vote`")],
    3: [
        ("templates/index.html", "This file is missing."),
        ("app.py, Poll.vote", "The answer to a form must be a redirect"),
    ],
    4: [("app.py, Poll.vote", "Only the second vote may count")],
    5: [("app.py, set_vote", "the vote must still be there")],
    6: [
        ("app.py, Poll", "Write a method `events`"),
        ("templates/live.js", "This file is missing."),
    ],
    7: [
        ("app.py, Poll", "Write a method `ws_chat`"),
        ("templates/chat.js", "This file is missing."),
    ],
    8: [
        ("app.py, Poll", "Write a method `upload`"),
        ("templates/index.html", "The page must have a form with a field `picture`."),
    ],
    9: [("test_app.py", "This file is missing.")],
}


@pytest.mark.parametrize("number", STEPS)
def test_step_before_lacks_what_the_page_adds(number):
    said = missing(found(number, text_files(number - 1)))
    for place, words in AT_THE_START[number]:
        assert is_said(place, words, said), said


@pytest.mark.parametrize(("number", "version"), cases(wrong_versions))
def test_wrong_version_is_told_in_words_with_the_place(number, version):
    place, words = version["place"], version["says"]
    said = said_until(number, changed(text_files(number), version), place, words)
    assert is_said(place, words, said), said
    for place, text in said:
        assert "/check-" not in f"{place} {text}", "the folder of the check is not the reader's"


@pytest.mark.parametrize(("number", "version"), cases(right_versions))
def test_other_way_is_right(number, version):
    assert missing(found(number, changed(text_files(number), version))) == []


@pytest.mark.parametrize("number", STEPS)
def test_each_step_has_wrong_and_right_versions(number):
    assert len(wrong_versions(number)) >= 3
    assert len(right_versions(number)) >= (3 if number in {3, 5, 7} else 1)


def test_exception_is_an_error_that_is_told_once():
    whole = text_files(3)
    total = len(found(3, whole))
    line = '        """Show the poll."""\n'
    assert line in whole["app.py"]
    app = whole["app.py"].replace(line, f"{line}        return {{}}[id(self)]\n")
    results = found(3, {**whole, "app.py": app})
    assert len(results) == total
    errors = [one for one in results if one["state"] == "error"]
    assert [(one["file"], one["name"]) for one in errors] == [("app.py", "Poll.index")]
    assert "KeyError" in errors[0]["text"]
    assert [one["state"] for one in results].count("open") >= 1


def test_app_that_does_not_start_leaves_the_total_as_it_is():
    results = found(3, {**text_files(3), "app.py": "unknown\n"})
    states = [one["state"] for one in results]
    assert states == ["error", *["open"] * (len(found(3, text_files(3))) - 1)]


@pytest.mark.parametrize(
    ("module", "says"),
    [
        ("sekrets", "There is no module `sekrets`. Did you mean `secrets`?"),
        ("picture", "There is no module `picture`. Did you mean `pictures`?"),
        ("mine", "There is no module `mine`. Did you mean `mines`?"),
        ("store", "There is no module `store`. Make the file `store.py`."),
        ("bananas", "There is no module `bananas`."),
    ],
)
def test_unknown_module_is_told_with_the_name_that_is_like_it(module, says):
    app = f"import {module}\n{text_files(3)['app.py']}"
    files = {**text_files(3), "app.py": app, "mines.py": ""}
    assert missing(found(3, files))[0][1] == says


def test_modules_of_the_tutorial_are_known():
    made = {name for number in STEPS for name in text_files(number) if name.endswith(".py")}
    known = {f"{name}.py" for name in importlib.import_module("checking").MODULES}
    assert made - known == {"test_app.py", "conftest.py"}


def test_scripts_that_browsers_run_are_understood():
    script = importlib.import_module("checking_script")
    scripts = [
        path
        for folder in ("tutorials", "examples", "docs/live", "docs/_static")
        for path in (ROOT / folder).rglob("*.*js")
        if "node_modules" not in path.parts
    ]
    assert len(scripts) > 30
    for path in scripts:
        assert script.Script(path.read_text()).tokens, path


@pytest.mark.parametrize(
    "source",
    [
        *("f(a;", "f(a));", "[1, 2", "{ a: (b }", '"a', "'a\n'", "`a", "`${a`", "/* a", "`${(a}`"),
        *("const a = 1 b", 'f("a" "b")', "{ a: 1 b: 2 }", "a b"),
    ],
)
def test_script_that_no_browser_runs_is_not_understood(source):
    script = importlib.import_module("checking_script")
    with pytest.raises(script.ScriptError) as error:
        script.Script(f"\n{source}")
    assert error.value.line >= 2


def test_check_leaves_the_interpreter_as_it_was():
    before = set(sys.modules), sys.path[:], threading.active_count(), sys.gettrace()
    found(5, text_files(5))
    assert sys.modules.keys() - before[0] <= {"checking", "checking_client", "checking_loop"} | {
        name for name in sys.modules if getattr(sys.modules[name], "__file__", None)
    }
    assert not {"app", "store"} & set(sys.modules)
    assert (sys.path, threading.active_count(), sys.gettrace()) == before[1:]
