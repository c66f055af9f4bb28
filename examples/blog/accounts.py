"""Accounts: sign up, log in, log out, change the password."""

import asyncio
import logging
import re
import secrets
from pathlib import Path
from typing import Any

from micropie import HTTPError, methods
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from database import Database
from local import is_local
from models import NAME_LENGTH, User
from passwords import Passwords, password_problem
from settings import Settings
from text import clean_line
from throttle import address_of
from web import Site

_log = logging.getLogger("uvicorn.error")

NAME = re.compile(rf"[a-z0-9][a-z0-9_-]{{1,{NAME_LENGTH - 1}}}")
BACK = re.compile(r"[a-z_]+(/[\w-]+)?", re.ASCII)


class AccountError(Exception):
    """An account can't be made or changed; the text says why."""


async def add_user(
    database: Database, passwords: Passwords, name: str, full_name: str, password: str
) -> User:
    """Add an account.

    Raises:
        AccountError: The name is taken, or a field is not valid.
    """
    name, full_name = name.strip().lower(), clean_line(full_name)
    if not NAME.fullmatch(name):
        raise AccountError(
            f"A name has 2 to {NAME_LENGTH} letters a to z, digits, - or _."
        )
    if not 1 <= len(full_name) <= 100:
        raise AccountError("The name under your posts has 1 to 100 characters.")
    problem = password_problem(password, name, full_name)
    if problem:
        raise AccountError(problem)
    user = User(name=name, full_name=full_name)
    user.password_version = secrets.token_urlsafe(32)
    user.password_hash = await passwords.hash(password)
    try:
        async with database.session.begin() as db:
            db.add(user)
    except IntegrityError:
        raise AccountError("This name is taken.") from None
    return user


async def set_password(
    database: Database, passwords: Passwords, user: User, password: str
) -> User:
    """Give an account another password, which ends all its sessions.

    Raises:
        AccountError: It is not good enough.
    """
    problem = password_problem(password, user.name, user.full_name)
    if problem:
        raise AccountError(problem)
    password_hash = await passwords.hash(password)
    async with database.session.begin() as db:
        user = await db.merge(user)
        user.password_hash = password_hash
        user.password_version = secrets.token_urlsafe(32)
    return user


class Accounts(Site):
    """The pages for accounts."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._passwords = Passwords(settings.password_memory, settings.password_rounds)
        self.env.globals["can_sign_up"] = lambda: settings.sign_up == "open"
        # The code of the first account: all workers share it, and the log has it.
        self._code_file = settings.data / "first_account_code"
        self.startup_handlers.append(self._show_code)

    @methods("GET", "POST")
    async def login(self) -> Any:
        """Show the form, or log in."""
        request = self.request
        back = (
            request.form("next", "")
            if request.method == "POST"
            else request.query("next", "")
        )
        if request.method != "POST":
            first = self._settings.sign_up == "first" and await self._can_sign_up()
            return await self._page("login.html", back=back, first=first)
        name = request.form("name", "").strip().lower()
        # By `form`, since a parameter can come from the URL, and URLs end up in logs.
        password = request.form("password", "")
        tries = self._settings.login_tries
        attempt_ids = await self._throttle.begin(
            {f"address {address_of(request)}": tries, f"name {name}": 5 * tries}
        )
        user = await self._find(name)
        password_hash = user.password_hash if user else None
        if not await self._passwords.verify(password, password_hash) or user is None:
            return 403, await self._page(
                "login.html", name=name, back=back, error="Wrong name or password."
            )
        await self._throttle.forget(attempt_ids)
        if self._passwords.is_outdated(user.password_hash):
            await self._rehash(user, password)
        self._log_in(user)
        self._redirect_to(*(back if BACK.fullmatch(back) else "my_posts").split("/"))

    @methods("POST")
    async def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        self._redirect_to("")

    @methods("GET", "POST")
    async def sign_up(self) -> Any:
        """Show the form, or make an account and log in."""
        if not await self._can_sign_up():
            raise HTTPError(
                403,
                "The operator of this blog makes the accounts, with "
                "python manage.py add-user.",
            )
        request, first = self.request, self._settings.sign_up == "first"
        if request.method != "POST":
            return await self._page(
                "sign_up.html",
                first=first,
                code=request.query("code", ""),
                name="",
                full_name="",
            )
        await self._throttle.begin(
            {f"sign-up {address_of(request)}": self._settings.login_tries}
        )
        name, full_name = request.form("name", ""), request.form("full_name", "")
        code = request.form("code", "").strip()
        attempt_ids: list[int] = []
        try:
            if first:
                attempt_ids = await self._use_code(code)
            user = await add_user(
                self._database,
                self._passwords,
                name,
                full_name,
                request.form("password", ""),
            )
        except AccountError as error:
            await self._throttle.forget(attempt_ids)
            return 422, await self._page(
                "sign_up.html",
                first=first,
                code=code,
                name=name,
                full_name=full_name,
                error=str(error),
            )
        self._log_in(user)
        self._flash(f"Welcome, {user.full_name}. This is your first post.")
        self._redirect_to("write")

    @methods("GET", "POST")
    async def account(self) -> Any:
        """Show the user's account, and change its password."""
        user = await self._author()
        if self.request.method != "POST":
            return await self._page("account.html")
        tries = self._settings.login_tries
        attempt_ids = await self._throttle.begin({f"password of {user.name}": tries})
        if not await self._passwords.verify(
            self.request.form("old_password", ""), user.password_hash
        ):
            return 422, await self._page(
                "account.html", error="The old password is wrong."
            )
        await self._throttle.forget(attempt_ids)
        try:
            user = await set_password(
                self._database, self._passwords, user, self.request.form("password", "")
            )
        except AccountError as error:
            return 422, await self._page("account.html", error=str(error))
        self._log_in(user)
        self._flash("Your password has been changed. All other devices are logged out.")
        self._redirect_to("account")

    def _log_in(self, user: User) -> None:
        """Fill the session, under a new id, since an attacker may know the old one."""
        session = self.request.session
        session["user_id"] = user.id
        session["password_version"] = user.password_version
        self.request.user = user
        self.request.regenerate_session()

    async def _find(self, name: str) -> User | None:
        if not NAME.fullmatch(name):
            return None
        async with self._database.session() as db:
            found: User | None = await db.scalar(select(User).where(User.name == name))
        return found

    async def _rehash(self, user: User, password: str) -> None:
        """Hash a password again, by the settings of today."""
        password_hash = await self._passwords.hash(password)
        # Unless another request has changed it meanwhile.
        same = (User.id == user.id, User.password_hash == user.password_hash)
        async with self._database.session.begin() as db:
            await db.execute(
                update(User).where(*same).values(password_hash=password_hash)
            )

    async def _has_users(self) -> bool:
        async with self._database.session() as db:
            return await db.scalar(select(User.id).limit(1)) is not None

    async def _can_sign_up(self) -> bool:
        setting = self._settings.sign_up
        # A visitor elsewhere gets no form. Some proxies make that visitor look like one
        # at this machine, who gets the form, and still needs the code.
        if setting == "first":
            return is_local(self.request) and not await self._has_users()
        return setting == "open"

    async def _show_code(self) -> None:
        """Log the code of the first account, if a visitor can make it."""
        if self._settings.sign_up != "first":
            return
        try:
            has_users = await self._has_users()
        except Exception as error:
            # The database is away, as in `_clean_up`, or has no tables yet.
            _log.warning("not known whether there is an account: %s", error)
            return
        if has_users:
            await asyncio.to_thread(self._code_file.unlink, missing_ok=True)
            return
        _log.warning(
            "There is no account yet. Run python manage.py add-user, "
            "or open this page on this machine: /sign_up?code=%s",
            await asyncio.to_thread(kept_secret, self._code_file),
        )

    async def _use_code(self, code: str) -> list[int]:
        """Check the code of the first account, and let one request at a time use it.

        Returns:
            Ids for `Throttle.forget`, if the request makes no account.

        Raises:
            AccountError: The code is wrong.
            HTTPError: 429 another request uses it.
        """
        right = await asyncio.to_thread(kept_secret, self._code_file)
        if not secrets.compare_digest(code.encode(), right.encode()):
            raise AccountError("The code is wrong. Copy it from the log of the server.")
        return await self._throttle.begin({"first account": 1})


def kept_secret(path: Path) -> str:
    """Return the secret in a file, which the first start makes."""
    if not path.exists():
        own = path.with_name(secrets.token_hex(8))
        own.touch(0o600)
        own.write_text(secrets.token_hex(32))
        # A link replaces no file. So processes that start together share one secret.
        try:
            path.hardlink_to(own)
        except (OSError, NotImplementedError):  # it is there, or there are no links
            if not path.exists():
                own.replace(path)
        own.unlink(missing_ok=True)
    secret = path.read_text().strip()
    if len(secret) < 32:
        raise ValueError(f"{path} needs 32 characters. A start without it makes some.")
    return secret
