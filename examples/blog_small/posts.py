"""Posts: pages of them, one of them, and what an author does with one."""

import re
from typing import Any

from micropie import FromSession, HTTPError, methods

from database import connected
from web import Site

PER_PAGE = 5
POSTS = "SELECT posts.*, name AS author FROM posts JOIN users ON users.id = author_id"
INSERT = "INSERT INTO posts (author_id, title, text) VALUES (?, ?, ?) RETURNING id"


class Posts(Site):
    """The handlers are plain `def`: they run in threads, where SQLite may take time."""

    def index(self, *, page: int = 1) -> Any:
        """Show a page of posts, the newest first."""
        page = min(max(page, 1), 1_000_000)
        query = f"{POSTS} ORDER BY posts.id DESC LIMIT ? OFFSET ?"
        with connected() as database:
            limits = (PER_PAGE + 1, (page - 1) * PER_PAGE)
            posts = database.execute(query, limits).fetchall()
        more = len(posts) > PER_PAGE
        return self._page("posts.html", posts=posts[:PER_PAGE], page=page, more=more)

    def post(self, post_id: int, /) -> Any:
        """Show one post."""
        user_id = self.request.session.get("user_id")
        return self._page("post.html", post=find_post(post_id), user_id=user_id)

    @methods("GET", "POST")
    def write(self, post_id: int = 0, /, *, user_id: FromSession) -> Any:
        """Show a form for a new post or an own one, or save what it sends."""
        post = {"title": "", "text": ""}
        if post_id:
            post = find_own_post(post_id, user_id)
        error = ""
        if self.request.method == "POST":
            form = self.request.form
            post = {name: clean(form(name, "")) for name in ("title", "text")}
            error = wrong(**post)
            if not error:
                post_id = save(post_id, user_id, **post)
                return self._redirect(self._url(f"post/{post_id}"), 303)
        context = {"post": post, "post_id": post_id, "error": error}
        return self._page("editor.html", 400 if error else 200, **context)

    @methods("POST")
    def delete(self, post_id: int, /, *, user_id: FromSession) -> Any:
        """Delete an own post."""
        find_own_post(post_id, user_id)
        with connected(write=True) as database:
            database.execute("DELETE FROM posts WHERE id = ?", (post_id,))
        return self._redirect(self._url(), 303)


def find_post(post_id: int) -> Any:
    """Return a post, or end the request with 404."""
    # A string, since SQLite's integers have 64 bits, and those in URLs any number.
    with connected() as database:
        found = database.execute(f"{POSTS} WHERE posts.id = ?", (str(post_id),))
        post = found.fetchone()
    if post is None:
        raise HTTPError(404)
    return post


def find_own_post(post_id: int, user_id: int) -> Any:
    """Return a post of this user, or end the request with 404 or 403."""
    post = find_post(post_id)
    if post["author_id"] != user_id:
        raise HTTPError(403)
    return post


def save(post_id: int, user_id: int, title: str, text: str) -> int:
    """Change a post, or add one if the number is 0; return its number."""
    with connected(write=True) as database:
        if post_id:
            query = "UPDATE posts SET title = ?, text = ? WHERE id = ?"
            database.execute(query, (title, text, post_id))
            return post_id
        return database.execute(INSERT, (user_id, title, text)).fetchone()["id"]


def clean(text: str) -> str:
    """Return a text with plain line ends, and without other control characters."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "", text.replace("\r\n", "\n")).strip()


def wrong(title: str, text: str) -> str:
    """Return what is wrong with a post, if anything is."""
    if not 1 <= len(title) <= 200:
        return "A title has 1 to 200 characters."
    return "" if len(text) <= 20_000 else "A text has at most 20,000 characters."
