"""examples/gallery, and every example in it: below its name, beside all the others."""

import contextlib
import html
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.examples import harness, index
from tests.examples.browsing import NARROW, WIDE, contrast
from tests.examples.copied import check_lifespan
from tests.examples.crawler import Visit
from tests.examples.harness import SECRET, raw_get
from tests.examples.loading import load
from tests.processes import environment, free_port, wait_until

catalog = load("gallery", "catalog")
isolation = load("gallery", "isolation")
lifespan = load("gallery", "lifespan")
rendering = load("gallery", "rendering")

SHOWN = [name for name in harness.ALL_NAMES if name != "gallery"]
ROWS = {name: row for rows in catalog.GROUPS.values() for name, row in rows.items()}
OPENED = [name for name in SHOWN if ROWS[name].opens]
GALLERY = harness.EXAMPLES / "gallery"
# What examples need for servers, which the gallery has none of.
SERVERS = {
    "asyncpg",
    "taskiq-redis",
    "uvicorn[standard]",
}


# The page of the gallery that shows each seed, and a text on it.
SEEDED = {
    "file_uploads": ("", "menu.txt"),
    "json_api": ("notes", "Ripe ones"),
    "lifespan": ("", "The Art of the Pie"),
}


# --- the catalog


def test_every_example_has_a_row():
    grouped = [name for rows in catalog.GROUPS.values() for name in rows]

    assert sorted(grouped) == SHOWN
    for name, row in ROWS.items():
        assert row.level in {1, 2, 3}, name
        assert row.opens in {"page", "console", ""}, name
    wants = [row.want for row in ROWS.values()]
    assert len(wants) == len(set(wants))


def test_index_lists_every_example():
    """`python -m tests.examples.index` writes it anew."""
    assert (harness.EXAMPLES / "README.md").read_text() == index.text(catalog)


def test_what_the_examples_need_is_installed_for_make_run():
    installed = (harness.ROOT / "requirements" / "gallery.in").read_text().split("\n")
    for name in [*OPENED, "gallery"]:
        lines = (harness.EXAMPLES / name / "requirements.txt").read_text().splitlines()
        needed = {re.split(r"[<>=~! ]", line)[0] for line in lines if re.match(r"\w", line)}
        assert needed - SERVERS - {"micropie[all]"} <= set(installed), name


# --- the cards and what they lead to


def test_every_example_has_a_card(client):
    page = client.get("/").text

    for name in SHOWN:
        assert f'href="/readme/{name}"' in page
        assert f'href="/source/{name}"' in page
        assert (f'href="/examples/{name}/"' in page) == (ROWS[name].opens == "page")
        assert (f'href="/console/{name}"' in page) == (ROWS[name].opens == "console")
    assert "cannot be opened here" not in page
    assert "is gone when the server stops" in page
    assert page.count("<article") == len(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_readme_leads_to_pages_that_are_there(client, name):
    page = client.get(f"/readme/{name}")
    title = (harness.EXAMPLES / name / "README.md").read_text().split("\n")[0].removeprefix("# ")

    assert page.status_code == 200
    assert f"<h1>{title}</h1>" in html.unescape(page.text)
    assert "<h2>Make it yours</h2>" in page.text
    assert "&lt;!--" not in page.text
    for link in re.findall(r'<a [^>]*href="(/[^"]*)"', page.text):
        if not link.startswith("/examples/"):  # the tests of each follow its own links
            assert client.get(html.unescape(link), follow_redirects=True).status_code == 200, link


def test_links_of_readmes_stay_here(client):
    page = client.get("/readme/sessions").text
    assert '<a href="/readme/login"><code>login</code></a>' in page
    forms = client.get("/readme/forms").text
    assert '<a href="/examples/forms/">http://127.0.0.1:8000</a>' in forms
    assert '<a href="https://jinja.palletsprojects.com">' in client.get("/readme/templates").text


@pytest.mark.parametrize("name", [name for name in SHOWN if ROWS[name].opens == "console"])
def test_console_sends_requests(page, browsing, name):
    browsing.expected = ["401", "404", "405", "406"]
    page.goto(f"/console/{name}")
    page.locator("#answer", has_text=re.compile(r"^\d{3} ")).wait_for()
    page.get_by_label("Path").fill("/no/such/page")
    page.get_by_role("button", name="Send").click()
    page.locator("#answer", has_text=re.compile(r"^(404|401|400) ")).wait_for()


def test_pictures_of_the_cards(client, page):
    assert client.get("/picture/nothing").status_code == 404
    assert client.get("/picture/testing").status_code == 404
    picture = client.get("/picture/forms")
    if picture.status_code == 200:  # a copy of the examples alone has none
        assert picture.headers["content-type"] == "image/png"
    for word in ("first evening", "small app", "large"):
        assert word in client.get("/").text


def test_bar_leads_back_from_an_example(page):
    page.goto("/examples/forms/")
    page.get_by_role("navigation", name="Gallery").get_by_role("link", name="README").click()
    page.get_by_role("heading", name="Forms", level=1).wait_for()
    page.goto("/examples/forms/")
    page.get_by_role("link", name="All examples").click()
    page.get_by_role("heading", name="See it run, then copy it").wait_for()


def texts_of(folder):
    """Return the texts of all files of a folder that are text."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith("."):
            try:
                yield path.relative_to(folder).as_posix(), path.read_bytes().decode()
            except UnicodeDecodeError:
                continue


@pytest.mark.parametrize("name", SHOWN)
def test_source_of_every_file(client, server, name):
    found = list(texts_of(server.folder.parent / name))
    listing = client.get(f"/source/{name}").text

    assert {"app.py", "README.md"} <= {file for file, _ in found}
    for file, text in found:
        assert f'href="/source/{name}/{file}"' in listing
        page = client.get(f"/source/{name}/{file}")
        shown = re.search(r'<pre class="code"[^>]*>(.*?)</pre>', page.text, flags=re.S)[1]
        assert html.unescape(re.sub(r"<[^>]+>", "", shown)).rstrip("\n") == text.rstrip("\n"), file


@pytest.mark.parametrize(
    "path", ["/source/nothing", "/source/forms/nothing.py", "/source/forms/templates"]
)
def test_unknown_page_is_404(client, path):
    assert client.get(path).status_code == client.get("/readme/nothing").status_code == 404


def test_path_with_dots_is_404(server):
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--path-as-is"]
    path = f"{server.url}/source/../forms/app.py"
    assert (
        subprocess.run([*command, path], capture_output=True, timeout=60, check=True).stdout
        == b"404"
    )


@pytest.mark.parametrize(
    "place", ["/source/forms/", "/source/", "/readme/", "/docs/", "/examples/"]
)
def test_files_outside_cannot_be_read(server, place):
    for folder in (
        server.folder,
        server.folder.parent / "forms",
        server.folder.parent,
        server.folder.parent.parent,
    ):
        (folder / ".secret.txt").write_text(SECRET)
    names = (
        ".secret.txt",
        "templates/../.secret.txt",
        "../.secret.txt",
        "../../.secret.txt",
        "../../../.secret.txt",
    )
    for name in names:
        for written in (
            name,
            name.replace("/", "%2f"),
            name.replace(".", "%2e"),
            name.replace("/", "%5c"),
        ):
            assert SECRET not in raw_get(server.port, place + written)
    absolute = str(server.folder.parent / "forms" / ".secret.txt")
    assert SECRET not in raw_get(server.port, place + quote(absolute, safe=""))
    assert SECRET not in raw_get(server.port, place + absolute)


def test_search_without_javascript(client):
    def found(words):
        page = client.get("/", params={"q": words}).text
        shown = set(re.findall(r'<article data-name="(\w+)">', page))
        assert shown == set(client.get("/search", params={"q": words}).json())
        return shown, page

    assert found("")[0] == set(SHOWN)
    assert found("CHAT nonsense")[0] == set()
    assert "1 example<" in found("socket.io python-socketio")[1]
    assert 'value="&#34;&gt;&lt;b"' in found('"><b')[1]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("jwt", "api_jwt"),
        ("crud", "crud_sql"),
        ("htmx", "todo_htmx"),
        ("todo", "todo_htmx"),
        ("react", "notes_spa"),
        ("oauth", "oauth_login"),
        ("docker", "blog"),
        ("csrf", "middleware"),
        ("rest", "json_api"),
        ("graphql", "graphql"),
        ("llm", "llm_chat"),
        ("webhook", "webhook"),
        ("swagger", "api_openapi"),
        ("sqlalchemy", "crud_sql"),
        ("password reset", "login"),
        ("cron", "background_jobs"),
        ("fastapi", "mounting"),
        ("mcp", "mcp_server"),
    ],
)
def test_search_knows_the_words_that_people_type(client, words, name):
    assert name in client.get("/search", params={"q": words}).json()


def test_search_while_typing(page):
    page.goto("/")
    assert page.locator("article:visible").count() == len(SHOWN)
    page.get_by_label("Find an example").fill("python-socketio")
    page.get_by_role("status").get_by_text("1 example", exact=True).wait_for()
    assert page.locator("article:visible h3").all_inner_texts() == ["Socket.IO"]
    assert page.locator("section:visible").count() == 1
    page.get_by_label("Find an example").fill("")
    page.get_by_role("status").get_by_text(f"{len(SHOWN)} examples").wait_for()
    assert page.locator("article:visible").count() == len(SHOWN)


def test_icon_is_an_svg(client):
    icon = client.get("/favicon.ico")
    assert (icon.headers["content-type"], icon.content[:4]) == ("image/svg+xml", b"<svg")


def test_links_lead_from_card_to_readme_source_and_example(page):
    page.goto("/")
    page.get_by_role("link", name="README of Forms").click()
    page.get_by_role("heading", name="Forms", level=1).wait_for()
    page.get_by_role("link", name="Source of Forms").click()
    page.get_by_role("link", name="templates/form.html").click()
    page.get_by_role("region", name="templates/form.html").wait_for()
    page.get_by_role("link", name="Open Forms").click()
    page.get_by_role("heading", name="Baking course").wait_for()


@pytest.mark.parametrize(
    ("size", "dark"), [(WIDE, False), (WIDE, True), (NARROW, False), (NARROW, True)]
)
def test_pages_are_accessible(browsing, size, dark):
    page = browsing.page(size, dark=dark)
    for path in (
        "/",
        "/docs/",
        "/console/json_api",
        "/readme/middleware",
        "/source/forms/templates/form.html",
    ):
        page.goto(path)
        browsing.check_accessible(page)


def test_pages_fit_a_phone(browsing):
    page = browsing.page(NARROW)
    readmes = [f"/readme/{name}" for name in SHOWN]
    for path in ("/", "/docs/", "/source/socketio/static/socket.io.min.js", *readmes):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= NARROW[0], path


@pytest.mark.parametrize("at", [0, 1])
def test_colors_of_code_can_be_read(at):
    css = (GALLERY / "templates" / "style.css").read_text()
    ground = re.search(r"--code: light-dark\(#(\w{6}), #(\w{6})\)", css)[at + 1]

    colors = {
        style["color"] for _, style in (rendering.Light, rendering.Dark)[at] if style["color"]
    }

    assert len(colors) > 5
    assert [color for color in colors if contrast(color, ground) < 4.5] == []


def test_rooms_are_not_empty(client):
    for name, (path, text) in SEEDED.items():
        assert text in client.get(f"/examples/{name}/{path}").text, name


# --- the examples below their names


@pytest.mark.parametrize("name", OPENED)
def test_example_works_below_its_name(server, name):
    with httpx.Client(base_url=f"{server.url}/examples/{name}/", timeout=60) as client:
        visit = Visit(client).everything()
        for form in visit.forms:
            if form.changes_state:
                assert visit.submit(form, "anything").status_code < 500
        paths = {cookie.path for cookie in client.cookies.jar}

    bar = {f"{server.url}{path}" for path in ("/", f"/readme/{name}", f"/source/{name}")}
    bar.add(f"{server.url}/bar_css")
    assert {found for found in visit.outside if found.split(" on ")[0] not in bar} == set()
    failed = {url: status for url, status in visit.answers.items() if status >= 400}
    assert {url: status for url, status in failed.items() if status != 401} == {}
    assert all(path.startswith(f"/examples/{name}") for path in paths)


@pytest.mark.parametrize("name", OPENED)
def test_example_opens_without_errors(page, name):
    page.goto(f"/examples/{name}/")
    # Its scripts run before.
    page.evaluate("new Promise(idle => requestIdleCallback(idle, {timeout: 2000}))")


def test_sessions_of_all_live_side_by_side(server):
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for name in ("sessions", "session_backends"):
            for _ in range(3):
                client.post(f"/examples/{name}/visit")
        paths = [cookie.path for cookie in client.cookies.jar if cookie.name == "session_id"]

        assert sorted(paths) == ["/examples/session_backends", "/examples/sessions"]
        for name in ("sessions", "session_backends"):
            assert re.search(r">\s*3\s*<", client.get(f"/examples/{name}/").text), name


def test_nothing_is_written_beside_the_examples(server):
    """Everything above has been tried on this server by now."""
    ignored = {".secret.txt", "secret.txt", "below.py"}
    folder = server.folder.parent

    found = {
        path.relative_to(folder)
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ignored
    }
    known = {
        path.relative_to(harness.EXAMPLES) for path in harness.EXAMPLES.rglob("*") if path.is_file()
    }

    assert {path for path in found - known if "__pycache__" not in path.parts} == set()


# --- its end


class Process:
    """The gallery as a process that ends with a block, or when a test stops it."""

    def __init__(self, folder, more):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            "uvicorn",
            "app:app",
            "--port",
            str(self.port),
            "--timeout-graceful-shutdown",
            "1",
        ]
        output: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.process = subprocess.Popen(command, cwd=folder, env=environment(more), **output)
        self.log = ""
        while "Uvicorn running" not in self.log:
            line = self.process.stdout.readline()
            assert line, self.log
            self.log += line

    def get(self, path):
        return httpx.get(self.url + path, timeout=60)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()

    def stop(self):
        """End it as Ctrl-C does; return the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGINT)
        try:
            more, _ = self.process.communicate(timeout=120)
        finally:
            self.process.kill()
        self.log += more
        return time.monotonic() - started


def listen(url, heard):
    """Read a stream of events until it breaks off."""
    with contextlib.suppress(httpx.HTTPError), httpx.stream("GET", url, timeout=120) as response:
        heard.extend(response.iter_lines())


def test_open_streams_and_jobs_end_when_the_gallery_stops(tmp_path, measure):
    (tmp_path / "scratch").mkdir()
    gallery = Process(
        harness.copied("gallery", tmp_path), {**measure, "TMPDIR": str(tmp_path / "scratch")}
    )
    heard = []
    listener = threading.Thread(
        target=listen, args=(f"{gallery.url}/examples/server_sent_events/clock", heard)
    )
    try:
        listener.start()
        path = "/examples/background_jobs/jobs"
        job = httpx.post(gallery.url + path, json={"limit": 5_000_000}, timeout=60)
        gallery.get("/examples/session_backends/")
        [data] = (tmp_path / "scratch").glob("gallery-*")
        written = [path.name for path in data.iterdir()]
        wait_until(lambda: heard, what="the first event")
    finally:
        seconds = gallery.stop()
        listener.join(120)

    assert job.status_code == 202
    assert {"lifespan", "session_backends", "streaming"} <= set(written)
    assert seconds < 60  # its limit is 1, a stream has no end, and a busy machine takes longer
    for line in ("opened 5 connections", "closed 5 connections", "Application shutdown complete"):
        assert line in gallery.log
    assert "never" not in gallery.log, "a task or a coroutine was forgotten"
    assert list((tmp_path / "scratch").glob("gallery-*")) == []


README = """# The {}

It has <b>one</b> [file](app.py), and [no](other.py).

```nolanguage
1 < 2
```
"""
TOYS = {
    "foreign": '''
import pathlib
async def app(scope, receive, send):
    """An ASGI app that keeps a diary, and is no App."""
    if scope["type"] == "lifespan":
        for _ in range(2):
            kind = (await receive())["type"]
            with pathlib.Path(__file__).with_name("diary.txt").open("a") as diary:
                diary.write(kind + "\\n")
            await send({"type": kind + ".complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"foreign"})
''',
    "broken": "import a_package_that_nobody_has\n",
    "hello_world": "import micropie\nclass Root(micropie.App):\n"
    "    def index(self): return 'hello'\napp = Root()\n",
}


@pytest.fixture
def toys(tmp_path):
    """A gallery beside a few odd examples."""
    folder = tmp_path / "all" / "copies"
    shutil.copytree(GALLERY, folder / "gallery", ignore=harness.NOT_COPIED)
    for name, source in TOYS.items():
        (folder / name).mkdir()
        (folder / name / "app.py").write_text(source)
        (folder / name / "README.md").write_text(README.format(name))
    (folder / "no_example").mkdir()
    (folder / "foreign" / "data.nokind").write_text("3 < 4\n")
    (folder / "foreign" / "link.py").symlink_to("/etc/hostname")
    return folder


def test_foreign_and_broken_examples_are_shown(toys, measure):
    with Process(toys / "gallery", {**measure, "GALLERY_DATA": str(toys / "kept")}) as gallery:
        page = gallery.get("/").text
        answers = [
            gallery.get(f"/examples/{name}/") for name in ("foreign", "hello_world", "broken")
        ]
        readme = gallery.get("/readme/foreign").text
        odd = gallery.get("/source/foreign/data.nokind").text
        link = gallery.get("/source/foreign/link.py").status_code

    assert re.findall("<h2[^>]*>(.+)</h2>", page) == ["Learn", "More"]
    assert re.findall("<h3>(.+)</h3>", page) == ["The hello_world", "The broken", "The foreign"]
    assert (
        "It cannot be opened here: ModuleNotFoundError: "
        "No module named &#39;a_package_that_nobody_has&#39;" in page
    )
    assert [answer.text for answer in answers] == ["foreign", "hello", "404 Not Found"]
    assert '&lt;b&gt;one&lt;/b&gt; <a href="/source/foreign/app.py">file</a>, and no.' in readme
    assert "1 &lt; 2" in readme
    assert "3 &lt; 4" in odd
    assert link == 404
    assert (toys / "foreign" / "diary.txt").read_text() == "lifespan.startup\nlifespan.shutdown\n"
    assert (toys / "kept").is_dir()
    assert "is gone when the server stops" not in page


def test_examples_with_blank_or_broken_readmes_are_shown(toys, measure):
    for name, source, readme in (
        ("blank", "app = None", b""),
        ("latin", "app = None", b"# L\xe4tin"),
        ("quits", "raise SystemExit('no settings')", b"# Quits\n\nIt is sorry."),
    ):
        (toys / name).mkdir()
        (toys / name / "app.py").write_text(source)
        (toys / name / "README.md").write_bytes(readme)
    with Process(toys / "gallery", measure) as gallery:
        page = gallery.get("/").text
        codes = [gallery.get(path).status_code for path in ("/readme/blank", "/readme/latin")]

    assert {"blank", "L\ufffdtin", "Quits"} < set(re.findall("<h3>(.+)</h3>", page))
    assert "It cannot be opened here: SystemExit: no settings" in page
    assert codes == [200, 200]


def test_docs_are_served_once_they_are_built(toys, tmp_path, measure):
    docs = tmp_path / "all" / "docs"
    (docs / "howto").mkdir(parents=True)
    (docs / "index.md").write_text(
        "# The first page\n\n% not run: a comment\n:::{note}\nA {term}`term`.\n:::\n"
    )
    (docs / "howto" / "one.md").write_text(
        "# One\n\n```{literalinclude} ../code.py\n```\n\n```{code-block} python\nx = 2\n```\n\n"
        "```{note}\nA note.\n```\n\n```{toctree}\nother\n```\n\n```{literalinclude} no.py\n```\n"
    )
    (docs / "code.py").write_text("print(1)\n")
    with Process(toys / "gallery", measure) as gallery:
        before = gallery.get("/docs/")
        pages = [
            gallery.get(path)
            for path in (
                "/docs/howto/one.md",
                "/docs/howto/two.md",
                "/docs/..%2fgallery%2fREADME.md",
            )
        ]
        built = tmp_path / "all" / "docs" / "_build" / "html"
        (built / "how").mkdir(parents=True)
        for name in ("index.html", "how/index.html", "style.css"):
            (built / name).write_text(f"<p>{name}")
        (tmp_path / "all" / "docs" / "secret.txt").write_text(SECRET)
        answers = {
            path: gallery.get(f"/docs{path}")
            for path in ("", "/", "/how/", "/style.css", "/nothing", "/how")
        }
        outside = raw_get(gallery.port, "/docs/..%2f..%2fsecret.txt") + raw_get(
            gallery.port, "/docs/../../secret.txt"
        )

    assert before.status_code == 200
    assert "make docs" in before.text
    assert "<h1>The first page</h1>" in before.text
    assert "term" in before.text
    assert ":::" not in before.text
    assert [page.status_code for page in pages] == [200, 404, 404]
    assert "print(1)" in re.sub(r"<[^>]+>", "", pages[0].text)
    assert answers[""].headers["location"] == "/docs/"
    for path, name in (
        ("/", "index.html"),
        ("/how/", "how/index.html"),
        ("/style.css", "style.css"),
    ):
        assert answers[path].text == f"<p>{name}"
    assert answers["/style.css"].headers["content-type"].startswith("text/css")
    assert answers["/nothing"].status_code == 404
    assert answers["/how"].headers["location"].endswith("/docs/how/")
    assert SECRET not in outside


def test_pictures_are_shown_and_a_seed_that_fails_is_logged(toys, tmp_path, measure):
    pictures = tmp_path / "all" / "docs" / "images" / "examples"
    pictures.mkdir(parents=True)
    (pictures / "hello_world.png").write_bytes(b"a picture")
    shutil.copytree(toys / "hello_world", toys / "json_api")  # it knows no /notes
    with Process(toys / "gallery", measure) as gallery:
        page, picture = gallery.get("/").text, gallery.get("/picture/hello_world")

    assert 'src="/picture/hello_world"' in page
    assert (picture.headers["content-type"], picture.content) == ("image/png", b"a picture")
    assert "json_api/notes was not filled: 404" in gallery.log


# --- isolation


@pytest.fixture
def folders(tmp_path, measured):
    """Two folders whose modules have the same names."""
    for name in ("one", "two"):
        folder = tmp_path / name
        (folder / "parts" / "deep").mkdir(parents=True)
        (folder / "app.py").write_text(
            "import os\nimport parts.deep.core\nimport email.message\n"
            "from helper import NAME\nfrom parts import deep\n"
            "from parts.deep.core import upper\nSEEN = os.environ.get('GALLERY_TEST')\n"
            "CORE = parts.deep.core.upper()\n"
            "def later():\n    import late\n    return late.WHERE\n"
        )
        (folder / "helper.py").write_text(f"import os.path\nNAME = {name!r}\n")
        (folder / "late.py").write_text("from helper import NAME as WHERE\n")
        (folder / "parts" / "__init__.py").write_text("")
        (folder / "parts" / "deep" / "__init__.py").write_text("")
        (folder / "parts" / "deep" / "core.py").write_text(
            "from ...helper import NAME as near\nfrom helper import NAME\n"
            "def upper(): return NAME.upper()\n"
        )
    return tmp_path


def test_modules_of_the_same_name_are_apart(folders):
    before = (list(sys.path), set(sys.modules))

    one, two = (isolation.load(folders / name) for name in ("one", "two"))

    assert (one.NAME, two.NAME) == ("one", "two")
    assert (one.CORE, two.upper()) == ("ONE", "TWO")
    assert (one.later(), two.later()) == ("one", "two")
    assert one.email.message.__name__ == "email.message"
    assert one.parts.__name__ == "example_one.parts"
    assert one.deep.core.near == "one"
    assert sys.path == before[0]
    new = {name.partition(".")[0] for name in set(sys.modules) - before[1]}
    assert new - {"email"} == {"example_one", "example_two"}


def test_each_load_is_a_new_one(folders):
    first = isolation.load(folders / "one")
    (folders / "one" / "helper.py").write_text("NAME = 'another one'\n")

    assert isolation.load(folders / "one").NAME == "another one"
    assert first.NAME == "one"


@pytest.mark.parametrize("before", [{}, {"GALLERY_TEST": "before"}])
def test_environment_is_put_back(folders, monkeypatch, before):
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    assert isolation.load(folders / "one", environment={"GALLERY_TEST": "here"}).SEEN == "here"
    assert os.environ.get("GALLERY_TEST") == before.get("GALLERY_TEST")


def test_missing_module_is_a_plain_error(folders):
    (folders / "one" / "app.py").write_text("import nowhere_to_be_found\n")

    with pytest.raises(ModuleNotFoundError, match="No module named 'nowhere_to_be_found'"):
        isolation.load(folders / "one")
    with pytest.raises(ModuleNotFoundError, match="example_one.nothing"):
        isolation.load(folders / "one", "nothing")


# --- lifespan


async def test_lifespan_of_any_app(measured):
    await check_lifespan(lifespan)
