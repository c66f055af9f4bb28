"""A live poll about the pie that we bake on Friday."""

from enum import StrEnum
from typing import Any

from micropie import App, methods


class Pie(StrEnum):
    """The pies to choose from."""

    APPLE = "Apple"
    CHERRY = "Cherry"
    PUMPKIN = "Pumpkin"
    RHUBARB = "Rhubarb"


votes = dict.fromkeys(Pie, 0)


class Poll(App):
    """Each public method answers the URL of its name."""

    async def index(self) -> str:
        """Show the poll."""
        return await self._render_template("index.html", pies=Pie, votes=votes)

    @methods("GET")
    async def results(self, at_least: int = 0) -> dict[str, int]:
        """Answer ``/results`` and ``/results?at_least=2``."""
        return {pie: votes[pie] for pie in Pie if votes[pie] >= at_least}

    @methods("POST")
    async def vote(self, pie: Pie) -> Any:
        """Take the form, and show the poll again."""
        votes[pie] += 1
        return self._redirect("./", 303)


app = Poll()

if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, timeout_graceful_shutdown=5)
