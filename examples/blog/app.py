"""A blog: accounts, posts in Markdown with pictures, a feed; SQLite or PostgreSQL."""

from accounts import Accounts
from feed import Feeds
from pictures import Pictures
from posts import Posts
from settings import Settings


class Blog(Posts, Pictures, Accounts, Feeds):
    """The whole site. Each part is a class in its own module."""


app = Blog(Settings.from_environment())

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
