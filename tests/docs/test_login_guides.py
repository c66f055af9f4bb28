"""The promises of the guides about logins that the output on their pages does not show."""

import contextlib
import shutil

import httpx
import pytest

from docs._ext.blocks import blocks
from tests.docs.looking import found_on_page
from tests.docs.site import served
from tests.examples.browsing import Browsing
from tests.examples.harness import PLAIN
from tests.processes import ROOT, free_port, serving

HOWTO = ROOT / "docs" / "howto"
KEEP_ME = ["keep me signed in", "keep me logged in", "persistent login", "remember me"]
EVIL = {"origin": "https://evil.example"}


def page(name):
    return (HOWTO / name).read_text()


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes the first version of some files of a guide."""

    def write(name, *files):
        for block in reversed(blocks(page(name))):
            kind, _, file = block.comment.partition(": ")
            if kind == "file" and (file in files or not files):
                path = tmp_path / file
                path.parent.mkdir(exist_ok=True)
                if block.file:
                    shutil.copy(HOWTO / block.file, path)
                else:
                    path.write_text(block.text)
        return tmp_path

    return write


@contextlib.contextmanager
def visitor(folder, app="app"):
    port = free_port()
    with serving(f"uvicorn {app}:app", folder, port, {}):
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=60, verify=PLAIN) as client:
            yield client


def test_login_has_a_limit_with_the_two_lines_of_the_guide(folder):
    path = folder("authentication.md")
    folder("middleware.md", "rate_limit.py")
    lines = [
        line[3:-1]
        for line in page("authentication.md").splitlines()
        if line.startswith("- `") and "RateLimit" in line
    ]
    assert len(lines) == 2
    with (path / "app.py").open("a") as file:
        print(*lines, sep="\n", file=file)

    with visitor(path) as client:
        form = {"name": "ada", "password": "wrong"}
        statuses = [client.post("/login", data=form).status_code for _ in range(21)]
        assert statuses == [400] * 20 + [429]
        assert client.get("/register").status_code == 429
        assert client.get("/").status_code == 200


def test_form_of_a_visitor_without_a_session_leads_to_the_plain_login(folder):
    browser = {"accept": "text/html"}
    with visitor(folder("authentication.md")) as client:
        for method, location in [("GET", "/login?next=%2Faccount%3Fq%3D%2525"), ("POST", "/login")]:
            answer = client.request(method, "/account?q=%25", headers=browser)
            assert (answer.status_code, answer.headers["location"]) == (303, location)
        account = {"name": "Ada", "password": "analytical engine"}
        found = client.post("/register", data=account)
        assert found.headers["location"] == "/account"
        assert "Hello, Ada!" in client.get("/").text
        again = client.post("/login", data=account, params={"next": "/account?q=%25"})
        assert again.headers["location"] == "/account?q=%25"


def test_login_that_is_not_kept_ends_and_the_other_lasts(folder):
    path = folder("sessions.md", "keeping.py", "kept.py")
    text = (path / "keeping.py").read_text()
    assert text.count("12 * HOUR, 30") == 1
    (path / "keeping.py").write_text(text.replace("12 * HOUR, 30", "-1, 30"))

    with visitor(path, "kept") as client:
        assert client.post("/login", data={}).status_code == 303
        assert client.get("/account").status_code == 401
        kept = client.post("/login", data={"keep": "on"}).headers["set-cookie"]
        assert "; Max-Age=259" in kept
        assert client.get("/account").status_code == 200
        for form in ("/login", "/logout"):
            answer = client.post(form, data={"keep": "on"}, headers=EVIL)
            assert "set-cookie" not in answer.headers
        assert client.get("/account").status_code == 200
        assert "Max-Age=0" in client.post("/logout").headers["set-cookie"]


def test_search_finds_the_kept_login(browser, site):
    with served(site.folder) as url, contextlib.closing(Browsing(browser, url)) as browsing:
        opened = browsing.page()
        opened.goto("/search.html")
        for typed in KEEP_ME:
            found = found_on_page(opened, f"{browsing.url}/", typed)[:3]
            pages = {address.partition("#")[0] for address in found}
            assert pages & {"howto/sessions", "examples/login"}, (typed, found)
