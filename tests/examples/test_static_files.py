"""examples/static_files"""

import hashlib

from tests.examples.harness import EXAMPLES


def test_page_shows_how_its_files_are_kept(page):
    page.goto("/")
    page.wait_for_function(
        "document.querySelector('tr:last-child td:last-child').textContent !== '…'"
    )

    versioned, hour = ["public, max-age=31536000, immutable"] * 2, ["max-age=3600, public"] * 2
    unversioned = ["public, max-age=60", "max-age=315360000, public, immutable"]
    assert page.locator("td:last-child").all_inner_texts() == [*versioned, *unversioned, *hour]
    assert page.evaluate("document.querySelector('img').naturalWidth") > 0


def test_old_version_is_not_kept_for_ever(client):
    assert (
        client.get("/static/style.css?v=000000000000").headers["cache-control"]
        == "public, max-age=60"
    )


def test_name_of_the_picture_is_made_of_its_content():
    [picture] = (EXAMPLES / "static_files" / "public").glob("pie.*.svg")

    assert picture.name == f"pie.{hashlib.sha256(picture.read_bytes()).hexdigest()[:12]}.svg"


def test_static_file_and_icon_answer_conditions_and_ranges(client):
    for path in ("/static/style.css", "/favicon.svg"):
        first = client.get(path)
        since = {"if-modified-since": first.headers["last-modified"]}
        assert client.get(path, headers=since).status_code == 304
        part = client.get(path, headers={"range": "bytes=0-3", "accept-encoding": "identity"})
        assert (part.status_code, part.content) == (206, first.content[:4])


def test_folders_are_not_listed(client):
    assert client.get("/static/").status_code == client.get("/static").status_code == 404
