"""examples/headers_and_cookies"""


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


def test_unchanged_news_are_304_and_the_etag_is_used_before_the_date(client):
    etag, since = client.get("/news").headers["etag"], "Sun, 15 Mar 2026 00:00:00 GMT"
    unchanged = [{"if-none-match": tag} for tag in (etag, f"W/{etag}", f'"other", {etag}', "*")]
    changed = [{"if-modified-since": date} for date in ("Sat, 14 Mar 2026 15:09:26", "yesterday")]
    changed += [
        {"if-none-match": '"other"'},
        {"if-none-match": '"other"', "if-modified-since": since},
    ]
    for status, conditions in ((304, [*unchanged, {"if-modified-since": since}]), (200, changed)):
        for headers in conditions:
            again = client.get("/news", headers=headers)
            assert (again.status_code, again.headers["etag"]) == (status, etag), headers


def test_report_is_saved(page):
    page.goto("/")
    with page.expect_download() as download:
        page.get_by_text("A report to save").click()

    assert download.value.suggested_filename == "prices.csv"
