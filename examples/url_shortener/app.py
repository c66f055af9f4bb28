"""A URL shortener: chosen or random names, clicks per day, QR codes, and an API."""

import io
import os
import secrets
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import segno
from micropie import HTTPError, methods

import aliases
import targets
from chart import chart
from site_base import Site, hashed
from sql_sessions import SQLSessionBackend, make_engine
from store import Link, LinkStore, TakenError

HERE = Path(__file__).parent
DATABASE = os.environ.get(
    "SHORTENER_DATABASE", f"sqlite+aiosqlite:///{HERE / 'links.sqlite3'}"
)
PUBLIC_URL = os.environ.get("SHORTENER_URL")
# New links in a minute from one address.
RATE = int(os.environ.get("SHORTENER_RATE", 30))
WRITE_EVERY = float(os.environ.get("SHORTENER_WRITE_EVERY", 2))  # seconds
CLEAN_UP_EVERY = 600.0  # seconds
DAY = 86_400.0
KEPT = 90 * DAY  # how long the name of an expired link stays taken
DAYS_SHOWN = 30
MOST_TOKENS = 10
# name: what people read, the seconds that it lives
LIFETIMES: dict[str, tuple[str, float | None]] = {
    "never": ("never", None),
    "1d": ("in a day", DAY),
    "30d": ("in 30 days", 30 * DAY),
    "1y": ("in a year", 365 * DAY),
}


class Refused(Exception):
    """A link cannot be made.

    Attributes:
        status: The HTTP status that says so.
        field: The field that is wrong.
    """

    def __init__(self, status: int, field: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.field = field


class Shortener(Site):
    """Forms for people, ``/api/links`` for programs; the rest are short links."""

    def __init__(self) -> None:
        engine = make_engine(DATABASE)
        sessions = SQLSessionBackend(engine)
        super().__init__(
            sessions,
            rate=RATE,
            public_url=PUBLIC_URL,
            session_timeout=30 * DAY,
            max_body_size=64 * 1024,
        )
        self._store = LinkStore(engine)
        self._pages = frozenset(
            name.replace("_", "-")
            for name in vars(Shortener) | vars(Site)
            if name[0] != "_"
        )
        self.env.filters["day"] = lambda seconds: time.strftime(
            "%d %B %Y", time.gmtime(seconds)
        ).lstrip("0")
        self.env.globals |= {"LIFETIMES": LIFETIMES, "full_url": self._full_url}
        self.startup_handlers += [sessions.create_table, self._store.create_tables]
        self._repeat(self._store.write_clicks, WRITE_EVERY)
        self._repeat(self._delete_expired, CLEAN_UP_EVERY)
        self._repeat(sessions.delete_expired, CLEAN_UP_EVERY)
        self.shutdown_handlers += [
            self._stop_repeating,
            self._store.write_clicks,
            engine.dispose,
        ]

    @methods("GET")
    async def index(self, alias: str = "") -> Any:
        """Follow a link; without one, show the form."""
        if not alias:
            return await self._render_template(
                "index.html", values={"expires": "never"}
            )
        link = self._existing(await self._store.find(alias.lower()))
        if link.expired:
            raise HTTPError(410, "This link has expired.")
        if self.request.method == "GET" and "prefetch" not in self.request.headers.get(
            "sec-purpose", ""
        ):
            self._store.click(link)
        # Not 301, which a browser keeps forever. Its next clicks would not be counted,
        # and a link that expires or is deleted would still lead there.
        return self._redirect(
            link.target, 302, {"cache-control": "no-store", "x-robots-tag": "noindex"}
        )

    @methods("POST")
    async def shorten(
        self, *, url: str = "", alias: str = "", expires: str = "never"
    ) -> Any:
        """Make a link of what the form sends, and go to its page."""
        self._check_csrf()
        try:
            link = await self._new(url, alias, expires, "")
        except Refused as refusal:
            values = {"url": url, "alias": alias, "expires": expires}
            page = await self._render_template(
                "index.html", values=values, problems={refusal.field: str(refusal)}
            )
            return refusal.status, page
        return self._redirect(self._url("links", link.alias), 303)

    @methods("GET")
    async def links(self, alias: str = "") -> str:
        """List the links of this visitor, or show one with its clicks and QR code."""
        owner = self._owner()
        if not alias:
            return await self._render_template(
                "links.html", links=await self._store.owned(owner) if owner else []
            )
        link = self._existing(await self._store.find(alias), owner)
        drawn = chart(await self._store.per_day(link, DAYS_SHOWN))
        return await self._render_template(
            "link.html", link=link, chart=drawn, total=await self._store.total(link)
        )

    @methods("POST")
    async def delete(self, alias: str) -> Any:
        """Delete a link of this visitor."""
        self._check_csrf()
        if not await self._store.delete(alias, self._owner()):
            raise HTTPError(404)
        return self._redirect(self._url("links"), 303)

    @methods("GET")
    async def qr(self, alias: str) -> tuple[int, bytes, dict[str, str]]:
        """Draw the QR code of a link."""
        link = self._existing(await self._store.find(alias))
        url = self._full_url(link.alias)
        if url.startswith("/"):
            raise HTTPError(400, "This site does not know its own name: set its URL.")
        drawing = io.BytesIO()
        # Black on white in dark mode too, with a margin, since some scanners do not
        # read the opposite.
        segno.make(url, error="m", micro=False).save(
            drawing, kind="svg", light="#fff", scale=4
        )
        return 200, drawing.getvalue(), {"content-type": "image/svg+xml"}

    @methods("GET", "POST")
    async def tokens(self) -> Any:
        """List the API tokens of this visitor, or make a new one, shown this once."""
        new = ""
        if self.request.method == "POST":
            self._check_csrf()
            self._limit()
            new = secrets.token_urlsafe(32)
            if not await self._store.add_token(
                hashed(new), self._become_owner(), new[:6], MOST_TOKENS
            ):
                raise HTTPError(
                    409, f"You have {MOST_TOKENS} tokens: delete one first."
                )
        known = await self._store.tokens(self._owner())
        return 201 if new else 200, await self._render_template(
            "tokens.html", tokens=known, new=new
        )

    @methods("POST")
    async def delete_token(self, token: str) -> Any:
        """Delete an API token of this visitor; what is sent is its hash."""
        self._check_csrf()
        await self._store.delete_token(token, self._owner())
        return self._redirect(self._url("tokens"), 303)

    @methods("GET", "POST", "DELETE")
    async def api(self, *path: str) -> Any:
        """Make, list, show and delete links, with a bearer token.

        Their URLs are ``/api/links`` and ``/api/links/<alias>``.
        """
        if path[:1] != ("links",) or len(path) > 2:
            raise HTTPError(404)
        alias = "".join(path[1:])
        allowed = ("GET", "HEAD", "DELETE") if alias else ("GET", "HEAD", "POST")
        if self.request.method not in allowed:
            raise HTTPError(405, headers={"allow": ", ".join(allowed)})
        owner = await self._token_owner()
        if self.request.method == "POST":
            return await self._api_new(owner)
        if not alias:
            return {
                "links": [
                    self._as_json(link) for link in await self._store.owned(owner)
                ]
            }
        link = await self._store.find(alias)
        if link is None or link.owner != owner:
            raise HTTPError(404, {"error": "You have no link of this name."})
        if self.request.method == "DELETE":
            await self._store.delete(alias, owner)
            return None
        per_day = await self._store.per_day(link, DAYS_SHOWN)
        shown = self._as_json(link) | {"clicks": await self._store.total(link)}
        return shown | {"per_day": {str(day): count for day, count in per_day.items()}}

    async def _api_new(self, owner: str) -> Any:
        body = self.request.json()
        given = body if isinstance(body, dict) else {}
        for name in ("url", "alias", "expires"):
            if not isinstance(given.get(name, ""), str):
                return 422, {"error": "Send a text.", "field": name}
        try:
            link = await self._new(
                given.get("url", ""),
                given.get("alias", ""),
                given.get("expires", "never"),
                owner,
            )
        except Refused as refusal:
            return refusal.status, {"error": str(refusal), "field": refusal.field}
        return (
            201,
            self._as_json(link),
            {"location": self._url("api", "links", link.alias)},
        )

    async def _token_owner(self) -> str:
        scheme, _, token = self.request.headers.get("authorization", "").partition(" ")
        owner = (
            await self._store.owner_of(hashed(token.strip()))
            if scheme.lower() == "bearer"
            else None
        )
        if owner is None:
            raise HTTPError(
                401,
                {"error": "Send a token that you have made here."},
                {"www-authenticate": "Bearer"},
            )
        return owner

    def _as_json(self, link: Link) -> dict[str, Any]:
        shown = {
            "short": self._full_url(link.alias),
            "url": link.target,
            "alias": link.alias,
            "clicks": link.total,
        }
        return shown | {
            "expires": link.expires
            and time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(link.expires))
        }

    async def _new(self, url: str, alias: str, expires: str, owner: str) -> Link:
        """Make a link for an owner, or for this visitor.

        Raises:
            Refused: It cannot be had.
        """
        own_hosts = {
            self.request.headers.get("host", ""),
            urlsplit(PUBLIC_URL or "").netloc,
        }
        try:
            target = targets.checked(url, own_hosts)
            wanted = aliases.checked(alias, self._pages) if alias.strip() else None
        except targets.TargetError as error:
            raise Refused(422, "url", str(error)) from None
        except aliases.AliasError as error:
            raise Refused(422, "alias", str(error)) from None
        if expires not in LIFETIMES:
            raise Refused(
                422, "expires", f"It expires in one of: {', '.join(LIFETIMES)}."
            )
        self._limit()
        seconds = LIFETIMES[expires][1]
        until = None if seconds is None else time.time() + seconds
        while True:
            try:
                return await self._store.add(
                    wanted or aliases.drawn(),
                    target,
                    owner or self._become_owner(),
                    until,
                )
            except TakenError:
                if wanted:
                    raise Refused(409, "alias", f"“{wanted}” is taken.") from None

    def _existing(self, link: Link | None, owner: str | None = None) -> Link:
        if link is None or owner not in (None, link.owner):
            raise HTTPError(404, "There is no such link.")
        return link

    async def _delete_expired(self) -> None:
        await self._store.delete_expired(KEPT)


app = Shortener()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
