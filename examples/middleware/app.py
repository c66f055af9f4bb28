"""Nine middlewares around one small app; each is a file of its own to copy."""

import html
import os
from typing import Any

from micropie import App, HTTPError, methods

from basic_auth import BasicAuth
from bearer_auth import BearerAuth, hash_token
from cors import CORS
from csrf import CSRF, csrf_token
from error_pages import ErrorPages
from rate_limit import Limiter, MemoryLimiter, RateLimit, RedisLimiter
from security_headers import SecurityHeaders
from timing import Timing
from upload_limit import UploadLimit

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Middleware</title>
<style nonce="{nonce}">
:root {{ color-scheme: light dark; font: 1.05rem/1.6 system-ui, sans-serif; }}
html {{ background: light-dark(#fdfdfb, #15181d);
  color: light-dark(#1d2127, #e6e8eb); }}
body {{ max-width: 34rem; margin: 4rem auto; padding: 0 1.25rem; }}
label {{ display: block; font-weight: 600; }}
form {{ display: flex; flex-wrap: wrap; gap: .6rem; align-items: end;
  margin: 1.5rem 0; }}
input {{ padding: .45rem .7rem; font: inherit; color: inherit;
  background: light-dark(#fff, #1d2229);
  border: 1px solid light-dark(#858d99, #717b8a); border-radius: .4rem; }}
button {{ padding: .5rem 1.1rem; font: inherit; font-weight: 600; cursor: pointer;
  border: 0; border-radius: .4rem;
  color: light-dark(#fff, #15181d); background: light-dark(#0b57a4, #8cc8ff); }}
:focus-visible {{ outline: 3px solid light-dark(#e8a33d, #ffc46b);
  outline-offset: 2px; }}
</style>
<main>
<h1>Middleware</h1>
<p>{greeting}</p>
<form action="{root}/greet" method="post">
<input type="hidden" name="csrf_token" value="{csrf_token}">
<div>
<label for="name">Your name</label><input id="name" name="name" maxlength="80" required>
</div>
<button>Greet</button>
</form>
<p id="time"></p>
</main>
<script nonce="{nonce}">
const [entry] = performance.getEntriesByType("navigation");
const app = entry.serverTiming.find((timing) => timing.name === "app");
const text = `The app took ${{app.duration}} ms for this page.`;
document.getElementById("time").textContent = text;
</script>
</html>
"""


class Root(App):
    """A form, an API, a page for operators, an upload, and an error."""

    async def index(self) -> str:
        """Show the form."""
        greeting = "A form with a token, in a page with a Content-Security-Policy."
        return self._page(greeting)

    @methods("POST")
    async def greet(self, name: str) -> str:
        """Take the form; `CSRF` has looked at its token."""
        return self._page(f"Hello, {html.escape(name)}!")

    async def api(self) -> dict[str, Any]:
        """Answer programs; `BearerAuth` has looked at their token.

        Scripts of the origins that `CORS` knows may read it.
        """
        return {"user": self.request.user, "request": self.request.id}

    async def admin(self) -> str:
        """Answer operators; `BasicAuth` has looked at their password."""
        return self._page(f"You are {html.escape(self.request.user)}.")

    @methods("PUT")
    async def notes(self) -> dict[str, int]:
        """Take a small body; `UploadLimit` has looked at its length."""
        return {"bytes": len(await self.request.body())}

    async def guess(self, number: int = 0) -> dict[str, bool]:
        """Answer three times in a minute: `RateLimit` counts."""
        return {"right": number == 42}

    async def closed(self) -> None:
        """Show what people see when something goes wrong."""
        raise HTTPError(503, "This page is closed until noon.", {"retry-after": "3600"})

    def _page(self, greeting: str) -> str:
        return PAGE.format(
            greeting=greeting,
            nonce=self.request.csp_nonce,
            csrf_token=csrf_token(self.request),
            root=html.escape(self.request.scope.get("root_path", "").rstrip("/")),
        )


def make_app(
    api_token: str = os.environ.get("API_TOKEN", "a token for the demonstration"),
    admin_password: str = os.environ.get(
        "ADMIN_PASSWORD",
        "a password for the demonstration",
    ),
    redis_url: str = os.environ.get("RATE_LIMIT_STORE", ""),
) -> Root:
    """Return the app, its middlewares in order: the first one is the outermost."""
    app = Root()
    limiter: Limiter = MemoryLimiter(3, 60)
    if redis_url:
        from redis.asyncio import Redis

        client = Redis.from_url(redis_url)
        limiter = RedisLimiter(client, 3, 60)
        app.shutdown_handlers.append(client.aclose)
    app.middlewares += [
        Timing(),
        SecurityHeaders(),
        ErrorPages(),
        CORS(["https://app.example.com"]),
        RateLimit(limiter, handlers={"guess"}),
        UploadLimit({"notes": 1000}),
        BearerAuth({hash_token(api_token): "robot"}, handlers={"api", "notes"}),
        BasicAuth({"admin": admin_password}, handlers={"admin"}),
        CSRF(),
    ]
    return app


app = make_app()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
