"""examples/headers_and_cookies"""

import pytest


def test_theme_is_remembered_and_forgotten(page):
    page.goto("/")
    colors = []
    for name in ("Dark", "Light", "System"):
        page.get_by_role("button", name=name).click()
        assert page.get_by_role("button", name=name).get_attribute("aria-pressed") == "true"
        colors.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert colors == ["rgb(21, 24, 29)", "rgb(253, 253, 251)", "rgb(253, 253, 251)"]
    assert "theme" not in [cookie["name"] for cookie in page.context.cookies()]


def test_only_known_themes_are_taken(client, csrf_token):
    token = csrf_token(client.get("/").text)

    assert client.post("/theme", data={"csrf_token": token, "name": "pink"}).status_code == 400
    client.cookies.set("theme", "pink")
    assert 'data-theme="system"' in client.get("/").text


def test_themed_page_is_not_cached_by_proxies(client):
    headers = client.get("/").headers

    assert headers["cache-control"] == "private, no-cache"
    assert "cookie" in headers["vary"].lower()


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("if-none-match", "{etag}", 304),
        ("if-none-match", "W/{etag}", 304),
        ("if-none-match", '"other", {etag}', 304),
        ("if-none-match", "*", 304),
        ("if-none-match", '"other"', 200),
        ("if-modified-since", "Sun, 15 Mar 2026 00:00:00 GMT", 304),
        ("if-modified-since", "Sat, 14 Mar 2026 15:09:26", 200),
        ("if-modified-since", "yesterday", 200),
    ],
)
def test_unchanged_news_are_304(client, name, value, status):
    first = client.get("/news")

    again = client.get("/news", headers={name: value.format(etag=first.headers["etag"])})

    assert again.status_code == status
    assert again.headers["etag"] == first.headers["etag"]


def test_etag_is_used_before_the_date(client):
    headers = {"if-none-match": '"other"', "if-modified-since": "Sun, 15 Mar 2026 00:00:00 GMT"}

    assert client.get("/news", headers=headers).status_code == 200


def test_report_is_saved(page):
    page.goto("/")
    with page.expect_download() as download:
        page.get_by_text("A report to save").click()

    assert download.value.suggested_filename == "prices.csv"
