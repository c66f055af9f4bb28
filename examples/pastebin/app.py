"""A pastebin: texts under secret links, for some time, forever, or for one reader."""

import asyncio
import os
import secrets
import sqlite3
import time
from typing import Any

from micropie import HTTPError, methods

import store
from database import SQLiteSessions, migrate
from languages import GUESS, LANGUAGES, colored, guess
from web import Limiter, SecurityHeaders, Site

PUBLIC_URL = os.environ.get("PASTEBIN_URL", "").rstrip("/")
RATE = int(os.environ.get("PASTEBIN_RATE", 30))  # new pastes a minute from one address
LIMIT = 256 * 1024  # bytes of one paste
MONTH = 30 * 86_400.0
# The label, the seconds that a paste lives, and whether it burns after reading.
LIFETIMES: dict[str, tuple[str, float | None, bool]] = {
    "10m": ("in 10 minutes", 600.0, False),
    "1d": ("in a day", 86_400.0, False),
    "never": ("never", None, False),
    "burn": ("as soon as it has been read", MONTH, True),
}
PLAIN = "text/plain; charset=utf-8"
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
        self.middlewares.append(SecurityHeaders())
        self.env.filters["date"] = date
        self.env.globals |= {"LANGUAGES": LANGUAGES, "LIFETIMES": LIFETIMES}

    @methods("GET")
    async def index(self) -> str:
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
        except HTTPError as error:
            context = {"values": values, "problem": error.body}
            page = await self._page("index.html", **context)
            return error.status, page, error.headers
        session["owner"] = owner
        return self._redirect(self._url(f"p/{paste_id}"), 303)

    @methods("GET", "POST")
    def p(self, paste_id: str, /) -> Any:
        """Show a paste. One that burns is shown once, after a press of the button."""
        paste, is_open = self._read(paste_id)
        own = paste["owner"] == self.request.session.get("owner")
        return self._page("paste.html", paste=paste, own=own, is_open=is_open)

    @methods("GET", "POST")
    def raw(self, paste_id: str, /) -> tuple[int, str, dict[str, str]]:
        """Send the text alone; one that burns takes a POST."""
        paste, is_open = self._read(paste_id)
        if not is_open:
            raise HTTPError(403, "This can be read once. To read it, send a POST.")
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        headers = {"content-security-policy": policy, "x-robots-tag": "noindex"}
        return 200, paste["text"], headers | {"content-type": PLAIN}

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

    @methods("POST", "PUT")
    async def pastes(self, name: str = "", /) -> Any:
        """Keep the body as a paste; its name can tell the language."""
        try:
            text = (await self.request.body()).decode()
        except (UnicodeDecodeError, RuntimeError):  # a multipart form is gone by now
            raise HTTPError(415, "A paste is the whole body, in UTF-8.") from None
        # Not parameters of the handler, which MicroPie would look for in the body too.
        query, owner = self.request.query, secrets.token_hex(32)
        values = {key: query(key, DEFAULTS[key]) for key in ("language", "expires")}
        paste_id = await asyncio.to_thread(self._add, owner, text, name, **values)
        # Not with the Host of the request, into which a client can write any name.
        path = f"p/{paste_id}"
        url = f"{PUBLIC_URL}/{path}" if PUBLIC_URL else self._url(path)
        return 201, f"{url}\n", {"content-type": PLAIN, "location": url}

    def _read(self, paste_id: str) -> tuple[sqlite3.Row, bool]:
        """Return a paste, and whether its text can be shown; a POST burns it."""
        post = self.request.method == "POST"
        paste = _found(store.burn(paste_id) if post else store.find(paste_id))
        return paste, post or not paste["burn"]

    def _add(
        self, owner: str, text: str, title: str, language: str, expires: str
    ) -> str:
        languages, lifetimes = (GUESS, *LANGUAGES), ", ".join(LIFETIMES)
        if len(text.encode()) > LIMIT:
            raise HTTPError(413, f"A paste can have {LIMIT // 1024} KiB at most.")
        if not text.strip():
            raise HTTPError(422, "There is no text in it.")
        if language not in languages:
            raise HTTPError(422, f"The language is one of: {', '.join(languages)}.")
        if expires not in LIFETIMES:
            raise HTTPError(422, f"It expires in one of: {lifetimes}.")
        self._limiter.check(self.request)
        title = "".join(filter(str.isprintable, title))[:100].strip()
        language = guess(text, title) if language == GUESS else language
        _, seconds, burn = LIFETIMES[expires]
        return store.add(
            owner=owner,
            title=title,
            language=language,
            text=text,
            html=colored(text, language),
            burn=burn,
            expires=seconds and time.time() + seconds,
        )


def _found(paste: sqlite3.Row | None) -> sqlite3.Row:
    if paste is None:
        why = "Perhaps it has expired, or was read or deleted."
        raise HTTPError(404, f"There is no such paste. {why}")
    return paste


def date(expires: float | None) -> str:
    """Return how long a paste is kept, in words."""
    found = time.gmtime(expires or 0)
    return time.strftime("until %d %B, %H:%M UTC", found) if expires else "forever"


app = Pastebin()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
