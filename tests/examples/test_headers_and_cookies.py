"""examples/headers_and_cookies"""

import json
import subprocess
import sys

import httpx
import pytest
from playwright.sync_api import expect

from tests.examples import harness
from tests.examples.copied import check_conditions
from tests.examples.loading import load
from tests.processes import environment, wait_until

pytestmark = pytest.mark.usefixtures("measured")


def test_theme_is_remembered_and_forgotten(page):
    page.goto("/")
    colors = []
    for name in ("Dark", "Light", "System"):
        page.get_by_role("button", name=name).click()
        expect(page.get_by_role("button", name=name)).to_have_attribute("aria-pressed", "true")
        colors.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert colors == ["rgb(21, 24, 29)", "rgb(253, 253, 251)", "rgb(253, 253, 251)"]
    assert "theme" not in [cookie["name"] for cookie in page.context.cookies()]


def test_only_known_themes_are_taken(client):
    assert client.post("/theme", data={"name": "pink"}).status_code == 400
    client.cookies.set("theme", "pink")
    assert 'data-theme="system"' in client.get("/").text


def test_themed_page_is_not_cached_by_proxies(client):
    headers = client.get("/").headers

    assert headers["cache-control"] == "private, no-cache"
    assert "cookie" in headers["vary"].lower()


def test_unchanged_news_are_304_and_the_etag_is_used_before_the_date(client):
    etag, since = client.get("/news").headers["etag"], "Sun, 15 Mar 2026 00:00:00 GMT"
    unchanged = [{"if-none-match": tag} for tag in (etag, f"W/{etag}", f'"other", {etag}', "*")]
    changed = [{"if-modified-since": date} for date in ("Sat, 14 Mar 2026 15:09:26", "yesterday")]
    changed += [
        {"if-none-match": '"other"'},
        {"if-none-match": '"other"', "if-modified-since": since},
    ]
    unchanged += [{"if-none-match": f'"a,b", W/{etag}'}]
    unchanged += [
        {"if-modified-since": date}
        for date in (
            "Sat, 14 Mar 2026 15:09:26 GMT",  # its own
            "Saturday, 14-Mar-26 15:09:26 GMT",  # two forms that servers must understand
            "Sat Mar 14 15:09:26 2026",
            "Sun Nov  1 00:00:00 2026",
        )
    ]
    changed += [
        {"if-modified-since": date}
        for date in (
            "",
            "Sat, 14 Mar 2026 15:09:25 GMT",
            "Mon, 01 Jan 2099 00:00:00 +0000",
            "Mon, 01 Jan 2099 00:00:00 -0000",
            "Mon, 01 Jan 2099 00:00:00 +99999999999999999999",
            "Mon, 01 Jan 2099 00:00:00 -99999999999999999999",
            "Mon, 01 Jan 2099 00:00:00 EST",
            "Mon, 99 Jan 2099 00:00:00 GMT",
            "Mon, 01 Jan 0000 00:00:00 GMT",
            "Mon, 01 Jan 2099 25:00:00 GMT",
            "2099-01-01",
            "x" * 5000,
        )
    ]
    changed += [{"if-match": etag}, {"if-match": "*"}, {"if-unmodified-since": since}]
    failed = [{"if-match": '"other"'}, {"if-match": f"W/{etag}"}]
    failed += [{"if-unmodified-since": "Sat, 14 Mar 2026 15:09:25 GMT"}]
    for headers in failed:
        assert client.get("/news", headers=headers).status_code == 412, headers
    for status, conditions in ((304, [*unchanged, {"if-modified-since": since}]), (200, changed)):
        for headers in conditions:
            again = client.get("/news", headers=headers)
            assert (again.status_code, again.headers["etag"]) == (status, etag), headers


def test_conditions():
    check_conditions(load("headers_and_cookies", "conditions"))


@pytest.mark.parametrize("more", [{"client": None}, {}, {"client": ("", 0)}])
async def test_client_without_an_address(more):
    app = load("headers_and_cookies").app
    scope = {"type": "http", "method": "GET", "path": "/client", "headers": [], **more}
    sent = []

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    await app({"asgi": {"version": "3.0"}, "query_string": b"", **scope}, receive, send)
    assert sent[0]["status"] == 200
    assert json.loads(sent[1]["body"])["address"] in {None, ""}


def test_server_behind_a_unix_socket(tmp_path, measure):
    folder = harness.copied("headers_and_cookies", tmp_path)
    program = [sys.executable, "-m", "uvicorn", "app:app", "--uds", "socket"]
    variables = environment(measure)
    with subprocess.Popen(program, cwd=folder, env=variables, stderr=subprocess.DEVNULL) as server:
        try:
            wait_until((folder / "socket").exists, what="the socket")
            transport = httpx.HTTPTransport(uds=str(folder / "socket"), retries=5)
            # The file is there a moment before the server listens.
            with httpx.Client(transport=transport, timeout=60) as client:
                answer = client.get("http://localhost/client")
        finally:
            server.terminate()
    assert (answer.status_code, answer.json()["address"]) == (200, None)


def test_report_is_saved(page):
    page.goto("/")
    with page.expect_download() as download:
        page.get_by_text("A report to save").click()

    assert download.value.suggested_filename == "prices.csv"
