"""A URL shortener: chosen or random names, clicks per day, and QR codes."""

import asyncio
import logging
import os
import secrets
import sqlite3
import time
from typing import Any
from urllib.parse import urlsplit

import segno
from micropie import App, HTTPError, methods

import checks
import store
from database import SQLiteSessions, migrate
from local import is_own_host
from web import FILES, Limiter, SecurityHeaders

PUBLIC_URL = os.environ.get("PUBLIC_URL", "").rstrip("/")
RATE = int(os.environ.get("SHORTENER_RATE", 30))  # new links a minute from one address
DAY = 86_400.0
# Nothing that looks like something else: no 0 and o, no 1, i and l. No visitor finds
# one of 31 ** 8 random names by trying.
ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"
# The label, and the seconds that a link lives.
LIFETIMES: dict[str, tuple[str, float | None]] = {
    "never": ("never", None),
    "1d": ("in a day", DAY),
    "30d": ("in 30 days", 30 * DAY),
    "1y": ("in a year", 365 * DAY),
}
DEFAULTS = {"url": "", "alias": "", "expires": "never"}


class Shortener(App):
    """Forms for people; all URLs that are not a handler's are short links."""

    def __init__(self) -> None:
        origin = "/".join(PUBLIC_URL.split("/")[:3])
        super().__init__(
            SQLiteSessions(),
            session_timeout=365 * DAY,
            allowed_origins=[origin] if origin else [],
            max_body_size=2**16,
        )
        self._limiter = Limiter(RATE)
        self.startup_handlers.append(migrate)
        self.middlewares.append(SecurityHeaders())
        self.env.filters["date"] = date
        self.env.globals |= {"url": self._url, "LIFETIMES": LIFETIMES}

    @methods("GET")
    def index(self, alias: str = "", /) -> Any:
        """Follow a link; without one, show the form."""
        if not alias:
            return self._page("index.html", values=DEFAULTS)
        link = _found(store.find(alias.lower()))
        if link["expired"]:
            raise HTTPError(410, "This link has expired.")
        if self._is_own(link["target"]):
            raise HTTPError(404, "This link leads in a circle.")
        purpose = self.request.headers.get("sec-purpose", "")
        if self.request.method == "GET" and "prefetch" not in purpose:
            try:
                store.count(link["id"])
            except sqlite3.OperationalError as error:  # a full disk stops no visitor
                logging.warning("A click was not counted: %s", error)
        # Not 301, which a browser keeps forever. Its next clicks would not be counted,
        # and a link that expires or is deleted would still lead there.
        return self._redirect(link["target"], 302, {"x-robots-tag": "noindex"})

    @methods("POST")
    async def shorten(self) -> Any:
        """Make a link of what the form sends, and go to its page."""
        form, session = self.request.form, self.request.session
        values = {name: form(name, default) for name, default in DEFAULTS.items()}
        owner = session.get("owner") or secrets.token_hex(32)
        try:
            alias = await asyncio.to_thread(self._add, owner, **values)
        except HTTPError as error:
            page = await self._page("index.html", values=values, problem=error.body)
            return error.status, page, error.headers
        session["owner"] = owner
        return self._redirect(self._url(f"links/{alias}"), 303)

    @methods("GET")
    def links(self, alias: str = "", /) -> Any:
        """List the links of this visitor, or show one with its clicks and QR code."""
        owner = self.request.session.get("owner")
        if not alias:
            return self._page("links.html", links=store.owned(owner) if owner else [])
        link = _found(store.find(alias.lower(), owner or ""))
        total, days = store.per_day(link["id"], 30)
        short = self._full_url(link["alias"])
        # Black on white in dark mode too, since some scanners don't read the opposite.
        code = segno.make(short, error="m", micro=False) if "://" in short else None
        qr = code and code.svg_data_uri(scale=4, light="#fff")
        context = {"link": link, "short": short, "qr": qr, "total": total}
        return self._page("link.html", days=days, **context)

    @methods("POST")
    def delete(self, alias: str, /) -> Any:
        """Delete a link of this visitor."""
        _found(store.delete(alias, self.request.session.get("owner", "")))
        return self._redirect(self._url("links"), 303)

    @methods("GET")
    def static(self, name: str, /) -> tuple[int, str, dict[str, str]]:
        """Send the style or the script: files, since the pages allow no other ones."""
        if name not in FILES:
            raise HTTPError(404)
        kind, text = FILES[name]
        return 200, text, {"content-type": kind, "cache-control": "max-age=3600"}

    def _add(self, owner: str, url: str, alias: str, expires: str) -> str:
        taken = self._taken()
        try:
            target = checks.target(url)
            wanted = checks.alias(alias, taken) if alias.strip() else ""
        except ValueError as error:
            raise HTTPError(422, str(error)) from None
        if self._is_own(target):
            raise HTTPError(422, "This link is short already.")
        if expires not in LIFETIMES:
            raise HTTPError(422, f"It expires in one of: {', '.join(LIFETIMES)}.")
        self._limiter.check(self.request)
        seconds = LIFETIMES[expires][1]
        until = seconds and time.time() + seconds
        # Of two visitors who want one name at once, the database lets one have it.
        while (name := wanted or random_alias()) in taken or not store.add(
            name, target, owner, until
        ):
            if wanted:
                raise HTTPError(409, f"“{wanted}” is taken.")
        return name

    def _taken(self) -> set[str]:
        """Return the names of all handlers, a subclass's too, and of mounts."""
        classes = set(type(self).__mro__) - set(App.__mro__)
        names = {name for one in classes for name in vars(one)} | {*self.mounts}
        first = (name.strip("/").partition("/")[0] for name in names)
        return {name.lower().replace("-", "_") for name in first}

    def _is_own(self, target: str) -> bool:
        """Return whether a URL leads to this site, perhaps in a circle."""
        parts = urlsplit(target)
        for own in (self.request.headers.get("host", ""), urlsplit(PUBLIC_URL).netloc):
            name = own.lower().removesuffix(":80").removesuffix(":443")
            if name and name in (parts.netloc, parts.hostname):
                return True
        return False

    async def _page(self, template: str, **context: Any) -> str:
        return await self._render_template(template, **context)

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"

    def _full_url(self, path: str) -> str:
        """Return a URL for others, or its path if the site does not know its name.

        A client can write any name into its ``Host``, and the URL would lead there.
        """
        if PUBLIC_URL:
            return f"{PUBLIC_URL}/{path}"
        if not is_own_host(self.request):
            return self._url(path)
        scheme = self.request.scope.get("scheme", "http")
        return f"{scheme}://{self.request.headers['host']}{self._url(path)}"


def _found(link: sqlite3.Row | None) -> sqlite3.Row:
    if link is None:
        raise HTTPError(404, "There is no such link.")
    return link


def random_alias() -> str:
    """Return a name of eight letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(8))


def date(seconds: float) -> str:
    """Return the day of a time, in UTC."""
    return time.strftime("%d %B %Y", time.gmtime(seconds)).lstrip("0")


app = Shortener()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
