"""examples/blog: its own tests, and what only real servers and browsers show."""

import contextlib
import io
import re
import subprocess
import sys

import httpx
import pytest
from PIL import Image
from playwright.sync_api import expect

from tests.examples import harness
from tests.examples.accounts import PASSWORD, SETTINGS, csrf_token, post, sign_in_to_the_blog
from tests.examples.loading import run
from tests.processes import environment

ARTICLE = """\
There is a *right* way to let a sourdough rest, and there are the ways people find at two in the morning.

## What you need

1. 500 g of flour, the plain kind
2. 350 g of water -- "lukewarm" means that you feel nothing
3. Patience

> Bread is not difficult. Waiting is.

| Hour | What happens |
|------|--------------|
| 0    | Mix          |
| 8    | Shape        |

```python
def is_ready(dough: Dough) -> bool:
    return dough.volume > 2 * dough.initial_volume and dough.springs_back and not dough.has_collapsed
```

More about flour is [on another page](https://example.org/flour), or `grep -r flour .` in the cupboard.

"""


@pytest.fixture
def ada(client):
    sign_in_to_the_blog(client)
    return client


@pytest.fixture(scope="module")
def own_database(services):
    """A database of its own in PostgreSQL: the tests delete everything in it."""
    import asyncpg

    url = services.environment("blog")["POSTGRESQL_URL"]

    async def create():
        connection = await asyncpg.connect(url.replace("+asyncpg", ""))
        await connection.execute("CREATE DATABASE blog_tests TEMPLATE template0")
        await connection.close()

    run(create())
    return url.rpartition("/")[0] + "/blog_tests"


def run_its_tests(folder, variables, *arguments):
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env=environment(variables),
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_its_own_tests_pass_on_sqlite(tmp_path, measure):
    """All but those that take a time with a tracer, of which one is enough: the next test runs them all."""
    run_its_tests(harness.copied("blog", tmp_path), measure, "-k", "not made_in_time or body0")


def test_its_own_tests_of_the_database_pass_with_postgresql_and_those_that_measure_a_time(tmp_path, own_database):
    folder = harness.copied("blog", tmp_path)
    of_the_database = "not markdown and not texts_are and not password_is_asked and not need_a_connection"
    files = ("tests/test_database.py", "tests/test_posts.py")
    run_its_tests(folder, {"BLOG_TEST_DATABASE_URL": own_database}, *files, "-k", of_the_database)


def test_login_holds_in_two_workers_that_started_together(tmp_path, measure):
    """They start at once, with no database there, and know of the same sessions."""
    folder = harness.copied("blog", tmp_path)
    with (
        harness.running(f"{harness.SERVE} --workers 2", folder, {**measure, **SETTINGS["blog"]}) as server,
        httpx.Client(base_url=server.url, timeout=60) as client,
    ):
        sign_in_to_the_blog(client)
        cookies = dict(client.cookies)
        for _ in range(12):  # each over a connection of its own, which either of them takes
            assert httpx.get(f"{server.url}/account", cookies=cookies).status_code == 200


def test_editor_shows_preview_and_picture_and_publishes(page, browsing, ada):
    """A preview, a picture, and a warning about what is not saved; all under the policy of the pages."""
    as_ada(page, ada)
    page.goto("/write")
    page.get_by_label("Title").fill("In the browser")
    text = page.get_by_label("Text", exact=True)
    text.fill("Some **bold** text.")
    page.set_input_files("#picture", [{"name": "my_pie.png", "mimeType": "image/png", "buffer": picture()}])
    page.get_by_text("Say in the brackets").wait_for()
    assert re.search(r"\n\n!\[my pie\]\(/picture/[0-9a-f]{32}-64x48\.webp\)\n$", text.input_value())
    page.get_by_role("button", name="Preview").click()
    preview = page.get_by_role("region", name="Preview")
    assert preview.locator("strong").inner_text() == "bold"
    assert preview.get_by_alt_text("my pie").evaluate("image => image.decode().then(() => image.naturalWidth)") == 64
    browsing.check_accessible(page)
    page.get_by_role("button", name="Go on writing").click()

    browsing.expected = ["422"]
    page.set_input_files("#picture", [{"name": "text.png", "mimeType": "image/png", "buffer": b"text"}])
    page.get_by_text("That is no picture that can be read").wait_for()
    page.get_by_role("button", name="Publish").click()
    page.get_by_text("Your post is published.").wait_for()
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
    browsing.expected = ["403"]
    page.context.clear_cookies()
    page.get_by_role("button", name="Preview").click()
    page.get_by_text("This form has expired").wait_for()


DELIVER = """([kind, bytes]) => {
  const files = new DataTransfer();
  files.items.add(new File([new Uint8Array(bytes)], `from_${kind}.png`, {type: "image/png"}));
  const more = kind === "drop" ? {dataTransfer: files} : {clipboardData: files};
  const event = kind === "drop" ? new DragEvent(kind, {...more, cancelable: true}) : new ClipboardEvent(kind, more);
  document.querySelector("#body").dispatchEvent(event);
}"""


def test_account_picture_and_post_are_made_without_scripts(browser, server):
    with contextlib.closing(browser.new_context(java_script_enabled=False, base_url=server.url)) as context:
        page = context.new_page()
        page.goto("/sign_up")
        page.get_by_label("What stands under your posts").fill("Grace Hopper")
        page.get_by_label("Name to log in with").fill("grace")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign up").click()
        page.get_by_text("Welcome, Grace Hopper.").wait_for()
        page.goto("/pictures")
        page.set_input_files("input[type=file]", [{"name": "a.png", "mimeType": "image/png", "buffer": picture()}])
        page.get_by_role("button", name="Add the picture").click()
        line = page.get_by_label("Markdown of the picture").input_value()
        page.goto("/write")
        page.get_by_label("Title").fill("By hand")
        page.get_by_label("Text", exact=True).fill(line)
        page.get_by_role("button", name="Publish").click()
        page.get_by_text("Your post is published.").wait_for()
        page.get_by_role("link", name="Edit this post").click()
        page.get_by_text("Delete this post").click()
        page.get_by_role("button", name="Delete “By hand”").click()
        page.get_by_text("“By hand” is deleted.").wait_for()


def test_pages_for_readers_are_accessible_and_fit_a_phone(browsing, ada):
    address = post(
        ada, "write", title="The patience of a sourdough", body=ARTICLE, tags="bread, patience", action="publish"
    ).headers["location"]
    for path in ("/", address, "/sign_up", "/nowhere"):
        browsing.expected = ["404"]
        browsing.check_look(path)


def test_pages_for_authors_are_accessible_and_fit_a_phone(browsing, ada):
    upload = {"picture": ("a.png", picture(), "image/png")}
    assert (
        ada.post("/upload", data={"csrf_token": csrf_token(ada.get("/pictures").text)}, files=upload).status_code == 303
    )
    page = browsing.page((390, 844), dark=True)
    as_ada(page, ada)
    for path in ("/write", "/my_posts", "/pictures", "/account"):
        page.goto(path)
        browsing.check_accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path


def as_ada(page, client):
    value = client.cookies["session_id"]
    page.context.add_cookies([{"name": "session_id", "value": value, "url": str(client.base_url)}])


def picture():
    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 48)).save(file, "PNG")
    return file.getvalue()
