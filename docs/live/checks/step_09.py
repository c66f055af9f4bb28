"""Checks of step 9: tests that pass, and that fail if the app is broken."""

import importlib
from typing import NamedTuple

from checking import Missing, Place, Program, first, forget_modules, missing_for
from checking_poll import STEP_9

# More checks: the poll itself still works.
MORE = STEP_9

TESTS = Place("test_app.py")


class Broken(NamedTuple):
    """An app that is broken on purpose."""

    what: str
    """Its fault, in words that come after "if"."""
    file: str
    old: str
    new: str
    how: str
    """The deed of a test of it, in words."""


NO_SESSION = Broken(
    "the app takes a vote from another site",
    "app.py",
    "if not voter:",
    "if False:",
    "Write a test that sends a vote with `origin: https://evil.example`, and expects 403.",
)
TWO_VOTES = Broken(
    "a visitor has more than one vote",
    "store.py",
    "(voter, pie))",
    "(voter + pie, pie))",
    "Write a test in which a visitor votes twice, and look at `/results`.",
)
NO_NEWS = Broken(
    "a vote is no news",
    "app.py",
    "self._news.tell()",
    "pass",
    "Write a test that asks `app._changes()` for an event, votes, and asks for another one.",
)
NO_CHAT = Broken(
    "the chat loses the text of a message",
    "app.py",
    '"text": text}',
    '"text": ""}',
    "Write a test with a WebSocket for each of two visitors.",
)
NO_PICTURE = Broken(
    "the app keeps a file that is no picture",
    "pictures.py",
    "if kind is None:",
    "if False:",
    "Write a test that sends HTML as a picture, and expects 422.",
)


@first
def check_files(poll: Program) -> None:
    """The tests and their fixtures are there, and Python can import them."""
    names = [name for name in poll.files if name.startswith("test_") and name.endswith(".py")]
    if not names:
        raise Missing(TESTS, "This file is missing. Write the tests of the poll into it.")
    for name in [*(["conftest.py"] if "conftest.py" in poll.files else []), *names]:
        try:
            importlib.import_module(name.removesuffix(".py"))
        except BaseException as error:
            raise missing_for(error, poll) from None
    forget_modules(poll.folder)


@first
def check_tests_pass(poll: Program) -> None:
    """The tests pass."""
    from checking_pytest import run_tests

    report = run_tests(poll)
    for name, place, message in report.failed:
        raise Missing(place, f"The test `{name}` fails: {message}.")
    if not report.passed:
        text = "pytest finds no test. The name of a test starts with `test_`."
        raise Missing(TESTS, text)


def expect_failure(poll: Program, broken: Broken) -> None:
    """Break the app, and see that a test fails."""
    from checking_pytest import run_tests

    text = poll.text(broken.file)
    if broken.old not in text:
        return  # the reader's app is another one, and can't be broken in this way
    poll.write(broken.file, text.replace(broken.old, broken.new))
    if not run_tests(poll, stop_early=True).failed:
        raise Missing(TESTS, f"No test fails if {broken.what}. {broken.how}")


def check_session(poll: Program) -> None:
    """A test fails if the app takes a vote from another site."""
    expect_failure(poll, NO_SESSION)


def check_one_vote(poll: Program) -> None:
    """A test fails if a visitor has more than one vote."""
    expect_failure(poll, TWO_VOTES)


def check_news(poll: Program) -> None:
    """A test fails if a vote is no news."""
    expect_failure(poll, NO_NEWS)


def check_chat(poll: Program) -> None:
    """A test fails if the chat loses the text of a message."""
    expect_failure(poll, NO_CHAT)


def check_pictures(poll: Program) -> None:
    """A test fails if the app keeps a file that is no picture."""
    expect_failure(poll, NO_PICTURE)
