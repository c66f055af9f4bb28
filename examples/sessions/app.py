"""Sessions: a counter for each browser, and an account to log in to and out of."""

import asyncio
from typing import Any

from micropie import App, FromSession, methods

from passwords import hash_password, verify_password

USERS = {7: "ada"}
PASSWORDS = {"ada": hash_password("analytical engine")}
# It is checked for names that do not exist. So they take as long as a wrong password.
NO_ACCOUNT = hash_password("")


class Root(App):
    """A counter that every visitor has, and an account behind a login."""

    def __init__(self) -> None:
        super().__init__(session_timeout=3600)
        self.env.globals["url"] = self._url

    async def index(self) -> str:
        """Show the counter; this stores nothing."""
        return await self._page("home.html")

    @methods("POST")
    async def visit(self) -> Any:
        """Count one more visit of this browser."""
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return self._redirect(self._url(), 303)

    @methods("GET", "POST")
    async def login(self) -> Any:
        """Show the form, or check what it sends."""
        if self.request.method != "POST":
            return await self._page("login.html")
        # Not parameters, which the URL could fill in: URLs end up in logs.
        username = self.request.form("username", "")
        password = self.request.form("password", "")
        stored = PASSWORDS.get(username, NO_ACCOUNT)
        # A thread, since the check takes a tenth of a second on purpose.
        fits = await asyncio.to_thread(verify_password, password, stored)
        if not fits or username not in PASSWORDS:
            error = "Wrong name or password."
            return 400, await self._page("login.html", username=username, error=error)
        [user_id] = [number for number, name in USERS.items() if name == username]
        self.request.session["user_id"] = user_id
        self.request.regenerate_session()
        return self._redirect(self._url("account"), 303)

    @methods("POST")
    async def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    async def account(self, user_id: FromSession) -> str:
        """Show the account; without a login, MicroPie answers 401."""
        return await self._page("account.html")

    async def _page(self, template: str, **context: Any) -> str:
        session = self.request.session
        user = USERS.get(session.get("user_id", 0))
        return await self._render_template(
            template, user=user, visits=session.get("visits", 0), **context
        )

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
