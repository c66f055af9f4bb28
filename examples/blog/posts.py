"""Posts: lists, one post, and the editor."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from micropie import HTTPError, Request, methods
from sqlalchemy import Select, and_, delete, func, or_, select
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm.exc import StaleDataError

from models import TITLE_LENGTH, Post, PostTag, User, now
from text import (
    LONGEST,
    TAGS_AT_MOST,
    clean,
    clean_line,
    first_picture_of,
    is_slow,
    slug_of,
    tags_of,
)
from web import Site

LARGEST_PAGE = 10_000
SLOW = "There are too many brackets or quotes in this text."


@dataclass
class Draft:
    """The fields of the editor."""

    title: str = ""
    tags: list[str] = field(default_factory=list)
    body: str = ""
    publish: bool = False
    version: int = 0

    @classmethod
    def from_post(cls, post: Post) -> "Draft":
        """Return the fields of a post."""
        return cls(post.title, post.tags, post.body, not post.draft, post.version)

    @classmethod
    def from_form(cls, request: Request) -> "Draft":
        """Read the form."""
        version = request.form("version", "")
        return cls(
            title=clean_line(request.form("title", "")),
            tags=tags_of(request.form("tags", "")),
            body=clean(request.form("body", "")),
            publish=request.form("action") == "publish",
            version=int(version)
            if version.isascii() and version.isdigit() and len(version) < 9
            else 0,
        )

    def problems(self) -> list[str]:
        """Return a sentence for each mistake."""
        wrong = {
            "A post needs a title.": not self.title,
            f"A title has at most {TITLE_LENGTH} characters.": len(self.title)
            > TITLE_LENGTH,
            f"A post has at most {TAGS_AT_MOST} tags.": len(self.tags) > TAGS_AT_MOST,
            f"A post has at most {LONGEST:,} characters.": len(self.body) > LONGEST,
            SLOW: is_slow(self.body),
            "There is nothing to publish yet.": self.publish and not self.body,
        }
        return [text for text, applies in wrong.items() if applies]


def published() -> Select[Post]:
    """Return a query for the posts that are public, the newest first."""
    return (
        select(Post)
        .where(Post.draft.is_(False))
        .order_by(Post.published.desc(), Post.id.desc())
    )


class Posts(Site):
    """The pages for readers and for authors."""

    @methods("GET")
    async def index(self, *, page: int = 1, q: str = "") -> str:
        """List the newest posts, or those that contain some words."""
        words = clean_line(q)[:100]
        query = published()
        for word in words.split():
            found_in = [
                column.icontains(word, autoescape=True)
                for column in (Post.title, Post.body)
            ]
            query = query.where(or_(*found_in))
        return await self._list(query, page, q=words)

    @methods("GET")
    async def tag(self, name: str, *, page: int = 1) -> str:
        """List the posts with a tag."""
        query = published().where(Post.tag_rows.any(PostTag.tag == clean(name)))
        return await self._list(
            query, page, heading=f"Posts about {name}", must_exist=True
        )

    @methods("GET")
    async def by(self, name: str, *, page: int = 1) -> str:
        """List the posts of an author."""
        async with self._database.session() as db:
            author = await db.scalar(select(User).where(User.name == clean(name)))
        if author is None:
            raise HTTPError(404)
        return await self._list(
            published().where(Post.author_id == author.id),
            page,
            heading=author.full_name,
        )

    @methods("GET")
    async def tags(self) -> str:
        """List all tags."""
        query = (
            select(PostTag.tag, func.count()).join(Post).where(Post.draft.is_(False))
        )
        async with self._database.session() as db:
            found = (
                await db.execute(query.group_by(PostTag.tag).order_by(PostTag.tag))
            ).all()
        return await self._page("tags.html", tags=found)

    @methods("GET")
    async def post(self, slug: str) -> str:
        """Show a post; only its author can see a draft."""
        async with self._database.session() as db:
            post = await db.scalar(select(Post).where(Post.slug == clean(slug)))
            if post is None:
                raise HTTPError(404)
            user = await self._user()
            if post.draft and (user is None or user.id != post.author_id):
                raise HTTPError(404)
            newer, older = await self._neighbors(db, post)
        picture = first_picture_of(post.body)
        return await self._page(
            "post.html",
            post=post,
            html=await asyncio.to_thread(self._html, post.body),
            picture=self._base() + picture if picture else None,
            newer=newer,
            older=older,
        )

    @methods("GET")
    async def my_posts(self, *, page: int = 1) -> str:
        """List an author's own posts, drafts first."""
        user = await self._author()
        query = (
            select(Post)
            .where(Post.author_id == user.id)
            .order_by(Post.draft.desc(), Post.updated.desc(), Post.id)
        )
        posts, more = await self._slice(query, page)
        return await self._page("my_posts.html", posts=posts, number=page, more=more)

    @methods("GET", "POST")
    async def write(self) -> Any:
        """Show an empty editor, or save a new post."""
        user = await self._author()
        if self.request.method != "POST":
            return await self._editor(Draft())
        draft = Draft.from_form(self.request)
        problems = draft.problems()
        if problems:
            return 422, await self._editor(draft, problems=problems)
        self._redirect_to_saved(await self._save(draft, None, user))

    @methods("GET", "POST")
    async def edit(self, post_id: int) -> Any:
        """Show a post in the editor, or save its changes."""
        user = await self._author()
        post = await self._own_post(post_id, user)
        if self.request.method != "POST":
            return await self._editor(Draft.from_post(post), post)
        draft = Draft.from_form(self.request)
        problems = draft.problems()
        if problems:
            return 422, await self._editor(draft, post, problems)
        saved = await self._save(draft, post, user)
        if saved is None:
            draft.version = (await self._own_post(post_id, user)).version
            text = (
                "This post has been changed elsewhere since you opened it. "
                "Save again to replace that."
            )
            return 409, await self._editor(draft, post, [text])
        self._redirect_to_saved(saved)

    @methods("POST")
    async def delete(self, post_id: int) -> Any:
        """Delete a post."""
        post = await self._own_post(post_id, await self._author())
        async with self._database.session.begin() as db:
            await db.execute(delete(Post).where(Post.id == post.id))
        self._flash(f"“{post.title}” is deleted.")
        self._redirect_to("my_posts")

    @methods("POST")
    async def preview(self) -> str:
        """Show a text as it will look; the editor's script puts it into its page."""
        await self._author()
        body = clean(self.request.form("body", ""))[:LONGEST]
        if is_slow(body):
            raise HTTPError(422, SLOW)
        return await asyncio.to_thread(self._html, body)

    # Reading --------------------------------------------------------------------------

    async def _list(
        self, query: Select[Post], page: int, must_exist: bool = False, **context: Any
    ) -> str:
        posts, more = await self._slice(query, page)
        if not posts and (page > 1 or must_exist):
            raise HTTPError(404)
        return await self._page(
            "posts.html", posts=posts, number=page, more=more, **context
        )

    async def _slice(self, query: Select[Post], page: int) -> tuple[list[Post], bool]:
        """Return the posts of a page, and whether there are more."""
        if not 1 <= page <= LARGEST_PAGE:
            raise HTTPError(404)
        size = self._settings.posts_per_page
        async with self._database.session() as db:
            found = list(
                await db.scalars(query.limit(size + 1).offset((page - 1) * size))
            )
        return found[:size], len(found) > size

    async def _neighbors(
        self, db: AsyncSession, post: Post
    ) -> tuple[Post | None, Post | None]:
        """Return the posts that were published after and before one."""
        if post.draft:
            return None, None
        when, same = post.published, Post.published == post.published
        newer = (
            published()
            .where(or_(Post.published > when, and_(same, Post.id > post.id)))
            .order_by(None)
        )
        older = published().where(
            or_(Post.published < when, and_(same, Post.id < post.id))
        )
        return await db.scalar(
            newer.order_by(Post.published, Post.id).limit(1)
        ), await db.scalar(older.limit(1))

    # Writing --------------------------------------------------------------------------

    async def _editor(
        self, draft: Draft, post: Post | None = None, problems: list[str] | None = None
    ) -> str:
        return await self._page(
            "editor.html", draft=draft, post=post, problems=problems or []
        )

    async def _own_post(self, post_id: int, user: User) -> Post:
        """Return a post of a user.

        Raises:
            HTTPError: 404 there is none, or another user's.
        """
        async with self._database.session() as db:
            post = await db.get(Post, post_id) if 0 < post_id < 2**31 else None
        if post is None or post.author_id != user.id:
            raise HTTPError(404)
        return post

    async def _save(self, draft: Draft, post: Post | None, user: User) -> Post | None:
        """Save a post, new or changed; None when it was changed elsewhere meanwhile."""
        for _ in range(5):
            try:
                async with self._database.session.begin() as db:
                    return await self._store(db, draft, post.id if post else None, user)
            except IntegrityError:
                # Another post has taken the slug between our look and our save.
                continue
            except (StaleDataError, NoResultFound):
                # Another request has saved or deleted the same post.
                return None
        raise HTTPError(503, "Too many posts of that title are being saved. Try again.")

    async def _store(
        self, db: AsyncSession, draft: Draft, post_id: int | None, user: User
    ) -> Post | None:
        if post_id is None:
            post = Post(author_id=user.id, version=0)
            db.add(post)
        else:
            post = await db.get_one(Post, post_id, with_for_update={"of": Post})
            if post.version != draft.version:
                return None
        with db.no_autoflush:
            if post.published is None and post.title != draft.title:
                post.slug = await self._free_slug(db, slug_of(draft.title), post.slug)
            post.title, post.body, post.tags = draft.title, draft.body, draft.tags
        post.draft, post.updated, post.version = (
            not draft.publish,
            now(),
            post.version + 1,
        )
        if draft.publish and post.published is None:
            post.published = post.updated
        return post

    async def _free_slug(
        self, db: AsyncSession, wanted: str, current: str | None
    ) -> str:
        """Return a slug that is not taken: the wanted one, or with a number."""
        like = select(Post.slug).where(
            or_(
                Post.slug == wanted, Post.slug.startswith(wanted + "-", autoescape=True)
            )
        )
        taken = set(await db.scalars(like)) - {current}
        numbered = [wanted, *(f"{wanted}-{number + 2}" for number in range(len(taken)))]
        return next(slug for slug in numbered if slug not in taken)

    def _redirect_to_saved(self, post: Post | None) -> None:
        assert post is not None
        self._flash(
            "Your draft is saved. Only you can see it."
            if post.draft
            else "Your post is published."
        )
        self._redirect_to("post", post.slug)
