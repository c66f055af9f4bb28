"""Sessions: a visits counter, and accounts to log in to and out of."""

import asyncio
import secrets
from typing import Any

from micropie import App, FromSession, HTTPError, methods

from passwords import hash_password, verify_password

USERS = {7: "ada"}
PASSWORDS = {"ada": hash_password("analytical engine")}
NOBODY = hash_password(secrets.token_hex())


class Root(App):
    """A counter that everybody has, and an account behind a login."""

    async def index(self) -> str:
        """Count the visits of this browser."""
        session = self.request.session
        session["visits"] = session.get("visits", 0) + 1
        return await self._page("home.html")

    @methods("GET", "POST")
    async def login(self) -> Any:
        """Show the form, and take it."""
        if self.request.method != "POST":
            return await self._page("login.html")
        self._check_token()
        username = self.request.form("username", "")
        password = self.request.form("password", "")
        # Names that do not exist cost the same time, so that they cannot be told from
        # wrong passwords.
        kept = PASSWORDS.get(username, NOBODY)
        if not await asyncio.to_thread(verify_password, password, kept):
            return 400, await self._page(
                "login.html", username=username, error="Wrong name or password."
            )
        session = self.request.session
        session["user_id"] = next(
            number for number, name in USERS.items() if name == username
        )
        session.pop("csrf_token")  # a new one for the new session
        self.request.regenerate_session()
        return self._redirect(self._root() + "/account", 303)

    @methods("POST")
    async def logout(self) -> Any:
        """Forget everything: an emptied session is deleted, and its cookie too."""
        self._check_token()
        self.request.session.clear()
        return self._redirect(self._root() + "/", 303)

    async def account(self, user_id: FromSession) -> str:
        """Show who is logged in; 401 where nobody is."""
        return await self._page("account.html")

    async def _page(self, template: str, **context: Any) -> str:
        session = self.request.session
        return await self._render_template(
            template,
            root=self._root(),
            user=USERS.get(session.get("user_id", 0)),
            visits=session.get("visits", 0),
            csrf_token=session.setdefault("csrf_token", secrets.token_urlsafe(32)),
            **context,
        )

    def _check_token(self) -> None:
        """Refuse a form that this site has not made for this session."""
        expected = self.request.session.get("csrf_token", "")
        sent = self.request.form("csrf_token", "")
        if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
            raise HTTPError(
                403, "This form has expired: go back, reload it and send it again."
            )

    def _root(self) -> str:
        root: str = self.request.scope.get("root_path", "")
        return root.rstrip("/")


app = Root(session_timeout=3600)

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
