"""A JSON API with accounts: short access tokens, and refresh tokens that rotate."""

import sqlite3
from typing import Any

from micropie import App, HTTPError, HttpMiddleware, Request, methods
from pydantic import BaseModel, Field

import tokens
from database import create_tables, transaction
from passwords import hash_password, verify_password

# It is checked for names that do not exist. So they take as long as a wrong password.
NO_ACCOUNT = hash_password("")
NO_STORE = {"cache-control": "no-store"}


class Account(BaseModel):
    """The body of a sign-up and of a login."""

    username: str = Field(pattern=r"^[a-z0-9_]{3,30}$")
    password: str = Field(min_length=10, max_length=200)


class RefreshToken(BaseModel):
    """The body of a refresh and of a logout."""

    refresh_token: str = Field(max_length=100)


class JsonErrors(HttpMiddleware):
    """Sends each error as ``{"error": "..."}``, MicroPie's own 404 and 405 included."""

    async def after_request(
        self, request: Request, status: int, body: Any, headers: list[tuple[str, str]]
    ) -> dict[str, Any] | None:
        """Replace the text of an error, whose lines become one."""
        if status < 400 or not isinstance(body, str):
            return None
        kept = [pair for pair in headers if pair[0].lower() != "content-type"]
        return {"body": {"error": "; ".join(body.splitlines())}, "headers": kept}


class Api(App):
    """``/api``: each handler here needs an access token, those that you add too."""

    def __init__(self) -> None:
        super().__init__()
        self.middlewares += [JsonErrors(), tokens.BearerTokens()]
        self.ws_middlewares.append(tokens.BearerTokens())

    @methods("GET")
    def me(self) -> dict[str, Any]:
        """Return the account that the token belongs to."""
        with transaction() as connection:
            select = "SELECT id, username FROM users WHERE id = ?"
            row = connection.execute(select, (self.request.user_id,)).fetchone()
        if row is None:
            raise HTTPError(404, "This account is gone")
        return {"id": row[0], "username": row[1]}


class Root(App):
    """``/``: what is open to all clients. It gives out the tokens."""

    def __init__(self) -> None:
        super().__init__(max_body_size=4096)
        self.middlewares.append(JsonErrors())
        self.startup_handlers += [create_tables, tokens.signing_key]
        self.mounts["/api"] = Api()

    def index(self) -> dict[str, str]:
        """Say where things are."""
        root = str(self.request.scope.get("root_path", "")).rstrip("/")
        names = ("sign_up", "login", "refresh", "logout", "api/me")
        return {name: f"{root}/{name}" for name in names}

    @methods("POST")
    def sign_up(self, account: Account) -> tuple[int, dict[str, Any]]:
        """Create an account."""
        values = (account.username, hash_password(account.password))
        insert = "INSERT INTO users (username, password) VALUES (?, ?)"
        try:
            with transaction() as connection:
                user_id = connection.execute(insert, values).lastrowid
        except sqlite3.IntegrityError:
            raise HTTPError(409, "This name is taken") from None
        return 201, {"id": user_id, "username": account.username}

    @methods("POST")
    def login(self, account: Account) -> Any:
        """Return the first tokens of a login."""
        select = "SELECT id, password FROM users WHERE username = ?"
        with transaction() as connection:
            row = connection.execute(select, (account.username,)).fetchone()
        user_id, kept = row or (0, NO_ACCOUNT)
        if not verify_password(account.password, kept):
            raise HTTPError(400, "Wrong name or password")
        return 200, tokens.start_family(user_id), NO_STORE

    @methods("POST")
    def refresh(self, body: RefreshToken) -> Any:
        """Change a refresh token for new tokens; it can be used once."""
        return 200, tokens.rotate(body.refresh_token), NO_STORE

    @methods("POST")
    def logout(self, body: RefreshToken) -> None:
        """End the refresh tokens of this login."""
        tokens.revoke(body.refresh_token)


app = Root()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
