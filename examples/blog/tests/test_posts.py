"""Writing and reading."""

import asyncio
import itertools
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import select

from app import Blog
from models import Post, PostTag
from tests.helpers import Visitor
from text import (
    clean,
    excerpt_of,
    first_picture_of,
    html_of,
    is_slow,
    minutes_to_read,
    slug_of,
    tags_of,
)

PICTURE = f"/picture/{'0' * 32}-800x600.webp"


async def edit_address(author: Visitor, address: str) -> str:
    """Return where a post is edited."""
    match = re.search(r'href="(/edit/\d+)"', await author.text(address))
    assert match
    return match[1]


async def version(author: Visitor, address: str) -> str:
    """Return the version that an editor was opened with."""
    match = re.search(r'name="version" value="(\d+)"', await author.text(address))
    assert match
    return match[1]


async def save(author: Visitor, address: str, **fields: str) -> Any:
    """Open a post in the editor, and save it."""
    sent = {
        "version": await version(author, address),
        "body": "Other text.",
        "action": "publish",
        **fields,
    }
    return await author.post(address, **sent)


async def test_post_is_written_and_read(ada: Visitor, visitor: Visitor) -> None:
    """By everybody."""
    assert "Write the first post." in await ada.text("/")
    address = await ada.write(
        "Apple pie", "First *flour*, then apples.", tags="Baking, Autumn things, baking"
    )

    assert address == "/post/apple-pie"
    assert "Your post is published." in await ada.text(address)
    page = await visitor.text(address)
    assert "<h1>Apple pie</h1>" in page
    assert "First <em>flour</em>, then apples." in page
    assert (
        "Ada Lovelace" in page
        and ">autumn-things</a>" in page
        and page.count(">baking</a>") == 1
    )
    assert '<link rel="canonical" href="http://localhost/post/apple-pie">' in page
    assert "Edit this post" not in page
    for place in ("/", "/tag/baking", "/by/ada", "/?q=FLOUR+apple"):
        assert 'href="/post/apple-pie">Apple pie</a>' in await visitor.text(place)
    assert (
        'href="/tag/baking">baking</a> <span class="soft">1</span>'
        in await visitor.text("/tags")
    )


async def test_draft_is_for_its_author(
    ada: Visitor, grace: Visitor, visitor: Visitor
) -> None:
    """Nobody else sees it, in no list."""
    address = await ada.write("Secret", "Hidden.", action="draft", tags="hidden")

    page = await ada.text(address)
    assert (
        "Only you can see it" in page and "noindex" in page and "canonical" not in page
    )
    assert "Draft" in await ada.text("/my_posts")
    for other in (grace, visitor):
        for place in (address, "/tag/hidden"):
            assert (await other.get(place)).status_code == 404
        for place in (
            "/",
            "/by/ada",
            "/tags",
            "/?q=hidden",
            "/feed.xml",
            "/sitemap.xml",
        ):
            assert "ecret" not in await other.text(place)
            assert "/hidden" not in await other.text(place)


async def test_only_the_author_changes_a_post(
    ada: Visitor, grace: Visitor, visitor: Visitor
) -> None:
    """Others do not even learn that there is one to edit."""
    edit = await edit_address(ada, await ada.write("Mine"))
    delete = edit.replace("edit", "delete")

    for wrong in (edit, f"/edit/-{9**30}"):
        assert (await grace.get(wrong)).status_code == 404
    for action in (edit, delete):
        assert (
            await grace.post(action, title="Yours", body="x", version="1")
        ).status_code == 404
        assert (await visitor.post(action, title="Yours")).status_code == 401
    assert "Mine" in await visitor.text("/post/mine")
    for missing in ("/edit/999999", "/edit/99999999999999999999", "/edit/x"):
        assert (await ada.get(missing)).status_code == 404


async def test_edit_publish_withdraw(
    ada: Visitor, visitor: Visitor, blog: Blog
) -> None:
    """The address follows the title until it is public, and stays from then on."""
    address = await ada.write("Working title", action="draft")
    edit = await edit_address(ada, address)
    assert (await save(ada, edit, title="Real title")).headers[
        "location"
    ] == "/post/real-title"
    assert (await visitor.get(address)).status_code == 404

    assert (await save(ada, edit, title="Better title", tags="one, two")).headers[
        "location"
    ] == "/post/real-title"
    page = await visitor.text("/post/real-title")
    assert "Better title" in page and "Other text." in page and "/tag/two" in page
    async with blog._database.session.begin() as db:
        post = await db.scalar(select(Post))
        assert (
            post is not None
            and post.published is not None
            and post.published.tzinfo is not None
        )
        first = post.published = post.published - timedelta(days=40)
    assert "Last changed on" in await visitor.text("/post/real-title")

    await save(ada, edit, title="Better title", tags="two", action="draft")
    assert (await visitor.get("/post/real-title")).status_code == 404
    await save(ada, edit, title="Better title", tags="two, three")
    async with blog._database.session() as db:
        post = await db.scalar(select(Post))
        assert (
            post is not None
            and post.published == first
            and post.tags == ["three", "two"]
        )


async def test_post_is_deleted(ada: Visitor, visitor: Visitor, blog: Blog) -> None:
    """With its tags."""
    edit = await edit_address(ada, await ada.write("Gone", tags="going"))
    response = await ada.post(edit.replace("edit", "delete"))

    assert response.headers["location"] == "/my_posts"
    assert "is deleted" in await ada.text("/my_posts")
    assert (await visitor.get("/post/gone")).status_code == 404
    async with blog._database.session() as db:
        assert list(await db.scalars(select(PostTag))) == []


async def test_change_from_elsewhere_is_not_overwritten(ada: Visitor) -> None:
    """Not without being told."""
    edit = await edit_address(ada, await ada.write("Shared"))
    opened = await version(ada, edit)
    assert (
        await save(ada, edit, title="Shared", body="From the phone.")
    ).status_code == 303
    response = await ada.post(
        edit, title="Shared", body="From the desk.", action="publish", version=opened
    )

    assert response.status_code == 409
    assert "changed elsewhere" in response.text and "From the desk." in response.text
    again = re.search(r'name="version" value="(\d+)"', response.text)
    assert again is not None and int(again[1]) == int(opened) + 1
    saved = await ada.post(
        edit, title="Shared", body="From the desk.", action="publish", version=again[1]
    )
    assert saved.status_code == 303
    assert "From the desk." in await ada.text("/post/shared")


async def test_of_two_at_the_same_moment_one_is_told(ada: Visitor) -> None:
    """Not only of two in turn; and a post that is gone meanwhile is not found."""
    edit = await edit_address(ada, await ada.write("Shared"))
    opened = await version(ada, edit)
    sent = {
        "title": "Shared",
        "action": "publish",
        "version": opened,
    }
    answers = await asyncio.gather(
        *(ada.client.post(edit, data={**sent, "body": f"No. {at}"}) for at in range(4))
    )

    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409]
    delete = edit.replace("edit", "delete")
    sent["version"] = await version(ada, edit)
    both = await asyncio.gather(
        ada.client.post(delete, data=sent),
        ada.client.post(edit, data={**sent, "body": "x"}),
    )
    assert both[0].status_code == 303 and both[1].status_code in {303, 404}


WRONG = (
    ({"title": " \x00\n"}, "needs a title"),
    ({"title": "x" * 201}, "at most 200"),
    ({"body": "x" * 100_001}, "at most 100,000"),
    ({"tags": "a,b,c,d,e,f,g,h,i"}, "at most 8 tags"),
    ({"body": "", "action": "publish"}, "nothing to publish"),
)


async def test_what_is_wrong_is_told(ada: Visitor) -> None:
    """And what was written is still there."""
    edit = await edit_address(ada, await ada.write("Before"))
    for (fields, problem), address in itertools.product(WRONG, ("/write", edit)):
        response = await ada.post(
            address,
            **{"title": "Kept title", "body": "Kept text", "version": "x", **fields},
        )
        assert response.status_code == 422
        assert problem in response.text
        assert "Kept t" in response.text


async def test_slugs_are_unique(ada: Visitor, grace: Visitor) -> None:
    """Two posts of one title have two addresses."""
    addresses = [await author.write("Über uns!") for author in (ada, grace, ada)]

    assert addresses == ["/post/uber-uns", "/post/uber-uns-2", "/post/uber-uns-3"]


async def test_slug_that_somebody_takes_meanwhile(
    ada: Visitor, blog: Blog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one is looked for."""
    await ada.write("Taken")
    find, tries = blog._free_slug, []

    async def late(*arguments: Any) -> str:
        tries.append(1)
        return "taken" if len(tries) < limit else await find(*arguments)

    monkeypatch.setattr(blog, "_free_slug", late)
    limit = 3
    assert await ada.write("Taken") == "/post/taken-2"
    limit = 99
    assert (await ada.post("/write", title="Taken", body="x")).status_code == 503


async def test_pages(ada: Visitor, visitor: Visitor) -> None:
    """Three posts on each, the newest first; a page that is not there is none."""
    for number in range(7):
        await ada.write(f"Post number {number}", "Text & more", tags="all")
    shown = []
    for page in (1, 2, 3):
        text = await visitor.text(f"/tag/all?page={page}")
        shown.append(re.findall(r">Post number (\d)<", text))
    assert shown == [["6", "5", "4"], ["3", "2", "1"], ["0"]]
    assert 'href="?q=number%20%26%20x&amp;page=2"' in await visitor.text(
        "/?q=number+%26+x"
    )
    assert 'href="?q=text%20%26&amp;page=3"' in await visitor.text(
        "/?q=text+%26&page=2"
    )
    assert re.findall(r'rel="(prev|next)"', await visitor.text("/?page=2")) == [
        "prev",
        "next",
    ]
    assert re.findall(r">Post number (\d)<", await ada.text("/my_posts?page=3")) != []
    missing_pages = [f"/?page={number}" for number in (4, 0, -1, 99_999_999_999)]
    for missing in (*missing_pages, "/tag/none", "/tag/all?page=4", "/by/none"):
        assert (await visitor.get(missing)).status_code == 404


async def test_neighbors(ada: Visitor, visitor: Visitor, blog: Blog) -> None:
    """A post leads to the one before and after, also to those of the same second."""
    for number in range(4):
        await ada.write(f"Number {number}")
    day = datetime(2026, 1, 1, tzinfo=UTC)
    async with blog._database.session.begin() as db:
        for post in await db.scalars(select(Post)):
            post.published = day if post.slug != "number-0" else day + timedelta(days=1)
    order = ["number-0", "number-3", "number-2", "number-1"]
    assert re.findall(r'href="/post/([^"]+)"', await visitor.text("/")) == order[:3]
    for newer, here, older in zip(order, order[1:], order[2:], strict=False):
        page = await visitor.text(f"/post/{here}")
        assert re.findall(r'rel="(\w+)" href="/post/([^"]+)"', page) == [
            ("prev", newer),
            ("next", older),
        ]


async def test_search_takes_any_words(ada: Visitor, visitor: Visitor) -> None:
    """Signs mean nothing but themselves."""
    await ada.write("Plain", "100 and ab")
    for words in ("100%", "a_b", "\\", "nul\x00", "'; DROP TABLE posts"):
        await ada.write("Signs", f"{words} there")
        page = await visitor.text(f"/?q={quote(words)}")
        assert ">Signs<" in page and ">Plain<" not in page
    assert "No post has all of" in await visitor.text("/?q=nonexistent")


async def test_odd_addresses_are_not_found(visitor: Visitor) -> None:
    """PostgreSQL would fail on a NUL."""
    names = ("%00", "%F0%9F%A5%A7", "..%2Fapp.py", "x" * 3000)
    for place, name in itertools.product(
        ("post", "tag", "by", "picture", "static"), names
    ):
        assert (await visitor.get(f"/{place}/{name}")).status_code == 404


async def test_preview(ada: Visitor, visitor: Visitor) -> None:
    """It is what readers will see, and for authors."""
    response = await ada.post("/preview", body="**bold** <script>")
    assert response.text == "<p><strong>bold</strong> &lt;script&gt;</p>\n"
    refused = await visitor.post("/preview", body="x")
    assert refused.status_code == 401 and "You are logged out." in refused.text


async def test_slow_texts_are_refused(ada: Visitor) -> None:
    """By the editor and the preview."""
    for body in ("[" * 10_001, "'" * 2_501 + '"' * 2_500):
        for place in ("/write", "/preview"):
            response = await ada.post(place, title="Slow", body=body, action="draft")
            assert (
                response.status_code == 422
                and "too many brackets or quotes" in response.text
            )


async def test_everything_is_escaped(ada: Visitor, visitor: Visitor) -> None:
    """Markup in any field stays text."""
    bad = """x" onload="a'><script>alert(1)</script>"""
    address = await ada.write(
        bad,
        f"{bad}\n\n[{bad}](javascript:alert(1)) <img src=x onerror=alert(1)>",
        tags=bad,
    )
    for place in (
        address,
        "/",
        "/tags",
        f"/?q={quote(bad)}",
        f"/tag/{quote(bad, safe='')}",
        "/my_posts",
    ):
        text = (await ada.get(place)).text
        assert (
            "<script>alert" not in text
            and 'x" onload' not in text
            and "<img src=x" not in text
        )
        assert "javascript:" not in re.sub(r"(?s)<p>.*?</p>|content=\".*?\"", "", text)


# Text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "html"),
    [
        ("# Big", "<h2>Big</h2>\n"),
        ("###### Small", "<h6>Small</h6>\n"),
        ("[here](/post/x)", '<p><a href="/base/post/x">here</a></p>\n'),
        ("[up](#top)", '<p><a href="#top">up</a></p>\n'),
        (
            "[there](https://example.org)",
            '<p><a href="https://example.org" rel="nofollow noopener">there</a></p>\n',
        ),
        (
            "[no](//evil.example)",
            '<p><a href="//evil.example" rel="nofollow noopener">no</a></p>\n',
        ),
        ("[no](javascript:x)", "<p>[no](javascript:x)</p>\n"),
        ("![pie](https://example.org/pie.png)", "<p>[pie]</p>\n"),
        ("![](/picture/../x)", "<p>[]</p>\n"),
        ("    code", '<pre tabindex="0"><code>code\n</code></pre>\n'),
        ('"quoted" -- yes', "<p>“quoted” – yes</p>\n"),
        ("<b onclick=x>", "<p>&lt;b onclick=x&gt;</p>\n"),
    ],
)
def test_markdown(body: str, html: str) -> None:
    """Headings go below the title's, links to others carry nofollow, HTML is text."""
    assert html_of(body, "/base") == html


def test_pictures_in_markdown() -> None:
    """Only the blog's own, with their size, so that nothing jumps while they load."""
    html = html_of(f"![A *pie*]({PICTURE})", "/base")

    assert f'src="/base{PICTURE}"' in html and 'alt="A pie"' in html
    assert 'width="800" height="600" loading="lazy"' in html
    assert first_picture_of(f"text\n\n![A pie]({PICTURE}) ![b](x)") == PICTURE
    assert first_picture_of(f"![a\\]b]({PICTURE})") == PICTURE
    for other in (f"[A pie]({PICTURE})", f"![a] b]({PICTURE})", f"\\![a]({PICTURE})"):
        assert first_picture_of(other) is None
    began = time.process_time()
    assert first_picture_of("![" * 500_000) is None
    assert time.process_time() - began < 5, "it looked to the end of the text each time"
    assert first_picture_of("none") is None
    assert '<div class="wide" tabindex="0"><table>' in html_of("|a|\n|-|\n|b|", "")


@pytest.mark.parametrize(
    "body",
    [
        "[" * 10_000,
        "![" * 10_000,
        "![" * 10_000 + "](/x)" * 10_000,
        '"a ' * 2_500 + "a' " * 2_500,
    ],
)
def test_html_is_made_in_time(body: str) -> None:
    """The worst texts that are taken; before they were bounded, some took seconds."""
    assert not is_slow(body)
    before = time.thread_time()
    html_of(body, "")
    assert time.thread_time() - before < 8


def test_texts_are_cut() -> None:
    """Between words, and without the marks."""
    assert (
        excerpt_of(
            f"# Title\n\n![x]({PICTURE})\n\nSome *marked*\n`text` here.\n\nMore."
        )
        == "Some marked text here."
    )
    assert excerpt_of("word, " * 60).endswith("word …")
    assert len(excerpt_of("word, " * 60)) <= 242
    assert excerpt_of("") == ""
    assert (minutes_to_read(""), minutes_to_read("word " * 1000)) == (1, 5)


def test_texts_are_cleaned() -> None:
    """Of what a feed or a database cannot hold."""
    assert clean(" a\r\nb\rc\x00\x0b\ufffe\ud800 ü🥧\t") == "a\nb\nc ü🥧"
    assert (slug_of("Käse & Brot"), slug_of("日本"), slug_of("x" * 300)) == (
        "kase-brot",
        "post",
        "x" * 90,
    )
    assert tags_of(" Käse Brot, käse-brot,, _x_ ,!" + "y" * 50) == [
        "käse-brot",
        "x",
        "y" * 39,
    ]
