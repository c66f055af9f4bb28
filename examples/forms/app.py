"""A whole form: checks, values that stay, and empty fields."""

import re
from dataclasses import asdict, dataclass
from typing import Any

from micropie import App, methods

TOPICS = ("bread", "cakes", "pies")
EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")


@dataclass
class Entry:
    """The fields of the form."""

    name: str = ""
    email: str = ""
    age: int | None = None
    topics: tuple[str, ...] = ()
    newsletter: bool = False
    message: str = ""

    def problems(self) -> dict[str, str]:
        """Return the problems by field."""
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

    def __init__(self) -> None:
        super().__init__()
        self.env.globals["url"] = self._url

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
        """Show the form again with its problems, or go on."""
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
        # After a post, the browser goes to a page that can be reloaded safely.
        return self._redirect(self._url("thanks"), 303)

    @methods("GET")
    async def thanks(self) -> Any:
        """Show the fields that were sent."""
        entry = self.request.session.get("entry")
        if entry is None:
            return self._redirect(self._url())
        return await self._render_template("thanks.html", entry=entry)

    async def _form(self, entry: Entry, problems: dict[str, str]) -> str:
        return await self._render_template(
            "form.html", entry=entry, problems=problems, topics=TOPICS
        )

    def _url(self, path: str = "") -> str:
        """Return the URL of a page of this app, wherever it is mounted."""
        root = str(self.request.scope.get("root_path", ""))
        return f"{root.rstrip('/')}/{path}"


app = Course()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
