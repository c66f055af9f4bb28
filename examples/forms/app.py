"""A whole form: checks, kept values, blank fields, and a token against forged posts."""

import re
import secrets
from dataclasses import asdict, dataclass
from typing import Any

from micropie import App, HTTPError, methods

TOPICS = ("bread", "cakes", "pies")
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


@dataclass
class Entry:
    """What the form asks for."""

    name: str = ""
    email: str = ""
    age: int | None = None
    topics: tuple[str, ...] = ()
    newsletter: bool = False
    message: str = ""

    def problems(self) -> dict[str, str]:
        """Return what is wrong, by the field."""
        found: dict[str, str] = {}
        if not 1 <= len(self.name) <= 100:
            found["name"] = "Please tell us your name, in at most 100 characters."
        if not EMAIL.fullmatch(self.email):
            found["email"] = "That is no e-mail address."
        if self.age is not None and not 16 <= self.age <= 120:
            found["age"] = "The course is for people from 16 to 120."
        if not self.topics or not set(self.topics) <= set(TOPICS):
            found["topic"] = "Choose at least one of the topics."
        if len(self.message) > 1000:
            found["message"] = "Please be brief: at most 1000 characters."
        return found


class Course(App):
    """People sign up for a course."""

    async def index(self) -> str:
        """Show the empty form."""
        return await self._form(Entry(), {})

    @methods("POST")
    async def sign_up(
        self,
        *,
        name: str = "",
        email: str = "",
        age: int | None = None,
        topic: list[str] | None = None,
        newsletter: bool = False,
        message: str = "",
    ) -> Any:
        """Check what was sent: show the form again with what is wrong, or go on."""
        self._check_csrf()
        entry = Entry(
            name.strip(),
            email.strip(),
            age,
            tuple(topic or ()),
            newsletter,
            message.strip(),
        )
        problems = entry.problems()
        if problems:
            return 422, await self._form(entry, problems)
        self.request.session["entry"] = asdict(entry)
        # After a post, the browser goes to another page. Reloading that one posts
        # nothing again.
        return self._redirect(f"{self._base()}/thanks", status=303)

    @methods("GET")
    async def thanks(self) -> Any:
        """Say what was understood."""
        entry = self.request.session.get("entry")
        if entry is None:
            return self._redirect(f"{self._base()}/")
        return await self._render_template(
            "thanks.html", base=self._base(), entry=entry
        )

    async def _form(self, entry: Entry, problems: dict[str, str]) -> str:
        return await self._render_template(
            "form.html",
            base=self._base(),
            entry=entry,
            problems=problems,
            topics=TOPICS,
            csrf_token=self._csrf_token(),
        )

    def _base(self) -> str:
        """Return the path below which this app is mounted."""
        return str(self.request.scope.get("root_path", ""))

    def _csrf_token(self) -> str:
        """Return the token of this visitor, made at the first form."""
        return str(self.request.session.setdefault("csrf", secrets.token_urlsafe(32)))

    def _check_csrf(self) -> None:
        """Refuse a post from another site's page, which cannot know the token."""
        sent = self.request.form("csrf_token", "")
        known = self.request.session.get("csrf", "")
        if not known or not secrets.compare_digest(sent.encode(), known.encode()):
            raise HTTPError(403, "This form is too old. Please load the page again.")


app = Course()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
