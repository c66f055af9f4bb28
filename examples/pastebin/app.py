"""A pastebin: texts under secret links, for ten minutes, a day, ever, or one reader."""

import os
import time
from pathlib import Path
from typing import Any

from micropie import HTTPError, methods

from highlight import GUESS, LANGUAGES, Highlighter, style_sheet
from site_base import Site, hashed
from sql_sessions import SQLSessionBackend, make_engine
from store import Paste, PasteStore

HERE = Path(__file__).parent
DATABASE = os.environ.get(
    "PASTEBIN_DATABASE", f"sqlite+aiosqlite:///{HERE / 'pastes.sqlite3'}"
)
PUBLIC_URL = os.environ.get("PASTEBIN_URL")
# New pastes in a minute from one address.
RATE = int(os.environ.get("PASTEBIN_RATE", 30))
LIMIT = int(os.environ.get("PASTEBIN_LIMIT", 256 * 1024))  # bytes of one paste
CLEAN_UP_EVERY = float(os.environ.get("PASTEBIN_CLEAN_UP_EVERY", 60))  # seconds
HIGHLIGHT_SECONDS = float(os.environ.get("PASTEBIN_HIGHLIGHT_SECONDS", 5))
MONTH = 30 * 86_400.0
# name: what people read, the seconds that it lives, whether it burns
LIFETIMES: dict[str, tuple[str, float | None, bool]] = {
    "10m": ("in 10 minutes", 600.0, False),
    "1d": ("in a day", 86_400.0, False),
    "never": ("never", None, False),
    "burn": ("as soon as it has been read", MONTH, True),
}


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


class Pastebin(Site):
    """Forms for people, ``/pastes`` for curl."""

    def __init__(self) -> None:
        engine = make_engine(DATABASE)
        sessions = SQLSessionBackend(engine)
        # In a form, one byte can take three, and a line end six: %0D%0A.
        super().__init__(
            sessions,
            rate=RATE,
            public_url=PUBLIC_URL,
            session_timeout=MONTH,
            max_body_size=6 * LIMIT + 4096,
        )
        self._details[413] = f"A paste can have {LIMIT // 1024} KiB at most."
        self._store = PasteStore(engine)
        self._highlighter = Highlighter(HIGHLIGHT_SECONDS)
        self._assets["code.css"] = style_sheet().encode()
        self.env.filters["time_left"] = time_left
        self.env.globals |= {
            "LANGUAGES": LANGUAGES,
            "LIFETIMES": LIFETIMES,
            "LIMIT": LIMIT,
            "full_url": self._full_url,
        }
        self.startup_handlers += [sessions.create_table, self._store.create_table]
        self._repeat(self._store.delete_expired, CLEAN_UP_EVERY)
        self._repeat(sessions.delete_expired, CLEAN_UP_EVERY)
        self.shutdown_handlers += [
            self._stop_repeating,
            self._highlighter.close,
            engine.dispose,
        ]

    @methods("GET")
    async def index(self) -> str:
        """Show the form."""
        return await self._render_template(
            "index.html", values={"expires": "1d", "language": GUESS}
        )

    @methods("POST")
    async def create(
        self,
        *,
        text: str = "",
        title: str = "",
        language: str = GUESS,
        expires: str = "1d",
    ) -> tuple[int, Any, Any]:
        """Keep what the form sends, and go to its page."""
        self._check_csrf()
        text = text.replace("\r\n", "\n")  # which browsers make of every line end
        problem = self._problem(text, language, expires)
        if problem:
            values = {
                "text": text,
                "title": title,
                "language": language,
                "expires": expires,
            }
            page = await self._render_template(
                "index.html", values=values, problem=problem.body
            )
            return problem.status, page, {}
        self._limit()
        paste_id = await self._add(text, title, language, expires, self._become_owner())
        return self._redirect(self._url("p", paste_id), 303)

    @methods("GET", "POST")
    async def p(self, paste_id: str) -> str:
        """Show a paste; one that burns is shown once, after a press of the button."""
        if self.request.method == "POST":
            self._check_csrf()
            paste = self._found(await self._store.burn(paste_id))
        else:
            paste = self._found(
                await self._store.read(paste_id) or await self._store.head(paste_id)
            )
        template = "paste.html" if paste.html else "sealed.html"
        return await self._render_template(
            template, paste=paste, own=paste.owner == self._owner()
        )

    @methods("GET", "POST")
    async def raw(self, paste_id: str) -> tuple[int, str, dict[str, str]]:
        """Send the text alone; what burns has to be asked for by a POST."""
        if self.request.method == "POST":
            self._check_origin()
            paste = self._found(await self._store.burn(paste_id))
        else:
            paste = self._found(
                await self._store.read(paste_id) or await self._store.head(paste_id)
            )
            if paste.burn:
                raise HTTPError(403, "This can be read once. To read it, send a POST.")
        policy = "default-src 'none'; frame-ancestors 'none'; sandbox"
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "content-security-policy": policy,
        }
        return 200, paste.text, headers | {"x-robots-tag": "noindex"}

    @methods("GET")
    async def mine(self) -> str:
        """List the pastes of this visitor."""
        owner = self._owner()
        return await self._render_template(
            "mine.html", pastes=await self._store.owned(owner) if owner else []
        )

    @methods("POST")
    async def delete(self, paste_id: str) -> Any:
        """Delete a paste of this visitor."""
        self._check_csrf()
        if not await self._store.delete(paste_id, self._owner()):
            raise HTTPError(404)
        return self._redirect(self._url("mine"), 303)

    @methods("POST", "PUT", "DELETE")
    async def pastes(
        self, name: str = "", *, language: str = GUESS, expires: str = "1d"
    ) -> Any:
        """Keep the body as a paste, or delete a paste with its key.

        The paste's name may say its language.
        """
        self._check_origin()
        if self.request.method == "DELETE":
            scheme, _, key = self.request.headers.get("authorization", "").partition(
                " "
            )
            if scheme.lower() != "bearer" or not await self._store.delete(
                name, hashed(key.strip())
            ):
                raise HTTPError(
                    404, "There is no such paste, or the key is another one's."
                )
            return None
        try:
            text = (await self.request.body()).decode()
        except UnicodeDecodeError:
            raise HTTPError(415, "A paste is text, in UTF-8.") from None
        problem = self._problem(text, language, expires)
        if problem:
            raise problem
        self._limit()
        key = os.urandom(24).hex()
        paste_id = await self._add(text, name, language, expires, hashed(key))
        url = self._full_url("p", paste_id)
        headers = {
            "content-type": "text/plain; charset=utf-8",
            "location": url,
            "x-delete-key": key,
        }
        return 201, f"{url}\n", headers

    def _problem(self, text: str, language: str, expires: str) -> HTTPError | None:
        if len(text.encode()) > LIMIT:
            return HTTPError(413, self._details[413])
        if not text.strip():
            return HTTPError(422, "There is no text in it.")
        if language not in (GUESS, *LANGUAGES):
            return HTTPError(
                422, f"The language is one of: {', '.join((GUESS, *LANGUAGES))}."
            )
        if expires not in LIFETIMES:
            return HTTPError(422, f"It expires in one of: {', '.join(LIFETIMES)}.")
        return None

    async def _add(
        self, text: str, title: str, language: str, expires: str, owner: str
    ) -> str:
        title = "".join(letter for letter in title if letter.isprintable()).strip()[
            :100
        ]
        language, markup = await self._highlighter.highlight(text, language, title)
        _, seconds, burn = LIFETIMES[expires]
        until = None if seconds is None else time.time() + seconds
        return await self._store.add(
            owner=owner,
            title=title,
            language=language,
            text=text,
            html=markup,
            burn=burn,
            expires=until,
        )

    def _found(self, paste: Paste | None) -> Paste:
        if paste is None:
            raise HTTPError(
                404,
                "There is no such paste: it has expired, "
                "or it has been read or deleted.",
            )
        return paste

    async def _asgi_app_http(self, scope: Any, receive: Any, send: Any) -> None:
        """Leave a body for ``/pastes`` as it is.

        curl calls every body a form, and forms are taken apart.
        """
        if scope["path"].removeprefix(scope.get("root_path", "")).startswith("/pastes"):
            scope = {
                **scope,
                "headers": [
                    pair
                    for pair in scope["headers"]
                    if pair[0].lower() != b"content-type"
                ],
            }
        await super()._asgi_app_http(scope, receive, send)


app = Pastebin()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
