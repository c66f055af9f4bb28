"""The Atom feed (RFC 4287), the sitemap, and robots.txt."""

import asyncio
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from micropie import HTTPError, methods
from sqlalchemy import select

from conditions import precondition
from local import is_own_host
from models import Post
from posts import published
from text import excerpt_of, html_of
from web import Site

ENTRIES = 20
URLS = 50_000  # that many a sitemap may hold
ATOM = "http://www.w3.org/2005/Atom"
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def xml_bytes(root: ET.Element) -> bytes:
    """Return an XML file."""
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True)


def add_element(
    parent: ET.Element, name: str, text: str | None = None, **attributes: str
) -> ET.Element:
    """Add an element; ElementTree escapes what is in it."""
    element = ET.SubElement(parent, name, attributes)
    element.text = text
    return element


def rfc3339(utc_datetime: datetime) -> str:
    """Return a time such as ``2026-03-05T12:00:00Z``."""
    return utc_datetime.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Feeds(Site):
    """Files for programs; they read no session, so caches may keep them."""

    @methods("GET")
    async def feed_xml(self) -> Any:
        """Send the newest posts whole."""
        self._require_own_address()
        async with self._database.session() as db:
            posts = list(await db.scalars(published().limit(ENTRIES)))
        return await asyncio.to_thread(self._feed, posts)  # long posts take seconds

    def _feed(self, posts: list[Post]) -> Any:
        feed = ET.Element("feed", {"xmlns": ATOM, "xml:lang": "en"})
        address = self._absolute("feed.xml")
        add_element(feed, "id", address)
        add_element(feed, "title", self._settings.title)
        add_element(feed, "subtitle", self._settings.description)
        add_element(
            feed,
            "updated",
            rfc3339(max((post.updated for post in posts), default=EPOCH)),
        )
        add_element(feed, "link", rel="self", type="application/atom+xml", href=address)
        add_element(
            feed, "link", rel="alternate", type="text/html", href=self._absolute("")
        )
        add_element(feed, "icon", self._absolute("static", "icon.svg"))
        add_element(feed, "generator", "MicroPie")
        for post in posts:
            self._add_entry(feed, post)
        return self._send(xml_bytes(feed), "application/atom+xml; charset=utf-8")

    @methods("GET")
    async def sitemap_xml(self) -> Any:
        """List the addresses of all posts."""
        self._require_own_address()
        query = (
            select(Post.slug, Post.updated)
            .where(Post.draft.is_(False))
            .order_by(Post.id.desc())
            .limit(URLS - 1)
        )
        async with self._database.session() as db:
            posts = (await db.execute(query)).all()
        return await asyncio.to_thread(self._sitemap, posts)

    def _sitemap(self, posts: Sequence[Any]) -> Any:
        sitemap = ET.Element("urlset", {"xmlns": SITEMAP})
        add_element(add_element(sitemap, "url"), "loc", self._absolute(""))
        for slug, updated in posts:
            url = add_element(sitemap, "url")
            add_element(url, "loc", self._absolute("post", slug))
            add_element(url, "lastmod", rfc3339(updated))
        return self._send(xml_bytes(sitemap), "application/xml; charset=utf-8")

    @methods("GET")
    async def robots_txt(self) -> tuple[int, str, dict[str, str]]:
        """Keep robots out of forms, and lead them to the sitemap.

        They look for this file at the root of a host.
        """
        self._require_own_address()
        lines = [
            f"Disallow: {self._url(name)}" for name in ("login", "sign_up", "write")
        ]
        text = "\n".join(
            [
                "User-agent: *",
                *lines,
                "",
                f"Sitemap: {self._absolute('sitemap.xml')}",
                "",
            ]
        )
        return 200, text, {"content-type": "text/plain; charset=utf-8"}

    def _require_own_address(self) -> None:
        """Refuse a whole address that would be made of any client's ``Host``.

        Raises:
            HTTPError: 400 the blog does not know its own name.
        """
        if not self._settings.url and not is_own_host(self.request):
            raise HTTPError(400, "This blog does not know its own name: set BLOG_URL.")

    def _add_entry(self, feed: ET.Element, post: Post) -> None:
        entry = add_element(feed, "entry")
        add_element(entry, "id", post.uid.urn)  # stays when the blog moves
        add_element(entry, "title", post.title)
        add_element(
            entry,
            "link",
            rel="alternate",
            type="text/html",
            href=self._absolute("post", post.slug),
        )
        add_element(entry, "published", rfc3339(post.published or post.created))
        add_element(entry, "updated", rfc3339(post.updated))
        author = add_element(entry, "author")
        add_element(author, "name", post.author.full_name)
        add_element(author, "uri", self._absolute("by", post.author.name))
        for tag in post.tags:
            add_element(entry, "category", term=tag)
        add_element(entry, "summary", excerpt_of(post.body))
        add_element(entry, "content", html_of(post.body, self._base()), type="html")

    def _send(self, body: bytes, content_type: str) -> Any:
        """Send a feed of any format; a reader that has it already gets 304."""
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"etag": etag, "cache-control": "public, max-age=300"}
        status = precondition(self.request, etag)
        if status is not None:
            return status, None, headers
        return 200, body, headers | {"content-type": content_type}
