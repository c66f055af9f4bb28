"""The base of a whole site: URLs, forms, error pages, headers, limits and tasks.

Copy this file beside your app, with ``templates/error.html``.
"""

import asyncio
import contextlib
import functools
import hashlib
import ipaddress
import logging
import math
import mimetypes
import re
import secrets
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from micropie import (
    App,
    HTTPError,
    HttpMiddleware,
    Request,
    SessionBackend,
    methods,
    set_cookie,
)

from local import is_local, is_own_host

_log = logging.getLogger("uvicorn.error")

# As RFC 9110 has them, and Python from 3.13 on.
PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}
STATIC = Path(__file__).parent / "static"
CSRF_COOKIE = "csrf"
TOKEN = re.compile(r"[\w-]{43}", re.ASCII)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Site(App):
    """An app with pages: what is not about one of them is here.

    Args:
        session_backend: Where the sessions are kept.
        rate: How often in a minute one client may do what `_limit` counts.
        public_url: The URL at which people reach the site. If it is None, the site only
            knows the address of its server.
        options: What `App` takes.
    """

    def __init__(
        self,
        session_backend: SessionBackend,
        *,
        rate: int,
        public_url: str | None,
        **options: Any,
    ) -> None:
        self._origin = _origin_of(public_url or "")
        origins = [self._origin] if self._origin else []
        super().__init__(session_backend, allowed_origins=origins, **options)
        self._limiter = MemoryLimiter(rate, 60)
        self._public_url = public_url
        # Texts for statuses, in place of the short ones.
        self._details: dict[int, str] = {}
        self._assets = {path.name: path.read_bytes() for path in STATIC.iterdir()}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopped = asyncio.Event()
        self.middlewares += [SecurityHeaders(), ErrorPages(self), CsrfCookie()]
        self.env.globals |= {
            "url": self._url,
            "asset": self._asset,
            "csrf_token": self._csrf_token,
        }

    @methods("GET")
    async def static(self, name: str) -> tuple[int, bytes, dict[str, str]]:
        """Send a file of ``static``, to be kept forever if the URL has its version."""
        if name not in self._assets:
            raise HTTPError(404)
        current = self.request.query("v") == self._version(name)
        kept = (
            "public, max-age=31536000, immutable" if current else "public, max-age=60"
        )
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return (
            200,
            self._assets[name],
            {"content-type": f"{kind}; charset=utf-8", "cache-control": kept},
        )

    def _version(self, name: str) -> str:
        return _digest(self._assets[name])

    def _asset(self, name: str) -> str:
        return f"{self._url('static', name)}?v={self._version(name)}"

    def _url(self, *segments: str) -> str:
        """Return a URL of this app, wherever it is mounted."""
        root: str = self.request.scope.get("root_path", "")
        return (
            root.rstrip("/") + "/" + "/".join(quote(item, safe="") for item in segments)
        )

    def _full_url(self, *segments: str) -> str:
        """Return a URL with its host, to be handed to others.

        If the site does not know its own name, this is the path alone. The ``Host`` of
        any request would lead those others wherever its client likes.
        """
        if self._public_url is not None:
            path = "/".join(quote(item, safe="") for item in segments)
            return f"{self._public_url.rstrip('/')}/{path}"
        if not is_own_host(self.request):
            return self._url(*segments)
        scheme = self.request.scope.get("scheme") or "http"
        return f"{scheme}://{self.request.headers['host']}{self._url(*segments)}"

    def _csrf_token(self) -> str:
        """Return the token of this browser.

        It is in a cookie, and not in the session, so a visit alone stores nothing here.
        """
        request = self.request
        if not hasattr(request, "csrf"):
            sent = request.cookies.get(CSRF_COOKIE, "")
            request.csrf = sent if TOKEN.fullmatch(sent) else secrets.token_urlsafe(32)
        return str(request.csrf)

    def _check_csrf(self) -> None:
        """Refuse a post from another site's page, which cannot know the token."""
        self._check_origin()
        sent = self.request.form("csrf_token", "")
        known = self.request.cookies.get(CSRF_COOKIE, "")
        same = secrets.compare_digest(sent.encode(), known.encode())
        if not same or not TOKEN.fullmatch(known):
            raise HTTPError(
                403,
                "This form is too old. Please go back, load the page again, "
                "and send it once more.",
            )

    def _check_origin(self) -> None:
        """Refuse a request that a page of another site has caused; programs pass."""
        headers = self.request.headers
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin is not None and _origin_of(origin) == self._origin != "":
            return
        fine = True
        if site is not None:
            fine = site in {"same-origin", "none"}
        elif origin is not None:
            host = headers.get("host", "").lower()
            name = _origin_of(origin).partition("://")[2]
            fine = name != "" and name == re.sub(r":(80|443)$", "", host)
        if not fine:
            raise HTTPError(403, "This cannot be sent from another site.")

    def _limit(self) -> None:
        """Refuse a client that has done too much in the last minute."""
        wait = self._limiter.wait(client_of(self.request))
        if wait:
            text = f"That was too often. Please try again in {math.ceil(wait)} seconds."
            raise HTTPError(429, text, {"retry-after": str(math.ceil(wait))})

    def _owner(self) -> str:
        """Return the hash of this visitor's key, ``""`` for one who owns nothing."""
        key = self.request.session.get("owner")
        return hashed(key) if key else ""

    def _become_owner(self) -> str:
        """Return the hash of this visitor's key, and make one if there is none."""
        session = self.request.session
        if "owner" not in session:
            session["owner"] = secrets.token_urlsafe(32)
            self.request.csrf = secrets.token_urlsafe(32)  # the cookie gets it
            # A stranger who has seen the id from before does not own it too.
            self.request.regenerate_session()
        return self._owner()

    def _repeat(self, job: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Do a job again and again, from the app's start until `_stop_repeating`."""

        async def start() -> None:
            self._stopped.clear()
            self._tasks.append(asyncio.create_task(self._for_ever(job, seconds)))

        self.startup_handlers.append(start)

    async def _for_ever(
        self, job: Callable[[], Awaitable[object]], seconds: float
    ) -> None:
        while not self._stopped.is_set():
            try:
                await job()
            except Exception:  # a database that is busy now is not at the next time
                _log.exception("%s failed", getattr(job, "__qualname__", job))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _stop_repeating(self) -> None:
        """Let the jobs that are under way come to their end, and begin no more."""
        self._stopped.set()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()


@functools.lru_cache(maxsize=64)
def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:12]


def _origin_of(url: str) -> str:
    """Return the origin of a URL, without a default port; ``""`` if it has none."""
    try:
        parts = urlsplit(url.lower())
    except ValueError:
        return ""
    name = re.sub(r":(80|443)$", "", parts.netloc)
    return f"{parts.scheme}://{name}" if name else ""


def hashed(key: str) -> str:
    """Return a random key's hash, so a reader of the database finds no key to use."""
    return hashlib.sha256(key.encode()).hexdigest()


class SecurityHeaders(HttpMiddleware):
    """Adds the headers that a handler has not chosen itself.

    The policy lets no script run but those in ``static``.
    """

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add the headers."""
        present = {name.lower() for name, _ in headers}
        headers.extend(
            (name, value) for name, value in HEADERS.items() if name not in present
        )


class CsrfCookie(HttpMiddleware):
    """Sends the token of a page's forms along, unless the browser has it."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> None:
        """Add the cookie."""
        token = getattr(request, "csrf", "")
        if token and token != request.cookies.get(CSRF_COOKIE):
            path = request.scope.get("root_path") or "/"
            secure = not is_local(request)
            headers.append(set_cookie(CSRF_COOKIE, token, path=path, secure=secure))


class ErrorPages(HttpMiddleware):
    """Makes a page of an error that is a line of text, or JSON for programs."""

    def __init__(self, site: Site) -> None:
        self.site = site

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the body, and leave the other headers alone: Allow, Retry-After."""
        if status < 400 or not isinstance(body, str) or body.lstrip().startswith("<"):
            return None
        title = PHRASES.get(status) or HTTPStatus(status).phrase
        detail = self.site._details.get(status) or (
            "" if body.startswith(str(status)) else body
        )
        wanted = ",".join(
            request.headers.get(name, "") for name in ("accept", "content-type")
        )
        new: Any
        if "text/html" in wanted:
            kind = "text/html; charset=utf-8"
            new = await self.site._render_template(
                "error.html", status=status, title=title, detail=detail
            )
        elif "application/json" in wanted:
            kind, new = "application/json", {"error": detail or title}
        else:
            kind, new = "text/plain; charset=utf-8", f"{detail or body}\n"
        kept = [pair for pair in headers if pair[0] != "content-type"]
        return {"body": new, "headers": [*kept, ("content-type", kind)]}


class MemoryLimiter:
    """Counts by the generic cell rate algorithm, in this process alone.

    With several workers, each one allows that much.

    Args:
        limit: How many requests may come at once.
        seconds: In what time as many may come again.
        clients: How many clients are remembered; then those that have been quiet
            longest are forgotten.
    """

    def __init__(self, limit: int, seconds: float, clients: int = 100_000) -> None:
        self.interval = seconds / limit
        self.seconds = seconds
        self.clients = clients
        # When all that a client has used up is there again.
        self._free_at: dict[str, float] = {}

    def wait(self, key: str) -> float:
        """Return 0 for a request that may pass, or the seconds until one may."""
        now = time.monotonic()
        free_at = max(self._free_at.pop(key, now), now) + self.interval
        wait = free_at - self.seconds - now
        self._free_at[key] = free_at if wait <= 1e-9 else free_at - self.interval
        if len(self._free_at) > self.clients:
            del self._free_at[next(iter(self._free_at))]
        return wait if wait > 1e-9 else 0.0


def client_of(request: Request) -> str:
    """Return the client's address, or its IPv6 network, which one client has whole."""
    host = (request.scope.get("client") or ("unknown",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    # A socket for both kinds shows an IPv4 address as one of these.
    address = getattr(address, "ipv4_mapped", None) or address
    return (
        str(ipaddress.ip_network((address, 64), strict=False))
        if address.version == 6
        else str(address)
    )
