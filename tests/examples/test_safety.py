"""What no example may do, whoever copies it: tried on all of them, each mounted below a path."""

import contextlib
import functools
import re
import subprocess
import sys
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.examples import harness
from tests.examples.accounts import SIGN_IN, session_ids
from tests.examples.crawler import Visit, read
from tests.examples.harness import PREFIX, SECRET, raw_get
from tests.processes import environment

MARKUP = """x" onload="alert(2)'><script>alert(1)</script>"""
RAW = ('" onload="alert(2)', "<script>alert(1)")
FIXED = "A" * 43

PARAMETERS = re.compile(r"(\*{0,2}\w+)[:,=)]")


@pytest.fixture(scope="module", params=harness.NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def example(name, shared_servers):
    """An example below a path, with something to steal in and above its folder."""
    return Example(name, shared_servers(name))


class Example:
    def __init__(self, name, server):
        self.name = name
        self.server = server
        self.url = server.url + PREFIX + "/"

    @contextlib.contextmanager
    def visitor(self, *, signed_in=False, **options):
        with httpx.Client(base_url=self.url, timeout=60, verify=harness.PLAIN, **options) as client:
            if signed_in:
                SIGN_IN[self.name](client)
            yield Visit(client)

    @functools.cached_property
    def seen(self):
        """What a stranger sees of everything, and a visitor who has signed in where one can."""
        visits = []
        for signed_in in (False, True)[: 1 + (self.name in SIGN_IN)]:
            with self.visitor(signed_in=signed_in) as visit:
                visits.append(visit.everything())
        return visits

    def visitors(self):
        """Yield a new stranger and a new visitor who has signed in, each with all forms opened."""
        for signed_in, seen in zip((False, True), self.seen, strict=False):
            with self.visitor(signed_in=signed_in) as visit:
                yield visit.again(seen.remembered)

    @property
    def takes_files(self):
        return any(form.takes_files for visit in self.seen for form in visit.forms)

    @functools.cached_property
    def routes(self):
        """The paths of the example's handlers, each with the names of its parameters."""
        command = [sys.executable, "-m", "micropie", "routes", "app:app"]
        place = {"cwd": self.server.folder, "env": environment(self.server.environment)}
        shown = subprocess.run(command, **place, capture_output=True, text=True, timeout=60)
        rows = [re.split(r"\s{2,}", line) for line in shown.stdout.splitlines()[1:]]
        found = {row[0].lstrip("/"): PARAMETERS.findall(row[2]) for row in rows if "HTTP" in row}
        assert found or self.name == "explicit_routing", shown  # all its routes are explicit
        return found


def assert_escaped(text, where):
    for raw in RAW:
        assert raw not in text, f"{where}: {text}"
    assert not re.search(r"""(href|src|action)=["']?javascript:""", text), f"{where}: {text}"


def test_pages_stay_below_their_path(example):
    for visit in example.seen:
        assert visit.outside == set()
        assert {url: status for url, status in visit.answers.items() if status >= 400} == {}


def test_markup_in_addresses_and_headers_is_escaped(example):
    headers = {
        "user-agent": MARKUP,
        "referer": MARKUP,
        "accept-language": MARKUP,
        "x-forwarded-for": MARKUP,
    }
    with example.visitor(headers=headers) as visit:
        for path, names in example.routes.items():
            query = {name.lstrip("*") or "x": MARKUP for name in names}
            for target, options in (
                (f"{path.strip('/')}/{quote(MARKUP, safe='')}", {}),
                (path, {"params": query}),
                (path, {"params": dict.fromkeys(query, "javascript:alert(1)")}),
            ):
                with visit.client.stream("GET", target, **options) as response:
                    assert_escaped(read(response), response.url)


def test_markup_in_forms_is_escaped(example):
    for visit in example.visitors():
        for form in visit.forms:
            for text in (MARKUP, "javascript:alert(1)"):
                assert_escaped(read_whole(visit.submit(form, text)), form.action)
        visit.answers.clear()
        for url, text in visit.everything().texts.items():
            assert_escaped(text, url)


def read_whole(response):
    return (
        response.text
        if response.headers.get("content-type", "text/html").startswith("text/html")
        else ""
    )


def test_markup_in_bodies_is_escaped(example):
    with example.visitor() as visit:
        for path, names in example.routes.items():
            values = {name.lstrip("*") or "x": MARKUP for name in names}
            for options in (
                {"data": values},
                {"json": values},
                {"files": {"x": (MARKUP, b"x", "text/html")}},
            ):
                with visit.client.stream("POST", path, **options) as response:
                    assert_escaped(read(response), response.url)


def test_forms_of_other_sites_touch_no_session(example):
    for visit in example.visitors():
        before = session_ids(visit.client)
        for form in [form for form in visit.forms if form.changes_state]:
            response = visit.submit(form, "anything", origin="https://evil.example")
            assert "session_id" not in response.headers.get("set-cookie", ""), form.action
        assert session_ids(visit.client) == before
        visit.answers.clear()
        visit.again(example.seen[bool(before) and -1].remembered)
        assert max(visit.answers.values(), default=0) < 400


def test_visit_alone_stores_nothing(example):
    """A robot that reads every page must not fill the store of sessions."""
    with example.visitor() as visit:
        visit.everything()
        assert not session_ids(visit.client)


def test_session_id_of_the_client_is_never_adopted(example):
    issued = []
    for cookies in ({}, {"session_id": FIXED}):
        with example.visitor(cookies=cookies) as visit:
            visit.again(example.seen[0].remembered)
            for form in visit.forms:
                visit.submit(form, "anything")
            issued.append({cookie.value for cookie in visit.client.cookies.jar if cookie.domain})
    stranger, attacked = issued
    assert bool(stranger) == bool(attacked), (
        "the id that was brought along is taken, or none is given any more"
    )
    assert FIXED not in attacked
    sign_in = SIGN_IN.get(example.name)
    if sign_in is not None:
        with example.visitor() as visit:
            visit.again(example.seen[0].remembered)
            # A stranger has no session here: this one is to be left at the next time.
            if not session_ids(visit.client):
                sign_in(visit.client)
            before = session_ids(visit.client)
            sign_in(visit.client)
            after = session_ids(visit.client)
            assert after
            assert not before & after, "signing in keeps the session id that was there before"


@pytest.mark.parametrize(
    "sent", ["../evil.txt", "..\\evil.txt", "/evil.txt", "../../../evil.txt", ".."]
)
def test_uploads_stay_in_their_folder(example, sent):
    folder = example.server.folder
    for visit in example.visitors() if example.takes_files else ():
        for form in visit.forms:
            if form.takes_files:
                visit.submit(form, sent)

    assert not [path for place in (folder, *folder.parents[:3]) for path in place.glob("*evil*")]


def test_files_outside_cannot_be_read(example):
    urls = set(example.seen[0].answers)
    folders = {re.sub(r"[^/]*$", "", urlsplit(url).path) for url in urls} | {
        f"{PREFIX}/{path.strip('/')}/" for path in example.routes
    }
    for place in folders:
        for up in ("../", "..%2f", "%2e%2e/", "..%5c", "%2e%2e%2f"):
            for times in (1, 2, 3):
                assert SECRET not in raw_get(example.server.port, place + up * times + "secret.txt")
