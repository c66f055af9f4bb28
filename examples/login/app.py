"""Accounts: sign-up and password reset by mail, login with a limit, logout."""

import asyncio
import ipaddress
import re
from pathlib import Path
from typing import Any

from micropie import (
    FromSession,
    HTTPError,
    HttpMiddleware,
    Request,
    WebSocketMiddleware,
    methods,
)

import mail
import settings
from accounts import Accounts, Base, User
from keeping import KeepingApp, log_in
from passwords import hash_password, verify_password
from redis_sessions import RedisSessionBackend, make_client
from sql_sessions import SQLSessionBackend, create_tables, make_engine

EMAIL = re.compile(
    r"[\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*", re.ASCII
)
# The label, the type and the autocompletion of each field.
FIELDS = {
    "email": ("Email address", "email", "username"),
    "password": ("Password", "password", "current-password"),
    "keep": ("Keep me logged in for 30 days", "checkbox", "off"),
    "new_password": ("New password, 10 characters or more", "password", "new-password"),
}
LOGIN = ("email", "password", "keep")  # the fields of the login's form
# It is checked for addresses without an account, so they take as long as others.
NO_ACCOUNT = hash_password("")
MAIL = """\
Choose a password for {email} here:

{url}

This works once, in the next hour. If you did not ask for it, you need not do anything.
"""
SENT = "Look into your inbox: we have sent you a link. It is good for an hour."


class CurrentUser(HttpMiddleware, WebSocketMiddleware):
    """Sets ``request.user``, and ends sessions from before a new password."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def before_request(self, request: Request) -> None:
        """Look at the session before the handler does."""
        session = request.session
        request.user = None
        if "user_id" in session:
            user = await self._accounts.find(User.id == session["user_id"])
            if user is None or user.stamp != session["stamp"]:
                session.clear()
            else:
                request.user = user

    before_websocket = before_request


class Root(KeepingApp):
    """Pages for visitors, and one behind the login."""

    def __init__(self) -> None:
        self._engine = make_engine(settings.DATABASE_URL)
        self._backend: Any = SQLSessionBackend(self._engine)
        if settings.SESSION_STORE:
            self._backend = RedisSessionBackend(make_client(settings.SESSION_STORE))
        super().__init__(self._backend, max_body_size=2**16)
        self._accounts = Accounts(self._engine, settings.TRIES)
        self.middlewares.append(CurrentUser(self._accounts))
        self.ws_middlewares.append(CurrentUser(self._accounts))
        self.env.globals.update(url=self._url, kinds=FIELDS)
        self.startup_handlers.append(self._connect)
        self.shutdown_handlers.append(self._disconnect)

    async def index(self) -> str:
        """Show the first page."""
        return await self._page("home.html")

    @methods("GET", "POST")
    async def login(self) -> Any:
        """Show the form, or check what it sends."""
        if self.request.method != "POST":
            return await self._form("Log in", *LOGIN)
        user = await self._checked(self._email())
        if user is None:
            error = "Wrong address or password."
            return 400, await self._form("Log in", *LOGIN, error=error)
        return self._enter(user, keep=bool(self._sent("keep")))

    @methods("POST")
    async def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    @methods("GET", "POST")
    async def sign_up(self) -> Any:
        """Mail a link, which does not tell whether there is an account already."""
        return await self._mail_link("Sign up")

    @methods("GET", "POST")
    async def reset(self, token: str = "", /) -> Any:
        """Mail a link; behind it, let the visitor choose a password."""
        title, password = "Choose a password", self._sent("new_password")
        if not token:
            return await self._mail_link("Reset password")
        if self.request.method != "POST":  # a program that reads mails might open links
            return await self._form(title, "new_password")
        if not 10 <= len(password) <= 200:
            error = "A password has 10 to 200 characters."
            return 400, await self._form(title, "new_password", error=error)
        email = await self._accounts.take_token(token)
        if email is None:
            raise HTTPError(400, "This link was used, or is older than an hour.")
        return self._enter(await self._changed(email, password))

    @methods("GET", "POST")
    async def account(self, user_id: FromSession) -> Any:
        """Show the account, or change its password, which ends its other sessions."""
        title, fields = "Change password", ("password", "new_password")
        if self.request.method != "POST":
            return await self._form(title, *fields)
        user, password = self.request.user, self._sent("new_password")
        if not 10 <= len(password) <= 200 or not await self._checked(user.email):
            error = "Your password was wrong, or the new one is too short or long."
            return 400, await self._form(title, *fields, error=error)
        keep = self.request.session["keep"]
        return self._enter(await self._changed(user.email, password), keep)

    async def _mail_link(self, title: str) -> Any:
        if self.request.method != "POST":
            return await self._form(title, "email")
        email = self._email()
        if not email:
            error = "This is no email address."
            return 400, await self._form(title, "email", error=error)
        await self._accounts.begin_try(client_of(self.request), email)
        token = await self._accounts.new_token(email)
        if token:
            url = settings.PUBLIC_URL.rstrip("/") + self._url(f"reset/{token}")
            text = MAIL.format(email=email, url=url)
            await asyncio.to_thread(mail.send, email, "Your password", text)
        return await self._form(title, sent=SENT)

    async def _checked(self, email: str) -> User | None:
        """Return the user if the sent password fits; a failure counts as a try."""
        this = await self._accounts.begin_try(client_of(self.request), email)
        user = await self._accounts.find(User.email == email)
        # A thread, since the check takes a tenth of a second on purpose.
        kept = user.password if user else NO_ACCOUNT
        fits = await asyncio.to_thread(verify_password, self._sent("password"), kept)
        if user is None or not fits:
            return None
        await self._accounts.forget(this)
        return user

    async def _changed(self, email: str, password: str) -> User:
        hashed = await asyncio.to_thread(hash_password, password)
        return await self._accounts.set_password(email, hashed)

    def _enter(self, user: User, keep: bool = False) -> Any:
        """Log a user in, and show the account."""
        log_in(self.request, user.id, keep, stamp=user.stamp)
        return self._redirect(self._url("account"), 303)

    def _sent(self, name: str) -> str:
        # Not a parameter, which the URL could fill in: URLs end up in logs.
        return str(self.request.form(name, ""))

    def _email(self) -> str:
        """Return the address that was sent, or an empty string if it is none."""
        text = self._sent("email").lower()
        return text if len(text) <= 200 and EMAIL.fullmatch(text) else ""

    async def _form(self, title: str, *fields: str, **context: Any) -> str:
        email = self._sent("email")
        return await self._page(
            "form.html", title=title, fields=fields, email=email, **context
        )

    async def _page(self, template: str, **context: Any) -> str:
        return await self._render_template(template, user=self.request.user, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"

    async def _connect(self) -> None:
        if self._engine.dialect.name == "sqlite":
            file = Path(self._engine.url.database or "")
            file.parent.mkdir(parents=True, exist_ok=True)
        await create_tables(self._engine, Base.metadata)
        if isinstance(self._backend, SQLSessionBackend):
            await self._backend.create_table()
            await self._backend.delete_expired()

    async def _disconnect(self) -> None:
        await self._engine.dispose()
        if isinstance(self._backend, RedisSessionBackend):
            await self._backend.client.aclose()


def client_of(request: Request) -> str:
    """Return the client's address, of IPv6 its network, which one client has whole."""
    host = (request.scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
