"""The settings. Each is a variable in the environment, for example BLOG_TITLE."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Settings:
    """The settings of one blog.

    Attributes:
        title: The name of the blog.
        description: One sentence about it.
        url: Its public address, such as ``https://example.org/blog``; without one, that
            of each request.
        data: The folder for the pictures, and for the database if it is SQLite.
        database_url: Such as ``postgresql+asyncpg://user:password@host/database``;
            without one, SQLite.
        migrate: Whether the database is brought up to date when the app starts.
        sign_up: With ``open``, all visitors can make an account. With ``first``, a
            visitor at this machine can make the first one, with the code that the log
            shows at the start. With ``closed``, only the command
            ``python manage.py add-user`` can.
        posts_per_page: How many posts a page lists.
        login_tries: Failed logins, and sign-ups, from one address in a quarter of an
            hour; for one name, five times as many.
        password_memory: KiB of memory that hashing a password takes (argon2id); RFC
            9106 recommends the default.
        password_rounds: How often it goes over that memory.
        picture_limit: The most bytes of a picture that is sent.
        picture_quota: The most bytes that the pictures of one account may take.
    """

    title: str = "Crumbs"
    description: str = "Notes from a small bakery"
    url: str = ""
    data: Path = HERE / "data"
    database_url: str = ""
    migrate: bool = True
    sign_up: str = "first"
    posts_per_page: int = 10
    login_tries: int = 10
    password_memory: int = 65_536
    password_rounds: int = 3
    picture_limit: int = 10 * 2**20
    picture_quota: int = 500 * 2**20

    @classmethod
    def from_environment(
        cls, environment: Mapping[str, str] = os.environ
    ) -> "Settings":
        """Read the settings; one without a variable keeps its default.

        Raises:
            ValueError: A value cannot be understood.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            text = environment.get(f"BLOG_{field.name.upper()}", "")
            if text:
                found[field.name] = _read(field.name, text, type(field.default))
        settings = cls(**found)
        if settings.sign_up not in {"open", "first", "closed"}:
            raise ValueError(
                f"BLOG_SIGN_UP is open, first or closed, not {settings.sign_up!r}"
            )
        return settings

    @property
    def database(self) -> str:
        """Return the URL of the database."""
        return (
            self.database_url
            or f"sqlite+aiosqlite:///{self.data.absolute() / 'blog.sqlite3'}"
        )


def _read(name: str, text: str, kind: Any) -> Any:
    try:
        return (
            {"1": True, "0": False}[text]
            if kind is bool
            else Path(text)
            if issubclass(kind, Path)
            else kind(text)
        )
    except (KeyError, ValueError):
        raise ValueError(f"BLOG_{name.upper()} cannot be {text!r}") from None
