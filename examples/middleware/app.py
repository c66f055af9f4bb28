"""A small API with nine middlewares around it; copy the file of each."""

import os
from typing import Any

from micropie import App, methods

from basic_auth import BasicAuth
from bearer_auth import BearerAuth, hash_token
from cors import CORS
from csrf import CSRF, csrf_token
from error_pages import ErrorPages
from rate_limit import MemoryLimiter, RateLimit
from security_headers import SecurityHeaders
from timing import Timing
from upload_limit import UploadLimit

API_TOKEN = os.environ.get("API_TOKEN", "a token for the demonstration")
ADMIN_PASSWORD = os.environ.get("ADMIN_PASSWORD", "a password for the demonstration")


class Root(App):
    """One handler for each middleware that guards some of them."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares += [  # in order: the first one is the outermost
            Timing(),
            SecurityHeaders(),
            ErrorPages(),
            CORS(["https://app.example.com"]),
            RateLimit(MemoryLimiter(3, 60), handlers={"guess"}),
            UploadLimit({"notes": 1000}),
            BearerAuth({hash_token(API_TOKEN): "robot"}, handlers={"api", "notes"}),
            BasicAuth({"admin": ADMIN_PASSWORD}, handlers={"admin"}),
            CSRF(),
        ]

    async def index(self) -> dict[str, list[str]]:
        """Name the other URLs."""
        return {"see": ["api", "admin", "guess/42", "form"]}

    async def api(self) -> dict[str, Any]:
        """Answer programs; `BearerAuth` has looked at their token."""
        return {"user": self.request.user, "request": self.request.id}

    async def admin(self) -> dict[str, str]:
        """Answer operators; `BasicAuth` has looked at their password."""
        return {"user": self.request.user}

    @methods("PUT")
    async def notes(self) -> dict[str, int]:
        """Take a small body; `UploadLimit` has looked at its length."""
        return {"bytes": len(await self.request.body())}

    async def guess(self, number: int) -> dict[str, bool]:
        """Answer three times in a minute; `RateLimit` counts."""
        return {"right": number == 42}

    @methods("GET", "POST")
    async def form(self, *, name: str = "") -> dict[str, str]:
        """Give a token to send with a form, and take it; `CSRF` has looked at it."""
        if self.request.method == "POST":
            return {"text": f"Hello, {name}!"}
        return {"csrf_token": csrf_token(self.request)}


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
