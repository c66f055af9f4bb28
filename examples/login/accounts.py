"""Accounts in the database, the tokens that mails carry, and the limit on tries."""

import hashlib
import secrets
import time

from micropie import HTTPError
from sqlalchemy import ColumnElement, Double, String, delete, func, select
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TOKEN_LIFE = 3600.0  # seconds
MOST_TOKENS = 3  # that live for one address, so that this fills no one's inbox
TRY_WINDOW = 900.0  # seconds


class Base(DeclarativeBase):
    """The base of all tables."""


class User(Base):
    """An account. Its stamp changes with the password, and ends older sessions."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(200), unique=True)
    password: Mapped[str] = mapped_column(String(200))
    stamp: Mapped[str] = mapped_column(String(50))


class Token(Base):
    """The hash of a link in a mail, so that a reader of the table can't use it."""

    __tablename__ = "tokens"

    hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    email: Mapped[str] = mapped_column(String(200), index=True)
    expires: Mapped[float] = mapped_column(Double)  # seconds since 1970


class Try(Base):
    """A try to log in, or to get a mail."""

    __tablename__ = "tries"

    id: Mapped[int] = mapped_column(primary_key=True)
    client: Mapped[str] = mapped_column(String(50), index=True)
    email: Mapped[str] = mapped_column(String(200), index=True)
    at: Mapped[float] = mapped_column(Double)  # seconds since 1970


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


class Accounts:
    """The work of the app with the tables. An address has thrice a client's tries."""

    def __init__(self, engine: AsyncEngine, tries: int) -> None:
        self._begin = async_sessionmaker(engine, expire_on_commit=False).begin
        self._tries = tries

    async def find(self, condition: ColumnElement[bool]) -> User | None:
        """Return the user with an id, or with an address."""
        async with self._begin() as db:
            return await db.scalar(select(User).where(condition))

    async def set_password(self, email: str, password: str) -> User:
        """Store the hash of a password, in a new account if the address has none."""
        async with self._begin() as db:
            await db.execute(delete(Token).where(Token.email == email))
            user = await db.scalar(select(User).where(User.email == email))
            user = user or User(email=email)
            user.password, user.stamp = password, secrets.token_urlsafe()
            db.add(user)
        return user

    async def new_token(self, email: str) -> str | None:
        """Return a token, or None if the address has enough of them."""
        token, now = secrets.token_urlsafe(), time.time()
        async with self._begin() as db:
            await db.execute(delete(Token).where(Token.expires <= now))
            query = select(func.count()).where(Token.email == email)
            if await db.scalar(query) >= MOST_TOKENS:
                return None
            expires = now + TOKEN_LIFE
            db.add(Token(hash=_hashed(token), email=email, expires=expires))
        return token

    async def take_token(self, token: str) -> str | None:
        """Return the address that a token was sent to, once."""
        wanted = (Token.hash == _hashed(token)) & (Token.expires > time.time())
        async with self._begin() as db:
            return await db.scalar(delete(Token).where(wanted).returning(Token.email))

    async def begin_try(self, client: str, email: str) -> Try:
        """Count a try before it is made, so that many at once count too.

        Raises:
            HTTPError: 429 there were too many.
        """
        now = time.time()
        this = Try(client=client, email=email, at=now)
        async with self._begin() as db:
            await db.execute(delete(Try).where(Try.at < now - TRY_WINDOW))
            db.add(this)
        async with self._begin() as db:
            count = select(func.count())
            of_client = await db.scalar(count.where(Try.client == client))
            of_email = await db.scalar(count.where(Try.email == email))
        if of_client > self._tries or of_email > 3 * self._tries:
            await self.forget(this)  # or the limit would last as long as an attack
            text = "Too many tries. Wait a quarter of an hour."
            raise HTTPError(429, text, {"retry-after": str(round(TRY_WINDOW))})
        return this

    async def forget(self, this: Try) -> None:
        """Do not count a try that was no failure."""
        async with self._begin() as db:
            await db.execute(delete(Try).where(Try.id == this.id))
