"""A live poll: which pie shall we bake on Friday?"""

import asyncio
import secrets
from enum import StrEnum
from typing import Any

from micropie import App, FromSession, HTTPError, methods

import store


class Pie(StrEnum):
    """What there is to choose from."""

    APPLE = "Apple"
    CHERRY = "Cherry"
    PUMPKIN = "Pumpkin"
    RHUBARB = "Rhubarb"


class Poll(App):
    """Each public method answers the URL of its name."""

    def __init__(self) -> None:
        super().__init__()
        self.startup_handlers.append(store.create_tables)

    async def index(self) -> str:
        """Show the poll."""
        session = self.request.session
        voter = session.setdefault("voter", secrets.token_urlsafe(16))
        return await self._render_template(
            "index.html",
            pies=Pie,
            votes=await asyncio.to_thread(store.count_votes),
            chosen=await asyncio.to_thread(store.vote_of, voter),
            csrf_token=session.setdefault("csrf_token", secrets.token_urlsafe(32)),
        )

    @methods("GET")
    async def results(self, at_least: int = 0) -> dict[str, int]:
        """Answer ``/results`` and ``/results?at_least=2``."""
        votes = await asyncio.to_thread(store.count_votes)
        return {pie: votes[pie] for pie in Pie if votes[pie] >= at_least}

    @methods("POST")
    async def vote(self, pie: Pie, *, voter: FromSession) -> Any:
        """Take the form, and show the poll again."""
        self._check_token()
        await asyncio.to_thread(store.set_vote, voter, pie)
        return self._redirect("./", 303)

    def _check_token(self) -> None:
        """Refuse a form that was not made for this session."""
        expected = self.request.session.get("csrf_token", "")
        sent = self.request.form("csrf_token", "")
        if not expected or not secrets.compare_digest(sent.encode(), expected.encode()):
            raise HTTPError(403, "This form is too old. Please load the page again.")


app = Poll()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
