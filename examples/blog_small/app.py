"""A small blog: accounts and posts, in SQLite."""

from accounts import Accounts
from database import migrate
from posts import Posts
from sqlite_sessions import SQLiteSessions


class Blog(Accounts, Posts):
    """Each base has handlers; their names are the URLs."""

    def __init__(self) -> None:
        super().__init__(SQLiteSessions(), session_timeout=14 * 24 * 3600)
        self.startup_handlers.append(migrate)


app = Blog()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
