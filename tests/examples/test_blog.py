"""examples/blog: its own tests, and what only real servers and browsers show."""

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys

import asyncpg
import httpx
import pytest
import yaml
from PIL import Image
from playwright.sync_api import expect

from tests.examples import harness
from tests.examples.accounts import (
    ARTICLE,
    CHEAP,
    PASSWORD,
    SETTINGS,
    account,
    opens_socket,
    sign_in_to_the_blog,
)
from tests.examples.browsing import Browsing, file_named, fill_in
from tests.examples.browsing import use_session_of as as_ada
from tests.examples.copied import check_conditions, check_kept_secret, check_local
from tests.examples.loading import load
from tests.processes import environment, free_port, started, wait_until

LONG_ARTICLE = f"""\
{ARTICLE}
| Hour | What happens |
|------|--------------|
| 0    | Mix          |
| 8    | Shape        |

```python
def is_ready(dough: Dough) -> bool:
    return dough.volume > 2 * dough.initial_volume and not dough.has_collapsed
```

More about flour is [on another page](https://example.org/flour), or `grep -r flour .` in
the cupboard.

"""


@pytest.fixture
def ada(client):
    sign_in_to_the_blog(client)
    return client


@pytest.mark.usefixtures("measured")
def test_copied_files(tmp_path):
    check_conditions(load("blog", "conditions"))
    check_kept_secret(load("blog", "accounts").kept_secret, tmp_path)
    check_local(load("blog", "local"))


LIVE = """\
    async def ws_live(self, ws):
        if await self._user() is None:
            raise HTTPError(401)
        await ws.accept()


app = Blog("""


def test_new_password_reaches_a_websocket_that_asks_for_the_user(tmp_path, measure):
    folder = harness.copied("blog", tmp_path)
    text = (folder / "app.py").read_text()
    text = text.replace("\n\napp = Blog(", f"\n{LIVE}")
    (folder / "app.py").write_text(f"from micropie import HTTPError\n{text}")
    server = harness.running("python app.py", folder, {**measure, **SETTINGS["blog"]})
    with server as started, started.client() as thief, started.client() as ada:
        for one in (thief, ada):
            sign_in_to_the_blog(one)
            assert opens_socket(one)
        change = {"old_password": PASSWORD, "password": f"{PASSWORD} and plums"}
        assert ada.post("/account", data=change).status_code == 303
        assert [opens_socket(one) for one in (thief, ada)] == [False, True]


def run_its_tests(folder, variables, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    tried = subprocess.run(
        command, cwd=folder, env=environment(variables), capture_output=True, text=True, timeout=180
    )
    assert tried.returncode == 0, tried.stdout + tried.stderr


def test_its_own_tests_pass_on_sqlite(tmp_path, measure):
    """All but the slow ones with a tracer, of which one is enough; the next test runs all."""
    run_its_tests(harness.copied("blog", tmp_path), measure, "-k", "not made_in_time or body0")


@pytest.mark.real_time
async def test_its_own_tests_of_the_database_pass_with_postgresql_and_those_that_measure_a_time(
    tmp_path, services
):
    """With its own database, since the tests delete everything in it."""
    url = services.environment("blog")["POSTGRESQL_URL"]
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    await connection.execute("CREATE DATABASE blog_tests TEMPLATE template0")
    await connection.close()
    own_database = url.rpartition("/")[0] + "/blog_tests"
    folder = harness.copied("blog", tmp_path)
    of_the_database = (
        "not markdown and not texts_are and not password_is_asked and not need_a_connection"
    )
    files = ("tests/test_database.py", "tests/test_posts.py")
    run_its_tests(folder, {"BLOG_TEST_DATABASE_URL": own_database}, *files, "-k", of_the_database)


def test_login_holds_in_both_workers_of_the_container(tmp_path, measure):
    """Run its command and its check without Docker. The workers start with no database there."""
    folder = harness.copied("blog", tmp_path)
    text = (folder / "Dockerfile").read_text().replace("\\\n", "")
    check, start = (json.loads(found) for found in re.findall(r"CMD (\[.*\])$", text, re.M))
    line = shlex.join(start).replace("0.0.0.0", "127.0.0.1").replace("--port 8000", "")
    site = {"BLOG_URL": "https://blog.example.org"}
    through_proxy = {
        "x-forwarded-for": "203.0.113.9",
        "x-forwarded-proto": "https",
        "host": "blog.example.org",
        "origin": "https://blog.example.org",
    }
    with (
        harness.running(line, folder, {**measure, **SETTINGS["blog"], **site}) as server,
        server.client(headers=through_proxy) as client,
    ):
        checked = [part.replace("8000", str(server.port)) for part in check]
        assert subprocess.run([sys.executable, *checked[1:]], timeout=60).returncode == 0
        fields = {"name": "ada", "full_name": "Ada Lovelace", "password": PASSWORD}
        cookie = client.post("/sign_up", data=fields).headers["set-cookie"]
        assert "; Secure" in cookie
        sent = {**through_proxy, "cookie": cookie.partition(";")[0]}
        for _ in range(12):  # each over a connection of its own, which either of them takes
            assert httpx.get(f"{server.url}/account", headers=sent, timeout=60).status_code == 200


def test_first_account_is_made_by_the_link_that_each_worker_logs(tmp_path, measure, browser):
    """Without any configuration, of the blog's or of the log."""
    folder, log, port = harness.copied("blog", tmp_path), tmp_path / "log", free_port()
    line = [sys.executable, "-m", "uvicorn", "app:app", f"--port={port}", "--workers=2"]
    variables = environment({**measure, **CHEAP})

    def links():
        found = re.findall(r"There is no account yet\..* (/sign_up\S+)$", log.read_text(), re.M)
        return found if len(found) == 2 else []

    with (
        started(line, port, log, cwd=folder, env=variables),
        contextlib.closing(Browsing(browser, f"http://127.0.0.1:{port}")) as browsing,
    ):
        [link] = {*wait_until(links, what="the lines of both workers")}
        browsing.check_look(link)
        page = browsing.page()
        page.goto("/sign_up")
        wrong = {**account("ada", "Ada Lovelace"), "Code": "wrong"}
        browsing.expected = ["422"]
        fill_in(page, wrong, "Sign up", "The code is wrong.")
        page.goto(link)
        fill_in(page, account("ada", "Ada Lovelace"), "Sign up", "Welcome, Ada Lovelace.")
        assert httpx.get(f"{browsing.url}{link}", timeout=60).status_code == 403


def test_compose_file_has_the_settings_of_the_blog_and_keeps_secrets_out():
    folder = harness.EXAMPLES / "blog"
    services = yaml.safe_load((folder / "compose.yaml").read_text())["services"]
    names = {f"BLOG_{name.upper()}" for name in load("blog", "settings").Settings.__annotations__}
    used = set(services["blog"]["environment"])
    ignored = (folder / ".dockerignore").read_text().split()

    assert used - {"FORWARDED_ALLOW_IPS"} <= names
    assert [name for name, service in services.items() if "ports" in service] == ["proxy"]
    assert {".env*", ".venv/", "data/"} <= set(ignored)
    assert "POSTGRES_PASSWORD:?" in services["blog"]["environment"]["BLOG_DATABASE_URL"]


def test_editor_shows_preview_and_picture_and_publishes(page, browsing, ada):
    """A preview, a picture, and a warning about unsaved text; all under the pages' policy."""
    as_ada(page, ada)
    page.goto("/write")
    page.get_by_label("Title").fill("In the browser")
    text = page.get_by_label("Text", exact=True)
    text.fill("Some **bold** text.")
    page.set_input_files("#picture", file_named("my_pie.png", picture(), "image/png"))
    page.get_by_text("Say in the brackets").wait_for()
    assert re.search(r"\n\n!\[my pie\]\(/picture/[0-9a-f]{32}-64x48\.webp\)\n$", text.input_value())
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    assert preview.locator("strong").inner_text() == "bold"
    assert (
        preview.get_by_alt_text("my pie").evaluate(
            "image => image.decode().then(() => image.naturalWidth)"
        )
        == 64
    )
    browsing.check_accessible(page)
    page.get_by_role("button", name="Go on writing").click()

    browsing.expected = ["422"]
    page.set_input_files("#picture", file_named("text.png", b"text", "image/png"))
    page.get_by_text("The file is no picture that can be read").wait_for()
    fill_in(page, {}, "Publish", "Your post is published.")
    assert page.locator(".prose strong").inner_text() == "bold"


def test_editor_warns_before_it_is_left(page, ada):
    as_ada(page, ada)
    page.goto("/write")
    page.get_by_label("Title").press_sequentially("Not saved")
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.goto("/tags")
    assert asked == ["beforeunload"]


def test_dropped_and_pasted_pictures(page, browsing, ada):
    as_ada(page, ada)
    page.goto("/write")
    for event in ("drop", "paste"):
        page.evaluate(DELIVER, [event, list(picture())])
        expect(page.locator("#body")).to_have_value(re.compile(rf"!\[from {event}\]\(/picture/"))
    browsing.expected = ["401"]
    page.context.clear_cookies()
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("You are logged out.").wait_for()


DELIVER = """([kind, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], `from_${kind}.png`, {type: "image/png"}));
  const more = kind === "drop" ? {dataTransfer: files} : {clipboardData: files};
  const event = kind === "drop"
    ? new DragEvent(kind, {...more, cancelable: true}) : new ClipboardEvent(kind, more);
  document.querySelector("#body").dispatchEvent(event);
}"""


def test_account_picture_and_post_are_made_without_scripts(browser, server):
    with contextlib.closing(
        browser.new_context(java_script_enabled=False, base_url=server.url)
    ) as context:
        page = context.new_page()
        page.goto("/sign_up")
        fill_in(page, account("grace", "Grace Hopper"), "Sign up", "Welcome, Grace Hopper.")
        page.goto("/pictures")
        page.set_input_files("input[type=file]", file_named("a.png", picture(), "image/png"))
        page.get_by_role("button", name="Add the picture").click()
        line = page.get_by_label("Markdown of the picture").input_value()
        page.goto("/write")
        fill_in(
            page,
            {"Title": "By hand", "Text": line},
            "Publish",
            "Your post is published.",
            exact=True,
        )
        page.get_by_role("link", name="Edit this post").click()
        page.get_by_text("Delete this post").click()
        fill_in(page, {}, "Delete “By hand”", "“By hand” is deleted.")


def test_pages_for_readers_are_accessible_and_fit_a_phone(browsing, ada):
    article = {
        "title": "The patience of a sourdough",
        "body": LONG_ARTICLE,
        "tags": "bread, patience",
        "action": "publish",
    }
    address = ada.post("/write", data=article).headers["location"]
    browsing.expected = ["404"]
    browsing.check_look("/", address, "/sign_up", "/nowhere")


def test_pages_for_authors_are_accessible_and_fit_a_phone(browsing, ada):
    upload = {"picture": ("a.png", picture(), "image/png")}
    assert ada.post("/upload", files=upload).status_code == 303
    page = browsing.page()
    as_ada(page, ada)
    browsing.check_look("/write", "/my_posts", "/pictures", "/account", like=page)


def picture():
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).save(file, "PNG")
    return file.getvalue()
