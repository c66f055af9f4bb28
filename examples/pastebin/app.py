"""A pastebin: texts under secret links, for some time, forever, or for one reader."""

import asyncio
import os
import secrets
import sqlite3
import time
from typing import Any

from micropie import HTTPError, methods

import store
from database import SQLiteSessions, hashed, migrate
from languages import GUESS, LANGUAGES, colored, guess
from web import Limiter, Polish, Site

PUBLIC_URL = os.environ.get("PASTEBIN_URL", "").rstrip("/")
RATE = int(os.environ.get("PASTEBIN_RATE", 30))  # new pastes a minute from one address
LIMIT = 256 * 1024  # bytes of one paste
TOO_LONG = f"A paste can have {LIMIT // 1024} KiB at most."
MONTH = 30 * 86_400.0
# The label, the seconds that a paste lives, and whether it burns after reading.
LIFETIMES: dict[str, tuple[str, float | None, bool]] = {
    "10m": ("in 10 minutes", 600.0, False),
    "1d": ("in a day", 86_400.0, False),
    "never": ("never", None, False),
    "burn": ("as soon as it has been read", MONTH, True),
}
DEFAULTS = {"text": "", "title": "", "language": GUESS, "expires": "1d"}


class Pastebin(Site):
    """Forms for people, and ``/pastes`` for curl."""

    def __init__(self) -> None:
        # In a form, one byte can take three, and the end of a line six: %0D%0A.
        largest = 6 * LIMIT + 4096
        super().__init__(
            SQLiteSessions(),
            session_timeout=MONTH,
            allowed_origins=["/".join(PUBLIC_URL.split("/")[:3])] if PUBLIC_URL else [],
            max_body_size=largest,
            max_form_field_size=largest,
        )
        self._limiter = Limiter(RATE)
        self.startup_handlers.append(migrate)
        self.middlewares.append(Polish(self, {413: TOO_LONG}))
        self.env.filters["time_left"] = time_left
        self.env.globals |= {
            "LANGUAGES": LANGUAGES,
            "LIFETIMES": LIFETIMES,
            "LIMIT": LIMIT,
            "full_url": self._full_url,
        }

    @methods("GET")
    async def index(self) -> Any:
        """Show the form."""
        return await self._page("index.html", values=DEFAULTS)

    @methods("POST")
    async def create(self) -> Any:
        """Keep the text of the form, and go to its page."""
        form, session = self.request.form, self.request.session
        values = {name: form(name, default) for name, default in DEFAULTS.items()}
        values["text"] = values["text"].replace("\r\n", "\n")  # made by the browser
        owner = session.get("owner") or secrets.token_hex(32)
        try:
            paste_id = await asyncio.to_thread(self._add, owner, **values)
        except HTTPError as problem:
            return await self._page(
                "index.html",
                problem.status,
                problem.headers,
                values=values,
                problem=problem.body,
            )
        session["owner"] = owner
        return self._redirect(self._url(f"p/{paste_id}"), 303)

    @methods("GET", "POST")
    def p(self, paste_id: str, /) -> Any:
        """Show a paste. One that burns is shown once, after a press of the button."""
        post = self.request.method == "POST"
        paste = _found(store.burn(paste_id) if post else store.find(paste_id))
        own = paste["owner"] == self.request.session.get("owner")
        template = "sealed.html" if paste["burn"] and not post else "paste.html"
        return self._page(template, paste=paste, own=own)

    @methods("GET", "POST")
    def raw(self, paste_id: str, /) -> tuple[int, str, dict[str, str]]:
        """Send the text alone; one that burns takes a POST."""
        post = self.request.method == "POST"
        paste = _found(store.burn(paste_id) if post else store.find(paste_id))
        if paste["burn"] and not post:
            raise HTTPError(403, "This can be read once. To read it, send a POST.")
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "content-security-policy": policy,
            "x-robots-tag": "noindex",
        }
        return 200, paste["text"], headers

    @methods("GET")
    def mine(self) -> Any:
        """List the pastes of this visitor."""
        owner = self.request.session.get("owner")
        return self._page("mine.html", pastes=store.owned(owner) if owner else [])

    @methods("POST")
    def delete(self, paste_id: str, /) -> Any:
        """Delete a paste of this visitor."""
        _found(store.delete(paste_id, self.request.session.get("owner", "")))
        return self._redirect(self._url("mine"), 303)

    @methods("POST", "PUT", "DELETE")
    async def pastes(self, name: str = "", /) -> Any:
        """Keep the body as a paste, or delete a paste by its key.

        The name of a new paste can tell its language.
        """
        if self.request.method == "DELETE":
            scheme, _, key = self.request.headers.get("authorization", "").partition(
                " "
            )
            owner = hashed(key.strip()) if scheme.lower() == "bearer" else ""
            _found(await asyncio.to_thread(store.delete, name, owner))
            return None
        # Not parameters of the handler, which MicroPie would also look for in the body.
        query = self.request.query
        values = {key: query(key, DEFAULTS[key]) for key in ("language", "expires")}
        try:
            text = (await self.request.body()).decode()
        except UnicodeDecodeError:
            raise HTTPError(415, "A paste is text, in UTF-8.") from None
        key = secrets.token_hex(24)
        paste_id = await asyncio.to_thread(self._add, hashed(key), text, name, **values)
        url = self._full_url(f"p/{paste_id}")
        headers = {"content-type": "text/plain; charset=utf-8", "location": url}
        return 201, f"{url}\n", headers | {"x-delete-key": key}

    def _add(
        self, owner: str, text: str, title: str, language: str, expires: str
    ) -> str:
        if len(text.encode()) > LIMIT:
            raise HTTPError(413, TOO_LONG)
        if not text.strip():
            raise HTTPError(422, "There is no text in it.")
        if language not in (GUESS, *LANGUAGES):
            known = ", ".join((GUESS, *LANGUAGES))
            raise HTTPError(422, f"The language is one of: {known}.")
        if expires not in LIFETIMES:
            raise HTTPError(422, f"It expires in one of: {', '.join(LIFETIMES)}.")
        self._limiter.check(self.request)
        title = "".join(letter for letter in title if letter.isprintable())[:100]
        if language == GUESS:
            language = guess(text, title)
        _, seconds, burn = LIFETIMES[expires]
        return store.add(
            owner=owner,
            title=title.strip(),
            language=language,
            text=text,
            html=colored(text, language),
            burn=burn,
            expires=None if seconds is None else time.time() + seconds,
        )

    def _full_url(self, path: str) -> str:
        """Return a URL for others: without a setting, the path alone.

        A client can write any name into its ``Host``, and the URL would lead there.
        """
        return f"{PUBLIC_URL}/{path}" if PUBLIC_URL else self._url(path)


def _found(paste: sqlite3.Row | None) -> sqlite3.Row:
    if paste is None:
        raise HTTPError(
            404,
            "There is no such paste. Perhaps it has expired, or was read or deleted.",
        )
    return paste


def time_left(expires: float | None) -> str:
    """Return how long a paste still lives, in the largest unit that fits."""
    if expires is None:
        return "never"
    seconds = max(0.0, expires - time.time())
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        count = round(seconds / length)
        if seconds > 0.99 * length:
            return f"in {count} {unit}{'s' if count > 1 else ''}"
    return "in less than a minute"


app = Pastebin()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
