"""examples/static_files"""

import contextlib
import os

import pytest

from tests.examples.harness import SERVE, copied, running

FILES = ("/static/style.css", "/static/favicon.svg")


def test_page_shows_how_its_files_are_kept(page):
    page.goto("/")
    page.wait_for_function(
        "document.querySelector('tr:last-child td:last-child').textContent !== '…'"
    )

    kept = page.locator("td:last-child").all_inner_texts()
    assert kept == ["public, max-age=31536000, immutable"] * 4
    assert page.evaluate("document.querySelector('img').naturalWidth") > 0


def test_old_version_is_not_kept_for_ever(client):
    assert (
        client.get("/static/style.css?v=000000000000").headers["cache-control"]
        == "public, max-age=60"
    )


def test_single_file(client):
    assert client.get("/robots.txt").text == "User-agent: *\nAllow: /\n"


def test_static_file_and_icon_answer_conditions_and_ranges(client):
    for path in FILES:
        first = client.get(path)
        since = {"if-modified-since": first.headers["last-modified"]}
        assert client.get(path, headers=since).status_code == 304
        part = client.get(path, headers={"range": "bytes=0-3", "accept-encoding": "identity"})
        assert (part.status_code, part.content) == (206, first.content[:4])


@pytest.mark.parametrize("path", FILES)
def test_conditions_and_ranges_by_rfc_9110(client, path):
    own = client.get(path)
    tag, date = own.headers["etag"], own.headers["last-modified"]
    part = {"range": "bytes=0-1", "accept-encoding": "identity"}
    for status, headers in (
        (304, {"if-none-match": f"W/{tag}"}),
        (304, {"if-none-match": f'"a,b", W/{tag}'}),
        (304, {"if-none-match": "*"}),
        (200, {"if-none-match": '"other"', "if-modified-since": date}),
        (200, {"if-modified-since": "Mon, 01 Jan 2099 00:00:00 +0100"}),
        (200, {"if-modified-since": "Mon, 01 Jan 2099 00:00:00 +99999999999999999999"}),
        (200, {"if-modified-since": "garbage"}),
        (206, {**part, "if-range": tag}),
        (206, {**part, "if-range": date}),
        (200, {**part, "if-range": f"W/{tag}"}),
        (200, {**part, "if-range": '"other"'}),
        (200, {**part, "range": "bytes=5-4"}),
        (200, {**part, "range": "lines=0-1"}),
        (206, {**part, "range": "bytes=-5"}),
        (416, {**part, "range": "bytes=99999-"}),
    ):
        answer = client.get(path, headers=headers)
        assert answer.status_code == status, headers
    head = client.head(path, headers=part)
    assert (head.status_code, "content-range" in head.headers) == (200, False)
    assert client.post(path).status_code == 405


@contextlib.contextmanager
def released(tmp_path, measure):
    """Serve a release through a symbolic link, as many deployments do."""
    folder = copied("static_files", tmp_path)
    link = tmp_path / "current"
    os.symlink(folder, link)
    with running(SERVE, link, measure) as server, server.client() as client:
        yield folder, client


def test_files_behind_a_link_and_after_a_change(tmp_path, measure):
    with released(tmp_path, measure) as (folder, client):
        before = client.get("/").text
        assert client.get("/").text == before
        for path in FILES:
            first = client.get(path)
            assert first.status_code == 200
            file = folder / path[1:]
            new = file.with_name("new")
            new.write_bytes(first.content + b"<!-- -->")
            new.replace(file)
            again = client.get(path, headers={"if-none-match": first.headers["etag"]})
            assert (again.status_code, again.content) == (200, first.content + b"<!-- -->")
        old, new = (
            page.partition("style.css?v=")[2][:12] for page in (before, client.get("/").text)
        )
        assert old != new
        for version, kept in ((old, "public, max-age=60"), (new, "public, max-age=31536000")):
            answer = client.get(f"/static/style.css?v={version}")
            assert answer.headers["cache-control"].startswith(kept)
        (folder / "static" / "new.txt").write_text("new")
        assert client.get("/static/new.txt").text == "new"
        (folder / "static" / "new.txt").unlink()
        assert client.get("/static/new.txt").status_code == 404


def test_folders_are_not_listed(client):
    assert client.get("/static/").status_code == client.get("/static").status_code == 404
