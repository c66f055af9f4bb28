"""The tables.

After a change here: `alembic revision --autogenerate -m "what has changed"`.
"""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    DateTime,
    Double,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

NAME_LENGTH = 30
TITLE_LENGTH = 200
SLUG_LENGTH = 100
TAG_LENGTH = 40


def now() -> datetime:
    """Return the time in UTC and whole seconds, as feeds and pages show it."""
    return datetime.now(UTC).replace(microsecond=0)


class UTCDateTime(TypeDecorator[datetime]):
    """A time in UTC: SQLite forgets the zone, so it is put back."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(
        self, value: datetime | None, dialect: Any
    ) -> datetime | None:
        """Return the time as it was given."""
        return (
            value.replace(tzinfo=UTC)
            if value is not None and value.tzinfo is None
            else value
        )


class Base(DeclarativeBase):
    """Names its constraints, so that a migration can drop them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UTCDateTime, uuid.UUID: Uuid}


class User(Base):
    """An author.

    The password's version is random, and changes with the password. A session holds a
    copy of it, and ends as soon as the two differ.
    """

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH), unique=True)
    full_name: Mapped[str] = mapped_column(String(100))
    password_hash: Mapped[str] = mapped_column(String(200))
    password_version: Mapped[str] = mapped_column(String(43))
    created: Mapped[datetime] = mapped_column(default=now)


class Post(Base):
    """A text: a draft, which its author alone sees, or a published one.

    A post that was published once keeps its date and its slug in any case, since links
    to it live on.
    """

    __tablename__ = "posts"
    __table_args__ = (Index("ix_posts_draft_published", "draft", "published"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    uid: Mapped[uuid.UUID] = mapped_column(default=uuid.uuid4, unique=True)
    author_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    title: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    slug: Mapped[str] = mapped_column(String(SLUG_LENGTH), unique=True)
    body: Mapped[str] = mapped_column(Text)
    draft: Mapped[bool] = mapped_column(default=True)
    created: Mapped[datetime] = mapped_column(default=now)
    updated: Mapped[datetime] = mapped_column(default=now)
    published: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    # Of two requests that save at the same time one gets a StaleDataError, on SQLite
    # too, which locks no row that is read.
    __mapper_args__ = {"version_id_col": version, "version_id_generator": False}

    author: Mapped[User] = relationship(lazy="joined", innerjoin=True)
    tag_rows: Mapped[list["PostTag"]] = relationship(
        lazy="selectin",
        cascade="all, delete-orphan",
        order_by="PostTag.tag",
        passive_deletes=True,
    )

    @property
    def tags(self) -> list[str]:
        """Return the tags in the order of the alphabet."""
        return [row.tag for row in self.tag_rows]

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        known = {row.tag: row for row in self.tag_rows}
        self.tag_rows = [known.get(tag) or PostTag(tag=tag) for tag in sorted(tags)]


class PostTag(Base):
    """A tag of a post."""

    __tablename__ = "post_tags"

    post_id: Mapped[int] = mapped_column(
        ForeignKey("posts.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(TAG_LENGTH), primary_key=True, index=True)


class Picture(Base):
    """A picture of an author; its file is `name` in the folder for pictures."""

    __tablename__ = "pictures"

    id: Mapped[int] = mapped_column(primary_key=True)
    owner_id: Mapped[int] = mapped_column(
        ForeignKey("users.id", ondelete="CASCADE"), index=True
    )
    name: Mapped[str] = mapped_column(String(60), unique=True)
    alt: Mapped[str] = mapped_column(String(TITLE_LENGTH))
    size: Mapped[int]
    created: Mapped[datetime] = mapped_column(default=now)


class LoginAttempt(Base):
    """A login that failed or is under way, for its address and for its name."""

    __tablename__ = "login_attempts"
    __table_args__ = (Index("ix_login_attempts_key_at", "key", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(LargeBinary(32))
    at: Mapped[float] = mapped_column(Double)  # seconds since 1970
