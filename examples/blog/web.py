"""The base of the blog's parts: the database, pages, addresses, and the user."""

import asyncio
import contextlib
import hashlib
import logging
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from micropie import App, HTTPError, Request, methods

import database
from database import Database
from local import is_own_host
from middleware import ErrorPages, SecurityHeaders
from models import User
from settings import Settings
from sql_sessions import SQLSessionBackend
from text import excerpt_of, html_of, minutes_to_read
from throttle import Throttle

_log = logging.getLogger("uvicorn.error")

SESSION_TIMEOUT = 14 * 86_400.0  # seconds
CLEAN_UP_EVERY = 3600.0  # seconds
CACHE_FOREVER = "public, max-age=31536000, immutable"
LOGGED_OUT = (
    "You are logged out. Log in in another window, then go back here "
    "and send this again."
)
STATIC = Path(__file__).resolve().parent / "static"
CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml; charset=utf-8",
}


class Site(App):
    """The part that has no pages."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = Database(settings.database)
        self._backend = SQLSessionBackend(self._database.engine)
        self._throttle = Throttle(self._database)
        origin = urlsplit(settings.url)
        super().__init__(
            self._backend,
            # A proxy might hide the host that a browser has asked for.
            allowed_origins=[f"{origin.scheme}://{origin.netloc}"]
            if origin.netloc
            else [],
            session_timeout=SESSION_TIMEOUT,
            max_body_size=2**20,
            # A form needs a little beside its file.
            max_upload_size=settings.picture_limit + 2**16,
        )
        self.startup_handlers.append(self._open)
        self.shutdown_handlers.append(self._close)
        # The first one is the outermost.
        self.middlewares += [SecurityHeaders(), ErrorPages(self._error_page)]
        self.env.filters |= {
            "date": long_date,
            "excerpt": excerpt_of,
            "minutes": minutes_to_read,
        }
        self.env.globals |= {
            "blog": settings,
            "url": self._url,
            "static": self._static_url,
            "absolute": self._absolute,
        }
        self._assets = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self._versions = {
            name: hashlib.sha256(data).hexdigest()[:12]
            for name, data in self._assets.items()
        }
        self._cleaner: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()

    @methods("GET")
    async def static(self, name: str, /) -> tuple[int, bytes, dict[str, str]]:
        """Send a file of the pages, for caches to keep.

        They keep it forever where the address names its version, a minute otherwise.
        """
        if name not in self._assets:
            raise HTTPError(404)
        current = self.request.query("v") == self._versions[name]
        headers = {"content-type": CONTENT_TYPES[Path(name).suffix]}
        return (
            200,
            self._assets[name],
            headers
            | {"cache-control": CACHE_FOREVER if current else "public, max-age=60"},
        )

    @methods("GET")
    async def health(self) -> dict[str, str]:
        """Tell a load balancer that the database answers; a 500 when it does not."""
        async with self._database.session() as db:
            await db.get(User, 0)
        return {"status": "ok"}

    # Startup and shutdown -------------------------------------------------------------

    async def _open(self) -> None:
        self._pictures_folder.mkdir(parents=True, exist_ok=True)
        if self._settings.migrate:
            await asyncio.to_thread(database.migrate, self._database.url)
        self._closing = asyncio.Event()
        self._cleaner = asyncio.create_task(self._clean_up())

    async def _clean_up(self) -> None:
        while not self._closing.is_set():
            try:
                await self._backend.delete_expired()
                await self._throttle.delete_old()
            except Exception as error:
                # The database is away (drivers have their own errors), and will be
                # back.
                _log.warning("no rows were cleaned up: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), CLEAN_UP_EVERY)

    async def _close(self) -> None:
        self._closing.set()  # not cancelled: that would break off a statement under way
        if self._cleaner is not None:
            await self._cleaner
        await self._database.engine.dispose()

    @property
    def _pictures_folder(self) -> Path:
        return self._settings.data / "pictures"

    # The visitor ----------------------------------------------------------------------

    async def _user(self) -> User | None:
        """Return the logged-in user; None for all other visitors.

        A WebSocket handler has to ask here, too, since a session alone may be from
        before a new password.
        """
        request = self.request
        if not hasattr(request, "user"):
            request.user = None
            session = request.session
            if "user_id" in session:
                async with self._database.session() as db:
                    user = await db.get(User, session["user_id"])
                if (
                    user is not None
                    and user.password_version == session["password_version"]
                ):
                    request.user = user
                else:  # the password was changed, or the account is gone
                    session.clear()
        found: User | None = request.user
        return found

    async def _author(self) -> User:
        """Return the logged-in user.

        Raises:
            HTTPError: 303 to the login, and back from there; 401 for a form, since the
                browser's Back button still has its text.
        """
        request = self.request
        user = await self._user()
        if user is not None:
            return user
        if request.method == "POST":
            raise HTTPError(401, LOGGED_OUT)
        here = [request.route_handler or "", *request.path_params]
        self._redirect_to("login", next="/".join(here))

    def _redirect_to(self, *segments: str, **query: str) -> NoReturn:
        """End the request, and let the browser get another page."""
        raise HTTPError(303, "", {"location": self._url(*segments, **query)})

    # Pages and addresses --------------------------------------------------------------

    async def _page(self, template: str, **context: Any) -> str:
        user = await self._user()
        flashes = self.request.session.pop("flashes", [])
        return await self._render_template(
            template, user=user, flashes=flashes, **context
        )

    async def _error_page(
        self, request: Request, status: int, title: str, detail: str
    ) -> str:
        # Not by `_page`, which asks the database: that may be what has failed.
        return await self._render_template(
            "error.html", status=status, title=title, detail=detail
        )

    def _flash(self, text: str) -> None:
        """Keep a message for the next page that is shown."""
        session = self.request.session
        session["flashes"] = [*session.get("flashes", []), text]

    def _root(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", "")).rstrip("/")

    def _url(self, *segments: str | int, **query: str | int) -> str:
        """Return an address below it; a query is made of what is not empty."""
        path = "/".join(quote(str(item), safe="") for item in segments)
        given = {name: value for name, value in query.items() if value}
        return f"{quote(self._root())}/{path}" + (
            f"?{urlencode(given)}" if given else ""
        )

    def _static_url(self, name: str) -> str:
        return self._url("static", name, v=self._versions[name])

    def _base(self) -> str:
        """Return the address of the blog, or its path if it does not know its name."""
        if self._settings.url:
            return self._settings.url.rstrip("/")
        if not is_own_host(self.request):
            return quote(self._root())
        scheme = self.request.scope.get("scheme") or "http"
        return f"{scheme}://{self.request.headers['host']}{quote(self._root())}"

    def _absolute(self, *segments: str | int, **query: str | int) -> str:
        """Return a whole address: for feeds, and for lasting names of a page."""
        return self._base() + self._url(*segments, **query).removeprefix(
            quote(self._root())
        )

    def _html(self, body: str) -> str:
        return html_of(body, quote(self._root()))


def long_date(utc_datetime: datetime) -> str:
    """Return a day such as ``5 March 2026``."""
    return f"{utc_datetime.day} {utc_datetime:%B %Y}"
