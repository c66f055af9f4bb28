"""The feed, the sitemap, error pages, headers, and how the whole is started."""

import asyncio
import re
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.exc import OperationalError

import feed
import text
import web
from app import Blog
from settings import Settings
from tests.helpers import Start, Visitor, add
from web import long_date

ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def assert_valid(feed: ET.Element) -> None:
    """Check what RFC 4287 asks for."""
    assert feed.tag == f"{ATOM}feed"
    entries = feed.findall(f"{ATOM}entry")
    for element in (feed, *entries):
        for name in ("id", "title", "updated"):
            [only] = element.findall(ATOM + name)
            assert only.text
        assert TIME.fullmatch(element.findtext(f"{ATOM}updated", ""))
        kinds = [
            (link.get("rel"), link.get("type"))
            for link in element.findall(f"{ATOM}link")
        ]
        assert kinds.count(("alternate", "text/html")) == 1
    for entry in entries:
        assert entry.findtext(f"{ATOM}author/{ATOM}name")
        assert TIME.fullmatch(entry.findtext(f"{ATOM}published", ""))
        assert all(
            category.get("term") for category in entry.findall(f"{ATOM}category")
        )
        assert entry.find(f"{ATOM}content").get("type") == "html"  # type: ignore[union-attr]
    assert len({entry.findtext(f"{ATOM}id") for entry in entries}) == len(entries)
    for address in addresses(feed):
        assert address.startswith("http"), address


def addresses(feed: ET.Element) -> Iterator[str]:
    """Yield all addresses in a feed, those in its texts too."""
    for element in feed.iter():
        if element.tag in {f"{ATOM}link", f"{ATOM}uri", f"{ATOM}icon"}:
            yield element.get("href") or element.text or ""
        elif element.tag == f"{ATOM}content":
            yield from re.findall(r'(?:href|src)="([^"]*)"', element.text or "")


async def test_feed_is_valid(ada: Visitor, visitor: Visitor) -> None:
    """It holds any characters, and ids stay when a post changes."""
    assert_valid(ET.fromstring(await visitor.text("/feed.xml")))
    await ada.write(
        "Bits & <pieces>",
        f"See [this](/post/x).\n\n![p](/picture/{'0' * 32}-1x1.webp)",
        tags="a, b",
    )
    await ada.write("Odd signs \x0c\ufffe🥧", "]]> &amp; <b>")
    response = await visitor.get("/feed.xml")
    feed = ET.fromstring(response.text)

    assert response.headers["content-type"] == "application/atom+xml; charset=utf-8"
    assert "vary" not in response.headers
    assert_valid(feed)
    newest, first = feed.findall(f"{ATOM}entry")
    assert (newest.findtext(f"{ATOM}title"), first.findtext(f"{ATOM}title")) == (
        "Odd signs 🥧",
        "Bits & <pieces>",
    )
    assert first.findtext(f"{ATOM}content", "").startswith(
        '<p>See <a href="http://localhost/post/x">this</a>.</p>'
    )
    identity = first.findtext(f"{ATOM}id", "")
    assert identity == UUID(identity).urn
    edit = re.search(r'href="(/edit/\d+)"', await ada.text("/post/bits-pieces"))
    assert edit is not None
    sent = {"title": "Changed", "body": "x", "action": "publish", "version": "1"}
    assert (await ada.post(edit[1], **sent)).status_code == 303
    assert identity in await visitor.text("/feed.xml")


async def test_feed_lets_others_pass(
    ada: Visitor, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread renders long posts, once for all names that requests give the host."""
    await ada.write("Long", "Some *text*.")
    threads = []

    def render(*given: str) -> str:
        threads.append(threading.current_thread())
        return ""

    monkeypatch.setattr(feed, "html_of", render)
    await visitor.text("/feed.xml")
    assert threads and threading.main_thread() not in threads
    monkeypatch.undo()

    rendered = text._rendered.cache_info().misses
    for host in ("localhost", "127.0.0.1:8000"):
        sent = await visitor.get("/feed.xml", headers={"host": host})
        assert f"http://{host}/post/long" in sent.text
    assert text._rendered.cache_info().misses == rendered + 1


async def test_feed_is_not_sent_twice(ada: Visitor, visitor: Visitor) -> None:
    """A reader that has it gets 304."""
    etag = (await visitor.get("/feed.xml")).headers["etag"]
    for known in (etag, f'W/{etag}, "other"', f'"a,b", {etag}', "*"):
        response = await visitor.get("/feed.xml", headers={"if-none-match": known})
        assert (response.status_code, response.content) == (304, b"")
    await ada.write("News")
    assert (
        await visitor.get("/feed.xml", headers={"if-none-match": etag})
    ).status_code == 200


async def test_addresses_below_a_path(start: Start) -> None:
    """They have it, in pages and in feeds; BLOG_URL says what a proxy hides."""
    async with start() as blog:
        await add(blog, "ada")
        below = Visitor(blog, below="/my-blog")
        await below.log_in()
        assert (await below.write("Below", "[x](/post/y)")) == "/my-blog/post/below"
        page = await below.text("/post/below")
        assert 'href="/my-blog/post/y"' in page
        assert 'rel="canonical" href="http://localhost/my-blog/post/below"' in page
        feed = ET.fromstring(await below.text("/feed.xml"))
        assert all(
            address.startswith("http://localhost/my-blog/")
            for address in addresses(feed)
        )
        assert "Disallow: /my-blog/login" in await below.text("/robots.txt")
        for host in ("evil.example", "evil.example/x", "a b", "<x>", ""):
            for path in ("/feed.xml", "/sitemap.xml", "/robots.txt"):
                response = await below.get(path, headers={"host": host})
                assert response.status_code == 400
            post = await below.get("/post/below", headers={"host": host})
            assert 'rel="canonical" href="/my-blog/post/below"' in post.text
            assert host == "" or host not in post.text
    async with start(url="https://example.org/blog/") as blog:
        text = await Visitor(blog, below="/b").text("/feed.xml")
        assert (
            "<id>https://example.org/blog/feed.xml</id>" in text
            and "localhost" not in text
        )


async def test_sitemap(ada: Visitor, visitor: Visitor) -> None:
    """It lists the first page and all posts."""
    await ada.write("Here")
    await ada.write("Not here", action="draft")
    sitemap = ET.fromstring(await visitor.text("/sitemap.xml"))

    assert [loc.text for loc in sitemap.iter(f"{SITEMAP}loc")] == [
        "http://localhost/",
        "http://localhost/post/here",
    ]
    assert "Sitemap: http://localhost/sitemap.xml" in await visitor.text("/robots.txt")


async def test_error_pages(
    visitor: Visitor, blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Browsers get a page, and programs a line; neither has a detail of the fault."""
    html = {"accept": "text/html,*/*"}
    missing = await visitor.get("/nowhere", headers=html)
    assert (missing.status_code, missing.headers["content-type"]) == (
        404,
        "text/html; charset=utf-8",
    )
    assert "There is no such page." in missing.text and "style.css" in missing.text
    assert (await visitor.get("/nowhere")).text == "404 Not Found"
    assert (await visitor.get("/logout", headers=html)).headers[
        "allow"
    ] == "POST, OPTIONS"
    assert "needs" not in (await visitor.get("/%ff", headers=html)).text
    closed = await visitor.get("/edit/x", headers=html)
    assert closed.status_code == 404

    async def broken() -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(blog, "_user", broken)
    failed = await visitor.get("/", headers=html)
    assert (
        failed.status_code,
        "it has been noted" in failed.text,
        "secret" in failed.text,
    ) == (500, True, False)


async def test_headers(visitor: Visitor) -> None:
    """Every answer has them, and no page has a script or style that they forbid."""
    for path in ("/", "/login", "/nowhere", "/static/style.css"):
        response = await visitor.get(path)
        assert (
            "script-src 'self'; style-src 'self'"
            in response.headers["content-security-policy"]
        )
        assert response.headers["x-content-type-options"] == "nosniff"
        assert not re.search(
            r"<style|<script(?! type=\"module\" src=)|\son\w+=|style=", response.text
        )
    assert "strict-transport-security" not in response.headers
    secure = await visitor.get("https://localhost/")
    assert "max-age" in secure.headers["strict-transport-security"]


async def test_head(ada: Visitor, visitor: Visitor) -> None:
    """HEAD has the headers of the page."""
    for path in (
        "/",
        "/login",
        "/write",
        "/account",
        "/my_posts",
        "/pictures",
        "/feed.xml",
        "/static/style.css",
    ):
        for client in (ada, visitor):
            page, head = await client.get(path), await client.client.head(path)
            assert (head.status_code, head.content) == (page.status_code, b""), path
            assert head.headers.get("location") == page.headers.get("location")


async def test_static_files(visitor: Visitor) -> None:
    """They are kept for ever by the address that pages have for them."""
    page = await visitor.text("/")
    [style] = re.findall(r'href="(/static/style\.css[^"]*)"', page)
    for path, caching in (
        (style, web.CACHE_FOREVER),
        ("/static/editor.js?v=old", "public, max-age=60"),
    ):
        assert (await visitor.get(path)).headers["cache-control"] == caching
    assert (await visitor.get("/static/app.py")).status_code == 404


async def test_health(
    visitor: Visitor, blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It asks the database."""
    assert (await visitor.get("/health")).json() == {"status": "ok"}
    monkeypatch.setattr(blog._database, "session", None)
    assert (await visitor.get("/health")).status_code == 500


async def test_clean_up_goes_on(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    """As long as the app runs, also when the database has been away, and not longer."""
    monkeypatch.setattr(web, "CLEAN_UP_EVERY", 0.01)
    failing = [
        OperationalError("DELETE", {}, Exception("is away")),
        ConnectionRefusedError("as asyncpg says it"),
    ]
    cleaned = asyncio.Event()
    async with start() as blog:
        delete = blog._throttle.delete_old

        async def delete_old() -> None:
            if failing:
                raise failing.pop()
            await delete()
            cleaned.set()

        monkeypatch.setattr(blog._throttle, "delete_old", delete_old)
        await asyncio.wait_for(cleaned.wait(), 60)
        task: Any = blog._cleaner
        assert not task.done()
    assert task.done() and not task.cancelled()
    assert "no rows were cleaned up" in caplog.text


async def test_database_is_made_at_the_start(
    settings: Settings, start: Start, tmp_path: Path
) -> None:
    """The first start creates it."""
    fresh = replace(
        settings, database_url="", data=tmp_path / "new" / "folder", migrate=True
    )
    async with start(
        **{name: getattr(fresh, name) for name in ("database_url", "data", "migrate")}
    ) as blog:
        assert (await Visitor(blog).get("/health")).status_code == 200
    assert (tmp_path / "new" / "folder" / "blog.sqlite3").exists()


def test_settings_from_the_environment() -> None:
    """Each has a variable, and is what its default is."""
    given = {
        "BLOG_TITLE": "Pies",
        "BLOG_MIGRATE": "0",
        "BLOG_LOGIN_TRIES": "3",
        "BLOG_DATA": "/tmp",
        "OTHER": "x",
    }
    settings = Settings.from_environment(given)

    assert (settings.title, settings.migrate, settings.login_tries, settings.data) == (
        "Pies",
        False,
        3,
        Path("/tmp"),
    )
    assert settings.database == "sqlite+aiosqlite:////tmp/blog.sqlite3"
    for name, value in (
        ("MIGRATE", "maybe"),
        ("LOGIN_TRIES", "many"),
        ("SIGN_UP", "sometimes"),
    ):
        with pytest.raises(ValueError, match=f"BLOG_{name}"):
            Settings.from_environment({f"BLOG_{name}": value})


def test_dates() -> None:
    """The filter of the templates."""
    assert long_date(datetime(2026, 3, 5, tzinfo=UTC)) == "5 March 2026"
