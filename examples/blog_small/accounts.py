"""Accounts: sign up, log in, log out."""

import re
from typing import Any

from micropie import methods

from database import connected
from passwords import hash_password, verify_password
from web import Site

# It is checked for names that do not exist. So they take as long as a wrong password.
NO_ACCOUNT = hash_password("")
RULES = "A name has 2 to 30 letters and digits, a password 8 to 200 characters."
INSERT = """INSERT INTO users (name, password) VALUES (?, ?)
            ON CONFLICT DO NOTHING RETURNING id"""


class Accounts(Site):
    """The handlers are plain `def`: they run in threads, since scrypt is slow."""

    @methods("GET", "POST")
    def sign_up(self) -> Any:
        """Show the form, or make an account and log in to it."""
        if self.request.method != "POST":
            return self._page("account.html", title="Sign up")
        name, password = self._name_and_password()
        error = RULES
        if re.fullmatch(r"\w{2,30}", name, re.ASCII) and 8 <= len(password) <= 200:
            new = (name, hash_password(password))
            with connected(write=True) as database:
                user = database.execute(INSERT, new).fetchone()
            if user:
                return self._logged_in(user["id"], name)
            error = "This name is taken."
        return self._page("account.html", 400, title="Sign up", name=name, error=error)

    @methods("GET", "POST")
    def login(self) -> Any:
        """Show the form, or check what it sends."""
        if self.request.method != "POST":
            return self._page("account.html", title="Log in")
        name, password = self._name_and_password()
        with connected() as database:
            rows = database.execute("SELECT * FROM users WHERE name = ?", (name,))
            user = rows.fetchone()
        if verify_password(password, user["password"] if user else NO_ACCOUNT) and user:
            return self._logged_in(user["id"], user["name"])
        error = "Wrong name or password."
        return self._page("account.html", 400, title="Log in", name=name, error=error)

    @methods("POST")
    def logout(self) -> Any:
        """Empty the session, which deletes it and its cookie."""
        self.request.session.clear()
        return self._redirect(self._url(), 303)

    def _name_and_password(self) -> tuple[str, str]:
        # Not parameters, which the URL could fill in: URLs end up in logs.
        form = self.request.form
        return form("name", "").strip(), form("password", "")[:201]

    def _logged_in(self, user_id: int, name: str) -> Any:
        self.request.session.update(user_id=user_id, user_name=name)
        self.request.regenerate_session()
        return self._redirect(self._url(), 303)
